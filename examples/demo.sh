#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The demo (make demo): images from Debian packages, then two pods. Everything it makes is below
# build/demo, the images are cached (see examples/images/build.sh). It ends with 0 only when both pods
# ended with 0 and their results are right, with 1 otherwise; that includes a host that cannot run
# pods, because then there is nothing to show.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/step.bash
. tests/step.bash

demo=$PWD/build/demo
data=$demo/data
appc_vm=(build/appc-vm "--dir=$data")
limit=600 # seconds that a pod may take; where the guest kernel is emulated a boot takes ten

heading()
{
	printf '\n==== %s\n' "$*"
}

fail()
{
	printf 'demo: %s\n' "$*" >&2
	exit 1
}

# run_pod NAME FILE: runs the pod with its output shown and kept in $demo/NAME.out and NAME.err.
run_pod()
{
	local name=$1 file=$2 status=0 ticker
	: >"$demo/$name.out"
	: >"$demo/$name.err"
	# Until the pod says something, the person who waits is told how long it has been.
	(
		seconds=0
		while sleep 5; do
			[ ! -s "$demo/$name.out" ] || exit 0
			seconds=$((seconds + 5))
			printf 'demo: the pod is starting, %d s\n' "$seconds" >&2
		done
	) &
	ticker=$!
	{
		(
			timeout --kill-after=30 "$limit" "${appc_vm[@]}" run --timing "$file" \
				2>&1 >&3 3>&- | tee "$demo/$name.err" >&2
			exit "${PIPESTATUS[0]}"
		) 3>&1 | tee "$demo/$name.out"
	} || status=$?
	kill "$ticker" 2>/dev/null || true
	printf 'demo: exit status %d\n' "$status"
	[ "$status" -eq 0 ] || fail "the pod $name should end with 0"
}

heading "This host"
build/appc-vm check || fail "this host cannot run pods (see above); the demo needs /dev/kvm"

heading "Images"
mkdir -p "$demo"
step_begin "$demo/import.log" demo
for image in busybox redis redis-client; do
	aci=$(examples/images/build.sh "$image")
	step "importing $image" "${appc_vm[@]}" image import "$aci"
done
"${appc_vm[@]}" image list
"${appc_vm[@]}" gc --grace-period=0s >/dev/null # pods of an earlier demo

heading "A pod with one app: examples/hello.json"
run_pod hello examples/hello.json
grep -q 'Hello from hello, process [0-9]* of Linux 6\.' "$demo/hello.out" ||
	fail "the greeting is missing"

heading "A pod with two apps, a Redis server and a client: examples/redis.json"
rm -rf "$demo/shared"
mkdir "$demo/shared"
jq --arg source "$demo/shared" '.volumes[0].source = $source' examples/redis.json >"$demo/redis.json"
run_pod redis "$demo/redis.json"

heading "What the client left in the shared folder: $demo/shared/result.txt"
result=$demo/shared/result.txt
[ -s "$result" ] || fail "there is no result"
tr -d '\r' <"$result" | grep -v -e '^executable:' -e '^config_file:'
for expected in 'hello from the client' 42 one two three 'redis_version:7' 'tcp_port:6379'; do
	grep -q "^$expected" "$result" || fail "the result lacks \"$expected\""
done

heading "The pods as the host recorded them"
"${appc_vm[@]}" list
printf '\ndemo: all results are right. What it made is in build/demo.\n'
