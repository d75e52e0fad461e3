#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The filters of the VMM's system calls: how they are made from the tags in the sources, what becomes of a thread
# that makes another call, and that they hold what the code needs and no more.
# shellcheck disable=SC2016,SC2034 # variables of jq and of lib.bash

load lib

GUEST_FILES=${GUEST_FILES:-$TOP/build/guest-files}
FORBIDDEN=${FORBIDDEN:-$TOP/build/forbidden.so}
CALLS=$TOP/build/generated/filter_calls.txt
LARGE=$((8 << 20))

# The probe, the program that makes every operation on files, and two large files.
image_files()
{
	local work
	work=$(mktemp -d "$BATS_FILE_TMPDIR/files-XXXXXX")
	mkdir -p "$work"/rootfs/{bin,srv,tmp}
	cp "$PROBE" "$work/rootfs/bin/probe"
	cp "$GUEST_FILES" "$work/rootfs/bin/files"
	head -c "$LARGE" /dev/urandom >"$work/rootfs/srv/large"
	head -c "$LARGE" /dev/urandom >"$work/rootfs/srv/cut"
	image_manifest example.com/files >"$work/manifest"
	tar --create --file "$work.aci" --directory "$work" manifest rootfs
	appc_vm image import "$work.aci"
	rm -rf "$work" "$work.aci"
}

setup_file()
{
	[ ! -c /dev/kvm ] || data_directory
	[ ! -c /dev/kvm ] || image_files
}

needs_machine()
{
	needs_kvm
	[ "$FLAVOUR" = vm ] || skip "a container has no VMM"
}

# ---- how they are made

# generate LINE...: filters from a source with these lines; OUT is the list of what they allow.
generate()
{
	OUT=$BATS_TEST_TMPDIR/calls
	ERR=$BATS_TEST_TMPDIR/err
	printf '%s\n' "$@" >"$BATS_TEST_TMPDIR/source.c"
	status=0
	(cd "$BATS_TEST_TMPDIR" && "$TOP/vmm/filter_generate.py" --programs filter_programs.h --calls calls source.c) \
		2>"$ERR" || status=$?
}

@test "a tag becomes a filter of the threads that it names" {
	generate '/* #syscalls:vcpu,loop close fcntl(_, F_DUPFD_CLOEXEC) */' ' * #syscalls:park openat(_, _, ~(O_CREAT | O_TRUNC))' \
		'/* #syscalls: mount */'
	expect_status 0
	expect_line "vcpu 3 close source.c:1" "vcpu 72 fcntl(_, F_DUPFD_CLOEXEC) source.c:1" \
		"loop 3 close source.c:1" "park 257 openat(_, _, ~(O_CREAT | O_TRUNC)) source.c:2"
	# Whoever parks a machine runs its loop.
	expect_line "park 3 close source.c:1"
	run ! grep -q "mount" "$OUT"
	gcc -fsyntax-only -D_GNU_SOURCE -I"$TOP" -I"$BATS_TEST_TMPDIR" "$TOP/vmm/filter.c"
}

@test "a tag that is wrong is an error that names its place" {
	local i
	local -a wrong=(
		'#syscalls:vcpu opnat' 'source.c:2: there is no system call opnat'
		'#syscalls: opnat' 'source.c:2: there is no system call opnat'
		'#syscalls:cpu close' 'source.c:2: there is no thread "cpu", only vcpu, loop, park'
		'#syscalls:vcpu' 'source.c:2: a tag without a system call'
		'#syscalls:vcpu, close' 'source.c:2: a tag is written "#syscalls:THREAD'
		'#syscalls vcpu close' 'source.c:2: a tag is written "#syscalls:THREAD'
		'#syscall:vcpu close' 'source.c:2: a tag is written "#syscalls:THREAD'
		'#syscalls:vcpu fcntl(_, F_GETFL' 'source.c:2: a parenthesis is not closed'
		'#syscalls:vcpu fcntl(_, 1;2)' 'source.c:2: an argument cannot be "1;2"'
		'#syscalls:vcpu fcntl(_, _)' 'source.c:2: fcntl: no argument is compared'
		'#syscalls:vcpu mmap(1, 2, 3, 4, 5, 6, 7)' 'source.c:2: mmap: a system call has at most 6 arguments'
		'#syscalls:vcpu close,read' 'source.c:2: after close: ",read"'
		'#syscalls:vcpu CLOSE' 'source.c:2: no name of a system call: "CLOSE"'
		'#syscalls:vcpu close' 'the filters: no tag says what the thread loop may call'
		'#syscalls:vcpu lseek(_, _, SEEK_SET) lseek' 'source.c:2: lseek is tagged as lseek(_, _, SEEK_SET) in source.c:2'
	)
	for ((i = 0; i < ${#wrong[@]}; i += 2)); do
		generate '' "/* ${wrong[i]} */"
		echo "${wrong[i]}: $(cat "$ERR")"
		expect_status 1
		grep -qF -- "${wrong[i + 1]}" "$ERR"
		[ ! -e "$OUT" ]
	done
}

@test "a constant that there is not is an error of the compiler that names the tag's place" {
	generate '' '/* #syscalls:vcpu fcntl(_, F_DUPFD_CLOEXCE) close */' '/* #syscalls:loop close */'
	expect_status 0
	run ! gcc -fsyntax-only -D_GNU_SOURCE -I"$TOP" -I"$BATS_TEST_TMPDIR" "$TOP/vmm/filter.c"
	[[ $output == *"source.c:2:"*"F_DUPFD_CLOEXCE"* ]]
}

@test "more system calls than there may be are an error" {
	local -a names
	mapfile -t names < <(awk '$1 != "#" {print $3}' "$CALLS" | sed 's/(.*//' | sort -u)
	echo "${#names[@]} are allowed"
	[ "${#names[@]}" -le 64 ]
	generate "/* #syscalls:vcpu ${names[*]} */" \
		'/* #syscalls:loop ptrace mount bpf socket bind listen accept connect fork vfork execve kill */'
	expect_status 1
	expect_error 'system calls are allowed, the bound is 64: '
}

# ---- what they stop

# run_forbidden THREAD [OPTION...]: $POD, with a VMM one of whose threads makes a call that it may not.
run_forbidden()
{
	export APPC_TEST_FORBIDDEN=$1 LD_PRELOAD=$FORBIDDEN
	shift
	run_pod "$@"
	unset APPC_TEST_FORBIDDEN LD_PRELOAD
}

@test "a thread of the VMM that makes another call ends the pod, and the call is named" {
	local uuid
	needs_machine
	pod '.apps = [app("one"; ["say", "hello"])]'
	run_forbidden none
	expect_status 0
	run_forbidden vcpu "--uuid-file-save=$BATS_TEST_TMPDIR/uuid"
	expect_status 254
	expect_error "the VMM was stopped: its vCPU thread made the system call ptrace, which its filter does not allow"
	run ! said "hello"
	uuid=$(<"$BATS_TEST_TMPDIR/uuid")
	run appc_vm status "$uuid"
	[[ $output == *"the system call ptrace"* ]]
	run_forbidden loop
	expect_status 254
	expect_error "its event loop thread made the system call socket, which its filter does not allow"
}

@test "a pod without the filter runs on, and status says that the wall is not there" {
	needs_machine
	pod '.apps = [app("one"; ["say", "hello"])]'
	run_forbidden vcpu --insecure-options=vmm-seccomp "--uuid-file-save=$BATS_TEST_TMPDIR/uuid"
	expect_status 0
	expect_line "hello"
	run appc_vm status "$(<"$BATS_TEST_TMPDIR/uuid")"
	[[ $output == *"walls_down=seccomp"* ]]
}

# ---- what they allow

# run_traced NAME OPTION...: starts $POD, with a trace for each thread.
run_traced()
{
	local name=$1
	shift
	mkdir -p "$BATS_TEST_TMPDIR/traces"
	strace --follow-forks --output-separately --string-limit=0 \
		--output="$BATS_TEST_TMPDIR/traces/$name" \
		"$APPC_VM" "--dir=$DATA" run "--uuid-file-save=$BATS_TEST_TMPDIR/uuid" "$@" "$POD" \
		>"$OUT" 2>"$ERR" </dev/null 3>&- &
	RUN=$!
}

# Of the images' trees: that of the probe's has none.
cut_large_file()
{
	local tree
	for tree in "$DATA"/trees/*/rootfs; do
		[ ! -e "$tree/srv/cut" ] || truncate -s 4096 "$tree/srv/cut"
	done
}

@test "pods make every call that the filters allow, and no other" {
	needs_machine
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	# A machine that boots, is parked twice, and goes on with limits on its files.
	pod '.apps = [app("one"; ["create", "/tmp", "10", "digest", "/bin/probe"]) |
		.app.isolators = [{name: "resource/block-iops", value: {default: true, limit: "5"}}]]'
	APPC_VM_TEMPLATES=$BATS_TEST_TMPDIR/templates run_traced parked --warm
	finish_pod
	expect_status 0
	# One with a volume of the host, which loses a file that it uses in place.
	pod '.volumes = [{name: "host", kind: "host", source: $host}] | .apps = [
		(app("files"; []) | .app.exec = ["/bin/files", "/tmp", "/host"]),
		app("window"; ["change", "/srv/large", "remove", "/srv/large", "cut", "/srv/cut", "/host/go"]) |
		.image.name = "example.com/files" | .mounts = [{volume: "host", path: "/host"}]]'
	run_traced files
	eventually "the file is mapped" grep -q "^mapped" "$OUT"
	appc_vm pause "$(<"$BATS_TEST_TMPDIR/uuid")"
	appc_vm resume "$(<"$BATS_TEST_TMPDIR/uuid")"
	cut_large_file
	touch "$BATS_TEST_TMPDIR/host/go"
	finish_pod
	expect_status 0
	run ! grep -E ': E[A-Z]+$' "$OUT"
	# One that others enter: with more input than the guest takes, with no more input, and by a client that goes. And one
	# whose app goes.
	pod '.apps = [app("entered"; ["until-stopped", "exit", "0"]), app("listens"; ["vsock-echo", "5000", "1"])]'
	run_traced entered
	UUID_FILE=$BATS_TEST_TMPDIR/uuid
	eventually "the app is ready" said ready
	eventually "the other listens" said "vsock 5000: listening"
	"$TOP/tests/functional/vsock_host.py" wait "$DATA/pods/run/$(<"$UUID_FILE")/vsock" 5000 3>&- &
	waiting=$!
	eventually "somebody is connected" said "vsock 5000: 1 connected"
	head -c 4M /dev/zero >"$BATS_TEST_TMPDIR/large"
	appc_vm enter --app=entered "$(<"$UUID_FILE")" /bin/probe copy <"$BATS_TEST_TMPDIR/large" | cmp - <(head -c 4M /dev/zero)
	"$APPC_VM" "--dir=$DATA" enter --app=entered "$(<"$UUID_FILE")" /bin/probe until-stopped exit 0 \
		<"$BATS_TEST_TMPDIR/large" >"$BATS_TEST_TMPDIR/entered" 3>&- &
	client=$!
	eventually "it runs" grep -qx ready "$BATS_TEST_TMPDIR/entered"
	kill -TERM "$client"
	wait "$client"
	appc_vm enter --app=entered "$(<"$UUID_FILE")" /bin/probe lines x 100000 </dev/null 3>&- | head -n 1
	appc_vm stop "$(<"$UUID_FILE")"
	finish_pod
	expect_status 0
	wait "$waiting"
	"$TOP/tests/functional/filter_used.py" "$CALLS" "$TOP/tests/functional/filter_unused.txt" \
		"$BATS_TEST_TMPDIR"/traces/*
}
