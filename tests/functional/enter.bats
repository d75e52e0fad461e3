#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# enter: a program beside those of an app, and like them; its streams, terminal, signals and status; what happens
# when its app, its client or the pod goes. Containers and machines run the same tests.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # the variables are jq's and bats'

load lib

setup_file()
{
	needs_kvm
	data_directory
	# One pod for most tests: a machine takes its time to start. Its apps tell what they are, then wait.
	BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR
	WHAT="status Uid status Gid status Groups status CapPrm status CapEff status CapBnd status CapAmb"
	WHAT="$WHAT status NoNewPrivs status Seccomp env VAR env AC_APP_NAME cwd self cgroup namespace mnt"
	WHAT="$WHAT namespace pid self oom_score_adj stat /data mounted /data"
	export WHAT
	pod '.volumes = [{name: "data", kind: "empty"}] | .apps = [
		(app("plain"; ("'"$WHAT"'" | split(" ")) + ["forever"]) |
			.app.environment = [{name: "VAR", value: "of the app"}] |
			.app.workingDirectory = "/srv" | .app.user = "alice" | .app.group = "alice" |
			.app.supplementaryGIDs = [50, 51] | .app.mountPoints = [{name: "data", path: "/data"}] |
			.app.isolators = [
				{name: "os/linux/capabilities-retain-set", value: {set: ["CAP_NET_BIND_SERVICE"]}},
				{name: "resource/memory", value: {limit: "64Mi"}}] |
			.mounts = [{volume: "data", path: "/data"}]),
		app("root"; ["forever"])]'
	UUID_FILE=$BATS_FILE_TMPDIR/uuid
	start_pod "--uuid-file-save=$UUID_FILE"
	pod_ready
	POD_OUT=$OUT
	export UUID POD_OUT RUN_SHARED=$RUN
}

teardown_file()
{
	[ -n "${UUID:-}" ] || return 0
	appc_vm stop --force "$UUID"
}

# The pod of all tests lives on: what each test leaves is looked at here instead.
teardown()
{
	if [ -n "${OWN:-}" ]; then
		appc_vm stop --force "$OWN" || true
	fi
}

# enter [OPTION...]: in the app "plain" unless another is named. Sets status; OUT and ERR are files.
enter()
{
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	status=0
	timeout --kill-after=5 "$LIMIT" "$APPC_VM" "--dir=$DATA" enter "$@" >"$OUT" 2>"$ERR" 3>&- || status=$?
}

# begin FILTER: another pod, for a test that ends it. Sets UUID, OWN, RUN.
begin()
{
	pod "$1"
	UUID_FILE=$BATS_TEST_TMPDIR/uuid
	start_pod "--uuid-file-save=$UUID_FILE"
	pod_ready
	OWN=$UUID
}

both_are_ready()
{
	[ "$(grep -cxF ready "$POD_OUT")" -eq 2 ]
}

@test "a program sees what its app sees" {
	eventually "the app has said all" both_are_ready
	# shellcheck disable=SC2086 # words
	enter --app=plain "$UUID" /bin/probe $WHAT </dev/null
	expect_status 0
	expect_line "env VAR: of the app" "cwd: /srv" "status Groups: 50 51 " "status CapEff: 0000000000000000"
	diff <(grep -vxF ready "$POD_OUT") "$OUT"
	enter --app=root "$UUID" /bin/probe namespace mnt </dev/null
	fails said "$(grep -m 1 "^namespace mnt" "$POD_OUT")"
}

@test "files that it writes are the app's" {
	enter --app=plain "$UUID" /bin/probe write /tmp/entered text </dev/null
	expect_status 0
	enter --app=plain "$UUID" /bin/probe read /tmp/entered stat /tmp/entered </dev/null
	expect_line "read /tmp/entered: text" "stat /tmp/entered: 100644 1000 1001 4"
	enter --app=root "$UUID" /bin/probe read /tmp/entered </dev/null
	expect_line "read /tmp/entered: ENOENT"
}

@test "another user and another group" {
	enter --app=plain --user=root --group=staff "$UUID" /bin/probe identity </dev/null
	expect_line "identity: uid=0 euid=0 gid=50 egid=50 groups="
	# The group of a user without one is that of /etc/passwd.
	enter --app=root --user=1000 "$UUID" /bin/probe identity </dev/null
	expect_line "identity: uid=1000 euid=1000 gid=1001 egid=1001 groups="
	enter --app=root --user=4711 "$UUID" /bin/probe identity </dev/null
	expect_line "identity: uid=4711 euid=4711 gid=0 egid=0 groups="
	enter --app=root --user=nobody-at-all "$UUID" /bin/probe identity </dev/null
	expect_status 254
	expect_error 'cannot lookup user "nobody-at-all"'
}

@test "exit statuses and signals are passed on" {
	enter --app=root "$UUID" /bin/probe exit 7 </dev/null
	expect_status 7
	enter --app=root "$UUID" /bin/probe crash </dev/null
	[ "$status" -gt 128 ]
	"$APPC_VM" "--dir=$DATA" enter --app=root "$UUID" /bin/probe until-stopped exit 9 \
		>"$BATS_TEST_TMPDIR/out" 2>/dev/null </dev/null 3>&- &
	client=$!
	OUT=$BATS_TEST_TMPDIR/out
	eventually "it runs" said ready
	kill -TERM "$client"
	status=0
	wait "$client" || status=$?
	expect_status 9
}

@test "standard output and error are apart, and binary" {
	enter --app=root "$UUID" /bin/probe say out complain err </dev/null
	expect_status 0
	[ "$(<"$OUT")" = out ]
	grep -qxF err "$ERR"
	head -c 300000 /dev/urandom >"$BATS_TEST_TMPDIR/data"
	enter --app=root "$UUID" /bin/probe copy <"$BATS_TEST_TMPDIR/data"
	expect_status 0
	cmp "$BATS_TEST_TMPDIR/data" "$OUT"
	[ ! -s "$ERR" ]
}

@test "a signal does not wait behind input that nobody reads" {
	mkfifo "$BATS_TEST_TMPDIR/input"
	(while echo line; do :; done) >"$BATS_TEST_TMPDIR/input" 2>/dev/null 3>&- &
	"$APPC_VM" "--dir=$DATA" enter --app=root "$UUID" /bin/probe until-stopped exit 5 \
		<"$BATS_TEST_TMPDIR/input" >"$BATS_TEST_TMPDIR/out" 3>&- &
	client=$!
	OUT=$BATS_TEST_TMPDIR/out
	eventually "it runs" said ready
	kill -TERM "$client"
	status=0
	wait "$client" || status=$?
	expect_status 5
}

# in_terminal OPTIONS COMMAND...: enter in a terminal of 33 rows and 99 columns. Sets status; OUT names the file.
in_terminal()
{
	command -v script >/dev/null || skip "script(1) is not installed"
	OUT=$BATS_TEST_TMPDIR/out
	status=0
	TERM=vt220 timeout "$LIMIT" script --quiet --return --flush --command \
		"stty rows 33 columns 99; '$APPC_VM' '--dir=$DATA' enter $*" /dev/null \
		>"$BATS_TEST_TMPDIR/raw" 2>&1 3>&- || status=$?
	tr -d '\r' <"$BATS_TEST_TMPDIR/raw" >"$OUT"
}

@test "a terminal has the size and the type of ours, and a name" {
	in_terminal --tty --app=plain "$UUID" /bin/probe tty env TERM exit 3 </dev/null
	expect_status 3
	grep -q "env TERM: vt220" "$OUT"
	grep -qE 'tty: /dev/pts/[0-9]+ 33 99 own$' "$OUT"
	in_terminal -t --app=root "$UUID" /bin/probe tty </dev/null
	expect_status 0
	# None is given to a command that does not ask.
	in_terminal --app=root "$UUID" /bin/probe tty </dev/null
	grep -q "tty: ENOTTY 0 0 not own" "$OUT"
}

@test "keys are passed on, and what ends the input" {
	in_terminal -t --app=root "$UUID" /bin/probe copy exit 4 < <(printf 'typed\n')
	expect_status 4
	grep -q typed "$OUT"
	# ^C
	rm "$BATS_TEST_TMPDIR/raw"
	in_terminal -t --app=root "$UUID" /bin/probe forever < <(
		eventually "it runs" grep -q ready "$BATS_TEST_TMPDIR/raw"
		printf '\003'
	)
	expect_status 130
}

@test "the window may change" {
	command -v script >/dev/null || skip "script(1) is not installed"
	OUT=$BATS_TEST_TMPDIR/out
	# Without rows a terminal has no size, and script(1) may begin with none.
	timeout "$LIMIT" script --quiet --return --flush --command \
		"stty rows 33 columns 99; tty; '$APPC_VM' '--dir=$DATA' enter -t --app=root '$UUID' /bin/probe columns 44" /dev/null \
		>"$BATS_TEST_TMPDIR/raw" </dev/null 3>&- &
	client=$!
	eventually "it runs" grep -q ready "$BATS_TEST_TMPDIR/raw"
	stty -F "$(head -n 1 "$BATS_TEST_TMPDIR/raw" | tr -d '\r')" columns 44
	wait "$client"
	grep -q "columns: 44" "$BATS_TEST_TMPDIR/raw"
}

@test "a hundred at once, and each has its own status" {
	local i wrong=0
	for i in $(seq 100); do
		(
			status=0
			"$APPC_VM" "--dir=$DATA" enter --app=root "$UUID" /bin/probe exit "$i" \
				>/dev/null 2>"$BATS_TEST_TMPDIR/err.$i" </dev/null 3>&- || status=$?
			echo "$status" >"$BATS_TEST_TMPDIR/status.$i"
		) &
	done
	wait
	for i in $(seq 100); do
		[ "$(<"$BATS_TEST_TMPDIR/status.$i")" -eq "$i" ] || wrong=$((wrong + 1))
	done
	[ "$wrong" -eq 0 ]
}

@test "what cannot be entered says why" {
	enter --app=nothing "$UUID" /bin/probe say x </dev/null
	expect_status 254
	expect_error 'no app "nothing"'
	enter "$UUID" /bin/probe say x </dev/null
	expect_status 254
	expect_error 'Unable to determine app name: specify app using "appc-vm enter --app= ..."'
	enter --app=root "$UUID" /bin/missing </dev/null
	expect_status 254
	expect_error 'Unable to open "/bin/missing"'
	enter --app=root 00000000 /bin/probe </dev/null
	expect_status 254
	enter </dev/null
	expect_status 254
	expect_error 'needs the UUID of a pod'
}

@test "without a command it is bash, or what the image has instead" {
	begin ".volumes = [{name: \"program\", kind: \"host\", source: \"$PROBE\"}] | .apps = [app(\"without\"; [\"forever\"]),
		(app(\"with\"; [\"forever\"]) | .mounts = [{volume: \"program\", path: \"/bin/bash\"}])]"
	enter --app=with "$UUID" </dev/null
	expect_status 0
	# The image has no /bin/sh, either; that is what its /etc/passwd says.
	enter --app=without "$UUID" </dev/null
	expect_status 254
	expect_error 'Unable to open "/bin/sh"'
}

@test "a client that is killed takes its process along" {
	"$APPC_VM" "--dir=$DATA" enter --app=root "$UUID" /bin/probe say to-be-killed forever \
		>"$BATS_TEST_TMPDIR/out" 2>/dev/null </dev/null 3>&- &
	client=$!
	OUT=$BATS_TEST_TMPDIR/out
	eventually "it runs" said ready
	kill -KILL "$client"
	wait "$client" || true
	gone()
	{
		enter --app=root "$UUID" /bin/probe sees to-be-killed </dev/null
		said "sees to-be-killed: no"
	}
	eventually "the process is gone" gone
}

@test "a reader that goes ends it, as a local pipe would" {
	status=0
	timeout "$LIMIT" "$APPC_VM" "--dir=$DATA" enter --app=root "$UUID" /bin/probe lines x 100000 </dev/null 3>&- |
		head -n 1 >"$BATS_TEST_TMPDIR/line" || true
	[ -s "$BATS_TEST_TMPDIR/line" ]
}

@test "an app that ends takes along who has entered it" {
	begin '.apps = [app("short"; ["until-stopped"])]'
	"$APPC_VM" "--dir=$DATA" enter "$UUID" /bin/probe forever \
		>"$BATS_TEST_TMPDIR/entered" 2>"$BATS_TEST_TMPDIR/err" </dev/null 3>&- &
	client=$!
	eventually "it runs" grep -qx ready "$BATS_TEST_TMPDIR/entered"
	appc_vm stop "$UUID"
	status=0
	wait "$client" || status=$?
	ERR=$BATS_TEST_TMPDIR/err
	# What killed it may still be told before the pod is gone.
	if [ "$status" -ne 137 ]; then
		expect_status 254
		expect_error '(app "short"|pod ".*") has ended'
	fi
	finish_pod
	expect_status 0
	enter "$UUID" /bin/probe say late </dev/null
	expect_status 254
	expect_error 'is not running'
	OWN=
}
