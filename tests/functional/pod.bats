#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Pods: what an app finds, what its end means, how apps live together. Each test boots one VM.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034 # the variables are jq's; lib.bash reads LIMIT

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

@test "an app finds its user, groups, environment, directory and network; its status 7 is the pod's" {
	pod '.apps = [app("world"; ["identity", "cwd", "env", "COLOUR", "env", "PATH", "env",
			"AC_APP_NAME", "env", "HOME", "env", "LANG_OF_THE_HOST", "hostname", "loopback",
			"stat", "/dev/null", "stat", "/proc/self", "write", "/tmp/own", "text", "read", "/tmp/own",
			"write", "/etc/passwd", "text", "unlinked", "/tmp/gone", "complain", "on standard error",
			"exit", "7"]) |
		.app += {user: "alice", group: "staff", supplementaryGIDs: [4, 24], workingDirectory: "/home/alice",
			environment: [{name: "COLOUR", value: "blue and \"green\"\n"}]}]'
	LANG_OF_THE_HOST=C run_pod --hostname=named-by-us
	expect_status 7
	expect_line 'identity: uid=1000 euid=1000 gid=50 egid=50 groups=4,24' \
		'cwd: /home/alice' \
		'env COLOUR: blue and "green"' \
		'env PATH: /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
		'env AC_APP_NAME: world' \
		'env LANG_OF_THE_HOST: (unset)' \
		'hostname: named-by-us' \
		'loopback: ok' \
		'write /tmp/own: ok' \
		'read /tmp/own: text' \
		'write /etc/passwd: EACCES' \
		'unlinked: ok'
	grep -q '^stat /dev/null: 020666 ' "$OUT"
	grep -q '^stat /proc/self: 120777 ' "$OUT"
	expect_error 'on standard error'
	run ! grep -q 'on standard error' "$OUT"
}

@test "programs keep their vector registers, whoever else uses them" {
	pod '.apps = [app("vectors"; ["vectors"])]'
	run_pod
	expect_status 0
	grep -qE '^vectors up to [A-Z0-9-]+: kept by 3 of 3$' "$OUT"
}

@test "a pod whose app is killed by SIGSEGV ends with 139, and list and status say so" {
	pod '.apps = [app("crash"; ["say", "before", "crash"])]'
	run_pod
	expect_status 139
	expect_line before

	run appc_vm list
	[ "$status" -eq 0 ]
	uuid=$(grep crash <<<"$output" | grep exited | grep -oE '^[0-9a-f]+[-0-9a-f]*')
	run appc_vm status "$uuid"
	[ "$status" -eq 0 ]
	[[ $output == *state=exited* ]]
	[[ $output == *app-crash=139* ]]

	appc_vm rm "$uuid"
	run appc_vm status "$uuid"
	[ "$status" -eq 254 ]
}

@test "a program that is not there ends the pod with 203 and is named" {
	pod '.apps = [app("missing"; []) | .app.exec = ["/bin/no-such-program", "argument"]]'
	run_pod
	expect_status 203
	expect_error '/bin/no-such-program'
	expect_error 'No such file or directory'
}

@test "two apps speak at once and their lines do not mix" {
	pod '.apps = [app("one"; ["lines", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "300"]),
		app("two"; ["lines", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "300"])]'
	run_pod
	expect_status 0
	[ "$(grep -cE 'a{32}-line-[0-9]+-a{32}$' "$OUT")" -eq 300 ]
	[ "$(grep -cE 'b{32}-line-[0-9]+-b{32}$' "$OUT")" -eq 300 ]
	run ! grep -E 'ab|ba' "$OUT"
	# Each app's lines are in the order in which it said them.
	grep -oE 'line-[0-9]+-a' "$OUT" | grep -oE '[0-9]+' >"$BATS_TEST_TMPDIR/order"
	seq 0 299 | cmp - "$BATS_TEST_TMPDIR/order"
}

@test "an app that fails stops the others, and its status is the pod's" {
	pod '.apps = [app("patient"; ["write", "/shared/patient", "here", "until-stopped"]),
			app("hasty"; ["await", "/shared/patient", "exit", "3"])] |
		.apps[].mounts = [{volume: "shared", path: "/shared"}] |
		.volumes = [{name: "shared", kind: "empty", mode: "1777"}]'
	run_pod
	expect_status 3
	grep -q 'stopping$' "$OUT"
}

@test "SIGTERM to run stops the apps, and the pod ends with what they made of it" {
	pod '.apps = [app("polite"; ["until-stopped", "exit", "5"])]'
	start_pod
	eventually "the app is ready" said ready
	kill -TERM "$RUN"
	finish_pod
	expect_status 5
	expect_line stopping
}

@test "a stop while an app that failed ends the others leaves them their time" {
	pod '.apps = [["fails", "polite"][] as $name | app($name; {
				fails: ["await", "/data/fail", "exit", "9"],
				polite: ["until-stopped", "await", "/data/end", "say", "in peace"]}[$name]) |
			.mounts = [{volume: "data", path: "/data"}]] |
		.volumes = [{name: "data", kind: "host", source: $host}]'
	start_pod
	eventually "the app is ready" said ready
	touch "$BATS_TEST_TMPDIR/host/fail"
	eventually "the other one is to end" said stopping
	kill -TERM "$RUN"
	# What must not happen would happen now.
	sleep 1
	touch "$BATS_TEST_TMPDIR/host/end"
	finish_pod
	expect_status 9
	expect_line "in peace"
}

@test "a signal that is ignored, as after nohup, stops nothing" {
	pod '.apps = [app("polite"; ["until-stopped", "exit", "5"])]'
	trap "" HUP
	start_pod
	trap - HUP
	eventually "the app is ready" said ready
	kill -HUP "$RUN"
	sleep 1
	fails said stopping
	kill -TERM "$RUN"
	finish_pod
	expect_status 5
}

@test "status waits until a pod is ready and until its end, and stop ends it" {
	local uuid=$BATS_TEST_TMPDIR/uuid
	pod '.apps = [app("polite"; ["until-stopped", "exit", "5"])]'
	start_pod "--uuid-file-save=$uuid"
	eventually "the pod has a UUID" test -s "$uuid"
	run appc_vm status --wait-ready "--uuid-file=$uuid"
	[ "$status" -eq 0 ]
	[[ $output == state=running*app-polite=running* ]]
	# It has been executed; now it also knows what to do with a signal.
	eventually "the app is ready" said ready
	appc_vm stop "--uuid-file=$uuid"
	run appc_vm status --wait "--uuid-file=$uuid"
	[ "$status" -eq 0 ]
	[[ $output == state=exited*exit_code=5*app-polite=5* ]]
	finish_pod
	expect_status 5
	expect_line stopping
}

@test "stop --force ends a pod at once" {
	local uuid=$BATS_TEST_TMPDIR/uuid
	pod '.apps = [app("lasting"; ["forever"])]'
	start_pod "--uuid-file-save=$uuid"
	eventually "the app is ready" said ready
	appc_vm stop --force "--uuid-file=$uuid"
	run appc_vm status "--uuid-file=$uuid"
	[[ $output == state=exited*"killed on request"* ]]
	finish_pod
	expect_status 254
}

@test "a pod whose run is killed with SIGKILL is listed as exited, and gc removes it" {
	pod '.apps = [app("orphan"; ["forever"])]'
	start_pod
	eventually "the app is ready" said ready
	run appc_vm list
	[[ $output == *orphan*running* ]]
	uuid=$(grep orphan <<<"$output" | grep -oE '^[0-9a-f]+[-0-9a-f]*')
	kill -KILL "$RUN"
	eventually "nothing of the pod is left" nothing_left
	RUN=

	run appc_vm list
	[ "$status" -eq 0 ]
	[[ $output == *orphan*exited* ]]
	appc_vm gc --grace-period=0s
	appc_vm gc --grace-period=0s
	run appc_vm list
	[[ $output != *orphan* ]]
	[ -z "$(find "$DATA" -name "*$uuid*" -print)" ]
	# The store is as it was: the next pod of the same image starts from it.
	[ "$(appc_vm image list | grep -c sha512-)" -eq 1 ]
}

@test "a pod whose guest process is killed ends with 254, and the message names the signal" {
	pod '.apps = [app("lasting"; ["forever"])]'
	start_pod
	eventually "the guest process is there" pgrep -P "$RUN"
	pkill -KILL -P "$RUN"
	finish_pod
	expect_status 254
	expect_error 'killed by signal 9'
	run appc_vm list
	[[ $output == *exited* ]]
}
