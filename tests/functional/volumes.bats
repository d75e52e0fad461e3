#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Root filesystems and volumes: what is shared, what is read-only, and that both sides see the same.
# shellcheck disable=SC2016,SC2034 # the variables are jq's; lib.bash reads LIMIT

load lib

setup_file()
{
	if [ "$FLAVOUR" = container ] || [ -c /dev/kvm ]; then
		data_directory
	fi
}

setup()
{
	needs_kvm
}

@test "mounts: host, read-only, empty, below symbolic links; read-only root filesystem" {
	pod '.apps = [
			(app("writer"; ["write", "/etc/link-to-www/from-guest", "hello host",
				"read", "/srv/www/from-host", "write", "/new/deep/place/file", "shared",
				"write", "/read-only/file", "no", "read", "/read-only/from-host",
				"write", "/by-mount-point/file", "no",
				"stat", "/new/deep/place", "write", "/etc/new", "own"]) |
			.mounts = [{volume: "host", path: "/etc/link-to-www"}, {volume: "empty", path: "/new/deep/place"},
				{volume: "fixed", path: "/read-only"}, {volume: "point", path: "/by-mount-point"}] |
			.app.mountPoints = [{name: "point", path: "/by-mount-point", readOnly: true}]),
			(app("reader"; ["await", "/srv/www/file", "read", "/srv/www/file", "write", "/etc/new", "no",
				"stat", "/etc/new", "write", "/own-empty/file", "yes"]) |
			.readOnlyRootFS = true |
			.app.mountPoints = [{name: "own-empty", path: "/own-empty"}] |
			.mounts = [{volume: "empty", path: "/etc/link-out"}])] |
		.volumes = [{name: "host", kind: "host", source: $host},
			{name: "fixed", kind: "host", source: $host, readOnly: true},
			{name: "point", kind: "host", source: $host},
			{name: "empty", kind: "empty", mode: "0731", uid: 41, gid: 42}]'
	printf 'hello guest' >"$BATS_TEST_TMPDIR/host/from-host"
	run_pod
	expect_status 0
	grep -q 'read /srv/www/from-host: hello guest$' "$OUT"
	[ "$(cat "$BATS_TEST_TMPDIR/host/from-guest")" = "hello host" ]
	grep -q 'write /new/deep/place/file: ok$' "$OUT"
	grep -q 'stat /new/deep/place: 040731 41 42 0$' "$OUT"
	grep -q 'read /srv/www/file: shared$' "$OUT"
	grep -q 'write /read-only/file: EROFS$' "$OUT"
	grep -q 'write /by-mount-point/file: EROFS$' "$OUT"
	grep -q 'read /read-only/from-host: hello guest$' "$OUT"
	[ ! -e "$BATS_TEST_TMPDIR/host/file" ]
	# Root filesystems are each app's own, even of the same image.
	grep -q 'write /etc/new: ok$' "$OUT"
	grep -q 'write /etc/new: EROFS$' "$OUT"
	grep -q 'stat /etc/new: ENOENT$' "$OUT"
	grep -q 'write /own-empty/file: ok$' "$OUT"
}

@test "what was written through a shared mapping is in the file when the pod has ended" {
	pod '.apps = [
			(app("own"; ["map", "/srv/own", "by the app", "exit", "0"]) | .mounts = [{volume: "host", path: "/srv"}]),
			(app("left"; ["map-behind", "/srv/left", "by one it left", "map-behind", "/srv/more", "and another"]) |
				.mounts = [{volume: "host", path: "/srv"}])] |
		.volumes = [{name: "host", kind: "host", source: $host}]'
	run_pod
	expect_status 0
	[ "$(cat "$BATS_TEST_TMPDIR/host/own")" = "by the app" ]
	[ "$(cat "$BATS_TEST_TMPDIR/host/left")" = "by one it left" ]
	[ "$(cat "$BATS_TEST_TMPDIR/host/more")" = "and another" ]
}

# In a VM there are 240; FILES=10000 makes as many there as well: 20 minutes where the guest's kernel is emulated.
@test "many small files are created, listed, renamed and removed alike on both sides" {
	local files=10000 half side
	[ "$FLAVOUR" = container ] || files=${FILES:-240}
	half=$((files / 2))
	LIMIT=3600
	pod '.apps = [["left", "right"][] as $side | ("/data/" + $side) as $files | app($side; [
				"create", $files, "'$half'", "list", $files, "say", ($side + " created"),
				"await", ("/data/go-rename-" + $side),
				"rename", $files, "'$half'", "list", $files, "say", ($side + " renamed"),
				"await", ("/data/go-unlink-" + $side),
				"list", ("/data/host-" + $side),
				"unlink", $files, "'$half'", "list", $files]) |
			.mounts = [{volume: "data", path: "/data"}]] |
		.volumes = [{name: "data", kind: "host", source: $host}]'
	host=$BATS_TEST_TMPDIR/host
	mkdir "$host"/{left,right,host-left,host-right}
	start_pod --cpus=2

	for side in left right; do
		eventually "$side has created" grep -q "$side created\$" "$OUT"
		listed=$("$PROBE" list "$host/$side")
		[[ $listed == "list: $half entries, "* ]]
		grep -q "$listed\$" "$OUT"
		[ "$(cat "$host/$side/file-00111")" = "content of file 111" ]
		[ "$(cat "$host/$side"/file-* | md5sum)" = "$(seq -f 'content of file %.0f' 0 $((half - 1)) | md5sum)" ]
		: >"$host/go-rename-$side"
	done
	for side in left right; do
		eventually "$side has renamed" grep -q "$side renamed\$" "$OUT"
		listed=$("$PROBE" list "$host/$side")
		[[ $listed == "list: $half entries, "* ]]
		grep -q "$listed\$" "$OUT"
		[ "$(cat "$host/$side"/renamed-* | md5sum)" = "$(seq -f 'content of file %.0f' 0 $((half - 1)) | md5sum)" ]
		# The other way round: what the host makes, the guest lists.
		"$PROBE" create "$host/host-$side" 200
		"$PROBE" rename "$host/host-$side" 100
		: >"$host/go-unlink-$side"
	done
	finish_pod
	expect_status 0
	for side in left right; do
		for verb in create rename unlink; do
			grep -q "$verb /data/$side: $half, 0 failed\$" "$OUT"
		done
		grep -q "$("$PROBE" list "$host/host-$side")\$" "$OUT"
		[ -z "$(ls -A "$host/$side")" ]
	done
}
