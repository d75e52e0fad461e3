#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Images on the command line, and pods that are prepared now and run later, in both flavours.
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

# run_prepared UUID [FLAG...]: as run_pod.
run_prepared()
{
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	status=0
	timeout --kill-after=20 "$LIMIT" "$APPC_VM" "--dir=$DATA" run-prepared "--flavour=$FLAVOUR" "$@" \
		>"$OUT" 2>"$ERR" </dev/null 3>&- || status=$?
}

state_of()
{
	appc_vm status "$1" | sed -n 's/^state=//p'
}

@test "a pod of two images, with flags for each" {
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	status=0
	timeout --kill-after=20 "$LIMIT" "$APPC_VM" "--dir=$DATA" run "--flavour=$FLAVOUR" \
		--volume=shared,kind=empty,mode=0777 --mount=volume=shared,target=/shared \
		--uuid-file-save="$BATS_TEST_TMPDIR/uuid" \
		example.com/probe --name=one --exec=/bin/probe --user=alice --group=alice \
		-- identity write /shared/one hello await /shared/two --- \
		example.com/probe --name=two --exec=/bin/probe --readonly-rootfs \
		-- await /shared/one read /shared/one write /tmp/x y write /shared/two bye exit 9 \
		>"$OUT" 2>"$ERR" </dev/null 3>&- || status=$?
	expect_status 9
	expect_line 'identity: uid=1000 euid=1000 gid=1001 egid=1001 groups=' \
		'read /shared/one: hello' 'write /tmp/x: EROFS'
	[ "$(state_of "$(cat "$BATS_TEST_TMPDIR/uuid")")" = exited ]
}

@test "a prepared pod runs once, with its image gone" {
	local uuid id
	uuid=$(appc_vm prepare --quiet --user-label=of=pod example.com/probe --exec=/bin/probe \
		-- hostname env AC_APP_NAME exit 5)
	[ "$(state_of "$uuid")" = prepared ]
	# gc keeps the tree of a prepared pod; images may go.
	id=$(appc_vm image list --full --no-legend | cut -f1)
	mv "$DATA/images/$id" "$BATS_TEST_TMPDIR/image"
	appc_vm gc
	run_prepared --hostname=later "${uuid:0:8}"
	mv "$BATS_TEST_TMPDIR/image" "$DATA/images/$id"
	expect_status 5
	expect_line 'hostname: later' 'env AC_APP_NAME: probe'
	[ "$(state_of "$uuid")" = exited ]

	run_prepared "$uuid"
	expect_status 254
	expect_error "pod \"$uuid\" is not prepared"
	run_prepared 00000000-1111-2222-3333-444444444444
	expect_status 254
	expect_error 'no matches found for "00000000-1111-2222-3333-444444444444"'
}

@test "a pod that cannot be started stays prepared" {
	local uuid
	uuid=$(appc_vm prepare --quiet example.com/probe)
	run_prepared --init="$BATS_TEST_TMPDIR/absent" "$uuid"
	expect_status 254
	[ "$(state_of "$uuid")" = prepared ]
	run_prepared "$uuid"
	expect_status 0
	expect_line default
}

# on_terminal STEP... -- WORD...: run with these words on a terminal of 33 lines of 77 characters. Sets status.
on_terminal()
{
	local steps=()
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	while [ "$1" != -- ]; do
		steps+=("$1")
		shift
	done
	status=0
	TERM=vt220 timeout --kill-after=20 "$LIMIT" python3 "$BATS_TEST_DIRNAME/on_terminal.py" 33 77 "${steps[@]}" -- \
		"$APPC_VM" "--dir=$DATA" run "--flavour=$FLAVOUR" "${@:2}" >"$OUT.raw" 2>"$ERR" 3>&- ||
		status=$?
	tr -d '\r' <"$OUT.raw" >"$OUT"
}

@test "on a terminal an interactive app has one of its own: keys, window, signals" {
	local app="example.com/probe --exec=/bin/probe --user=alice --"
	# shellcheck disable=SC2086 # words
	on_terminal 'Enter text:=>Saluton\n' 'Change the window=>size:50,132' -- --interactive $app \
		terminal line await-window env TERM exit 3
	[ "$(tail -n 1 "$OUT")" = "terminal: as before" ]
	expect_line 'Received text: Saluton' 'window: 50x132' 'env TERM: vt220'
	grep -qE 'stdin is a terminal: /dev/pts/[0-9]+, its own, 33x77$' "$OUT"
	expect_status 3
	# shellcheck disable=SC2086
	on_terminal 'Enter text:=>\x03' -- --interactive $app line
	expect_line 'terminal: as before'
	expect_status 130
	# shellcheck disable=SC2086
	on_terminal 'Enter text:=>\x04' -- --interactive $app line
	expect_line 'Received text: '
	expect_status 0
	# shellcheck disable=SC2086
	on_terminal -- $app terminal
	expect_line 'stdin is not a terminal'
	expect_status 0
}

@test "an interactive app reads our standard input to its end, others have none" {
	local uuid
	seq 1 100000 >"$BATS_TEST_TMPDIR/numbers"
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	timeout --kill-after=20 "$LIMIT" "$APPC_VM" "--dir=$DATA" run "--flavour=$FLAVOUR" --interactive \
		example.com/probe --exec=/bin/probe --user=alice -- digest /dev/stdin \
		<"$BATS_TEST_TMPDIR/numbers" >"$OUT" 2>"$ERR" 3>&-
	diff <("$PROBE" digest "$BATS_TEST_TMPDIR/numbers" | sed 's/.*: //') <(sed 's/.*: //' "$OUT")

	uuid=$(appc_vm prepare --quiet example.com/probe --exec=/bin/probe -- read /dev/stdin)
	echo typed | timeout --kill-after=20 "$LIMIT" "$APPC_VM" "--dir=$DATA" run-prepared \
		"--flavour=$FLAVOUR" --interactive "$uuid" >"$OUT" 2>"$ERR" 3>&-
	expect_line 'read /dev/stdin: typed'
	echo unread | timeout --kill-after=20 "$LIMIT" "$APPC_VM" "--dir=$DATA" run "--flavour=$FLAVOUR" \
		example.com/probe --exec=/bin/probe -- read /dev/stdin >"$OUT" 2>"$ERR" 3>&-
	[ "$(cat "$OUT")" = 'read /dev/stdin: ' ]
}
