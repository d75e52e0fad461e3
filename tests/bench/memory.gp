# SPDX-License-Identifier: Apache-2.0
# Proportional share of an idle pod over the number of pods, a line for each competitor.
# Variables: data (blocks of "pods MiB", each headed by its title), output, count (of blocks).
set terminal svg size 760, 420 font "sans-serif,12" noenhanced background "#ffffff"
set output output
set logscale xy
set xlabel "idle pods"
set ylabel "proportional share of each, MiB"
set xrange [0.8 : *]
set xtics (1, 10, 50)
set format y "%g"
set grid lc "#dddddd"
set border 3 lc "#888888"
set tics nomirror
set key outside right top
plot for [i = 0 : count - 1] data index i using 1:2 with linespoints lw 2 pt 7 ps 0.7 title columnheader(1)
