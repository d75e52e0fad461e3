#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Templates: how they are made, used, checked and removed. A boot takes long where the guest kernel is
# emulated, so the tests share one directory of templates, and make what they need if it is not there.
# shellcheck disable=SC2016,SC2031 # the variables are jq's; lib.bash sets status

load lib

setup_file()
{
	# Not those of the other suites: here they are damaged and removed.
	export APPC_VM_TEMPLATES=$BATS_FILE_TMPDIR/templates
	[ ! -c /dev/kvm ] || data_directory
}

setup()
{
	needs_kvm
}

# timing FILE FILTER: asks the JSON object that run --timing=json ended its standard error with.
timing()
{
	tail -n 1 "$1" | jq --exit-status "$2"
}

template_count()
{
	appc_vm template list --format=json | jq length
}

# A machine is on its way, or it was so fast that the template is there already.
builder_began()
{
	compgen -G "$APPC_VM_TEMPLATES/.tmp-*/memory" >/dev/null || [ "$(template_count)" -gt 0 ]
}

# Stops the machine of a builder, its only child, once it has /dev/kvm: then it dies with its parent.
stop_machine()
{
	local machine fds
	machine=$(cat "/proc/$1/task/$1/children" 2>/dev/null) || return
	machine=${machine% }
	[ -n "$machine" ] || return
	fds=$(find "/proc/$machine/fd" -lname '*kvm-vcpu*' 2>/dev/null)
	[ -n "$fds" ] && kill -STOP "$machine"
}

leftovers()
{
	find "$APPC_VM_TEMPLATES" -mindepth 1 -maxdepth 1 \( -name '.*' -o -name '*.lock' \)
}

@test "wrong use of the template commands is explained" {
	for words in "rm" "rm --all aaaa" "build --cpus=99" "build --memory=lots" "build argument" "nothing"; do
		# shellcheck disable=SC2086 # the words are several
		run appc_vm template $words
		echo "$words: $output"
		[ "$status" -eq 254 ]
		[[ $output == *--help* ]]
	done
	run appc_vm template rm 0123abcd
	[ "$status" -eq 254 ]
	[[ $output == *'there is no template "0123abcd"'* ]]
	mkdir -m 0777 "$BATS_TEST_TMPDIR/open"
	APPC_VM_TEMPLATES=$BATS_TEST_TMPDIR/open run appc_vm template list
	[ "$status" -eq 254 ]
	[[ $output == *"can be written by others"* ]]
}

@test "a template is built, listed and verified, and a pod starts from it" {
	key=$(appc_vm template build)
	[[ $key =~ ^[0-9a-f]{64}$ ]]
	# A second time it is just there.
	[ "$(appc_vm template build)" = "$key" ]
	appc_vm template list --format=json | jq --exit-status --arg key "$key" 'length == 1 and (.[0] |
		.key == $key and .vcpus == 1 and .memory > 0 and .kind == "plain" and
		.size > 1048576 and .size < .memory and .created_at > 1700000000)'
	appc_vm template list | grep -q "^${key:0:12}	1	.*plain"
	appc_vm template verify | grep -q "^${key:0:12}	good"

	pod '.apps = [app("hello"; ["say", "from a template"])]'
	run_pod --timing=json
	expect_status 0
	expect_line "from a template"
	timing "$ERR" '.template == "'"$key"'" and .template_built == false'
	# It was not changed by being used.
	appc_vm template verify "${key:0:8}"
}

@test "a template is not for a machine of another size" {
	key=$(appc_vm template build)
	pod '.apps = [app("hello"; ["say", "booted"])]'
	run_pod --timing=json --no-template --memory=192M
	expect_status 0
	timing "$ERR" '.template == null'
	[ "$(template_count)" -eq 1 ]
	[ "$(appc_vm template list --full --no-legend | cut -f 1)" = "$key" ]
}

@test "a damaged template is found by verify, and replaced by the run that meets it" {
	key=$(appc_vm template build)
	state=$APPC_VM_TEMPLATES/$key/state
	size=$(stat -c %s "$state")
	printf '\x5a\xa5' | dd of="$state" bs=1 seek=$((size / 2)) conv=notrunc status=none
	run appc_vm template verify
	[ "$status" -eq 254 ]
	[[ $output == *"template ${key:0:12} is damaged"* ]]

	pod '.apps = [app("hello"; ["say", "in spite of it"])]'
	run_pod --timing=json
	expect_status 0
	expect_line "in spite of it"
	expect_error "template ${key:0:12} is damaged"
	timing "$ERR" '.template == "'"$key"'" and .template_built'
	appc_vm template verify
	[ -z "$(leftovers)" ]
}

@test "a builder that is stopped or killed leaves no template, and of two runs that need one, one builds it" {
	appc_vm template rm --all
	[ "$(template_count)" -eq 0 ]

	# Asked to end, it cleans up behind itself. The machine stands still, so that it cannot be faster.
	"$APPC_VM" "--dir=$DATA" template build >/dev/null 2>&1 3>&- &
	RUN=$!
	eventually "the builder has begun" stop_machine "$RUN"
	kill -TERM "$RUN"
	finish_pod
	[ "$status" -eq 143 ]
	[ -z "$(leftovers)" ]

	# Killed, it cannot; the machine dies with it, and gc removes the files.
	"$APPC_VM" "--dir=$DATA" template build >/dev/null 2>&1 3>&- &
	RUN=$!
	eventually "the builder has begun" stop_machine "$RUN"
	kill -KILL "$RUN"
	finish_pod
	[ "$status" -eq 137 ]
	eventually "the machine is gone" nothing_left
	[ -n "$(leftovers)" ]
	[ "$(template_count)" -eq 0 ]
	appc_vm gc
	[ -z "$(leftovers)" ]

	# Two at once. On a fast host the second may come late; even then the template is built once.
	pod '.apps = [app("hello"; ["say", "hello"])]'
	start_pod --debug --timing=json
	eventually "the builder has begun" builder_began
	other=$RUN
	mv "$ERR" "$ERR.other"
	run_pod --debug --timing=json
	expect_status 0
	RUN=$other
	finish_pod
	expect_status 0
	cat "$ERR.other"
	[ "$(timing "$ERR" .template)" = "$(timing "$ERR.other" .template)" ]
	[ "$(cat "$ERR" "$ERR.other" | grep -c "built template ")" -eq 1 ]
	[ "$(template_count)" -eq 1 ]
	[ -z "$(leftovers)" ]
}

@test "gc keeps templates within the bounds it is given, and rm removes them by their first digits" {
	key=$(appc_vm template build)
	appc_vm gc --templates-max=1 --templates-max-size=1G
	[ "$(template_count)" -eq 1 ]
	run appc_vm gc --templates-max=some
	[ "$status" -eq 254 ]
	cp -a "$APPC_VM_TEMPLATES/$key" "$BATS_TEST_TMPDIR/kept"
	appc_vm template rm "${key:0:6}"
	[ "$(template_count)" -eq 0 ]
	# A copy counts as damaged, but it is one more to collect.
	cp -a "$BATS_TEST_TMPDIR/kept" "$APPC_VM_TEMPLATES/$key"
	[ "$(template_count)" -eq 1 ]
	appc_vm gc --templates-max-size=1M
	[ "$(template_count)" -eq 0 ]
}
