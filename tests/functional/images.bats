#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The commands about images. They run no virtual machine; one test runs a pod in the container flavour.
# shellcheck disable=SC2030,SC2031,SC2016,SC2034,SC2153 # the variables are jq's; lib.bash reads FLAVOUR, sets UUID

load lib

setup_file()
{
	FLAVOUR=container
	data_directory
	aci lower . below=lower both=lower
	aci upper '.dependencies = [{imageName: "example.com/lower"}] | .pathWhitelist = ["/both", "/below"]' \
		both=upper unlisted=upper
	aci versioned '.labels += [{name: "version", value: "1.0"}]' file=1
	cp "$BATS_FILE_TMPDIR/versioned.aci" "$BATS_FILE_TMPDIR/versioned-1.aci"
	aci versioned '.labels += [{name: "version", value: "2.0"}]' file=2
}

# Each test begins with the same images.
setup()
{
	FLAVOUR=container
	DATA=$BATS_TEST_TMPDIR/data
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	for name in lower upper versioned-1 versioned; do
		appc_vm image import "$BATS_FILE_TMPDIR/$name.aci"
	done >"$BATS_TEST_TMPDIR/ids"
	{ read -r LOWER && read -r UPPER && read -r ONE && read -r TWO; } <"$BATS_TEST_TMPDIR/ids"
}

# aci NAME JQ-FILTER FILE=CONTENT...: $BATS_FILE_TMPDIR/NAME.aci
aci()
{
	local name=$1 filter=$2 work
	work=$(mktemp -d "$BATS_FILE_TMPDIR/aci-XXXXXX")
	mkdir "$work/rootfs"
	image_manifest "example.com/$name" "del(.app) | $filter" >"$work/manifest"
	for file in "${@:3}"; do
		echo "${file#*=}" >"$work/rootfs/${file%%=*}"
	done
	tar --create --file "$BATS_FILE_TMPDIR/$name.aci" --directory "$work" manifest rootfs
	rm -r "$work"
}

# quietly COMMAND...: with output in $OUT and $ERR, status in $status
quietly()
{
	status=0
	"$@" >"$OUT" 2>"$ERR" || status=$?
}

@test "image list: fields, order, whole ids, JSON" {
	[ "$(appc_vm image list --no-legend --fields=name)" = "$(printf '%s\n' example.com/lower \
		example.com/upper example.com/versioned:1.0 example.com/versioned:2.0)" ]
	[ "$(appc_vm image list --no-legend --fields=name --sort=name,importtime --order=desc | head -n 1)" = \
		example.com/versioned:2.0 ]
	[ "$(appc_vm image list --full --no-legend --fields=id | head -n 1)" = "$LOWER" ]
	[ "$(appc_vm image list --no-legend --fields=id | head -n 1)" = "${LOWER:0:19}" ]
	[ "$(appc_vm image list --full --no-legend --fields=size | head -n 1)" = \
		"$(stat --format=%s "$BATS_FILE_TMPDIR/lower.aci")" ]
	[ "$(appc_vm image list --fields=Name,SIZE --sort=ImportTime | head -n 1)" = "$(printf 'NAME\tSIZE')" ]
	[ "$(appc_vm image list --fields=name,size | head -n 1)" = "$(printf 'NAME\tSIZE')" ]
	[ "$(appc_vm image list | head -n 1)" = "$(printf 'ID\tNAME\tSIZE\tIMPORT TIME\tLAST USED')" ]
	appc_vm image list --format=json >"$OUT"
	[ "$(wc -l <"$OUT")" -eq 1 ]
	jq --exit-status --arg id "$TWO" 'length == 4 and (.[3] | keys == ["id", "import_time", "last_used_time",
		"name", "size"] and .id == $id and .name == "example.com/versioned:2.0" and .size > 0)' "$OUT"
	[ "$(appc_vm image list --format=json-pretty | wc -l)" -gt 4 ]
}

@test "image list refuses fields, orders and formats that do not exist" {
	for flag in --fields=id,age --fields= --fields=id,id --sort=colour --order=up --format=xml extra; do
		quietly appc_vm image list "$flag"
		expect_status 254
		expect_error 'image list'
	done
}

@test "image cat-manifest prints a manifest, on one line when asked to" {
	appc_vm image cat-manifest example.com/versioned,version=1.0 >"$OUT"
	[ "$(wc -l <"$OUT")" -gt 1 ]
	jq --exit-status '.name == "example.com/versioned" and .labels[2].value == "1.0"' "$OUT"
	[ "$(appc_vm image cat-manifest --pretty-print=false "$TWO" | wc -l)" -eq 1 ]
	[ "$(appc_vm image cat-manifest example.com/versioned | jq -r '.labels[2].value')" = 2.0 ]
}

@test "an image is named by the beginning of its id, its name, or its name and labels" {
	for image in "${ONE:0:12}" "$ONE" example.com/versioned:1.0 example.com/versioned,version=1.0; do
		appc_vm image export --overwrite "$image" "$BATS_TEST_TMPDIR/out.aci"
		cmp "$BATS_TEST_TMPDIR/out.aci" "$BATS_FILE_TMPDIR/versioned-1.aci"
	done
}

@test "a library that only images need is missed by nothing else" {
	[ -z "${SANITIZED:-}" ] || skip "a program under sanitizers is linked with it"
	# shellcheck disable=SC2016 # for the shell in the namespace
	without=(unshare --mount --propagation=private sh -c 'mount --bind /dev/null "$0" && exec "$@"'
		"$(ldconfig -p | sed -n 's/.*libarchive\.so\.13 .*=> //p' | head -n 1)")
	"${without[@]}" "$APPC_VM" "--dir=$DATA" image list >"$OUT"
	[ -s "$OUT" ]
	quietly "${without[@]}" "$APPC_VM" "--dir=$BATS_TEST_TMPDIR/data" image import "$BATS_FILE_TMPDIR/lower.aci"
	expect_status 254
	expect_error 'library that reads and writes images.*libarchive\.so\.13'
	[ "$(wc -l <"$ERR")" -eq 1 ]
}

@test "a name or id that stands for no image is an error that repeats it" {
	for image in example.com/absent example.com/versioned:3.0 sha512-00000000; do
		for command in cat-manifest verify rm; do
			quietly appc_vm image "$command" "$image"
			expect_status 254
			expect_error "${image%:*}"
		done
		quietly appc_vm image render "$image" "$BATS_TEST_TMPDIR/absent"
		expect_status 254
		[ ! -e "$BATS_TEST_TMPDIR/absent" ]
	done
	quietly appc_vm image cat-manifest sha512-zz
	expect_error 'is not a valid hash'
}

@test "image export writes the archive; an existing file only with --overwrite" {
	local out=$BATS_TEST_TMPDIR/out.aci
	gzip -c "$BATS_FILE_TMPDIR/lower.aci" >"$BATS_TEST_TMPDIR/lower.aci.gz"
	appc_vm image export example.com/lower "$out"
	cmp "$out" "$BATS_FILE_TMPDIR/lower.aci"
	echo precious >"$out"
	quietly appc_vm image export example.com/lower "$out"
	expect_status 254
	expect_error 'already exists'
	[ "$(cat "$out")" = precious ]
	appc_vm image export --overwrite example.com/lower "$out"
	cmp "$out" "$BATS_FILE_TMPDIR/lower.aci"
	[ "$(find "$BATS_TEST_TMPDIR" -name '.appc-vm-*' | wc -l)" -eq 0 ]
}

@test "image extract is the archive alone, image render what a pod sees" {
	cd "$BATS_TEST_TMPDIR"
	appc_vm image extract example.com/upper extracted
	[ "$(cat extracted/rootfs/both extracted/rootfs/unlisted)" = "$(printf 'upper\nupper')" ]
	[ ! -e extracted/rootfs/below ]
	jq --exit-status '.name == "example.com/upper"' extracted/manifest
	appc_vm image render example.com/upper rendered
	[ "$(cat rendered/rootfs/both rendered/rootfs/below)" = "$(printf 'upper\nlower')" ]
	[ ! -e rendered/rootfs/unlisted ]
	[ -e rendered/manifest ]
	appc_vm image render --rootfs-only example.com/upper rootfs
	[ "$(ls rootfs)" = "$(printf 'below\nboth')" ]
}

@test "image extract replaces a directory only with --overwrite, and nothing but a directory" {
	local out=$BATS_TEST_TMPDIR/out.d
	mkdir "$out"
	echo precious >"$out/file"
	quietly appc_vm image extract example.com/lower "$out"
	expect_status 254
	expect_error 'try --overwrite'
	[ "$(cat "$out/file")" = precious ]
	ln -s "$out" "$BATS_TEST_TMPDIR/link"
	quietly appc_vm image extract --overwrite example.com/lower "$BATS_TEST_TMPDIR/link"
	expect_status 254
	quietly appc_vm image extract --overwrite example.com/lower /
	expect_status 254
	[ "$(cat "$out/file")" = precious ]
	appc_vm image extract --overwrite --rootfs-only example.com/lower "$out"
	[ "$(ls "$out")" = "$(printf 'below\nboth')" ]
}

@test "image verify finds a tree that was changed and makes it again" {
	local tree
	run appc_vm image verify example.com/upper
	[[ $output == *"not rendered; no verification needed"* ]]
	# A pod's run renders, though there is nothing to execute.
	pod '.apps = [{name: "one", image: {name: "example.com/upper"}, app: {exec: ["/nothing"], user: "0",
		group: "0"}}]'
	run_pod
	tree=$(find "$DATA/trees" -mindepth 1 -maxdepth 1)
	[ "$(appc_vm image verify example.com/upper)" = \
		"successfully verified checksum for image: \"example.com/upper\" (\"$UPPER\")" ]
	echo changed >"$tree/rootfs/both"
	quietly appc_vm image verify "$UPPER"
	expect_status 0
	grep 'tree cache verification failed for image.*rebuilding' "$OUT"
	[ "$(cat "$tree/rootfs/both")" = upper ]
	appc_vm image verify "$UPPER" | grep 'successfully verified checksum'
}

@test "image verify finds a manifest that was changed, and import mends it" {
	local manifest=$DATA/images/$LOWER/manifest
	jq -c '.labels += [{name: "version", value: "9"}]' "$manifest" >"$BATS_TEST_TMPDIR/changed"
	cp "$BATS_TEST_TMPDIR/changed" "$manifest"
	quietly appc_vm image verify example.com/lower
	expect_status 254
	expect_error "image $LOWER was changed: its manifest is not the archive's; import it again"
	[ "$(appc_vm image import "$BATS_FILE_TMPDIR/lower.aci")" = "$LOWER" ]
	appc_vm image verify example.com/lower
}

@test "image verify finds an archive that was changed" {
	printf x | dd of="$DATA/images/$LOWER/image.tar" bs=1 seek=700 conv=notrunc status=none
	quietly appc_vm image verify example.com/lower
	expect_status 254
	expect_error "image $LOWER was changed"
}

@test "image rm: one error does not save the others, and what was done is said" {
	quietly appc_vm image rm sha512-ff example.com/absent "${LOWER:0:30}" example.com/versioned:1.0
	expect_status 254
	expect_line "rm: successfully removed aci for image: \"$LOWER\" (\"example.com/lower\")" \
		"rm: successfully removed aci for image: \"$ONE\" (\"example.com/versioned\")" \
		'rm: 2 image(s) successfully removed'
	expect_error 'image ID "sha512-ff" doesn.t exist'
	expect_error 'image name "example.com/absent" not found'
	expect_error 'rm: 2 image\(s\) cannot be removed'
	[ "$(appc_vm image list --no-legend | wc -l)" -eq 2 ]
}

@test "image rm removes an image once that two arguments name" {
	quietly appc_vm image rm example.com/lower "$LOWER" example.com/lower
	expect_status 0
	expect_line 'rm: 1 image(s) successfully removed'
}

@test "an id is too short, ambiguous or unknown in rkt's words" {
	quietly appc_vm image cat-manifest sha512-1
	expect_error 'image ID too short'
	quietly appc_vm image cat-manifest "sha512-$(printf '%0128d' 0)"
	expect_error 'no image IDs found'
	# Another image whose id begins as that of the first.
	cp -r "$DATA/images/$LOWER" "$DATA/images/${LOWER:0:100}$(printf '%035d' 0)"
	quietly appc_vm image cat-manifest "${LOWER:0:19}"
	expect_error 'ambiguous image ID'
}

@test "image rm with a name removes every image of that name" {
	quietly appc_vm image rm example.com/versioned
	expect_status 0
	expect_line 'rm: 2 image(s) successfully removed'
	[ "$(appc_vm image list --no-legend | wc -l)" -eq 2 ]
}

@test "image gc keeps what is new and what pods use" {
	appc_vm image import "$BATS_FILE_TMPDIR/probe.aci"
	[ -z "$(appc_vm image gc)" ]
	[ "$(appc_vm image list --no-legend | wc -l)" -eq 5 ]
	pod '.apps = [app("one"; ["say", "hello"])]'
	run_pod
	expect_status 0
	appc_vm image gc --grace-period=0s >"$OUT"
	expect_line '4 image(s) successfully removed'
	[ "$(appc_vm image list --no-legend --fields=name)" = example.com/probe ]
	[ "$(find "$DATA/trees" -mindepth 1 -maxdepth 1 | wc -l)" -eq 1 ]
	appc_vm gc --grace-period=0s
	appc_vm gc --grace-period=0s
	appc_vm image gc --grace-period=0s >"$OUT"
	expect_line '1 image(s) successfully removed'
	[ "$(find "$DATA/trees" -mindepth 1 -maxdepth 1 | wc -l)" -eq 0 ]
}

waits_for_lock()
{
	grep -qE -- "-> FLOCK .* $1 " /proc/locks
}

# A pod in the making has trees that no list names yet.
@test "gc and image gc wait for pods in the making, and keep what those use then" {
	local lock pid command uuid
	appc_vm image import "$BATS_FILE_TMPDIR/probe.aci"
	pod '.apps = [app("one"; ["say", "hello"])]'
	exec {lock}<"$DATA/trees"
	for command in gc 'image gc'; do
		flock --shared "$lock"
		# shellcheck disable=SC2086
		"$APPC_VM" "--dir=$DATA" $command --grace-period=0s >"$OUT" 2>&1 {lock}<&- 3>&- &
		pid=$!
		eventually "$command waits" waits_for_lock "$pid"
		[ "$(appc_vm image list --no-legend | wc -l)" -eq 5 ]
		uuid=$(appc_vm prepare --quiet "$POD")
		[ "$command" = 'image gc' ] || appc_vm image rm example.com/probe
		flock --unlock "$lock"
		wait "$pid"
		[ "$(find "$DATA/trees" -mindepth 1 -maxdepth 1 | wc -l)" -eq 1 ]
		[ "$(appc_vm run-prepared --flavour=container "$uuid")" = hello ]
		appc_vm image import "$BATS_FILE_TMPDIR/probe.aci"
	done
}

@test "prepare and run wait for gc" {
	local lock command flavour
	appc_vm image import "$BATS_FILE_TMPDIR/probe.aci"
	pod '.apps = [app("one"; ["say", "hello"])]'
	exec {lock}<"$DATA/trees"
	for command in run prepare; do
		flock --exclusive "$lock"
		flavour=()
		[ "$command" = prepare ] || flavour=(--flavour=container)
		"$APPC_VM" "--dir=$DATA" "$command" "$POD" "${flavour[@]}" >"$OUT" {lock}<&- 3>&- &
		RUN=$!
		eventually "$command waits" waits_for_lock "$RUN"
		[ -z "$(ls "$DATA/trees")" ] || [ "$command" = prepare ]
		flock --unlock "$lock"
		wait "$RUN"
	done
}

@test "a pod that runs does not keep gc waiting" {
	appc_vm image import "$BATS_FILE_TMPDIR/probe.aci"
	UUID_FILE=$BATS_TEST_TMPDIR/uuid
	pod '.apps = [app("one"; ["forever"])]'
	start_pod "--uuid-file-save=$UUID_FILE"
	pod_ready
	timeout "$LIMIT" "$APPC_VM" "--dir=$DATA" image gc --grace-period=0s
	timeout "$LIMIT" "$APPC_VM" "--dir=$DATA" gc --grace-period=0s
	appc_vm stop --force "$UUID"
	wait "$RUN" || true
}

@test "commands about images want the right number of arguments" {
	for words in rm verify cat-manifest 'cat-manifest a b' 'export a' 'extract a' 'render a b c' 'gc x' \
		'gc --grace-period=soon' nonsense; do
		# shellcheck disable=SC2086 # several words
		quietly appc_vm image $words
		expect_status 254
		expect_error 'see "appc-vm image'
	done
}
