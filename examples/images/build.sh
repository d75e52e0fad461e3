#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes an App Container image (ACI) from Debian packages and prints its path.
#
#   examples/images/build.sh NAME      NAME is a folder beside this script
#
# The folder holds
#   manifest.json  the image manifest; where "packages" is there, the label "version" is added, the
#                  Debian version of the first of them
#   packages       Debian packages whose files make the root filesystem, with the libraries they need;
#                  their maintainer scripts do not run
#   rootfs/        files to add to it
# "debian" is a whole minimal system instead, made by debootstrap; only that needs root.
#
# Images are kept in ${XDG_CACHE_HOME:-~/.cache}/appc-vm/images under a name that changes with the
# folder, with this script and with apt's package lists.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/step.bash
. "$top/tests/step.bash"

name=${1:?"usage: build.sh NAME"}
folder=$top/examples/images/$name
[ -f "$folder/manifest.json" ] || {
	echo "build.sh: no such image: $name" >&2
	exit 2
}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/appc-vm/images
mkdir -p "$cache"

candidate()
{
	apt-cache policy "$1" | sed -n 's/^ *Candidate: //p'
}

fingerprint()
{
	{
		sha256sum <"$0"
		(cd "$folder" && find . -type f -printf '%m %p\n' -exec sha256sum {} + | LC_ALL=C sort)
		# apt gives its lists the time stamps of the archive: they change when the archive does.
		[ ! -e "$folder/packages" ] ||
			find /var/lib/apt/lists -name '*_Packages*' -printf '%f %s %T@\n' | LC_ALL=C sort
	} | sha256sum | cut -c1-16
}

lists_update()
{
	apt-get -q -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 update
}

# What packages need: libraries only, which is all that a program without its scripts can use.
with_libraries()
{
	local all=("$@") fresh=("$@") found
	while [ "${#fresh[@]}" -gt 0 ]; do
		mapfile -t found < <(apt-cache depends --important "${fresh[@]}" |
			sed -n 's/^ *\(Pre\)\?Depends: \(lib[^:<>]*\)$/\2/p' | sort -u)
		fresh=()
		for package in "${found[@]}"; do
			[[ " ${all[*]} " == *" $package "* ]] || fresh+=("$package")
		done
		all+=("${fresh[@]}")
	done
	printf '%s\n' "${all[@]}"
}

packages_unpack()
{
	local packages archive
	mapfile -t packages < <(with_libraries "$@")
	mkdir "$work/archives"
	# Not apt-get's sandbox user: the cache below a home directory is closed to it.
	(cd "$work/archives" && apt-get -q -o APT::Sandbox::User=root -o Acquire::Retries=3 \
		download "${packages[@]}") || return 1
	for archive in "$work"/archives/*.deb; do
		dpkg-deb --extract "$archive" "$work/rootfs" || return 1
	done
	# Documentation, debugger scripts, service files: nothing that the programs read.
	rm -rf "$work"/rootfs/usr/share "$work"/rootfs/usr/lib/x86_64-linux-gnu/gconv
	rm -rf "$work"/rootfs/{etc/init.d,etc/default,etc/logrotate.d} "$work"/rootfs/{usr/,}lib/systemd
}

# Every library that a file in the root filesystem names must be there too.
libraries_check()
{
	local missing=0 file library
	while IFS=' ' read -r file library; do
		if [ -z "$(find "$work/rootfs" -name "$library" -print -quit)" ]; then
			echo "$file needs $library, which no package brought" >&2
			missing=1
		fi
	done < <(find "$work/rootfs" -type f -size +0 -print0 |
		xargs -0 -r readelf --dynamic --wide --file-header 2>/dev/null |
		sed -n -e 's/^File: //;t file' -e 's/.*(NEEDED).*\[\(.*\)\]/\1/;t needed' -e d \
			-e ':file' -e h -e d -e ':needed' -e 'G;s/\(.*\)\n\(.*\)/\2 \1/p' | sort -u)
	return "$missing"
}

busybox_links()
{
	local applet
	"$work/rootfs/bin/busybox" --list | while read -r applet; do
		[ "$applet" = busybox ] || ln -s busybox "$work/rootfs/bin/$applet" || return 1
	done
}

debian_bootstrap()
{
	local mirror
	# shellcheck disable=SC2016 # the variables are apt's
	mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT) $(CREATED_BY)' |
		awk '$2 == "bookworm" && $3 == "main" && $4 == "Packages" { print $1; exit }')
	debootstrap --variant=minbase bookworm "$work/rootfs" \
		"${mirror:-http://deb.debian.org/debian}" || return 1
	rm -rf "$work"/rootfs/var/cache/apt/* "$work"/rootfs/var/lib/apt/lists/* \
		"$work"/rootfs/var/log/* "$work"/rootfs/usr/share/{doc,man,locale,info} \
		"$work"/rootfs/{dev,proc,sys,run,tmp}/* "$work"/rootfs/etc/resolv.conf
}

archive_pack()
{
	local version=$1 owner=() sorted=(--sort=name --numeric-owner --xattrs)
	if [ -n "$version" ]; then
		jq --tab --arg version "$version" \
			'.labels += [{name: "version", value: $version}]' "$folder/manifest.json"
	else
		cat "$folder/manifest.json"
	fi >"$work/manifest" || return 1
	# Files of packages all belong to root. Time stamps of directories made here would change the
	# image's id from one build to the next.
	[ "$name" = debian ] || owner=(--owner=0 --group=0 --mtime=@0)
	tar --create --gzip --file "$work/image.aci" --directory "$work" "${sorted[@]}" "${owner[@]}" \
		manifest rootfs
}

exec 9>"$cache/.lock-$name"
flock 9
if [ -e "$folder/packages" ] && [ -z "$(find /var/lib/apt/lists -name '*_Packages*' -print -quit)" ]; then
	step_begin "$cache/$name.log" "image $name"
	step "reading apt's package lists" lists_update
fi
aci=$cache/$name-$(fingerprint).aci
if [ -f "$aci" ]; then
	touch "$aci"
	echo "$aci"
	exit 0
fi

step_begin "$cache/$name.log" "image $name"
work=$(mktemp -d "$cache/.build-$name-XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
mkdir -m 755 "$work/rootfs"
version=
if [ "$name" = debian ]; then
	step "debootstrap (one or two minutes)" debian_bootstrap
elif [ -e "$folder/packages" ]; then
	mapfile -t packages <"$folder/packages"
	if ! step "unpacking Debian packages" packages_unpack "${packages[@]}"; then
		# The archive keeps only the newest version of a package, and our lists may be older.
		step "reading apt's package lists" lists_update
		rm -rf "$work/archives"
		step "unpacking Debian packages again" packages_unpack "${packages[@]}"
		aci=$cache/$name-$(fingerprint).aci
	fi
	version=$(candidate "${packages[0]}")
	version=${version#*:}
	[ "$name" != busybox ] || step "links to the applets" busybox_links
	step "checking the libraries" libraries_check
fi
if [ -d "$folder/rootfs" ]; then
	cp -RT --preserve=mode "$folder/rootfs" "$work/rootfs"
fi
step "packing" archive_pack "$version"
mv "$work/image.aci" "$aci"
find "$cache" -maxdepth 1 -name "$name-*.aci" -mtime +30 -delete
echo "$aci"
