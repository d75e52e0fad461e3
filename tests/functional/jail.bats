#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The jail of the VMM: what stands around it while a pod runs, what a captured one can do, and that nothing of it
# is left. The captured one is build/appc-vm-captured (tests/attack/hook.c).
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # the variables are jq's and bats'

load lib

CAPTURED=${CAPTURED:-$TOP/build/appc-vm-captured}

setup_file()
{
	[ -c /dev/kvm ] || return 0
	data_directory
	# Templates of both programs, before anybody attacks; machines of pods with volumes of the host have their own.
	pod '.apps = [app("one"; ["say", "ready"])]'
	run_pod --memory=128M
	pod_with_fixed_volume
	APPC_VM=$CAPTURED run_pod --memory=128M
	host_targets
}

# servers FILE [COMMAND...]: starts, by COMMAND, what listens on a TCP port and by an abstract name. FILE has the port and
# the process.
servers()
{
	local file=$1
	shift
	"$@" python3 - "$file" "$APPC_ATTACK_ABSTRACT" >/dev/null 2>&1 3>&- <<-'END' &
		import os, socket, sys, time
		tcp = socket.create_server(("127.0.0.1", 0))
		abstract = socket.socket(socket.AF_UNIX)
		abstract.bind("\0" + sys.argv[2])
		abstract.listen()
		with open(sys.argv[1] + ".new", "w") as file:
		    print(tcp.getsockname()[1], os.getpid(), file=file)
		os.rename(sys.argv[1] + ".new", sys.argv[1])
		time.sleep(100000)
	END
	eventually "the host's servers listen" test -s "$file"
}

# What of the host a captured VMM is after.
host_targets()
{
	echo secret >"$BATS_FILE_TMPDIR/secret"
	export APPC_ATTACK_SECRET=$BATS_FILE_TMPDIR/secret APPC_ATTACK_ABSTRACT=appc-jail-$$
	servers "$BATS_FILE_TMPDIR/server"
	ipcmk --shmem 4096 | sed 's/.*: //' >"$BATS_FILE_TMPDIR/memory"
	read -r APPC_ATTACK_PORT APPC_ATTACK_PROCESS <"$BATS_FILE_TMPDIR/server"
	APPC_ATTACK_MEMORY=$(<"$BATS_FILE_TMPDIR/memory")
	APPC_ATTACK_HOST=$(hostname)
	export APPC_ATTACK_PORT APPC_ATTACK_PROCESS APPC_ATTACK_MEMORY APPC_ATTACK_HOST
}

teardown_file()
{
	local file
	for file in "$BATS_FILE_TMPDIR"/server*; do
		[ ! -e "$file" ] || kill "$(cut -d ' ' -f 2 "$file")" || true
	done
	[ ! -e "$BATS_FILE_TMPDIR/memory" ] || ipcrm --shmem-id "$(<"$BATS_FILE_TMPDIR/memory")"
}

setup()
{
	needs_kvm
	UUID_FILE=$BATS_TEST_TMPDIR/uuid
}

teardown()
{
	[ -z "${HOST_PID:-}" ] || kill "$HOST_PID" || true
	pod_teardown
}

# begin [OPTION...]: a pod that runs until it is stopped. Sets UUID, and VMM, the process of its machine.
begin()
{
	pod '.apps = [app("lasting"; ["until-stopped"])]'
	start_pod --memory=128M "--uuid-file-save=$UUID_FILE" "$@"
	pod_ready
	# Where the pod has a network, passt is its child, too.
	VMM=$(pgrep --parent "$RUN" appc-vm)
}

stop()
{
	appc_vm stop "$UUID"
	finish_pod
}

# The directories of the pod's cgroup, in every hierarchy that is mounted; in version 2 there are more below.
cgroups()
{
	find /sys/fs/cgroup -type d -path "*/appc-$UUID*" 2>/dev/null
}

no_cgroups()
{
	[ -z "$(cgroups)" ]
}

of_status()
{
	sed -n "s/^$1:[[:space:]]*//p" "/proc/$VMM/status"
}

# limit NAME: soft and hard.
limit()
{
	sed -n "s/^Max $1  *\([^ ]*\)  *\([^ ]*\) .*/\1 \2/p" "/proc/$VMM/limits"
}

# The filters of its threads, each once; not of those that the kernel keeps in the process, which never leave the kernel.
filters()
{
	local task
	for task in "/proc/$VMM/task"/*; do
		case $(<"$task/comm") in
		iou-wrk-* | kvm-nx-lpage*) ;;
		*) sed -n 's/^Seccomp:[[:space:]]*//p' "$task/status" ;;
		esac
	done | sort --unique
}

@test "a running VMM has its own namespaces, user, capabilities, limits, filters and cgroup, and status says so" {
	local namespace landlock=true user files limit
	begin
	for namespace in mnt pid net ipc uts cgroup; do
		[ "$(readlink "/proc/$VMM/ns/$namespace")" != "$(readlink "/proc/self/ns/$namespace")" ]
	done
	# It is the first process of its PID namespace, and alone in it.
	[ "$(of_status NSpid | awk '{print $NF}')" = 1 ]
	# 0x70000000 and the last 28 bits of the UUID; its files are root's until it says otherwise.
	user=$((0x70000000 | 0x${UUID: -7}))
	[ "$(of_status Uid)" = "$user	$user	$user	0" ]
	[ "$(of_status Gid)" = "$user	$user	$user	0" ]
	[ -z "$(of_status Groups)" ]
	# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID, MKNOD, SETFCAP
	for set in CapPrm CapEff CapBnd; do
		[ "$(of_status $set)" = 00000000880000db ]
	done
	[ "$(of_status CapInh)" = 0000000000000000 ]
	[ "$(of_status NoNewPrivs)" = 1 ]
	for limit in 'core file size' 'locked memory' 'msgqueue size' 'nice priority' 'realtime priority'; do
		[ "$(limit "$limit")" = '0 0' ]
	done
	[ "$(limit processes)" = '128 128' ]
	[ "$(limit 'pending signals')" = '128 128' ]
	files=$(limit 'open files')
	[ "${files#* }" -le "$(ulimit -H -n)" ]
	[ "${files% *}" = "${files#* }" ]
	# SECCOMP_MODE_FILTER, of the event loop and of the vCPU.
	[ "$(compgen -G "/proc/$VMM/task/*" | wc -l)" -ge 2 ]
	[ "$(filters)" = 2 ]
	"$APPC_VM" check | grep -qE 'landlock +version' || landlock=false
	appc_vm status --format=json "$UUID" | jq --exit-status --argjson landlock "$landlock" '
		.walls | .tree and .namespaces and .user and .limits and .seccomp and .landlock == $landlock'
	appc_vm status "$UUID" | grep -qE '^walls=tree,namespaces,user,limits'
	stop
}

@test "a running VMM has open what docs/security.md lists, and no directory outside of its tree" {
	local fd target
	begin
	for fd in "/proc/$VMM/fd"/*; do
		target=$(readlink "$fd") || continue
		case $target in
		anon_inode:* | socket:* | pipe:* | /null) ;;
		*/lock | /self/fd | /1/fd | /1/smaps) ;;
		# For a checkpoint: what the guest's memory was mapped from.
		/1/pagemap | */memory) ;;
		/ | /apps* | /volumes* | /tree*) ;; # of the tree
		*)
			echo "fd ${fd##*/} is $target"
			return 1
			;;
		esac
	done
	stop
}

# Which processes have a file open that is this one.
holders()
{
	local fd
	for fd in /proc/[0-9]*/fd/*; do
		[ ! "$fd" -ef "$1" ] || cut -d / -f 3 <<<"$fd"
	done | sort --unique
}

@test "what the program was started with beside its standard fds, neither the VMM nor passt has" {
	local directory=$BATS_TEST_TMPDIR/open passt
	mkdir "$directory"
	echo secret >"$directory/file"
	mkfifo "$directory/fifo"
	begin --net 7<"$directory" 8<>"$directory/fifo" 9<"$directory/file"
	passt=$(pgrep --parent "$RUN" --exact --uid 65534 'passt(.avx2)?')
	compgen -G "/proc/$passt/fd/*" >/dev/null
	compgen -G "/proc/$VMM/fd/*" >/dev/null
	# Whoever looks sees them where they are: with the supervisor.
	[ "$(holders "$directory")" = "$RUN" ]
	[ "$(holders "$directory/fifo")" = "$RUN" ]
	[ "$(holders "$directory/file")" = "$RUN" ]
	stop
}

@test "the host's cgroup limits memory, CPUs and threads, and is gone afterwards" {
	local directory limit
	begin
	[ -n "$(cgroups)" ] || skip "this host has no cgroups, or none is mounted"
	cgroups | while read -r directory; do cat "$directory/cgroup.procs"; done | grep -xF "$VMM"
	for directory in $(cgroups); do
		if [ -e "$directory/memory.limit_in_bytes" ]; then
			limit=$(<"$directory/memory.limit_in_bytes")
		elif [ "${directory##*/}" = vmm ]; then
			limit=$(<"$directory/memory.max")
		fi
		# Of version 2 the VMM's own is in a directory below.
		[ -d "$directory/vmm" ] || [ "${directory##*/}" = network ] || [ ! -e "$directory/pids.max" ] ||
			[ "$(<"$directory/pids.max")" = 128 ]
		[ ! -e "$directory/cpu.cfs_quota_us" ] || [ "$(<"$directory/cpu.cfs_quota_us")" = 200000 ]
		[ ! -e "$directory/cpu.max" ] || [ "$(<"$directory/cpu.max")" = "200000 100000" ]
	done
	[ "$limit" -gt $((128 << 20)) ]
	[ "$limit" -lt $((2 << 30)) ]
	appc_vm status --format=json "$UUID" | jq --exit-status .walls.cgroup
	stop
	no_cgroups
}

@test "a VMM that reaches the limit on its memory is ended with a word on why" {
	local file usage
	pod '.apps = [app("hungry"; ["until-stopped", "hog"])]'
	start_pod --memory=128M "--uuid-file-save=$UUID_FILE"
	pod_ready
	eventually "the app is ready" said ready
	file=$(cgroups | while read -r directory; do
		find "$directory" -maxdepth 1 -name memory.limit_in_bytes -o -path '*/vmm/memory.max'
	done | sort -u)
	[ -n "$file" ] || skip "this host has no cgroup for memory, or none is mounted"
	# A bit more than it has; the app wants it all.
	usage=$(cat "${file%/*}"/memory.{usage_in_bytes,current} 2>/dev/null || true)
	echo $((usage + (2 << 20))) >"$file"
	appc_vm stop "$UUID"
	finish_pod
	expect_status 254
	expect_error "the pod's VMM was killed at the memory limit of its cgroup on the host"
	no_cgroups
}

@test "each wall can be taken down by its name, and status tells" {
	local wall
	pod '.apps = [app("one"; ["say", "ready"])]'
	for wall in namespaces user limits cgroup landlock; do
		run_pod --memory=128M "--uuid-file-save=$UUID_FILE" "--insecure-options=vmm-$wall"
		expect_status 0
		expect_line ready
		appc_vm status "$(<"$UUID_FILE")" >"$BATS_TEST_TMPDIR/status"
		grep -E '^walls_down=' "$BATS_TEST_TMPDIR/status" | grep -qwF "$wall"
		grep -E '^walls=' "$BATS_TEST_TMPDIR/status" | grep -qwF tree
	done
	run_pod --memory=128M "--uuid-file-save=$UUID_FILE" --insecure-options=all-vmm
	expect_status 0
	expect_line ready
	appc_vm status "$(<"$UUID_FILE")" >"$BATS_TEST_TMPDIR/status"
	grep -qx 'walls=tree' "$BATS_TEST_TMPDIR/status"
	grep -qx 'walls_down=namespaces,user,limits,cgroup,landlock,seccomp' "$BATS_TEST_TMPDIR/status"
	run_pod --insecure-options=vmm-tree
	expect_status 254
	expect_error 'unknown option "vmm-tree"; there are none, .* vmm-namespaces'
}

@test "without all its walls a VMM is a process of root's whose file system is the tree" {
	local namespace
	begin --insecure-options=all-vmm
	for namespace in pid net ipc uts cgroup; do
		[ "$(readlink "/proc/$VMM/ns/$namespace")" = "$(readlink "/proc/self/ns/$namespace")" ]
	done
	[ "$(readlink "/proc/$VMM/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ]
	[ "$(of_status Uid)" = "0	0	0	0" ]
	[ "$(of_status CapEff)" = "$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)" ]
	[ "$(of_status NoNewPrivs)" = 1 ]
	[ "$(limit processes)" = "$(ulimit -S -u) $(ulimit -H -u)" ]
	[ "$(filters)" = 0 ]
	[ -z "$(cgroups)" ]
	appc_vm status --format=json "$UUID" | jq --exit-status '.walls == {tree: true, namespaces: false, user: false,
		limits: false, cgroup: false, landlock: false, seccomp: false}'
	stop
}

# A volume that nobody may change, which the VMM has at $APPC_ATTACK_READ_ONLY, and a pod with it. Sets FIXED.
pod_with_fixed_volume()
{
	FIXED=$BATS_TEST_TMPDIR/host/fixed
	mkdir -p "$FIXED/below"
	echo fixed >"$FIXED/file"
	pod '.apps = [app("one"; ["say", "ready"]) + {mounts: [{volume: "fixed", path: "/fixed"}]}] |
		.volumes = [{name: "fixed", kind: "host", source: ($host + "/fixed"), readOnly: true}]'
	export APPC_ATTACK_READ_ONLY=/volumes/fixed
}

# All that is known of a directory and what is in it: names, times, owners, modes, attributes, content.
all_of()
{
	python3 - "$1" <<-'END'
		import os, sys
		for directory, _, files in os.walk(sys.argv[1]):
		    for path in [directory] + [os.path.join(directory, name) for name in files]:
		        st = os.lstat(path)
		        print(path, st.st_mode, st.st_uid, st.st_gid, st.st_nlink, st.st_mtime_ns, st.st_ctime_ns,
		              os.listxattr(path), path != directory and open(path).read())
	END
}

# attack THREAD NOTHING [OPTION...]: all attempts that another wall than the filter stops, without the filter, in one pod.
# Where that has not what they are for, there is nothing to try for attempts of these names, sorted.
attack()
{
	local thread=$1 nothing=$2 before
	shift 2
	pod_with_fixed_volume
	before=$(all_of "$FIXED")
	APPC_VM=$CAPTURED APPC_ATTACK="$thread all" run_pod --memory=128M --insecure-options=vmm-seccomp "$@"
	# The pod does not notice.
	expect_status 0
	expect_line ready
	expect_error "^attack: done on $thread$"
	[ "$(grep -c '^attack .*: stopped' "$ERR")" -ge 34 ]
	[ "$(grep -c '^attack .*: SUCCEEDED' "$ERR")" -eq 0 ]
	[ "$(sed -n 's/^attack \(.*\): stopped (nothing to try)$/\1/p' "$ERR" | sort | paste --serial --delimiters=' ')" = "$nothing" ]
	diff <(echo "$before") <(all_of "$FIXED")
}

@test "what a captured event loop tries to break out is stopped by walls other than the filter" {
	attack loop use-ring
}

@test "what a captured vCPU thread tries to break out is stopped by walls other than the filter" {
	attack vcpu use-ring
}

@test "the ring of a captured VMM does what the file server needs, and nothing can be registered with it" {
	attack start ''
	grep -qxF 'attack use-ring: stopped (Permission denied)' "$ERR"
	grep -qxF 'attack register-with-ring: stopped (Permission denied)' "$ERR"
}

# A pod with a network has its socket or tap, and not the file that its memory came from.
@test "a captured VMM whose pod has a network by passt gets no further" {
	# The template of such machines comes first.
	pod_with_fixed_volume
	APPC_VM=$CAPTURED run_pod --memory=128M --net
	expect_status 0
	attack loop 'change-memory use-ring' --net
}

# The bridge is in a network namespace that stands for the host's; so are the servers that are to be reached.
@test "a captured VMM whose pod has a tap gets no further, and the filter keeps it from the tap" {
	[ -c /dev/net/tun ] || skip "there is no /dev/net/tun"
	unshare --net sleep infinity 3>&- &
	HOST_PID=$!
	eventually "there is a host" has_other_network "$HOST_PID"
	on_host ip link set lo up
	servers "$BATS_FILE_TMPDIR/server-of-bridge" on_host
	read -r APPC_ATTACK_PORT APPC_ATTACK_PROCESS <"$BATS_FILE_TMPDIR/server-of-bridge"
	printf '#!/bin/sh\nexec nsenter --net=/proc/%s/ns/net "%s" "$@"\n' "$HOST_PID" "$CAPTURED" \
		>"$BATS_TEST_TMPDIR/on-host"
	chmod +x "$BATS_TEST_TMPDIR/on-host"
	CAPTURED=$BATS_TEST_TMPDIR/on-host
	pod_with_fixed_volume
	APPC_VM=$CAPTURED run_pod --memory=128M --net=tap
	expect_status 0
	attack vcpu 'change-memory use-ring' --net=tap
	APPC_VM=$CAPTURED APPC_ATTACK='loop change-tap' run_pod --memory=128M --net=tap --insecure-options=vmm-seccomp
	expect_status 0
	expect_error '^attack change-tap: SUCCEEDED'
	APPC_VM=$CAPTURED APPC_ATTACK='loop change-tap' run_pod --memory=128M --net=tap
	expect_status 254
	expect_error 'event loop thread made the system call ioctl, which its filter does not allow'
}

has_other_network()
{
	[ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]
}

on_host()
{
	nsenter --net="/proc/$HOST_PID/ns/net" "$@"
}

@test "what only the filter stops ends the pod, on either thread, and the call is named" {
	local call name thread=loop
	pod_with_fixed_volume
	while read -r name call; do
		APPC_VM=$CAPTURED APPC_ATTACK="$thread $name" run_pod --memory=128M
		expect_status 254
		expect_error "thread made the system call $call, which its filter does not allow"
		expect_error "^attack $name: begins"
		[ "$(grep -cE '^attack .*(SUCCEEDED|stopped)' "$ERR")" -eq 0 ]
		thread=$([ "$thread" = loop ] && echo vcpu || echo loop)
	done <<-'END'
		new-socket socket
		become-root setresuid
		use-keys keyctl
		load-bpf bpf
		handle-faults userfaultfd
		see-interfaces ioctl
		new-ring io_uring_setup
	END
}

@test "SIGKILL of the supervisor takes the VMM along, and rm clears the rest away" {
	begin
	kill -KILL "$RUN"
	wait "$RUN" || true
	eventually "the VMM is gone" process_gone "$VMM"
	RUN=
	appc_vm rm "$UUID"
	no_cgroups
}

@test "SIGKILL of the VMM ends the pod, and leaves nothing" {
	begin
	kill -KILL "$VMM"
	finish_pod
	expect_status 254
	expect_error "killed by signal 9"
	no_cgroups
}
