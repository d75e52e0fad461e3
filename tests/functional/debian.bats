#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A whole distribution from virtio-fs: bash, perl and apt work, and the guest sees the tree that the
# host sees. The image is the examples' (made by debootstrap, cached).
# shellcheck disable=SC2016,SC2034 # the variables are jq's; lib.bash reads LIMIT

load lib

setup_file()
{
	if [ "$FLAVOUR" = container ] || [ -c /dev/kvm ]; then
		DATA=$BATS_FILE_TMPDIR/data
		export DATA
		ACI=$("$TOP/examples/images/build.sh" debian 3>&-)
		export ACI
		appc_vm image import "$ACI"
	fi
}

setup()
{
	needs_kvm
}

@test "Debian: bash, perl and apt-cache run, and the tree is the host's" {
	LIMIT=900
	mkdir "$BATS_TEST_TMPDIR/tools"
	cp "$PROBE" "$BATS_TEST_TMPDIR/tools/probe"
	cat >"$BATS_TEST_TMPDIR/tools/script" <<-'END'
		set -e
		/tools/probe tree /usr tree /var digest /bin/bash digest /etc/debian_version
		for word in one two three; do words+=("$word"); done
		echo "bash: ${words[*]^^}, ${BASH_VERSION%%.*}"
		perl -e 'my %h = map { $_ => length } qw(virtio fuse); printf "perl: %d %s\n", $h{virtio} * 7, join ",", sort keys %h'
		apt-cache policy bash | head -n 2
		apt-cache show perl-base | grep ^Package:
		find /etc -name 'os-release' | xargs grep -h ^VERSION_CODENAME
	END
	pod '.apps = [{name: "debian", image: {name: "example.com/debian"},
			app: {exec: ["/bin/bash", "/tools/script"], user: "0", group: "0"},
			mounts: [{volume: "tools", path: "/tools"}]}] |
		.volumes = [{name: "tools", kind: "host", source: ($host + "/../tools"), readOnly: true}]'
	run_pod --memory=512M
	expect_status 0
	expect_line 'bash: ONE TWO THREE, 5' 'perl: 42 fuse,virtio' 'bash:' 'Package: perl-base' \
		'VERSION_CODENAME=bookworm'
	grep -qE '^  Installed: 5\.2' "$OUT"

	# The same tree, unpacked by tar on the host.
	mkdir "$BATS_TEST_TMPDIR/unpacked"
	tar -xf "$ACI" -C "$BATS_TEST_TMPDIR/unpacked" --numeric-owner
	root=$BATS_TEST_TMPDIR/unpacked/rootfs
	expect_line "$("$PROBE" digest "$root/bin/bash" | sed "s,$root,,")" \
		"$("$PROBE" digest "$root/etc/debian_version" | sed "s,$root,,")"
	expect_line "$("$PROBE" tree "$root/usr")" "$("$PROBE" tree "$root/var")"
}
