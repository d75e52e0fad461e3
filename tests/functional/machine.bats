#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What only a virtual machine has: its size, and the count of its kernel's instructions.
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

@test "timing is one JSON object with the counts of this host" {
	pod '.apps = [app("timed"; ["say", "first output"])]'
	run_pod --no-template --timing=json --memory=128M --cpus=1
	expect_status 0
	tail -n 1 "$ERR" | jq --exit-status '
		.flavour == "vm" and .vcpus == 1 and .memory_mib == 128 and
		(.ms | .setup >= 0 and .to_init > 0 and .to_first_app_exec >= .to_init and
			.to_first_output >= .to_first_app_exec and .total >= .to_first_output) and
		.vmm_rss_kib > 0'
	# The bar for guest-init, where the kernel's instructions can be counted: 14 M for a boot of 10 s.
	# A busy host takes longer, and the guest's timer ticks cost some 30,000 a second.
	tail -n 1 "$ERR" | jq --exit-status '
		.ms.to_init as $ms | .guest_kernel_instructions.to_init as $count | $count == null or
			($count > 100000 and $count - 30 * $ms <= 14000000)'
}

# at_most EVENT COUNT: guest kernel instructions to an event in the last output, less those of timer ticks
# and of kernel threads that wake up by time: up to 200 a millisecond.
at_most()
{
	tail -n 1 "$ERR" | jq --exit-status --arg event "$1" --argjson most "$2" '
		(.ms[$event] - .ms.setup) as $ms | .guest_kernel_instructions[$event] as $count |
			$count == null or ($count > 1000 and $count - 200 * $ms <= $most)' || {
		tail -n 1 "$ERR"
		return 1
	}
}

@test "from a template an app is executed within 300,000 guest kernel instructions" {
	pod '.apps = [app("quick"; ["say", "first output"])]'
	# The first run of a build makes the template.
	run_pod --memory=128M
	run_pod --timing=json --memory=128M
	expect_status 0
	tail -n 1 "$ERR" | jq --exit-status '.template != null and (.template_built | not) and .ms.to_init == null'
	at_most to_first_app_exec 300000
}

@test "a warm app speaks within 80,000 guest kernel instructions" {
	pod '.apps = [app("quick"; ["say", "first output"])]'
	run_pod --warm --memory=128M
	run_pod --warm --timing=json --memory=128M
	expect_status 0
	tail -n 1 "$ERR" | jq --exit-status '.warm and (.template_built | not)'
	at_most to_first_output 80000
}

@test "a machine has the vCPUs and the memory that the isolators of its apps add up to" {
	pod '.apps = [app("one"; ["cpus"]) | .app.isolators = [
			{name: "resource/cpu", value: {limit: "1500m"}},
			{name: "resource/memory", value: {limit: "100Mi"}}]]'
	run_pod --timing=json
	expect_status 0
	expect_line "cpus 2"
	tail -n 1 "$ERR" | jq --exit-status '.vcpus == 2 and .memory_mib == 164'
}

@test "a machine with 8 vCPUs brings up all of them" {
	pod '.apps = [app("many"; ["cpus"])]'
	run_pod --cpus=8 --memory=256M
	expect_status 0
	expect_line "cpus 8"
}
