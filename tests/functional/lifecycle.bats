#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A pod's life from outside: list, status, stop, rm, gc, export; what SIGKILL and damage leave; and the
# commands that only tell: version, config, completion. Containers suffice; pod.bats has machines.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # the variables are jq's and bats'

load lib

setup_file()
{
	data_directory
}

setup()
{
	UUID_FILE=$BATS_TEST_TMPDIR/uuid
}

# ended FILTER: runs a pod to its end. Sets UUID.
ended()
{
	pod "$1"
	run_pod "--uuid-file-save=$UUID_FILE"
	UUID=$(<"$UUID_FILE")
}

LASTING='.apps = [app("lasting"; ["until-stopped", "exit", "5"])]'

# ---- telling

@test "list and status tell of a running pod what rkt tells" {
	begin_ready '.apps = [app("one"; ["forever"]) | .mounts = [{volume: "v", path: "/v"}],
			app("two"; ["forever"])] |
		.volumes = [{name: "v", kind: "host", source: $host, readOnly: true}] |
		.userAnnotations = {note: "x"} | .userLabels = {tier: "test"}'
	appc_vm list --format=json | jq --exit-status --arg uuid "$UUID" --arg host "$BATS_TEST_TMPDIR/host" '
		.[] | select(.name == $uuid) |
		.state == "running" and .app_names == ["one", "two"] and .networks == [] and
		(.created_at | . > 1700000000 and . < 17000000000) and .started_at >= .created_at and
		.user_annotations == {note: "x"} and .user_labels == {tier: "test"} and
		(.apps | length) == 2 and (.apps[0] |
			.name == "one" and .state == "running" and .created_at > 1700000000000000000 and
			.started_at >= .created_at and (has("finished_at") | not) and (has("exit_code") | not) and
			(.image_id | startswith("sha512-")) and
			.mounts == [{name: "v", container_path: "/v", host_path: $host, read_only: true}])'
	[ "$(appc_vm list --format=json | wc -l)" -eq 1 ]
	[ "$(appc_vm list --format=json-pretty | wc -l)" -gt 20 ]
	run appc_vm list --full
	[[ ${lines[0]} == UUID*APP*"IMAGE NAME"*"IMAGE ID"*STATE*CREATED*STARTED*NETWORKS ]]
	grep -E "^$UUID.*one.*example.com/probe.*sha512-[0-9a-f]{12}[^0-9a-f].*running" <<<"$output"
	[[ $(appc_vm list --no-legend) != UUID* ]]
	run appc_vm list --format=yaml
	[ "$status" -eq 254 ]

	run appc_vm status "${UUID:0:9}"
	[ "$status" -eq 0 ]
	[[ $output == state=running$'\n'created=20*$'\n'started=20*$'\n'networks=$'\n'pid=*$'\n'exited=false* ]]
	[[ $output == *pid=$RUN* ]]
	[ "$(appc_vm status --format=json "$UUID" | jq --raw-output .name)" = "$UUID" ]
	appc_vm stop --force "$UUID"
	finish_pod
}

@test "commands that need a UUID say what is wrong with it" {
	for command in status stop rm; do
		run appc_vm "$command" 12345678-none
		[ "$status" -eq 254 ]
		[[ $output == *'no matches found for "12345678-none"'* ]]
		run appc_vm "$command" ""
		[ "$status" -eq 254 ]
		[[ $output == *"UUID cannot be empty"* ]]
		run appc_vm "$command"
		[ "$status" -eq 254 ]
		run appc_vm "$command" --uuid-file=/nonexistent/uuid
		[ "$status" -eq 254 ]
		[[ $output == *--uuid-file=/nonexistent/uuid* ]]
		printf '0f746094-3438-42bc-ab37-3cf85f132e60' >"$UUID_FILE"
		run appc_vm "$command" "--uuid-file=$UUID_FILE"
		[ "$status" -eq 254 ]
		[[ $output == *'no matches found for "0f746094-3438-42bc-ab37-3cf85f132e60"'* ]]
		run appc_vm "$command" "--uuid-file=$UUID_FILE" 0f746094
		[ "$status" -eq 254 ]
	done
}

# ---- waiting and stopping

@test "stop ends several pods; status --wait returns when they have ended" {
	begin_ready "$LASTING"
	local first=$UUID first_run=$RUN
	UUID_FILE=$UUID_FILE.2
	begin_ready "$LASTING"
	run appc_vm stop "$first" 12345678-none "$UUID"
	[ "$status" -eq 254 ]
	[[ $output == *"$first"* && $output == *"$UUID"* && $output == *"no matches found"* ]]
	run appc_vm status --wait "$first"
	[ "$status" -eq 0 ]
	[[ $output == state=exited*exited=true*app-lasting=5* ]]
	run appc_vm status --wait=1m "--uuid-file=$UUID_FILE"
	[[ $output == state=exited* ]]
	status=0
	wait "$first_run" || status=$?
	expect_status 5
	finish_pod
	expect_status 5
	run appc_vm stop "$UUID"
	[ "$status" -eq 254 ]
	[[ $output == *"pod \"$UUID\" is not running"* ]]
}

@test "a service manager is told when a pod is ready and when it ends" {
	local manager=$BATS_TEST_TMPDIR/manager heard=$BATS_TEST_TMPDIR/heard
	python3 -u - "$manager" >"$heard" 3>&- <<-'END' &
		import socket, sys
		listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		listener.bind(sys.argv[1])
		told = ""
		while "STOPPING" not in told:
		    told = listener.recv(4096).decode()
		    print(told)
	END
	eventually "the manager listens" test -S "$manager"
	export NOTIFY_SOCKET=$manager
	begin_ready "$LASTING"
	eventually "the pod is ready" grep -q READY=1 "$heard"
	[ "$(sed -n 1,3p "$heard")" = "READY=1
MAINPID=$RUN
STATUS=pod $UUID is running" ]
	run ! grep -q STOPPING "$heard"
	appc_vm stop "$UUID"
	eventually "it has ended" grep -q STOPPING=1 "$heard"
	finish_pod
	[ "$(wc -l <"$heard")" -eq 4 ]
}

# The read end of its standard error is ours, who read nothing; what is in it already is as much as a pipe holds.
@test "a pod that is stopped ends, whatever it has to say and whoever does not read it" {
	local errors
	mkfifo "$BATS_TEST_TMPDIR/err"
	exec {errors}<>"$BATS_TEST_TMPDIR/err"
	begin_ready '.apps = [app("one"; ["until-stopped"]) |
		.app.eventHandlers = [{name: "post-stop", exec: ["/bin/probe", "exit", "3"]}]]'
	ERR=/dev/null
	dd if=/dev/zero of="$BATS_TEST_TMPDIR/err" bs=4096 oflag=nonblock 2>"$BATS_TEST_TMPDIR/dd" || true
	grep -q "Resource temporarily unavailable" "$BATS_TEST_TMPDIR/dd"
	appc_vm stop "$UUID"
	finish_pod
	expect_status 0
	exec {errors}>&-
}

@test "stop --force returns when the pod has ended, and run says why" {
	begin_ready '.apps = [app("deaf"; ["forever"])]'
	appc_vm stop --force "--uuid-file=$UUID_FILE"
	run appc_vm status "$UUID"
	[[ $output == state=exited* ]]
	[[ $output == *"reason=the pod was killed on request"* ]]
	finish_pod
	expect_status 254
	expect_error 'killed on request'
}

@test "status --wait gives up after its time, and does not wait when told so" {
	begin_ready "$LASTING"
	run appc_vm status --wait=50ms "$UUID"
	[ "$status" -eq 254 ]
	[[ $output == *"not at its end after 50ms"* ]]
	run appc_vm status --wait=false --wait-ready=true "$UUID"
	[ "$status" -eq 0 ]
	[[ $output == state=running* ]]
	run appc_vm status --wait=soon "$UUID"
	[ "$status" -eq 254 ]
	[[ $output == *soon* ]]
	run appc_vm status --wait=-5s "$UUID"
	[ "$status" -eq 254 ]
	appc_vm stop "$UUID"
	finish_pod
}

@test "status --wait-ready fails for a pod whose app could not be executed" {
	ended '.apps = [app("missing"; []) | .app.exec = ["/bin/no-such-program"]]'
	expect_status 203
	run appc_vm status --wait-ready "$UUID"
	[ "$status" -eq 254 ]
	[[ $output == *"never ready"* ]]
	run appc_vm status --wait "$UUID"
	[ "$status" -eq 0 ]
	[[ $output == *app-missing=203* ]]
}

@test "who waits or stops may be killed: the pod goes on" {
	begin_ready "$LASTING"
	appc_vm status --wait "$UUID" >/dev/null 3>&- &
	local waiter=$!
	kill -KILL "$waiter"
	wait "$waiter" || true
	[[ $(appc_vm status "$UUID") == state=running* ]]
	appc_vm stop "$UUID"
	finish_pod
	expect_status 5
}

# ---- SIGKILL

@test "a pod whose process is killed with SIGKILL is told truthfully, and cannot be stopped" {
	begin_ready "$LASTING"
	kill -KILL "$RUN"
	run appc_vm status --wait "$UUID"
	RUN=
	[ "$status" -eq 0 ]
	[[ $output == state=exited* && $output == *"reason=killed"* && $output == *app-lasting=exited* ]]
	[[ $output != *exit_code=* ]]
	for force in --force=false --force; do
		run appc_vm stop "$force" "$UUID"
		[ "$status" -eq 254 ]
		[[ $output == *"is not running"* ]]
	done
	appc_vm list --format=json | jq --exit-status --arg uuid "$UUID" '
		.[] | select(.name == $uuid) | .state == "exited" and .apps[0].state == "exited" and
			(.apps[0] | has("exit_code") | not)'
	appc_vm rm "$UUID"
}

@test "stop --force kills a process that does not answer, and says so" {
	begin_ready "$LASTING"
	kill -STOP "$RUN"
	appc_vm stop --force "$UUID" 2>"$BATS_TEST_TMPDIR/stop"
	grep -E "warning: pod $UUID: the process that runs it \($RUN\) did not end it within 5 s, and was killed" \
		"$BATS_TEST_TMPDIR/stop"
	finish_pod
	expect_status 137
	[[ $(appc_vm status "$UUID") == state=exited* ]]
}

@test "run killed at any instant leaves a state that list knows, and that gc removes" {
	local delay uuid
	for delay in 0.00 0.01 0.02 0.03 0.05 0.07 0.09 0.12 0.15 0.2 0.3; do
		pod "$LASTING"
		start_pod
		# The instant is what is tested: wherever it falls, what follows must hold.
		sleep "$delay"
		kill -KILL "$RUN"
		wait "$RUN" || true
		eventually "nothing of the pod is left" nothing_left
		RUN=
		run appc_vm list --format=json
		[ "$status" -eq 0 ]
		jq --exit-status 'map(.state) - ["exited", "aborted prepare", "garbage", "exited garbage"] == []' \
			<<<"$output" || { echo "$output"; return 1; }
	done
	# An embryo could be about to be locked; only age tells.
	find "$DATA/pods/embryo" -mindepth 1 -maxdepth 1 -exec touch -d '1 hour ago' {} +
	appc_vm gc --grace-period=0s --expire-prepared=0
	[ "$(appc_vm list --format=json)" = "[]" ]
	[ -z "$(find "$DATA/pods" -mindepth 2 -print)" ]
}

# ---- damage

@test "damaged pods are listed as far as they can be read, beside whole ones, and removed" {
	ended '.apps = [app("whole"; [])]'
	local whole=$UUID file
	for file in pod run.json apps/damaged.json end.json; do
		ended '.apps = [app("damaged"; [])]'
		head -c 20 /dev/urandom >"$DATA/pods/run/$UUID/$file"
		run --separate-stderr appc_vm list --format=json
		[ "$status" -eq 0 ]
		[[ $stderr == *"$UUID"* ]]
		jq --exit-status --arg whole "$whole" --arg uuid "$UUID" '
			(.[] | select(.name == $whole) | .app_names == ["whole"] and (has("errors") | not)),
			(.[] | select(.name == $uuid) | .state == "exited" and (.errors | length) == 1)' <<<"$output"
		run appc_vm status "$UUID"
		[ "$status" -eq 0 ]
		[[ $output == *state=exited* ]]
		appc_vm rm "$UUID"
	done
	mkdir "$DATA/pods/run/11111111-2222-4333-8444-555555555555"
	run appc_vm list
	[ "$status" -eq 0 ]
	[[ $output == *11111111*exited* && $output == *"pod manifest: it is missing"* ]]
	appc_vm rm 11111111 "$whole"
	# A file in the place of a pod hides nothing, and does not stop gc.
	touch "$DATA/pods/run/22222222-2222-4333-8444-555555555555"
	run appc_vm list
	[ "$status" -eq 0 ]
	[[ $output == *"22222222-2222-4333-8444-555555555555: Not a directory"* ]]
	appc_vm gc
	rm "$DATA/pods/run/22222222-2222-4333-8444-555555555555"
}

# ---- removal

@test "rm removes pods that have ended, by UUID file too, and leaves one that runs" {
	ended '.apps = [app("short"; [])]'
	local first=$UUID
	run appc_vm rm "--uuid-file=$UUID_FILE"
	[ "$status" -eq 0 ]
	[ "$output" = "$first" ]
	ended '.apps = [app("short"; [])]'
	first=$UUID
	UUID_FILE=$UUID_FILE.2
	begin_ready "$LASTING"
	run appc_vm rm "$UUID" "$first"
	[ "$status" -eq 254 ]
	[[ $output == *"pod \"$UUID\" is currently running"* ]]
	[[ $(appc_vm list --full) != *"$first"* ]]
	appc_vm stop "$UUID"
	finish_pod
}

@test "gc marks first, and removes when the grace is over" {
	ended '.apps = [app("short"; ["exit", "3"])]'
	run appc_vm gc --mark-only --grace-period=0
	[ "$status" -eq 0 ]
	[[ $output == *"moving pod \"$UUID\" to garbage"* ]]
	run appc_vm status "$UUID"
	[[ $output == "state=exited garbage"*exited=true*app-short=3* ]]
	run appc_vm gc
	[ "$status" -eq 0 ]
	[[ $output == *"pod \"$UUID\" not removed: still within grace period (30m0s)"* ]]
	touch -d '31 minutes ago' "$DATA/pods/exited-garbage/$UUID"
	run appc_vm gc
	[[ $output == *"Garbage collecting pod \"$UUID\""* ]]
	[[ $(appc_vm list --full) != *"$UUID"* ]]
	run appc_vm gc --grace-period=soon
	[ "$status" -eq 254 ]
	[[ $output == *--grace-period*soon* ]]
}

@test "gc keeps the trees of pods that are garbage but not removed" {
	ended '.apps = [app("short"; [])]'
	appc_vm gc --mark-only
	local tree
	tree=$(head -n 1 "$DATA/pods/exited-garbage/$UUID/trees")
	appc_vm gc --grace-period=1h
	[ -d "$DATA/trees/$tree/rootfs" ]
}

# ---- export

@test "export makes an image of what an app left; deletions and renames are in it" {
	local work=$BATS_TEST_TMPDIR/image out=$BATS_TEST_TMPDIR/out.aci
	mkdir -p "$work"/rootfs/{bin,etc,lower/sub}
	cp "$PROBE" "$work/rootfs/bin/probe"
	echo gone >"$work/rootfs/gone"
	echo keep >"$work/rootfs/keep"
	echo old >"$work/rootfs/lower/sub/old"
	image_manifest example.com/exported '.dependencies = [{imageName: "example.com/probe"}] |
		.pathWhitelist = ["/bin", "/bin/probe", "/etc", "/gone", "/keep", "/lower", "/lower/sub", "/lower/sub/old"]' \
		>"$work/manifest"
	tar --create --file "$work.aci" --directory "$work" manifest rootfs
	appc_vm image import "$work.aci"
	ended '.apps = [app("maker"; ["remove", "/gone", "remove", "/lower/sub", "directory", "/lower/sub",
		"write", "/lower/sub/new", "new", "move", "/lower", "/moved", "write", "/keep", "changed",
		"write", "/fresh", "fresh", "link", "/fresh", "/linked"]) | .image.name = "example.com/exported"]'
	expect_status 0
	run ! grep -v ': ok$' "$OUT"

	appc_vm export "$UUID" "$out"
	run appc_vm export "$UUID" "$out"
	[ "$status" -eq 254 ]
	[[ $output == *"$out: target file exists (try --overwrite)"* ]]
	cp "$out" "$out.first"
	appc_vm export --app=maker --overwrite "$UUID" "$out"
	cmp "$out" "$out.first"
	[ "$(find "$BATS_TEST_TMPDIR" -name '.appc-vm-export-*' | wc -l)" -eq 0 ]

	tar --list --file "$out" >"$BATS_TEST_TMPDIR/names" 2>/dev/null
	[ "$(head -n 1 "$BATS_TEST_TMPDIR/names")" = manifest ]
	grep -qx rootfs/moved/sub/new "$BATS_TEST_TMPDIR/names"
	run ! grep -E 'gone|lower|old|etc/hosts' "$BATS_TEST_TMPDIR/names"
	tar --extract --to-stdout --file "$out" manifest | jq --exit-status '
		.name == "example.com/exported" and .app != null and
		(has("dependencies") or has("pathWhitelist") | not)'

	# The image may be gone meanwhile: the pod knows what it needs.
	rm -r "$DATA/images/sha512-$(sha512sum <"$work.aci" | cut -d ' ' -f 1)"
	appc_vm export --overwrite "$UUID" "$out"
	tar --extract --to-stdout --file "$out" manifest | jq --exit-status '.name == "example.com/exported" and
		.labels == [{name: "os", value: "linux"}, {name: "arch", value: "amd64"}] and .app.exec[1] == "remove"'
	appc_vm image import "$out"
	id=$(sha512sum <"$out" | cut -d ' ' -f 1)
	pod '.apps = [app("user"; ["read", "/keep", "read", "/linked", "read", "/moved/sub/new", "read", "/gone"]) |
		.image = {id: "sha512-'"$id"'"}]'
	run_pod
	expect_status 0
	expect_line 'read /keep: changed' 'read /linked: fresh' 'read /moved/sub/new: new' 'read /gone: ENOENT'
}

@test "export refuses what it cannot do and leaves no file" {
	local out=$BATS_TEST_TMPDIR/out.aci
	begin_ready '.apps = [app("one"; ["until-stopped"]), app("two"; ["until-stopped"])]'
	run appc_vm export --app=one "$UUID" "$out"
	[ "$status" -eq 254 ]
	[[ $output == *"is running. Only exited pods are supported."* ]]
	appc_vm stop "$UUID"
	finish_pod
	run appc_vm export "$UUID" "$out"
	[ "$status" -eq 254 ]
	[[ $output == *--app* ]]
	run appc_vm export --app=three "$UUID" "$out"
	[ "$status" -eq 254 ]
	[[ $output == *three* ]]
	run appc_vm export --app=one "$UUID" "$BATS_TEST_TMPDIR/out.tar"
	[ "$status" -eq 254 ]
	[[ $output == *"extension must be .aci"* ]]
	run appc_vm export --app=one "$UUID" /nonexistent/out.aci
	[ "$status" -eq 254 ]
	[[ $output == *"unable to open target /nonexistent/out.aci"* ]]
	[ -z "$(find "$BATS_TEST_TMPDIR" -name '*.aci' -o -name '.appc-vm-export-*')" ]
	appc_vm export --app=two "$UUID" "$out"
	[ -s "$out" ]
}

# ---- commands that only tell

@test "version names the specification and KVM; config is JSON" {
	run appc_vm version
	[ "$status" -eq 0 ]
	[[ $output == "appc-vm Version: "*$'\n'"appc Version: 0.8.11"$'\n'* ]]
	[[ $output == *"KVM: "* ]]
	appc_vm config | jq --exit-status --arg data "$DATA" '
		.stage0 == [{rktVersion: "v1", rktKind: "paths", data: $data}] and (."appc-vm".version | length) > 0'
	[ "$(appc_vm config --pretty-print=false | wc -l)" -eq 1 ]
}

# complete WORD...: what bash offers for the last word, one a line.
complete_line()
{
	bash --norc -c '
		source <("$1" completion bash)
		shift
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		_appc_vm
		printf "%s\n" "${COMPREPLY[@]}"
	' - "$APPC_VM" "$APPC_VM" "$@"
}

@test "the completion script offers commands, flags, values and pods" {
	appc_vm completion bash | bash -n
	run complete_line sto
	[ "$output" = stop ]
	run complete_line --debug li
	[ "$output" = list ]
	run complete_line stop --for
	[ "$output" = --force ]
	run complete_line list --format = json-
	[ "$output" = json-pretty ]
	run complete_line run --flavour con
	[ "$output" = container ]
	run complete_line image imp
	[ "$output" = import ]
	run complete_line completion ""
	[ "$output" = bash ]
	ended '.apps = [app("short"; [])]'
	run complete_line --dir "$DATA" status "${UUID:0:6}"
	[[ $output == *"$UUID"* ]]
	run complete_line --dir = "$DATA" export "$UUID" "$BATS_TEST_TMPDIR/u"
	[[ $output == *"$UUID_FILE"* ]]
	run appc_vm completion fish
	[ "$status" -eq 254 ]
	[[ $output == *fish* ]]
}

@test "every flag of every command that help shows is completed" {
	local command flag words
	"$APPC_VM" help | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p' >"$BATS_TEST_TMPDIR/commands"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/commands")" -ge 13 ]
	while read -r command; do
		appc_vm "$command" --help | sed -n "s/^  \($command [a-z-]*\) .*/\1/p" \
			>"$BATS_TEST_TMPDIR/subcommands"
		[ -s "$BATS_TEST_TMPDIR/subcommands" ] || echo "$command" >"$BATS_TEST_TMPDIR/subcommands"
		while read -ra words; do
			complete_line "${words[@]}" -- >"$BATS_TEST_TMPDIR/offered"
			appc_vm "${words[@]}" --help | sed -n 's/^  --\([a-z0-9-]*\).*/\1/p' >"$BATS_TEST_TMPDIR/flags"
			[ -s "$BATS_TEST_TMPDIR/flags" ]
			while read -r flag; do
				grep -qE -- "^--$flag=?$" "$BATS_TEST_TMPDIR/offered" || {
					echo "${words[*]} --$flag is not offered"
					return 1
				}
			done <"$BATS_TEST_TMPDIR/flags"
		done <"$BATS_TEST_TMPDIR/subcommands"
	done <"$BATS_TEST_TMPDIR/commands"
}
