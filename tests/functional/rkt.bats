#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What rkt's own functional tests ask of a pod, asked of ours with the same flags: what of it no other file
# asks. docs/rkt.md has a line for each of rkt's files and says where the rest is.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # the variables are jq's and bats'; lib.bash reads LIMIT

load lib
load rkt

# ---- programs
@test "a program that is missing is named in rkt's words, arguments and blanks notwithstanding" {
	run_line example.com/inspect --exec=/foo-not-there
	expect_status 203
	expect_error 'Error: Unable to open "/foo-not-there": No such file or directory'
	run_line example.com/inspect "--exec=/foo-not-there X" -- arg1 arg2
	expect_status 203
	expect_error 'Error: Unable to open "/foo-not-there X": No such file or directory'
	run_line --volume=host-bin,kind=host,source=/bin/ --mount volume=host-bin,target=/var/host-bin \
		example.com/inspect --exec=/var/host-bin/ls
	expect_status 203
	expect_error 'Error: Unable to open ".*lib.*\.so\.[0-9]": No such file or directory'
}

@test "statuses of apps are the pod's, and list of apps has them" {
	local code
	for code in 0 1 2; do
		run_line --mds-register=false --uuid-file-save="$BATS_TEST_TMPDIR/uuid" example.com/inspect -- exit "$code"
		expect_status "$code"
		appc_vm status --uuid-file="$BATS_TEST_TMPDIR/uuid" | grep -qx "app-inspect=$code"
	done
	run_line --uuid-file-save="$BATS_TEST_TMPDIR/uuid" example.com/inspect --name=hello0 -- exit 0 --- \
		example.com/inspect --name=hello1 -- exit 5 --- \
		example.com/inspect --name=hello2 -- until-stopped
	expect_status 5
	appc_vm status --uuid-file="$BATS_TEST_TMPDIR/uuid" >"$OUT"
	expect_line app-hello0=0 app-hello1=5
}

@test "users and groups that flags give win over the image's, wherever the app stands" {
	local line=() expected=() user group name number=0
	while read -r image user group name; do
		number=$((number + 1))
		line+=("example.com/$image" "--name=a$number")
		[ "$user" = - ] || line+=("--user=$user")
		[ "$group" = - ] || line+=("--group=$group")
		line+=(--exec=/bin/probe -- identity ---)
		expected+=("identity: $name groups=")
	done <<-'END'
		inspect - - uid=0 euid=0 gid=0 egid=0
		inspect 200 - uid=200 euid=200 gid=0 egid=0
		inspect - 300 uid=0 euid=0 gid=300 egid=300
		inspect 200 300 uid=200 euid=200 gid=300 egid=300
		inspect user1 300 uid=1000 euid=1000 gid=300 egid=300
		inspect 200 group1 uid=200 euid=200 gid=100 egid=100
		users - - uid=400 euid=400 gid=500 egid=500
		users 200 - uid=200 euid=200 gid=500 egid=500
		users - 300 uid=400 euid=400 gid=300 egid=300
		users 200 300 uid=200 euid=200 gid=300 egid=300
		users user1 group1 uid=1000 euid=1000 gid=100 egid=100
	END
	run_line "${line[@]}"
	expect_status 0
	diff <(printf '%s\n' "${expected[@]}" | sort) <(grep -o 'identity: .*' "$OUT" | sort)
}

@test "no-new-privileges: the last one counts, for root and for others" {
	pod 'def wall(values): [values[] | {name: "os/linux/no-new-privileges", value: .}];
		def ask(name; user; values): app(name; ["status", "NoNewPrivs"]) |
			.app.user = user | .app.isolators = (wall(values) +
				[{name: "os/linux/seccomp-retain-set", value: {set: ["@appc.io/all"]}}]);
		.apps = [ask("on"; "0"; [true]), ask("user-on"; "1000"; [true]), ask("off"; "0"; [false]),
			ask("user-off"; "1000"; [false]), ask("last"; "0"; [false, true]),
			ask("user-last"; "1000"; [false, true]), ask("none"; "0"; [])]'
	run_pod --memory=128M
	expect_status 0
	[ "$(grep -cx '.*status NoNewPrivs: 1' "$OUT")" -eq 4 ]
	[ "$(grep -cx '.*status NoNewPrivs: 0' "$OUT")" -eq 3 ]
}

@test "--seccomp replaces the image's filter; insecure options that are about something else do not" {
	image_inspect example.com/filtered '.app.isolators =
		[{name: "os/linux/seccomp-remove-set", value: {set: ["getppid"], errno: "EMULTIHOP"}}]'
	run_line example.com/filtered -- call getppid
	expect_line 'call getppid: EMULTIHOP'
	run_line example.com/filtered --seccomp=mode=retain,@appc.io/all -- call getppid
	expect_line 'call getppid: ok'
	run_line example.com/inspect --seccomp=mode=remove,errno=EXFULL,getppid -- call getppid
	expect_line 'call getppid: EXFULL'
	run_line --insecure-options=image,ondisk,capabilities,paths example.com/filtered -- call getppid
	expect_line 'call getppid: EMULTIHOP'
	run_line --insecure-options=image,all-run example.com/filtered -- call getppid
	expect_line 'call getppid: ok'
}

@test "device nodes that an app makes lead nowhere but to what its machine has" {
	run_line example.com/inspect -- device /null 1:3 device /ptmx 5:2 device /loop-control 10:237
	expect_status 0
	if [ "$FLAVOUR" = container ]; then
		# No node opens outside /dev.
		[ "$(grep -c 'made ok, opened EACCES$' "$OUT")" -eq 3 ]
	else
		expect_line 'device /null 1:3: made ok, opened ok' \
			'device /loop-control 10:237: made ok, opened ENODEV'
	fi
}

# ---- mounts
@test "a mount's target is followed inside the root file system, and nowhere else" {
	local target at
	mkdir -p "$BATS_TEST_TMPDIR/host"
	printf world >"$BATS_TEST_TMPDIR/host/hello"
	while read -r target at; do
		run_line --volume="test,kind=host,source=$BATS_TEST_TMPDIR/host/hello" \
			--mount "volume=test,target=$target" example.com/inspect -- read "$at"
		expect_status 0
		expect_line "read $at: world"
	done <<-'END'
		/dir1/link_abs_dir2/foo /dir2/foo
		/dir1/link_rel_dir2/bar /dir2/bar
		/dir1/../dir1/.//link_rel_dir2/foo /dir2/foo
		/dir1/../../../foo /foo
		/dir1/link_invalid/foo /outside/foo
		dir1/new /dir1/new
	END
}

@test "volumes of the command line: the image's mount point or --mount, read-only by either" {
	local host=$BATS_TEST_TMPDIR/host volume=dir1,kind=host,source=$BATS_TEST_TMPDIR/host
	mkdir -p "$host"
	printf host >"$host/file"
	run_line example.com/inspect -- read /dir1/file write /dir1/file 1 read /dir1/file
	expect_line 'read /dir1/file: dir1' 'read /dir1/file: 1'
	run_line "--volume=$volume" --mount=volume=dir1,target=dir1 example.com/mount-rw -- \
		read /dir1/file write /dir1/file 2
	expect_line 'read /dir1/file: host' 'write /dir1/file: ok'
	[ "$(cat "$host/file")" = 2 ]
	run_line "--volume=$volume" --mount=volume=dir1,target=dir1 example.com/mount-ro -- \
		write /dir1/file 3 read /dir1/file
	expect_line 'write /dir1/file: EROFS' 'read /dir1/file: 2'
	run_line "--volume=$volume" example.com/inspect --mount=volume=dir1,target=dir1 -- write /dir1/file 4
	expect_line 'write /dir1/file: ok'
	run_line "--volume=$volume,readOnly=true" example.com/inspect --mount=volume=dir1,target=dir1 -- \
		write /dir1/file 5
	expect_line 'write /dir1/file: EROFS'
	[ "$(cat "$host/file")" = 4 ]
	run_line example.com/mount-rw -- write /dir1/file 1
	expect_line 'write /dir1/file: ok'
	expect_error 'no volume specified for mount point "dir1", implicitly creating an "empty" volume'
}

@test "volumes of a manifest: what is read-only, with a writable root file system and without" {
	local name volume point root expected cases=()
	mkdir -p "$BATS_TEST_TMPDIR/host"
	: >"$BATS_TEST_TMPDIR/expected"
	while read -r name volume point root expected; do
		cases+=("$(manifest_case "$name" "${volume//HOST/$BATS_TEST_TMPDIR/host}" "$point" "$root")")
		echo "write /$name/file: $expected" >>"$BATS_TEST_TMPDIR/expected"
	done <<-'END'
		host {"kind":"host","source":"HOST"} false false ok
		host-fixed {"kind":"host","source":"HOST"} false true ok
		host-ro {"kind":"host","source":"HOST"} true false EROFS
		host-ro-fixed {"kind":"host","source":"HOST"} true true EROFS
		volume-ro {"kind":"host","source":"HOST","readOnly":true} false false EROFS
		volume-ro-fixed {"kind":"host","source":"HOST","readOnly":true} false true EROFS
		volume-rw {"kind":"host","source":"HOST","readOnly":false} true false ok
		empty {"kind":"empty"} false false ok
		empty-fixed {"kind":"empty"} false true ok
	END
	POD=$BATS_TEST_TMPDIR/pod.json
	printf '%s\n' "${cases[@]}" | jq --slurp '{acVersion: "0.8.11", acKind: "PodManifest",
		apps: map(.app), volumes: map(.volume)}' >"$POD"
	run_pod --memory=128M
	expect_status 0
	diff <(sort "$BATS_TEST_TMPDIR/expected") <(grep -o 'write /.*' "$OUT" | sort)
	[ "$(cat "$BATS_TEST_TMPDIR/host/file")" = host:foo ]
}

@test "a manifest: special characters, directory, modes of volumes, users, capabilities" {
	pod 'def other(name; words): app(name; words) | .image.name = "example.com/inspect";
		.apps = [
			other("special"; ["say", "'\''\"$"]),
			(other("directory"; ["cwd"]) | .app.workingDirectory = "/dir1"),
			(other("mode"; ["stat", "/dir1"]) | .readOnlyRootFS = true | .mounts = [{volume: "v", path: "/dir1"}]),
			(other("numbers"; ["identity"]) | .app += {user: "1001", group: "101"}),
			(other("names"; ["identity"]) | .app += {user: "user1", group: "group1"}),
			(other("root"; ["identity"]) | .app += {user: "root", group: "root"}),
			(other("paths"; ["identity"]) | .app += {user: "/etc/passwd", group: "/etc/group"}),
			(other("net-admin"; ["status", "CapBnd"]) | .app.isolators =
				[{name: "os/linux/capabilities-retain-set", value: {set: ["CAP_NET_ADMIN"]}}])] |
		.volumes = [{name: "v", kind: "empty", mode: "0123", uid: 9991, gid: 9992}]'
	run_pod --memory=128M
	expect_status 0
	expect_line "'\"\$" 'cwd: /dir1' 'stat /dir1: 040123 9991 9992 0' \
		'identity: uid=1001 euid=1001 gid=101 egid=101 groups=' \
		'identity: uid=1000 euid=1000 gid=100 egid=100 groups=' 'status CapBnd: 0000000000001000'
	[ "$(grep -cx 'identity: uid=0 euid=0 gid=0 egid=0 groups=' "$OUT")" -eq 2 ]
}

@test "hosts is made where there is none, and a volume's own is left alone" {
	run_line example.com/inspect -- read /etc/hosts
	grep -qE '^127\.0\.0\.1[[:space:]]' "$OUT" || grep -qE 'read /etc/hosts: 127\.0\.0\.1' "$OUT"
	mkdir -p "$BATS_TEST_TMPDIR/etc"
	printf 'preexisting etc' >"$BATS_TEST_TMPDIR/etc/hosts"
	run_line --volume="etc,kind=host,source=$BATS_TEST_TMPDIR/etc" --mount=volume=etc,target=/etc \
		example.com/inspect -- read /etc/hosts
	expect_line 'read /etc/hosts: preexisting etc'
	run_line --volume="hosts,kind=host,source=$BATS_TEST_TMPDIR/etc/hosts" --mount=volume=hosts,target=/etc/hosts \
		example.com/inspect -- read /etc/hosts
	expect_line 'read /etc/hosts: preexisting etc'
	[ "$(cat "$BATS_TEST_TMPDIR/etc/hosts")" = 'preexisting etc' ]
}

@test "names that the command line gives are in the apps' files" {
	run_line --hosts-entry=10.1.2.3=db,10.1.2.4=web --hosts-entry=fd00::5=six --dns=8.8.8.8 --dns=2001:db8::1 \
		--dns-search=example.com --dns-opt=debug example.com/inspect -- read /etc/hosts read /etc/resolv.conf
	expect_status 0
	expect_line '10.1.2.3 db' '10.1.2.4 web' 'fd00::5 six' \
		'search example.com' 'nameserver 8.8.8.8' 'nameserver 2001:db8::1' 'options debug'
	# The loopback's own names stay.
	grep -qE '^read /etc/hosts: 127\.0\.0\.1[[:space:]]+localhost$' "$OUT"
}

@test "the host name of a prepared pod is its own, or the one that it is run with" {
	local uuid
	uuid=$(appc_vm prepare --quiet --memory=128M example.com/inspect -- hostname)
	run appc_vm run-prepared "--flavour=$FLAVOUR" "$uuid"
	[[ $output == *"hostname: appc-$uuid"* ]]
	uuid=$(appc_vm prepare --quiet --memory=128M example.com/inspect -- hostname)
	run appc_vm run-prepared "--flavour=$FLAVOUR" --hostname=test-hostname "$uuid"
	[[ $output == *"hostname: test-hostname"* ]]
}

@test "what was written by one app of several is exported, and an image made of it runs" {
	local uuid
	uuid=$(appc_vm prepare --quiet --no-overlay --memory=128M \
		example.com/inspect --name=one -- write /test.txt ThisIsATest --- \
		example.com/inspect --name=other -- write /test.txt NotTheRightContent)
	run appc_vm run-prepared "--flavour=$FLAVOUR" "$uuid"
	[ "$status" -eq 0 ]
	appc_vm export --app=one "$uuid" "$BATS_TEST_TMPDIR/exported.aci"
	run_line --insecure-options=image "$BATS_TEST_TMPDIR/exported.aci" --exec=/bin/probe -- read /test.txt
	expect_status 0
	expect_line 'read /test.txt: ThisIsATest'
}
