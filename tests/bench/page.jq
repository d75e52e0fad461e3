# SPDX-License-Identifier: Apache-2.0
# Results to the page. A line "@plot NAME" is replaced by that plot (report.sh).
include "tests/bench/numbers";

def cell: "<td>\(. | tostring | @html)</td>";

(.competitors | map({key: .name, value: .title}) | from_entries) as $titles |
"<!DOCTYPE html>",
"<html lang=\"en\"><head><meta charset=\"utf-8\"><title>appc-vm benchmark</title>",
"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
"<style>",
"body { font: 15px/1.5 sans-serif; max-width: 800px; margin: 2em auto; padding: 0 1em; color: #222; }",
"h2 { margin-top: 2.5em; border-bottom: 1px solid #ccc; } h3 { margin: 1.8em 0 .4em; font-size: 1em; }",
"table { border-collapse: collapse; } td, th { padding: .15em .8em .15em 0; text-align: right; white-space: nowrap; }",
"td:first-child, th:first-child { text-align: left; white-space: normal; } th { font-weight: normal; color: #666; }",
"tr + tr td { border-top: 1px solid #eee; } .missed { color: #b00020; } svg { max-width: 100%; height: auto; }",
"</style></head><body>",
"<h1>appc-vm benchmark</h1>",
"<p>\(.host.date | @html), commit \(.host.commit | @html). \(.host.cpu | @html), \(.host.cpus) CPUs, \(.host.memory | @html), " +
	"Linux \(.host.kernel | @html); machines of \(.host.machine_memory_mib) MiB with one vCPU." +
	(if .host.quick then " A quick run: few samples." else "" end) + "</p>",
(if .host.guest_kernel_is_emulated then
	"<p>KVM emulates the guest kernel on this host, about a microsecond for each instruction. Times of what runs in a " +
	"guest kernel say little about other hosts; ratios between machines, guest kernel instructions, memory and the " +
	"host's own share do.</p>"
else "" end),
"<p>Medians; the plots' lines go from the lower to the upper quartile. A ratio is the median of the ratios of " +
	"samples of the same round.</p>",
"<table><tr><th>competitor</th><th>version</th></tr>",
(.competitors[] | "<tr>\(.title | cell)\(.version | cell)</tr>"),
(.skipped[] | "<tr>\(.name | cell)\("skipped: " + .reason | cell)</tr>"),
"</table>",
"<h2>Bars</h2>",
"<table><tr><th></th><th>bar</th><th>here</th><th></th></tr>",
(.bars[] | "<tr>\(.what | cell)" +
	"\(if .at_most then "at most \(.at_most)" else "at least \(.at_least)" end | cell)" +
	"\(if .value == null then "not measured" else .value | number end | cell)" +
	"\(if .met == null then "<td></td>" elif .met then "<td>met</td>" else "<td class=\"missed\">missed</td>" end)</tr>"),
"</table>",
(.measures[] | .name as $measure |
	"<h2>\(.title | @html)</h2>",
	(if $measure == "memory" then "@plot memory" else empty end),
	(.metrics[] |
		([.rows[].ratios[].to] | unique) as $to |
		"<h3>\(.title | @html), \(.unit | @html)</h3>",
		(if $measure == "memory" then empty else "@plot \($measure)-\(.name)" end),
		"<table><tr><th></th><th>median</th><th>quartiles</th>\($to | map("<th>× \($titles[.] // . | @html)</th>") | add // "")<th>n</th></tr>",
		(.rows[] | . as $row |
			"<tr>\($titles[.competitor] // .competitor | cell)\(.median | number | cell)" +
			"\("\(.q1 | number) – \(.q3 | number)" | cell)" +
			($to | map(. as $name | $row.ratios | map(select(.to == $name)) |
				if length > 0 then .[0].median | number else "" end | cell) | add // "") + "\(.n | cell)</tr>"),
		"</table>"
	)
),
"</body></html>"
