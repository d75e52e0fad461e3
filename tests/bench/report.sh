#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Shows WORK/results.json: tables on the terminal, plots and index.html in WORK.
#
#   report.sh WORK
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$1
results=$work/results.json

terminal()
{
	local line block=
	flush()
	{
		[ -z "$block" ] || printf '%s' "$block" | column -t -s $'\t'
		block=
	}
	while IFS= read -r line; do
		case $line in
		'#'*)
			flush
			[[ $line == '#  '* ]] || echo
			printf '%s\n' "${line#\#}"
			;;
		*) block+=$line$'\n' ;;
		esac
	done < <(jq -r -f tests/bench/table.jq "$results")
	flush
}

plot()
{
	local measure metric label file
	rm -rf "$work/plots"
	mkdir "$work/plots"
	while IFS=$'\t' read -r measure metric label; do
		file=$work/plots/$measure-$metric
		jq -r --arg measure "$measure" --arg metric "$metric" '
			(.competitors | map({key: .name, value: .title}) | from_entries) as $titles |
			.measures[] | select(.name == $measure) | .metrics[] | select(.name == $metric) | .rows[] |
			[$titles[.competitor] // .competitor, .median, .q1, .q3] | @tsv' "$results" >"$file.data"
		gnuplot -e "data='$file.data'; output='$file.svg'; label='$label'; rows=$(wc -l <"$file.data")" \
			tests/bench/bars.gp
	done < <(jq -r '.measures[] | .name as $measure | .metrics[] |
		select((.rows | length > 1) and (.rows | map(.median) | min > 0)) | [$measure, .name, .unit] | @tsv' "$results")
	jq -r '(.competitors | map({key: .name, value: .title}) | from_entries) as $titles |
		[.measures[] | select(.name == "memory") | .metrics[] | select(.name | startswith("pss_")) |
			(.name[4:] | tonumber) as $pods | .rows[] | {competitor, $pods, mib: (.median / 1024)}] |
		group_by(.competitor)[] |
		"\"\($titles[.[0].competitor])\"", (sort_by(.pods)[] | "\(.pods) \(.mib)"), "", ""' \
		"$results" >"$work/plots/memory.data"
	[ ! -s "$work/plots/memory.data" ] ||
		gnuplot -e "data='$work/plots/memory.data'; output='$work/plots/memory.svg'; \
			count=$(grep -c '^"' "$work/plots/memory.data")" tests/bench/memory.gp
}

# The page has its plots inside: it is one file that can be sent around.
page()
{
	jq -r -f tests/bench/page.jq "$results" | while IFS= read -r line; do
		case $line in
		'@plot '*)
			line=$work/plots/${line#@plot }.svg
			[ ! -e "$line" ] || sed -n '/<svg/,$p' "$line"
			;;
		*) printf '%s\n' "$line" ;;
		esac
	done >"$work/index.html"
}

terminal
if command -v gnuplot >/dev/null; then
	plot
else
	echo "skipped: plots: gnuplot is not installed" >&2
	rm -rf "$work/plots"
fi
page
printf '\n%s\n%s\n' "results: $results" "page:    $work/index.html"
