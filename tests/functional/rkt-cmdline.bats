#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What rkt's own functional tests ask of a command line and not of a pod: containers suffice. docs/rkt.md has a
# line for each of rkt's files.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # the variables are jq's and bats'; lib.bash reads LIMIT

load lib
load rkt

@test "--exec of a link, arguments of the image and of the line, run and run-prepared alike" {
	run_line example.com/inspect --exec=/bin/probe-link -- say linked
	expect_status 0
	expect_line linked
	local uuid
	uuid=$(appc_vm prepare --quiet example.com/inspect --exec=/bin/probe-link -- say prepared)
	run appc_vm run-prepared --flavour=container --mds-register=false "$uuid"
	[ "$status" -eq 0 ]
	[ "$output" = prepared ]
}

@test "an image that is in the store already is checked for its platform" {
	image_inspect example.com/freebsd '.labels[0].value = "freebsd"'
	image_inspect example.com/arm '.labels[1].value = "armv6l"'
	image_inspect example.com/no-os 'del(.labels[0])'
	run_line example.com/freebsd
	expect_status 254
	expect_error 'bad os "freebsd"'
	run_line example.com/arm
	expect_status 254
	expect_error 'bad arch "armv6l"'
	run_line example.com/no-os
	expect_status 254
	expect_error 'missing os label in the image manifest'
}

@test "a manifest whose users are not to be found, or without apps, is refused in rkt's words" {
	local member value text
	while read -r member value text; do
		pod '.apps = [app("a"; []) | .image.name = "example.com/inspect" | .app.'"$member = \"$value\"]"
		run_pod
		expect_error "$text"
		[ "$status" -ne 0 ]
	done <<-'END'
		user user2 "user2" user not found
		group group2 "group2" group not found
		user /etc/nofile No such file or directory
		group /etc/nofile No such file or directory
	END
	pod '.apps = []'
	run_pod
	expect_status 254
	expect_error 'pod must contain at least one application'
}

# ---- files of the system
@test "resolv.conf has what the --dns flags say, and is not there without" {
	run_line example.com/inspect -- read /etc/resolv.conf
	expect_line 'read /etc/resolv.conf: ENOENT'
	run_line --dns=8.8.8.8 --dns=8.8.4.4 --dns-search=search.com --dns-opt=debug example.com/inspect -- \
		read /etc/resolv.conf
	expect_line 'nameserver 8.8.8.8' 'nameserver 8.8.4.4' 'search search.com' 'options debug'
	run_line --dns-search=foo.com --dns-search=bar.com example.com/inspect -- read /etc/resolv.conf
	expect_line 'search foo.com bar.com'
	run_line --dns-opt=debug --dns-opt=use-vc --dns-opt=rotate example.com/inspect -- read /etc/resolv.conf
	expect_line 'options debug use-vc rotate'
}

# ---- commands
@test "a manifest and flags about images exclude each other, in run and in prepare" {
	local command flag
	for command in run prepare; do
		for flag in --inherit-env --no-store --store-only --port=foo:80 --set-env=foo=bar \
			--volume=foo,kind=host,source=/tmp "--mount=volume=foo,target=/tmp --volume=foo,kind=host,source=/tmp" \
			"dummy-image.aci --exec=/bin/sh" "dummy-image.aci --user=user_foo" "dummy-image.aci --group=group_foo"; do
			# shellcheck disable=SC2086 # several words
			run appc_vm "$command" --pod-manifest=/dev/null $flag
			[ "$status" -eq 254 ]
			[[ $output == *"conflicting flags set with --pod-manifest (see --help)"* ]]
		done
	done
}

@test "who may not make mounts is told so at once" {
	local program=$BATS_TEST_TMPDIR/bin
	mkdir "$program" "$BATS_TEST_TMPDIR/nobody"
	cp "$APPC_VM" "$TOP/build/guest-init" "$program"
	chown 65534:65534 "$BATS_TEST_TMPDIR/nobody"
	chmod 755 "$BATS_TMPDIR" "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_TEST_TMPDIR" "$program" 2>/dev/null || true
	run setpriv --reuid=65534 --regid=65534 --clear-groups "$program/appc-vm" \
		--dir="$BATS_TEST_TMPDIR/nobody" run --flavour=container example.com/inspect
	[ "$status" -eq 254 ]
	[[ $output == *"cannot run as unprivileged user"* ]]
}

@test "an image is removed by name and by id at once, and fetched again with its whole id" {
	local id
	image_inspect example.com/spare
	id=$(appc_vm image list --full --no-legend --fields=id,name | awk '$2 ~ /spare/ { print $1 }')
	run appc_vm image rm example.com/spare "$id"
	[ "$status" -eq 0 ]
	[[ $output == *"rm: 1 image(s) successfully removed"* ]]
	run appc_vm --insecure-options=image fetch --full "$BATS_FILE_TMPDIR/inspect.aci"
	[ "$output" = "$id" ]
	run appc_vm --insecure-options=image fetch "$BATS_FILE_TMPDIR/inspect.aci"
	[ "$output" = "${id:0:39}" ]
	run appc_vm --debug --insecure-options=image fetch --store-only "$BATS_FILE_TMPDIR/inspect.aci"
	[[ $output == *"using image from file $BATS_FILE_TMPDIR/inspect.aci"* ]]
}
