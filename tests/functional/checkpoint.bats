#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Checkpoints: running pods parked on disk, which go on later, once or several times.
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

teardown_file()
{
	rm -rf "$DATA/checkpoints"
}

# go_on KEY [OPTION...]: starts what goes on from a checkpoint. Sets RUN and UUID.
go_on()
{
	rm -f "$UUID_FILE"
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	"$APPC_VM" "--dir=$DATA" run "--from-checkpoint=$1" "--uuid-file-save=$UUID_FILE" "${@:2}" \
		>"$OUT" 2>"$ERR" </dev/null 3>&- &
	RUN=$!
	pod_ready
}

# refused KEY PATTERN: nothing goes on from it, for that reason, and no pod is left of the attempt.
refused()
{
	local before
	before=$(appc_vm list --no-legend | wc -l)
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	status=0
	timeout --kill-after=20 "$LIMIT" "$APPC_VM" "--dir=$DATA" run "--from-checkpoint=$1" \
		>"$OUT" 2>"$ERR" </dev/null 3>&- || status=$?
	expect_status 254
	expect_error "$2"
	[ "$(wc -l <"$ERR")" -eq 1 ]
	appc_vm gc --grace-period=0 >/dev/null 2>&1
	[ "$(appc_vm list --no-legend | wc -l)" -le "$before" ]
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

# no_step_took SECONDS: of what counts, by its monotonic clock.
no_step_took()
{
	local step
	while read -r step; do
		echo "longest step: $step ms, of $1 s"
		[ "$step" -lt $(($1 * 1000)) ]
	done < <(sed -n 's/^longest step: \([0-9]*\) ms$/\1/p' "$OUT")
}

needs_machine()
{
	[ "$FLAVOUR" = vm ] || skip "a container cannot be saved"
}

COUNTING='.apps = [app("one"; ["count", "/tmp/count", "hostname", "clock-against", "/tmp", "exit", "3"])]'

@test "a pod goes on from a checkpoint as if nothing had happened, as often as it is wanted" {
	local key first before saved_at
	needs_machine
	begin_ready '.apps = [
			app("one"; ["count", "/tmp/count", "hostname", "clock-against", "/tmp", "exit", "3"]),
			(app("two"; ["write", "/etc/hosts", "", "count", "/tmp/count", "read", "/own/file", "read", "/etc/hosts"]) |
				.mounts = [{volume: "own", path: "/own"}]),
			(app("three"; ["write", "/own/file", "text"]) | .mounts = [{volume: "own", path: "/own"}])] |
		.volumes = [{name: "own", kind: "empty"}]'
	eventually "both count" eval 'counted_more one 5 && counted_more two 5'
	eventually "the third has written" eval '[[ $(appc_vm status "$UUID") == *app-three=0* ]]'
	first=$UUID
	key=$(appc_vm checkpoint "$UUID")
	saved_at=$SECONDS
	[ "${#key}" -eq 64 ]
	finish_pod
	expect_status 0
	run appc_vm status "$first"
	[[ $output == state=exited*"reason=it was saved, to go on later"* ]]
	appc_vm events "$first" | jq --exit-status --slurp --arg key "$key" \
		'map(select(.event == "saved")) | length == 1 and .[0].message == $key'
	before=$(wc -l <"$DATA/pods/run/$first/overlay/one/upper/tmp/count")
	appc_vm checkpoint list --format=json |
		jq --exit-status --arg key "$key" --arg pod "$first" '.[] | select(.key == $key) | .pod == $pod'
	[[ $(appc_vm checkpoint verify "${key:0:8}") == *good ]]
	[ "$(stat --format=%a "$DATA/checkpoints" "$DATA/checkpoints/$key" | sort -u)" = 700 ]
	# Nothing of the pod itself is needed.
	appc_vm rm "$first"
	appc_vm gc --grace-period=0

	for _ in 1 2; do
		# A clock that went on meanwhile would show it.
		eventually "it was on disk for a while" eval '[ $((SECONDS - saved_at)) -ge 12 ]'
		go_on "${key:0:12}"
		[ "$UUID" != "$first" ]
		[ "$(appc_vm status "$UUID" | head -n 1)" = state=running ]
		eventually "they count again" eval 'counted_more one "$before" && counted_more two 5'
		appc_vm stop "$UUID"
		finish_pod
		expect_status 3
		expect_line "counted: whole" "memory: 0 bytes damaged" "read /own/file: text" "hostname: appc-$UUID"
		# What an app had made of the files that it was given is no harm to their new content.
		grep -q '^read /etc/hosts: 127\.0\.0\.1' "$OUT"
		no_step_took 10
		[ "$(grep -c "^counted: whole" "$OUT")" -eq 2 ]
		[ "$(sed -n 's/^clock-error //p' "$OUT")" -lt 1000000000 ]
	done
	appc_vm checkpoint rm "${key:0:12}"
	fails grep -q "$key" <<<"$(appc_vm checkpoint list --full)"
	refused "$key" "there is no checkpoint \"$key\""
}

@test "a pod that is kept running goes on, and what it writes then is not in the checkpoint" {
	local key before
	needs_machine
	begin_ready "$COUNTING" --hostname=chosen
	eventually "it counts" counted_more one 5
	key=$(appc_vm checkpoint --keep-running "$UUID")
	[ "$(appc_vm status "$UUID" | head -n 1)" = state=running ]
	before=$(wc -l <"$DATA/checkpoints/$key/pod/overlay/one/upper/tmp/count")
	eventually "it counts on" counted_more one $((before + 5))
	[ "$(wc -l <"$DATA/checkpoints/$key/pod/overlay/one/upper/tmp/count")" -eq "$before" ]
	appc_vm stop "$UUID"
	finish_pod
	expect_status 3
	expect_line "counted: whole" "hostname: chosen"
	[ "$(sed -n 's/^clock-error //p' "$OUT")" -lt 1000000000 ]
	go_on "$key"
	# A checkpoint of what came from one.
	eventually "it counts" counted_more one "$before"
	key=$(appc_vm checkpoint --stop "$UUID")
	finish_pod
	expect_status 0
	# The program alone will do: kernel and guest-init are in the checkpoint.
	cp "$APPC_VM" "$BATS_TEST_TMPDIR/appc-vm"
	APPC_VM=$BATS_TEST_TMPDIR/appc-vm go_on "$key"
	appc_vm stop "$UUID"
	finish_pod
	expect_status 3
	expect_line "counted: whole" "hostname: chosen"
}

@test "a pod that cannot be saved honestly is not, and goes on" {
	local entered before
	needs_machine
	before=$(appc_vm checkpoint list --no-legend | wc -l)
	begin_ready '.apps = [app("one"; ["nameless", "/tmp/file"])]'
	run appc_vm checkpoint "$UUID"
	[ "$status" -eq 254 ]
	[[ $output == *"the guest uses a file that has no name any more"* && ${#lines[@]} -eq 1 ]]
	[ "$(appc_vm enter "$UUID" /bin/probe say "still there")" = "still there" ]
	# Somebody is in it.
	"$APPC_VM" "--dir=$DATA" enter "$UUID" /bin/probe forever >"$BATS_TEST_TMPDIR/entered" </dev/null 3>&- &
	entered=$!
	eventually "somebody has entered" grep -q ready "$BATS_TEST_TMPDIR/entered"
	run appc_vm checkpoint "$UUID"
	[ "$status" -eq 254 ]
	[[ $output == *"somebody is connected to it through vsock"* ]]
	kill "$entered"
	wait "$entered" || true
	[ "$(appc_vm status "$UUID" | head -n 1)" = state=running ]
	[ "$(appc_vm checkpoint list --no-legend | wc -l)" -eq "$before" ]
	appc_vm stop --force "$UUID"
	finish_pod
}

@test "a file of the host that is open and was changed is refused, one that was not is no obstacle" {
	local key
	needs_machine
	begin_ready '.volumes = [{name: "host", kind: "host", source: $host}] |
		.apps = [app("one"; ["write", "/host/other", "first", "count", "/host/file", "read", "/host/other"]) |
			.mounts = [{volume: "host", path: "/host"}]]'
	key=$(appc_vm checkpoint "$UUID")
	finish_pod
	# This one is not open: it is looked at anew.
	echo later >"$BATS_TEST_TMPDIR/host/other"
	go_on "$key"
	appc_vm stop "$UUID"
	finish_pod
	expect_status 0
	expect_line "counted: whole" "read /host/other: later"
	# Now it has more in it than the checkpoint knows.
	refused "$key" "volumes/host.* was changed since the guest was parked"
}

@test "what kind of pod cannot be saved is said, and it goes on" {
	needs_machine
	# checkpoint_refused PATTERN: of the pod.
	checkpoint_refused()
	{
		run appc_vm checkpoint "$UUID"
		[ "$status" -eq 254 ]
		[ "${#lines[@]}" -eq 1 ]
		[[ $output == *"pod $UUID: "$1 ]]
	}
	begin_ready '.apps = [app("one"; ["forever"])]'
	appc_vm pause "$UUID"
	checkpoint_refused "it is paused: resume it first"
	appc_vm resume "$UUID"
	[ -n "$(appc_vm checkpoint --keep-running "$UUID")" ]
	appc_vm stop --force "$UUID"
	finish_pod
	begin_ready '.apps = [app("one"; ["forever"])]' --net
	checkpoint_refused "it has a network, *"
	appc_vm stop --force "$UUID"
	finish_pod
	begin_ready '.apps = [app("one"; ["forever"])]' --interactive
	checkpoint_refused "an app has standard input, *"
	appc_vm stop --force "$UUID"
	finish_pod
	rm -f "$UUID_FILE"
	"$APPC_VM" "--dir=$DATA" app sandbox "--uuid-file-save=$UUID_FILE" >/dev/null 2>&1 </dev/null 3>&- &
	RUN=$!
	pod_ready
	checkpoint_refused "its apps come and go"
	appc_vm stop "$UUID"
	finish_pod
	expect_status 0
}

@test "a pod that somebody was in by ssh goes on with the programs for that" {
	local key first
	needs_machine
	begin_ready '.apps = [app("one"; ["forever"])]'
	first=$UUID
	[ "$(appc_vm ssh "$UUID" echo here </dev/null 3>&-)" = here ]
	saved()
	{
		key=$(appc_vm checkpoint "$UUID")
	}
	eventually "the connection has gone" saved
	finish_pod
	appc_vm rm "$first"
	# No pod has them now.
	appc_vm gc --grace-period=0
	go_on "$key"
	[ "$(appc_vm ssh "$UUID" echo again </dev/null 3>&-)" = again ]
	appc_vm checkpoint rm "$key"
	appc_vm gc --grace-period=0
	[ "$(appc_vm ssh "$UUID" "echo still; ls /apps/one/rootfs/bin/probe" </dev/null 3>&-)" = $'still\n/apps/one/rootfs/bin/probe' ]
	appc_vm stop --force "$UUID"
	finish_pod
	appc_vm rm "$UUID"
	appc_vm gc --grace-period=0
	[ -z "$(compgen -G "$DATA/debug/sha256-*")" ]
}

@test "a damaged checkpoint is refused and stays" {
	local key state
	needs_machine
	begin_ready '.apps = [app("one"; ["forever"])]'
	key=$(appc_vm checkpoint "$UUID")
	finish_pod
	state=$DATA/checkpoints/$key/state
	cp "$state" "$BATS_TEST_TMPDIR/state"
	printf 'x' | dd of="$state" bs=1 seek=5000 conv=notrunc status=none
	refused "$key" "checkpoint ${key:0:12}: .*the checksum of its state file is wrong"
	[ -e "$state" ]
	cp "$BATS_TEST_TMPDIR/state" "$state"
	mv "$DATA/checkpoints/$key/checkpoint" "$BATS_TEST_TMPDIR/info"
	refused "$key" "checkpoint ${key:0:12}: it is damaged"
	sed 's/"vcpus": 1/"vcpus": 2/' "$BATS_TEST_TMPDIR/info" >"$DATA/checkpoints/$key/checkpoint"
	refused "$key" "it was made by another version of this program, or on a host with another"
	cp "$BATS_TEST_TMPDIR/info" "$DATA/checkpoints/$key/checkpoint"
	truncate --size=4096 "$DATA/checkpoints/$key/memory"
	refused "$key" "its memory file"
	appc_vm gc --expire-checkpoints=0
	[ ! -e "$DATA/checkpoints/$key" ]
}

@test "a client that is killed leaves a pod that goes on, and no checkpoint" {
	local client
	needs_machine
	begin_ready "$COUNTING"
	for _ in 1 2 3; do
		"$APPC_VM" "--dir=$DATA" checkpoint --keep-running "$UUID" >/dev/null 2>&1 3>&- &
		client=$!
		eventually "it is at it" eval 'compgen -G "$DATA/checkpoints/.tmp-*" >/dev/null || process_gone "$client"'
		kill -KILL "$client" 2>/dev/null || true
		wait "$client" || true
		eventually "the pod goes on" eval '[ "$(appc_vm status "$UUID" | head -n 1)" = state=running ]'
	done
	appc_vm gc
	[ "$(find "$DATA/checkpoints" -name '.tmp-*' | wc -l)" -eq 0 ]
	appc_vm stop "$UUID"
	finish_pod
	expect_status 3
	expect_line "counted: whole"
}

@test "what is asked wrongly is said" {
	begin_ready '.apps = [app("one"; ["forever"])]' --flavour=container
	run appc_vm checkpoint "$UUID"
	[ "$status" -eq 254 ]
	[[ $output == *"a container cannot be saved, only a virtual machine"* ]]
	appc_vm stop --force "$UUID"
	finish_pod
	run appc_vm checkpoint "$UUID"
	[ "$status" -eq 254 ]
	[[ $output == *"is not running"* ]]
	run appc_vm checkpoint --stop --keep-running "$UUID"
	[ "$status" -eq 254 ]
	[[ $output == *"--stop or --keep-running"* ]]
	run appc_vm checkpoint
	[ "$status" -eq 254 ]
	run appc_vm run --from-checkpoint=abcd example.com/probe
	[ "$status" -eq 254 ]
	[[ $output == *"takes no images"* ]]
	run appc_vm run --from-checkpoint=abcd
	[ "$status" -eq 254 ]
	[[ $output == *'there is no checkpoint "abcd"'* ]]
	run appc_vm run --from-checkpoint=zz
	[ "$status" -eq 254 ]
	[[ $output == *'is not the key of a checkpoint'* ]]
	run appc_vm checkpoint rm abcd
	[ "$status" -eq 254 ]
	[[ $output == *'there is no checkpoint "abcd"'* ]]
}
