#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Pods on a bridge of the host (--net=tap): each test has a host of its own, a network namespace, which is joined to
# another that plays the world. The program in the pods is tests/functional/guest/network.c.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # the variables are jq's and bats'

load lib
load network

HOST=198.51.100.1
WORLD=198.51.100.2

setup_file()
{
	export PROBE=$TOP/build/guest-network
	data_directory
	# The commands of a test run on its host.
	cat >"$BATS_FILE_TMPDIR/on-host" <<-'END'
		#!/bin/sh
		exec nsenter --net="/proc/$HOST_PID/ns/net" "$REAL_APPC_VM" "$@"
	END
	chmod +x "$BATS_FILE_TMPDIR/on-host"
}

setup()
{
	needs_kvm
	[ "$(id -u)" -eq 0 ] || skip "bridges are for root"
	[ -c /dev/net/tun ] || skip "there is no /dev/net/tun"
	unshare --net sleep infinity 3>&- &
	export HOST_PID=$!
	unshare --net sleep infinity 3>&- &
	WORLD_PID=$!
	eventually "there are two hosts" two_hosts
	nsenter --net="/proc/$WORLD_PID/ns/net" ip link add world type veth peer name out netns "$HOST_PID"
	in_world ip address add "$WORLD/24" dev world
	in_world ip link set world up
	on_host ip link set lo up
	on_host ip address add "$HOST/24" dev out
	on_host ip link set out up
	SWITCHES=$(switches)
	export REAL_APPC_VM=$APPC_VM
	APPC_VM=$BATS_FILE_TMPDIR/on-host
	UUID_FILE=$BATS_TEST_TMPDIR/uuid
	PIDS=()
}

teardown()
{
	local pid
	for pid in "${PIDS[@]}"; do
		kill -9 "$pid" || true
	done
	[ -z "${SERVER:-}" ] || kill "$SERVER" || true
	name_server_ends
	kill "$HOST_PID" "$WORLD_PID" || true
}

two_hosts()
{
	local own
	own=$(readlink /proc/self/ns/net)
	[ "$(readlink "/proc/$HOST_PID/ns/net")" != "$own" ] &&
		[ "$(readlink "/proc/$WORLD_PID/ns/net")" != "$own" ]
}

on_host()
{
	nsenter --net="/proc/$HOST_PID/ns/net" "$@"
}

in_world()
{
	nsenter --net="/proc/$WORLD_PID/ns/net" "$@"
}

# background FILTER NAME [OPTION...]: starts a pod beside others. Its output is in $BATS_TEST_TMPDIR/NAME.
background()
{
	local filter=$1 name=$2
	shift 2
	pod_write "$BATS_TEST_TMPDIR/$name.json" "$filter"
	"$APPC_VM" "--dir=$DATA" run "--flavour=$FLAVOUR" "$@" "--uuid-file-save=$BATS_TEST_TMPDIR/$name.uuid" \
		"$BATS_TEST_TMPDIR/$name.json" >"$BATS_TEST_TMPDIR/$name" 2>"$BATS_TEST_TMPDIR/$name.err" \
		</dev/null 3>&- &
	PIDS+=($!)
}

# has NAME LINE: the pod has said it.
has()
{
	grep -qxF -- "$2" "$BATS_TEST_TMPDIR/$1"
}

pods_end()
{
	local pid
	for pid in "${PIDS[@]}"; do
		eventually "the pods end" process_gone "$pid"
		wait "$pid"
	done
	PIDS=()
}

# The IPv4 address of a pod that runs.
address_of()
{
	appc_vm status --format=json "$(<"$BATS_TEST_TMPDIR/$1.uuid")" | jq --raw-output ".networks[0].${2:-ip}"
}

# A server in the world that says whom it sees.
serve_world()
{
	rm -f "$BATS_TEST_TMPDIR/port"
	# No function: $! is to be the server itself, which teardown ends.
	nsenter --net="/proc/$WORLD_PID/ns/net" python3 - "$BATS_TEST_TMPDIR/port" "$WORLD" 3>&- <<-'END' &
		import os, socket, sys
		path, address = sys.argv[1:]
		server = socket.create_server((address, 0))
		open(path + ".new", "w").write(str(server.getsockname()[1]))
		os.rename(path + ".new", path)
		while True:
		    client, peer = server.accept()
		    client.sendall(b"you are " + peer[0].encode() + b"\n")
		    client.close()
	END
	SERVER=$!
	eventually "the server listens" test -s "$BATS_TEST_TMPDIR/port"
	SERVER_PORT=$(<"$BATS_TEST_TMPDIR/port")
}

# hear PREFIX ADDRESS PORT: what a server says there, seen from on_host or in_world.
hear()
{
	"$1" python3 -c 'import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
s.sendall(b"hello\n")
print(s.makefile().readline(), end="")' "$2" "$3"
}

# All that the host's kernel is told about IP, but for statistics.
switches()
{
	on_host sh -c 'grep -s -r . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf' | sort
}

# Neither interfaces nor rules nor leases, and forwarding as it was.
nothing_on_host()
{
	[ "$(on_host ip -oneline link | grep -c .)" -eq 2 ] && [ -z "$(on_host nft list ruleset)" ] &&
		diff <(echo "$SWITCHES") <(switches) &&
		[ -z "$(lease_directories)" ]
}

# Of the host, and of those that had its number before.
lease_directories()
{
	compgen -G "/run/appc-vm/network-$(stat --dereference --format=%i "/proc/$HOST_PID/ns/net")*" || true
}

RAW='{name: "os/linux/capabilities-retain-set", value: {set: ["CAP_NET_RAW"]}}'

@test "a pod on a bridge has addresses, which status shows, and leaves nothing behind" {
	pod '.apps = [app("a"; ["interface", "eth0", "interface6", "eth0"])]'
	run_pod --net=tap "--uuid-file-save=$UUID_FILE"
	expect_status 0
	local ip ip6
	ip=$(sed -n 's/^interface eth0: address //p' "$OUT")
	ip6=$(sed -n 's/^interface6 eth0: address //p' "$OUT")
	[[ $ip =~ ^10\.93\.[0-9]+\.2$ ]]
	[[ $ip6 =~ ^fd.*::2$ ]]
	expect_line 'interface eth0: mtu 1500'
	appc_vm status "$(<"$UUID_FILE")" | grep -qx "networks=appcbr0:ip4=$ip, appcbr0:ip6=$ip6"
	appc_vm status --format=json "$(<"$UUID_FILE")" | jq --exit-status --arg ip "$ip" --arg ip6 "$ip6" '.networks == [
		{netName: "appcbr0", ifName: "eth0", ip: $ip, mask: "255.255.255.0", ip6: $ip6}]'
	nothing_on_host
}

@test "to the world a pod is its host, and the world reaches a pod through its ports alone" {
	serve_world
	name_server "$WORLD" nsenter --net="/proc/$WORLD_PID/ns/net"
	# The host's own is out of a pod's reach.
	resolv_conf 'nameserver 127.0.0.53' "nameserver $WORLD"
	background '.apps = [app("a"; ["connect", "198.51.100.2", "'"$SERVER_PORT"'", "resolve", "'"$KNOWN_NAME"'",
			"serve", "80", "serve", "80", "serve", "80", "udp-serve", "53", "udp-serve", "53", "echo", "80"]) |
		.app.ports = [{name: "http", protocol: "tcp", port: 80}, {name: "dns", protocol: "udp", port: 53}]] |
		.ports = [{name: "http", hostPort: 8080}, {name: "dns", hostPort: 8080}]' a --net=tap
	eventually "the app listens" has a listening
	has a "connect $WORLD: you are $HOST"
	has a "resolve $KNOWN_NAME: $KNOWN_ADDRESS by $WORLD"
	[ "$(hear in_world "$HOST" 8080)" = 'from the pod' ]
	# The next server of the app listens when that client was served.
	eventually "the app listens again" served a 2
	[ "$(hear on_host 127.0.0.1 8080)" = 'from the pod' ]
	eventually "the app listens again" served a 3
	in_world ip route add 10.93.0.0/16 via "$HOST"
	fails in_world timeout 3 bash -c "echo >/dev/tcp/$(address_of a)/80"
	[ "$(hear on_host "$HOST" 8080)" = 'from the pod' ]
	eventually "the app listens to datagrams" served a 4
	[ "$(ask "$HOST" 8080 in_world)" = 'from the pod' ]
	eventually "the app listens to datagrams again" served a 5
	[ "$(ask 127.0.0.1 8080 on_host)" = 'from the pod' ]
	eventually "the app listens for what it sends back" served a 6
	echoes "$HOST" 8080 in_world
	pods_end
	has a 'udp-serve 53: ok'
	has a 'echo 80: 1048576 bytes'
	fails hear on_host "$HOST" 8080 2>/dev/null
	nothing_on_host
}

served()
{
	[ "$(grep -c '^listening' "$BATS_TEST_TMPDIR/$1")" -eq "$2" ]
}

@test "a port of one of the host's addresses is of no other" {
	on_host ip address add 198.51.100.9/24 dev out
	background '.apps = [app("a"; ["greet", "80", "greet", "80"]) |
		.app.ports = [{name: "http", protocol: "tcp", port: 80}]] |
		.ports = [{name: "http", hostPort: 8080, hostIP: "198.51.100.9"}]' a --net=tap
	eventually "the server listens" has a listening
	fails hear in_world "$HOST" 8080 2>/dev/null
	fails hear on_host 127.0.0.1 8080 2>/dev/null
	# Where nobody else has it, it is free for others.
	on_host python3 -c 'import socket; socket.create_server(("198.51.100.1", 8080))'
	[ "$(hear in_world 198.51.100.9 8080)" = welcome ]
	eventually "the server listens again" served a 2
	[ "$(hear on_host 198.51.100.9 8080)" = welcome ]
	pods_end
	nothing_on_host
}

@test "each port of a range leads into the pod, and is reserved" {
	local i
	background '.apps = [app("a"; ["serve", "80", "serve", "81", "serve", "82"]) |
		.app.ports = [{name: "range", protocol: "tcp", port: 80, count: 3}]] |
		.ports = [{name: "range", hostPort: 8080}]' a --net=tap
	for i in 0 1 2; do
		eventually "the app listens" served a $((i + 1))
		fails on_host python3 -c 'import socket, sys; socket.create_server(("", int(sys.argv[1])))' $((8082 - i)) 2>/dev/null
		[ "$(hear in_world "$HOST" $((8080 + i)))" = 'from the pod' ]
	done
	pods_end
	nothing_on_host
}

@test "what forwarded before does so afterwards, for whom it did meanwhile, and nothing else is changed" {
	on_host ip link add lan type bridge
	on_host sh -c 'echo 1 >/proc/sys/net/ipv4/conf/lan/forwarding; echo 0 >/proc/sys/net/ipv4/conf/out/accept_redirects'
	SWITCHES=$(switches)
	serve_world
	background '.apps = [app("a"; ["greet", "80", "connect", "198.51.100.2", "'"$SERVER_PORT"'"])]' a --net=tap
	eventually "the server listens" has a listening
	[ "$(on_host cat /proc/sys/net/ipv4/ip_forward)" = 0 ]
	[ "$(on_host cat /proc/sys/net/ipv4/conf/out/forwarding)" = 1 ]
	on_host nft list chain inet appc_vm bounds | grep -qF 'meta nfproto ipv4 iifname != "lan" drop'
	# One that comes meanwhile is as it would have been.
	on_host ip link add late type bridge
	[ "$(hear on_host "$(address_of a)" 80)" = welcome ]
	pods_end
	has a "connect $WORLD: you are $HOST"
	on_host ip link delete late
	diff <(echo "$SWITCHES") <(switches)
	# Who is killed leaves it to the next, and what somebody else turns on stays.
	background '.apps = [app("a"; ["greet", "80"])]' b --net=tap
	eventually "the server listens" has b listening
	on_host ip link add late type bridge
	kill -9 "${PIDS[@]}"
	wait "${PIDS[@]}" || true
	PIDS=()
	eventually "nothing of the pods is left" nothing_left
	appc_vm gc --grace-period=0s
	[ "$(on_host cat /proc/sys/net/ipv4/conf/late/forwarding)" = 0 ]
	on_host ip link delete late
	diff <(echo "$SWITCHES") <(switches)
	background '.apps = [app("a"; ["greet", "80"])]' c --net=tap
	eventually "the server listens" has c listening
	on_host sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
	kill -9 "${PIDS[@]}"
	wait "${PIDS[@]}" || true
	PIDS=()
	eventually "nothing of the pods is left" nothing_left
	appc_vm gc --grace-period=0s
	[ "$(on_host cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/out/forwarding)" = $'1\n1' ]
	on_host ip link delete lan
}

# What goes through the port of the one pod on a bridge are frames longer than the MTU: neither kernel cuts what the other
# one puts together again.
large_frames()
{
	on_host ip -statistics -json link show master "$1" | jq --exit-status \
		'length == 1 and (.[0].stats64 | all(.rx, .tx; .bytes > 2097152 and .bytes / .packets > 1514))'
}

@test "pods of one bridge reach each other, by IPv6 and through ports too, and those of another bridge do not" {
	background '.apps = [app("a"; ["greet", "80", "greet", "80", "greet", "80", "echo", "80", "echo", "80", "greet", "80"]) |
		.app.ports = [{name: "http", protocol: "tcp", port: 80}]] |
		.ports = [{name: "http", hostPort: 8080}]' a --net=tap
	eventually "the server listens" has a listening
	local ip ip6
	ip=$(address_of a)
	ip6=$(address_of a ip6)
	background '.apps = [app("b"; ["connect", "'"$ip"'", "80"])]' other --net=tap:bridge=other0
	eventually "the pod has tried" grep -q '^connect' "$BATS_TEST_TMPDIR/other"
	has other "connect $ip: EHOSTUNREACH"
	pod '.apps = [app("b"; ["connect", "'"$ip"'", "80"])]'
	run_pod --net=tap
	expect_line "connect $ip: welcome"
	eventually "the server listens again" served a 2
	pod '.apps = [app("b"; ["connect", "'"$ip6"'", "80"])]'
	run_pod --net=tap
	expect_line "connect $ip6: welcome"
	eventually "the server listens again" served a 3
	pod '.apps = [app("b"; ["connect", "'"$HOST"'", "8080", "exchange", "'"$ip"'", "80", "exchange", "'"$ip6"'", "80"])]'
	run_pod --net=tap
	expect_line "connect $HOST: welcome" "exchange $ip: 1048576 bytes" "exchange $ip6: 1048576 bytes"
	eventually "the server listens again" served a 6
	large_frames appcbr0
	[ "$(hear on_host "$ip" 80)" = welcome ]
	pods_end
	nothing_on_host
}

@test "no pod passes for another: wrong addresses, ARP, neighbour discovery and other protocols go nowhere" {
	background ".apps = [app(\"a\"; [\"overhear\", \"eth0\"]) | .app.isolators = [$RAW]]" a --net=tap
	eventually "the pod listens" has a 'overhear eth0: listening'
	pod ".apps = [app(\"b\"; [\"shout\", \"eth0\", \"honest\", \"spoof\", \"eth0\", \"$(address_of a)\",
		\"shout\", \"eth0\", \"end\"]) | .app.isolators = [$RAW]]"
	run_pod --net=tap
	expect_status 0
	expect_line 'spoof eth0: done'
	pods_end
	cat "$BATS_TEST_TMPDIR/a"
	[ "$(<"$BATS_TEST_TMPDIR/a")" = 'overhear eth0: listening
overheard: honest
overheard: end' ]
}

@test "no pod hears what others say to each other" {
	background ".apps = [app(\"a\"; [\"overhear\", \"eth0\"]) | .app.isolators = [$RAW]]" a --net=tap
	eventually "the pod listens" has a 'overhear eth0: listening'
	background '.apps = [app("b"; ["greet", "80"])]' b --net=tap
	eventually "the server listens" has b listening
	pod ".apps = [app(\"c\"; [\"connect\", \"$(address_of b)\", \"80\", \"shout\", \"eth0\", \"end\"]) |
		.app.isolators = [$RAW]]"
	run_pod --net=tap
	expect_line "connect $(address_of b): welcome"
	pods_end
	cat "$BATS_TEST_TMPDIR/a"
	[ "$(<"$BATS_TEST_TMPDIR/a")" = 'overhear eth0: listening
overheard: end' ]
}

@test "what a killed run leaves is removed by gc, and its address is not another's while it lives" {
	background '.apps = [app("a"; ["greet", "80"])]' a --net=tap
	eventually "the server listens" has a listening
	background '.apps = [app("b"; ["greet", "80"])]' b --net=tap
	eventually "the other listens" has b listening
	[ "$(address_of a)" != "$(address_of b)" ]
	kill -9 "${PIDS[@]}"
	wait "${PIDS[@]}" || true
	PIDS=()
	fails nothing_on_host
	eventually "nothing of the pods is left" nothing_left
	appc_vm gc --grace-period=0s
	nothing_on_host
}

@test "what a host that is gone has left is not taken for that of another which got its number" {
	local inode
	inode=$(stat --dereference --format=%i "/proc/$HOST_PID/ns/net")
	# Interfaces of the other host, one of which has a name that is to be had here, too.
	mkdir -p "/run/appc-vm/network-$inode-1"
	touch "/run/appc-vm/network-$inode-1/bridge=out" "/run/appc-vm/network-$inode-1/forwarding=all" \
		"/run/appc-vm/network-$inode-1/forwarded=out"
	pod '.apps = [app("a"; ["interface", "eth0"])]'
	run_pod --net=tap
	expect_status 0
	nothing_on_host
}

@test "a bridge that was there is used with its network, and stays" {
	on_host ip link add mine type bridge
	on_host ip address add 192.0.2.1/29 dev mine
	on_host ip link set mine up
	pod '.apps = [app("a"; ["interface", "eth0"])]'
	run_pod --net=tap:bridge=mine
	expect_status 0
	expect_line 'interface eth0: address 192.0.2.2'
	on_host ip -oneline address show mine | grep -q 192.0.2.1/29
	[ -z "$(on_host nft list ruleset)" ]
	run_pod --net=tap:bridge=out
	expect_status 254
	expect_error 'port of the bridge|out is no bridge'
	run_pod --net=tap:bridge=a/b
	expect_status 254
	expect_error '"a/b" is no name of an interface'
}

@test "a port that is taken ends the pod before it starts, with its number" {
	on_host ip address add 198.51.100.9/24 dev out
	on_host python3 -c 'import socket, time; s = socket.create_server(("198.51.100.9", 8080)); print(flush=True); time.sleep(1000)' \
		>"$BATS_TEST_TMPDIR/listens" 3>&- &
	SERVER=$!
	eventually "the server listens" test -s "$BATS_TEST_TMPDIR/listens"
	pod '.apps = [app("a"; ["interface", "eth0"]) |
		.app.ports = [{name: "http", protocol: "tcp", port: 80}]] |
		.ports = [{name: "http", hostPort: 8080, hostIP: "198.51.100.9"}]'
	run_pod --net=tap
	expect_status 254
	expect_error 'no network: port 198.51.100.9/8080:80: Address already in use'
	[ ! -s "$OUT" ]
	nothing_on_host
}
