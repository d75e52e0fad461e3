# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# For scripts with long steps, to be sourced: a person sees one line for each step and how long it
# takes; what the step itself prints goes to a log, whose end is shown when the step fails.

# step_begin LOG PREFIX: empties the log and sets the word before each line.
step_begin()
{
	step_log=$1
	step_prefix=$2
	mkdir -p "$(dirname "$step_log")"
	: >"$step_log"
}

# step TEXT COMMAND...: runs it; on failure shows the end of the log and returns 1. Because of the
# test on the command, "set -e" does not act inside a function that is run as a step.
step()
{
	local text=$1 start=$SECONDS ticker='' result=0
	shift
	printf '%s: %s ... ' "$step_prefix" "$text" >&2
	if [ -t 2 ]; then
		(while sleep 1; do
			printf '\r%s: %s ... %d s ' "$step_prefix" "$text" $((SECONDS - start)) >&2
		done) &
		ticker=$!
	fi
	"$@" >>"$step_log" 2>&1 </dev/null || result=$?
	if [ -n "$ticker" ]; then
		kill "$ticker" 2>/dev/null
		wait "$ticker" 2>/dev/null || true
		printf '\r%s: %s ... ' "$step_prefix" "$text" >&2
	fi
	if [ "$result" -eq 0 ]; then
		printf '%d s\n' $((SECONDS - start)) >&2
		return 0
	fi
	printf 'failed\n' >&2
	tail -n 20 "$step_log" >&2
	printf '%s: failed with status %d; the whole log is %s\n' "$step_prefix" "$result" "$step_log" >&2
	return 1
}
