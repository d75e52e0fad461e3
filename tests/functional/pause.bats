#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Pods that stand still for a while: pause and resume.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # the variables are jq's and bats'

load lib

setup_file()
{
	export APPC_VM_TEMPLATES=${APPC_VM_TEMPLATES:-$BATS_FILE_TMPDIR/templates}
	data_directory
}

setup()
{
	needs_kvm
	UUID_FILE=$BATS_TEST_TMPDIR/uuid
}

# counted APP: how far it is, as the host sees it.
counted()
{
	wc -l 2>/dev/null <"$DATA/pods/run/$UUID/overlay/$1/upper/tmp/count"
}

counted_more()
{
	[ "$(counted "$1")" -gt "$2" ]
}

COUNTING='.apps = [app("one"; ["count", "/tmp/count", "clock-against", "/tmp", "exit", "3"])]'

@test "a paused pod does nothing until it is resumed, and misses nothing" {
	local before
	begin_ready "$COUNTING"
	eventually "it counts" counted_more one 5
	appc_vm pause "$UUID"
	[ "$(appc_vm status "$UUID" | head -n 1)" = state=paused ]
	appc_vm list --format=json | jq --exit-status '.[0].state == "paused" and .[0].apps[0].state == "running"'
	before=$(counted one)
	# As long that a clock that went on meanwhile would show it, also on a busy host.
	sleep 10
	[ "$(counted one)" -eq "$before" ]
	appc_vm resume "$UUID"
	[ "$(appc_vm status "$UUID" | head -n 1)" = state=running ]
	eventually "it counts again" counted_more one "$before"
	appc_vm stop "$UUID"
	finish_pod
	expect_status 3
	expect_line "counted: whole" "memory: 0 bytes damaged"
	[ "$FLAVOUR" = container ] || [ "$(sed -n 's/^longest step: \([0-9]*\) ms$/\1/p' "$OUT")" -lt 8000 ]
	# The wall clock is right within a second.
	[ "$(sed -n 's/^clock-error //p' "$OUT")" -lt 1000000000 ]
}

@test "pods are paused again and again" {
	local i
	begin_ready "$COUNTING"
	for i in 1 2 3 4 5; do
		appc_vm pause "$UUID"
		appc_vm resume "$UUID"
	done
	appc_vm stop "$UUID"
	finish_pod
	expect_status 3
	expect_line "counted: whole"
}

@test "a paused pod can be stopped, killed and removed" {
	begin_ready "$COUNTING"
	appc_vm pause "$UUID"
	run appc_vm rm "$UUID"
	[ "$status" -eq 254 ]
	[[ $output == *"is currently running"* ]]
	appc_vm stop "$UUID"
	finish_pod
	expect_status 3
	expect_line "counted: whole"
	appc_vm rm "$UUID"

	rm "$UUID_FILE"
	begin_ready '.apps = [app("one"; ["forever"])]'
	appc_vm pause "$UUID"
	appc_vm stop --force "$UUID"
	finish_pod
	expect_status 254
	[ "$(appc_vm status "$UUID" | head -n 1)" = state=exited ]
	appc_vm rm "$UUID"
}

@test "nothing is started in a paused pod: who enters waits or is refused, and a handler waits" {
	local entering
	begin_ready '.apps = [app("one"; ["say", "to-be-killed", "until-stopped"]) |
		.app.eventHandlers = [{name: "post-stop", exec: ["/bin/probe", "say", "after"]}]]'
	appc_vm pause "$UUID"
	if [ "$FLAVOUR" = vm ]; then
		"$APPC_VM" "--dir=$DATA" enter "$UUID" /bin/probe say entered >"$BATS_TEST_TMPDIR/entered" 3>&- &
		entering=$!
		appc_vm resume "$UUID"
		wait "$entering"
		[ "$(<"$BATS_TEST_TMPDIR/entered")" = entered ]
		appc_vm stop "$UUID"
		finish_pod
		expect_line after
		return
	fi
	run timeout 20 "$APPC_VM" "--dir=$DATA" enter "$UUID" /bin/probe say entered
	[ "$status" -eq 254 ]
	[[ $output == *"the pod is paused"* ]]
	pkill --signal KILL --full '/bin/probe say to-be-killed until-stopped'
	[ "$(appc_vm status "$UUID" | head -n 1)" = state=paused ]
	fails grep -q after "$OUT"
	timeout 20 "$APPC_VM" "--dir=$DATA" resume "$UUID"
	finish_pod
	expect_status 137
	expect_line after
}

@test "what cannot be paused or resumed is said" {
	run appc_vm pause 12345678-none
	[ "$status" -eq 254 ]
	[[ $output == *"no matches found"* ]]
	begin_ready '.apps = [app("one"; ["forever"])]'
	run appc_vm resume "$UUID"
	[ "$status" -eq 254 ]
	[[ $output == *"it is not paused"* ]]
	appc_vm pause "$UUID"
	run appc_vm pause "$UUID"
	[ "$status" -eq 254 ]
	[[ $output == *"it is paused already"* ]]
	appc_vm resume "$UUID"
	appc_vm stop --force "$UUID"
	finish_pod
	for command in pause resume; do
		run appc_vm "$command" "$UUID"
		[ "$status" -eq 254 ]
		[[ $output == *"is not running"* ]]
	done
}

@test "a paused pod whose supervisor is killed is over" {
	begin_ready '.apps = [app("one"; ["forever"])]'
	appc_vm pause "$UUID"
	kill -KILL "$RUN"
	finish_pod
	appc_vm status --wait "$UUID"
	[ "$(appc_vm status "$UUID" | head -n 1)" = state=exited ]
}
