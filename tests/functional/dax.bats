#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Files that a pod uses in place, in the host's memory, instead of a copy of its own (--dax).
# shellcheck disable=SC2016 # the variables are jq's

load lib

LARGE=$((8 << 20))

# image_files NAME: the probe, a large file, a small one, and a copy of the probe.
image_files()
{
	local work
	work=$(mktemp -d "$BATS_FILE_TMPDIR/files-XXXXXX")
	mkdir -p "$work"/rootfs/{bin,srv,tmp}
	cp "$PROBE" "$work/rootfs/bin/probe"
	head -c "$LARGE" /dev/urandom >"$work/rootfs/srv/large"
	head -c 100000 /dev/urandom >"$work/rootfs/srv/small"
	image_manifest "$1" >"$work/manifest"
	tar --create --file "$work.aci" --directory "$work" manifest rootfs
	appc_vm image import "$work.aci"
	rm -rf "$work" "$work.aci"
}

setup_file()
{
	[ ! -c /dev/kvm ] || data_directory
	[ ! -c /dev/kvm ] || image_files example.com/files
}

setup()
{
	needs_kvm
	[ "$FLAVOUR" = vm ] || skip "containers use the host's files anyway"
}

teardown()
{
	local left=0
	pod_teardown || left=$?
	[ -z "${DISK:-}" ] || umount --lazy "$DISK"
	return "$left"
}

# The file of an image, as all pods of the image have it below theirs.
lower_file()
{
	local tree
	for tree in "$DATA"/trees/*/rootfs; do
		[ ! -e "$tree/$1" ] || echo "$tree/$1"
	done
}

@test "large files and static programs are used in place, and what they hold is right" {
	local never
	pod '.apps = [app("main"; ["window", "/srv/large", "digest", "/srv/large", "window", "/srv/small",
		"window", "/bin/probe"]) | .image.name = "example.com/files"]'
	run_pod
	expect_status 0
	expect_line "data of /srv/large: in place" "data of /srv/small: copied" "data of /bin/probe: in place"
	[ "$(sed -n 's/^digest of the mapping: //p' "$OUT" | head -n 1)" = \
		"$(sed -n 's,^digest /srv/large: ,,p' "$OUT")" ]
	cp "$OUT" "$BATS_TEST_TMPDIR/auto"
	run_pod --dax=never
	expect_status 0
	never=$(sed 's/in place/copied/' "$BATS_TEST_TMPDIR/auto")
	diff <(echo "$never") "$OUT"
}

@test "a debugger changes what it wants to change, and no more" {
	pod '.apps = [app("main"; ["poke", "/srv/large"]) | .image.name = "example.com/files" |
		.app.isolators = [{name: "os/linux/seccomp-retain-set", value: {set: ["@appc.io/all"]}}]]'
	run_pod
	expect_status 0
	expect_line "the rest of the page: same"
}

@test "changes are seen by every way, and stay in the pod" {
	local lower before
	pod '.apps = [app("main"; ["change", "/srv/large"]) | .image.name = "example.com/files"]'
	run_pod # renders the image
	expect_status 0
	lower=$(lower_file srv/large)
	before=$(sha512sum <"$lower")
	run_pod
	expect_status 0
	expect_line "write, then the mapping: same" "mapping, then read: same" \
		"mapping, written to the end: same" "cut and made longer: same"
	[ "$(sha512sum <"$lower")" = "$before" ]
}

@test "a page that is read brings its neighbours along, which are the file's" {
	pod '.apps = [app("main"; ["neighbours", "/srv/large"]) | .image.name = "example.com/files"]'
	run_pod
	expect_status 0
	expect_line "a page of many: 21, pages mapped: 12" "an own page: 1, the file's: 22" \
		"a page that was written: 2" "a page that was cut off: BUS" \
		"one before the end: 20, pages mapped: 9" "written beside it: 21 3"
}

@test "a file that is cut on the host ends the program that uses what is gone, and nothing else" {
	local before file
	image_files example.com/cut
	before=$(lower_file srv/large)
	pod '.volumes = [{name: "host", kind: "host", source: $host}] | .apps = [
		app("main"; ["cut", "/srv/large", "/host/go", "say", "still here"]) |
			.image.name = "example.com/cut" | .mounts = [{volume: "host", path: "/host"}]]'
	start_pod
	eventually "the file is mapped" grep -q "^mapped" "$OUT"
	for file in $(lower_file srv/large); do
		grep -qxF "$file" <<<"$before" || truncate -s 4096 "$file"
	done
	touch "$BATS_TEST_TMPDIR/host/go"
	finish_pod
	expect_status 0
	expect_line "the child ended with BUS" "still here"
	expect_error "was made shorter on the host"
	run ! grep -q "it is there" "$OUT"
}

# Takes what is left of a disk.
fill_disk()
{
	dd if=/dev/zero of="$1/rest" bs=64k 2>"$BATS_TEST_TMPDIR/dd" || true
	grep -q "No space left" "$BATS_TEST_TMPDIR/dd"
}

@test "a hole of a file on a full disk ends the program that uses it, and nothing else" {
	local disk=$BATS_TEST_TMPDIR/disk
	mkdir "$disk"
	mount -t tmpfs -o size=96m small "$disk" || skip "needs root, for a disk that is small"
	DISK=$disk
	DATA=$disk/data
	image_files example.com/files
	pod '.volumes = [{name: "host", kind: "host", source: $host}] | .apps = [
		app("main"; ["hole", "/srv/large", "/host/go", "say", "still here"]) |
			.image.name = "example.com/files" | .mounts = [{volume: "host", path: "/host"}]]'
	start_pod
	eventually "the file is mapped" grep -q "^mapped" "$OUT"
	fill_disk "$disk"
	touch "$BATS_TEST_TMPDIR/host/go"
	eventually "the holes were written" said "still here"
	rm "$disk/rest"
	finish_pod
	expect_status 0
	# What was in the range that was written has its room.
	expect_line "mapped, the punched byte is 0" "beside what was written: written" "what was punched: written" \
		"where nothing was: BUS" "a write there: ENOSPC" "the first byte is 1"
	# On a tmpfs a hole needs room to be read, too.
	expect_line "a hole that is read: 0" "beside what was read: read" "where nothing was read: BUS"
}

# Rss and Pss in KiB of the large file in a process below a pod's: two words.
shared_memory()
{
	local pid
	for pid in $(pgrep --parent "$1"); do
		awk '/^[0-9a-f]+-[0-9a-f]+ /{counted = /srv.large$/}
			counted && /^Rss:/{rss += $2} counted && /^Pss:/{pss += $2}
			END {if (rss) print rss, pss}' "/proc/$pid/smaps" 2>/dev/null
	done
}

@test "pods of an image share the memory of its files" {
	local first second rss pss out
	pod '.apps = [app("main"; ["hold", "/srv/large"]) | .image.name = "example.com/files"]'
	start_pod
	first=$RUN
	eventually "the first pod has the file" grep -q "^ready" "$OUT"
	out=$OUT
	mv "$OUT" "$out.first"
	start_pod
	second=$RUN
	eventually "the second pod has the file" grep -q "^ready" "$out"
	for RUN in "$first" "$second"; do
		read -r rss pss <<<"$(shared_memory "$RUN")"
		echo "$rss KiB resident, $pss KiB of them its own share"
		[ "$rss" -ge $((LARGE >> 10)) ]
		[ "$pss" -le $((LARGE * 6 / 10 >> 10)) ]
	done
	kill -TERM "$first" "$second"
	for RUN in "$first" "$second"; do
		finish_pod
		expect_status 0
	done
}
