# SPDX-License-Identifier: Apache-2.0
# Results as lines of tab-separated cells for a terminal. A line that starts with "#" is a heading.
include "tests/bench/numbers";

(.competitors | map({key: .name, value: .title}) | from_entries) as $titles |
(.measures[] |
	"#\(.title)",
	(.metrics[] |
		([.rows[].ratios[].to] | unique) as $to |
		"#  \(.title), \(.unit)",
		(["  ", "median", "quartiles"] + ($to | map("x \(.)")) + ["n"] | join("\t")),
		(.rows[] | . as $row |
			["    \($titles[.competitor] // .competitor)", (.median | number), "\(.q1 | number)-\(.q3 | number)"] +
			($to | map(. as $name | $row.ratios | map(select(.to == $name)) |
				if length > 0 then .[0].median | number else "-" end)) + ["\(.n)"] | join("\t"))
	)
),
"#Bars",
(.bars[] | ["    \(.what)",
	(if .at_most then "at most \(.at_most)" else "at least \(.at_least)" end),
	(if .value == null then "-" else .value | number end),
	(if .met == null then "not measured" elif .met then "met" else "MISSED" end)] | join("\t")),
(.skipped[] | "#  skipped: \(.name): \(.reason | gsub("\n"; " "))")
