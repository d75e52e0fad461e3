#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# ssh into a pod: the debug shell, files in both directions, who gets in and whom the client believes; where its
# programs come from and when they go. Containers and machines run the same tests.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # the variables are jq's and bats'

load lib

setup_file()
{
	needs_kvm
	data_directory
	# One pod for most tests: a machine takes its time to start.
	BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR
	pod '.volumes = [{name: "data", kind: "empty"}] | .apps = [
		(app("one"; ["forever"]) | .app.mountPoints = [{name: "data", path: "/data"}] |
			.mounts = [{volume: "data", path: "/data"}]),
		app("two"; ["forever"])]'
	UUID_FILE=$BATS_FILE_TMPDIR/uuid
	start_pod "--uuid-file-save=$UUID_FILE"
	pod_ready
	CONFIG=$BATS_FILE_TMPDIR/config
	appc_vm ssh-config >"$CONFIG"
	# A large file, small ones, names and modes to keep. Where the guest's kernel is emulated it copies a MiB in some seconds.
	SIZE=${SSH_TREE_MIB:-$([ "$FLAVOUR" = container ] && echo 20 || echo 1)}
	TREE=$BATS_FILE_TMPDIR/tree
	mkdir -p "$TREE/deep/er" "$TREE/empty"
	head -c "$((SIZE * 512))K" /dev/urandom >"$TREE/large"
	for i in $(seq "$((SIZE * 2))"); do
		head -c 256K /dev/urandom >"$TREE/deep/er/file $i"
	done
	chmod 0700 "$TREE/deep/er/file 1"
	export UUID CONFIG TREE
}

teardown_file()
{
	# The last test ends it.
	if [ -n "${UUID:-}" ] && appc_vm list --no-legend --full | grep -q "^$UUID"; then
		appc_vm stop --force "$UUID"
	fi
}

# The pod of all tests lives on.
teardown()
{
	if [ -z "${BATS_TEST_COMPLETED:-}" ] && [ -n "${OUT:-}" ]; then
		tail -n 20 "$OUT" "${ERR:-/dev/null}"
	fi
}

# in_pod ARGS...: appc-vm ssh. Sets status; OUT and ERR are files.
in_pod()
{
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	status=0
	timeout --kill-after=5 "$LIMIT" "$APPC_VM" "--dir=$DATA" ssh "$UUID" "$@" >"$OUT" 2>"$ERR" </dev/null 3>&- || status=$?
}

# plain OPTIONS COMMAND: OpenSSH's own program, as the user of appc-vm ssh-config has it.
plain()
{
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	status=0
	timeout --kill-after=5 "$LIMIT" "$@" >"$OUT" 2>"$ERR" </dev/null 3>&- || status=$?
}

@test "a command in the pod: its streams, input and status" {
	in_pod 'echo out; echo err >&2; exit 7'
	expect_status 7
	[ "$(<"$OUT")" = out ]
	[ "$(<"$ERR")" = err ]
	printf 'in\0put' | timeout "$LIMIT" "$APPC_VM" "--dir=$DATA" ssh "$UUID" cat 3>&- >"$BATS_TEST_TMPDIR/copy"
	cmp "$BATS_TEST_TMPDIR/copy" <(printf 'in\0put')
	plain ssh -F "$CONFIG" "${UUID:0:8}.pod" 'hostname; id -u'
	expect_status 0
	expect_line 0 "$(appc_vm ssh "$UUID" cat /etc/hostname </dev/null 3>&-)"
}

@test "a terminal" {
	in_pod -tt 'tty; exit 3'
	expect_status 3
	grep -q '^/dev/pts/' "$OUT"
}

@test "the debug shell is root of the pod, without a filter, and sees all apps" {
	in_pod 'grep -w Seccomp /proc/self/status; echo /apps/*/rootfs/bin/probe
		touch /volumes/data/shared /apps/two/rootfs/tmp/written; cat /etc/hosts | grep -c localhost
		awk "\$4 == \"0A\" {print \$2}" /proc/net/tcp /proc/net/tcp6 | grep -v :46C0$ | wc -l'
	expect_status 0
	expect_line "Seccomp:	0" "/apps/one/rootfs/bin/probe /apps/two/rootfs/bin/probe"
	# Nobody listens, but for the metadata service.
	[ "$(tail -n 1 "$OUT")" = 0 ]
	appc_vm enter --app=one "$UUID" /bin/probe stat /data/shared </dev/null | grep -q ': 100644 0 0 0'
	appc_vm enter --app=two "$UUID" /bin/probe stat /tmp/written </dev/null | grep -q ': 100644 0 0 0'
	# What an app waits for, by a program that its own filter forbids.
	in_pod 'pid=$(pidof probe | cut -d" " -f1); strace -p $pid -o /tmp/trace 2>/tmp/said &
		until grep -q attached /tmp/said; do kill -0 $! || exit; usleep 100000; done; kill $!; wait
		cat /tmp/said; grep -c -e debug -e dropbear /proc/$pid/mountinfo; ls -d /proc/$pid/root/usr/lib/sftp-server'
	grep -qE 'Process [0-9]+ attached' "$OUT"
	expect_line 0
	fails grep -q sftp-server "$OUT"
	# And a debugger's protocol, over the connection: why the process stands still.
	[ -n "$(command -v gdbserver)" ]
	printf '+$?#3f+$D#44+' | timeout "$LIMIT" "$APPC_VM" "--dir=$DATA" ssh "$UUID" \
		'exec gdbserver --once --attach - $(pidof probe | cut -d" " -f1)' 3>&- >"$BATS_TEST_TMPDIR/debugged"
	grep -aq '\$T[0-9a-f]*' "$BATS_TEST_TMPDIR/debugged"
	# The tree and the keys are nobody's to change.
	in_pod 'touch /bin/new'
	expect_status 1
	expect_error 'Read-only file system'
}

@test "the server has no files of /proc to read, its sessions have them all" {
	in_pod 'tr "\0" "\n" </proc/$PPID/cmdline | head -n 1; grep -q /lib/ssh_server.so /proc/$PPID/maps && echo preloaded
		tr "\0" "\n" </proc/$PPID/environ | grep LD_; env | grep -c LD_; cut -d" " -f2 /proc/self/stat; ls /proc/net/netstat'
	expect_status 0
	[ "$(<"$OUT")" = "/bin/dropbear
preloaded
LD_PRELOAD=/lib/ssh_server.so
0
(cut)
/proc/net/netstat" ]
}

@test "scp: a tree to the pod and back" {
	plain scp -q -r -p -F "$CONFIG" "$TREE" "$UUID.pod:/apps/one/rootfs/tmp/scp"
	expect_status 0
	plain scp -q -r -p -F "$CONFIG" "$UUID.pod:/apps/one/rootfs/tmp/scp" "$BATS_TEST_TMPDIR/back"
	expect_status 0
	diff -r "$TREE" "$BATS_TEST_TMPDIR/back"
	[ "$(stat -c %a "$BATS_TEST_TMPDIR/back/deep/er/file 1")" = 700 ]
	in_pod 'rm -rf /apps/one/rootfs/tmp/scp'
	expect_status 0
}

@test "sftp: a tree to the pod and back" {
	printf 'put -R %s /apps/one/rootfs/tmp/sftp\nget -R /apps/one/rootfs/tmp/sftp %s\n' \
		"$TREE" "$BATS_TEST_TMPDIR/back" >"$BATS_TEST_TMPDIR/batch"
	in_pod 'mkdir /apps/one/rootfs/tmp/sftp'
	plain sftp -q -F "$CONFIG" -b "$BATS_TEST_TMPDIR/batch" "$UUID.pod"
	expect_status 0
	diff -r "$TREE" "$BATS_TEST_TMPDIR/back/tree"
	in_pod 'rm -rf /apps/one/rootfs/tmp/sftp'
}

@test "rsync: a tree to the pod and back, and only what has changed" {
	plain rsync -a -e "ssh -F '$CONFIG'" "$TREE/" "$UUID.pod:/apps/one/rootfs/tmp/rsync"
	expect_status 0
	plain rsync -a -e "ssh -F '$CONFIG'" "$UUID.pod:/apps/one/rootfs/tmp/rsync/" "$BATS_TEST_TMPDIR/back"
	expect_status 0
	diff -r "$TREE" "$BATS_TEST_TMPDIR/back"
	echo more >>"$BATS_TEST_TMPDIR/back/deep/er/file 2"
	plain rsync -a -i -e "ssh -F '$CONFIG'" "$BATS_TEST_TMPDIR/back/" "$UUID.pod:/apps/one/rootfs/tmp/rsync"
	[ "$(grep -c '^<f' "$OUT")" -eq 1 ]
	in_pod 'rm -rf /apps/one/rootfs/tmp/rsync'
}

@test "ssh itself: a tree to the pod and back" {
	tar -C "$TREE" -c . | timeout "$LIMIT" "$APPC_VM" "--dir=$DATA" ssh "$UUID" \
		'mkdir /apps/one/rootfs/tmp/tar && tar -C /apps/one/rootfs/tmp/tar -x' 3>&-
	mkdir "$BATS_TEST_TMPDIR/back"
	in_pod 'tar -C /apps/one/rootfs/tmp/tar -c .; rm -rf /apps/one/rootfs/tmp/tar'
	expect_status 0
	tar -C "$BATS_TEST_TMPDIR/back" -x <"$OUT"
	diff -r "$TREE" "$BATS_TEST_TMPDIR/back"
}

@test "nobody comes in with another key, or with a password" {
	ssh-keygen -q -t ed25519 -N '' -f "$BATS_TEST_TMPDIR/other"
	grep -v IdentityFile "$CONFIG" >"$BATS_TEST_TMPDIR/config"
	plain ssh -F "$BATS_TEST_TMPDIR/config" -i "$BATS_TEST_TMPDIR/other" "$UUID.pod" true
	expect_status 255
	expect_error 'Permission denied \(publickey\)'
	grep -v -e IdentityFile -e Authentication "$CONFIG" >"$BATS_TEST_TMPDIR/config"
	plain ssh -F "$BATS_TEST_TMPDIR/config" -i "$BATS_TEST_TMPDIR/other" -o BatchMode=yes "$UUID.pod" true
	expect_status 255
	expect_error 'Permission denied \(publickey\)'
}

@test "a pod with another host key than its own is not believed" {
	local keys=$DATA/pods/run/$UUID/ssh
	in_pod true
	expect_status 0
	cp "$keys/host_key.pub" "$BATS_TEST_TMPDIR/saved"
	ssh-keygen -q -t ed25519 -N '' -f "$BATS_TEST_TMPDIR/other"
	cp "$BATS_TEST_TMPDIR/other.pub" "$keys/host_key.pub"
	in_pod true
	cp "$BATS_TEST_TMPDIR/saved" "$keys/host_key.pub"
	expect_status 255
	expect_error 'Host key verification failed'
	in_pod true
	expect_status 0
	# And nothing is remembered of it.
	plain ssh -F "$CONFIG" -o 'KnownHostsCommand=none' "$UUID.pod" true
	expect_status 255
	expect_error 'Host key verification failed'
}

@test "keys are made once, whoever comes first, and are their owner's alone" {
	local elsewhere=$BATS_TEST_TMPDIR/elsewhere i
	for i in $(seq 8); do
		"$APPC_VM" "--dir=$elsewhere" ssh-config >"$BATS_TEST_TMPDIR/config.$i" 3>&- &
	done
	wait
	for i in $(seq 2 8); do
		cmp "$BATS_TEST_TMPDIR/config.1" "$BATS_TEST_TMPDIR/config.$i"
	done
	[ "$(stat -c %a "$elsewhere/ssh" "$elsewhere/ssh/identity" "$elsewhere/ssh/identity/id_ed25519" | tr '\n' ' ')" = "700 700 600 " ]
	ssh-keygen -y -f "$elsewhere/ssh/identity/id_ed25519" |
		diff - <(cut -d' ' -f 1-3 "$elsewhere/ssh/identity/id_ed25519.pub")
	[ -z "$(ls -A "$elsewhere/tmp")" ]
	in_pod true
	[ "$(stat -c %a "$DATA/pods/run/$UUID/ssh" "$DATA/pods/run/$UUID/ssh/host_key" | tr '\n' ' ')" = "700 600 " ]
}

@test "many at once" {
	local i wrong=0 count=10
	[ "$FLAVOUR" = container ] || count=6
	for i in $(seq "$count"); do
		(
			status=0
			"$APPC_VM" "--dir=$DATA" ssh "$UUID" "exit $i" >/dev/null 2>&1 </dev/null 3>&- || status=$?
			echo "$status" >"$BATS_TEST_TMPDIR/status.$i"
		) &
	done
	wait
	for i in $(seq "$count"); do
		[ "$(<"$BATS_TEST_TMPDIR/status.$i")" -eq "$i" ] || wrong=$((wrong + 1))
	done
	[ "$wrong" -eq 0 ]
}

@test "a client that is killed leaves no server behind" {
	local input before
	in_pod 'ls /proc/1/fd | wc -l'
	before=$(<"$OUT")
	mkfifo "$BATS_TEST_TMPDIR/input"
	exec {input}<>"$BATS_TEST_TMPDIR/input"
	"$APPC_VM" "--dir=$DATA" ssh "$UUID" 'echo ready; cat' >"$BATS_TEST_TMPDIR/out" 2>/dev/null \
		<&"$input" 3>&- &
	client=$!
	OUT=$BATS_TEST_TMPDIR/out
	eventually "it runs" said ready
	kill -KILL "$client"
	wait "$client" || true
	alone()
	{
		in_pod 'pidof dropbear | wc -w'
		said 1
	}
	eventually "the server is gone" alone
	# And nothing of it in guest-init.
	in_pod 'ls /proc/1/fd | wc -l'
	expect_line "$before"
}

@test "a client that speaks before the server is there is told so" {
	in_pod true
	expect_status 0
	python3 - "$DATA/pods/run/$UUID/vsock" "$(cd "$DATA/debug" && echo sha256-*)" >"$OUT" <<-'END'
		import json, socket, struct, sys
		client = socket.socket(socket.AF_UNIX)
		client.settimeout(60)
		client.connect(sys.argv[1])
		request = json.dumps({"type": "ssh", "tree": sys.argv[2], "host_key": "QUJD", "authorized_keys": "none"}).encode()
		client.sendall(b"CONNECT 1\n" + struct.pack("<IB3x", len(request), 1) + request + b"SSH-2.0-early")
		print(client.makefile("rb").read())
	END
	grep -q 'OK .*{"message":"ssh: the client speaks before the server"}' "$OUT"
}

@test "a server that does not start closes the connection, and the pod says why" {
	[ "$FLAVOUR" = container ] || skip "a machine knows the server's file already, and what is in it"
	local tree=("$DATA"/debug/sha256-*)
	mv "${tree[0]}/bin/dropbear" "$BATS_TEST_TMPDIR/dropbear"
	# Where a tree is whole it is used as it is.
	in_pod true
	mv "$BATS_TEST_TMPDIR/dropbear" "${tree[0]}/bin/dropbear"
	expect_status 255
	grep -q 'warning: ssh: .*dropbear' "$BATS_FILE_TMPDIR/err"
	in_pod 'exit 5'
	expect_status 5
}

@test "a tree that is not whole is never used, whenever its maker is killed" {
	local delay
	in_pod true
	expect_status 0
	# The pod has this one in use.
	mkdir "$BATS_TEST_TMPDIR/good"
	mv "$DATA"/debug/* "$BATS_TEST_TMPDIR/good"
	for delay in 0.01 0.02 0.04 0.06 0.08 0.1 0.15; do
		timeout --signal=KILL "$delay" "$APPC_VM" "--dir=$DATA" ssh --proxy "$UUID" </dev/null >/dev/null 2>&1 3>&- || true
		if [ -n "$(ls -d "$DATA"/debug/sha256-* 2>/dev/null)" ]; then
			diff -r --no-dereference "$BATS_TEST_TMPDIR"/good/sha256-* "$DATA"/debug/sha256-*
		fi
		rm -rf "$DATA"/debug/*
	done
	appc_vm ssh --proxy "$UUID" </dev/null >/dev/null 3>&-
	diff -r --no-dereference "$BATS_TEST_TMPDIR/good" "$DATA/debug"
	rm -rf "$DATA"/debug/*
	mv "$BATS_TEST_TMPDIR"/good/* "$DATA/debug"
}

@test "a package that is missing is named" {
	status=0
	unshare --mount sh -c 'mount -t tmpfs none /usr/lib/openssh && "$0" "--dir=$1" ssh --proxy "$2"' \
		"$APPC_VM" "$DATA" "$UUID" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" </dev/null 3>&- || status=$?
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	expect_status 254
	expect_error 'not installed; as root: apt-get install openssh-sftp-server$'
}

@test "what cannot be reached says why" {
	plain "$APPC_VM" "--dir=$DATA" ssh 00000000 true
	expect_status 254
	plain "$APPC_VM" "--dir=$DATA" ssh
	expect_status 254
	expect_error 'needs the UUID of a pod'
	plain "$APPC_VM" "--dir=$DATA" ssh ../x.pod
	expect_status 254
	plain "$APPC_VM" "--dir=$DATA" ssh --proxy --known-hosts "$UUID"
	expect_status 254
	plain "$APPC_VM" "--dir=$DATA" ssh-config surplus
	expect_status 254
	expect_error 'takes no arguments'
}

@test "gc keeps the tree of a running pod, and removes it after its end" {
	in_pod true
	expect_status 0
	appc_vm gc --grace-period=0 2>/dev/null
	ls -d "$DATA"/debug/sha256-*
	in_pod true
	expect_status 0
	appc_vm stop --force "$UUID"
	exited()
	{
		appc_vm status "$UUID" | grep -qx state=exited
	}
	eventually "it has exited" exited
	plain "$APPC_VM" "--dir=$DATA" ssh "$UUID" true
	expect_status 254
	expect_error 'is not running'
	appc_vm gc --grace-period=0 2>/dev/null
	[ -z "$(ls -A "$DATA/debug")" ]
}
