#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Images and manifests as an attacker makes them: an import succeeds wholly or leaves the store as it
# was, with one line of explanation and bounded memory. hostile_images.py writes the files. No pod runs
# in most of these; where one does, it is in the container flavour.
# shellcheck disable=SC2030,SC2031,SC2016,SC2034 # the variables are jq's; lib.bash reads FLAVOUR

load lib

# The address space that an import may use, KiB. Each case needs far less; without a bound of its own
# some would need all there is. A sanitizer uses all of it from the beginning.
MEMORY=$((512 << 10))
[ -z "${SANITIZED:-}" ] || MEMORY=unlimited

setup_file()
{
	FLAVOUR=container
	data_directory
	# Commands about pods make their places; here that is no change.
	appc_vm list >/dev/null
}

setup()
{
	FLAVOUR=container
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	IMAGES=$BATS_TEST_TMPDIR/images
	mkdir "$IMAGES"
}

hostile()
{
	python3 "$BATS_TEST_DIRNAME/hostile_images.py" "$@"
}

# Every file of the data directory, with what a change would change; directories without their times,
# because temporary files come and go in them.
store_tree()
{
	find "$DATA" -type d -printf '%y %m %U %p\n' -o -printf '%y %m %U %s %T@ %p %l\n' | sort
}

# import FILE [OPTION...]: as the command line does, with bounded memory. Sets status.
import()
{
	status=0
	(
		ulimit -v "$MEMORY"
		timeout 120 "$APPC_VM" "--dir=$DATA" image import "${@:2}" "$1"
	) >"$OUT" 2>"$ERR" </dev/null 3>&- || status=$?
}

# refused FILE WHY BEFORE: the last import failed as it must, and changed nothing.
refused()
{
	if [ "$status" -ne 254 ] || [ -s "$OUT" ] || [ "$(wc -l <"$ERR")" -ne 1 ] ||
		! grep -qF -- "$2" "$ERR" || ! grep -qF -- "$1" "$ERR"; then
		echo "$1: status $status, expected one line with its name and: $2"
		cat "$OUT" "$ERR"
		return 1
	fi
	if [ "$(store_tree)" != "$3" ]; then
		echo "$1: the store has changed"
		diff <(echo "$3") <(store_tree)
		return 1
	fi
}

# accepted FILE: the last import printed an id; the image is whole, can be rendered, and goes again.
accepted()
{
	local id
	if [ "$status" -ne 0 ] || [ -s "$ERR" ]; then
		echo "$1: status $status, expected an image"
		cat "$ERR"
		return 1
	fi
	id=$(cat "$OUT")
	[ -n "$id" ]
	appc_vm image verify "$id" >"$OUT"
	rm -rf "$BATS_TEST_TMPDIR/rendered"
	appc_vm image render "$id" "$BATS_TEST_TMPDIR/rendered"
	appc_vm image rm "$id" >"$OUT"
	[ -z "$(ls -A "$DATA/tmp")" ]
}

byte_change()
{
	local byte
	byte=$(od --address-radix=n --format=u1 --skip-bytes="$2" --read-bytes=1 "$1")
	# shellcheck disable=SC2059 # the format is the byte
	printf "\\x$(printf %x $((byte ^ 0x55)))" |
		dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# import_either FILE BEFORE [OPTION...]: wholly or not at all. Counts what was refused.
import_either()
{
	import "$1" "${@:3}"
	if [ "$status" -eq 0 ]; then
		accepted "$1"
	else
		refused "$1" '' "$2"
		refusals=$((refusals + 1))
	fi
}

@test "entries that lead out, lie, or are too large: each format refuses them and keeps what is odd but good" {
	local before file good why count=0
	hostile cases "$IMAGES" >"$BATS_TEST_TMPDIR/list"
	touch "$BATS_TEST_TMPDIR/canary"
	before=$(store_tree)
	while IFS=$'\t' read -r file good why; do
		import "$file"
		if [ "$good" = yes ]; then
			accepted "$file"
		else
			refused "$file" "$why" "$before"
		fi
		count=$((count + 1))
	done <"$BATS_TEST_TMPDIR/list"
	[ "$count" -gt 150 ]
	# Nothing was made where the names lead.
	[ -z "$(find / /tmp /etc "$DATA" "$BATS_TEST_TMPDIR" -maxdepth 1 -name escape)" ]
	[ "$(stat --format=%a /etc/passwd)" = 644 ]
}

@test "archives cut off at every 64 KiB are refused" {
	local before file offset refusals=0
	hostile good "$IMAGES"
	before=$(store_tree)
	for file in "$IMAGES"/good.*; do
		for ((offset = 0; offset < $(stat --format=%s "$file") - 1024; offset += 65536)); do
			head --bytes=$offset "$file" >"$BATS_TEST_TMPDIR/cut"
			import "$BATS_TEST_TMPDIR/cut"
			refused "$BATS_TEST_TMPDIR/cut" '' "$before"
		done
	done
}

@test "a byte changed at every 64 KiB: what has a checksum is refused, the rest is another image or refused" {
	local before file offset refusals
	hostile good "$IMAGES"
	before=$(store_tree)
	for file in "$IMAGES"/good.*; do
		refusals=0
		for ((offset = 0; offset < $(stat --format=%s "$file"); offset += 65536)); do
			cp "$file" "$BATS_TEST_TMPDIR/changed"
			byte_change "$BATS_TEST_TMPDIR/changed" "$offset"
			import_either "$BATS_TEST_TMPDIR/changed" "$before"
		done
		# Compression and digests know; a plain ACI is named by its content, whatever that is.
		echo "$file: $refusals"
		[ "$file" = "$IMAGES/good.aci" ] || [ "$refusals" -ge $((offset / 65536)) ]
	done
	[ "$(store_tree)" = "$before" ]
}

@test "decompression bombs end early, and --max-size says how large an image may be" {
	local before bomb
	hostile bombs "$IMAGES"
	before=$(store_tree)
	for bomb in "$IMAGES"/bomb.*; do
		import "$bomb"
		refused "$bomb" 'a decompression bomb? --max-size' "$before"
		import "$bomb" --max-size=2M
		refused "$bomb" 'larger than 2097152 bytes' "$before"
	done
	import "$IMAGES/nested.aci.xz"
	refused "$IMAGES/nested.aci.xz" 'compressed more than once' "$before"
}

@test "--max-size lets through what is meant to be so large, and --max-entries too" {
	local before
	# 300 MiB of zeros in 300 KiB.
	mkdir "$IMAGES/rootfs"
	truncate --size=300M "$IMAGES/rootfs/zeros"
	image_manifest example.com/zeros 'del(.app)' >"$IMAGES/manifest"
	tar --create --gzip --file="$IMAGES/zeros.aci" --directory="$IMAGES" manifest rootfs
	before=$(store_tree)
	import "$IMAGES/zeros.aci"
	refused "$IMAGES/zeros.aci" 'more than 100 times as large' "$before"
	import "$IMAGES/zeros.aci" --max-size=299M
	refused "$IMAGES/zeros.aci" 'larger than 313524224 bytes' "$before"
	import "$IMAGES/zeros.aci" --max-size=301M --max-entries=2
	refused "$IMAGES/zeros.aci" 'more than 2 entries' "$before"
	import "$IMAGES/zeros.aci" --max-size=301M --max-entries=3
	expect_status 0
	appc_vm image rm "$(cat "$OUT")"
}

@test "fetch, run and prepare have the limits of import" {
	local before command
	hostile bombs "$IMAGES"
	before=$(store_tree)
	for command in fetch prepare 'run --flavour=container'; do
		status=0
		# shellcheck disable=SC2086 # several words
		appc_vm --insecure-options=image $command --max-size=2M "$IMAGES/bomb.aci.gz" >"$OUT" \
			2>"$ERR" || status=$?
		refused "$IMAGES/bomb.aci.gz" 'larger than 2097152 bytes' "$before"
		status=0
		# shellcheck disable=SC2086 # several words
		appc_vm --insecure-options=image $command --max-entries=2 "$BATS_FILE_TMPDIR/probe.aci" \
			>"$OUT" 2>"$ERR" || status=$?
		refused probe.aci 'more than 2 entries' "$before"
	done
	for value in 0 -1 x 1e9 99999999999; do
		import "$BATS_FILE_TMPDIR/probe.aci" "--max-entries=$value"
		expect_status 254
		expect_error "max-entries.*\"$value\""
	done
}

@test "a million entries are imported in bounded memory, or refused by number" {
	local before
	hostile many 1000000 >"$IMAGES/many.aci"
	before=$(store_tree)
	import "$IMAGES/many.aci" --max-entries=1000000
	refused "$IMAGES/many.aci" 'more than 1000000 entries' "$before"
	import "$IMAGES/many.aci" --max-entries=1000002
	expect_status 0
	appc_vm image verify "$(cat "$OUT")"
	appc_vm image rm "$(cat "$OUT")"
}

@test "device nodes of an image do not open the host's devices" {
	local work
	work=$(mktemp -d "$BATS_TEST_TMPDIR/devices-XXXXXX")
	mkdir -p "$work/rootfs/bin"
	cp "$PROBE" "$work/rootfs/bin/probe"
	mknod "$work/rootfs/memory" c 1 1
	mknod "$work/rootfs/disk" b 7 0
	mknod "$work/rootfs/kmsg" c 1 11
	chmod 666 "$work/rootfs"/{memory,disk,kmsg}
	image_manifest example.com/devices >"$work/manifest"
	tar --create --file="$IMAGES/devices.aci" --directory="$work" manifest rootfs
	appc_vm image import "$IMAGES/devices.aci"
	pod '.apps = [app("thief"; ["read", "/memory", "read", "/disk", "read", "/kmsg"]) |
		.image.name = "example.com/devices"]'
	run_pod
	[ "$(grep -cE '^read /(memory|disk|kmsg): E[A-Z]+$' "$OUT")" -eq 3 ]
}

# Manifests: what is refused is refused before a pod's directory is made.
@test "hostile pod manifests are refused by name and leave no pod" {
	local file before pods
	pods=$(appc_vm list --full)
	python3 - "$IMAGES" <<-'END'
		import json, sys
		def write(name, data):
		    open("%s/%s.json" % (sys.argv[1], name), "wb").write(
		        data if isinstance(data, bytes) else json.dumps(data).encode())
		app = {"name": "a", "image": {"name": "example.com/probe"}}
		def pod(**more):
		    return {"acVersion": "0.8.11", "acKind": "PodManifest", "apps": [app], **more}
		write("empty", b"")
		write("deep", b"[" * 100000)
		write("deep-object", b'{"a":' * 100000)
		write("too-long", json.dumps(pod()).encode() + b" " * (4 << 20))
		write("nul", json.dumps(pod()).replace("0.8.11", "0.8.11\\u0000").encode())
		write("not-utf8", json.dumps(pod()).replace("example", "ex\xe9mple").encode("latin-1"))
		write("many-apps", pod(apps=[{**app, "name": "a%d" % i} for i in range(40000)]))
		write("same-app-twice", pod(apps=[app, app]))
		write("app-name-leads-out", pod(apps=[{**app, "name": "../../escape"}]))
		write("volume-name-leads-out", pod(volumes=[{"name": "../v", "kind": "empty"}]))
		write("host-path-is-relative", pod(volumes=[
		    {"name": "v", "kind": "host", "source": "../../etc"}]))
		write("number-too-large", b'{"acVersion":"0.8.11","acKind":"PodManifest","apps":[],'
		      b'"ports":[{"name":"p","hostPort":' + b"9" * 400 + b"}]}")
		write("mode-too-large", pod(volumes=[{"name": "v", "kind": "empty", "mode": "777777"}]))
	END
	before=$(store_tree)
	for file in "$IMAGES"/*.json; do
		for command in prepare 'run --flavour=container'; do
			status=0
			# shellcheck disable=SC2086 # several words
			(ulimit -v "$MEMORY"; timeout 60 "$APPC_VM" "--dir=$DATA" $command "$file") \
				>"$OUT" 2>"$ERR" </dev/null 3>&- || status=$?
			refused '' '' "$before" || { echo "of $command $file" && return 1; }
		done
	done
	diff <(echo "$pods") <(appc_vm list --full)
}

@test "mount paths that lead out are taken from the app's root" {
	pod '.volumes = [{name: "one", kind: "empty"}, {name: "two", kind: "empty"},
			{name: "three", kind: "empty"}] |
		.apps = [app("a"; ["stat", "/escape", "stat", "/home/escape", "stat", "/srv/www/in"]) |
			.mounts = [{volume: "one", path: "/../../../escape"},
				{volume: "two", path: "home/../../home/escape"},
				{volume: "three", path: "/etc/link-out/in"}]]'
	run_pod
	expect_status 0
	[ "$(grep -c "^stat /.*: 040755 " "$OUT")" -eq 3 ]
	[ -z "$(find / /home /srv -maxdepth 1 -name escape)" ]
	[ ! -e /srv/www/in ]
}
