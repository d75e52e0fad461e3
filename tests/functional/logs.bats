#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What apps write: kept in the pod's log, passed on or not, and attached to.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # the variables are jq's and bats'

load lib

setup_file()
{
	data_directory
}

setup()
{
	needs_kvm
	UUID_FILE=$BATS_TEST_TMPDIR/uuid
}

# mode STREAM MODE: the annotation that says so, for a filter.
mode()
{
	echo "{name: \"coreos.com/rkt/stage2/$1\", value: \"$2\"}"
}

CONVERSE=".apps = [app(\"a\"; [\"converse\"]) |
	.annotations = [$(mode stdin stream), $(mode stdout stream), $(mode stderr log)]]"

logged()
{
	appc_vm logs "$UUID" 2>&1 | grep -qxF -- "$1"
}

@test "what apps write is passed on and kept, with times and streams" {
	local from
	from=$(date --utc +%Y-%m-%dT%H:%M:%S)
	pod '.apps = [app("one"; ["say", "hello", "complain", "no"]), app("two"; ["say", "world"])]'
	run_pod "--uuid-file-save=$UUID_FILE"
	UUID=$(<"$UUID_FILE")
	expect_line hello world
	diff <(printf '%s\n' '[one] hello' '[one] no' '[two] world') <(appc_vm logs "$UUID" 2>&1 | sort)
	[ "$(appc_vm logs "$UUID" 2>/dev/null | sort | head -n 1)" = '[one] hello' ]
	[ "$(appc_vm logs --app=two "$UUID")" = world ]
	appc_vm logs --format=json "$UUID" | jq --exit-status --slurp --arg from "$from" '
		length == 3 and (map(.time) | . == sort) and all(.time >= $from and (.time | length) == 30) and
		any(.app == "one" and .stream == "stderr" and .message == "no") and
		any(.app == "two" and .stream == "stdout" and .message == "world")'
	appc_vm logs --timestamps --app=two "$UUID" | grep -E '^[0-9]{4}(-[0-9]{2}){2}T[0-9:]{8}\.[0-9]{9}Z world$'
	[ -z "$(appc_vm logs --since=2100-01-01T00:00:00Z "$UUID" 2>&1)" ]
	[ "$(appc_vm logs --since=1h "$UUID" 2>&1 | wc -l)" -eq 3 ]
	[ "$(appc_vm logs --tail=0 "$UUID" 2>&1 | wc -l)" -eq 0 ]
	[ "$(appc_vm logs --tail=2 "$UUID" 2>&1 | wc -l)" -eq 2 ]
}

@test "followed logs end with the pod" {
	begin '.apps = [app("a"; ["say", "begun", "until-stopped", "say", "over"])]'
	appc_vm logs -f "$UUID" >"$BATS_TEST_TMPDIR/followed" 3>&- &
	eventually "the beginning is followed" grep -q ready "$BATS_TEST_TMPDIR/followed"
	appc_vm stop "$UUID"
	wait $!
	finish_pod
	diff "$BATS_TEST_TMPDIR/followed" "$OUT"
	[ "$(tail -n 1 "$OUT")" = over ]
}

@test "an app that floods its log is not held up, and its last lines are there" {
	# In KiB. What an emulated guest kernel passes on takes its time.
	local flood=102400
	[ "$FLAVOUR" = container ] || flood=3072
	pod ".apps = [app(\"a\"; [\"flood\", \"$flood\", \"say\", \"the end\"]) |
		.annotations = [$(mode stdout log)]]"
	run_pod "--uuid-file-save=$UUID_FILE" --log-size=1M
	expect_status 0
	UUID=$(<"$UUID_FILE")
	[ ! -s "$OUT" ]
	[ "$(appc_vm logs --tail=1 "$UUID")" = 'the end' ]
	[ "$(du --summarize --bytes "$DATA/pods/run/$UUID/logs/a" | cut -f1)" -le $((1 << 20 | 8192)) ]
	[ "$(appc_vm logs "$UUID" | wc -l)" -gt 4000 ]
}

@test "output can go nowhere, and a log need not be kept" {
	pod ".apps = [app(\"a\"; [\"say\", \"shown\", \"complain\", \"hidden\"]) |
		.annotations = [$(mode stderr null)]]"
	run_pod "--uuid-file-save=$UUID_FILE" --log-size=0
	expect_line shown
	fails grep -q hidden "$ERR"
	[ -z "$(appc_vm logs "$(<"$UUID_FILE")" 2>&1)" ]
	[ ! -e "$DATA/pods/run/$(<"$UUID_FILE")/logs" ]
}

# Whether the listener hears what comes in from now on.
heard_knocking()
{
	echo knock | appc_vm attach --mode=stdin "$UUID"
	grep -q knock "$BATS_TEST_TMPDIR/heard"
}

@test "output that has no room is told of once, and holds nobody up" {
	pod '.apps = [app("loud"; ["lines", "loud", "100", "exit", "3"])]'
	status=0
	ERR=$BATS_TEST_TMPDIR/err
	timeout "$LIMIT" "$APPC_VM" "--dir=$DATA" run "--flavour=$FLAVOUR" "$POD" >/dev/full 2>"$ERR" </dev/null 3>&- || status=$?
	expect_status 3
	[ "$(grep -c 'warning: cannot write standard output, and what follows is lost: No space left on device$' "$ERR")" -eq 1 ]
	# A file that has grown as far as it may does not end the pod either.
	pod '.apps = [app("loud"; ["flood", "100", "exit", "4"])]'
	(ulimit -f 64 && run_pod && expect_status 4)
	[ "$(stat --format=%s "$BATS_TEST_TMPDIR/out")" -eq $((64 << 10)) ]
	[ "$(grep -c 'warning: cannot write standard output, and what follows is lost: File too large$' "$ERR")" -eq 1 ]
}

@test "who attaches talks with the app, and another can come after him" {
	begin "$CONVERSE"
	diff <(printf '%s\n' stdin stderr stdout) <(appc_vm attach --mode=list "$UUID")
	appc_vm attach --mode=stdout "$UUID" >"$BATS_TEST_TMPDIR/heard" 3>&- &
	local listener=$!
	eventually "the listener is there" heard_knocking
	# Input is passed on and does not end with its sender.
	echo one | appc_vm attach --mode=stdin "$UUID"
	echo two | appc_vm attach --mode=stdin --app=a "$UUID"
	eventually "both were heard" logged 'noted: two'
	echo quit | appc_vm attach --mode=auto "$UUID" >"$BATS_TEST_TMPDIR/last" 2>&1
	wait "$listener"
	finish_pod
	expect_status 0
	[ ! -s "$OUT" ]
	diff <(printf 'heard: %s\n' one two quit) <(grep heard "$BATS_TEST_TMPDIR/heard" | grep -v knock)
	diff <(printf '%s\n' 'heard: quit' 'noted: quit') <(sort "$BATS_TEST_TMPDIR/last")
	diff <(printf 'noted: %s\n' one two quit) <(appc_vm logs "$UUID" 2>&1 | grep -v knock)
}

@test "one who is attached and does not read holds nobody up, and learns what he missed" {
	mkfifo "$BATS_TEST_TMPDIR/reader"
	begin ".apps = [app(\"a\"; [\"await\", \"/v/go\", \"flood\", \"2048\", \"say\", \"the end\"]) |
		.annotations = [$(mode stdout stream)] | .mounts = [{volume: \"v\", path: \"/v\"}]] |
		.volumes = [{name: \"v\", kind: \"host\", source: \$host}]"
	appc_vm attach "$UUID" >"$BATS_TEST_TMPDIR/reader" 2>"$BATS_TEST_TMPDIR/missed" 3>&- &
	local slow=$!
	exec 9<"$BATS_TEST_TMPDIR/reader"
	[ "$(appc_vm attach --mode=list "$UUID" | wc -l)" -eq 2 ]
	touch "$BATS_TEST_TMPDIR/host/go"
	finish_pod
	expect_status 0
	cat <&9 >"$BATS_TEST_TMPDIR/read"
	exec 9<&-
	wait "$slow"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/read")" -lt 32769 ]
	[ "$(head -n 1 "$BATS_TEST_TMPDIR/read")" -eq 0 ]
	local missed
	missed=$(sed -n 's/.* \([0-9]*\) bytes of output are missing here: they came too fast$/\1/p' "$BATS_TEST_TMPDIR/missed" |
		awk '{ n += $1 } END { print n + 0 }')
	[ $(($(wc -c <"$BATS_TEST_TMPDIR/read") + missed)) -eq $(((2048 << 10) + 8)) ]
}

@test "what cannot be attached to is said" {
	begin '.apps = [app("a"; ["until-stopped"]), app("b"; ["until-stopped"])]'
	fails appc_vm attach "$UUID" 2>"$ERR"
	expect_error 'the pod has several apps: --app says which is meant'
	fails appc_vm attach --app=c "$UUID" 2>"$ERR"
	expect_error 'the pod has no app "c"'
	fails appc_vm attach --app=a --mode=stdin "$UUID" 2>"$ERR"
	expect_error 'app "a" has no stdin to attach to \(--stdin=stream or tty when the pod is started\)'
	fails appc_vm attach --app=a --mode=tea "$UUID" 2>"$ERR"
	expect_error '"tea"'
	fails appc_vm logs --app=c "$UUID" 2>"$ERR"
	expect_error 'has no app "c"'
	fails appc_vm logs --since=yesterday "$UUID" 2>"$ERR"
	expect_error '"yesterday" is neither a time like .* nor a duration'
	appc_vm stop "$UUID"
	finish_pod
	fails appc_vm attach "$UUID" 2>"$ERR"
	expect_error 'is not running'
}

@test "only one app of a pod has input" {
	pod ".apps = [app(\"a\"; [\"converse\"]), app(\"b\"; [\"converse\"])] |
		.apps[].annotations = [$(mode stdin stream)]"
	run_pod
	expect_status 254
	expect_error 'app "b": only one app of a pod can have input, and app "a" has it'
	pod ".apps = [app(\"a\"; [\"converse\"]) | .annotations = [$(mode stdout sometimes)]]"
	run_pod
	expect_status 254
	expect_error 'app "a": annotation coreos.com/rkt/stage2/stdout: "sometimes" is no mode of stdout'
}
