#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The world that an app finds (the App Container Executor of the specification), as a program in it sees it.
# Each test asks one pod many things.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034 # the variables are jq's; lib.bash reads LIMIT

load lib

setup_file()
{
	if [ "$FLAVOUR" = container ] || [ -c /dev/kvm ]; then
		data_directory
		image_docker "$BATS_FILE_TMPDIR/docker.aci"
		appc_vm image import "$BATS_FILE_TMPDIR/docker.aci"
	fi
}

setup()
{
	needs_kvm
}

# One size for all pods, so that they start from one template.
run_world()
{
	run_pod --memory=128M "$@"
}

# An image that came from Docker, with something where its volume will be.
image_docker()
{
	local work
	work=$(mktemp -d "$BATS_FILE_TMPDIR/image-XXXXXX")
	mkdir -p "$work"/rootfs/{bin,etc,data/below}
	cp "$PROBE" "$work/rootfs/bin/probe"
	printf 'of the image' >"$work/rootfs/data/below/file"
	ln -s below/file "$work/rootfs/data/link"
	chown -R 71:72 "$work/rootfs/data"
	chmod 2750 "$work/rootfs/data"
	ln -s /run/nowhere "$work/rootfs/etc/resolv.conf"
	image_manifest example.com/docker '.annotations = [{name: "appc.io/docker/repository", value: "library/x"}] |
		.app.mountPoints = [{name: "volume-data", path: "/data"}]' >"$work/manifest"
	tar --create --file "$1" --directory "$work" manifest rootfs
	rm -rf "$work"
}

# isolators APP: what status will tell of them; the record of the run.
isolators()
{
	local record
	record=$(find "$DATA/pods" -name run.json -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
	jq -c ".isolators.apps[\"$1\"]" "$record"
}

@test "defaults: capabilities, filter, environment, files of the system, descriptors, devices" {
	pod '.apps = [app("plain"; ["status", "CapBnd", "status", "CapEff", "status", "CapInh", "status", "CapAmb",
			"status", "NoNewPrivs", "status", "Seccomp", "env", "SHELL", "env", "USER", "env", "LOGNAME",
			"env", "HOME", "env", "PATH", "env", "AC_APP_NAME", "env", "container", "cwd", "fds",
			"mounted", "/proc", "mounted", "/sys", "mounted", "/", "mounted", "/dev/shm", "mounted", "/dev/pts",
			"stat", "/proc/kallsyms", "read", "/proc/kallsyms", "stat", "/sys/firmware", "write",
			"/proc/sysrq-trigger", "h", "write", "/proc/sys/kernel/core_pattern", "x", "write", "/sys/x", "x",
			"write", "/dev/shm/x", "x", "stat", "/dev/null", "stat", "/dev/zero", "stat", "/dev/full",
			"stat", "/dev/random", "stat", "/dev/urandom", "stat", "/dev/tty", "stat", "/dev/ptmx", "stat",
			"/dev/console", "stat", "/etc/mtab", "read", "/etc/hosts", "self", "oom_score_adj"])]'
	run_world --hostname=the-host
	expect_status 0
	expect_line 'status CapBnd: 00000000a80425fb' 'status CapEff: 00000000a80425fb' \
		'status CapInh: 0000000000000000' 'status CapAmb: 0000000000000000' \
		'status NoNewPrivs: 0' 'status Seccomp: 2' \
		'env SHELL: /bin/sh' 'env USER: root' 'env LOGNAME: root' 'env HOME: /root' \
		'env PATH: /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
		'env AC_APP_NAME: plain' 'env container: appc-vm' 'cwd: /' 'fds: 0 1 2' \
		'mounted /proc: rw' 'mounted /sys: ro' 'mounted /: rw' 'mounted /dev/shm: rw' 'mounted /dev/pts: rw' \
		'write /proc/sys/kernel/core_pattern: EROFS' \
		'write /sys/x: EROFS' 'write /dev/shm/x: ok' 'self oom_score_adj: 0'
	grep -qE '^write /proc/sysrq-trigger: (EROFS|ENOENT)$' "$OUT"
	# Hidden: a file of no content, a directory of no mode.
	run ! grep -qE '^read /proc/kallsyms: [0-9a-f]' "$OUT"
	grep -q '^stat /proc/kallsyms: 100000 ' "$OUT" || grep -q '^stat /proc/kallsyms: ENOENT' "$OUT"
	grep -q '^stat /sys/firmware: 040000 ' "$OUT" || grep -q '^stat /sys/firmware: ENOENT' "$OUT"
	for device in null zero full random urandom tty; do
		grep -q "^stat /dev/$device: 020666 0 0 " "$OUT"
	done
	grep -q '^stat /dev/console: 020666 0 0 ' "$OUT"
	grep -q '^stat /dev/ptmx: 120777 ' "$OUT"
	grep -q '^stat /etc/mtab: 120777 ' "$OUT"
	grep -q 'the-host$' "$OUT"
}

@test "an environment of the app's own beats the defaults, but not what the executor says" {
	pod '.apps = [app("own"; ["env", "PATH", "env", "HOME", "env", "USER", "env", "AC_APP_NAME", "env", "container"]) |
		.app.environment = [{name: "PATH", value: "/bin"}, {name: "HOME", value: "/srv"},
			{name: "AC_APP_NAME", value: "liar"}, {name: "container", value: "liar"}]]'
	run_world
	expect_status 0
	expect_line 'env PATH: /bin' 'env HOME: /srv' 'env USER: root' 'env AC_APP_NAME: own' \
		'env container: appc-vm'
}

@test "apps of a pod share processes, host name, messages and network, and have mounts of their own" {
	pod '.apps = [
			(app("one"; ["namespace", "pid", "namespace", "net", "namespace", "ipc", "namespace", "uts",
				"namespace", "mnt", "write", "/shared/one", "x", "await", "/shared/two", "sees", "two-is-here"])),
			(app("two"; ["namespace", "pid", "namespace", "net", "namespace", "ipc", "namespace", "uts",
				"namespace", "mnt", "write", "/shared/two", "x", "await", "/shared/one",
				"until-stopped", "say", "two-is-here"]))] |
		.apps[].mounts = [{volume: "shared", path: "/shared"}] |
		.volumes = [{name: "shared", kind: "empty", mode: "1777"}]'
	start_pod --memory=128M
	eventually "one has looked" grep -q 'sees two-is-here: yes$' "$OUT"
	kill -TERM "$RUN"
	finish_pod
	expect_status 0
	for kind in pid net ipc uts; do
		[ "$(grep -oE "namespace $kind:.*" "$OUT" | sort -u | wc -l)" -eq 1 ]
	done
	[ "$(grep -oE 'namespace mnt:.*' "$OUT" | sort -u | wc -l)" -eq 2 ]
}

@test "capability sets: retained, removed, and none for a user" {
	pod '.apps = [
			(app("retain"; ["status", "CapBnd", "status", "CapEff"]) | .app.isolators =
				[{name: "os/linux/capabilities-retain-set", value: {set: ["CAP_NET_ADMIN", "CAP_KILL"]}}]),
			(app("remove"; ["status", "CapBnd"]) | .app.isolators =
				[{name: "os/linux/capabilities-remove-set", value: {set: ["CAP_MKNOD", "CAP_SYS_CHROOT"]}}]),
			(app("ponies"; ["status", "CapBnd"]) | .app.isolators =
				[{name: "os/linux/capabilities-retain-set", value: {set: ["CAP_PONIES", "CAP_SYS_TIME"]}}]),
			(app("user"; ["status", "CapBnd", "status", "CapEff", "status", "CapPrm", "status", "NoNewPrivs"]) |
				.app.user = "alice" | .app.group = "alice")]'
	run_world
	expect_status 0
	grep -q '^status CapBnd: 0000000000001020$' "$OUT"
	grep -q '^status CapEff: 0000000000001020$' "$OUT"
	grep -q '^status CapBnd: 00000000a00025fb$' "$OUT"
	grep -q '^status CapEff: 0000000000000000$' "$OUT"
	grep -q '^status CapPrm: 0000000000000000$' "$OUT"
	# A filter for who is not root takes new privileges from him.
	grep -q '^status NoNewPrivs: 1$' "$OUT"
	[ "$(isolators retain)" = '{"enforced":["os/linux/capabilities-retain-set"],"ignored":[],"modified":[]}' ]
	# A name that no capability has is left out.
	grep -q '^status CapBnd: 0000000002000000$' "$OUT"
	expect_error 'ponies: isolator "os/linux/capabilities-retain-set": there is no capability "CAP_PONIES"'
	[ "$(isolators ponies)" = '{"enforced":[],"ignored":[],"modified":["os/linux/capabilities-retain-set"]}' ]
}

@test "system call sets: default, all, removed with an errno, retained without" {
	pod '.apps = [
			app("default"; ["call", "mount", "call", "reboot", "call", "getppid", "call", "newer"]),
			(app("all"; ["status", "Seccomp", "call", "mount", "call", "unshare"]) | .app.isolators =
				[{name: "os/linux/seccomp-retain-set", value: {set: ["@appc.io/all"]}}]),
			(app("errno"; ["call", "mount", "call", "stat", "call", "unshare"]) | .app.isolators =
				[{name: "os/linux/seccomp-remove-set", value: {set: ["@systemd/mount", "stat"], errno: "EXFULL"}}]),
			(app("opt-in"; ["call", "mount", "call", "getppid"]) | .app.isolators =
				[{name: "os/linux/seccomp-remove-set", value: {set: ["@appc.io/empty"], errno: "EPERM"}}]),
			(app("user"; ["call", "socket", "call", "getppid", "status", "Seccomp"]) | .app.user = "alice" |
				.app.isolators = [{name: "os/linux/seccomp-remove-set", value: {set: ["@systemd/network-io"]}}])]'
	run_world
	expect_status 0
	grep -q '^call mount: SIGSYS$' "$OUT"
	grep -q '^call reboot: SIGSYS$' "$OUT"
	grep -q '^call getppid: ok$' "$OUT"
	grep -q '^call newer: ENOSYS$' "$OUT"
	grep -q '^status Seccomp: 0$' "$OUT"
	grep -q '^call mount: EFAULT$' "$OUT"
	grep -q '^call mount: EXFULL$' "$OUT"
	grep -q '^call stat: EXFULL$' "$OUT"
	grep -q '^call mount: EPERM$' "$OUT"
	grep -q '^call socket: SIGSYS$' "$OUT"
	grep -q '^status Seccomp: 2$' "$OUT"
}

@test "walls that a person leaves out are not there: filter, capabilities, protected paths" {
	pod '.apps = [app("open"; ["status", "Seccomp", "status", "CapBnd", "mounted", "/sys", "mounted", "/sys/firmware",
			"call", "mount", "mounted", "/proc/kcore", "mounted", "/proc/sys", "read", "/proc/sys/kernel/ostype"]) |
			.app.isolators = [
				{name: "os/linux/seccomp-retain-set", value: {set: ["read"]}},
				{name: "os/linux/capabilities-retain-set", value: {set: ["CAP_KILL"]}}]]'
	run_world --insecure-options=seccomp,capabilities,paths --strict-isolators
	expect_status 0
	expect_line 'status Seccomp: 0' 'mounted /sys: rw' 'mounted /sys/firmware: none' 'call mount: EFAULT' \
		'mounted /proc/kcore: none' 'mounted /proc/sys: none' 'read /proc/sys/kernel/ostype: Linux'
	# As many as there are, as far as the flavour has them itself.
	grep -qE '^status CapBnd: 0*[137]?f+$' "$OUT" || [ "$FLAVOUR" = container ]
	[ "$(isolators open | jq -c .ignored)" = '["os/linux/seccomp-retain-set","os/linux/capabilities-retain-set"]' ]
}

@test "an app that makes a forbidden call is killed by SIGSYS, and its pod ends with 159" {
	pod '.apps = [app("bold"; ["hostname", "say", "not reached"]) | .app.isolators =
		[{name: "os/linux/seccomp-retain-set", value: {set: ["read", "brk"]}}]]'
	run_world
	expect_status 159
	run ! said 'not reached'
}

@test "a program that is missing is named, whatever its filter lets the launcher do" {
	pod '.apps = [app("missing"; []) | .app.exec = ["/bin/no-such-program"] | .app.isolators =
		[{name: "os/linux/seccomp-remove-set", value: {set: ["futex", "exit", "exit_group"], errno: "EIO"}}]]'
	run_world
	expect_status 203
	expect_error 'app missing: Error: Unable to open "/bin/no-such-program": No such file or directory'
}

# took VERB ARGUMENT: the milliseconds that the probe said.
took()
{
	sed -n "s/^$1: \([0-9]*\) ms$/\1/p" "$OUT"
}

@test "isolators of the kernel: oom score, no new privileges; what cannot be enforced is reported" {
	pod '.apps = [app("many"; ["self", "oom_score_adj", "status", "NoNewPrivs", "burn", "500"]) | .app.isolators = [
			{name: "os/linux/oom-score-adj", value: 321},
			{name: "os/linux/no-new-privileges", value: true},
			{name: "os/linux/cpu-shares", value: 512},
			{name: "resource/cpu", value: {limit: "500m"}},
			{name: "resource/memory", value: {limit: "64M"}},
			{name: "os/linux/selinux-context", value: {user: "u", role: "r", type: "t", level: "l"}},
			{name: "example.com/unknown", value: 1}]] |
		.isolators = [{name: "resource/memory", value: {limit: "48M"}}]'
	run_world
	expect_status 0
	expect_line 'self oom_score_adj: 321' 'status NoNewPrivs: 1'
	# A machine has the controller in any case. 0.9 seconds.
	[ "$FLAVOUR" = container ] || [ "$(took 'burn 500')" -ge 750 ]
	expect_error 'many: isolator "os/linux/selinux-context" is ignored'
	[ "$(isolators many)" = '{"enforced":["os/linux/oom-score-adj","os/linux/no-new-privileges","os/linux/cpu-shares","resource/cpu"],"ignored":["os/linux/selinux-context","example.com/unknown"],"modified":["resource/memory"]}' ]

	run_world --strict-isolators
	expect_status 254
	expect_error 'isolator "os/linux/selinux-context" cannot be enforced'
}

# What the isolator of a pod's limits says of a container's host: whether its cgroups hold any.
needs_cgroups()
{
	[ "$FLAVOUR" = container ] || return 0
	pod '.apps = [app("look"; ["say", "x"])] |
		.isolators = [{name: "resource/memory", value: {limit: "16Mi"}}, {name: "resource/cpu", value: {limit: "500m"}}]'
	run_world
	expect_status 0
	if grep -qE 'not enforced' "$ERR"; then
		skip "this host's cgroups have no limits for a container: $(grep -m 1 'not enforced' "$ERR")"
	fi
}

@test "limits of the pod hold all of its apps together, and those without a limit of their own" {
	needs_cgroups
	# In a machine: failure.bats.
	if [ "$FLAVOUR" = container ]; then
		pod '.apps = [app("greedy"; ["say", "before", "hog"])] |
			.isolators = [{name: "resource/memory", value: {limit: "16Mi"}}]'
		run_world
		expect_status 137
		expect_line before
		expect_error 'greedy.*memory'
	fi

	# A second, less the first tenth and what it may be late: what else the host does makes it longer, never shorter.
	pod '.apps = [app("free"; ["burn", "500"])] | .isolators = [{name: "resource/cpu", value: {limit: "500m"}}]'
	run_world
	expect_status 0
	[ "$(took 'burn 500')" -ge 750 ]
}

# Lower bounds of what takes how long: a slow host is no failure. That of resource/network-bandwidth is in network.bats.
@test "limits on files and on the network are enforced by devices of a machine, for an app that is alone" {
	local files='"resource/block-bandwidth","resource/block-iops","resource/network-bandwidth"'
	pod '.apps = [app("alone"; ["write", "/file", "x", "read", "/file", "store", "/many", "60", "1",
			"store", "/large", "4", "131072"]) | .app.isolators = [
			{name: "resource/block-bandwidth", value: {default: true, limit: "200k"}},
			{name: "resource/block-iops", value: {default: true, limit: "20"}},
			{name: "resource/network-bandwidth", value: {default: true, limit: "1G"}}]]'
	run_world
	expect_status 0
	expect_line 'read /file: x'
	if [ "$FLAVOUR" = vm ]; then
		[ "$(isolators alone)" = '{"enforced":['"$files"'],"ignored":[],"modified":[]}' ]
		# 2.9 seconds and 2.5.
		[ "$(took 'store \/many')" -ge 2000 ]
		[ "$(took 'store \/large')" -ge 2300 ]
	else
		[ "$(isolators alone)" = '{"enforced":[],"ignored":['"$files"'],"modified":[]}' ]
		expect_error '"resource/block-iops" is ignored: a container'
	fi
}

@test "an AppArmor profile that is not there is an error" {
	pod '.apps = [app("lost"; []) | .app.isolators = [{name: "os/linux/apparmor-profile", value: {profile: "p"}}]]'
	run_world
	expect_status 254
	expect_error 'app "lost": isolator "os/linux/apparmor-profile"'
}

@test "kernel parameters of the pod are set before its apps start" {
	pod '.apps = [app("look"; ["read", "/proc/sys/net/ipv4/ip_default_ttl", "read", "/proc/sys/kernel/shmmni"])] |
		.isolators = [{name: "os/unix/sysctl", value: {"net.ipv4.ip_default_ttl": "77", "kernel.shmmni": "99"}}]'
	run_world
	expect_status 0
	expect_line 'read /proc/sys/net/ipv4/ip_default_ttl: 77' 'read /proc/sys/kernel/shmmni: 99'
}

@test "users and groups: names, numbers, owners of files; who is unknown is named" {
	pod '.apps = [
			(app("names"; ["identity"]) | .app.user = "alice" | .app.group = "staff" | .app.supplementaryGIDs = [7, 8]),
			(app("numbers"; ["identity"]) | .app.user = "12" | .app.group = "13"),
			(app("paths"; ["identity"]) | .app.user = "/home/alice" | .app.group = "/home/alice")]'
	run_world
	expect_status 0
	grep -q '^identity: uid=1000 euid=1000 gid=50 egid=50 groups=7,8$' "$OUT"
	grep -q '^identity: uid=12 euid=12 gid=13 egid=13 groups=$' "$OUT"
	grep -q '^identity: uid=1000 euid=1000 gid=1001 egid=1001 groups=$' "$OUT"

	pod '.apps = [app("nobody"; []) | .app.user = "user2"]'
	run_world
	expect_status 203
	expect_error '"user2" user not found'
	pod '.apps = [app("nobody"; []) | .app.group = "group2"]'
	run_world
	expect_status 203
	expect_error '"group2" group not found'
	pod '.apps = [app("nobody"; []) | .app.user = "/no/such/file"]'
	run_world
	expect_status 203
	expect_error 'unable to get uid from file "/no/such/file"'
}

# As what Docker calls USER alone comes into the store.
@test "a group that was called as its user, and is not there, is the user's" {
	local work=$BATS_TEST_TMPDIR/work
	mkdir "$work"
	tar --extract --file "$BATS_FILE_TMPDIR/probe.aci" --directory "$work"
	echo 'nobody:x:65534:1234:nobody:/:/bin/sh' >>"$work/rootfs/etc/passwd"
	image_manifest example.com/nobody '.app.exec = ["/bin/probe", "identity"] | .app.user = "nobody" |
		.app.group = "nobody" | .annotations = [{name: "appc.io/docker/group-of", value: "user"}]' >"$work/manifest"
	tar --create --file "$BATS_TEST_TMPDIR/nobody.aci" --directory "$work" manifest rootfs
	appc_vm image import "$BATS_TEST_TMPDIR/nobody.aci"
	pod '.apps = [{name: "one", image: {name: "example.com/nobody"}}]'
	run_world
	expect_status 0
	grep -q '^identity: uid=65534 euid=65534 gid=1234 egid=1234 groups=$' "$OUT"
	pod '.apps = [app("asked"; ["identity"]) | .app.user = "alice" | .app.group = "nobody"]'
	run_world
	expect_status 203
	expect_error '"nobody" group not found'
}

@test "a working directory that is missing is an error" {
	pod '.apps = [app("lost"; ["cwd"]) | .app.workingDirectory = "/no/such/place"]'
	run_world
	expect_status 203
	expect_error 'app lost: Unable to enter the working directory "/no/such/place": No such file or directory'
}

@test "event handlers run as root in the app's world, before and after its main process" {
	pod '.apps = [app("main"; ["read", "/made-before", "write", "/made-by-main", "m", "identity"]) |
		.app.user = "alice" | .app.workingDirectory = "/srv" |
		.app.environment = [{name: "COLOUR", value: "blue"}] |
		.app.eventHandlers = [
			{name: "pre-start", exec: ["/bin/probe", "say", "before", "identity", "cwd", "env", "COLOUR",
				"status", "CapBnd", "status", "Seccomp", "write", "/made-before", "p"]},
			{name: "post-stop", exec: ["/bin/probe", "say", "after", "read", "/made-before", "identity"]}]]'
	run_world
	expect_status 0
	[ "$(head -n 1 "$OUT")" = before ]
	expect_line 'identity: uid=0 euid=0 gid=0 egid=0 groups=' 'cwd: /srv' 'env COLOUR: blue' \
		'status CapBnd: 00000000a80425fb' 'status Seccomp: 2' 'read /made-before: p' \
		'identity: uid=1000 euid=1000 gid=0 egid=0 groups='
	[ "$(tail -n 1 "$OUT")" = 'identity: uid=0 euid=0 gid=0 egid=0 groups=' ]

	pod '.apps = [app("main"; ["say", "not reached"]) |
		.app.eventHandlers = [{name: "pre-start", exec: ["/bin/probe", "exit", "6"]}]]'
	run_world
	expect_status 6
	run ! said 'not reached'
}

@test "sockets are open when a socket-activated app starts, on both protocols, and nothing else is" {
	pod '.apps = [app("served"; ["listening", "fds"]) | .app.user = "alice" |
			.app.ports = [{name: "web", protocol: "tcp", port: 8080, socketActivated: true},
				{name: "other", protocol: "tcp", port: 8081},
				{name: "dns", protocol: "udp", port: 53, count: 2, socketActivated: true}]] |
		.ports = [{name: "web", hostPort: 18080}]'
	run_world
	expect_status 0
	expect_line 'listening: 3 web:dns:dns mine' 'socket 0: tcp port 18080, reached' 'socket 1: udp port 53, reached' \
		'socket 2: udp port 54, reached' 'fds: 0 1 2 3 4 5'
	expect_error 'no --port option for socket-activated port "dns", assuming port 53'
}

@test "implicit volumes are each app's own; those of Docker images begin with the image's content" {
	pod '.apps = [
			(app("one"; ["write", "/own/file", "1", "read", "/own/file", "stat", "/own"]) |
				.app.mountPoints = [{name: "own", path: "/own"}]),
			(app("two"; ["await", "/own/never-mind", "read", "/own/file"]) | .app.exec = ["/bin/probe", "list", "/own"] |
				.app.mountPoints = [{name: "own", path: "/own"}]),
			{name: "docker", image: {name: "example.com/docker"}, app: {user: "0", group: "0",
				exec: ["/bin/probe", "stat", "/data", "read", "/data/link", "stat", "/data/below/file",
					"write", "/data/new", "n", "mounted", "/data"],
				mountPoints: [{name: "volume-data", path: "/data"}]}}]'
	run_world
	expect_status 0
	expect_error 'no volume specified for mount point "own", implicitly creating an "empty" volume'
	grep -q '^read /own/file: 1$' "$OUT"
	grep -q '^stat /own: 040755 0 0 0$' "$OUT"
	grep -q '^list: 0 entries' "$OUT"
	grep -q '^stat /data: 042750 71 72 0$' "$OUT"
	grep -q '^read /data/link: of the image$' "$OUT"
	grep -q '^stat /data/below/file: 100644 71 72 12$' "$OUT"
	grep -q '^write /data/new: ok$' "$OUT"
	grep -q '^mounted /data: rw$' "$OUT"
}

@test "sources of volumes: single files work, missing ones and devices do not" {
	pod '.apps = [app("files"; ["read", "/etc/one-file", "write", "/etc/one-file", "changed",
			"write", "/etc/passwd", "no"]) |
			.mounts = [{volume: "file", path: "/etc/one-file"}, {volume: "fixed", path: "/etc/passwd"}]] |
		.volumes = [{name: "file", kind: "host", source: ($host + "/file")},
			{name: "fixed", kind: "host", source: ($host + "/file"), readOnly: true}]'
	printf 'a file' >"$BATS_TEST_TMPDIR/host/file"
	run_world
	expect_status 0
	expect_line 'read /etc/one-file: a file' 'write /etc/one-file: ok' 'write /etc/passwd: EROFS'
	[ "$(cat "$BATS_TEST_TMPDIR/host/file")" = changed ]

	pod '.apps = [app("lost"; []) | .mounts = [{volume: "v", path: "/v"}]] |
		.volumes = [{name: "v", kind: "host", source: "/no/such/source"}]'
	run_world
	expect_status 254
	expect_error 'volume "v": source "/no/such/source": No such file or directory'

	pod '.apps = [app("greedy"; []) | .mounts = [{volume: "v", path: "/v"}]] |
		.volumes = [{name: "v", kind: "host", source: "/dev/null"}]'
	run_world
	expect_status 254
	expect_error 'volume "v": source "/dev/null" is a device'
}

# A read-only volume is so with what is mounted below it; one that is not recursive does not have that at all.
@test "mounts below a volume's source: seen and read-only, or not there" {
	mkdir -p "$BATS_TEST_TMPDIR/host/sub"
	printf outer >"$BATS_TEST_TMPDIR/host/sub/which"
	mount -t tmpfs below "$BATS_TEST_TMPDIR/host/sub"
	printf inner >"$BATS_TEST_TMPDIR/host/sub/which"
	pod '.apps = [app("look"; ["read", "/rec/sub/which", "read", "/flat/sub/which", "read", "/fixed/sub/which",
			"write", "/fixed/sub/new", "no", "write", "/rec/sub/new", "yes"]) |
			.mounts = [{volume: "rec", path: "/rec"}, {volume: "flat", path: "/flat"}, {volume: "fixed", path: "/fixed"}]] |
		.volumes = [{name: "rec", kind: "host", source: $host},
			{name: "flat", kind: "host", source: $host, recursive: false},
			{name: "fixed", kind: "host", source: $host, readOnly: true}]'
	run_world
	umount "$BATS_TEST_TMPDIR/host/sub"
	expect_status 0
	expect_line 'read /rec/sub/which: inner' 'read /flat/sub/which: outer' 'read /fixed/sub/which: inner' \
		'write /fixed/sub/new: EROFS' 'write /rec/sub/new: ok'
}
