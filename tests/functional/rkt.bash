# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What rkt.bats and rkt-cmdline.bats share: the images, and how a command line is run.
# shellcheck disable=SC2016,SC2034 # the variables are jq's and bats'

setup_file()
{
	if [ "$FLAVOUR" = container ] || [ -c /dev/kvm ]; then
		data_directory
		image_inspect example.com/inspect
		image_inspect example.com/mount-rw '.app.mountPoints = [{name: "dir1", path: "/dir1", readOnly: false}]'
		image_inspect example.com/mount-ro '.app.mountPoints = [{name: "dir1", path: "/dir1", readOnly: true}]'
		image_inspect example.com/users '.app.user = "400" | .app.group = "500"'
	fi
}

setup()
{
	needs_kvm
}

# image_inspect NAME [JQ-FILTER]: imports an image with the probe, users, and directories to mount on.
image_inspect()
{
	local work=$BATS_FILE_TMPDIR/inspect
	if [ ! -e "$work" ]; then
		mkdir -p "$work"/rootfs/{bin,dir1,dir2,etc,tmp}
		cp "$PROBE" "$work/rootfs/bin/probe"
		ln -s probe "$work/rootfs/bin/probe-link"
		printf dir1 >"$work/rootfs/dir1/file"
		ln -s /dir2 "$work/rootfs/dir1/link_abs_dir2"
		ln -s ../dir2 "$work/rootfs/dir1/link_rel_dir2"
		ln -s ../../../outside "$work/rootfs/dir1/link_invalid"
		printf 'user1:x:1000:1000::/:/bin/sh\n' >"$work/rootfs/etc/passwd"
		printf 'group1:x:100:\n' >"$work/rootfs/etc/group"
	fi
	image_manifest "$@" >"$work/manifest"
	tar --create --file "$BATS_FILE_TMPDIR/inspect.aci" --directory "$work" manifest rootfs
	appc_vm image import "$BATS_FILE_TMPDIR/inspect.aci"
}

# run_line WORD...: runs the pod of a command line to its end, in a machine of one size. Sets status; OUT and
# ERR as run_pod.
run_line()
{
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	status=0
	timeout --kill-after=20 "$LIMIT" "$APPC_VM" "--dir=$DATA" run "--flavour=$FLAVOUR" --memory=128M "$@" \
		>"$OUT" 2>"$ERR" </dev/null 3>&- || status=$?
}

# manifest_case NAME VOLUME MOUNT-POINT ROOT EXPECTED: an app of the table below, on standard output as JSON.
manifest_case()
{
	jq --null-input --arg name "$1" --argjson volume "$2" --argjson point "$3" --argjson root "$4" '
		def image: if $point == null then "mount-ro" else "inspect" end;
		{app: ({name: $name, image: {name: "example.com/\(image)"}, readOnlyRootFS: $root} +
			{app: {exec: ["/bin/probe", "write", "/\($name)/file", "host:foo", "read", "/\($name)/file"],
				user: "0", group: "0", mountPoints: [{name: $name, path: "/\($name)", readOnly: ($point == true)}]}}),
		volume: ({name: $name} + $volume)}'
}
