#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What pods that start from the same parked machine must not have in common.
# shellcheck disable=SC2016 # the variables are jq's

load lib

setup_file()
{
	[ ! -c /dev/kvm ] || data_directory
}

setup()
{
	needs_kvm
}

# all_differ NAME: of the lines "NAME VALUE" in all outputs, one for each clone and no two alike.
all_differ()
{
	local values
	values=$(sed -n "s/^$1 //p" "$BATS_TEST_TMPDIR"/clone-*)
	if [ "$(wc -l <<<"$values")" -ne "$CLONES" ] || [ "$(sort -u <<<"$values" | wc -l)" -ne "$CLONES" ]; then
		echo "of $CLONES clones, \"$1\":"
		sort <<<"$values" | uniq -c
		return 1
	fi
}

# run_clones [OPTION...]: runs $POD as often as the tests say.
run_clones()
{
	local i
	for ((i = 0; i < CLONES; i++)); do
		run_pod "$@"
		expect_status 0
		cp "$OUT" "$BATS_TEST_TMPDIR/clone-$i"
	done
}

@test "20 pods from one template share no random bytes, names, ids or times" {
	CLONES=20
	pod '.apps = [app("clone"; ["unique"])]'
	run_clones
	for name in getrandom urandom at-random canary boot-id random-uuid nodename temporary time; do
		all_differ "$name"
	done
}

@test "warm pods share no random bytes, names, ids or times either" {
	CLONES=5
	pod '.apps = [app("clone"; ["unique"])]'
	run_clones --warm
	for name in getrandom urandom at-random canary boot-id random-uuid nodename temporary time; do
		all_differ "$name"
	done
}

@test "the clock is right to 50 ms and never goes back" {
	pod '.volumes = [{name: "host", kind: "host", source: $host}] |
		.apps = [app("clock"; ["clock-against", "/host", "clocks-monotonic", "1000", "clock-against", "/host2"])
			| .mounts = [{volume: "host", path: "/host"}, {volume: "host", path: "/host2"}]]'
	for _ in 1 2; do
		run_pod
		expect_status 0
		expect_line "clocks went back 0 times"
		[ "$(sed -n 's/^clock-error //p' "$OUT" | wc -l)" -eq 2 ]
		while read -r error; do
			echo "the clock is wrong by $error ns"
			[ "$error" -le 50000000 ]
		done < <(sed -n 's/^clock-error //p' "$OUT")
		rm -f "$BATS_TEST_TMPDIR"/host/clock-*
	done
}
