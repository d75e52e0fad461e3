#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The specification's own validator of executors (its ace/, a Go program), from Debian's packages: built, made into its
# two images, and run as one pod in a container and in a machine.
#
#   tests/validator.sh [FLAVOUR...]    container and vm when none is named
#
# Each of its phases, pre-start, main, sidekick and post-stop, must say OK. Where KVM emulates the guest's kernel the
# main phase cannot, and for one reason only: it gives an HTTP request 100 ms (docs/metadata.md). That is told, and no
# failure. Everything is in build/validator.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
work=$top/build/validator
appc_vm=${APPC_VM:-$top/build/appc-vm}
source=/usr/share/gocode/src/github.com/appc/spec/ace

# manifest NAME WORD [FILTER]
manifest()
{
	jq --null-input --arg name "coreos.com/ace-validator-$1" --arg word "$2" '{
		acKind: "ImageManifest", acVersion: "0.8.11", name: $name,
		labels: [{name: "version", value: "0.8.11"}, {name: "os", value: "linux"}, {name: "arch", value: "amd64"}],
		app: {
			exec: ["/ace-validator", $word], user: "0", group: "0",
			mountPoints: [{name: "database", path: "/db", readOnly: false}]
		}
	} | '"${3:-.}"
}

main_filter='.annotations = [{name: "created", value: "2015-02-16T00:00:00Z"}] | .app += {
	workingDirectory: "/opt/acvalidator",
	environment: [{name: "IN_ACE_VALIDATOR", value: "correct"}],
	ports: [{name: "www", protocol: "tcp", port: 80}],
	eventHandlers: [{name: "pre-start", exec: ["/ace-validator", "prestart"]},
		{name: "post-stop", exec: ["/ace-validator", "poststop"]}]}'

build()
{
	mkdir -p "$work"/{main,sidekick}/rootfs/opt/acvalidator
	(cd "$source" && GOPATH=/usr/share/gocode GO111MODULE=off GOFLAGS='' GOCACHE="$work/cache" CGO_ENABLED=0 \
		go build -ldflags='-s -w' -o "$work/ace-validator" .)
	manifest main main "$main_filter" >"$work/main/manifest"
	manifest sidekick sidekick >"$work/sidekick/manifest"
	for image in main sidekick; do
		cp "$work/ace-validator" "$work/$image/rootfs/"
		tar --create --file "$work/$image.aci" --directory "$work/$image" --owner=0 --group=0 manifest rootfs
	done
}

# Whether the guest's kernel is emulated, and the main phase was late for that reason alone; the sidekick waits for it.
only_late()
{
	[ "$1" = vm ] && grep -q '^==> ' "$work/$1.err" &&
		jq --exit-status '.guest_kernel_instructions.total > 0' <<<"$(grep '^{' "$work/$1.err")" >/dev/null &&
		! grep '^==> ' "$work/$1.err" | grep -qv 'Client.Timeout\|context deadline exceeded\|timed out waiting for /db/'
}

run_in()
{
	local flavour=$1 phase failed=0
	"$appc_vm" "--dir=$work/data" --insecure-options=image run "--flavour=$flavour" --timing=json \
		--volume=database,kind=empty "$work/main.aci" "$work/sidekick.aci" \
		>"$work/$flavour.out" 2>"$work/$flavour.err" </dev/null || true
	for phase in prestart main sidekick poststop; do
		if grep -qi "$phase OK\$" "$work/$flavour.out"; then
			echo "ok - $flavour: $phase"
		elif [[ $phase == main || $phase == sidekick ]] && only_late "$flavour"; then
			echo "ok - $flavour: $phase # late: 100 ms are too few where the guest's kernel is emulated"
		else
			echo "not ok - $flavour: $phase"
			failed=1
		fi
	done
	[ "$failed" -eq 0 ] || cat "$work/$flavour".{out,err} >&2
	return "$failed"
}

mkdir -p "$work"
build
result=0
for flavour in "${@:-container vm}"; do
	for one in $flavour; do
		[ "$one" != vm ] || [ -c /dev/kvm ] || continue
		run_in "$one" || result=1
	done
done
exit "$result"
