#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Records what the machines of three pods say to their devices and to the host, and makes the seeds recorded-* of the
# harnesses in tests/fuzz of it (make fuzz-seeds): files shared with the host and not, streams and sessions, a network, apps that come
# and go. Needs /dev/kvm, passt and root, and takes some minutes where the guest's kernel is emulated.
# shellcheck disable=SC2016 # the variables are jq's
set -euo pipefail
cd "$(dirname "$0")/../../.."

work=$PWD/build/fuzz-record
rm -rf "$work"
mkdir -p "$work"
export APPC_RECORD=$work/record

appc_vm()
{
	timeout --kill-after=20 600 build/appc-vm-recording "--dir=$work/data" "$@"
}

# What fuzz_fuse has in its tree, with a link that nobody follows, and in its volumes: the shared one is empty.
mkdir -p "$work"/image/rootfs/{bin,etc,tmp,scratch/{directory,volumes}} "$work/shared" "$work/fixed/directory"
echo -n content | tee "$work/image/rootfs/scratch/file" >"$work/image/rootfs/scratch/directory/file"
ln -s ../../secret "$work/image/rootfs/scratch/link"
echo -n fixed >"$work/fixed/file"
cp build/guest-traffic "$work/image/rootfs/bin/traffic"
cp build/guest-network "$work/image/rootfs/bin/network"
cp build/guest-metadata "$work/image/rootfs/bin/metadata"
cp build/guest-probe "$work/image/rootfs/bin/probe"
cat >"$work/image/manifest" <<'JSON'
{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/traffic",
 "labels": [{"name": "os", "value": "linux"}, {"name": "arch", "value": "amd64"}],
 "app": {"exec": ["/bin/probe", "until-stopped"], "user": "0", "group": "0"}}
JSON
tar --create --file "$work/traffic.aci" --directory "$work/image" manifest rootfs
appc_vm image import "$work/traffic.aci" >/dev/null

# pod FILTER: a manifest, in $work/pod.json; app(NAME; WORDS) as in the functional tests.
pod()
{
	jq --null-input --arg shared "$work/shared" --arg fixed "$work/fixed" --argjson port "$port" '
		def app(name; words): {name: name, image: {name: "example.com/traffic"},
			app: {exec: words, user: "0", group: "0"}};
		{acVersion: "0.8.11", acKind: "PodManifest"} | '"$1" >"$work/pod.json"
}

# start COMMAND...: sets uuid when the pod's apps have been executed.
start()
{
	rm -f "$work/uuid"
	appc_vm "$@" --no-template "--uuid-file-save=$work/uuid" >"$work/out" 2>"$work/err" </dev/null &
	running=$!
	until [ -s "$work/uuid" ]; do
		kill -0 "$running" || {
			cat "$work/err" >&2
			exit 1
		}
		sleep 0.2
	done
	uuid=$(<"$work/uuid")
	appc_vm status --wait-ready "$uuid" >/dev/null
}

finish()
{
	appc_vm stop "$uuid"
	wait "$running" || echo "the pod ended with $?: $(tail -n 3 "$work/out" "$work/err")"
}

enter()
{
	echo "  enter: $*"
	appc_vm enter --app=main "$uuid" -- "$@" </dev/null
}

port=$(python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')

# Where something failed the pod is still there.
leave()
{
	[ -z "${running:-}" ] || ! kill -0 "$running" 2>/dev/null || appc_vm stop --force "$uuid" || true
	jobs -p | xargs --no-run-if-empty kill 2>/dev/null || true
}
trap leave EXIT

echo "a pod with shared volumes, streams and sessions"
pod '.volumes = [{name: "shared", kind: "host", source: $shared},
		{name: "fixed", kind: "host", source: $fixed, readOnly: true}] |
	.apps = [(app("main"; ["/bin/probe", "vsock-echo", "5000", "2", "say", "out", "complain", "errors", "until-stopped"]) |
		.mounts = [{volume: "shared", path: "/shared"}, {volume: "fixed", path: "/fixed"}]),
		app("other"; ["/bin/probe", "say", "other"])]'
start run "$work/pod.json"
enter /bin/traffic read /fixed
enter /bin/traffic write /shared
enter /bin/traffic write /scratch
directory=$work/data/pods/run/$uuid
tests/functional/vsock_host.py clients "$directory/vsock" 5000 2
tests/functional/vsock_host.py refused "$directory/vsock" 5001
tests/functional/vsock_host.py server "$directory/vsock_6000" 2 &
until [ -S "$directory/vsock_6000" ]; do sleep 0.2; done
enter /bin/probe vsock-talk 6000 2 vsock-talk 6001 1
printf 'a line\nand another\n' | appc_vm enter --app=main "$uuid" -- /bin/probe line line || true
python3 tests/functional/on_terminal.py 24 80 'columns: 80=>size:30,100' 'columns: 100=>typed\n' -- \
	build/appc-vm-recording "--dir=$work/data" enter --tty --app=main "$uuid" /bin/probe columns 80 columns 100 line || true
appc_vm enter --app=main "$uuid" -- /bin/none || true
appc_vm enter --app=main "$uuid" -- /bin/probe forever </dev/null &
entered=$!
sleep 3
kill -TERM "$(pgrep --parent "$entered" || echo "$entered")"
wait "$entered" || true
appc_vm top --once "$uuid"
finish

echo "a pod with a network, and nothing that is shared"
pod '.apps = [app("main"; ["/bin/probe", "until-stopped"]),
		(app("other"; ["/bin/network", "serve", "80", "udp-serve", "53", "echo", "80"]) |
		.app.ports = [{name: "http", protocol: "tcp", port: 80}, {name: "dns", protocol: "udp", port: 53}])] |
	.ports = [{name: "http", hostPort: $port, hostIP: "127.0.0.1"},
		{name: "dns", hostPort: $port}]'
start run --net "$work/pod.json"
tests/fuzz/record/clients.py "$port" "$(hostname --all-ip-addresses | tr ' ' '\n' | grep -m 1 -E '^[0-9.]+$')"
enter /bin/traffic write /scratch
enter /bin/network interface eth0 connect 10.0.2.2 9 resolve pod.appc-vm.test shout eth0 end || true
enter /bin/metadata get /pod/uuid get /pod/manifest form /pod/hmac/sign content=hello || true
finish

echo "a pod whose apps come and go"
start app sandbox
appc_vm app add "$uuid" example.com/traffic --name=other --exec=/bin/probe -- say other
appc_vm app start "$uuid" --app=other
appc_vm app add "$uuid" example.com/traffic --name=main --exec=/bin/probe -- until-stopped
appc_vm app start "$uuid" --app=main
appc_vm app stop "$uuid" --app=main
appc_vm app rm "$uuid" --app=main
finish

rm -f tests/fuzz/corpus/*/recorded-*
tests/fuzz/record/seeds.py "$APPC_RECORD" tests/fuzz/corpus
