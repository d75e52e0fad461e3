#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Fuzzes: each build/fuzz/fuzz_* for the seconds given (make fuzz FUZZ_SECONDS=...).
#
#   tests/fuzz/run.sh SECONDS [NAME...]    NAME as in fuzz_NAME; all when none is named
#
# It starts from tests/fuzz/corpus/NAME and keeps what it finds in build/fuzz-corpus/NAME, for the
# next time. An input that breaks something is left in build/fuzz-findings, named in the output, and
# makes the status 1: fix the cause, and add the input to the corpus, which `make check` replays.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

seconds=${1:?"usage: run.sh SECONDS [NAME...]"}
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

findings=build/fuzz-findings
mkdir -p "$findings"
result=0
for name in "${names[@]}"; do
	own=build/fuzz-corpus/$name
	log=$findings/$name.log
	mkdir -p "$own"
	printf 'fuzz %-20s %d s ... ' "$name" "$seconds"
	if "build/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
		-print_final_stats=1 -artifact_prefix="$findings/$name-" "$own" \
		"tests/fuzz/corpus/$name" >"$log" 2>&1 </dev/null; then
		printf '%s runs, %s inputs cover %s edges\n' \
			"$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
			"$(find "$own" -type f | wc -l)" "$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)"
	else
		result=1
		printf 'FAILED\n'
		grep -v -E '^#[0-9]' "$log" | tail -n 60
		echo "the whole log is $log"
	fi
done
exit "$result"
