# shellcheck shell=bash disable=SC2034,SC2054,SC2154 # variables are shared with run.sh; QEMU has commas
# SPDX-License-Identifier: Apache-2.0
# The competitors of the benchmark: how each of them runs one program in the root filesystem $rootfs.
#
#   competitor_title NAME      as it is called in tables
#   competitor_reason NAME     why it cannot run here; nothing where it can
#   competitor_version NAME
#   competitor_prepare NAME    once, before anything is measured; fails with a message
#   competitor_command NAME WORD...
#                              sets `command`, the array to execute: one pod that runs the words to their
#                              end, its output on standard output
#   competitor_stop NAME PID   ends a pod that was started with such a command
#   competitor_clean NAME      removes what the pods that ended have left
#
# Used: $top, $work (a directory for files), $rootfs, $memory (MiB), $data (our data directory), $appc_vm.

# The machines and the containers, in the order of the tables.
competitors=(cold template warm container crun runc qemu-virtiofs qemu-9p krun)
# Of the same kind, and not driven by this benchmark.
others=(kata-runtime firecracker lkvm)

virtiofsd=
for file in /usr/lib/qemu/virtiofsd /usr/libexec/virtiofsd; do
	[ -z "$virtiofsd" ] && [ -x "$file" ] && virtiofsd=$file
done

competitor_title()
{
	case $1 in
	cold) echo "appc-vm, cold boot" ;;
	template) echo "appc-vm, template" ;;
	warm) echo "appc-vm, warm" ;;
	container) echo "appc-vm, container" ;;
	qemu-virtiofs) echo "QEMU microvm, virtiofsd" ;;
	qemu-9p) echo "QEMU microvm, 9p" ;;
	*) echo "$1" ;;
	esac
}

is_ours()
{
	[[ $1 == cold || $1 == template || $1 == warm || $1 == container ]]
}

other_reason()
{
	if ! command -v "$1" >/dev/null; then
		echo "not installed"
	elif [ "$1" = firecracker ]; then
		echo "installed, but it shares no file tree: the same pod cannot be given to it"
	else
		echo "installed, but not driven by this benchmark"
	fi
}

needs()
{
	local program
	for program in "$@"; do
		command -v "$program" >/dev/null || {
			echo "$program is not installed"
			return
		}
	done
}

competitor_reason()
{
	case $1 in
	cold | template | warm) [ -c /dev/kvm ] || echo "there is no /dev/kvm" ;;
	container) ;;
	crun | runc | krun) needs "$1" ;;
	qemu-virtiofs | qemu-9p)
		needs qemu-system-x86_64 cpio
		[ -c /dev/kvm ] || echo "there is no /dev/kvm"
		[ "$1" != qemu-virtiofs ] || [ -n "$virtiofsd" ] || echo "virtiofsd is not installed"
		;;
	esac | head -n 1
}

competitor_version()
{
	case $1 in
	cold | template | warm | container) "$appc_vm" version ;;
	crun | runc | krun) "$1" --version ;;
	qemu-*) qemu-system-x86_64 --version ;;
	esac | head -n 1
}

# ---- ours

# A pod manifest for each list of words: a warm pod is known by what it runs.
pod_file()
{
	local file
	file=$work/pods/$(printf '%s\0' "$@" | sha256sum | cut -c 1-16).json
	[ -e "$file" ] || jq --null-input '{
		acVersion: "0.8.11", acKind: "PodManifest",
		apps: [{name: "bench", image: {name: "example.com/bench"},
			app: {exec: $ARGS.positional, user: "0", group: "0"}}]
	}' --args -- "$@" >"$file"
	echo "$file"
}

image_import()
{
	[ ! -e "$work/image-imported" ] || return 0
	jq --null-input '{
		acKind: "ImageManifest", acVersion: "0.8.11", name: "example.com/bench",
		labels: [{name: "os", value: "linux"}, {name: "arch", value: "amd64"}],
		app: {exec: ["/bin/inside", "idle"], user: "0", group: "0"}
	}' >"$work/manifest"
	tar --create --file "$work/bench.aci" --directory "$work" manifest rootfs
	"$appc_vm" "--dir=$data" image import "$work/bench.aci" >/dev/null
	rm "$work/bench.aci"
	: >"$work/image-imported"
}

# ---- OCI runtimes

# crun refuses hosts where some controllers are cgroup v1 and some v2; it runs where it sees v2 only. So
# all of them get a mount namespace with such a view, made before the clock starts. See in_view.
oci_view=()
if [ "$(stat --file-system --format=%T /sys/fs/cgroup 2>/dev/null)" != cgroup2fs ]; then
	# shellcheck disable=SC2016 # "$@" is the inner shell's
	oci_view=(unshare --mount --propagation=private
		sh -c 'mount -t cgroup2 none /sys/fs/cgroup && exec "$@"' view)
fi

# One bundle for each list of words, as `crun spec` makes it, with the same root filesystem.
bundle()
{
	local folder
	folder=$work/bundles/$(printf '%s\0' "$@" | sha256sum | cut -c 1-16)
	if [ ! -e "$folder/config.json" ]; then
		mkdir -p "$folder"
		jq --arg rootfs "$rootfs" '
			.process.args = $ARGS.positional | .process.terminal = false |
			.process.cwd = "/" | .root = {path: $rootfs, readonly: false} |
			del(.linux.resources)' "$work/oci.json" --args -- "$@" >"$folder/config.json"
	fi
	echo "$folder"
}

# ---- QEMU

# The options that a guest kernel needs where KVM emulates ring 0: what the CPU model cannot hide from it.
emulated_ring0()
{
	[ -e /sys/module/kvm_pvm ] || ! grep -q -m 1 -E '^flags.* (vmx|svm)( |$)' /proc/cpuinfo
}

qemu_kernel_arguments()
{
	printf 'quiet console=ttynull reboot=k panic=-1 rootfstype=ramfs'
	! emulated_ring0 || printf ' %s' clocksource=kvm-clock appc.emulated_ring0=1 mitigations=off noxsave \
		noreplace-smp clearcpuid=rdrand,popcnt,movbe,aes,avx,erms,fsrm,smap,smep,fsgsbase,rdseed,umip
}

qemu_command()
{
	# Without a register of its own that not every KVM lets it set (AMD).
	local kind=$1 cpu=host,-arch-capabilities append word i=0
	shift
	! emulated_ring0 || cpu+=,-cx16
	# Variables of the environment of its init; QEMU itself appends the devices to the line.
	append="$(qemu_kernel_arguments) BENCH_TYPE=$kind ${qemu_network:-}"
	for word; do
		append+=" BENCH_$i=\"$word\""
		i=$((i + 1))
	done
	command=("$top/tests/bench/qemu.sh" "$kind" "$work" "$rootfs" "$virtiofsd"
		qemu-system-x86_64 -M "microvm,accel=kvm,acpi=off,rtc=off,isa-serial=off,memory-backend=ram"
		-cpu "$cpu" -smp 1 -m "$memory" -object "memory-backend-memfd,id=ram,size=${memory}M,share=on"
		-nodefaults -no-user-config -display none -no-reboot -global virtio-mmio.force-legacy=false
		-kernel "$work/qemu-vmlinux" -initrd "$work/qemu-initramfs"
		-append "$append"
		-device i8042
		-chardev stdio,id=out,signal=off -device virtio-serial-device -device virtconsole,chardev=out)
}

# ---- a server in each kind of network, for the measure of that name

# Ours, over passt and over a bridge, machines and containers; and QEMU with its own two.
networks=(passt tap container-passt container-tap qemu-user qemu-tap)
# Those that run at the same time.
network_groups=("passt qemu-user" "tap qemu-tap" "container-passt container-tap")
network_port=16379 # of the host, and those after it
# No names of ours: what comes from a tap of another pod than those that run is dropped.
network_bridge=benchbridge0
network_tap=benchtap0
network_of_bridge=10.94.0

network_reason()
{
	needs redis-check-rdb redis-benchmark redis-cli
	case $1 in
	passt | tap) competitor_reason template ;;
	qemu-*) competitor_reason qemu-virtiofs ;;
	esac
	case $1 in
	*passt) needs passt ;;
	tap | container-tap) needs nft ;;
	qemu-tap) needs ip ;;
	esac
}

# What QEMU's tap is on; ours make their own.
network_bridge_up()
{
	ip link show "$network_bridge" >/dev/null 2>&1 && return
	ip link add "$network_bridge" type bridge &&
		ip address add "$network_of_bridge.1/24" dev "$network_bridge" &&
		ip link set "$network_bridge" up &&
		ip tuntap add "$network_tap" mode tap &&
		ip link set "$network_tap" master "$network_bridge" up
}

network_bridge_down()
{
	ip link delete "$network_tap" 2>/dev/null
	ip link delete "$network_bridge" 2>/dev/null
	true
}

# Sets `command`, which runs redis-server, and network_address and network_at, where the host reaches it.
network_command()
{
	local name=$1 file=$work/pods/redis-$1.json server=(/usr/bin/redis-server /etc/redis.conf) i
	network_address=127.0.0.1
	for ((i = 0; i < ${#networks[@]}; i++)); do
		[ "${networks[$i]}" != "$name" ] || network_at=$((network_port + i))
	done
	case $name in
	passt | tap | container-passt | container-tap)
		jq --argjson port "$network_at" '.apps[0].app.ports = [{name: "redis", protocol: "tcp", port: 6379}] |
			.ports = [{name: "redis", hostPort: $port, hostIP: "127.0.0.1"}]' \
			"$(pod_file "${server[@]}")" >"$file"
		command=("$appc_vm" "--dir=$data" run --timing=json "--memory=${memory}M" --cpus=1)
		[[ $name != container-* ]] || command+=(--flavour=container)
		case $name in
		*passt) command+=(--net=default) ;;
		*tap) command+=(--net=tap:bridge=appcbench2) ;;
		esac
		command+=("$file")
		;;
	qemu-user)
		qemu_network="BENCH_ADDRESS=10.0.2.15 BENCH_GATEWAY=10.0.2.2" qemu_command virtiofs "${server[@]}"
		command+=(-netdev "user,id=net,hostfwd=tcp:127.0.0.1:$network_at-:6379"
			-device virtio-net-device,netdev=net)
		;;
	qemu-tap)
		network_address=$network_of_bridge.2 network_at=6379
		qemu_network="BENCH_ADDRESS=$network_address BENCH_GATEWAY=$network_of_bridge.1" \
			qemu_command virtiofs "${server[@]}"
		command+=(-netdev "tap,id=net,ifname=$network_tap,script=no,downscript=no"
			-device virtio-net-device,netdev=net)
		;;
	esac
}

# ---- all

competitor_prepare()
{
	local kernel
	case $1 in
	cold | template | warm | container)
		mkdir -p "$work/pods"
		image_import
		;;
	crun | runc | krun)
		mkdir -p "$work/bundles"
		[ -e "$work/oci.json" ] || (
			cd "$work" && rm -f config.json && "$1" spec && mv config.json oci.json
		)
		;;
	qemu-*)
		kernel=${BENCH_QEMU_KERNEL:-$("$top/tests/bench/qemu-kernel.sh" "$work")} || return
		ln -sfn "$(realpath "$kernel")" "$work/qemu-vmlinux"
		mkdir -p "$work/initramfs"
		cp "$work/vm-init" "$work/initramfs/init"
		(cd "$work/initramfs" && echo init | cpio --quiet --create --format=newc) >"$work/qemu-initramfs"
		;;
	esac
}

# Containers have names, each another one; where rate runs the command again and again, the number is its.
oci_next=0
container_number=
competitor_command()
{
	local name=$1
	shift
	case $name in
	cold | template | warm | container)
		command=("$appc_vm" "--dir=$data" run --timing=json)
		case $name in
		container) command+=(--flavour=container) ;;
		cold) command+=(--no-template) ;;
		warm) command+=(--warm) ;;
		esac
		command+=("--memory=${memory}M" --cpus=1 "$(pod_file "$@")")
		;;
	crun | runc | krun)
		oci_next=$((oci_next + 1))
		command=("$name" run --bundle "$(bundle "$@")" "bench-$$-$oci_next$container_number")
		;;
	qemu-*) qemu_command "${name#qemu-}" "$@" ;;
	esac
}

# What has to be around the command, and around a timer that runs it.
in_view()
{
	case $1 in
	crun | runc | krun) view=("${oci_view[@]}") ;;
	*) view=() ;;
	esac
}

competitor_stop()
{
	local children
	case $1 in
	crun | runc | krun)
		# The program is PID 1 of its namespace, which ignores SIGTERM. runc's child is the program as well.
		children=$(ps -o pid= --ppid "$2")
		# shellcheck disable=SC2086 # one word for each process
		kill -KILL $children 2>/dev/null || true
		;;
	*) kill -TERM "$2" 2>/dev/null || true ;;
	esac
}

competitor_clean()
{
	case $1 in
	cold | template | warm | container) "$appc_vm" "--dir=$data" gc --grace-period=0s >/dev/null 2>&1 || true ;;
	qemu-virtiofs) rm -f "$work"/virtiofsd-*.socket ;;
	esac
}
