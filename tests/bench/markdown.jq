# SPDX-License-Identifier: Apache-2.0
# Results to Markdown tables (run.sh --markdown).
include "tests/bench/numbers";

. as $results |
(.competitors | map({key: .name, value: .title}) | from_entries) as $titles |
"\(.host.date | .[0:10]), commit \(.host.commit): \(.host.cpu), \(.host.cpus) CPUs, \(.host.memory), Linux \(.host.kernel); " +
(if .host.guest_kernel_is_emulated then "the guest kernel is emulated" else "hardware KVM" end) +
"; machines of \(.host.machine_memory_mib) MiB, one vCPU.",
"",
"| competitor | version |",
"|---|---|",
(.competitors[] | "| \(.title) | \(.version) |"),
(.skipped[] | "| \(.name) | skipped: \(.reason | gsub("\\|"; "/") | gsub("\n"; " ")) |"),
(.measures[] |
	"", "### \(.title)",
	(.metrics[] |
		.unit as $unit |
		([.rows[].ratios[].to] | unique) as $to |
		"", "\(.title | ascii_upcase[0:1])\(.title[1:]), \($unit)", "",
		"| | median | quartiles | " + ($to | map("times \($titles[.] // .) | ") | add // "") + "n |",
		"|---|---|---|" + ($to | map("---|") | add // "") + "---|",
		(.rows[] | . as $row |
			"| \($titles[.competitor] // .competitor) | \(.median | number) | \(.q1 | number) - \(.q3 | number) | " +
			($to | map(. as $name | ($row.ratios | map(select(.to == $name)) |
				if length > 0 then .[0].median | number else "" end) + " | ") | add // "") + "\(.n) |")
	)
),
"", "### Bars", "",
"| what | bar | here | |",
"|---|---|---|---|",
(.bars[] |
	"| \(.what) | \(if .at_most then "at most \(.at_most)" else "at least \(.at_least)" end) | " +
	"\(if .value == null then "not measured" else .value | number end) | " +
	"\(if .met == null then "" elif .met then "met" else "missed" end) |")
