#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The benchmark: the same pod, from the same files, in each kind of wall that is installed here, side by
# side. docs/benchmarks.md says what is measured and how to read it.
#
#   tests/bench/run.sh [--quick] [--only=NAME,...] [--measures=NAME,...]
#   tests/bench/run.sh --report      the tables and the page again, from the samples that are there
#   tests/bench/run.sh --markdown    the tables as Markdown, of the run before
#   tests/bench/run.sh --instructions [--update]
#                                    guest kernel instructions against tests/bench/budget.json; or writes it
#   tests/bench/run.sh --budget      the budget as Markdown
#
#   --quick       two minutes: without QEMU, what else takes seconds in the first measure only, fewer rounds, no networks
#   --only        these competitors (competitors.bash), or networks
#   --measures    of start, bash, memory, rate, loops, files, server, network
#
# `make bench` builds what it needs. Everything it writes is in build/bench: samples.jsonl, results.json,
# plots, and index.html, which opens in a browser. Root; the host should have nothing else to do.
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top" || exit 1

work=$top/build/bench
rootfs=$work/rootfs
data=$work/data
appc_vm=${APPC_VM:-$top/build/appc-vm}
memory=128 # MiB, of each machine
# shellcheck source=tests/bench/competitors.bash disable=SC2034
. tests/bench/competitors.bash
# shellcheck source=tests/bench/instructions.bash
. tests/bench/instructions.bash

quick=0 only="" measures="" action=run update=""
for argument; do
	case $argument in
	--quick) quick=1 ;;
	--only=*) only=${argument#*=} ;;
	--measures=*) measures=${argument#*=} ;;
	--markdown) action=markdown ;;
	--report) action=report ;;
	--instructions) action=instructions ;;
	--update) update=update ;;
	--budget) action=budget ;;
	*)
		sed -n 's/^#   \(tests\|--\)/  \1/p' "$0" >&2
		exit 2
		;;
	esac
done

if [ -z "$measures" ]; then
	measures=start,bash,memory,rate,loops,files,server
	[ "$quick" -eq 1 ] || measures+=,network
fi

# What a run costs here decides how often it is done. Above this many milliseconds from start to exit a
# competitor is slow: it takes part in a few of the rounds and starts fewer pods.
slow_ms=4000
if [ "$quick" -eq 1 ]; then
	rounds=5 slow_every=5 pods_at=(1 10) slow_pods=0 inside=2 pods_most=20
else
	rounds=9 slow_every=4 pods_at=(1 10 50) slow_pods=10 inside=4 pods_most=40
fi
limit=600 # seconds that one pod may take

samples=$work/samples.jsonl
view=()
command=()
declare -A cost_ms=() # of one run, as the first one told
running=()            # competitors that take part

say()
{
	printf '%s\n' "$*" >&2
}

fail()
{
	say "bench: $*"
	exit 1
}

# sample MEASURE METRIC UNIT COMPETITOR ROUND VALUE
sample()
{
	printf '{"measure":"%s","metric":"%s","unit":"%s","competitor":"%s","round":%d,"value":%s}\n' "$@" >>"$samples"
}

wanted()
{
	[[ ",$measures," == *",$1,"* ]]
}

# ---- the files that all of them run

# A program and the libraries it needs, where they are here.
install_program()
{
	local file
	for file in "$1" $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*'); do
		mkdir -p "$rootfs$(dirname "$file")"
		cp -L "$file" "$rootfs$file"
	done
}

make_rootfs()
{
	local stamp program i j
	stamp=$(sha256sum "$0" build/bench/inside build/bench/fsbench | sha256sum)
	[ "$(cat "$work/rootfs.stamp" 2>/dev/null)" != "$stamp" ] || return 0
	say "making the root filesystem"
	rm -rf "$rootfs" "$data" "$work/image-imported" "$work/pods" "$work/bundles"
	mkdir -p "$rootfs"/{bin,dev,etc,proc,root,sys,tmp,usr/bin,lib64}
	cp "$(command -v busybox)" "$rootfs/bin/busybox"
	for program in inside fsbench; do
		cp "$work/$program" "$rootfs/bin/$program"
	done
	for program in bash true git; do
		! command -v "$program" >/dev/null || install_program "$(type -P "$program")"
	done
	printf '%s\n' 'bind 0.0.0.0' 'protected-mode no' 'save ""' 'dir /tmp' >"$rootfs/etc/redis.conf"
	printf '[safe]\n\tdirectory = *\n' >"$rootfs/root/.gitconfig"
	# Debian's redis-tools has the server by another name, which decides what it does.
	if command -v redis-check-rdb >/dev/null; then
		install_program "$(type -P redis-check-rdb)"
		mv "$rootfs$(type -P redis-check-rdb)" "$rootfs/usr/bin/redis-server"
	fi
	[ ! -e "$rootfs/usr/bin/bash" ] || cp "$rootfs/usr/bin/bash" "$rootfs/bin/bash"
	printf 'root:x:0:0:root:/root:/bin/sh\n' >"$rootfs/etc/passwd"
	# A tree to search: 10,000 small files in 100 folders, also as a git repository. Times in whole seconds
	# and long ago, and no look at inode numbers: git shall not have to read the files.
	for ((i = 0; i < 100; i++)); do
		mkdir -p "$rootfs/srv/tree/$i"
		for ((j = 0; j < 100; j++)); do
			printf 'file %d of folder %d\n' "$j" "$i" >"$rootfs/srv/tree/$i/$j"
		done
	done
	head -c 1048576 /dev/urandom >"$rootfs/srv/large"
	if command -v git >/dev/null; then
		find "$rootfs/srv/tree" -type f -exec touch --date=2020-01-01 {} +
		git -C "$rootfs/srv/tree" init --quiet
		git -C "$rootfs/srv/tree" config core.checkStat minimal
		git -C "$rootfs/srv/tree" config core.trustctime false
		git -C "$rootfs/srv/tree" config gc.auto 0
		git -C "$rootfs/srv/tree" add --all
		git -C "$rootfs/srv/tree" -c user.name=bench -c user.email=bench@example.com \
			commit --quiet --message tree
	fi
	echo "$stamp" >"$work/rootfs.stamp"
}

# ---- one pod

# measured NAME WORD...: runs one pod with the timer. Its output is in $work/output, what it said on
# standard error in $work/errors, the timer's JSON in $timed. Fails where the pod did.
measured()
{
	local name=$1
	shift
	competitor_command "$name" "$@"
	in_view "$name"
	timed=$("${view[@]}" "$work/timer" --output "$work/output" --errors "$work/errors" --limit "$limit" \
		"${command[@]}" </dev/null) || return
	sed -i 's/\r$//' "$work/output" # where it went through a terminal
	[ "$(field .status)" -eq 0 ]
}

field()
{
	jq -r "$1 // empty" <<<"$timed"
}

show_failure()
{
	say "  $1: FAILED, $timed"
	tail -n 5 "$work/errors" "$work/output" >&2
}

# What --timing=json said, of one of ours.
own_timing()
{
	is_ours "$1" && tail -n 1 "$work/errors" | jq -c 'select(type == "object")' 2>/dev/null
}

# Whether it takes part in this round.
takes_part()
{
	[ "${cost_ms[$1]}" -lt "$slow_ms" ] || [ $((($2 - 1) % slow_every)) -eq 0 ]
}

# start_samples MEASURE NAME ROUND
start_samples()
{
	local measure=$1 name=$2 round=$3 timing value key
	sample "$measure" first_output ms "$name" "$round" "$(field .first_output_ms)"
	sample "$measure" exit ms "$name" "$round" "$(field .exit_ms)"
	timing=$(own_timing "$name")
	[ -n "$timing" ] || return 0
	# The host's own share: up to the first guest instruction, and after the guest was let go.
	value=$(jq --argjson timed "$timed" \
		'if .flavour == "vm" and .ms.setup then .ms.setup + $timed.exit_ms - .ms.total else empty end' <<<"$timing")
	[ -z "$value" ] || sample "$measure" host_share ms "$name" "$round" "$value"
	value=$(jq '.vmm_rss_kib // empty' <<<"$timing")
	[ -z "$value" ] || sample "$measure" vmm_rss KiB "$name" "$round" "$value"
	for key in to_first_app_exec to_first_output total; do
		value=$(jq ".guest_kernel_instructions.$key // empty" <<<"$timing")
		[ -z "$value" ] || sample "$measure" "instructions_$key" instructions "$name" "$round" "$value"
	done
}

# ---- the measures

# Who can take part: each runs the pod once, which also fills caches and builds templates.
warm_up()
{
	local name reason wanted_names=",$only,"
	: >"$work/skipped.jsonl"
	: >"$work/competitors.jsonl"
	for name in "${competitors[@]}"; do
		reason=$(competitor_reason "$name")
		if [ -n "$only" ] && [[ $wanted_names != *",$name,"* ]]; then
			reason="not asked for"
		elif [ "$quick" -eq 1 ] && [[ $name == qemu-* ]] && [ -z "$only" ]; then
			reason="left out of the quick run"
		fi
		if [ -z "$reason" ]; then
			say "preparing $name"
			if competitor_prepare "$name" 2>"$work/errors" && measured "$name" /bin/busybox echo hello &&
				[ "$(cat "$work/output")" = hello ] &&
				# Once more: the first one may have built a template.
				measured "$name" /bin/busybox echo hello; then
				cost_ms[$name]=$(field '.exit_ms | round')
				say "  $name: ${cost_ms[$name]} ms"
				running+=("$name")
				jq -n -c --arg name "$name" --arg title "$(competitor_title "$name")" \
					--arg version "$(competitor_version "$name")" \
					'{$name, $title, $version}' >>"$work/competitors.jsonl"
				continue
			fi
			reason="it does not work here: $(tail -q -n 1 "$work/errors" "$work/output" | head -c 300)"
		fi
		say "skipped: $name: $reason"
		jq -n -c --arg name "$name" --arg reason "$reason" '{$name, $reason}' >>"$work/skipped.jsonl"
	done
	for name in "${others[@]}"; do
		reason=$(other_reason "$name")
		say "skipped: $name: $reason"
		jq -n -c --arg name "$name" --arg reason "$reason" '{$name, $reason}' >>"$work/skipped.jsonl"
	done
	[ "${#running[@]}" -gt 0 ] || wanted network || fail "nothing of this can run here"
}

# In a quick run who is slow takes part in the first measure only.
slow_leave()
{
	local name stay=()
	for name in "${running[@]}"; do
		[ "${cost_ms[$name]}" -ge "$slow_ms" ] || stay+=("$name")
	done
	running=("${stay[@]}")
}

# rounds_of MEASURE ROUNDS EXPECTED WORD...: one pod of each, and again.
rounds_of()
{
	local measure=$1 rounds=$2 expected=$3 round name
	shift 3
	for name in "${running[@]}"; do # for caches and warm pods
		[ "$measure" = start ] || [ "${cost_ms[$name]}" -ge "$slow_ms" ] || measured "$name" "$@"
	done
	for ((round = 1; round <= rounds; round++)); do
		say "$measure: round $round of $rounds"
		for name in "${running[@]}"; do
			takes_part "$name" "$round" || continue
			if measured "$name" "$@" && [ "$(cat "$work/output")" = "$expected" ]; then
				start_samples "$measure" "$name" "$round"
			else
				show_failure "$name"
			fi
		done
	done
	for name in "${running[@]}"; do
		competitor_clean "$name"
	done
}

measure_start()
{
	rounds_of start "$rounds" hello /bin/busybox echo hello
}

measure_bash()
{
	[ -x "$rootfs/bin/bash" ] || return 0
	rounds_of bash $(((rounds + 1) / 2)) hello /bin/bash -c 'echo hello'
}

# Processes and their descendants.
tree_of()
{
	ps -e -o pid=,ppid= | awk -v roots="$*" '
		{ parent[$1] = $2 }
		END {
			count = split(roots, list, " ")
			for (i = 1; i <= count; i++) in_tree[list[i]] = 1
			for (pid in parent) {
				path = ""
				for (p = pid; p in parent && !(p in in_tree); p = parent[p]) path = path " " p
				if (p in in_tree) { n = split(path, list, " "); for (i = 1; i <= n; i++) in_tree[list[i]] = 1 }
			}
			for (pid in in_tree) print pid
		}'
}

# "RSS PSS" of these processes, KiB.
memory_of()
{
	local pid files=()
	for pid; do
		files+=("/proc/$pid/smaps_rollup")
	done
	cat "${files[@]}" 2>/dev/null | awk '/^Rss:/ { rss += $2 } /^Pss:/ { pss += $2 } END { print rss, pss }'
}

# idle_pods NAME COUNT ROUND: starts them, measures, ends them. 8 are starting at a time.
idle_pods()
{
	local name=$1 count=$2 round=$3 pids=() pipe=$work/ready line started=0 ready=0 waited=0 sums failed=0
	rm -f "$pipe"
	mkfifo "$pipe"
	exec 7<>"$pipe"
	while [ "$ready" -lt "$count" ]; do
		while [ "$started" -lt "$count" ] && [ $((started - ready)) -lt 8 ]; do
			competitor_command "$name" /bin/inside idle
			in_view "$name"
			"${view[@]}" "${command[@]}" >&7 2>"$work/idle-$started.err" </dev/null 7>&- &
			pids+=($!)
			started=$((started + 1))
		done
		if read -r -t 5 -u 7 line; then
			ready=$((ready + 1))
			waited=0
			[[ $line != *ready* ]] || continue
		else
			waited=$((waited + 5))
			line="nothing said for $waited s"
			kill -0 "${pids[@]}" 2>/dev/null && [ "$waited" -lt "$limit" ] && continue
		fi
		say "  $name: FAILED: a pod of $count is not ready: $line"
		tail -q -n 2 "$work"/idle-*.err >&2
		failed=1
		break
	done
	if [ "$failed" -eq 0 ]; then
		# shellcheck disable=SC2046 # one word for each process
		sums=$(memory_of $(tree_of "${pids[@]}"))
		sample memory "rss_$count" KiB "$name" "$round" $((${sums% *} / count))
		sample memory "pss_$count" KiB "$name" "$round" $((${sums#* } / count))
	fi
	for pid in "${pids[@]}"; do
		competitor_stop "$name" "$pid"
	done
	for pid in "${pids[@]}"; do
		wait "$pid"
	done 2>/dev/null
	exec 7>&-
	rm -f "$work"/idle-*.err
	competitor_clean "$name"
}

measure_memory()
{
	local count name round=0
	for count in "${pods_at[@]}"; do
		round=$((round + 1))
		for name in "${running[@]}"; do
			if [ "$count" -gt "$slow_pods" ] && [ "${cost_ms[$name]}" -ge "$slow_ms" ]; then
				say "memory: $count idle pods: $name takes too long"
				continue
			fi
			say "memory: $count idle pods: $name"
			idle_pods "$name" "$count" "$round"
		done
	done
}

# pods_per_second NAME PODS AT_ONCE ROUND METRIC
pods_per_second()
{
	local name=$1 pods=$2 at_once=$3 round=$4 metric=$5 result
	container_number=-{} competitor_command "$name" /bin/busybox true
	in_view "$name"
	result=$("${view[@]}" "$work/rate" "$pods" "$at_once" "${command[@]}" </dev/null)
	if [ "$(jq .failed <<<"$result")" = 0 ]; then
		sample rate "$metric" pods/s "$name" "$round" "$(jq '.runs / .seconds' <<<"$result")"
	else
		say "  $name: FAILED: $result"
	fi
	competitor_clean "$name"
}

measure_rate()
{
	local name round pods turns=3
	[ "$quick" -eq 0 ] || turns=1
	for name in "${running[@]}"; do # the warm pod of `true`
		[ "${cost_ms[$name]}" -ge "$slow_ms" ] || measured "$name" /bin/busybox true
	done
	for ((round = 1; round <= turns; round++)); do
		for name in "${running[@]}"; do
			pods=$((8000 / (cost_ms[$name] + 1)))
			[ "$pods" -lt "$pods_most" ] || pods=$pods_most
			[ "$pods" -ge 8 ] || pods=8
			if [ "${cost_ms[$name]}" -ge "$slow_ms" ]; then
				[ "$round" -eq 1 ] || continue
				[ "$quick" -eq 0 ] || continue
			else
				say "pods per second, one after the other: $name, $pods pods"
				pods_per_second "$name" "$pods" 1 "$round" sequential
			fi
			say "pods per second, 8 at once: $name, $pods pods"
			pods_per_second "$name" "$pods" 8 "$round" parallel
		done
	done
}

# inside_samples MEASURE NAME ROUND: what fsbench and inside said, the time of one operation.
inside_samples()
{
	local operation value unit=us scale=1e6
	[ "$1" != loops ] || unit=ns scale=1e9
	while read -r operation value; do
		sample "$1" "$operation" "$unit" "$2" "$3" "$value"
	done < <(sed -n '/^{"operation"/p' "$work/output" |
		jq -r "select(.count > 0) | \"\\(.operation) \\(.seconds / .count * $scale)\"")
}

# inside_rounds MEASURE ROUNDS WORD...: a program that times what it does itself.
inside_rounds()
{
	local measure=$1 rounds=$2 round name words
	shift 2
	words=$*
	[ "${#words}" -lt 60 ] || words=${words:0:57}...
	for ((round = 1; round <= rounds; round++)); do
		for name in "${running[@]}"; do
			# One of ours stands for the others that differ in how they start.
			[[ $name != cold && $name != warm ]] || continue
			takes_part "$name" "$round" || continue
			say "$measure: round $round of $rounds: $name: $words"
			if measured "$name" "$@"; then
				inside_samples "$measure" "$name" "$round"
			else
				show_failure "$name"
			fi
			competitor_clean "$name"
		done
	done
}

measure_loops()
{
	inside_rounds loops "$inside" /bin/fsbench --operation=compute --operation=getpid --operation=pipe /tmp
}

measure_files()
{
	local tree=/srv/tree operation words=()
	for operation in stat stat-missing open read-4k read-4k-uncached read-1m read-1m-uncached write-4k write-1m \
		create-unlink rename readdir exec; do
		words+=("--operation=$operation")
	done
	inside_rounds files "$inside" /bin/fsbench "${words[@]}" /srv
	[ "$quick" -eq 0 ] || tree=/srv/tree/0
	# In a fresh pod, which has seen none of the files; git then knows their names.
	words=("fsbench --operation=find $tree")
	[ "$quick" -eq 1 ] || [ ! -e "$rootfs/usr/bin/git" ] ||
		words+=("inside time git-status 1 git -C $tree status --porcelain")
	[ ! -e "$rootfs/usr/bin/true" ] || words+=("inside time exec-dynamic 5 /usr/bin/true")
	inside_rounds files 1 /bin/busybox sh -c "$(printf '%s && ' "${words[@]}") true"
}

# Requests per second of CPU time, each operation, and their geometric mean.
measure_server()
{
	local round turns=5 name arguments file=$work/server.jsonl operation value
	[ "$quick" -eq 0 ] || turns=2
	[ -n "$virtiofsd" ] || say "skipped: virtiofsd is not installed: the file server has nothing to be compared with"
	for ((round = 1; round <= turns; round++)); do
		say "server: round $round of $turns"
		for name in appc-vm virtiofsd; do
			arguments=(--seconds 0.5)
			if [ "$name" = virtiofsd ]; then
				[ -n "$virtiofsd" ] || continue
				arguments+=(--virtiofsd "$virtiofsd")
			fi
			if ! "$work/fs_rate" "${arguments[@]}" >"$file" 2>"$work/errors"; then
				say "  $name: FAILED: $(tail -n 1 "$work/errors")"
				continue
			fi
			while read -r operation value; do
				sample server "$operation" requests/s "$name" "$round" "$value"
			done < <(jq -r '"\(.operation) \(.requests / .cpu_seconds)"' "$file"
				jq -s -r '"mixed \(map(.requests / .cpu_seconds | log) | add / length | exp)"' "$file")
		done
	done
}

# ---- servers in networks; each of them by name
declare -A server_pid=() server_host=() server_port=()

# server_asked NAME ARGUMENT...: by redis-benchmark.
server_asked()
{
	local name=$1
	shift
	timeout "$limit" redis-benchmark -h "${server_host[$name]}" -p "${server_port[$name]}" "$@" 2>"$work/errors" </dev/null
}

# A program of the host speaks to it.
server_answers()
{
	[ "$(timeout 2 redis-cli -h "${server_host[$1]}" -p "${server_port[$1]}" ping 2>/dev/null)" = PONG ]
}

# server_up NAME: a pod with a server. Fails where nobody answers.
server_up()
{
	local name=$1 waited=0
	network_command "$name"
	server_host[$name]=$network_address
	server_port[$name]=$network_at
	"${command[@]}" >"$work/output-$name" 2>"$work/errors-$name" </dev/null &
	server_pid[$name]=$!
	until server_answers "$name"; do
		waited=$((waited + 1))
		if [ "$waited" -gt "$limit" ] || ! kill -0 "${server_pid[$name]}" 2>/dev/null; then
			return 1
		fi
		sleep 0.2
	done
	# The first requests fill what is read once.
	server_asked "$name" -t set,get -n 16 -c 1 >/dev/null
}

server_down()
{
	competitor_stop "$1" "${server_pid[$1]}"
	wait "${server_pid[$1]}" 2>/dev/null
	unset "server_pid[$1]"
}

# network_requests NAME ROUND METRIC COUNT ARGUMENT...: requests per second, and how long one takes.
network_requests()
{
	local name=$1 round=$2 metric=$3 count=$4 test rate latency
	shift 4
	for test in set get; do
		server_asked "$name" --csv -t "$test" -n "$count" "$@" >"$work/redis.csv" || return
		# A heading, then "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms",...
		IFS=, read -r _ rate _ _ latency _ < <(tail -n 1 "$work/redis.csv" | tr -d '"')
		sample network "${metric}_$test" requests/s "$name" "$round" "$rate"
		[ "$metric" != one ] || sample network "latency_$test" ms "$name" "$round" "$latency"
	done
}

network_round()
{
	local name=$1 round=$2 one=30 many=160
	if [[ $name == container-* ]] || ! emulated_ring0; then
		one=3000 many=16000
	fi
	network_requests "$name" "$round" one "$one" -c 1 &&
		network_requests "$name" "$round" many "$many" -c 8 -P 4
}

network_failed()
{
	say "  $1: FAILED"
	tail -q -n 5 "$work/errors" "$work/errors-$1" "$work/output-$1" >&2
}

# network_group ROUNDS NAME...: all at once, asked in turns: what the host has for one it has for the next, too.
network_group()
{
	local rounds=$1 name round i up=()
	shift
	for name; do
		say "network: $name"
		if server_up "$name"; then
			up+=("$name")
		else
			network_failed "$name"
			server_down "$name"
		fi
	done
	for ((round = 1; round <= rounds; round++)); do
		say "network: round $round of $rounds: ${up[*]}"
		for ((i = 0; i < ${#up[@]}; i++)); do
			name=${up[$((round % 2 ? i : ${#up[@]} - 1 - i))]}
			network_round "$name" "$round" || network_failed "$name"
		done
	done
	for name in "${up[@]}"; do
		server_down "$name"
	done
	competitor_clean template
	rm -f "$work"/virtiofsd-*.socket
}

network_takes_part()
{
	local name=$1 reason
	reason=$(network_reason "$name" | head -n 1)
	[ -z "$only" ] || [[ ",$only," == *",$name,"* ]] || reason="not asked for"
	[ -n "$reason" ] || case $name in
	qemu-*) competitor_prepare qemu-virtiofs 2>"$work/errors" || reason=$(tail -n 1 "$work/errors") ;;
	*) competitor_prepare template ;;
	esac
	[ -z "$reason" ] || say "skipped: network: $name: $reason"
	[ -z "$reason" ]
}

measure_network()
{
	local group name names
	network_bridge_up || say "skipped: network: there is no bridge"
	for group in "${network_groups[@]}"; do
		names=()
		for name in $group; do
			! network_takes_part "$name" || names+=("$name")
		done
		[ "${#names[@]}" -eq 0 ] || network_group 8 "${names[@]}"
	done
	network_bridge_down
}

# ---- results

describe_host()
{
	jq -n --arg date "$(date -u +%Y-%m-%dT%H:%M:%SZ)" --arg kernel "$(uname -r)" \
		--arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" --argjson cpus "$(nproc)" \
		--arg memory "$(awk '/^MemTotal/ { printf "%d GiB", $2 / 1048576 + 0.5 }' /proc/meminfo)" \
		--argjson emulated "$(if emulated_ring0; then echo true; else echo false; fi)" \
		--argjson quick "$quick" --argjson pod_memory "$memory" \
		--arg commit "$(git -C "$top" rev-parse --short HEAD 2>/dev/null)" \
		'{$date, $kernel, $cpu, $cpus, $memory, guest_kernel_is_emulated: $emulated, quick: ($quick == 1),
			machine_memory_mib: $pod_memory, $commit}' >"$work/host.json"
}

report()
{
	[ -s "$samples" ] || fail "there are no samples in $samples"
	jq -n --slurpfile samples "$samples" --slurpfile host "$work/host.json" \
		--slurpfile competitors "$work/competitors.jsonl" --slurpfile skipped "$work/skipped.jsonl" \
		--slurpfile metrics tests/bench/metrics.json -f tests/bench/results.jq >"$work/results.json" ||
		fail "the results cannot be computed"
	tests/bench/report.sh "$work" || fail "the page cannot be made"
}

case $action in
markdown)
	[ -e "$work/results.json" ] || fail "there are no results yet; run make bench"
	exec jq -r -f tests/bench/markdown.jq "$work/results.json"
	;;
report)
	report
	exit
	;;
budget)
	instructions_markdown
	exit
	;;
esac

[ "$(id -u)" -eq 0 ] || fail "needs root, as all of the competitors do"
mkdir -p "$work"
if [ "$action" = instructions ]; then
	instructions "$update"
	exit
fi
make_rootfs
: >"$samples"
describe_host
started=$SECONDS
# shellcheck disable=SC2046 # one word for each process
trap 'kill $(jobs -p) 2>/dev/null; ! wanted network || network_bridge_down' EXIT
warm_up
for measure in start bash memory rate loops files server network; do
	! wanted "$measure" || "measure_$measure"
	[ "$quick" -eq 0 ] || slow_leave
done
say "measured in $((SECONDS - started)) s"
report
