#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Commands of the program, then unit tests, under valgrind's memcheck: what is looked for beside what the sanitizers
# see is memory that is read before it was set. What valgrind does not know is in native_calls.c; apps are
# started by such a call, so no pod runs here.
#
#   tests/valgrind/run.sh PROGRAM LIBRARY [TEST...]    the program, native_calls.so, unit tests without sanitizers
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
program=$(realpath "$1")
library=$(realpath "$2")
shift 2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
FOUND=99 # valgrind's status when it found something

# memcheck NAME STATUS COMMAND...: ends with this status, and nothing is found.
memcheck()
{
	local name=$1 expected=$2 status=0
	shift 2
	LD_PRELOAD=$library valgrind --quiet --error-exitcode="$FOUND" --leak-check=full \
		--errors-for-leak-kinds=definite,indirect --suppressions=tests/valgrind/suppressions \
		--log-file="$work/log" "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
	if [ "$status" -eq "$expected" ]; then
		printf '  ok      %s\n' "$name"
		return
	fi
	printf '  FAILED  %s: status %d\n' "$name" "$status"
	tail -n 40 "$work/log" "$work/err" "$work/out"
	failed=1
}

# appc_vm STATUS WORD...: a command; its output is in $work/out then.
appc_vm()
{
	local expected=$1
	shift
	memcheck "appc-vm $*" "$expected" "$program" "--dir=$work/data" --insecure-options=image \
		"--system-config=$work/none" "--local-config=$work/none" "$@"
}

# The images of the fault tests: two that depend on each other, and one of another kind.
PYTHONDONTWRITEBYTECODE=1 python3 - "$work" <<-'END' || exit 1
	import sys
	sys.path.insert(0, "tests/fault")
	import world
	world.write_aci(sys.argv[1] + "/lower.aci", "example.com/lower", files=["lower"])
	world.write_aci(sys.argv[1] + "/upper.aci", "example.com/upper", ["example.com/lower"], ["upper"])
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
for test; do
	memcheck "${test##*/}" 0 "$test"
done
exit "$failed"
