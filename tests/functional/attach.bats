#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Attaching to the terminal of an app. (Other streams: logs.bats.)
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

# modes STDIN STDOUT STDERR: the annotations that say so, for a filter.
modes()
{
	local stream
	for stream in stdin stdout stderr; do
		[ "$1" = - ] || echo "{name: \"coreos.com/rkt/stage2/$stream\", value: \"$1\"}"
		shift
	done | paste --serial --delimiters=, -
}

# attach_on_terminal STEP... -- OPTION...: attach on a terminal of 33 lines of 77 characters. Sets status.
attach_on_terminal()
{
	local steps=()
	while [ "$1" != -- ]; do
		steps+=("$1")
		shift
	done
	status=0
	timeout --kill-after=20 "$LIMIT" python3 "$BATS_TEST_DIRNAME/on_terminal.py" 33 77 "${steps[@]}" -- \
		"$APPC_VM" "--dir=$DATA" attach "${@:2}" >"$BATS_TEST_TMPDIR/attached.raw" 2>&1 3>&- || status=$?
	tr -d '\r' <"$BATS_TEST_TMPDIR/attached.raw" >"$BATS_TEST_TMPDIR/attached"
}

shown()
{
	grep -qxF -- "$1" "$BATS_TEST_TMPDIR/attached"
}

@test "a terminal is attached to, left by its keys, and attached to again" {
	begin ".apps = [app(\"a\"; [\"converse\"]) | .app.user = \"alice\" | .annotations = [$(modes tty tty tty)]]"
	diff <(printf '%s\n' tty-in tty-out) <(appc_vm attach --mode=list "$UUID")
	# A key that might have begun the sequence is passed on.
	attach_on_terminal '=>on\x10e\n' 'heard: on=>\x10\x11' -- "$UUID"
	expect_status 0
	shown "$(printf 'heard: on\x10e')"
	shown 'terminal: as before'
	grep -q 'detached; the app goes on' "$BATS_TEST_TMPDIR/attached"
	[ "$(appc_vm status "$UUID" | head -n 1)" = state=running ]
	attach_on_terminal '=>two\n' 'noted: two=>\x01x' -- --mode=tty --detach-keys=ctrl-a,x "$UUID"
	expect_status 0
	shown 'heard: two'
	fails shown 'heard: on'
	attach_on_terminal '=>quit\n' -- --app=a --mode=tty-in,tty-out "$UUID"
	expect_status 0
	shown 'noted: quit'
	shown 'terminal: as before'
	finish_pod
	expect_status 0
	# What is said on a terminal is nobody else's.
	[ ! -s "$OUT" ]
	[ -z "$(appc_vm logs "$UUID" 2>&1)" ]
}

@test "the window of the one who attached is the app's, and ^C is a key" {
	begin ".apps = [app(\"a\"; [\"line\", \"terminal\", \"await-window\", \"env\", \"TERM\", \"line\"]) |
		.annotations = [$(modes tty tty tty)]]"
	attach_on_terminal '=>go\n' 'Change the window=>size:50,132' 'Enter text:=>\x03' -- "$UUID"
	grep -qE '^stdin is a terminal: /dev/pts/[0-9]+, its own, 33x77$' "$BATS_TEST_TMPDIR/attached"
	shown 'window: 50x132'
	shown 'env TERM: xterm'
	shown 'terminal: as before'
	finish_pod
	expect_status 130
}

@test "who has no terminal of his own passes bytes, and streams may be apart" {
	begin ".apps = [app(\"a\"; [\"converse\"]) | .annotations = [$(modes tty log tty)]]"
	diff <(printf '%s\n' stdout tty-in tty-out) <(appc_vm attach --mode=list "$UUID")
	noted() { grep -qxF "$(printf 'noted: one\r')" "$BATS_TEST_TMPDIR/noted"; }
	# One line at a time: the terminal's echo of the next could come between an answer and its end.
	{
		echo one
		eventually "the first line is answered" noted
		echo quit
	} | appc_vm attach --mode=tty "$UUID" >"$BATS_TEST_TMPDIR/heard" 2>"$BATS_TEST_TMPDIR/noted"
	finish_pod
	expect_status 0
	# What the terminal shows is standard error, as far as it is one stream.
	noted
	[ ! -s "$BATS_TEST_TMPDIR/heard" ]
	[ "$(appc_vm logs "$UUID" | tail -n 1)" = 'heard: quit' ]
}

@test "output alone may be a terminal" {
	begin ".apps = [app(\"a\"; [\"terminal\", \"await\", \"/v/go\", \"say\", \"shown\"]) | .annotations = [$(modes - tty tty)] |
		.mounts = [{volume: \"v\", path: \"/v\"}]] | .volumes = [{name: \"v\", kind: \"host\", source: \$host}]"
	[ "$(appc_vm attach --mode=list "$UUID")" = tty-out ]
	fails appc_vm attach --mode=tty-in "$UUID" 2>"$ERR"
	expect_error 'no such terminal to attach to'
	"$APPC_VM" "--dir=$DATA" attach "$UUID" >"$BATS_TEST_TMPDIR/heard" 3>&- </dev/null &
	local listener=$!
	# From then on it listens to changes of its window.
	attached() { find "/proc/$listener/fd" -lname '*signalfd*' | grep -q .; }
	eventually "it is attached" attached
	touch "$BATS_TEST_TMPDIR/host/go"
	wait "$listener"
	finish_pod
	grep -qxF "$(printf 'shown\r')" "$BATS_TEST_TMPDIR/heard"
}

@test "modes that do not go together are refused" {
	pod ".apps = [app(\"a\"; [\"converse\"]) | .annotations = [$(modes tty log log)]]"
	run_pod
	expect_status 254
	expect_error 'app "a": --stdin=tty without --stdout=tty or --stderr=tty'
	pod ".apps = [app(\"a\"; [\"converse\"]) | .annotations = [$(modes stream tty log)]]"
	run_pod
	expect_status 254
	expect_error 'app "a": --stdin=stream and output to a terminal do not go together'
	pod ".apps = [app(\"a\"; [\"converse\"]) | .annotations = [$(modes tty tty tty)]]"
	run_pod --interactive
	expect_status 254
	expect_error 'app "a" has a terminal already'
	fails appc_vm attach --mode=tty,stdin abc 2>"$ERR"
	expect_error 'a terminal and streams cannot be attached to at once'
	fails appc_vm attach --detach-keys=ctrl-1 abc 2>"$ERR"
	expect_error '"ctrl-1" is no key'
}
