#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A guest that is hostile from its first instruction: tests/hostile, built for ring 0 and started as the
# kernel of a real pod. The numbers are the groups of tests/hostile/cases.h. What each case expects of the machine
# the guest checks itself; here it is seen that the pod ends as it must, and what became of the host.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034 # the variables are jq's and bats'; lib.bash reads LIMIT

load lib

GUEST=${GUEST:-$TOP/build/hostile-guest}
# Bounds of the VMM while the guest is done and waits: fds, and kilobytes that were ever resident: its 64 MiB of
# RAM, and what the VMM needs.
FDS_MAX=64
RESIDENT_MAX=$(((64 + 16) * 1024))
[ -z "${SANITIZED:-}" ] || RESIDENT_MAX=$((RESIDENT_MAX + 512 * 1024))
# A device tells eight times that its driver broke the rules; guest-init warns a hundred times.
LINES_MAX=48

setup_file()
{
	[ ! -c /dev/kvm ] || data_directory
}

setup()
{
	needs_kvm
	LIMIT=120
	local volume
	for volume in rw ro; do
		mkdir -p "$BATS_TEST_TMPDIR/host/$volume/directory"
		printf hello >"$BATS_TEST_TMPDIR/host/$volume/file"
		printf inner >"$BATS_TEST_TMPDIR/host/$volume/directory/inner"
		ln -s / "$BATS_TEST_TMPDIR/host/$volume/to-root"
		ln -s ../../.. "$BATS_TEST_TMPDIR/host/$volume/to-parent"
		ln -s /proc/self/root "$BATS_TEST_TMPDIR/host/$volume/to-magic"
		ln -s file "$BATS_TEST_TMPDIR/host/$volume/to-file"
	done
	printf sings >"$BATS_TEST_TMPDIR/host/canary"
	hostile_pod .
	PROGRAMS=
}

teardown()
{
	[ -z "$PROGRAMS" ] || kill "$PROGRAMS"
	pod_teardown
}

# hostile_pod FILTER: the pod of all cases, changed by the filter.
hostile_pod()
{
	pod '.apps = [app("app"; []) | .mounts = [{volume: "rw", path: "/rw"}, {volume: "ro", path: "/ro"}]] |
		.volumes = [{name: "rw", kind: "host", source: ($host + "/rw")},
			{name: "ro", kind: "host", source: ($host + "/ro"), readOnly: true}] | '"$1"
}

# What no guest may change: all of the host's directory but the volume that is its own.
host_state()
{
	find "$BATS_TEST_TMPDIR/host" -path "$BATS_TEST_TMPDIR/host/rw/*" -prune -o ! -name rw \
		-printf '%p %y %m %U %G %s %T@ %l\n' -type f -exec sha256sum {} + | sort
}

# start_guest WORDS [OPTION...]: a pod whose kernel is the hostile guest, with these words for it.
start_guest()
{
	local words=$1
	shift
	BEFORE=$(host_state)
	APPC_VM_EXTRA_KERNEL_PARAMS=$words start_pod --no-template "--kernel=$GUEST" --memory=64M "$@"
}

# host_programs DIRECTORY: what listens at the ports that the guest knows (tests/hostile/guest.h), until teardown.
host_programs()
{
	python3 - "$1" "$BATS_TEST_TMPDIR/listening" 3>&- <<-'END' &
		import os, selectors, socket, sys
		selector = selectors.DefaultSelector()
		def listen(port, greet):
		    server = socket.socket(socket.AF_UNIX)
		    server.bind("vsock_%d" % port)
		    server.listen(128)
		    server.setblocking(False)
		    selector.register(server, selectors.EVENT_READ, lambda: greet(server.accept()[0]))
		def echo(client):
		    client.setblocking(False)
		    def answer():
		        try:
		            data = client.recv(8192)
		            if data:
		                client.send(data)
		                return
		        except BlockingIOError:
		            return
		        except OSError:
		            pass
		        selector.unregister(client)
		        client.close()
		    selector.register(client, selectors.EVENT_READ, answer)
		deaf = []
		os.chdir(sys.argv[1])
		listen(7, echo)
		listen(9, deaf.append)
		open(sys.argv[2], "w").close()
		while True:
		    for key, events in selector.select():
		        key.data()
	END
	PROGRAMS=$!
	eventually "the host's programs listen" test -e "$BATS_TEST_TMPDIR/listening"
}

# exchange_links: names of the volume that are now a directory and now a link out of it, until teardown.
exchange_links()
{
	python3 - "$BATS_TEST_TMPDIR/host/rw" "$BATS_TEST_TMPDIR/host" "$BATS_TEST_TMPDIR/exchanging" 3>&- <<-'END' &
		import ctypes, os, sys, time
		EXCHANGE = 2
		volume, beside, ready = sys.argv[1:]
		libc = ctypes.CDLL(None, use_errno=True)
		fd = os.open(volume, os.O_RDONLY | os.O_DIRECTORY)
		for i, target in enumerate((beside, "..", "../ro", "/")):
		    os.makedirs("%s/swap%d/inner" % (volume, i))
		    with open("%s/swap%d/file" % (volume, i), "w") as file:
		        file.write("inside")
		    os.symlink(target, "%s/to-swap%d" % (volume, i))
		open(ready, "w").close()
		while True:
		    for i in range(4):
		        if libc.renameat2(fd, b"swap%d" % i, fd, b"to-swap%d" % i, EXCHANGE) < 0:
		            sys.exit(os.strerror(ctypes.get_errno()))
		        # In no rhythm that the guest could fall into.
		        time.sleep(os.urandom(1)[0] / 1e6)
	END
	PROGRAMS=$!
	eventually "directories are exchanged" test -e "$BATS_TEST_TMPDIR/exchanging"
}

# survive_prepared WORDS [OPTION...]: survive, in a pod at whose ports programs of the host listen.
survive_prepared()
{
	local uuid
	uuid=$(appc_vm prepare --quiet "$POD")
	host_programs "$DATA/pods/prepared/$uuid"
	COMMAND=run-prepared
	POD=$uuid
	survive "$@"
}

# The guest has said this line, or is no more.
guest_said()
{
	said "$1" || process_gone "$RUN"
}

# What the VMM costs, while it runs.
expect_bounds()
{
	local vmm fds resident
	# The other child is passt, where there is a network.
	for vmm in $(<"/proc/$RUN/task/$RUN/children"); do
		[ "$(readlink "/proc/$vmm/exe")" != "$(realpath "$APPC_VM")" ] || break
	done
	fds=(/proc/"$vmm"/fd/*)
	resident=$(sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\).*/\1/p' "/proc/$vmm/status")
	if [ "${#fds[@]}" -gt "$FDS_MAX" ] || [ "$resident" -gt "$RESIDENT_MAX" ]; then
		echo "the VMM has ${#fds[@]} open files, had $resident KiB resident"
		return 1
	fi
}

expect_host_untouched()
{
	local after
	after=$(host_state)
	if [ "$after" != "$BEFORE" ]; then
		diff <(echo "$BEFORE") <(echo "$after")
		return 1
	fi
	# What it made in its volume is nothing that the host would follow or open.
	[ -z "$(find "$BATS_TEST_TMPDIR/host/rw" -type b -o -type c)" ]
}

expect_lines()
{
	local lines
	lines=$(wc -l <"$ERR")
	if [ "$lines" -gt "$1" ]; then
		echo "$lines lines of log, at most $1 expected"
		return 1
	fi
}

# survive WORDS [OPTION...]: all cases that the words choose are as they should be, and the pod then ends as any.
survive()
{
	start_guest "$@"
	eventually "the guest is done" guest_said "done"
	expect_bounds
	kill -TERM "$RUN"
	finish_pod
	expect_status 0
	fails grep -q FAILED "$OUT"
	grep -q '^ok ' "$OUT"
	expect_lines "$LINES_MAX"
	expect_host_untouched
}

# die CASE PATTERN [OPTION...]: the pod ends by itself, and the last line says why.
die()
{
	local name=$1 pattern=$2
	shift 2
	start_guest "hostile.case=$name" "$@"
	finish_pod
	expect_status 254
	expect_lines 2
	if ! tail -n 1 "$ERR" | grep -qE -- "$pattern"; then
		echo "$name: the reason does not match: $pattern"
		return 1
	fi
	expect_host_untouched
}

# The third signal ends the pod. Each is heard once while it waits, and a shell's background job ignores INT.
kill_thrice()
{
	local i
	for i in TERM HUP TERM; do
		kill "-$i" "$RUN" 2>/dev/null || true
		sleep 0.3
	done
}

# outlast CASE LINES: the guest goes on for ever; who ends the pod ends it at once.
outlast()
{
	start_guest "hostile.case=$1"
	eventually "the guest is there" guest_said here
	expect_bounds
	kill_thrice
	finish_pod
	expect_status 254
	expect_lines "$2"
	expect_error 'error: .*killed'
	expect_host_untouched
}

@test "group 1: queues that cannot be" {
	survive hostile.group=1
}

@test "group 2: registers in any order, of any width, and resets" {
	survive hostile.group=2
}

@test "group 3: indices and heads" {
	survive hostile.group=3
}

@test "group 4: malformed chains" {
	survive hostile.group=4
}

@test "group 5: another CPU changes what is being read" {
	survive hostile.group=5 --cpus=2
}

@test "group 6: chains of gigabytes and of fragments" {
	survive hostile.group=6
}

@test "group 7: ports and addresses of nothing" {
	survive hostile.group=7
}

@test "group 8: CPUs that crash, stop or never stop" {
	survive hostile.group=8 --cpus=2
	die triple_fault 'triple fault'
	die reset_line 'reset itself'
	die page_tables_nowhere 'triple fault|cannot emulate|internal error'
	die execute_nothing 'triple fault|cannot emulate|internal error'
	outlast halt_for_ever 1
	outlast stand_still 1
	# Elsewhere there are no such ports.
	if [[ $(appc_vm check) == *"guest kernel code is emulated"* ]]; then
		die xstate_nowhere 'vCPU 0: the registers of floating point cannot be saved: Bad address'
	fi
}

@test "group 9: headers, versions and sizes of requests" {
	survive hostile.group=9
}

@test "group 10: nodes and handles that were never given" {
	survive hostile.group=10
}

@test "group 11: names that are no names" {
	survive hostile.group=11
}

@test "group 12: links" {
	survive hostile.group=12
}

@test "group 12: links that a process of the host exchanges with directories meanwhile" {
	exchange_links
	survive hostile.case=links_exchanged
	# It was at work to the end.
	kill -0 "$PROGRAMS"
}

@test "group 13: special files and read-only volumes" {
	survive hostile.group=13
}

@test "group 14: numbers at their ends" {
	survive hostile.group=14
}

@test "group 15: more of everything than the bounds" {
	[ -z "${TSAN_OPTIONS:-}" ] ||
		skip "requests that name the same bytes race, and in the jail the sanitizer cannot tell which they are"
	survive hostile.group=15
	# Where answers are held back, too. What the VMM itself reads from the disk counts: its own pages, where they are
	# not in memory.
	hostile_pod '.apps[0].app.isolators = [{name: "resource/block-iops", value: {default: true, limit: "200"}}]'
	survive hostile.case=head_flood
}

@test "group 16: ranges of the window for files" {
	survive hostile.group=16 --dax=always
}

@test "group 17: what guest-init would never say" {
	die frame_huge 'broke the protocol: .*4294967295'
	die frame_empty 'broke the protocol: .*0 bytes'
	die frame_garbage 'broke the protocol'
	die frame_deep 'broke the protocol: .*nested'
	die frame_not_utf8 'broke the protocol'
	die message_unknown 'unknown type'
	die message_escapes 'guest-init failed'
	[ "$(tr -d '[:print:]\n' <"$ERR" | wc -c)" -eq 0 ]
	die app_unknown 'cannot have'
	die app_twice 'cannot have'
	die status_range 'cannot have'
	die ended_early 'before its apps'
	die metadata_flood 'before the last one was answered'
	die stream_malformed 'malformed output'
	outlast frame_partial 1
}

@test "group 17: warnings without end" {
	outlast warnings_for_ever 102
	start_guest hostile.case=warning_flood
	finish_pod
	expect_status 0
	expect_lines 101
}

@test "group 18: the console's queues" {
	survive hostile.group=18
}

@test "group 18: output that nobody reads keeps nothing but the guest" {
	mkfifo "$BATS_TEST_TMPDIR/pipe"
	exec 8<>"$BATS_TEST_TMPDIR/pipe"
	BEFORE=$(host_state)
	ERR=$BATS_TEST_TMPDIR/err
	OUT=$ERR
	APPC_VM_EXTRA_KERNEL_PARAMS=hostile.case=output_blocked "$APPC_VM" "--dir=$DATA" run --no-template \
		"--kernel=$GUEST" --memory=64M "$POD" >"$BATS_TEST_TMPDIR/pipe" 2>"$ERR" </dev/null 3>&- 8>&- &
	RUN=$!
	read -r line <&8
	[ "$line" = here ]
	expect_bounds
	kill_thrice
	# What was written belongs to the person; who does not want it says so once more.
	eventually "the VMM is gone" vmm_gone
	kill -TERM "$RUN" 2>/dev/null || true
	finish_pod
	exec 8>&-
	expect_status 254
	expect_lines 1
	expect_host_untouched
}

vmm_gone()
{
	# Its size is always 0.
	[ -z "$(cat "/proc/$RUN/task/$RUN/children" 2>/dev/null)" ]
}

@test "group 19: packets to and from programs of the host" {
	survive_prepared 'hostile.group=19 hostile.host=yes'
}

@test "group 20: frames of a network" {
	survive 'hostile.group=20 hostile.host=yes' --net
}

@test "groups 1 to 4: queues and registers of the network device" {
	local group
	for group in 1 2 3 4; do
		survive "hostile.group=$group" --net
	done
}

@test "group 21: entropy and balloon" {
	survive hostile.group=21
}

# archive_begin: a good image's files, in $WORK.
archive_begin()
{
	WORK=$BATS_TEST_TMPDIR/work
	rm -rf "$WORK" "$BATS_TEST_TMPDIR/bad.aci"
	mkdir -p "$WORK/rootfs"
	printf evil >"$WORK/rootfs/evil"
	image_manifest example.com/bad >"$WORK/manifest"
}

# pack [TAR-OPTION...] MEMBER...: adds to the archive.
pack()
{
	tar --append --file "$BATS_TEST_TMPDIR/bad.aci" --directory "$WORK" -P "$@"
}

# What the archive does is refused and leaves the store as it was, or is done inside of a directory.
expect_harmless()
{
	local before after status=0
	before=$(find "$DATA" -type f -printf '%P %s\n' | sort)
	timeout 60 "$APPC_VM" "--dir=$DATA" image import "$BATS_TEST_TMPDIR/bad.aci" >"$BATS_TEST_TMPDIR/id" \
		2>"$BATS_TEST_TMPDIR/err" || status=$?
	if [ "$status" -eq 0 ]; then
		appc_vm image render --overwrite example.com/bad "$BATS_TEST_TMPDIR/rendered"
		appc_vm image rm "$(cat "$BATS_TEST_TMPDIR/id")"
	else
		expect_equal 254 "$status"
		expect_equal 1 "$(wc -l <"$BATS_TEST_TMPDIR/err")"
		after=$(find "$DATA" -type f -printf '%P %s\n' | sort)
		expect_equal "$before" "$after"
	fi
	expect_host_untouched
}

expect_equal()
{
	if [ "$1" != "$2" ]; then
		echo "expected $1, found $2"
		return 1
	fi
}

@test "group 22: archives that reach out, lie or never end" {
	BEFORE=$(host_state)
	archive_begin
	pack manifest rootfs --transform 's,^rootfs/evil,rootfs/../../evil,'
	expect_harmless

	archive_begin
	pack manifest rootfs --transform "s,^rootfs/evil,$BATS_TEST_TMPDIR/host/evil,"
	expect_harmless

	archive_begin
	ln -s "$BATS_TEST_TMPDIR/host" "$WORK/rootfs/link"
	pack manifest rootfs
	pack rootfs/evil --transform 's,^rootfs/evil,rootfs/link/planted,'
	expect_harmless

	archive_begin
	ln "$WORK/rootfs/evil" "$WORK/rootfs/second"
	pack manifest rootfs --transform "s,^rootfs/.*,$BATS_TEST_TMPDIR/host/canary,RSh"
	expect_harmless

	archive_begin
	pack manifest rootfs
	pack rootfs/evil
	pack manifest
	expect_harmless

	archive_begin
	mknod "$WORK/rootfs/kvm" c 10 232
	mkfifo "$WORK/rootfs/fifo"
	pack manifest rootfs
	expect_harmless

	archive_begin
	truncate --size=4T "$WORK/rootfs/huge" || truncate --size=1T "$WORK/rootfs/huge"
	pack --sparse manifest rootfs
	expect_harmless

	archive_begin
	pack manifest rootfs
	truncate --size=-700 "$BATS_TEST_TMPDIR/bad.aci"
	expect_harmless
}

@test "group 22: manifests that no person writes" {
	local text texts=(
		'{"acKind":"PodManifest","acKind":"PodManifest","acVersion":"0.8.11","apps":[]}'
		'{"acKind":"PodManifest","acVersion":"0.8.11","apps":[{"name":"../up","image":{"name":"example.com/probe"}}]}'
		'{"acKind":"PodManifest","acVersion":"0.8.11","apps":[{"name":"a\u0000b","image":{"name":"example.com/probe"}}]}'
		'{"acKind":"PodManifest","acVersion":"99999999999999999999.0.0","apps":[]}'
		'{"acKind":"PodManifest","acVersion":"0.8.11","apps":1e999}'
		'{"acKind":"PodManifest","acVersion":"0.8.11","volumes":[{"name":"v","kind":"host","source":"relative"}],"apps":[]}'
		"$(printf '[%.0s' {1..20000})"
		''
	)
	BEFORE=$(host_state)
	POD=$BATS_TEST_TMPDIR/pod.json
	for text in "${texts[@]}"; do
		printf '%s' "$text" >"$POD"
		run_pod
		expect_status 254
		expect_lines 1
		expect_host_untouched
	done
}
