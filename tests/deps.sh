#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs what building, testing and the demo need on Debian 12, through apt: exactly what is missing.
#
#   tests/deps.sh          installs (as root), or prints the one command that would (otherwise)
#   tests/deps.sh --list   prints the packages, one a line
#   tests/deps.sh --bench  the same as without, for what make bench needs beside them; --validator: make validator
#
# Nothing is started and nothing is configured. KERNEL_SRC=... (see kernel-config/build.sh) takes the
# place of linux-source-6.12.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
	# the program
	gcc make libc6-dev
	libjansson-dev   # JSON
	libfdt-dev       # the device tree
	libarchive-dev   # images
	libcurl4-openssl-dev # images from http servers; loaded when it is needed
	gpgv              # their signatures
	liburing-dev     # file requests
	libseccomp-dev   # numbers of system calls
	python3          # filters from the tags in the sources
	passt            # networks of pods
	nftables         # those on a bridge
	openssh-client dropbear-bin busybox-static openssh-sftp-server rsync # ssh into pods

	# the guest kernel
	linux-source-6.12 # in bookworm-security
	xz-utils patch    # its archive, our patches
	flex bison bc perl cpio kmod
	libelf-dev        # objtool
	libssl-dev        # certificates in scripts/

	# images of the examples and the tests
	jq          # manifests
	debootstrap # the Debian image
	debian-archive-keyring
	bzip2

	# tests
	libcmocka-dev     # unit tests
	libasan8 libubsan1 # sanitizers (gcc)
	clang             # fuzz harnesses
	libclang-rt-14-dev # libFuzzer and sanitizers (clang)
	llvm-14           # symbols in their reports
	bats procps bsdutils # functional tests
	iproute2 util-linux  # hosts of their own in them
	gpg gpg-agent     # keys and signatures in them
	openssl strace    # servers in them, what system calls are made
	gdbserver         # in the debug shell
	valgrind          # make valgrind

	# make lint
	clang-format clang-tidy cppcheck shellcheck
)
# make bench: whom we are compared with, and what draws the plots.
bench_packages=(
	crun runc
	qemu-system-x86 # with virtiofsd
	redis-tools # a server, asked over each kind of network
	gnuplot-nox
	busybox-static git procps
)
# make validator: the specification's source, and what it is built with.
validator_packages=(golang-go golang-github-appc-spec-dev jq)
case "${1:-}" in
--bench) packages=("${bench_packages[@]}") ;;
--validator) packages=("${validator_packages[@]}") ;;
esac
if [ -n "${KERNEL_SRC:-}" ]; then
	for index in "${!packages[@]}"; do
		[ "${packages[index]}" != linux-source-6.12 ] || unset "packages[index]"
	done
fi

if [ "${1:-}" = --list ]; then
	printf '%s\n' "${packages[@]}"
	exit 0
fi

# dpkg-query lists a package of any state; "ii" is the installed one.
installed=$(dpkg-query -W -f='${db:Status-Abbrev}${Package}\n' "${packages[@]}" 2>/dev/null |
	sed -n 's/^.i *//p' || true)
missing=()
for package in "${packages[@]}"; do
	[[ $'\n'$installed$'\n' == *$'\n'$package$'\n'* ]] || missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
	echo "deps: ${#missing[@]} packages are missing; as root, run:" >&2
	echo "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive
# shellcheck source=tests/step.bash
. tests/step.bash
step_begin build/deps.log deps

apt()
{
	apt-get -y -q --no-install-recommends -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 \
		-o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@"
}

step "reading the package lists" apt update
for package in "${missing[@]}"; do
	if [ "$(apt-cache policy "$package" | sed -n 's/^ *Candidate: //p')" = "" ]; then
		echo "deps: apt knows no package $package. This needs Debian 12 with bookworm," \
			"bookworm-updates and bookworm-security in its sources." >&2
		exit 1
	fi
done
step "downloading ${#missing[@]} packages and what they need (some minutes on a slow line)" \
	apt install --download-only "${missing[@]}"
# policy-rc.d would be the other way to keep services from being started; none of these has one.
step "installing them" apt install "${missing[@]}"
