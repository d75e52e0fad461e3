# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the functional tests share, loaded by each .bats file. A test starts pods with run_pod, which
# keeps output, errors and status; teardown then checks that the host is as it was before.
#
# A guest kernel can be emulated here, a thousand times slower than the apps: a boot takes ten seconds
# and an exec one. So a test asks one pod many things, and its time limit is generous. The limits are
# there for a pod that hangs; nothing waits for time to pass.

bats_require_minimum_version 1.5.0

TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
APPC_VM=${APPC_VM:-$TOP/build/appc-vm}
PROBE=${PROBE:-$TOP/build/guest-probe}
LIMIT=${LIMIT:-180}
# The same pods run in both flavours; tests/run.sh says in which.
FLAVOUR=${FLAVOUR:-vm}

# In a VMM a sanitizer makes system calls of its own.
UNFILTERED=()
[ -z "${SANITIZED:-}" ] || [ "$FLAVOUR" != vm ] || UNFILTERED=(--insecure-options=vmm-seccomp)

# In setup_file: a data directory for the tests of one file, with the image of the probe.
data_directory()
{
	DATA=$BATS_FILE_TMPDIR/data
	export DATA
	image_probe "$BATS_FILE_TMPDIR/probe.aci"
	appc_vm image import "$BATS_FILE_TMPDIR/probe.aci"
}

appc_vm()
{
	"$APPC_VM" "--dir=$DATA" "$@"
}

needs_kvm()
{
	[ "$FLAVOUR" = container ] || [ -c /dev/kvm ] || skip "there is no /dev/kvm"
}

# An image with the probe as its only program, users to look up, and symbolic links to fall over.
image_probe()
{
	local work
	work=$(mktemp -d "$BATS_FILE_TMPDIR/image-XXXXXX")
	mkdir -p "$work"/rootfs/{bin,etc,home/alice,srv/www,tmp}
	cp "$PROBE" "$work/rootfs/bin/probe"
	cat >"$work/rootfs/etc/passwd" <<-'END'
		root:x:0:0:root:/root:/bin/sh
		alice:x:1000:1001:Alice:/home/alice:/bin/sh
	END
	printf 'root:x:0:\nstaff:x:50:alice\nalice:x:1001:\n' >"$work/rootfs/etc/group"
	chown 1000:1001 "$work/rootfs/home/alice"
	ln -s ../srv/www "$work/rootfs/etc/link-to-www"
	ln -s /../../../srv/www "$work/rootfs/etc/link-out"
	chmod 1777 "$work/rootfs/tmp"
	image_manifest example.com/probe >"$work/manifest"
	tar --create --file "$1" --directory "$work" manifest rootfs
	rm -rf "$work"
}

# image_manifest NAME [JQ-FILTER]
image_manifest()
{
	jq --null-input --arg name "$1" '{
		acKind: "ImageManifest", acVersion: "0.8.11", name: $name,
		labels: [{name: "os", value: "linux"}, {name: "arch", value: "amd64"}],
		app: {exec: ["/bin/probe", "say", "default"], user: "0", group: "0"}
	} | '"${2:-.}"
}

# pod_write FILE FILTER: a pod manifest; the filter sees an empty one, app(NAME; [WORDS]) makes an app
# that runs the probe with these words, and $host is a directory of the test.
pod_write()
{
	mkdir -p "$BATS_TEST_TMPDIR/host"
	jq --null-input --arg host "$BATS_TEST_TMPDIR/host" '
		def app(name; words): {
			name: name,
			image: {name: "example.com/probe"},
			app: {exec: (["/bin/probe"] + words), user: "0", group: "0"}
		};
		{acVersion: "0.8.11", acKind: "PodManifest", apps: []} | '"$2" >"$1"
}

# pod FILTER: the same, into $POD.
pod()
{
	POD=$BATS_TEST_TMPDIR/pod.json
	pod_write "$POD" "$1"
}

# run_pod [OPTION...]: runs $POD to its end. Sets status; OUT and ERR name the files of what it said.
run_pod()
{
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	status=0
	timeout --kill-after=20 "$LIMIT" "$APPC_VM" "--dir=$DATA" run "--flavour=$FLAVOUR" "${UNFILTERED[@]}" "$@" "$POD" \
		>"$OUT" 2>"$ERR" </dev/null 3>&- || status=$?
	[ "$status" -ne 124 ] && [ "$status" -ne 137 ] || echo "perhaps ended by the limit of $LIMIT s"
}

# start_pod [OPTION...]: starts $POD, by run or $COMMAND, and returns. Sets RUN, the process to signal.
start_pod()
{
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	# What an earlier pod said is not this one's; a test may have made them pipes.
	[ ! -f "$OUT" ] || rm "$OUT"
	[ ! -f "$ERR" ] || rm "$ERR"
	"$APPC_VM" "--dir=$DATA" "${COMMAND:-run}" "--flavour=$FLAVOUR" "${UNFILTERED[@]}" "$@" "$POD" >"$OUT" 2>"$ERR" </dev/null 3>&- &
	RUN=$!
}

# Waits until the pod that writes its UUID to $UUID_FILE runs and its apps have been executed. Sets UUID.
pod_ready()
{
	eventually "the pod has a UUID" test -s "$UUID_FILE"
	UUID=$(<"$UUID_FILE")
	appc_vm status --wait-ready "$UUID" >/dev/null
}

# begin FILTER [OPTION...]: starts the pod and returns when its apps have been executed. Sets UUID_FILE and UUID.
begin()
{
	UUID_FILE=$BATS_TEST_TMPDIR/uuid
	rm -f "$UUID_FILE"
	pod "$1"
	shift
	start_pod "--uuid-file-save=$UUID_FILE" "$@"
	pod_ready
}

# The same, and its app has said that it is ready: now it also knows what to do with a signal.
begin_ready()
{
	begin "$@"
	eventually "the app is ready" said ready
}

# Waits for the end of the pod that start_pod started, and sets status.
finish_pod()
{
	eventually "the pod ends" process_gone "$RUN"
	status=0
	wait "$RUN" || status=$?
	RUN=
}

process_gone()
{
	local state
	state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) || return 0
	[ -z "$state" ] || [ "$state" = Z ]
}

# eventually WHAT COMMAND...: asks until the command succeeds; an error after LIMIT seconds.
eventually()
{
	local what=$1 end=$((SECONDS + LIMIT))
	shift
	until "$@"; do
		if [ "$SECONDS" -ge "$end" ]; then
			echo "waited $LIMIT s in vain until $what"
			return 1
		fi
		sleep 0.1
	done
}

# A command that is to fail: "!" alone fails no test.
fails()
{
	if "$@"; then
		echo "succeeded: $*"
		return 1
	fi
}

said()
{
	grep -qxF -- "$1" "$OUT"
}

expect_status()
{
	if [ "$status" -ne "$1" ]; then
		echo "status $status, expected $1"
		return 1
	fi
}

# expect_line TEXT...: each is a whole line of the pod's standard output.
expect_line()
{
	local line
	for line in "$@"; do
		if ! said "$line"; then
			echo "standard output lacks the line: $line"
			return 1
		fi
	done
}

# expect_error PATTERN: an extended regular expression somewhere in standard error.
expect_error()
{
	if ! grep -qE -- "$1" "$ERR"; then
		echo "standard error does not match: $1"
		return 1
	fi
}

# Mounts that name the test's directories, and processes that were started with them.
mounts_left()
{
	grep -F "$BATS_FILE_TMPDIR" /proc/self/mountinfo || true
}

processes_left()
{
	local file files=(/proc/[0-9]*/cmdline)
	# The pattern comes from standard input, so that grep does not find itself.
	grep --files-with-matches --text --fixed-strings --file=- "${files[@]}" \
		2>/dev/null <<<"--dir=$DATA" |
		while read -r file; do
			{ tr '\0' ' ' <"$file"; } 2>/dev/null && echo
		done
}

nothing_left()
{
	[ -z "$(mounts_left)" ] && [ -z "$(processes_left)" ]
}

pod_teardown()
{
	if [ -z "${BATS_TEST_COMPLETED:-}" ] && [ -n "${OUT:-}" ]; then
		echo "---- standard output"
		tail -n 40 "$OUT"
		echo "---- standard error"
		tail -n 40 "$ERR"
	fi
	if [ -n "${RUN:-}" ] && ! process_gone "$RUN"; then
		kill -KILL "$RUN"
		wait "$RUN" || true
	fi
	if [ -n "${DATA:-}" ]; then
		LIMIT=30
		if ! eventually "nothing of the pod is left" nothing_left; then
			mounts_left
			processes_left
			return 1
		fi
	fi
}

teardown()
{
	pod_teardown
}
