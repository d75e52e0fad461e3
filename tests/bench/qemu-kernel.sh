#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The guest kernel for QEMU: the same source, patches and configuration as ours, and qemu.config. Builds it
# unless that was done before (kernel-config/build.sh keeps it), and prints the path of its vmlinux.
#
#   qemu-kernel.sh WORK [ARGUMENT of build.sh...]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$1
shift

rm -rf "$work/kernel-config"
cp -R "$here/../../kernel-config" "$work/kernel-config"
# A line of the fragment must not say the opposite of a later one.
patterns=()
while read -r line; do
	case $line in
	CONFIG_*) patterns+=(-e "/^# ${line%%=*} is not set\$/d") ;;
	esac
done <"$here/qemu.config"
sed "${patterns[@]}" "$here/../../kernel-config/pod.config" >"$work/kernel-config/pod.config"
cat "$here/qemu.config" >>"$work/kernel-config/pod.config"
exec "$work/kernel-config/build.sh" "$@"
