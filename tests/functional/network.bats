#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Pods with a network: what they reach, what reaches them, and what ends with them. The program in the pods is
# tests/functional/guest/network.c.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # the variables are jq's and bats'

load lib
load network

setup_file()
{
	export PROBE=$TOP/build/guest-network
	data_directory
}

setup()
{
	needs_kvm
	UUID_FILE=$BATS_TEST_TMPDIR/uuid
}

teardown()
{
	[ -z "${SERVER:-}" ] || kill "$SERVER" || true
	name_server_ends
	[ -z "${RUN:-}" ] || kill -9 "$RUN" || true
}

# An address of the host that is not on its loopback interface.
host_address()
{
	hostname --all-ip-addresses | tr ' ' '\n' | grep -m 1 -E '^[0-9.]+$'
}

# serve tcp|udp ADDRESS [BYTES]: a server on the host that says "from the host", over tcp with so many bytes of nothing
# after it. Sets SERVER_PORT.
serve()
{
	rm -f "$BATS_TEST_TMPDIR/port"
	python3 - "$BATS_TEST_TMPDIR/port" "$@" 3>&- <<-'END' &
		import os, socket, sys
		path, protocol, address, more = (sys.argv[1:] + ["0"])[:4]
		server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET,
		    socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
		server.bind((address, 0))
		if protocol == "tcp":
		    server.listen()
		open(path + ".new", "w").write(str(server.getsockname()[1]))
		os.rename(path + ".new", path)
		while True:
		    if protocol == "tcp":
		        client = server.accept()[0]
		        client.sendall(b"from the host\n" + bytes(int(more)))
		        client.close()
		    else:
		        server.sendto(b"from the host\n", server.recvfrom(100)[1])
	END
	SERVER=$!
	eventually "the server listens" test -s "$BATS_TEST_TMPDIR/port"
	SERVER_PORT=$(<"$BATS_TEST_TMPDIR/port")
}

# free_port [COUNT]: a port of the host that nobody uses, for streams or datagrams, nor those behind it.
free_port()
{
	python3 -c 'import socket, sys
def bind(port, kind=socket.SOCK_STREAM):
    s = socket.socket(socket.AF_INET, kind)
    s.bind(("127.0.0.1", port))
    return s
while True:
    first = bind(0)
    port = first.getsockname()[1]
    try:
        rest = [bind(port + i) for i in range(1, int(sys.argv[1]))]
        rest += [bind(port + i, socket.SOCK_DGRAM) for i in range(int(sys.argv[1]))]
        break
    except (OSError, OverflowError):
        pass
print(port)' "${1:-1}"
}

# hear PORT: what a server at this port of the host answers.
hear()
{
	python3 -c 'import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
s.sendall(b"hello\n")
print(s.makefile().readline(), end="")' "$1"
}

# said_by UUID APP LINE
said_by()
{
	appc_vm logs "--app=$2" "$1" | grep -qxF -- "$3"
}

# listens_again [TIMES]
listens_again()
{
	[ "$(grep -c listening "$OUT")" -eq "${1:-2}" ]
}

# No process with this user id and name, which carries a pod's network, is left of this test.
passt_is_gone()
{
	local pid
	for pid in $(pgrep --exact --uid 65534 'passt(.avx2)?'); do
		# One that has ended meanwhile has no such file.
		! grep --quiet --null-data --line-regexp --fixed-strings "BATS_TEST_TMPDIR=$BATS_TEST_TMPDIR" \
			"/proc/$pid/environ" 2>/dev/null || return 1
	done
}

@test "a pod reaches what the host reaches, as fast as it may, and knows its own address" {
	serve tcp "$(host_address)" 300000
	pod ".apps = [app(\"a\"; [\"fetch\", \"$(host_address)\", \"$SERVER_PORT\", \"interface\", \"eth0\"])] |
		.isolators = [{name: \"resource/network-bandwidth\", value: {default: true, limit: \"100k\"}}]"
	run_pod --net "--uuid-file-save=$UUID_FILE"
	expect_status 0
	expect_line "fetch $(host_address): from the host" 'interface eth0: address 10.0.2.15' \
		'interface eth0: mtu 65520'
	# Its device merges them.
	[ "$FLAVOUR" = container ] || expect_line 'interface eth0: received packets are not merged'
	# Three seconds, but for the last frame, which can be of 64 KiB, and a tenth that may be ahead. A container's isn't limited.
	[ "$FLAVOUR" = container ] || [ "$(sed -n 's/^fetched: \([0-9]*\) ms$/\1/p' "$OUT")" -ge 2000 ]
	grep -qE '^interface eth0: mac 02(:[0-9a-f]{2}){5}$' "$OUT"
	appc_vm status "$(<"$UUID_FILE")" | grep -qE '^networks=default:ip4=10.0.2.15(, default:ip6=fd00:a:0:2::15)?$'
	appc_vm list | grep -q 'default:ip4=10.0.2.15'
	appc_vm status --format=json "$(<"$UUID_FILE")" | jq --exit-status '.networks | map(del(.ip6)) == [
		{netName: "default", ifName: "eth0", ip: "10.0.2.15", mask: "255.255.255.0"}]'
	eventually "passt has ended" passt_is_gone
}

@test "where the host reaches others by IPv6 a pod does, too" {
	local address
	[ -n "$(ip -6 route show default)" ] || skip "this host has no IPv6 route to others"
	address=$(ip -6 -oneline address show scope global | awk '{ sub("/.*", "", $4); print $4; exit }')
	serve tcp "$address"
	pod ".apps = [app(\"a\"; [\"interface6\", \"eth0\", \"connect\", \"$address\", \"$SERVER_PORT\"])]"
	run_pod --net "--uuid-file-save=$UUID_FILE"
	expect_status 0
	expect_line 'interface6 eth0: address fd00:a:0:2::15' "connect $address: from the host"
	appc_vm status "$(<"$UUID_FILE")" | grep -qx 'networks=default:ip4=10.0.2.15, default:ip6=fd00:a:0:2::15'
}

@test "datagrams pass, and what listens on the host's loopback alone is out of reach" {
	serve udp "$(host_address)"
	local udp=$SERVER_PORT
	kill "$SERVER"
	serve udp "$(host_address)"
	udp=$SERVER_PORT
	local first=$SERVER
	serve tcp 127.0.0.1
	pod ".apps = [app(\"a\"; [\"ask\", \"$(host_address)\", \"$udp\",
		\"connect\", \"10.0.2.2\", \"$SERVER_PORT\", \"connect\", \"127.0.0.1\", \"$SERVER_PORT\"])]"
	run_pod --net=default
	kill "$first"
	expect_status 0
	expect_line "ask $(host_address): from the host" 'connect 127.0.0.1: ECONNREFUSED'
	fails grep -q '^connect 10.0.2.2: from the host' "$OUT"
}

@test "names are the host's name server's to tell, at the address that the pod was given" {
	local address
	[ "$(id -u)" -eq 0 ] || skip "port 53 is for root"
	pod ".apps = [app(\"a\"; [\"resolve\", \"$KNOWN_NAME\", \"resolve\", \"not.$KNOWN_NAME\"])]"
	# One that is reached as any other host, and one as systemd-resolved is.
	for address in "$(host_address)" 127.77.0.53; do
		name_server "$address"
		resolv_conf "nameserver $address"
		run_pod --net
		name_server_ends
		expect_status 0
		expect_line "resolve $KNOWN_NAME: $KNOWN_ADDRESS by 10.0.2.3" "resolve not.$KNOWN_NAME: Unknown host"
	done
}

# The interface is the pod's: its apps have no numbers of their own.
counted()
{
	appc_vm top --once --format=json "$(<"$UUID_FILE")" | jq --exit-status '.[0].guest | . != null and
		(.pod | .received_bytes >= 1048576 and .sent_bytes >= 1048576 and .received_packets > 0) and
		(.apps | length == 1 and all(has("received_bytes") or has("sent_bytes") | not))' >/dev/null
}

measured()
{
	local metrics direction bytes
	metrics=$(appc_vm metrics)
	for direction in received sent; do
		bytes=$(sed -n "s/^appc_vm_guest_network_${direction}_bytes_total{.*} //p" <<<"$metrics")
		[ "${bytes:-0}" -ge 1048576 ] || return 1
	done
}

@test "exposed ports of the pod are the host's, what passes is counted, and they are free again afterwards" {
	local port
	port=$(free_port)
	pod ".apps = [app(\"a\"; [\"serve\", \"80\", \"udp-serve\", \"53\", \"echo\", \"80\", \"serve\", \"80\"]) |
		.app.ports = [{name: \"http\", protocol: \"tcp\", port: 80}, {name: \"dns\", protocol: \"udp\", port: 53},
			{name: \"deaf\", protocol: \"udp\", port: 54}]] |
		.ports = [{name: \"http\", hostPort: $port, hostIP: \"127.0.0.1\"},
			{name: \"dns\", hostPort: $port},
			{name: \"deaf\", hostPort: $(free_port), hostIP: \"127.0.0.1\"}]"
	start_pod --net "--uuid-file-save=$UUID_FILE"
	eventually "the app listens" said listening
	[ "$(hear "$port")" = 'from the pod' ]
	eventually "the app listens to datagrams" listens_again
	[ "$(ask "$(host_address)" "$port")" = 'from the pod' ]
	eventually "the app listens for what it sends back" listens_again 3
	echoes 127.0.0.1 "$port"
	eventually "the app listens again" listens_again 4
	# A busy guest may take longer to answer than is waited for.
	eventually "the pod tells what it has received and sent" counted
	eventually "the metrics do so, too" measured
	[ "$(hear "$port")" = 'from the pod' ]
	finish_pod
	expect_status 0
	expect_line 'serve 80: ok' 'udp-serve 53: ok' 'echo 80: 1048576 bytes'
	expect_error 'port "deaf": who asks at 127.0.0.1 gets no answer'
	fails hear "$port" 2>/dev/null
	fails ask "$(host_address)" "$port" 2>/dev/null
}

@test "each port of a range is one of the host, and one that is taken ends the pod before it starts" {
	local port i
	port=$(free_port 3)
	pod ".apps = [app(\"a\"; [\"serve\", \"80\", \"serve\", \"81\", \"serve\", \"82\"]) |
		.app.ports = [{name: \"range\", protocol: \"tcp\", port: 80, count: 3}]] |
		.ports = [{name: \"range\", hostPort: $port, hostIP: \"127.0.0.1\"}]"
	start_pod --net
	for i in 0 1 2; do
		eventually "the app listens" listens_again $((i + 1))
		[ "$(hear $((port + i)))" = 'from the pod' ]
	done
	finish_pod
	expect_status 0
	expect_line 'serve 80: ok' 'serve 81: ok' 'serve 82: ok'

	serve tcp 127.0.0.1
	pod ".apps = [app(\"a\"; [\"interface\", \"eth0\"]) |
		.app.ports = [{name: \"range\", protocol: \"tcp\", port: 80, count: 3}]] |
		.ports = [{name: \"range\", hostPort: $((SERVER_PORT - 1)), hostIP: \"127.0.0.1\"}]"
	run_pod --net
	expect_status 254
	expect_error "no network: .*127.0.0.1/$SERVER_PORT:81"
	[ ! -s "$OUT" ]
}

@test "ports that would meet are told from each other before anything starts" {
	pod '.apps = [app("a"; ["interface", "eth0"]) |
		.app.ports = [{name: "http", protocol: "tcp", port: 80}, {name: "range", protocol: "tcp", port: 7000, count: 10}]] |
		.ports = [{name: "http", hostPort: 28180, hostIP: "127.0.0.1"}, {name: "range", hostPort: 28175}]'
	run_pod --net
	expect_status 254
	expect_error 'port tcp-0.0.0.0:28180 already mapped to pod port 80'
}

@test "a server of the pod that speaks first is heard at once" {
	local port
	port=$(free_port)
	pod ".apps = [app(\"a\"; [\"greet\", \"80\"]) |
		.app.ports = [{name: \"smtp\", protocol: \"tcp\", port: 80}]] |
		.ports = [{name: \"smtp\", hostPort: $port, hostIP: \"127.0.0.1\"}]"
	start_pod --net
	eventually "the app listens" said listening
	python3 -c 'import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60)
assert s.makefile().readline() == "welcome\n"' "$port"
	finish_pod
	expect_status 0
	expect_line 'greet 80: ok'
}

@test "a port of a pod without apps leads to whichever app listens there" {
	local port name uuid
	port=$(free_port)
	OUT=$BATS_TEST_TMPDIR/out
	"$APPC_VM" "--dir=$DATA" app sandbox "--flavour=$FLAVOUR" "--port=http:tcp:80:127.0.0.1:$port" \
		"--uuid-file-save=$UUID_FILE" >"$OUT" 2>&1 </dev/null 3>&- &
	RUN=$!
	eventually "the pod has a UUID" test -s "$UUID_FILE"
	uuid=$(<"$UUID_FILE")
	appc_vm status --wait-ready "$uuid" >/dev/null
	for name in first second; do
		appc_vm app add "$uuid" example.com/probe "--name=$name" --exec=/bin/probe -- serve 80
		appc_vm app start "$uuid" "--app=$name"
		eventually "$name listens" said_by "$uuid" "$name" listening
		[ "$(hear "$port")" = 'from the pod' ]
		appc_vm app rm "$uuid" "--app=$name"
	done
	appc_vm stop "$uuid"
	wait "$RUN"
	RUN=
	appc_vm cat-manifest "$uuid" | jq --exit-status ".ports == [{name: \"http\", hostPort: $port,
		hostIP: \"127.0.0.1\", podPort: {name: \"http\", protocol: \"tcp\", port: 80, count: 1,
		socketActivated: false}}]"
}

# reached_on PORT FLAG...: a run with these flags is heard on this port of the host.
reached_on()
{
	local port=$1
	shift
	OUT=$BATS_TEST_TMPDIR/out
	rm -f "$OUT"
	"$APPC_VM" "--dir=$DATA" "$@" >"$OUT" 2>"$ERR" </dev/null 3>&- &
	RUN=$!
	eventually "the app listens" said listening
	[ "$(hear "$port")" = 'from the pod' ]
	wait "$RUN"
	RUN=
}

@test "--port brings the default network, which --net=none does not have" {
	local port uuid
	ERR=$BATS_TEST_TMPDIR/err
	mkdir -p "$BATS_TEST_TMPDIR/image/rootfs/bin"
	cp "$PROBE" "$BATS_TEST_TMPDIR/image/rootfs/bin/probe"
	image_manifest example.com/server '.app.exec = ["/bin/probe", "serve", "80"] |
		.app.ports = [{name: "http", protocol: "tcp", port: 80}]' >"$BATS_TEST_TMPDIR/image/manifest"
	tar --create --file "$BATS_TEST_TMPDIR/server.aci" --directory "$BATS_TEST_TMPDIR/image" manifest rootfs
	appc_vm image import "$BATS_TEST_TMPDIR/server.aci"
	port=$(free_port)
	reached_on "$port" run "--flavour=$FLAVOUR" "--port=http:127.0.0.1:$port" example.com/server
	uuid=$(appc_vm prepare "--port=http:127.0.0.1:$port" example.com/server)
	reached_on "$port" run-prepared "--flavour=$FLAVOUR" "$uuid"
	# Ports of a manifest are no wish for a network, and one that is asked for is what the pod has.
	uuid=$(appc_vm prepare "--port=http:127.0.0.1:$port" example.com/server)
	rm -f "$OUT"
	appc_vm run-prepared "--flavour=$FLAVOUR" --net=none "$uuid" >"$OUT" 2>"$ERR" </dev/null 3>&- &
	RUN=$!
	eventually "the app listens" said listening
	grep -q "the pod's exposed ports are nobody's" "$ERR"
	fails hear "$port"
	appc_vm stop "$uuid"
	wait "$RUN" || true
	RUN=
}

@test "clients that knock before the pod is there do it no harm" {
	local port
	port=$(free_port)
	pod ".apps = [app(\"a\"; [\"serve\", \"80\"]) |
		.app.ports = [{name: \"http\", protocol: \"tcp\", port: 80}]] |
		.ports = [{name: \"http\", hostPort: $port, hostIP: \"127.0.0.1\"}]"
	start_pod --net
	[ "$(python3 - "$port" "$LIMIT" <<-'END'
		import socket, sys, time
		end = time.monotonic() + int(sys.argv[2])
		while time.monotonic() < end:
		    try:
		        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1)
		        s.sendall(b"hello\n")
		        s.settimeout(20)
		        answer = s.makefile().readline()
		        if answer:
		            print(answer, end="")
		            break
		    except OSError:
		        pass
		    time.sleep(0.005)
	END
	)" = 'from the pod' ]
	finish_pod
	expect_status 0
	expect_line 'serve 80: ok'
}

@test "a port that is taken ends the pod before it starts, with its name" {
	serve tcp 127.0.0.1
	pod ".apps = [app(\"a\"; [\"interface\", \"eth0\"]) |
		.app.ports = [{name: \"http\", protocol: \"tcp\", port: 80}]] |
		.ports = [{name: \"http\", hostPort: $SERVER_PORT, hostIP: \"127.0.0.1\"}]"
	run_pod --net
	expect_status 254
	expect_error "no network: .*127.0.0.1/$SERVER_PORT:80"
	[ ! -s "$OUT" ]
}

@test "pods from one template have addresses of their own, and none has a network unless asked" {
	local i
	pod '.apps = [app("a"; ["interface", "eth0"])]'
	for i in 1 2; do
		run_pod --net
		grep ' mac ' "$OUT" >"$BATS_TEST_TMPDIR/mac-$i"
	done
	fails diff -q "$BATS_TEST_TMPDIR/mac-1" "$BATS_TEST_TMPDIR/mac-2"
	run_pod
	expect_line 'interface eth0: ENODEV'
}

# of_status PID FIELD
of_status()
{
	sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"
}

# expect_open PID PATTERN: whatever the process has open is of these.
expect_open()
{
	local fd target
	for fd in "/proc/$1/fd"/*; do
		target=$(readlink "$fd")
		[[ $target =~ ^($2)$ ]] || { echo "fd ${fd##*/} of $1 is $target"; return 1; }
	done
}

@test "who carries a pod's network is nobody, with no file, and in the pod's cgroup on the host" {
	local port user=$'65534\t65534\t65534\t65534' carriers passt pid set namespace procs
	port=$(free_port)
	pod ".apps = [app(\"a\"; [\"serve\", \"80\"]) |
		.app.ports = [{name: \"http\", protocol: \"tcp\", port: 80}]] |
		.ports = [{name: \"http\", hostPort: $port, hostIP: \"127.0.0.1\"}]"
	start_pod --net "--uuid-file-save=$UUID_FILE"
	eventually "the app listens" said listening
	passt=$(pgrep --parent "$RUN" --uid 65534 --exact 'passt(.avx2)?')
	carriers=$(pgrep --parent "$RUN" --uid 65534)
	# A container has a relay, too.
	[ "$(wc -w <<<"$carriers")" -eq "$([ "$FLAVOUR" = vm ] && echo 1 || echo 2)" ]
	for pid in $carriers; do
		[ "$(of_status "$pid" Uid)" = "$user" ]
		[ "$(of_status "$pid" Gid)" = "$user" ]
		[ -z "$(of_status "$pid" Groups)" ]
		for set in CapInh CapPrm CapEff CapAmb; do
			[ "$(of_status "$pid" $set)" = 0000000000000000 ]
		done
		[ "$(of_status "$pid" NoNewPrivs)" = 1 ]
		[ "$pid" = "$passt" ] || expect_open "$pid" '/dev/null|/dev/net/tun|socket:.*'
	done
	expect_open "$passt" '/dev/null|/memfd:passt \(deleted\)|socket:.*|pipe:.*|anon_inode:\[(eventpoll|timerfd)\]'
	[ "$(of_status "$passt" Seccomp)" = 2 ]
	for namespace in user mnt ipc uts; do
		[ "$(readlink "/proc/$passt/ns/$namespace")" != "$(readlink "/proc/$RUN/ns/$namespace")" ]
	done
	[ -z "$(ls -A "/proc/$passt/root/")" ]
	if [ "$FLAVOUR" = vm ]; then
		UUID=$(<"$UUID_FILE")
		procs=$(find /sys/fs/cgroup -path "*/appc-$UUID*/cgroup.procs" -exec grep -lx "$passt" {} + || true)
		if [ -n "$(find /sys/fs/cgroup -type d -name "appc-$UUID" -print -quit)" ]; then
			# On its CPU time, and not on its memory.
			[ "$(wc -l <<<"$procs")" -eq 1 ]
			[ -e "${procs%/*}/cpu.cfs_quota_us" ] || [[ $procs == */network/cgroup.procs ]]
			[ ! -e "${procs%/*}/memory.limit_in_bytes" ]
		fi
	fi
	[ "$(hear "$port")" = 'from the pod' ]
	finish_pod
	expect_status 0
	[ "$FLAVOUR" != vm ] || [ -z "$(find /sys/fs/cgroup -type d -name "appc-$UUID")" ]
}

@test "kill -9 of run leaves no process that carries its network" {
	pod ".apps = [app(\"a\"; [\"serve\", \"80\"])]"
	start_pod --net
	eventually "the app listens" said listening
	fails passt_is_gone
	kill -9 "$RUN"
	wait "$RUN" || true
	RUN=
	eventually "passt has ended" passt_is_gone
}
