#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Fuzzes: each build/fuzz/fuzz_* for the seconds given (make fuzz FUZZ_SECONDS=...), as many at once as there are CPUs.
#
#   tests/fuzz/run.sh [--total=CPU-SECONDS] SECONDS [NAME...]    NAME as in fuzz_NAME; all when none is named
#
# It starts from tests/fuzz/corpus/NAME and keeps what it finds in build/fuzz-corpus/NAME, for the
# next time, and in NAME.total how much CPU time and how many runs it has had there. With --total (make fuzz
# FUZZ_TOTAL=...) it goes round, those that had least first, until each has had that much.
# An input that breaks something is left in build/fuzz-findings, named in the output, and
# makes the status 1: fix the cause, and add the input to the corpus, which `make check` replays.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

findings=build/fuzz-findings corpora=build/fuzz-corpus

# total NAME: CPU seconds and runs so far.
total()
{
	local cpu=0 runs=0
	[ ! -e "$corpora/$1.total" ] || read -r cpu runs <"$corpora/$1.total"
	echo "$cpu $runs"
}

# one SECONDS NAME: says in one line what came of it.
one()
{
	local seconds=$1 name=$2 own=$corpora/$2 log=$findings/$2.log cpu runs spent new status=0
	mkdir -p "$own"
	TIMEFORMAT='%U %S'
	spent=$({ time "build/fuzz/fuzz_$name" "-max_total_time=$seconds" -timeout=20 -rss_limit_mb=2048 \
		-print_final_stats=1 "-artifact_prefix=$findings/$name-" "$own" \
		"tests/fuzz/corpus/$name" >"$log" 2>&1 </dev/null; } 2>&1) || status=$?
	new=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	read -r cpu runs < <(total "$name")
	read -r cpu runs < <(awk '{ printf "%d %d\n", $1 + $3 + $4 + 0.5, $2 + $5 }' <<<"$cpu $runs $spent ${new:-0}")
	echo "$cpu $runs" >"$corpora/$name.total"
	if [ "$status" -ne 0 ]; then
		printf 'fuzz %-20s FAILED\n%s\nthe whole log is %s\n' "$name" "$(grep -v -E '^#[0-9]' "$log" | tail -n 60)" "$log"
		return 1
	fi
	printf 'fuzz %-20s %s runs, %s inputs cover %s edges; in all %d CPU seconds, %d runs\n' "$name" "$new" \
		"$(find "$own" -type f | wc -l)" "$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)" "$cpu" "$runs"
}

if [ "${1:-}" = --one ]; then
	one "$2" "$3"
	exit
fi

wanted=
case ${1:-} in
--total=*)
	wanted=${1#*=}
	shift
	;;
esac
seconds=${1:?"usage: run.sh [--total=CPU-SECONDS] SECONDS [NAME...]"}
shift
names=("$@")
if [ "${#names[@]}" -eq 0 ]; then
	for program in build/fuzz/fuzz_*; do
		[[ ! -x $program || $program == *.* ]] || names+=("${program##*/fuzz_}")
	done
fi
[ "${#names[@]}" -gt 0 ] || {
	echo "fuzz: nothing is built; run make fuzzers" >&2
	exit 1
}
mkdir -p "$findings" "$corpora"

# left_over: those that have not had enough, the least first.
left_over()
{
	local name cpu
	for name in "${names[@]}"; do
		read -r cpu _ < <(total "$name")
		[ "$cpu" -ge "$wanted" ] || echo "$cpu $name"
	done | sort --numeric-sort | cut -d ' ' -f 2
}

# at_once NAME...: status 0 when nothing was found.
at_once()
{
	printf '%s\0' "$@" | xargs --null --max-args=1 "--max-procs=$(nproc)" tests/fuzz/run.sh --one "$seconds"
}

if [ -z "$wanted" ]; then
	at_once "${names[@]}" || exit 1
	exit
fi
while mapfile -t names_left < <(left_over) && [ "${#names_left[@]}" -gt 0 ]; do
	at_once "${names_left[@]}" || exit 1
done
echo "fuzz: each has had $wanted CPU seconds"
