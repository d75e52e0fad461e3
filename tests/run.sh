#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the tests that `make check` built, in six layers, cheapest first, as many files at once as there are CPUs:
#
#   unit        each tests/unit/test_*.c, address and undefined behaviour sanitizers on
#   fuzz        each tests/fuzz/fuzz_*.c over its corpus, tests/fuzz/corpus/NAME, once; of what was recorded there, 95
#               of 100 requests, packets, frames and messages are taken as good
#   container   tests/functional: the command line, and pods in the container flavour, in seconds
#   faults      tests/fault: calls that fail, kills at random points; in short
#   vm          tests/functional: the same pods in virtual machines, and what only those can do
#   load        tests/fault: pods by the dozen, alone on the host, which is measured before and after
#
#   tests/run.sh [LAYER...]    these layers when none is named; TEST_LANES=1: one file after the other
#
# Two layers are only run when they are named, as by `make check-sanitized` and `make soak`:
#
#   sanitized   what container does and some of what vm does, with a program under the sanitizers of the unit tests
#   soak        the same at length: every call fails once, SOAK_KILLS kills (1000), SOAK_SECONDS of load and of
#               races in the file server (900), 1,000 clones in a row, and apps that come and go by the hundred; hours, not
#               minutes. SOAK_SEED, which is printed, chooses all that is chosen at random, but in the races: the time if not given
#
# One line for each file, with its counts and seconds; where something failed, its log is shown. Logs
# stay in build/test-logs. The last line is exactly "N passed, N failed, N skipped", and the status
# is 0 only when nothing failed and something ran. A test is skipped only with a reason, which is
# shown; functional tests that need a VM are skipped only where there is no /dev/kvm.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

logs=build/test-logs
counts=$logs/counts # a line for each file: passed, failed, skipped
lanes=${TEST_LANES:-$(nproc)}
mkdir -p "$logs"
: >"$counts"

# Templates are kept outside the checkout, as kernels are: a machine boots once for each build and size.
export APPC_VM_TEMPLATES=${APPC_VM_TEMPLATES:-${XDG_CACHE_HOME:-$HOME/.cache}/appc-vm/templates}

# Sanitizers: the first finding ends the program, in a way that no test can take for an exit status
# of its own.
export ASAN_OPTIONS=abort_on_error=1:detect_leaks=1:strict_string_checks=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1:abort_on_error=1
for symbolizer in /usr/bin/llvm-symbolizer-14 /usr/bin/llvm-symbolizer; do
	[ ! -x "$symbolizer" ] || export ASAN_SYMBOLIZER_PATH=$symbolizer
done

# in_lanes COMMAND...: runs it beside others, when there is a CPU for it: a machine's guest keeps one busy.
in_lanes()
{
	while [ "$(jobs -pr | wc -l)" -ge "$lanes" ]; do
		wait -n
	done
	"$@" &
}

# count NAME SECONDS STATUS PASSED FAILED SKIPPED LOG: one line, and the log when it is needed.
count()
{
	local name=$1 seconds=$2 status=$3 ok=$4 bad=$5 skip=$6 log=$7
	# A program that ended badly with no failed test to show for it is a failed test itself.
	if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
		bad=1
		echo "# $name ended with status $status" >>"$log"
	fi
	if [ $((ok + bad + skip)) -eq 0 ]; then
		bad=1
		echo "# $name has no test" >>"$log"
	fi
	(
		flock 9
		echo "$ok $bad $skip" >>"$counts"
		printf '%-40s %4d passed' "$name" "$ok"
		[ "$bad" -eq 0 ] || printf ', %d FAILED' "$bad"
		[ "$skip" -eq 0 ] || printf ', %d skipped' "$skip"
		printf '  (%d s)\n' "$seconds"
		if [ "$bad" -gt 0 ]; then
			sed 's/^/    /' "$log"
		fi
	) 9>"$logs/lock"
}

# sum COLUMN: of the counts
sum()
{
	awk -v column="$1" '{ n += $column } END { print n + 0 }' "$counts"
}

matches()
{
	grep -c -E "$1" "$2"
}

unit()
{
	local source
	for source in tests/unit/test_*.c; do
		in_lanes unit_test build/unit/"$(basename "$source" .c)"
	done
}

# unit_test PROGRAM [LIMIT]: LIMIT seconds at most.
# cmocka writes "not ok N # SKIP" for a skipped test, and a plan before each group of tests.
unit_test()
{
	local program=$1 limit=${2:-300} log=$logs/${1##*/}.log start=$SECONDS status planned ok bad skip
	CMOCKA_MESSAGE_OUTPUT=TAP timeout --kill-after=10 "$limit" "$program" >"$log" 2>&1 </dev/null
	status=$?
	ok=$(matches '^ok [0-9]' "$log")
	skip=$(matches '^not ok [0-9]+ # SKIP' "$log")
	bad=$(($(matches '^not ok [0-9]' "$log") - skip))
	planned=$(sed -n 's/^1\.\.\([0-9]*\)$/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')
	# A test that never reported its end (a crash, a timeout) has failed.
	if [ $((ok + bad + skip)) -lt "$planned" ]; then
		echo "# $planned tests planned, $((ok + bad + skip)) reported, status $status" >>"$log"
		bad=$((bad + planned - ok - bad - skip))
	fi
	count "unit ${program##*/}" $((SECONDS - start)) "$status" "$ok" "$bad" "$skip" "$log"
	sed -n 's/^not ok [0-9]* # SKIP/    skipped:/p' "$log"
}

fuzz()
{
	local source
	for source in tests/fuzz/fuzz_*.c; do
		in_lanes fuzz_corpus "$(basename "$source" .c)"
	done
}

fuzz_corpus()
{
	local name=${1#fuzz_} corpus=tests/fuzz/corpus/${1#fuzz_} log=$logs/$1.log start=$SECONDS status recorded
	if [ -z "$(find "$corpus" -type f -print -quit 2>/dev/null)" ]; then
		echo "there is no corpus in $corpus" >"$log"
		count "fuzz corpus $name" 0 1 0 1 0 "$log"
		return
	fi
	timeout --kill-after=10 300 "build/fuzz/$1" -runs=0 -timeout=20 -rss_limit_mb=2048 \
		-artifact_prefix="$logs/" "$corpus" >"$log" 2>&1 </dev/null
	status=$?
	# What good guests said is taken as such (tests/fuzz/input.h).
	recorded=("$corpus"/recorded-*)
	if [ "$status" -eq 0 ] && [ -e "${recorded[0]}" ]; then
		FUZZ_GOOD=95 timeout --kill-after=10 300 "build/fuzz/$1" -artifact_prefix="$logs/" "${recorded[@]}" \
			>>"$log" 2>&1 </dev/null
		status=$?
	fi
	count "fuzz corpus $name" $((SECONDS - start)) "$status" $((status == 0)) 0 0 "$log"
}

# functional FLAVOUR SUITE...
functional()
{
	local flavour=$1 suite
	shift
	for suite; do
		in_lanes functional_suite "$flavour" "$suite"
	done
}

functional_suite()
{
	local suite=$2 log=$logs/$1-$2.log start=$SECONDS status ok bad skip
	export FLAVOUR=$1
	# Each test is shown as it ends: with an emulated guest kernel some take minutes.
	bats --tap --timing "tests/functional/$suite.bats" </dev/null 2>&1 | tee "$log" |
		sed -u -n -e "s/^ok [0-9]* /    ok      $FLAVOUR $suite: /p" \
			-e "s/^not ok [0-9]* /    FAILED  $FLAVOUR $suite: /p"
	status=${PIPESTATUS[0]}
	skip=$(matches '^ok [0-9]+ .* # skip' "$log")
	ok=$(($(matches '^ok [0-9]' "$log") - skip))
	bad=$(matches '^not ok [0-9]' "$log")
	count "$FLAVOUR $suite" $((SECONDS - start)) "$status" "$ok" "$bad" "$skip" "$log"
}

container()
{
	functional container cli errors cmdline config images hostile-images fetch formats pod world rkt rkt-cmdline \
		metadata prepared lifecycle pause logs attach living network bridge enter ssh app volumes posix debian
}

# A finding ends the process with its report, which goes to a file of its own: what a test does not look at, as the
# status of a process that is killed in the end, is looked at here.
sanitized()
{
	local reports=$PWD/$logs/sanitizer log=$logs/sanitizer.log
	rm -f "$reports".[0-9]*
	SANITIZED=1 APPC_VM=$PWD/build/sanitized/bin/appc-vm ASAN_OPTIONS=$ASAN_OPTIONS:log_path=$reports \
		UBSAN_OPTIONS=$UBSAN_OPTIONS:log_path=$reports container
	wait
	# A VMM can write no report to a file and cannot look for leaks: it ends with SIGABRT, and what it says is the pod's.
	[ ! -c /dev/kvm ] || SANITIZED=1 APPC_VM=$PWD/build/sanitized/bin/appc-vm \
		ASAN_OPTIONS=abort_on_error=1:detect_leaks=0:quarantine_size_mb=8 functional vm hostile pod failure
	wait
	cat "$reports".[0-9]* >"$log" 2>/dev/null
	if [ -s "$log" ]; then
		count "sanitizer's reports" 0 1 0 1 0 "$log"
	else
		count "sanitizer's reports" 0 0 1 0 0 "$log"
	fi
}

# The long ones first, so that the lanes end together; what is first of all boots the machine that others start from.
vm()
{
	functional vm pod hostile ssh machine network debian enter app filter volumes template world warm bridge rkt posix vsock \
		failure checkpoint dax jail metadata living clones metadata-machine pause logs prepared attach
}

# tap NAME COMMAND...: a program that says in TAP how it went
tap()
{
	local name=$1 log=$logs/${1// /-}.log start=$SECONDS status
	shift
	"$@" </dev/null 2>&1 | tee "$log" | sed -u -n -e "s/^ok [0-9]* - /    ok      $name: /p" \
		-e "s/^not ok [0-9]* - /    FAILED  $name: /p"
	status=${PIPESTATUS[0]}
	count "$name" $((SECONDS - start)) "$status" "$(matches '^ok [0-9]' "$log")" \
		"$(matches '^not ok [0-9]' "$log")" 0 "$log"
}

# tap_networks NAME COMMAND...: the same for pods with networks, which tests/fault/networks.py makes a host for.
tap_networks()
{
	if [ "$(id -u)" -eq 0 ] && [ -c /dev/net/tun ]; then
		tap "$@"
		return
	fi
	count "$1" 0 0 0 0 1 /dev/null
	echo "    skipped: networks of pods need root and /dev/net/tun"
}

faults()
{
	[ ! -c /dev/kvm ] || in_lanes tap 'kills vm' tests/fault/kills.py --vm --kills=4
	in_lanes tap 'faults container' tests/fault/faults.py --seconds=60
	in_lanes tap 'kills container' tests/fault/kills.py --kills=50
	in_lanes tap 'kills of apps container' tests/fault/kills.py --apps --kills=30
	in_lanes tap_networks 'kills of networks container' tests/fault/kills.py --networks --kills=7
}

# In short: each kind of pod about once.
load()
{
	wait
	tap 'load container' tests/fault/soak.py --flavour=container --seconds=20 --pods=24 --parallel=8
	[ ! -c /dev/kvm ] || tap 'load vm' tests/fault/soak.py --seconds=40 --pods=12 --parallel=8 --clones=20
}

soak()
{
	local seconds=${SOAK_SECONDS:-900} kills=${SOAK_KILLS:-1000} seed=${SOAK_SEED:-$(date +%s)}
	wait
	echo "SOAK_SEED=$seed"
	# Two races of so many seconds each.
	RACE_SECONDS=$seconds unit_test build/unit/test_virtio_fs_races $((2 * seconds + 300))
	tap 'kills container' tests/fault/kills.py --kills="$kills" --seed="$seed"
	tap 'kills of apps container' tests/fault/kills.py --apps --kills="$kills" --seed="$seed"
	tap_networks 'kills of networks container' tests/fault/kills.py --networks --kills="$kills" --seed="$seed"
	APP_CYCLES=400 functional_suite container app
	tap 'load container' tests/fault/soak.py --flavour=container --seconds="$seconds" --seed="$seed"
	if [ -c /dev/kvm ]; then
		APP_CYCLES=96 functional_suite vm app
		tap 'load vm' tests/fault/soak.py --seconds="$seconds" --seed="$seed"
		tap 'kills vm' tests/fault/kills.py --vm --kills=$((kills / 10)) --seed="$seed"
		tap 'kills of apps vm' tests/fault/kills.py --vm --apps --kills=$((kills / 10)) --seed="$seed"
	fi
	tap 'faults container' tests/fault/faults.py --seed="$seed"
	tap 'faults of apps container' tests/fault/faults.py --apps --seconds="$seconds" --seed="$seed"
	tap_networks 'faults of networks container' tests/fault/faults.py --networks --seconds="$seconds" --seed="$seed"
	# A machine that cannot start from its template boots: each of these may take seconds.
	[ ! -c /dev/kvm ] || tap 'faults vm' tests/fault/faults.py --vm --seconds="$seconds" --seed="$seed"
}

started=$SECONDS
for layer in "${@:-unit fuzz container faults vm load}"; do
	for name in $layer; do
		case $name in
		unit | fuzz | container | sanitized | faults | vm | load | soak) "$name" ;;
		*)
			echo "usage: tests/run.sh [unit] [fuzz] [container] [sanitized] [faults] [vm] [load] [soak]" >&2
			exit 2
			;;
		esac
	done
done
wait
printf 'all tests: %d s\n' $((SECONDS - started))
passed=$(sum 1) failed=$(sum 2) skipped=$(sum 3)
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ] && [ $((passed + skipped)) -gt 0 ]
