#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What only a virtual machine has: its size, and the count of its kernel's instructions.
# shellcheck disable=SC2016,SC2153 # the variables are jq's

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
	# The bar for guest-init, where the kernel's instructions can be counted: 14 M, less the guest's timer ticks,
	# which a busy host, slow to emulate, makes more of: 42,000 a second of boots in 10 s and in 31 s.
	tail -n 1 "$ERR" | jq --exit-status '
		.ms.to_init as $ms | .guest_kernel_instructions.to_init as $count | $count == null or
			($count > 100000 and $count - 42 * $ms <= 14000000)' || {
		tail -n 1 "$ERR"
		return 1
	}
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

# count_least EVENT OPTION...: the least of five runs of $POD, printed; 0 where instructions are not counted. Ticks, and
# kernel threads that wake up by time, only ever add to what the way there takes, and more on a busy host.
count_least()
{
	local event=$1 counts=() _
	shift
	for _ in 1 2 3 4 5; do
		run_pod --timing=json --memory=128M --cpus=1 "$@"
		# (In a substitution nothing ends by itself.)
		expect_status 0 || return 1
		tail -n 1 "$ERR" | jq --exit-status '.template != null and (.template_built | not)' >/dev/null || return 1
		counts+=("$(tail -n 1 "$ERR" | jq ".guest_kernel_instructions.$event // 0")")
	done
	printf '%s\n' "${counts[@]}" | sort --numeric-sort | head -n 1
}

@test "a warm app speaks within 65,000 guest kernel instructions, a dynamically linked shell within 200,000" {
	pod '.apps = [app("quick"; ["say", "first output"])]'
	run_pod --warm --memory=128M --cpus=1
	count=$(count_least to_first_output --warm)
	echo "probe: $count"
	[ "$count" -le 65000 ]
	tail -n 1 "$ERR" | jq --exit-status '.warm'

	mkdir -p "$BATS_TEST_TMPDIR/image/rootfs/bin"
	for file in "$(type -P bash)" $(ldd "$(type -P bash)" | grep -o '/[^ ]*'); do
		mkdir -p "$BATS_TEST_TMPDIR/image/rootfs${file%/*}"
		cp --dereference "$file" "$BATS_TEST_TMPDIR/image/rootfs$file"
	done
	image_manifest example.com/bash >"$BATS_TEST_TMPDIR/image/manifest"
	tar --create --file "$BATS_TEST_TMPDIR/bash.aci" --directory "$BATS_TEST_TMPDIR/image" manifest rootfs
	appc_vm image import "$BATS_TEST_TMPDIR/bash.aci"
	pod ".apps = [app(\"shell\"; []) | .image.name = \"example.com/bash\" |
		.app.exec = [\"$(type -P bash)\", \"-c\", \"echo hello\"]]"
	run_pod --warm --memory=128M --cpus=1
	count=$(count_least to_first_output --warm)
	expect_line hello
	echo "bash: $count"
	[ "$count" -le 200000 ]
}

# count_entered TIMES: guest kernel instructions of a pod that was entered so often, printed.
count_entered()
{
	local uuid i
	rm -f "$BATS_TEST_TMPDIR/uuid"
	start_pod --timing=json --memory=128M --cpus=1 "--uuid-file-save=$BATS_TEST_TMPDIR/uuid"
	eventually "the pod has a UUID" test -s "$BATS_TEST_TMPDIR/uuid" || return 1
	uuid=$(<"$BATS_TEST_TMPDIR/uuid")
	appc_vm status --wait-ready "$uuid" >/dev/null || return 1
	for ((i = 0; i < $1; i++)); do
		[ "$(appc_vm enter "$uuid" /bin/probe say hello)" = hello ] || return 1
	done
	appc_vm stop "$uuid" >/dev/null || return 1
	finish_pod >/dev/null
	tail -n 1 "$ERR" | jq '.guest_kernel_instructions.total // 0'
}

@test "a program speaks when it is entered within 350,000 guest kernel instructions more than as an app" {
	pod '.apps = [app("quick"; ["say", "hello"])]'
	run_pod --memory=128M --cpus=1
	as_app=$(count_least to_first_output)
	[ "$as_app" -gt 0 ] || skip "this host does not count the instructions of a guest's kernel"
	pod '.apps = [app("host"; ["forever"])]'
	# The first is left out: it finds the program's pages where no one was before. What the others have of ticks counts.
	once=$(count_entered 1)
	often=$(count_entered 5)
	entered=$(((often - once) / 4))
	echo "as an app $as_app, entered $entered"
	[ "$entered" -gt 1000 ]
	[ "$entered" -le $((as_app + 350000)) ]
}

@test "a VMM has at most 3 MiB beside the RAM of its guest" {
	pod '.apps = [app("quick"; ["say", "first output"])]'
	for option in "" --warm; do
		# The first run of a kind makes its template.
		run_pod ${option:+"$option"} --memory=128M --cpus=1
		run_pod ${option:+"$option"} --memory=128M --cpus=1 --timing=json
		expect_status 0
		tail -n 1 "$ERR" | jq --exit-status '.template != null and .vmm_rss_kib > 0 and .vmm_rss_kib <= 3072'
	done
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

@test "who listens for events of devices hears them, and where nobody does they are counted" {
	begin_ready '.apps = [app("one"; ["forever"])]'
	OUT=$BATS_TEST_TMPDIR/heard
	appc_vm ssh "$UUID" 'before=$(cat /sys/kernel/uevent_seqnum); echo change >/sys/class/mem/null/uevent
		echo $(($(cat /sys/kernel/uevent_seqnum) - before))
		/apps/one/rootfs/bin/probe uevent /sys/class/mem/null/uevent' </dev/null 3>&- >"$OUT"
	expect_line 1
	[ "$(grep -c '^uevent: change@/devices/virtual/mem/null$' "$OUT")" -eq 2 ]
	appc_vm stop --force "$UUID"
	finish_pod
}
