# SPDX-License-Identifier: Apache-2.0
# Samples to results: for each metric the median and quartiles of each competitor, and ratios to the
# references, pair by pair: each sample against the one of the same round, then the median of that.
# Input: $samples, $host, $competitors, $skipped, $metrics (arrays, --slurpfile).

def quantile($q):
	sort | ((length - 1) * $q) as $at | ($at | floor) as $i |
	.[$i] + ($at - $i) * ((.[$i + 1] // .[$i]) - .[$i]);

def spread: {
	n: length, median: quantile(0.5), q1: quantile(0.25), q3: quantile(0.75), least: min, most: max
};

def rounds_of($competitor):
	map(select(.competitor == $competitor)) | map({key: (.round | tostring), value}) | from_entries;

# Both are objects of round -> value.
def pairs($to):
	to_entries | map(select($to[.key] != null and $to[.key] > 0) | .value / $to[.key]);

$metrics[0] as $known |
($competitors | map(.name)) as $order |
def position: . as $name | ($order | index($name)) // 99;

[$known.measures[] as $measure |
	($samples | map(select(.measure == $measure.name))) as $mine |
	select($mine | length > 0) |
	$measure + {
		metrics: [
			($mine | reduce .[].metric as $m ([]; if index($m) then . else . + [$m] end))[] as $metric |
			($mine | map(select(.metric == $metric))) as $of |
			{
				name: $metric, title: ($known.metrics[$metric] // ($metric | gsub("_"; " "))),
				unit: $of[0].unit,
				rows: [
					$of | map(.competitor) | unique | sort_by(position)[] as $competitor |
					($of | rounds_of($competitor)) as $values |
					{competitor: $competitor} + ($values | map(.) | spread) + {
						ratios: [
							$known.references[] as $to | select($to != $competitor) |
							($values | pairs($of | rounds_of($to))) as $pairs |
							select($pairs | length > 0) | {to: $to} + ($pairs | spread)
						]
					}
				]
			}
		]
	}
] as $measures |

def bar_value:
	. as $bar | ($samples | map(select(.measure == $bar.measure))) as $mine |
	($mine | map(select(.metric == $bar.metric)) | rounds_of($bar.competitor)) as $values |
	(if $bar.to then
		$values | pairs($mine | map(select(.metric == ($bar.to_metric // $bar.metric))) | rounds_of($bar.to))
	else
		$values | map(.)
	end) |
	if length == 0 then null elif $bar.least then min else quantile(0.5) end;

{
	host: $host[0],
	competitors: $competitors,
	skipped: $skipped,
	measures: $measures,
	bars: [
		$known.bars[] | . as $bar | bar_value as $value | {
			what, at_most, at_least, value: $value,
			met: (if $value == null then null
				elif .at_most then $value <= .at_most else $value >= .at_least end)
		}
	]
}
