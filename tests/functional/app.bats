#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# app: a pod whose apps come and go. Containers and machines run the same tests; a machine fewer cycles.
# shellcheck disable=SC2030,SC2031,SC2034,SC2154 # the variables are jq's and bats'

load lib

setup_file()
{
	needs_kvm
	data_directory
	# One pod for most tests: a machine takes its time to start.
	BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR
	sandbox
	export UUID POD_OUT=$OUT POD_ERR=$ERR
}

teardown_file()
{
	[ -n "${UUID:-}" ] || return 0
	appc_vm stop --force "$UUID"
}

# The pod of all tests lives on, without apps; a test may have another.
teardown()
{
	local app
	if [ -z "${BATS_TEST_COMPLETED:-}" ]; then
		echo "---- the pod's standard error"
		tail -n 20 "$POD_ERR"
	fi
	[ -z "${READER:-}" ] || kill -KILL "$READER"
	if [ -n "${OWN:-}" ]; then
		appc_vm stop --force "$OWN" || true
		return
	fi
	for app in $(appc_vm app list --no-legend "$UUID" | cut -f 1); do
		appc_vm app rm "$UUID" "--app=$app"
	done
}

# Starts a pod without apps. Sets UUID and RUN; OUT and ERR name the files of what it says.
sandbox()
{
	OUT=$BATS_TEST_TMPDIR/sandbox.out
	ERR=$BATS_TEST_TMPDIR/sandbox.err
	"$APPC_VM" "--dir=$DATA" app sandbox "--flavour=$FLAVOUR" "--uuid-file-save=$BATS_TEST_TMPDIR/uuid" \
		>"$OUT" 2>"$ERR" </dev/null 3>&- &
	RUN=$!
	eventually "the pod has a UUID" test -s "$BATS_TEST_TMPDIR/uuid"
	UUID=$(<"$BATS_TEST_TMPDIR/uuid")
	appc_vm status --wait-ready "$UUID" >/dev/null
}

# add NAME [FLAG...] -- WORD...: an app that runs the probe with these words.
add()
{
	local name=$1
	shift
	appc_vm app add "$UUID" example.com/probe "--name=$name" --exec=/bin/probe "$@"
}

# image_with NAME FILTER: imports an image of the probe whose manifest the filter changes.
image_with()
{
	local work
	work=$(mktemp -d "$BATS_TEST_TMPDIR/image-XXXXXX")
	mkdir -p "$work/rootfs/bin"
	cp "$PROBE" "$work/rootfs/bin/probe"
	image_manifest "$1" "$2" >"$work/manifest"
	tar -C "$work" -cf "$work.aci" manifest rootfs
	appc_vm image import "$work.aci" >/dev/null
}

# client SECONDS WORD...: a command of app about an app of the pod, by a client that is killed after so long.
client()
{
	local seconds=$1
	shift
	timeout --signal=KILL "$seconds" "$APPC_VM" "--dir=$DATA" app "$1" "$UUID" "--app=$2"
}

# may_fail COMMAND...: sets status; OUT and ERR name the files of what it said.
may_fail()
{
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	status=0
	"$@" >"$OUT" 2>"$ERR" </dev/null 3>&- || status=$?
}

# A member of the app's status.
app_is()
{
	appc_vm app status "$UUID" "--app=$1" --format=json | jq -r "$2"
}

has_state()
{
	[ "$(app_is "$1" .state)" = "$2" ]
}

pod_said()
{
	grep -qxF -- "$1" "$POD_OUT"
}

pod_directory()
{
	echo "$DATA/pods/run/$UUID"
}

@test "an app is added, started, stopped, removed, and its status is kept until then" {
	[ "$(add web --user=alice -- say first until-stopped exit 7)" = web ]
	has_state web created
	[ "$(app_is web '.started_at, .exit_code' | tr '\n' ' ')" = "null null " ]
	appc_vm app start "$UUID" --app=web
	has_state web running
	eventually "it speaks" pod_said first
	# Until then SIGTERM would be its end.
	eventually "it waits" pod_said ready
	appc_vm app stop "$UUID" --app=web
	has_state web exited
	[ "$(app_is web .exit_code)" -eq 7 ]
	appc_vm app list --no-legend "$UUID" | grep -qP '^web\texited\t7\t'
	appc_vm app status "$UUID" --app=web | grep -qx exit_code=7
	# Once more, with what it wrote the first time.
	appc_vm app start "$UUID" --app=web
	has_state web running
	[ "$(app_is web .exit_code)" = null ]
	appc_vm app rm "$UUID" --app=web
	[ -z "$(appc_vm app list --no-legend "$UUID")" ]
	[ "$(appc_vm events "$UUID" | jq --raw-output 'select(.app == "web").event' | xargs)" = \
		"app-added app-started app-exited app-started app-exited app-removed" ]
	may_fail appc_vm app status "$UUID" --app=web
	expect_status 254
	expect_error 'has no app "web"'
}

@test "the debug shell shows the apps that there are, also those that came after it" {
	# shell_sees: the apps whose programs it finds.
	shell_sees()
	{
		# shellcheck disable=SC2016 # the shell's
		appc_vm ssh "$UUID" 'cd /apps && for app in *; do [ ! -x "$app/rootfs/bin/probe" ] || echo "$app"; done
			grep -c " /apps/" /proc/self/mountinfo; echo end' </dev/null 3>&- | xargs
	}
	[ "$(shell_sees)" = "0 end" ]
	add later -- until-stopped
	add other -- exit 0
	appc_vm app start "$UUID" --app=later
	# (A container has mounts there, a machine sees them by its file server.)
	[[ $(shell_sees) == "later other "[0-9]*" end" ]]
	appc_vm ssh "$UUID" 'echo from the shell >/apps/later/rootfs/tmp/file' </dev/null 3>&-
	[ "$(appc_vm enter --app=later "$UUID" /bin/probe read /tmp/file </dev/null)" = "read /tmp/file: from the shell" ]
	appc_vm app rm "$UUID" --app=later
	[[ $(shell_sees) == "other "[0-9]*" end" ]]
	appc_vm app rm "$UUID" --app=other
	[ "$(shell_sees)" = "0 end" ]
}

@test "the end of an app, however it ends, is not the end of the pod" {
	add crash -- crash
	add fail -- exit 3
	add missing -- say x
	add gone --user=nobody-at-all -- say x
	for app in crash fail; do
		appc_vm app start "$UUID" "--app=$app"
	done
	eventually "it has ended" has_state crash exited
	eventually "it has ended" has_state fail exited
	[ "$(app_is crash .exit_code)" -gt 128 ]
	[ "$(app_is fail .exit_code)" -eq 3 ]
	may_fail appc_vm app start "$UUID" --app=gone
	expect_status 254
	expect_error 'app "gone" did not start: .*nobody-at-all'
	[ "$(app_is gone .exit_code)" -eq 203 ]
	# The pod still takes others.
	appc_vm app start "$UUID" --app=missing
	appc_vm status "$UUID" | grep -qx state=running
}

@test "an app has its own root filesystem, volumes, limits and cgroup" {
	mkdir -p "$BATS_TEST_TMPDIR/host"
	echo given >"$BATS_TEST_TMPDIR/host/file"
	add one "--mnt-volume=name=data,kind=host,source=$BATS_TEST_TMPDIR/host,target=/data" \
		--mnt-volume=name=own,kind=empty,target=/own --environment=VAR=1 --memory=48Mi \
		-- write /tmp/mine one read /data/file write /own/x y env VAR env AC_APP_NAME self cgroup forever
	add two "--mnt-volume=name=data,kind=host,source=$BATS_TEST_TMPDIR/host,readOnly=true,target=/data" \
		-- read /tmp/mine write /data/new text self cgroup forever
	appc_vm app start "$UUID" --app=one
	appc_vm app start "$UUID" --app=two
	log_has()
	{
		appc_vm logs --app="$1" "$UUID" | grep -qF -- "$2"
	}
	eventually "one has said all" log_has one ready
	eventually "two has said all" log_has two ready
	log_has one "read /data/file: given"
	log_has one "env VAR: 1"
	log_has one "env AC_APP_NAME: one"
	log_has two "read /tmp/mine: ENOENT"
	log_has two "write /data/new: EROFS"
	appc_vm enter --app=one "$UUID" /bin/probe read /own/x </dev/null | grep -qx "read /own/x: y"
	# What the host changes later is seen.
	echo changed >"$BATS_TEST_TMPDIR/host/file"
	appc_vm enter --app=two "$UUID" /bin/probe read /data/file </dev/null | grep -qx "read /data/file: changed"
	if [ "$FLAVOUR" = vm ]; then
		[ "$(appc_vm logs --app=one "$UUID" | grep "self cgroup")" != "$(appc_vm logs --app=two "$UUID" | grep "self cgroup")" ]
		add greedy --memory=24Mi -- hog
		appc_vm app start "$UUID" --app=greedy
		eventually "it has had too much" has_state greedy exited
		[ "$(app_is greedy .out_of_memory)" = true ]
	fi
	appc_vm app rm "$UUID" --app=one
	[ -e "$BATS_TEST_TMPDIR/host/file" ]
	appc_vm enter --app=two "$UUID" /bin/probe read /data/file </dev/null | grep -qx "read /data/file: changed"
}

@test "an app that says itself when it is ready has started then, and one that ends before never has" {
	mkdir -p "$BATS_TEST_TMPDIR/host"
	add told --annotation=appc.io/executor/supports-systemd-notify=true \
		"--mnt-volume=name=data,kind=host,source=$BATS_TEST_TMPDIR/host,target=/data" \
		-- say begun await /data/go notify READY=1 say over
	appc_vm app start "$UUID" --app=told 3>&- &
	local starter=$!
	has_begun()
	{
		appc_vm logs --app=told "$UUID" | grep -qx begun
	}
	eventually "it runs" has_begun
	has_state told created
	fails process_gone "$starter"
	: >"$BATS_TEST_TMPDIR/host/go"
	wait "$starter"
	eventually "it has ended" has_state told exited
	[ "$(app_is told .exit_code)" -eq 0 ]
	[ "$(app_is told .started_at)" -gt 0 ]

	# Again, by one who is killed, and others who wait with him: what became of it before counts no more.
	rm "$BATS_TEST_TMPDIR/host/go"
	appc_vm app start "$UUID" --app=told 3>&- &
	starter=$!
	has_begun_again()
	{
		[ "$(appc_vm logs --app=told "$UUID" | grep -cx begun)" -eq 2 ]
	}
	eventually "it runs" has_begun_again
	kill -KILL "$starter"
	wait "$starter" || true
	has_state told created
	[ "$(app_is told .exit_code)" = null ]
	may_fail timeout 1 "$APPC_VM" "--dir=$DATA" app start "$UUID" --app=told
	expect_status 124
	: >"$BATS_TEST_TMPDIR/host/go"
	eventually "it has ended" has_state told exited
	[ "$(app_is told .exit_code)" -eq 0 ]

	add silent --annotation=appc.io/executor/supports-systemd-notify=true -- notify READY=0 exit 4
	may_fail appc_vm app start "$UUID" --app=silent
	expect_status 254
	expect_error 'app "silent" did not start: it ended before'
	[ "$(app_is silent .exit_code)" -eq 4 ]
}

followed()
{
	grep -qxF "$1" "$BATS_TEST_TMPDIR/followed"
}

@test "one name again and again is another app each time" {
	local i follower=
	for i in 1 2 3; do
		add again -- read /tmp/left write /tmp/left "$i" read /tmp/left exit "$i"
		if [ -z "$follower" ]; then
			timeout "$LIMIT" "$APPC_VM" "--dir=$DATA" logs -f --app=again "$UUID" \
				>"$BATS_TEST_TMPDIR/followed" 3>&- &
			follower=$!
		fi
		appc_vm app start "$UUID" --app=again
		eventually "it has ended" has_state again exited
		[ "$(app_is again .exit_code)" -eq "$i" ]
		appc_vm logs --app=again "$UUID" >"$BATS_TEST_TMPDIR/log"
		grep -qx "read /tmp/left: ENOENT" "$BATS_TEST_TMPDIR/log"
		grep -qx "read /tmp/left: $i" "$BATS_TEST_TMPDIR/log"
		eventually "who follows has heard of it" followed "read /tmp/left: $i"
		appc_vm app rm "$UUID" --app=again
	done
	kill "$follower"
	wait "$follower" || true
	[ "$(grep -c ENOENT "$BATS_TEST_TMPDIR/followed")" -eq 3 ]
}

@test "what cannot be done says why, and changes nothing" {
	add there -- forever
	may_fail add there -- forever
	expect_status 254
	expect_error "error: multiple apps with name there"
	may_fail appc_vm app add "$UUID" example.com/nothing
	expect_status 254
	may_fail add input --stdin=stream -- forever
	expect_status 254
	expect_error 'app "input": an app that is added to a running pod has no input'
	may_fail add volume --mnt-volume=name=d,kind=host,source=/does/not/exist,target=/d -- forever
	expect_status 254
	expect_error 'source "/does/not/exist"'
	mkdir "$BATS_TEST_TMPDIR/real"
	ln -s real "$BATS_TEST_TMPDIR/link"
	may_fail add volume "--mnt-volume=name=d,kind=host,source=$BATS_TEST_TMPDIR/link,target=/d" -- forever
	expect_status 254
	expect_error "leads through a link, to \"$BATS_TEST_TMPDIR/real\": name that"
	may_fail add long "--working-dir=/$(printf '%05000d' 0)" -- forever
	expect_status 254
	expect_error 'app "long": its user, group, working directory or a mount is longer than a path can be'
	image_with example.com/long-port '.app.ports = [{name: ("a" * 256), protocol: "tcp", port: 80, socketActivated: true}]'
	may_fail appc_vm app add "$UUID" example.com/long-port
	expect_status 254
	expect_error 'app "long-port": socket-activated port "aaaa.*": its name is longer than 255 bytes'
	may_fail appc_vm run "--flavour=$FLAVOUR" example.com/long-port
	expect_status 254
	expect_error 'app "long-port": socket-activated port "aaaa.*": its name is longer than 255 bytes'
	may_fail appc_vm app start "$UUID" --app=nothing
	expect_status 254
	expect_error 'the pod has no app "nothing"'
	may_fail appc_vm app start "$UUID"
	expect_status 254
	expect_error 'needs the name of an app \(--app=NAME\)'
	appc_vm app start "$UUID" --app=there
	may_fail appc_vm app start "$UUID" --app=there
	expect_status 254
	expect_error 'app "there" is running'
	[ "$(appc_vm app list --no-legend "$UUID" | wc -l)" -eq 1 ]
	[ "$(ls "$(pod_directory)/overlay")" = there ]
}

@test "a pod of run says that it is immutable, in one line" {
	local own=$BATS_TEST_TMPDIR/uuid
	pod '.apps = [app("main"; ["forever"])]'
	start_pod "--uuid-file-save=$own"
	eventually "the pod has a UUID" test -s "$own"
	UUID=$(<"$own") OWN=$(<"$own")
	appc_vm status --wait-ready "$UUID" >/dev/null
	may_fail add more -- forever
	expect_status 254
	expect_error 'immutable pod: cannot add application$'
	[ "$(wc -l <"$ERR")" -eq 1 ]
	may_fail appc_vm app stop "$UUID" --app=main
	expect_status 254
	expect_error 'immutable pod: cannot stop application$'
	appc_vm app list --no-legend "$UUID" | grep -qP '^main\trunning\t-\t'
}

@test "several at once, and each comes to its end" {
	local i
	for i in 1 2 3 4 5 6; do
		(
			add "many-$i" -- exit "$i"
			appc_vm app start "$UUID" "--app=many-$i"
		) 3>&- >/dev/null &
	done
	wait
	for i in 1 2 3 4 5 6; do
		eventually "many-$i has ended" has_state "many-$i" exited
		[ "$(app_is "many-$i" .exit_code)" -eq "$i" ]
	done
	for i in 1 2 3 4 5 6; do
		appc_vm app rm "$UUID" "--app=many-$i" 3>&- &
	done
	wait
	[ -z "$(appc_vm app list --no-legend "$UUID")" ]
}

@test "an app that is being stopped keeps its time and its handler, and is removed, whoever asks and is killed" {
	mkdir -p "$BATS_TEST_TMPDIR/host"
	image_with example.com/handled '.app.eventHandlers = [{name: "post-stop", exec: ["/bin/probe", "write", "/data/after", "x"]}]'
	appc_vm app add "$UUID" example.com/handled --exec=/bin/probe \
		"--mnt-volume=name=data,kind=host,source=$BATS_TEST_TMPDIR/host,target=/data" \
		-- until-stopped await /data/go write /data/end x
	appc_vm app start "$UUID" --app=handled
	waits()
	{
		appc_vm logs --app=handled "$UUID" | grep -qx ready
	}
	eventually "it waits" waits
	# Both within the ten seconds that it has.
	fails client 1 stop handled
	fails client 1 rm handled
	has_state handled running
	may_fail appc_vm app start "$UUID" --app=handled
	expect_status 254
	expect_error 'app "handled" is being removed'
	: >"$BATS_TEST_TMPDIR/host/go"
	has_gone()
	{
		[ -z "$(appc_vm app list --no-legend "$UUID")" ]
	}
	eventually "it is removed" has_gone
	[ -e "$BATS_TEST_TMPDIR/host/end" ]
	[ -e "$BATS_TEST_TMPDIR/host/after" ]
}

@test "an app is removed while another starts it again and again" {
	local i rounds=10 starter
	[ "$FLAVOUR" = container ] || rounds=2
	starts()
	{
		while [ -n "$(appc_vm app list --no-legend "$UUID")" ]; do
			appc_vm app start "$UUID" --app=both || true
		done
	}
	for i in $(seq "$rounds"); do
		add both -- exit 0
		starts >/dev/null 2>&1 </dev/null 3>&- &
		starter=$!
		appc_vm app start "$UUID" --app=both || true
		appc_vm app rm "$UUID" --app=both
		wait "$starter"
	done
}

@test "an app that is started again loses nothing of what it said before, however slow its reader is" {
	mkfifo "$BATS_TEST_TMPDIR/sandbox.out"
	cat "$BATS_TEST_TMPDIR/sandbox.out" >"$BATS_TEST_TMPDIR/read" 3>&- &
	READER=$!
	sandbox
	OWN=$UUID
	kill -STOP "$READER"
	# More than a pipe and a frame, and less than with the socket of the pod's output.
	add talk -- flood 110
	appc_vm app start "$UUID" --app=talk
	eventually "it has ended" has_state talk exited
	appc_vm app start "$UUID" --app=talk
	kill -CONT "$READER"
	eventually "it has ended" has_state talk exited
	appc_vm stop "$UUID"
	finish_pod
	expect_status 0
	wait "$READER"
	READER=
	[ "$(grep -cE '^[0-9]{63}$' "$BATS_TEST_TMPDIR/read")" -eq $((2 * 110 * 16)) ]
	[ "$(appc_vm logs --app=talk "$UUID" | wc -l)" -eq $((2 * 110 * 16)) ]
	OWN=
	appc_vm rm "$UUID"
	UUID=
}

@test "a client that is killed leaves the app whole, or not there" {
	local i client
	for i in $(seq 20); do
		"$APPC_VM" "--dir=$DATA" app add "$UUID" example.com/probe --name=killed --exec=/bin/probe -- exit 4 \
			>/dev/null 2>&1 </dev/null 3>&- &
		client=$!
		sleep "0.00$((i % 10))$((i / 10))"
		kill -KILL "$client" 2>/dev/null || true
		wait "$client" || true
		# Once more, where it is not there.
		if [ -z "$(appc_vm app list --no-legend "$UUID")" ]; then
			add killed -- exit 4 || [ -n "$(appc_vm app list --no-legend "$UUID")" ]
		fi
		has_state killed created
		if [ "$i" -eq 20 ]; then
			appc_vm app start "$UUID" --app=killed
			eventually "it has ended" has_state killed exited
			[ "$(app_is killed .exit_code)" -eq 4 ]
		fi
		appc_vm app rm "$UUID" --app=killed
	done
	[ -z "$(find "$(pod_directory)/overlay" "$(pod_directory)/apps" "$(pod_directory)/removed" -mindepth 1)" ]
}

# What a pod holds of the host: open files of its processes, mounts, cgroups, files in its directory. The VMM has files
# open for what its guest's kernel keeps in its caches: see guest_files().
pod_holds()
{
	local pid=$1 process
	for process in "$pid" $(pgrep -P "$pid"); do
		[ -d "/proc/$process/fd" ] || continue
		[ "$FLAVOUR" = vm ] && [ "$process" != "$pid" ] ||
			echo "open files: $(find "/proc/$process/fd" -mindepth 1 | wc -l)"
		echo "mounts: $(wc -l <"/proc/$process/mountinfo")"
		echo "children: $(pgrep -P "$process" | wc -l)"
	done
	echo "cgroups: $(find /sys/fs/cgroup -path "*$UUID*" -type d 2>/dev/null | wc -l)"
	(cd "$(pod_directory)" && find . -mindepth 1 | sort)
	cat "$(pod_directory)/trees"
	[ "$FLAVOUR" = container ] || guest_holds
}

# What guest-init has, as an app of a machine sees it.
guest_holds()
{
	sed -n 's/^list: \(.*\),.*/open files of guest-init: \1/p' "$GUEST"
	echo "mounts of guest-init: $(grep -c ' - ' "$GUEST")"
	echo "children of guest-init: $(sed -n 's/^read .*children: //p' "$GUEST" | wc -w)"
}

# The cgroups of the guest's kernel, with those that something keeps that is gone.
guest_cgroups()
{
	awk '$1 == "memory" { print $3; exit }' "$GUEST"
}

guest_look()
{
	appc_vm enter --app=watch "$UUID" /bin/probe read /proc/cgroups read /proc/meminfo read /proc/1/smaps_rollup \
		read /proc/1/mountinfo read /proc/1/task/1/children list /proc/1/fd read /proc/zoneinfo </dev/null >"$GUEST"
}

# The files that the VMM has open for its guest.
guest_files()
{
	find "/proc/$(pgrep -P "$1" | head -n 1)/fd" -mindepth 1 | wc -l
}

# KiB of memory that a process has written to, but for a machine's memory.
own_memory()
{
	awk '/^Size:/ { size = $2 } /^Anonymous:/ && size < 65536 { sum += $2 } END { print sum }' "/proc/$1/smaps"
}

# KiB of a line of a file.
kib()
{
	awk -v name="$1:" '$1 == name { print $2; exit }' "$2"
}

# KiB of free pages that the guest's CPUs keep for themselves, which are not in MemFree: megabytes at times.
kept_by_cpus()
{
	awk '$1 == "count:" { pages += $2 } END { print 4 * pages }' "$1"
}

cycle()
{
	add cycle --memory=32Mi --mnt-volume=name=d,kind=empty,target=/d -- write /d/x y write /tmp/x y until-stopped
	appc_vm app start "$UUID" --app=cycle
	appc_vm app stop "$UUID" --app=cycle
	appc_vm app rm "$UUID" --app=cycle
}

cycles()
{
	local i
	for i in $(seq "$1"); do
		cycle >/dev/null
	done
}

# Sets MEMORY: KiB that the supervisor, the VMM or a container's guest-init, and in a machine guest-init and the kernel
# have, each by its name; and writes what is held otherwise to the file.
take_stock()
{
	local pid=$1 child
	child=$(pgrep -P "$pid" | head -n 1)
	MEMORY=([supervisor]=$(own_memory "$pid") [guest]=$(own_memory "$child"))
	if [ "$FLAVOUR" = vm ]; then
		guest_look
		MEMORY+=([guest-init]=$(kib Anonymous "$GUEST") [slabs]=$(kib SUnreclaim "$GUEST")
			[not-free]=-$(($(kib MemFree "$GUEST") + $(kept_by_cpus "$GUEST"))))
	fi
	pod_holds "$pid" >"$2"
}

@test "cycles of add, start, stop and rm leave the pod as it was" {
	local pid files cgroups name half=${APP_CYCLES:-24}
	# KiB that each may have more after a cycle of the second half.
	local -A MEMORY before growth=([supervisor]=1 [guest]=1 [guest-init]=1 [slabs]=2 [not-free]=16)
	GUEST=$BATS_TEST_TMPDIR/guest
	# The guest's kernel drops its caches after every eighth removal in a pod: here they are counted from the first.
	[ "$FLAVOUR" = container ] || half=${APP_CYCLES:-16}
	sandbox
	OWN=$UUID
	pid=$(appc_vm status "$UUID" | sed -n 's/^pid=//p')
	add watch --caps-retain=CAP_SYS_PTRACE -- say something forever
	appc_vm app start "$UUID" --app=watch
	# What is made once, and what caches take, is not compared: the first half of the others is for that, too.
	cycles 8
	take_stock "$pid" "$BATS_TEST_TMPDIR/first"
	files=$(guest_files "$pid")
	[ "$FLAVOUR" = container ] || cgroups=$(guest_cgroups)
	cycles "$half"
	take_stock "$pid" "$BATS_TEST_TMPDIR/second"
	diff "$BATS_TEST_TMPDIR/first" "$BATS_TEST_TMPDIR/second"
	for name in "${!MEMORY[@]}"; do
		before[$name]=${MEMORY[$name]}
	done
	cycles "$half"
	# A block of 4 MiB that the guest tells its host is free is neither free nor used meanwhile.
	not_grown()
	{
		local grown=
		take_stock "$pid" "$BATS_TEST_TMPDIR/third"
		for name in "${!MEMORY[@]}"; do
			echo "$name: ${before[$name]} KiB, ${MEMORY[$name]} KiB after $half cycles more"
			[ "${MEMORY[$name]}" -le $((before[$name] + half * growth[$name])) ] || grown+=" $name"
		done
		# What is freed a sanitizer keeps.
		[ -n "${SANITIZED:-}" ] || [ -z "$grown" ]
	}
	LIMIT=30 eventually "nothing has grown" not_grown
	diff "$BATS_TEST_TMPDIR/first" "$BATS_TEST_TMPDIR/third"
	echo "the guest's files: $files, $(guest_files "$pid")"
	# The files of an app that had ended just before are kept until the next time.
	[ "$(guest_files "$pid")" -le $((files + 2 * 4)) ]
	# So is the cgroup.
	[ "$FLAVOUR" = container ] || [ "$(guest_cgroups)" -le $((cgroups + 2)) ]
}

# An image from Docker, of this name, whose volume begins with many files.
image_of_many_files()
{
	local work
	work=$(mktemp -d "$BATS_TEST_TMPDIR/image-XXXXXX")
	mkdir -p "$work"/rootfs/{bin,data/many}
	cp "$PROBE" "$work/rootfs/bin/probe"
	(cd "$work/rootfs/data/many" && seq 20000 | xargs touch)
	echo "of the image" >"$work/rootfs/data/file"
	image_manifest "$1" '.annotations = [{name: "appc.io/docker/repository", value: "library/many"}] |
		.app.mountPoints = [{name: "volume-data", path: "/data"}]' >"$work/manifest"
	tar -C "$work" --owner=0 --group=0 --numeric-owner -cf "$work.aci" manifest rootfs
	appc_vm image import "$work.aci" >/dev/null
}

# The child of the pod's supervisor that copies what a volume begins with, standing still. Sets COPIER.
catch_copier()
{
	local child
	COPIER=
	for child in $(pgrep -P "$1"); do
		[ "$child" != "$2" ] || continue
		kill -STOP "$child" && COPIER=$child
	done
	[ -n "$COPIER" ]
}

@test "while an image's files are copied to a volume of an app the pod serves others, and can be stopped" {
	local pid guest client other round
	image_of_many_files example.com/many
	sandbox
	OWN=$UUID
	pid=$(appc_vm status "$UUID" | sed -n 's/^pid=//p')
	guest=$(pgrep -P "$pid" | head -n 1)
	add there -- until-stopped
	for round in killed finished stopped; do
		"$APPC_VM" "--dir=$DATA" app add "$UUID" example.com/many --name=many --exec=/bin/probe -- read /data/file \
			>"$BATS_TEST_TMPDIR/many" 2>&1 </dev/null 3>&- &
		client=$!
		eventually "its files are being copied" catch_copier "$pid" "$guest"
		# It is not there yet, and all else is.
		[ "$(appc_vm app list --no-legend "$UUID" | cut -f 1)" = there ]
		appc_vm status "$UUID" | grep -qx state=running
		if [ "$round" = killed ]; then
			kill -KILL "$COPIER"
			status=0
			wait "$client" || status=$?
			expect_status 254
			grep -q "who copied the volumes' content ended with status 137" "$BATS_TEST_TMPDIR/many"
			# Nothing of it is left, wherever.
			[ -z "$(find "$(pod_directory)/removed" "$(pod_directory)/volumes" -mindepth 1)" ]
			[ "$(ls "$(pod_directory)/overlay")" = there ]
		elif [ "$round" = finished ]; then
			appc_vm app start "$UUID" --app=there
			appc_vm app stop "$UUID" --app=there
			"$APPC_VM" "--dir=$DATA" app add "$UUID" example.com/probe --name=other --exec=/bin/probe -- exit 3 \
				>"$BATS_TEST_TMPDIR/other" 2>&1 </dev/null 3>&- &
			other=$!
			kill -CONT "$COPIER"
			wait "$client"
			wait "$other"
			[ "$(appc_vm app list --no-legend "$UUID" | cut -f 1 | sort | tr '\n' ' ')" = "many other there " ]
			[ "$(find "$(pod_directory)/volumes" -type f | wc -l)" -eq 20001 ]
			appc_vm app start "$UUID" --app=many
			eventually "it has ended" has_state many exited
			appc_vm logs --app=many "$UUID" | grep -qx 'read /data/file: of the image'
			appc_vm app rm "$UUID" --app=many
			appc_vm app rm "$UUID" --app=other
		else
			timeout "$LIMIT" "$APPC_VM" "--dir=$DATA" stop "$UUID"
			finish_pod
			expect_status 0
			fails kill -0 "$COPIER" 2>/dev/null
			fails wait "$client"
			grep -qE 'it has ended|it is stopping' "$BATS_TEST_TMPDIR/many"
			[ "$(ls "$DATA/pods/run/$UUID/overlay")" = there ]
		fi
	done
	OWN=
	appc_vm rm "$UUID"
	UUID=
}

# What a guest that is root, and not guest-init's any more, does to the tree of its pod: directories are moved away and
# links to the host's are in their places, for as long as its client stays.
attack()
{
	"$APPC_VM" "--dir=$DATA" ssh "$UUID" "
		cd /proc/1/root/run/pod || exit
		while :; do
			for place in apps volumes; do
				mv \$place .\$place && ln -s $1 \$place && echo swapped
				rm -f \$place
				mv .\$place \$place
			done
			ln -s $1/cycle apps/cycle
			rm -f apps/cycle
			mkdir apps/cycle && ln -s $1/rootfs apps/cycle/rootfs
			ln -s $1/d volumes/d
			rm -f volumes/d
		done 2>/dev/null" >"$BATS_TEST_TMPDIR/attack" 2>&1 </dev/null 3>&- &
	ATTACKER=$!
}

# How many directories the attacker has replaced by now.
swapped()
{
	[ "$(wc -l <"$BATS_TEST_TMPDIR/attack")" -gt "$1" ]
}

@test "a guest that puts links where its tree has directories reaches nothing of the host" {
	local i rounds=20 before pid victim=$BATS_TEST_TMPDIR/victim
	[ "$FLAVOUR" = container ] || rounds=5
	sandbox
	OWN=$UUID
	# All that a follower of the links could mount on, write to or remove.
	mkdir -p "$victim"/{cycle/rootfs,rootfs,d}
	echo kept >"$victim/file"
	find "$victim" -printf '%p %m %u %s %T@\n' | sort >"$BATS_TEST_TMPDIR/before"
	attack "$victim"
	eventually "the attack goes on" swapped 0
	for i in $(seq "$rounds"); do
		before=$(wc -l <"$BATS_TEST_TMPDIR/attack")
		# Whether they succeed is the attacker's to say, but they end, and say why.
		may_fail timeout "$LIMIT" "$APPC_VM" "--dir=$DATA" app add "$UUID" example.com/probe --name=cycle \
			--exec=/bin/probe --mnt-volume=name=d,kind=empty,target=/d -- forever
		[ "$status" -eq 0 ] || expect_status 254
		may_fail timeout "$LIMIT" "$APPC_VM" "--dir=$DATA" app rm "$UUID" --app=cycle
		[ "$status" -eq 0 ] || expect_status 254
		# Nor does another who comes in get the host anywhere.
		[ $((i % 5)) -gt 0 ] || may_fail timeout "$LIMIT" "$APPC_VM" "--dir=$DATA" ssh "$UUID" true
		eventually "the attack goes on" swapped "$before"
	done
	kill "$ATTACKER"
	wait "$ATTACKER" || true
	find "$victim" -printf '%p %m %u %s %T@\n' | sort | diff "$BATS_TEST_TMPDIR/before" -
	pid=$(appc_vm status "$UUID" | sed -n 's/^pid=//p')
	fails grep -F "$victim" "/proc/$pid/mountinfo"
	appc_vm stop "$UUID"
	finish_pod
	expect_status 0
	OWN=
	appc_vm rm "$UUID"
	find "$victim" -printf '%p %m %u %s %T@\n' | sort | diff "$BATS_TEST_TMPDIR/before" -
	UUID=
}

@test "a pod that is stopped with apps running ends with 0, and they are told" {
	sandbox
	OWN=$UUID
	add term -- until-stopped exit 5
	add idle -- forever
	appc_vm app start "$UUID" --app=term
	eventually "it waits" grep -qxF ready "$OUT"
	appc_vm stop "$UUID"
	finish_pod
	expect_status 0
	[ "$(app_is term .exit_code)" -eq 5 ]
	may_fail appc_vm app start "$UUID" --app=idle
	expect_status 254
	expect_error 'is not running'
	OWN=
	appc_vm rm "$UUID"
	UUID=
}
