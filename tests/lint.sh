#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Static checks, each over the whole project; all run, and the status is 1 when one found something.
#
#   format      clang-format, .clang-format
#   compiler    gcc with every warning of the Makefile as an error
#   clang-tidy  .clang-tidy; a file that was clean is not read again until something in it, in a header of it or in
#               the settings has changed: ${XDG_CACHE_HOME:-~/.cache}/appc-vm/lint holds the hashes
#   analyzer    gcc -fanalyzer, of the program and of guest-init; tests/lint_gcc_analyzer.txt says which reports are not so. A
#               file is read again as for clang-tidy
#   cppcheck    warnings, performance, portability
#   scripts     shellcheck
#
#   tests/lint.sh [CHECK...]    all checks when none is named
# shellcheck disable=SC2317 # the checks are called by name
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

# What the Makefile defines for every source.
flags=(-std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -Ibuild/lint/generated '-DAPPC_VM_VERSION="lint"')
stamps=${XDG_CACHE_HOME:-$HOME/.cache}/appc-vm/lint

# tidy_hash FLAG...: all that decides what clang-tidy finds: its settings, the arguments, and every file that the
# preprocessor reads, comments and all, for NOLINT is one.
tidy_hash()
{
	local read
	read=$(clang -M -MT source "$@" 2>/dev/null | sed 's/^source: //; s/ \\$//' | tr -s ' ' '\n' | sed '/^$/d') || return
	{
		printf '%s\n' "$TIDY_SETTINGS" "$*"
		xargs sha256sum <<<"$read"
	} | sha256sum | cut -d ' ' -f 1
}

# tidy_one FILE: only what was clean leaves a stamp.
tidy_one()
{
	local file=$1 output hash arguments=("${flags[@]}")
	[ "$file" = base/error.c ] || arguments+=(-include tests/lint_analyzer.h)
	hash=$(tidy_hash "${arguments[@]}" "$file") || hash=
	if [ -n "$hash" ] && [ -e "$stamps/$hash" ]; then
		touch "$stamps/$hash"
		return
	fi
	output=$(clang-tidy --quiet "$file" -- "${arguments[@]}" 2>&1)
	local status=$?
	output=$(grep -v 'warnings\? generated' <<<"$output")
	[ -z "$output" ] || printf '%s\n' "$output"
	# The file may have been edited meanwhile.
	if [ "$status" = 0 ] && [ -z "$output" ] && [ -n "$hash" ] &&
		[ "$(tidy_hash "${arguments[@]}" "$file")" = "$hash" ]; then
		: >"$stamps/$hash"
	fi
	return "$status"
}

# analyzer_one FILE: the same with gcc -fanalyzer.
analyzer_one()
{
	local file=$1 output hash known found differs
	known=$(grep "^$file " tests/lint_gcc_analyzer.txt | cut -d ' ' -f 1-3)
	hash=$(TIDY_SETTINGS="$(gcc --version | head -n 1) $known" tidy_hash "${flags[@]}" "$file") || hash=
	if [ -n "$hash" ] && [ -e "$stamps/$hash" ]; then
		touch "$stamps/$hash"
		return
	fi
	output=$(LC_ALL=C gcc "${flags[@]}" -O2 -fanalyzer -fdiagnostics-plain-output -c -o /dev/null "$file" 2>&1) || {
		printf '%s\n' "$output"
		return 1
	}
	# Of what is in a header it loses whose it is: cleanup functions for variables that are set.
	found=$(awk -v file="$file" '
		/: In function / { split($0, words, "\047"); name = words[2] }
		index($0, file ":") == 1 && match($0, /\[-Wanalyzer-[a-z-]*\]$/) {
			print file, name, substr($0, RSTART + 1, RLENGTH - 2)
		}' <<<"$output" | LC_ALL=C sort -u)
	differs=$(diff <(LC_ALL=C sort -u <<<"$known") <(echo "$found"))
	if [ -n "$differs" ]; then
		# (">" is new, "<" is reported no more.)
		printf '%s\n%s\n' "$differs" "$(grep -A 40 -F 'Wanalyzer' <<<"$output")"
		return 1
	fi
	[ -z "$hash" ] || : >"$stamps/$hash"
}

case ${1:-} in # one file
--tidy | --analyzer)
	"${1#--}_one" "$2"
	exit
	;;
esac

mapfile -t sources < <(find . -path ./build -prune -o -path ./.git -prune -o -name '*.c' -print |
	sed 's,^\./,,' | LC_ALL=C sort)
mapfile -t headers < <(find . -path ./build -prune -o -path ./.git -prune -o -name '*.h' -print |
	sed 's,^\./,,' | LC_ALL=C sort)
mapfile -t scripts < <(find . -path ./build -prune -o -path ./.git -prune -o -type f \
	\( -name '*.sh' -o -name '*.bash' -o -name '*.bats' -o -path ./.ci/run -o \
	-path '*/rootfs/bin/*' \) -print | sed 's,^\./,,' | LC_ALL=C sort)
cpus=$(nproc)

format()
{
	clang-format --dry-run -Werror "${sources[@]}" "${headers[@]}"
}

compiler()
{
	make --no-print-directory -j "$cpus" BUILD=build/lint WERROR=1 all
}

# What the Makefile makes that sources include.
generated()
{
	make --no-print-directory BUILD=build/lint build/lint/generated/filter_programs.h build/lint/generated/ssh_server.h
}

tidy()
{
	generated
	mkdir -p "$stamps"
	find "$stamps" -type f -mtime +30 -delete
	TIDY_SETTINGS=$(
		clang-tidy --version
		find . -path ./build -prune -o -name .clang-tidy -exec sha256sum {} + | LC_ALL=C sort
	)
	export TIDY_SETTINGS
	printf '%s\0' "${sources[@]}" | xargs -0 -n 1 -P "$cpus" tests/lint.sh --tidy
}

# The tests are read by the others.
analyzer()
{
	local file
	generated
	mkdir -p "$stamps"
	while read -r file _; do
		[ "$file" = '#' ] || [ -e "$file" ] || {
			echo "tests/lint_gcc_analyzer.txt: there is no $file"
			return 1
		}
	done <tests/lint_gcc_analyzer.txt
	printf '%s\0' "${sources[@]}" | grep -zv '^tests/' | xargs -0 -n 1 -P "$cpus" tests/lint.sh --analyzer
}

cppcheck_all()
{
	generated
	mkdir -p build/lint/cppcheck
	# It does not know __attribute__((cleanup)), so it sees leaks everywhere; the unit tests run with
	# the leak sanitizer. readdir() is safe with one thread for a directory, and strsep() is often
	# called for what it does to its argument.
	cppcheck --quiet --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
		--std=c11 --library=posix,gnu,tests/cppcheck.cfg --suppress=missingIncludeSystem --suppress=memleak \
		--suppress=resourceLeak --suppress=readdirCalled --suppress=ignoredReturnValue:guest-init/* \
		--cppcheck-build-dir=build/lint/cppcheck -j "$cpus" \
		-D_GNU_SOURCE -D__x86_64__ '-DAPPC_VM_VERSION="lint"' -I. -Ibuild/lint/generated "${sources[@]}"
}

shell()
{
	shellcheck --external-sources "${scripts[@]}"
}

result=0
check()
{
	local name=$1 start=$SECONDS
	printf 'lint: %-11s' "$name"
	mkdir -p build/lint
	if "$2" >"build/lint/$name.log" 2>&1 </dev/null; then
		printf 'clean  (%d s)\n' $((SECONDS - start))
	else
		result=1
		printf 'FAILED  (%d s)\n' $((SECONDS - start))
		sed 's/^/    /' "build/lint/$name.log"
	fi
}

for wanted in "${@:-format compiler clang-tidy analyzer cppcheck scripts}"; do
	for name in $wanted; do
		case $name in
		format) check format format ;;
		compiler) check compiler compiler ;;
		clang-tidy) check clang-tidy tidy ;;
		analyzer) check analyzer analyzer ;;
		cppcheck) check cppcheck cppcheck_all ;;
		scripts) check scripts shell ;;
		*)
			echo "usage: tests/lint.sh [format] [compiler] [clang-tidy] [analyzer] [cppcheck] [scripts]" >&2
			exit 2
			;;
		esac
	done
done
exit "$result"
