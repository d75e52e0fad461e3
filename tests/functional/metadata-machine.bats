#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The metadata service in virtual machines: what a request costs the guest's kernel, and parked clients.
# shellcheck disable=SC2016,SC2034 # the variables are jq's; lib.bash reads LIMIT

load lib
load metadata

setup_file()
{
	if [ -c /dev/kvm ]; then
		metadata_setup_file
	fi
}

setup()
{
	needs_kvm
}

# cost WORD...: guest kernel instructions of a pod whose client does that, and its milliseconds.
cost()
{
	client_pod '.apps = [client("one"; ['"$(printf '"%s",' "$@" | sed 's/,$//')"'])]'
	run_pod --timing=json --memory=128M
	expect_status 0
	tail -n 1 "$ERR" | jq --raw-output '"\(.guest_kernel_instructions.total) \(.ms.total - .ms.setup | floor)"'
}

# A connection with one request, from its beginning to its end on both sides; or one more request on a connection.
@test "a request takes 50,000 guest kernel instructions at most, 150,000 with a connection of its own" {
	local how most few few_ms many many_ms
	run_pod_once
	for how in repeat keep; do
		most=$([ "$how" = repeat ] && echo 150000 || echo 50000)
		read -r few few_ms < <(cost "$how" 1 /pod/manifest)
		read -r many many_ms < <(cost "$how" 41 /pod/manifest)
		[ "$few" != null ] || skip "this KVM does not count instructions"
		echo "$how: $(((many - few) / 40)) a request, $((many_ms - few_ms)) ms for 40"
		# As in machine.bats: timer ticks, which a busy host makes more of.
		[ $((many - few - 200 * (many_ms > few_ms ? many_ms - few_ms : 0))) -le $((40 * most)) ]
	done
}

# So that the next pod starts from a template.
run_pod_once()
{
	client_pod '.apps = [client("one"; ["url"])]'
	run_pod --memory=128M
	expect_status 0
}

@test "a warm pod's token is its own, and opens the service" {
	client_pod '.apps = [client("one"; ["get", "/pod/uuid"]), app("two"; ["env", "AC_METADATA_URL"])]'
	for i in 1 2 3; do
		run_pod --warm --timing=json --memory=128M
		expect_status 0
		tail -n 1 "$ERR" | jq --exit-status .warm
		pod_uuid >>"$BATS_TEST_TMPDIR/seen"
		grep '^env AC_METADATA_URL: http://127.0.0.1:18112/' "$OUT" >>"$BATS_TEST_TMPDIR/seen"
	done
	[ "$(sort -u "$BATS_TEST_TMPDIR/seen" | wc --lines)" -eq 6 ]
}
