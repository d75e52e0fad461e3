#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Starts QEMU with a folder shared under the tag "pod", and the file server that it needs for it.
#
#   qemu.sh virtiofs|9p WORK FOLDER VIRTIOFSD QEMU [ARGUMENT...]
#
# The process becomes QEMU; virtiofsd is its child and ends with it.
set -euo pipefail

kind=$1 work=$2 folder=$3 virtiofsd=$4
shift 4

case $kind in
virtiofs)
	socket=$work/virtiofsd-$$.socket
	"$virtiofsd" --socket-path="$socket" -o source="$folder" -o cache=always -o log_level=err \
		>"$work/virtiofsd.log" 2>&1 </dev/null &
	until [ -S "$socket" ]; do
		kill -0 $! 2>/dev/null || {
			cat "$work/virtiofsd.log" >&2
			exit 1
		}
		sleep 0.002
	done
	set -- "$@" -chardev "socket,id=fs,path=$socket" -device vhost-user-fs-device,chardev=fs,tag=pod
	;;
9p)
	set -- "$@" -fsdev "local,id=fs,path=$folder,security_model=none" \
		-device virtio-9p-device,fsdev=fs,mount_tag=pod
	;;
esac
exec "$@"
