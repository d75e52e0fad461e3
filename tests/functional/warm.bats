#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Warm pods: their apps are parked at the first instruction and go on from there in each run.
# shellcheck disable=SC2016 # the variables are jq's

load lib

setup_file()
{
	export APPC_VM_TEMPLATES=${APPC_VM_TEMPLATES:-$BATS_FILE_TMPDIR/templates}
	[ ! -c /dev/kvm ] || data_directory
}

setup()
{
	needs_kvm
}

timing()
{
	tail -n 1 "$ERR" | jq --exit-status "$1"
}

@test "a warm pod runs as a cold one does, and the second run parks nothing" {
	pod '.volumes = [{name: "own", kind: "empty", mode: "0777"}] | .apps = [
		app("first"; ["identity", "env", "MODE", "cwd", "hostname", "write", "/own/file", "text",
			"read", "/own/file", "exit", "7"]) |
			.app += {user: "1000", group: "1001", workingDirectory: "/home/alice",
				environment: [{name: "MODE", value: "warm"}],
				mountPoints: [{name: "own", path: "/own"}]}]'
	run_pod --hostname=same
	expect_status 7
	cp "$OUT" "$BATS_TEST_TMPDIR/cold"
	run_pod --warm --timing=json --hostname=same
	expect_status 7
	timing '.warm and .template_built'
	diff "$BATS_TEST_TMPDIR/cold" "$OUT"
	run_pod --warm --timing=json --hostname=other
	expect_status 7
	timing '.warm and (.template_built | not)'
	expect_line "hostname: other"
	diff <(grep -v '^hostname: ' "$BATS_TEST_TMPDIR/cold") <(grep -v '^hostname: ' "$OUT")
}

@test "a warm pod of several apps, with a volume of the host, which say themselves whether they are ready" {
	local uuid=$BATS_TEST_TMPDIR/uuid
	pod '.volumes = [{name: "host", kind: "host", source: $host}] | .apps = [
		app("one"; ["write", "/host/one", "from one", "write", "/host/one-is-whole", "", "await", "/host/two-is-whole",
			"read", "/host/two", "notify", "READY=1"]),
		app("two"; ["write", "/host/two", "from two", "write", "/host/two-is-whole", "", "await", "/host/one-is-whole",
			"read", "/host/one", "notify", "READY=0"])] |
		.apps[].mounts = [{volume: "host", path: "/host"}] |
		.apps[].annotations = [{name: "appc.io/executor/supports-systemd-notify", value: "true"}]'
	for _ in 1 2; do
		rm -f "$BATS_TEST_TMPDIR"/host/* "$uuid"
		run_pod --warm --timing=json "--uuid-file-save=$uuid"
		expect_status 0
		timing .warm
		expect_line "read /host/two: from two" "read /host/one: from one" "notify READY=1: ok" "notify READY=0: ok"
		[ "$(appc_vm events "$(<"$uuid")" | jq --raw-output 'select(.event == "app-started").app')" = one ]
	done
}

@test "what cannot be parked honestly is said, and starts from the plain template" {
	mkdir -p "$BATS_TEST_TMPDIR/host"
	cp "$PROBE" "$BATS_TEST_TMPDIR/host/probe"
	pod '.apps = [app("handled"; ["say", "main"]) |
		.app.eventHandlers = [{name: "pre-start", exec: ["/bin/probe", "say", "before"]}]]'
	run_pod --warm --timing=json
	expect_status 0
	expect_error 'does not start warm: .*pre-start'
	timing '(.warm | not) and .template != null'
	expect_line "before" "main"

	pod '.volumes = [{name: "host", kind: "host", source: $host}] |
		.apps = [app("foreign"; []) | .app.exec = ["/host/probe", "say", "from the volume"] |
			.mounts = [{volume: "host", path: "/host"}]]'
	run_pod --warm --timing=json
	expect_status 0
	expect_error 'does not start warm: .*host'
	timing '(.warm | not)'
	expect_line "from the volume"
}

# An image of cat with its libraries, one of which empties /etc/hosts before the program's first instruction.
@test "a library that cuts a file of /etc before the machine is parked harms no copy" {
	local root=$BATS_TEST_TMPDIR/image/rootfs file
	mkdir -p "$root"
	for file in /bin/cat $(ldd /bin/cat | grep -o '/lib[^ ]*'); do
		mkdir -p "$root$(dirname "$file")"
		cp "$file" "$root$file"
	done
	gcc -shared -fPIC -x c -o "$root/cut.so" - <<-'END'
		#include <unistd.h>
		__attribute__((constructor)) static void cut(void)
		{
			if (truncate("/etc/hosts", 0) < 0)
				_exit(99);
		}
	END
	image_manifest example.com/cat '.app.exec = ["/bin/cat", "/etc/hosts"] |
		.app.environment = [{name: "LD_PRELOAD", value: "/cut.so"}]' >"$BATS_TEST_TMPDIR/image/manifest"
	tar --create --file "$BATS_TEST_TMPDIR/cat.aci" --directory "$BATS_TEST_TMPDIR/image" manifest rootfs
	appc_vm image import "$BATS_TEST_TMPDIR/cat.aci"
	pod '.apps = [app("cat"; []) | .image.name = "example.com/cat" | del(.app)]'
	for _ in 1 2; do
		run_pod --warm --timing=json
		expect_status 0
		timing .warm
		grep -q '^127.0.0.1' "$OUT"
	done
}

@test "a warm state that is refused gives way to the plain template, not to a boot" {
	local key tree
	pod '.apps = [app("one"; ["identity"]) | .app += {user: "/home/alice", group: "/home/alice"}]'
	run_pod --warm --timing=json
	timing '.warm and .template_built'
	key=$(tail -n 1 "$ERR" | jq --raw-output .template)

	# What its apps' mounts had made is gone. The plain template is there, since the pod was parked from it.
	rm -r "${APPC_VM_TEMPLATES:?}/$key/pod"
	run_pod --warm --timing=json
	expect_status 0
	expect_error 'starts in another way.*what the parked pod had written'
	timing '(.warm or .template_built) | not'
	timing '.template != null and .template != "'"$key"'"'
	grep 'uid' "$OUT"

	# A file of the image is not what the parked guest knows.
	run_pod --warm --timing=json
	timing '.warm and .template_built'
	# (The image of another test has no such directory.)
	for tree in "$DATA"/trees/*/rootfs; do
		[ -d "$tree/home/alice" ] || continue
		rmdir "$tree/home/alice"
		: >"$tree/home/alice"
		chown 1000:1001 "$tree/home/alice"
	done
	run_pod --warm --timing=json
	expect_status 0
	expect_error 'starts in another way.*/home/alice'
	timing '(.warm or .template_built) | not'
	timing '.template != null and .template != "'"$key"'"'
}

@test "a warm pod whose program is missing fails as a cold one does" {
	pod '.apps = [app("missing"; []) | .app.exec = ["/bin/not-there"]]'
	run_pod --warm
	expect_status 203
	expect_error 'Unable to open "/bin/not-there"'
}

@test "prepare --warm parks the apps of the pod, run-prepared goes on from there" {
	local uuid
	uuid=$(appc_vm prepare --quiet --warm example.com/probe --exec=/bin/probe \
		-- say "goes on" hostname write /tmp/file text read /tmp/file exit 4)
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	status=0
	timeout --kill-after=20 "$LIMIT" "$APPC_VM" "--dir=$DATA" run-prepared --timing=json \
		--hostname=later "$uuid" >"$OUT" 2>"$ERR" </dev/null 3>&- || status=$?
	expect_status 4
	expect_line "goes on" "hostname: later" "read /tmp/file: text"
	timing '.warm and (.template_built | not)'
}
