#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Commands of the program, pods, then unit tests, under valgrind's memcheck: what is looked for beside what the
# sanitizers see is memory that is read before it was set. What valgrind does not know is in native_calls.c. Of a pod
# it sees the supervisor and the VMM, in its jail but without the filters of system calls, since it makes its own; in a
# container the process that becomes guest-init, up to there.
#
#   tests/valgrind/run.sh PROGRAM LIBRARY [TEST...]    the program, native_calls.so, unit tests without sanitizers
#
# Machines need /dev/kvm, and build/vmlinux beside the program.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
program=$(realpath "$1")
library=$(realpath "$2")
shift 2

# Where a template for machines goes: not into the checkout, and not to others' templates.
work=$(mktemp -d)
export APPC_VM_TEMPLATES=$work/templates
trap 'rm -rf "$work"' EXIT
# What a command says is kept here; one in the background has a place of its own.
said=$work
failed=0
FOUND=99  # valgrind's status when it found something
LIMIT=600 # seconds of a command: for what hangs
# A process closes all fds that it may have but a few, here one by one. Tests need as many as they get.
files=$(ulimit -S -n)
ulimit -S -n 1024

# What valgrind wrote, but for ioctls that it does not know: of all processes of a command, where its status tells of
# the first only.
findings()
{
	grep -vE 'Warning: noted but unhandled ioctl|This could cause spurious value errors|See README_MISSING_SYSCALL' "$said/log"
}

# memcheck NAME STATUS COMMAND...: ends with this status, and nothing is found. $options: more of valgrind's.
options=()
memcheck()
{
	local name=$1 expected=$2 status=0
	shift 2
	LD_PRELOAD=$library timeout --kill-after=10 "$LIMIT" valgrind --quiet --error-exitcode="$FOUND" --leak-check=full \
		--errors-for-leak-kinds=definite,indirect --suppressions=tests/valgrind/suppressions \
		--log-file="$said/log" "${options[@]}" "$@" >"$said/out" 2>"$said/err" </dev/null || status=$?
	if [ "$status" -eq "$expected" ] && ! findings >/dev/null; then
		printf '  ok      %s\n' "$name"
		return
	fi
	printf '  FAILED  %s: status %d\n' "$name" "$status"
	tail -n 40 "$said/log" "$said/err" "$said/out"
	failed=1
}

# appc_vm STATUS WORD...: a command; its output is in $said/out then.
appc_vm()
{
	local expected=$1
	shift
	memcheck "appc-vm $*" "$expected" "$program" "--dir=$work/data" --insecure-options=image \
		"--system-config=$work/none" "--local-config=$work/none" "$@"
}

# expect LINE: the last command said it.
expect()
{
	grep -qxF -- "$1" "$said/out" && return
	printf '  FAILED  no line "%s"\n' "$1"
	failed=1
}

# sandbox FLAVOUR: a pod to which apps come, while others ask it and for it.
sandbox()
{
	local uuid server attempt
	mkdir -p "$work/sandbox"
	rm -f "$work/uuid"
	(
		said=$work/sandbox failed=0
		appc_vm 0 app sandbox --flavour="$1" --uuid-file-save="$work/uuid"
		exit "$failed"
	) &
	server=$!
	for ((attempt = 0; attempt < LIMIT; attempt++)); do
		if [ -s "$work/uuid" ] || ! kill -0 "$server" 2>/dev/null; then
			break
		fi
		sleep 1
	done
	uuid=$(cat "$work/uuid")
	appc_vm 0 status --wait-ready "$uuid"
	appc_vm 0 app add "$uuid" example.com/probe --name=one --exec=/bin/probe -- say hello until-stopped exit 3
	appc_vm 0 app start "$uuid" --app=one
	appc_vm 0 enter --app=one "$uuid" /bin/probe say entered
	expect entered
	appc_vm 0 top --once "$uuid"
	appc_vm 0 metrics
	appc_vm 0 pause "$uuid"
	appc_vm 0 resume "$uuid"
	appc_vm 0 logs "$uuid"
	appc_vm 0 app stop "$uuid" --app=one
	appc_vm 0 app rm "$uuid" --app=one
	appc_vm 0 stop "$uuid"
	wait "$server" || failed=1
}

# The images of the fault tests: two that depend on each other, and one of another kind.
PYTHONDONTWRITEBYTECODE=1 python3 - "$work" <<-'END' || exit 1
	import sys
	sys.path.insert(0, "tests/fault")
	import world
	world.write_aci(sys.argv[1] + "/lower.aci", "example.com/lower", files=["lower"])
	world.write_aci(sys.argv[1] + "/upper.aci", "example.com/upper", ["example.com/lower"], ["upper"])
	world.write_aci(sys.argv[1] + "/probe.aci", "example.com/probe")
	world.write_layout(sys.argv[1] + "/layout.tar")
END
cat >"$work/pod.json" <<-'END'
	{"acVersion": "0.8.11", "acKind": "PodManifest", "apps": [{"name": "upper",
		"image": {"name": "example.com/upper"}, "mounts": [{"volume": "data", "path": "/data"}]}],
		"volumes": [{"name": "data", "kind": "empty"}], "isolators": [], "annotations": []}
END

appc_vm 0 version
appc_vm 0 config
appc_vm 0 image import "$work/lower.aci"
appc_vm 0 image import "$work/upper.aci"
appc_vm 0 image import "$work/layout.tar"
appc_vm 0 fetch "$work/lower.aci"
appc_vm 0 fetch --full "file://$work/upper.aci"
head -c 5000 "$work/upper.aci" >"$work/short.aci"
appc_vm 254 image import "$work/short.aci"
head -c 50000 /dev/urandom >"$work/noise.aci"
appc_vm 254 image import "$work/noise.aci"
appc_vm 0 image list
appc_vm 0 image list --format=json
appc_vm 0 image cat-manifest example.com/upper
appc_vm 0 image render example.com/upper "$work/rendered"
appc_vm 0 image extract example.com/upper "$work/extracted"
appc_vm 0 image export example.com/upper "$work/exported.aci"
appc_vm 0 image verify example.com/upper
appc_vm 0 prepare --quiet "$work/pod.json"
appc_vm 0 prepare --quiet --volume=v,kind=host,source="$work" example.com/upper --mount=volume=v,target=/v \
	--environment=A=B --memory=64M --cpu=500m
pod=$(tail -n 1 "$work/out")
appc_vm 0 list
appc_vm 0 list --format=json
appc_vm 0 status "$pod"
appc_vm 0 status --format=json "$pod"
appc_vm 0 cat-manifest "$pod"
appc_vm 254 cat-manifest nothing
appc_vm 254 export "$pod" "$work/pod.aci"
appc_vm 0 rm "$pod"
appc_vm 0 gc --grace-period=0s --expire-prepared=0s
appc_vm 0 image rm example.com/upper
appc_vm 0 image gc --grace-period=0s
appc_vm 0 template list

appc_vm 0 image import "$work/probe.aci"
cat >"$work/busy.json" <<-END
	{"acVersion": "0.8.11", "acKind": "PodManifest", "volumes": [{"name": "v", "kind": "host", "source": "$work/host"}],
	"apps": [{"name": "one", "image": {"name": "example.com/probe"}, "mounts": [{"volume": "v", "path": "/v"}],
		"app": {"user": "0", "group": "0", "exec": ["/bin/probe", "say", "hello", "create", "/v", "20",
			"rename", "/v", "20", "list", "/v", "unlink", "/v", "20", "write", "/tmp/file", "text", "read", "/tmp/file",
			"digest", "/bin/probe", "lines", "x", "300", "exit", "7"]}},
		{"name": "two", "image": {"name": "example.com/probe"}, "app": {"user": "0", "group": "0",
			"exec": ["/bin/probe", "forever"]}}]}
END
mkdir "$work/host"
appc_vm 7 run --flavour=container "$work/busy.json"
expect "read /tmp/file: text"
sandbox container
if [ -c /dev/kvm ]; then
	appc_vm 7 run --no-template "$work/busy.json"
	expect "read /tmp/file: text"
	appc_vm 0 template build
	appc_vm 7 run "$work/busy.json"
	expect "read /tmp/file: text"
	sandbox vm
else
	echo '  skipped machines: there is no /dev/kvm'
fi
appc_vm 0 gc --grace-period=0s

# Children of tests end as badly as they are meant to. What tests do a million times they do ten thousand times.
options=(--child-silent-after-fork=yes)
export TURNS_DIVISOR=100
ulimit -S -n "$files"
for test; do
	memcheck "${test##*/}" 0 "$test"
done
exit "$failed"
