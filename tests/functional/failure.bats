#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Pods that fail as a whole: memory, kernel, init. Each ends by itself, with a message that says what
# happened; the limit of run_pod is not how they end.
# shellcheck disable=SC2016,SC2034 # the variables are jq's; lib.bash reads LIMIT

load lib

setup_file()
{
	[ ! -c /dev/kvm ] || data_directory
}

setup()
{
	needs_kvm
}

# One over its own isolator: app.bats. In a container: world.bats.
@test "an app without an isolator, over that of its pod, is killed: 137, and the message says memory" {
	pod '.apps = [app("greedy"; ["say", "before", "hog"])] |
		.isolators = [{name: "resource/memory", value: {limit: "16Mi"}}]'
	run_pod
	expect_status 137
	expect_line before
	expect_error 'greedy.*memory|memory.*greedy'
}

@test "an app without an isolator that takes all of the pod's memory ends with 137" {
	pod '.apps = [app("greedy"; ["say", "before", "hog"])]'
	run_pod --memory=96M
	expect_status 137
	expect_line before
}

@test "a guest kernel that panics ends the pod with 254, and the message says so" {
	pod '.apps = [app("greedy"; ["say", "before", "hog"]) |
			.app.isolators = [{name: "resource/memory", value: {limit: "16Mi"}}]] |
		.isolators = [{name: "os/unix/sysctl", value: {"vm.panic_on_oom": "2"}}]'
	run_pod
	expect_status 254
	expect_line before
	expect_error '[Pp]anic'
	run appc_vm list
	[[ $output == *exited* && $output != *running* ]]
}

@test "a pod whose init is killed ends with 254, and the message says so" {
	pod '.apps = [app("murderer"; ["say", "before", "clocks-monotonic", "1000", "crash-init"]) |
		.app.isolators = [{name: "os/linux/capabilities-retain-set", value: {set: ["CAP_SYS_PTRACE"]}},
			{name: "os/linux/seccomp-retain-set", value: {set: ["@appc.io/all"]}}]]'
	run_pod
	expect_status 254
	expect_line before
	expect_error '[Ii]nit'
}
