# SPDX-License-Identifier: Apache-2.0
# One metric: a point for each competitor at its median, a line from quartile to quartile.
# Variables: data (title, median, q1, q3 in tab-separated columns), output, label, rows.
set terminal svg size 760, 70 + 26 * rows font "sans-serif,12" noenhanced background "#ffffff"
set output output
set datafile separator tab
set logscale x
set xlabel label
set yrange [rows - 0.5 : -0.5]
set ytics ()
set grid x lc "#dddddd"
set border 1 lc "#888888"
set tics nomirror
unset key
set lmargin 26
set format x "%g"
plot data using 2:0:3:4:ytic(1) with xerrorbars pt 7 ps 0.9 lw 2 lc "#20609f"
