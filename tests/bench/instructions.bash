# shellcheck shell=bash disable=SC2154 # $work is of run.sh
# SPDX-License-Identifier: Apache-2.0
# Guest kernel instructions of a pod, step by step, against tests/bench/budget.json. They are exact where KVM
# emulates the guest kernel, but for timer ticks and for the order of tasks: so the least of several runs counts, and a
# step may exceed its budget by the tolerance (a share) and by the slack (instructions, about two ticks). Which task comes
# first is up to the state that was saved, and the same in each run from it: guest-init passes the output on before or after
# the app's exit. So the steps of "ordered" may exceed by what waking it once more takes, too.
#
# Used: measured, own_timing, say, fail (run.sh).

budget=tests/bench/budget.json
instruction_runs=3

# What is counted: a case, the competitor, the program.
instruction_cases=(
	"cold cold /bin/busybox echo hello"
	"template template /bin/busybox echo hello"
	"warm warm /bin/busybox echo hello"
	"warm-bash warm /bin/bash -c echo"
)

# Counters to differences: each step alone. What did not happen, or not here, is no step. to_end has all of the
# app's life, with to_first_output.
instruction_steps()
{
	jq -c '.guest_kernel_instructions as $counts |
		reduce (["to_init", "to_ready", "to_configured", "to_tree", "to_first_app_exec"][] |
			select($counts[.] != null)) as $key ({last: 0, steps: {}};
			.steps[$key] = $counts[$key] - .last | .last = $counts[$key]) |
		.steps + {to_first_output: ($counts.to_first_output - .last), to_end: ($counts.total - .last)}'
}

# One line of JSON for each case: {"case", "steps"}, the least of its runs.
instructions_measure()
{
	local line case name words i steps timing
	for line in "${instruction_cases[@]}"; do
		read -r case name words <<<"$line"
		read -r -a words <<<"$words"
		steps=
		# One more than is counted: it may build a template.
		for ((i = 0; i <= instruction_runs; i++)); do
			say "$case: run $i of $instruction_runs"
			measured "$name" "${words[@]}" || {
				show_failure "$name"
				return 1
			}
			[ "$i" -gt 0 ] || continue
			timing=$(own_timing "$name")
			steps+=$(instruction_steps <<<"$timing")$'\n'
		done
		jq -s -c --arg case "$case" '{case: $case, steps: (reduce .[] as $run ({};
			reduce ($run | to_entries[]) as $step (.; .[$step.key] = ([.[$step.key] // $step.value, $step.value] | min))))}' \
			<<<"$steps"
	done
}

instructions_update()
{
	jq -s --slurpfile old "$budget" '$old[0] + {cases: (map({key: .case, value: .steps}) | from_entries)}' \
		"$work/instructions.jsonl" >"$work/budget.json" && mv "$work/budget.json" "$budget"
}

# Prints the comparison; fails when a step grew too much.
instructions_compare()
{
	jq -s -r --slurpfile budget "$budget" '$budget[0] as $budget |
		["case", "step", "instructions", "budget", "", ""],
		(.[] | .case as $case | .steps | to_entries[] | $budget.cases[$case][.key] as $limit |
			($budget.slack + ($budget.ordered[.key] // 0)) as $slack |
			[$case, .key, .value, $limit // "none",
			(if ($limit // 0) == 0 then "" else "\((.value / $limit - 1) * 1000 | round / 10) %" end),
			(if $limit == null then "NO BUDGET"
			elif .value > $limit * (1 + $budget.tolerance) + $slack then "GREW"
			elif .value < $limit * (1 - $budget.tolerance) - $slack then "shrank: lower its budget"
			else "" end)]) | @tsv' "$work/instructions.jsonl" >"$work/instructions.tsv" || return
	column -t -s $'\t' "$work/instructions.tsv"
	! grep -q -E 'GREW|NO BUDGET' "$work/instructions.tsv"
}

# The budget as Markdown, for docs/performance.md.
instructions_markdown()
{
	jq -r '["to_init", "to_ready", "to_configured", "to_tree", "to_first_app_exec", "to_first_output", "to_end"] as $steps |
		"| | " + ($steps | join(" | ")) + " |", "|---|" + ($steps | map("---|") | add),
		(.cases | to_entries[] | .value as $case |
			"| \(.key) | " + ($steps | map($case[.] // "" | tostring) | join(" | ")) + " |")' "$budget"
}

instructions()
{
	local name line timing
	make_rootfs
	for name in cold template warm; do
		competitor_prepare "$name" || fail "$name cannot be prepared"
	done
	if measured template /bin/busybox true; then
		timing=$(own_timing template)
		[ "$(jq .guest_kernel_instructions.total <<<"$timing")" != null ] || {
			echo "this host does not count guest kernel instructions; nothing can be compared"
			return 0
		}
	fi
	instructions_measure >"$work/instructions.jsonl" || return
	competitor_clean template
	if [ "$1" = update ]; then
		instructions_update && instructions_markdown
	else
		instructions_compare
	fi
}
