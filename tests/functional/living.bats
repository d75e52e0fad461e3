#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Living with pods: what they use, for persons and for Prometheus. Containers and machines run the same tests.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # the variables are jq's and bats'

load lib

setup_file()
{
	data_directory
}

setup()
{
	needs_kvm
	UUID_FILE=$BATS_TEST_TMPDIR/uuid
}

end()
{
	appc_vm stop --force "$UUID"
	finish_pod
}

# The metrics at a socket, by a client of HTTP.
fetch()
{
	python3 - "$1" <<-'END'
		import http.client, socket, sys
		client = http.client.HTTPConnection("localhost", timeout=60)
		client.sock = socket.socket(socket.AF_UNIX)
		client.sock.settimeout(60)
		client.sock.connect(sys.argv[1])
		client.request("GET", "/metrics")
		answer = client.getresponse()
		assert answer.status == 200 and answer.getheader("Content-Type").startswith("text/plain; version=0.0.4")
		sys.stdout.write(answer.read().decode())
	END
}

@test "what a pod uses is shown once, as a table and as JSON, by the host and by the guest" {
	begin '.apps = [app("one"; ["write", "/tmp/file", "text", "forever"]), app("two"; ["forever"])]'
	appc_vm top --once >"$BATS_TEST_TMPDIR/table"
	[ "$(head -n 1 "$BATS_TEST_TMPDIR/table")" = \
		"$(printf 'UUID\tAPP\tFROM\tCPU%%\tCPU\tMEMORY\tLIMIT\tTASKS\tREAD\tWRITTEN\tRECEIVED\tSENT')" ]
	diff <(printf '%s\n' '- host' '- guest' 'one guest' 'two guest') \
		<(tail -n +2 "$BATS_TEST_TMPDIR/table" | cut -f 2,3 --output-delimiter=' ')
	appc_vm top --once --format=json "$UUID" | jq --exit-status --arg uuid "$UUID" --arg flavour "$FLAVOUR" '
		length == 1 and (.[0] | .uuid == $uuid and .flavour == $flavour and .started_at > 1600000000 and
			(.host.cpu_us >= 0) and
			(.guest.apps | map(.app) == ["one", "two"] and all(.running and .resident_bytes > 0 and .cpu_us >= 0)) and
			.guest.apps[0].written_bytes >= 4)'
	if [ "$FLAVOUR" = vm ]; then
		# A machine has controllers of its own, and its VMM a process.
		appc_vm top --once --format=json | jq --exit-status '.[0] |
			.host.resident_bytes > 1000000 and .host.tasks >= 2 and .host.cpu_us > 0 and
			.guest.pod.memory_limit_bytes > 50000000 and .guest.pod.memory_bytes > 0 and
			(.guest.apps | all(.memory_bytes > 0 and .tasks == 1))'
	fi
	end
	[ "$(appc_vm top --once | wc -l)" -eq 1 ]
	fails appc_vm top --once "$UUID" 2>"$ERR"
	expect_error "is not running"
	fails appc_vm top --interval=1us 2>"$ERR"
	expect_error '"1us" is not a duration like "2s", from 100ms to 24h'
}

@test "what a pod uses is watched until its end" {
	begin '.apps = [app("one"; ["forever"])]'
	"$APPC_VM" "--dir=$DATA" status --watch --interval=100ms "$UUID" >"$BATS_TEST_TMPDIR/watched" 3>&- &
	local watcher=$!
	twice() { [ "$(grep -c ^UUID "$BATS_TEST_TMPDIR/watched")" -ge 2 ]; }
	eventually "it is looked at twice" twice
	end
	wait "$watcher"
	# From the second time on the share of a CPU is known.
	[ "$(grep -P '\tone\t' "$BATS_TEST_TMPDIR/watched" | head -n 1 | cut -f 4)" = - ]
	grep -P '\tone\tguest\t[0-9.]+\t' "$BATS_TEST_TMPDIR/watched"
}

@test "a guest that does not answer is told from the host, and holds nobody up" {
	begin '.apps = [app("one"; ["forever"])]'
	local process
	process=$(pgrep --parent "$RUN" | head -n 1)
	kill -STOP "$process"
	appc_vm top --once --format=json >"$BATS_TEST_TMPDIR/usage"
	appc_vm metrics >"$BATS_TEST_TMPDIR/metrics"
	kill -CONT "$process"
	jq --exit-status '.[0] | .guest == null and .host.cpu_us >= 0' "$BATS_TEST_TMPDIR/usage"
	grep -xF "appc_vm_pod_guest_up{uuid=\"$UUID\"} 0" "$BATS_TEST_TMPDIR/metrics"
	# One that stands still is not asked.
	appc_vm pause "$UUID"
	appc_vm top --once --format=json | jq --exit-status '.[0] | .guest == null and .host.cpu_us >= 0'
	appc_vm resume "$UUID"
	appc_vm top --once --format=json | jq --exit-status '.[0].guest.apps[0].running'
	appc_vm events "$UUID" | jq --exit-status --slurp 'map(.event)[-2:] == ["paused", "resumed"]'
	end
}

@test "metrics are printed, and served at a socket that is ours alone" {
	local socket=$BATS_TEST_TMPDIR/metrics.sock
	begin '.apps = [app("one"; ["forever"])]'
	appc_vm metrics >"$BATS_TEST_TMPDIR/metrics"
	grep -xF 'appc_vm_pods 1' "$BATS_TEST_TMPDIR/metrics"
	grep -xF "appc_vm_pod_info{uuid=\"$UUID\",flavour=\"$FLAVOUR\"} 1" "$BATS_TEST_TMPDIR/metrics"
	grep -xF "appc_vm_app_running{uuid=\"$UUID\",app=\"one\"} 1" "$BATS_TEST_TMPDIR/metrics"
	grep -xE "appc_vm_app_cpu_seconds_total\{uuid=\"$UUID\",app=\"one\"\} [0-9]+\.[0-9]{6}" "$BATS_TEST_TMPDIR/metrics"
	# Each family once, with its type.
	[ "$(grep -c '^# TYPE' "$BATS_TEST_TMPDIR/metrics")" -eq "$(grep '^# TYPE' "$BATS_TEST_TMPDIR/metrics" | sort -u | wc -l)" ]
	"$APPC_VM" "--dir=$DATA" metrics "--listen=unix:$socket" 3>&- &
	local server=$!
	eventually "it listens" test -S "$socket"
	eventually "it answers" fetch "$socket" >/dev/null 2>&1
	[ "$(stat --format=%a "$socket")" = 600 ]
	fetch "$socket" | grep -xF 'appc_vm_pods 1'
	# Another can not take its place while it lives.
	fails appc_vm metrics "--listen=unix:$socket" 2>"$ERR"
	expect_error 'cannot listen there'
	end
	fetch "$socket" | grep -xF 'appc_vm_pods 0'
	kill -KILL "$server"
	wait "$server" || true
	# One that has died leaves a socket, and the next takes it.
	"$APPC_VM" "--dir=$DATA" metrics "--listen=unix:$socket" 3>&- &
	server=$!
	eventually "it answers" fetch "$socket" >/dev/null 2>&1
	kill "$server"
	wait "$server"
	[ ! -e "$socket" ]
}

@test "what happens to pods is told, and goes on being told" {
	local from
	from=$(date --utc +%Y-%m-%dT%H:%M:%S.%NZ)
	"$APPC_VM" "--dir=$DATA" events --follow "--since=$from" >"$BATS_TEST_TMPDIR/followed" 3>&- &
	local follower=$!
	pod '.apps = [app("one"; ["exit", "7"])]'
	run_pod "--uuid-file-save=$UUID_FILE"
	expect_status 7
	UUID=$(<"$UUID_FILE")
	appc_vm gc --mark-only
	appc_vm rm "$UUID"
	happened() { [ "$(wc -l <"$BATS_TEST_TMPDIR/followed")" -ge 7 ]; }
	eventually "it was told" happened
	kill "$follower"
	wait "$follower" || true
	jq --exit-status --slurp --arg uuid "$UUID" --arg from "$from" 'map(select(.uuid == $uuid)) |
		map(.event) == ["started", "app-started", "ready", "app-exited", "exited", "garbage", "removed"] and
		(map(.time) | . == sort) and all(.time >= $from) and
		.[3].app == "one" and .[3].exit_code == 7 and .[4].exit_code == 7' "$BATS_TEST_TMPDIR/followed"
	diff <(appc_vm events "--since=$from") "$BATS_TEST_TMPDIR/followed"
	diff <(appc_vm events "--since=$from" "${UUID:0:8}") <(grep -F "$UUID" "$BATS_TEST_TMPDIR/followed")
	[ -z "$(appc_vm events --since=2100-01-01T00:00:00Z)" ]
	fails appc_vm events --since=yesterday 2>"$ERR"
	expect_error '"yesterday" is neither a time like'
	# Killed at once it is not told of by itself, but by who finds it.
	pod '.apps = [app("one"; ["forever"])]'
	start_pod "--uuid-file-save=$UUID_FILE.2"
	eventually "the pod has a UUID" test -s "$UUID_FILE.2"
	UUID=$(<"$UUID_FILE.2")
	appc_vm status --wait-ready "$UUID" >/dev/null
	kill -KILL "$RUN"
	wait "$RUN" || true
	RUN=
	appc_vm status --wait "$UUID" >/dev/null
	appc_vm gc --mark-only
	appc_vm events "$UUID" | jq --exit-status --slurp 'map(.event) == ["started", "app-started", "ready", "garbage"]'
}

# The values of a key of the unit, one a line.
unit_key()
{
	sed -n "s/^$1=//p" "$BATS_TEST_TMPDIR/my-pod.service"
}

@test "a unit of systemd runs a manifest, and says when the apps are ready" {
	# One app says itself when it is ready; who says it before the program can, or says something else, is not heard.
	pod_write "$BATS_TEST_TMPDIR/my pod.json" '.apps = [
		(app("one"; ["notify", "STATUS=READY=1", "say", "50%", "await", "/host/go", "notify", "STATUS=up\nREADY=1",
				"notify", "READY=1", "until-stopped", "say", "over"]) |
			.annotations = [{name: "appc.io/executor/supports-systemd-notify", value: "true"}] |
			.app.environment = [{name: "NOTIFY_SOCKET", value: "/nowhere"}] |
			.app.eventHandlers = [{name: "pre-start", exec: ["/bin/probe", "notify", "READY=1"]}] |
			.mounts = [{volume: "host", path: "/host"}]),
		app("two"; ["notify", "READY=1", "exit", "0"])] | .volumes = [{name: "host", kind: "host", source: $host}]'
	appc_vm generate systemd "$BATS_TEST_TMPDIR/my pod.json" -- "--flavour=$FLAVOUR" >"$BATS_TEST_TMPDIR/my-pod.service"
	[ "$(unit_key Type)" = notify ]
	[ "$(unit_key KillMode)" = mixed ]
	[ "$(unit_key RuntimeDirectory)" = appc-vm-my-pod ]
	if command -v systemd-analyze >/dev/null; then
		systemd-analyze verify --man=no "$BATS_TEST_TMPDIR/my-pod.service"
	fi
	# What the service manager would do. (Of its quoting this needs what a shell has, too.)
	mkdir "$BATS_TEST_TMPDIR/appc-vm-my-pod"
	python3 - "$BATS_TEST_TMPDIR/notify" >"$BATS_TEST_TMPDIR/notified" 3>&- <<-'END' &
		import socket, sys
		listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		listener.bind(sys.argv[1])
		while True:
		    text = listener.recv(4096).decode()
		    print(text, flush=True)
		    if "STOPPING=1" in text:
		        break
	END
	local manager=$! start
	eventually "the manager listens" test -S "$BATS_TEST_TMPDIR/notify"
	start=$(unit_key ExecStart | sed "s|%t|$BATS_TEST_TMPDIR|g; s|%%|%|g")
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	NOTIFY_SOCKET=$BATS_TEST_TMPDIR/notify bash -c "exec $start" >"$OUT" 2>"$ERR" </dev/null 3>&- &
	RUN=$!
	eventually "the app runs" said "50%"
	UUID_FILE=$BATS_TEST_TMPDIR/appc-vm-my-pod/uuid
	fails appc_vm status --wait-ready=1s "--uuid-file=$UUID_FILE" 2>"$BATS_TEST_TMPDIR/err2"
	grep -q 'not ready after 1s' "$BATS_TEST_TMPDIR/err2"
	[ ! -s "$BATS_TEST_TMPDIR/notified" ]
	appc_vm status "--uuid-file=$UUID_FILE" | grep -qx app-one=created
	: >"$BATS_TEST_TMPDIR/host/go"
	appc_vm status --wait-ready "--uuid-file=$UUID_FILE" >/dev/null
	eventually "it says that it is ready" grep -q '^READY=1' "$BATS_TEST_TMPDIR/notified"
	eventually "the app waits" said ready
	kill -TERM "$RUN"
	finish_pod
	expect_status 0
	expect_line 50% over 'notify STATUS=READY=1: ok' 'notify READY=1: ok'
	[ "$(grep -c '^notify READY=1: no socket$' "$OUT")" -eq 2 ]
	wait "$manager"
	bash -c "$(unit_key ExecStopPost | sed "s|^-||; s|%t|$BATS_TEST_TMPDIR|g")"
	fails appc_vm status "--uuid-file=$BATS_TEST_TMPDIR/appc-vm-my-pod/uuid" 2>"$ERR"
	expect_error 'no matches found'
}

@test "a unit of systemd runs a prepared pod, and nothing else" {
	local uuid
	pod '.apps = [app("one"; ["exit", "0"])]'
	uuid=$(appc_vm prepare "$POD")
	appc_vm generate systemd "${uuid:0:8}" >"$BATS_TEST_TMPDIR/my-pod.service"
	[ "$(unit_key ExecStart)" = "$APPC_VM --dir $DATA run-prepared $uuid" ]
	[ -z "$(unit_key Restart)" ]
	run_pod "--uuid-file-save=$UUID_FILE"
	fails appc_vm generate systemd "$(<"$UUID_FILE")" 2>"$ERR"
	expect_error 'is exited: a unit runs one that is prepared, or a manifest'
	fails appc_vm generate systemd /nowhere.json 2>"$ERR"
	expect_error 'no matches found for "/nowhere.json"'
	fails appc_vm generate systemd --name=a/b "$POD" 2>"$ERR"
	expect_error 'letters, digits'
	# The service manager starts it in another directory than this one.
	(cd "$BATS_TEST_TMPDIR" && timeout "$LIMIT" "$APPC_VM" --dir=new/pods generate systemd "$POD" >my-pod.service)
	unit_key ExecStart | grep -qF " --dir $BATS_TEST_TMPDIR/new/pods run "
}
