#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What files do in a pod is what they do on the file system behind it: guest/posix.c runs its cases on both
# sides, and what it prints is compared line by line.
#
# The root filesystem is compared with the container flavour's, which is the same overlay without a
# virtual machine in between; a volume with the directory's own file system. Lines that differ are
# those listed here, each explained in docs/files.md.
# shellcheck disable=SC2016,SC2034,SC2153 # the variables are jq's; lib.bash reads LIMIT and sets FLAVOUR

load lib

POSIX=${POSIX:-$TOP/build/guest-posix}
LIMIT=900

setup_file()
{
	local work
	if [ "$FLAVOUR" != container ] && [ ! -c /dev/kvm ]; then
		return
	fi
	DATA=$BATS_FILE_TMPDIR/data
	export DATA
	work=$(mktemp -d "$BATS_FILE_TMPDIR/image-XXXXXX")
	mkdir -p "$work"/rootfs/{bin,data,own}
	cp "$POSIX" "$work/rootfs/bin/posix"
	image_manifest example.com/probe >"$work/manifest"
	tar --create --file "$BATS_FILE_TMPDIR/posix.aci" --directory "$work" manifest rootfs
	appc_vm image import "$BATS_FILE_TMPDIR/posix.aci"
}

setup()
{
	needs_kvm
}

# posix_pod FLAVOUR DIRECTORY JQ-FILTER: runs the cases in that directory of the app.
posix_pod()
{
	local flavour=$1
	pod '.apps = [app("posix"; []) | .app.exec = ["/bin/posix", "'"$2"'"] |
		.app.isolators = [{name: "os/linux/seccomp-retain-set", value: {set: ["@appc.io/all"]}}]] | '"$3"
	FLAVOUR=$flavour run_pod
	expect_status 0
	[ "$(tail -n 1 "$OUT")" = end ]
}

# compare EXPECTED: $OUT is that file, but for the lines of standard input.
compare()
{
	local differences
	differences=$(diff --text "$1" "$OUT" | sed -n 's/^> //p')
	if [ "$differences" != "$(cat)" ]; then
		diff --text "$1" "$OUT" || true
		return 1
	fi
	# Not one case more or less.
	[ "$(cut -d: -f1 "$1")" = "$(cut -d: -f1 "$OUT")" ]
}

@test "a writable volume does what the directory behind it does" {
	mkdir -p "$BATS_TEST_TMPDIR"/{host,host-side}
	"$POSIX" "$BATS_TEST_TMPDIR/host-side" >"$BATS_TEST_TMPDIR/expected"
	posix_pod "$FLAVOUR" /data '.apps[0].mounts = [{volume: "data", path: "/data"}] |
		.volumes = [{name: "data", kind: "host", source: $host}]'
	if [ "$FLAVOUR" = container ]; then
		compare "$BATS_TEST_TMPDIR/expected" <<-'END'
			open/device: ok EACCES 020666
		END
	else
		compare "$BATS_TEST_TMPDIR/expected" <<-'END'
			open/device: EPERM ENOENT ENOENT
			write/setgid-no-execute-member: ok ok ok ok 1 100666
			chown/setuid-same-owner: ok ok ok 106755 ok ok 100755
			mknod/devices: EPERM ENOENT EPERM ENOENT
			mknod/device-numbers: EPERM ENOENT EPERM ENOENT
			mknod/whiteout: EPERM ENOENT
			xattr/acl: ok EINVAL EOPNOTSUPP
			fallocate/shift: ok 3 EOPNOTSUPP EOPNOTSUPP
		END
	fi
}

@test "a root filesystem does what the overlay behind it does" {
	posix_pod container /own .
	mv "$OUT" "$BATS_TEST_TMPDIR/expected"
	posix_pod "$FLAVOUR" /own .
	if [ "$FLAVOUR" = container ]; then
		compare "$BATS_TEST_TMPDIR/expected" </dev/null
		return
	fi
	# A container's root filesystem has no devices, a virtual machine's has the guest's.
	compare "$BATS_TEST_TMPDIR/expected" <<-'END'
		open/device: ok ok 020666
		write/setgid-no-execute-member: ok ok ok ok 1 100666
		chown/setuid-same-owner: ok ok ok 106755 ok ok 100755
		xattr/acl: ok EINVAL EOPNOTSUPP
		fallocate/shift: ok 3 EOPNOTSUPP EOPNOTSUPP
	END
}
