#!/bin/bash
# Builds the guest kernel and prints the path of its vmlinux; everything else goes to standard error.
#
# usage: build.sh [--print-path]
#
#   --print-path   only print where the vmlinux is or would be; build nothing
#
# The result is cached by a hash of everything that goes into it, in
#   ${XDG_CACHE_HOME:-$HOME/.cache}/appc-vm/kernel/HASH/{vmlinux,config,System.map}
#
# KERNEL_SRC   a kernel tree or tarball; default: Debian's linux-source-6.12
# JOBS         compilers at once; default: one per CPU
# CC           the compiler; default: gcc

set -euo pipefail
export LC_ALL=C
unset MAKEFLAGS MFLAGS MAKELEVEL KBUILD_OUTPUT ARCH CROSS_COMPILE

here=$(cd "$(dirname "$0")" && pwd)
fragment=$here/pod.config
source=${KERNEL_SRC:-/usr/src/linux-source-6.12.tar.xz}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/appc-vm/kernel
jobs=${JOBS:-$(nproc)}
cc=${CC:-gcc}

say()
{
	printf 'kernel: %s\n' "$*" >&2
}

die()
{
	say "$*"
	exit 1
}

# A tarball is told by name, size and time: hashing its 150 MB would cost a second on each call.
source_identity()
{
	if [ -d "$source" ]; then
		(cd "$source" && find . -path ./.git -prune -o -type f -printf '%P %s %T@\n' | sort | sha256sum)
	else
		stat -L -c "$(basename "$source") %s %Y" "$source"
	fi
}

# Comments of the fragment and headers of the patches may change without a new build.
build_hash()
{
	local patch

	{
		grep -E '^(CONFIG_|# CONFIG_.* is not set$)' "$fragment"
		cat "$here/build.sh"
		for patch in "$here"/patches/*.patch; do
			basename "$patch"
			sed -n '/^--- /,$p' "$patch"
		done
		source_identity
		"$cc" --version | head -n 1
		ld --version | head -n 1
	} | sha256sum | cut -c 1-20
}

check_tools()
{
	local tool missing=

	for tool in "$cc:gcc" ld:binutils make:make flex:flex bison:bison bc:bc patch:patch xz:xz-utils flock:util-linux; do
		command -v "${tool%%:*}" >/dev/null || missing="$missing ${tool##*:}"
	done
	# objtool, which prepares the CPU mitigations, reads ELF files with libelf
	echo '#include <gelf.h>' | "$cc" -E - >/dev/null 2>&1 || missing="$missing libelf-dev"
	[ -e "$source" ] || [ -n "${KERNEL_SRC:-}" ] || missing="$missing linux-source-6.12"
	[ -z "$missing" ] || die "missing packages; as root: apt-get install -y$missing"
	[ -e "$source" ] || die "KERNEL_SRC: no such file or directory: $source"
}

# Other architectures and the code of driver families that the fragment leaves off stay packed.
# Their Kconfig files are read all the same.
unpack_source()
{
	local arch family
	local -a exclude=(--exclude=./.git --exclude=./.config --exclude='*.o' --exclude='*.cmd')

	for arch in alpha arc arm arm64 csky hexagon loongarch m68k microblaze mips nios2 openrisc parisc \
		powerpc riscv s390 sh sparc xtensa; do
		exclude+=(--exclude="*/arch/$arch/*.[chS]" --exclude="*/arch/$arch/*.dts*")
	done
	for family in drivers/gpu drivers/media drivers/net/ethernet drivers/net/wireless drivers/infiniband \
		drivers/scsi drivers/staging drivers/iio drivers/usb sound; do
		exclude+=(--exclude="*/$family/*.[ch]")
	done
	exclude+=(--exclude='*/Documentation/*.rst' --exclude='*/Documentation/*.yaml'
		--exclude='*/tools/testing/*' --exclude='*/tools/perf/*')

	mkdir "$work/src"
	if [ -d "$source" ]; then
		exclude+=(--exclude=./include/config --exclude=./include/generated
			--exclude=./arch/x86/include/generated)
		tar -C "$source" -c "${exclude[@]}" . | tar -C "$work/src" -x
	else
		tar -C "$work/src" -x --strip-components=1 "${exclude[@]}" -f "$source"
	fi
	[ -e "$work/src/Kbuild" ] || die "$source: not a Linux kernel source"
}

apply_patches()
{
	local patch

	for patch in "$here"/patches/*.patch; do
		patch -d "$work/src" -p1 -s -f --no-backup-if-mismatch -F 1 <"$patch" >&2 ||
			die "$(basename "$patch") does not apply to $source"
	done
}

kernel_make()
{
	make -C "$work/src" O="$work/obj" ARCH=x86_64 CC="$cc" KBUILD_BUILD_USER=appc-vm KBUILD_BUILD_HOST=appc-vm \
		KBUILD_BUILD_VERSION=1 KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970' "$@"
}

# Kconfig drops a line whose dependencies are not met without a word.
check_config()
{
	local line symbol bad=

	while read -r line; do
		case $line in
		CONFIG_*)
			grep -qxF -- "$line" "$work/obj/.config" || bad="$bad ${line%%=*}"
			;;
		'# CONFIG_'*' is not set')
			symbol=${line#\# }
			symbol=${symbol%% *}
			! grep -q "^$symbol=" "$work/obj/.config" || bad="$bad $symbol"
			;;
		esac
	done <"$fragment"
	[ -z "$bad" ] || die "pod.config: these lines did not take effect:$bad"
}

configure_kernel()
{
	mkdir "$work/obj"
	{
		kernel_make KCONFIG_ALLCONFIG="$fragment" allnoconfig &&
			kernel_make olddefconfig
	} >"$work/log" 2>&1 || fail_with_log "the configuration failed"
	check_config
}

fail_with_log()
{
	local log

	mkdir -p "$cache"
	log=$cache/failed-$hash.log
	cp "$work/log" "$log"
	grep -nE 'error|Error|warning:' "$log" | tail -n 20 >&2 || true
	tail -n 20 "$log" >&2
	die "$1; the whole log is $log"
}

compile_kernel()
{
	local pid start=$SECONDS

	kernel_make -j"$jobs" vmlinux >"$work/log" 2>&1 &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		sleep 1
		[ $(((SECONDS - start) % 5)) -eq 0 ] || continue
		say "$(grep -cE '^  (CC|AS) ' "$work/log" || true) of about 1560 files compiled," \
			"$((SECONDS - start)) s"
	done
	wait "$pid" || fail_with_log "the build failed"
}

stop_build()
{
	local pids

	pids=$(jobs -p)
	# shellcheck disable=SC2086 # one word per process
	[ -z "$pids" ] || { kill $pids 2>/dev/null && wait; } || true
	rm -rf "$work"
}

store_kernel()
{
	mkdir "$work/out"
	# symbols are in System.map; the loader reads segments only
	strip -s -o "$work/out/vmlinux" "$work/obj/vmlinux"
	cp "$work/obj/System.map" "$work/out/System.map"
	cp "$work/obj/.config" "$work/out/config"
	sync -f "$work/out"
	rm -rf "${cache:?}/$hash"
	mv -T "$work/out" "$cache/$hash"
}

case ${1:-} in
--print-path | '') ;;
*) die "usage: build.sh [--print-path]" ;;
esac

if ! command -v "$cc" >/dev/null || ! command -v ld >/dev/null || [ ! -e "$source" ]; then
	check_tools
fi
hash=$(build_hash)
vmlinux=$cache/$hash/vmlinux

if [ "${1:-}" != --print-path ] && [ ! -e "$vmlinux" ]; then
	check_tools
	mkdir -p "$cache"
	exec 9>"$cache/$hash.lock"
	flock -n 9 || {
		say "another build of the same kernel is running; waiting for it"
		flock 9
	}
	if [ ! -e "$vmlinux" ]; then
		# we hold the lock: whatever lies here was left by a build that was killed
		rm -rf "$cache/$hash".build.*
		work=$(mktemp -d "$cache/$hash.build.XXXXXX")
		trap stop_build EXIT
		trap 'exit 130' INT TERM HUP
		say "unpacking $source"
		unpack_source
		apply_patches
		configure_kernel
		say "compiling with $jobs jobs; this takes some minutes, once"
		compile_kernel
		store_kernel
		say "done in $SECONDS s"
	fi
	rm -f "$cache/$hash.lock"
fi
echo "$vmlinux"
