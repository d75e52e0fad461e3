#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs unit tests that were built with the thread sanitizer, and the hostile guest in a machine of a program that
# was (make tsan).
#
#   tests/tsan.sh PROGRAM...
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
export TSAN_OPTIONS=halt_on_error=1

for program; do
	printf '  TSAN    %s\n' "$program"
	if ! "$program" >"$program.log" 2>&1 </dev/null; then
		tail -n 60 "$program.log"
		exit 1
	fi
done
printf '  TSAN    tests/functional/hostile.bats\n'
APPC_VM=$PWD/build/threaded/bin/appc-vm bats --tap tests/functional/hostile.bats </dev/null
