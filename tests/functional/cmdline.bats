#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# From command line to manifest: run and prepare with images and rkt's flags. The pods run in namespaces;
# what comes of each flag in the manifest is tests/unit/test_command_line.c's affair.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034 # the variables are jq's; lib.bash reads LIMIT

load lib

setup_file()
{
	data_directory
	image_without_app "$BATS_FILE_TMPDIR/library.aci"
	appc_vm image import "$BATS_FILE_TMPDIR/library.aci"
}

# An image with the probe and no app section.
image_without_app()
{
	local work
	work=$(mktemp -d "$BATS_FILE_TMPDIR/image-XXXXXX")
	mkdir -p "$work/rootfs/bin"
	cp "$PROBE" "$work/rootfs/bin/probe"
	image_manifest example.com/library 'del(.app)' >"$work/manifest"
	tar --create --file "$1" --directory "$work" manifest rootfs
	rm -rf "$work"
}

# run_line WORD...: runs the pod of a command line to its end. Sets status; OUT and ERR as run_pod.
run_line()
{
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	status=0
	timeout --kill-after=20 "$LIMIT" "$APPC_VM" "--dir=$DATA" run --flavour=container "$@" \
		>"$OUT" 2>"$ERR" </dev/null 3>&- || status=$?
}

# refused TEXT: nothing has run, and one line says why: this text is in it.
refused()
{
	expect_status 254
	[ ! -s "$OUT" ]
	[ "$(wc -l <"$ERR")" -eq 1 ]
	if ! grep -qF -- "$1" "$ERR"; then
		cat "$ERR"
		return 1
	fi
}

# manifest WORD... FILTER: what jq finds in the manifest of a pod that is prepared from this line.
manifest()
{
	local uuid
	uuid=$(appc_vm prepare --quiet "${@:1:$#-1}")
	appc_vm cat-manifest "$uuid" | jq --compact-output "${@:$#}"
}

@test "an image is named by name, by name and version, by id, or by file" {
	local id file=$BATS_FILE_TMPDIR/probe.aci
	id=$(appc_vm image list --full | awk '$2 ~ /probe/ { print $1 }')
	for image in example.com/probe "$id" "${id:0:20}" "--insecure-options=image $file"; do
		# shellcheck disable=SC2086 # two words
		run_line $image -- say "by $image"
		expect_status 0
		expect_line default
	done
	run_line example.com/absent
	refused example.com/absent
	run_line example.com/probe:9.9
	refused example.com/probe
}

@test "flags change the image before them, arguments end at ---" {
	run_line example.com/probe --name=one --exec=/bin/probe --user=1000 --group=staff \
		--supplementary-gids=4,24 --working-dir=/home/alice --environment=WHO=one \
		-- identity cwd env WHO env AC_APP_NAME say --name=no-flag --- \
		example.com/probe --name=two --exec=/bin/probe --readonly-rootfs \
		-- write /tmp/file text env WHO exit 3
	expect_status 3
	expect_line 'identity: uid=1000 euid=1000 gid=50 egid=50 groups=4,24' 'cwd: /home/alice' \
		'env WHO: one' 'env AC_APP_NAME: one' '--name=no-flag' \
		'write /tmp/file: EROFS' 'env WHO: (unset)'
}

@test "an image without an app section needs --exec, and runs as who asks" {
	run_line example.com/library
	refused "error: image example.com/library has no app section and --exec argument is not provided"
	run_line example.com/library --exec=/bin/probe -- identity
	expect_status 0
	expect_line 'identity: uid=0 euid=0 gid=0 egid=0 groups='
}

@test "--mount before any image is for all, after one for that one, which wins" {
	mkdir -p "$BATS_TEST_TMPDIR"/{all,own}
	echo all >"$BATS_TEST_TMPDIR/all/name"
	echo own >"$BATS_TEST_TMPDIR/own/name"
	run_line --volume="all,kind=host,source=$BATS_TEST_TMPDIR/all,readOnly=true" \
		--volume "own,kind=host,source=$BATS_TEST_TMPDIR/own" \
		--mount=volume=all,target=/mnt/ --mount volume=all,target=both \
		example.com/probe --name=one --exec=/bin/probe -- read /mnt/name write /both/name x --- \
		example.com/probe --name=two --exec=/bin/probe --mount=volume=own,target=/mnt \
		-- read /mnt/name read /both/name write /mnt/new text
	expect_status 0
	expect_line 'read /mnt/name: all' 'write /both/name: EROFS' \
		'read /mnt/name: own' 'read /both/name: all' 'write /mnt/new: ok'
	[ "$(cat "$BATS_TEST_TMPDIR/own/new")" = text ]

	run_line example.com/probe --mount=volume=nowhere,target=/mnt
	refused 'could not find volume "nowhere"'
}

@test "the environment comes from the app's flags, --set-env, the file, the image, the host: in that order" {
	printf '# comment\nFILE=file\nSET=file\nAPP=file\n' >"$BATS_TEST_TMPDIR/env"
	HOST=host FILE=host SET=host APP=host run_line --inherit-env \
		"--set-env-file=$BATS_TEST_TMPDIR/env" --set-env=SET=set --set-env APP=set \
		example.com/probe --exec=/bin/probe --environment=APP=app \
		-- env HOST env FILE env SET env APP env PATH
	expect_status 0
	expect_line 'env HOST: host' 'env FILE: file' 'env SET: set' 'env APP: app' "env PATH: $PATH"
	HOST=host run_line example.com/probe --exec=/bin/probe -- env HOST
	expect_line 'env HOST: (unset)'

	echo 'no assignment' >"$BATS_TEST_TMPDIR/env"
	run_line "--set-env-file=$BATS_TEST_TMPDIR/env" example.com/probe
	refused "environment variable must be specified as name=value (file \"$BATS_TEST_TMPDIR/env\", line 1)"
}

@test "isolators of flags are in the manifest, where they are the effective ones" {
	run --separate-stderr manifest example.com/probe --memory=64M --cpu=500m --oom-score-adj=100 --cpu-shares=2048 \
		--caps-retain=CAP_CHOWN --seccomp=mode=retain,errno=EPERM,@rkt/default-whitelist \
		'[.apps[0].app.isolators[] | {(.name): .value}] | add'
	[ "$status" -eq 0 ]
	[ "$output" = '{"resource/memory":{"request":"64M","limit":"64M"},"resource/cpu":{"request":"500m","limit":"500m"},"os/linux/oom-score-adj":100,"os/linux/cpu-shares":2048,"os/linux/capabilities-retain-set":{"set":["CAP_CHOWN"]},"os/linux/seccomp-retain-set":{"set":["@rkt/default-whitelist"],"errno":"EPERM"}}' ]
	run_line example.com/probe --memory=16m
	refused "memory limit of 1 bytes too low. Try a reasonable value, such as --memory=16M"
	run_line example.com/probe --caps-retain=CAP_KILL --caps-remove=CAP_KILL
	refused "cannot use both --cap-retain and --cap-remove on the same image"
}

@test "annotations and labels are in the manifest, of the pod and of the app" {
	run --separate-stderr manifest --user-annotation=of=pod --user-label=of=pod example.com/probe \
		--user-annotation=of=app --user-label=of=app --annotation=name=value \
		'[.userAnnotations, .userLabels, (.annotations | map(.name)), (.apps[0] |
			.app.userAnnotations, .app.userLabels, .annotations)]'
	[ "$status" -eq 0 ]
	[ "$output" = '[{"of":"pod"},{"of":"pod"},["coreos.com/rkt/stage1/mutable"],{"of":"app"},{"of":"app"},[{"name":"name","value":"value"}]]' ]
}

@test "conflicts are named as rkt names them" {
	pod '.apps = [app("one"; ["say", "ran"])]'
	run_line
	refused "must provide at least one image or specify the pod manifest"
	run_line --pod-manifest="$POD" example.com/probe
	refused "conflicting flags set with --pod-manifest (see --help)"
	run_line "$POD" --volume=v,kind=empty
	refused "conflicting flags set with --pod-manifest (see --help)"
	run_line "$POD" --set-env=A=B
	refused "conflicting flags set with --pod-manifest (see --help)"
	run_line --interactive example.com/probe example.com/library --exec=/bin/probe
	refused "interactive option only supports one image"
	run_line --net=none --port=www:80 example.com/probe
	refused "--port flag does not work with 'none' networking"
	run_line --net=host --port=www:80 example.com/probe
	refused "--port flag does not work with 'host' networking"
	run_line --port=www:80 example.com/probe
	refused 'port name "www" could not be found in any apps'
	run_line --flavour=vm --net=host example.com/probe
	refused "flavor kvm requires private network configuration (try --net)"
	run_line --ipc=parent example.com/probe
	refused "--ipc=parent"
	run_line --private-users example.com/probe
	refused "--private-users"
	run_line --stage1-path=/usr/lib/rkt/stage1.aci example.com/probe
	refused "there is no stage1"
	run_line --exec=/bin/probe example.com/probe
	refused "--exec must follow an image"
	run_line example.com/probe example.com/probe
	refused "multiple apps with name example.com/probe"
	run_line --dns=host --dns=1.2.3.4 example.com/probe
	refused "no other --dns options allowed when --dns=host is passed"
	run_line --hosts-entry=1.2.3=name example.com/probe
	refused "Invalid IP passed to --hosts-entry: 1.2.3"
}

@test "flags that change nothing here are taken" {
	run_line --mds-register --ipc=auto --net=none --no-overlay --private-users=false --pull-policy=never \
		--trust-keys-from-https example.com/probe
	expect_status 0
	expect_line default
	expect_error 'no-overlay has no effect'
}

@test "an image for another platform, or for none, is refused" {
	local filter
	mkdir -p "$BATS_TEST_TMPDIR/rootfs"
	for filter in '.labels[1].value = "aarch64"' 'del(.labels[1])' 'del(.labels)'; do
		image_manifest example.com/foreign "$filter" >"$BATS_TEST_TMPDIR/manifest"
		tar -C "$BATS_TEST_TMPDIR" -cf "$BATS_TEST_TMPDIR/foreign.aci" manifest rootfs
		run_line --insecure-options=image "$BATS_TEST_TMPDIR/foreign.aci"
		case $filter in
		*aarch64*) refused "aarch64" ;;
		*1*) refused "missing arch label in the image manifest" ;;
		*) refused "missing os label in the image manifest" ;;
		esac
	done
}

@test "an app without a program is refused, and the image is named" {
	mkdir -p "$BATS_TEST_TMPDIR/rootfs"
	image_manifest example.com/empty '.app.exec = []' >"$BATS_TEST_TMPDIR/manifest"
	tar -C "$BATS_TEST_TMPDIR" -cf "$BATS_TEST_TMPDIR/empty.aci" manifest rootfs
	run_line --insecure-options=image "$BATS_TEST_TMPDIR/empty.aci"
	refused 'image "example.com/empty" has an empty "exec" (try --exec=BINARY)'
}

@test "a manifest is stored byte by byte, and cat-manifest prints all that is in it" {
	local uuid
	pod '.apps = [app("one"; ["say", "hello"])] | .unknown = {kept: true}'
	printf '\n\n' >>"$POD"
	uuid=$(appc_vm prepare --quiet "$POD")
	cmp "$POD" "$DATA/pods/prepared/$uuid/manifest"
	[ "$(stat -c %a "$DATA/pods/prepared/$uuid/manifest")" = 640 ]
	diff <(jq -S . "$POD") <(appc_vm cat-manifest "${uuid:0:8}" | jq -S .)
	[ "$(appc_vm cat-manifest --pretty-print=false "$uuid" | wc -l)" -eq 1 ]
	[ "$(appc_vm cat-manifest "$uuid" | wc -l)" -gt 1 ]
	echo "$uuid" >"$BATS_TEST_TMPDIR/uuid"
	diff <(appc_vm cat-manifest "$uuid") <(appc_vm cat-manifest --uuid-file="$BATS_TEST_TMPDIR/uuid")
	run appc_vm cat-manifest "$uuid" 00000000-1111-2222-3333-444444444444
	[ "$status" -eq 254 ]
	[[ $output == *hello* && $output == *"no matches found"* ]]
	run appc_vm cat-manifest
	[ "$status" -eq 254 ]
}

@test "prepare renders a tree again that was changed on disk" {
	local uuid file
	appc_vm prepare --quiet example.com/probe
	file=$(find "$DATA"/trees/*/rootfs/etc/passwd)
	[ -f "$file" ]
	echo 'intruder:x:0:0::/:/bin/sh' >>"$file"
	run --separate-stderr appc_vm --insecure-options=ondisk prepare --quiet example.com/probe
	[ "$status" -eq 0 ]
	[ -z "$stderr" ]
	run --separate-stderr appc_vm prepare --quiet example.com/probe --exec=/bin/probe -- read /etc/passwd
	[ "$status" -eq 0 ]
	[[ $stderr == *"tree cache is in a bad state"*"Rebuilding"* ]]
	uuid=$output
	run appc_vm run-prepared --flavour=container "$uuid"
	[ "$status" -eq 0 ]
	[[ $output == *alice* && $output != *intruder* ]]
}

@test "a prepare that is killed at any moment leaves what gc removes" {
	local i prepared uuid
	for i in $(seq -w 1 5 60); do
		timeout --signal=KILL "0.0$i" "$APPC_VM" "--dir=$DATA" prepare --quiet example.com/probe \
			>/dev/null 2>&1 || true
	done
	run appc_vm list --no-legend
	[ "$status" -eq 0 ]
	[[ $output != *running* ]]
	appc_vm gc --grace-period=0
	[ -z "$(find "$DATA/pods/prepare" "$DATA/pods/garbage" -mindepth 1 -maxdepth 1)" ]
	for uuid in "$DATA"/pods/prepared/*; do
		prepared=${uuid##*/}
		appc_vm cat-manifest "$prepared" >/dev/null
	done
	run appc_vm run-prepared --flavour=container "$prepared"
	[ "$status" -eq 0 ]
}
