#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The command line as far as it needs no virtual machine: images, manifests, messages.
# shellcheck disable=SC2030,SC2031,SC2016,SC2034 # the variables are jq's; lib.bash reads LIMIT

load lib

setup_file()
{
	data_directory
}

# refused: the last run_pod ended before anything ran.
refused()
{
	expect_status 254
	[ ! -s "$OUT" ]
	expect_error "$1"
}

@test "check explains the host and succeeds where pods can run" {
	run "$APPC_VM" check
	[ "${#lines[@]}" -ge 3 ]
	[[ $output == *kvm* || $output == *KVM* ]]
	if [ -c /dev/kvm ]; then
		[ "$status" -eq 0 ]
	else
		[ "$status" -ne 0 ]
	fi
}

@test "a command that does not exist ends with 254 and is named" {
	run appc_vm frobnicate
	[ "$status" -eq 254 ]
	[[ $output == *frobnicate* ]]
}

@test "a command of rkt that is none here ends with 254 and the reason" {
	local command
	for command in "metadata-service --listen-port=18112" "help metadata-service"; do
		# shellcheck disable=SC2086 # words
		run appc_vm $command
		[ "$status" -eq 254 ]
		[[ $output == *"each pod has a service of its own"* ]]
	done
	run appc_vm api-service
	[ "$status" -eq 254 ]
	[[ $output == *"--format=json"* ]]
}

@test "help COMMAND is COMMAND --help, whatever follows, and a command that does not exist is named" {
	local command
	for command in run enter image "image rm"; do
		# shellcheck disable=SC2086 # words
		diff <("$APPC_VM" help $command) <("$APPC_VM" $command --help)
	done
	diff <("$APPC_VM" help enter nope) <("$APPC_VM" enter --help)
	for command in frobnicate "image frobnicate"; do
		# shellcheck disable=SC2086 # words
		run "$APPC_VM" help $command
		[ "$status" -eq 254 ]
		[[ $output == *'unknown command "frobnicate"'* ]]
	done
}

@test "an option that does not exist ends with 254 and is named" {
	run appc_vm run --frobnicate pod.json
	[ "$status" -eq 254 ]
	[[ $output == *frobnicate* ]]
}

@test "an image is the same whether plain, gzip, bzip2 or xz" {
	local aci=$BATS_FILE_TMPDIR/probe.aci
	gzip -c "$aci" >"$BATS_TEST_TMPDIR/1.aci"
	bzip2 -c "$aci" >"$BATS_TEST_TMPDIR/2.aci"
	xz -0 -c "$aci" >"$BATS_TEST_TMPDIR/3.aci"
	for file in "$BATS_TEST_TMPDIR"/[123].aci; do
		appc_vm image import "$file"
	done
	run appc_vm image list
	[ "$status" -eq 0 ]
	[ "$(grep -c example.com/probe <<<"$output")" -eq 1 ]
	[[ $output == *sha512-$(sha512sum <"$aci" | cut -c1-12)* ]]
}

@test "a file that is not an image is refused and leaves nothing" {
	head -c 5000 /dev/urandom >"$BATS_TEST_TMPDIR/noise.aci"
	run appc_vm image import "$BATS_TEST_TMPDIR/noise.aci"
	[ "$status" -eq 254 ]
	[[ $output == *noise.aci* ]]
	[ "$(appc_vm image list | grep -c sha512-)" -eq 1 ]
	[ -z "$(find "$DATA/tmp" -mindepth 1 -type f -size +0 -print)" ]
}

@test "an image that is cut short is refused" {
	gzip -c "$BATS_FILE_TMPDIR/probe.aci" | head -c 100000 >"$BATS_TEST_TMPDIR/short.aci"
	run appc_vm image import "$BATS_TEST_TMPDIR/short.aci"
	[ "$status" -eq 254 ]
	[ "$(appc_vm image list | grep -c sha512-)" -eq 1 ]
}

@test "an image whose names lead out of it is refused" {
	mkdir -p "$BATS_TEST_TMPDIR/rootfs"
	image_manifest example.com/escape >"$BATS_TEST_TMPDIR/manifest"
	echo out >"$BATS_TEST_TMPDIR/file"
	tar -C "$BATS_TEST_TMPDIR" -cf "$BATS_TEST_TMPDIR/escape.aci" -P \
		--transform 's,^file$,rootfs/../../../../../../../tmp/escaped-from-image,' \
		manifest rootfs file
	run appc_vm image import "$BATS_TEST_TMPDIR/escape.aci"
	[ "$status" -eq 254 ]
	[ ! -e /tmp/escaped-from-image ]
	[ "$(appc_vm image list | grep -c sha512-)" -eq 1 ]
}

@test "an image manifest with a bad field is refused and the field is named" {
	mkdir -p "$BATS_TEST_TMPDIR/rootfs"
	image_manifest example.com/bad '.app.workingDirectory = "relative"' >"$BATS_TEST_TMPDIR/manifest"
	tar -C "$BATS_TEST_TMPDIR" -cf "$BATS_TEST_TMPDIR/bad.aci" manifest rootfs
	run appc_vm image import "$BATS_TEST_TMPDIR/bad.aci"
	[ "$status" -eq 254 ]
	[[ $output == *workingDirectory* ]]
}

@test "a pod manifest that is not there is named" {
	POD=$BATS_TEST_TMPDIR/absent.json
	run_pod
	refused 'absent\.json'
}

@test "a pod manifest that is not JSON is refused" {
	POD=$BATS_TEST_TMPDIR/pod.json
	echo '{"acVersion": "0.8.11",' >"$POD"
	run_pod
	refused 'pod manifest|pod\.json'
}

@test "a broken pod manifest is refused and the field is named" {
	pod '.apps = [app("one"; ["exit", "0"])] | .acKind = "Pod"'
	run_pod
	refused acKind

	pod '.apps = [app("one"; ["exit", "0"]) | .app.workingDirectory = "relative"]'
	run_pod
	refused workingDirectory

	pod '.apps = [app("one"; ["exit", "0"]) | .app.environment = [{name: "A B", value: "x"}]]'
	run_pod
	refused environment

	pod '.apps = [app("one"; []), app("one"; [])]'
	run_pod
	refused 'one'

	pod '.apps = [app("one"; [])] | .volumes = [{name: "v", kind: "floppy"}]'
	run_pod
	refused 'volumes|kind'
}

@test "an image that is not in the store is named" {
	pod '.apps = [app("one"; []) | .image.name = "example.com/absent"]'
	run_pod
	refused 'example\.com/absent'
}

@test "a mount of a volume that does not exist is refused and named" {
	pod '.apps = [app("one"; []) | .mounts = [{volume: "nowhere", path: "/data"}]]'
	run_pod
	refused nowhere
}

@test "a host volume whose source does not exist is refused and named" {
	pod '.apps = [app("one"; []) | .mounts = [{volume: "v", path: "/data"}]] |
		.volumes = [{name: "v", kind: "host", source: ($host + "/absent-source")}]'
	run_pod
	refused absent-source
}

@test "refused pods leave no pod behind" {
	run appc_vm list
	[ "$status" -eq 0 ]
	[[ $output != *running* && $output != *prepar* && $output != *embryo* ]]
}

@test "status and rm name a pod that does not exist" {
	for command in status rm; do
		run appc_vm "$command" 00000000-1111-2222-3333-444444444444
		[ "$status" -eq 254 ]
		[[ $output == *00000000-1111* ]]
	done
}

@test "the container flavour refuses to run below a chroot, where apps would see the host" {
	mkdir "$BATS_TEST_TMPDIR/root"
	pod '.apps = [app("curious"; ["say", "secret word"])]'
	run unshare --mount --propagation private bash -c '
		mount --rbind / "$1" && chroot "$1" "$2" "--dir=$3" run --flavour=container "$4"
	' - "$BATS_TEST_TMPDIR/root" "$APPC_VM" "$DATA" "$POD"
	[ "$status" -eq 254 ]
	[[ $output == *"below a chroot"* && $output != *"secret word"* ]]
}

@test "output that cannot be written is an error" {
	status=0
	appc_vm version >/dev/full 2>"$BATS_TEST_TMPDIR/err" || status=$?
	[ "$status" -eq 254 ]
	[ "$(cat "$BATS_TEST_TMPDIR/err")" = \
		"appc-vm: error: cannot write standard output: No space left on device" ]
}
