#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Every error ends a command with 254 and one line that names the file, the field, the flag or the app. A line of a
# table is a command and what its message has to name; what is parsed by one module alone is that module's unit
# test's affair.
# shellcheck disable=SC2016 # the variables are jq's

load lib

setup_file()
{
	data_directory
	export FILES=$BATS_FILE_TMPDIR/files
	mkdir "$FILES"
	: >"$FILES/empty"
	echo 'not an archive' >"$FILES/text"
	echo '{' >"$FILES/broken.json"
	echo '[]' >"$FILES/array.json"
	echo 'NAME' >"$FILES/environment"
	echo 'NAME=value' >"$FILES/variables"
}

# refused NAMED WORD...: the command fails as it should.
refused()
{
	local named=$1 out=$BATS_TEST_TMPDIR/out err=$BATS_TEST_TMPDIR/err status=0
	shift
	timeout --kill-after=5 60 "$APPC_VM" "--dir=$DATA" "$@" >"$out" 2>"$err" </dev/null 3>&- || status=$?
	if [ "$status" -eq 254 ] && [ "$(wc -l <"$err")" -eq 1 ] && [ ! -s "$out" ] &&
		grep -q '^appc-vm: error: ' "$err" && grep -qF -- "$named" "$err"; then
		return 0
	fi
	echo "appc-vm $*: status $status, expected 254 and one line with: $named"
	cat "$out" "$err"
	return 1
}

# refused_each: a table on standard input, "WHAT IS NAMED | WORDS OF THE COMMAND". All of it is walked.
refused_each()
{
	local named words failed=0
	while IFS='|' read -r named words; do
		named=${named//FILES/$FILES}
		# shellcheck disable=SC2086 # words
		refused "${named% }" ${words//FILES/$FILES} || failed=1
	done
	[ "$failed" -eq 0 ]
}

@test "commands and flags that are wrong are named" {
	refused_each <<-'END'
		unknown command "bogus" | bogus
		unknown flag --bogus | --bogus
		list: unknown flag --bogus | list --bogus
		list: unknown flag -x | list -x
		--format is json | list --format=x
		--no-legend is true or false | list --no-legend=maybe
		list: takes no arguments | list extra
		--insecure-options: unknown option "x" | list --insecure-options=x
		--dir needs a value | list --dir
		"/proc/nope" | list --dir=/proc/nope
		image: unknown command "bogus" | image bogus
		template: unknown command "bogus" | template bogus
		check: takes no arguments | check extra
		config: takes no arguments | config extra
		version: takes no arguments | version extra
		completion: needs the name of a shell | completion
		"zsh" is not a shell | completion zsh
	END
}

@test "pods that are not there are named, and what is missing" {
	local command
	for command in attach cat-manifest logs rm status stop; do
		refused "$command: needs the UUID" "$command"
		refused 'no matches found for "nope"' "$command" nope
		refused "--uuid-file=$FILES/absent: No such file" "$command" "--uuid-file=$FILES/absent"
		refused "UUID cannot be empty" "$command" "--uuid-file=$FILES/empty"
	done
	refused_each <<-'END'
		status: --wait: "x" is not a duration | status --wait=x nope
		status: --wait-ready: "x" is not a duration | status --wait-ready=x nope
		status: --format is json | status --format=x nope
		attach: --mode is auto, list, tty, or some of | attach --mode=x nope
		run-prepared: needs the UUID | run-prepared
		no matches found for "nope" | run-prepared nope
		export: needs the UUID | export
		export: needs the UUID | export nope
		no matches found for "nope" | export nope FILES/out.aci
		gc: takes no arguments | gc extra
		gc: --grace-period: "x" is not a duration | gc --grace-period=x
		gc: --expire-prepared: "-1h" is not a duration | gc --expire-prepared=-1h
	END
}

@test "images that are not there, or are none, are named" {
	local command
	for command in cat-manifest verify; do
		refused "image $command: needs" image "$command"
		refused 'image name "nope" not found' image "$command" nope
		refused 'could not resolve image' image "$command" sha512-0123456789
		refused '"sha512-not-existed" is not a valid hash' image "$command" sha512-not-existed
	done
	for command in export extract render; do
		refused "image $command: needs" image "$command" nope
		refused 'image name "nope" not found' image "$command" nope "$FILES/out"
		refused "$FILES/text" image "$command" example.com/probe "$FILES/text"
	done
	refused_each <<-'END'
		image rm: needs | image rm
		image list: takes no arguments | image list extra
		unknown field "x" | image list --fields=x
		image list: --sort | image list --sort=x
		image list: --order | image list --order=x
		image list: --format | image list --format=x
		image gc: --grace-period: "x" | image gc --grace-period=x
		image import: needs | image import
		"FILES/absent": No such file | image import FILES/absent
		FILES/text: | image import FILES/text
		FILES/empty | image import FILES/empty
		- is empty | image import -
		fetch: must provide at least one image | fetch
		"FILES/absent.aci": No such file | fetch FILES/absent.aci
		"ftp://host/x" | fetch ftp://host/x
		"docker://busybox" | fetch docker://busybox
		"example.com/absent" | fetch example.com/absent
		fetch: --pull-policy is new | fetch --pull-policy=x FILES/text
		--pull-policy, --store-only and --no-store exclude | fetch --store-only --no-store FILES/text
		trust: needs the file or URL of a key | trust
		trust: --root required | trust FILES/text
		FILES/text | trust --skip-fingerprint-review --root FILES/text
		FILES/absent | trust --skip-fingerprint-review --root FILES/absent
	END
}

@test "an image that is larger than a file may be is refused, and nothing of it is left" {
	image_manifest example.com/large >"$FILES/manifest"
	mkdir "$FILES/rootfs"
	head --bytes=200000 /dev/urandom >"$FILES/rootfs/file"
	tar --create --file "$FILES/large.aci" --directory "$FILES" manifest rootfs
	(ulimit -f 64 && refused 'File too large' image import "$FILES/large.aci")
	fails appc_vm image cat-manifest example.com/large
	appc_vm image import "$FILES/large.aci"
	appc_vm image rm example.com/large
}

@test "flags of run and prepare that are wrong are named" {
	local command
	for command in run prepare; do
		sed "s/COMMAND/$command/g" <<-'END' | refused_each
			must provide at least one image or specify the pod manifest | COMMAND
			"FILES/absent.json": No such file | COMMAND FILES/absent.json
			"FILES/absent": No such file | COMMAND --pod-manifest=FILES/absent
			pod manifest: line | COMMAND FILES/broken.json
			expected an object | COMMAND FILES/array.json
			"nope" | COMMAND nope
			--memory: "x" | COMMAND --memory=x nope
			111k" is not a size | COMMAND --max-size=1111111111111111111111111111111111111111111111111111111111111111k nope
			--cpus is 1 to 8, not "0" | COMMAND --cpus=0 nope
			--dax is auto, never or always, not "x" | COMMAND --dax=x nope
			--port flag "x" | COMMAND --port=x nope
			--volume flag "x" | COMMAND --volume=x nope
			--volume flag "x,kind=y" | COMMAND --volume=x,kind=y nope
			--volume flag "x,kind=empty,mode=9" | COMMAND --volume=x,kind=empty,mode=9 nope
			--volume flag "x,kind=host,source=y" | COMMAND --volume=x,kind=host,source=y nope
			--mount flag "x" | COMMAND --mount=x nope
			--set-env flag "x" | COMMAND --set-env=x nope
			--set-env-file flag "FILES/absent" | COMMAND --set-env-file=FILES/absent nope
			FILES/environment | COMMAND --set-env-file=FILES/environment nope
			--annotation flag "x" | COMMAND nope --annotation=x
			--user-label flag "x" | COMMAND nope --user-label=x
			--environment flag "x" | COMMAND nope --environment=x
			--name must follow an image | COMMAND --name=X nope
			invalid app name format | COMMAND example.com/probe --name=X
			--cpu flag "x" | COMMAND nope --cpu=x
			--cpu-shares flag "x" | COMMAND nope --cpu-shares=x
			--oom-score-adj flag "x" | COMMAND nope --oom-score-adj=x
			--supplementary-gids flag "x" | COMMAND nope --supplementary-gids=x
			--seccomp flag "x" | COMMAND nope --seccomp=x
			--exec must follow an image | COMMAND --exec=x nope
			an image is required before any app arguments | COMMAND -- x
			only one set of app arguments | COMMAND nope -- x --- -- y
			there is no stage1 | COMMAND --stage1-name=x nope
			--private-users | COMMAND --private-users nope
		END
	done
	refused_each <<-'END'
		--flavour is vm or container, not "x" | run --flavour=x nope
		--timing is json or nothing, not "x" | run --timing=x nope
		--hostname: "-" | run --hostname=- nope
		--ipc is auto or private, not "x" | run --ipc=x nope
		--net is none, default or tap | run --net=x nope
		--dns: x | run --dns=x nope
		--hosts-entry x | run --hosts-entry=x nope
		--kernel=FILES/absent | run --kernel=FILES/absent example.com/probe
		--init=FILES/absent | run --init=FILES/absent example.com/probe
		there is no stage1 | app sandbox --stage1-from-dir=x
		there is no stage1 | app sandbox --stage1-hash=x
		there is no stage1 | app sandbox --stage1-name=x
		there is no stage1 | app sandbox --stage1-path=x
		there is no stage1 | app sandbox --stage1-url=x
		--warm needs a virtual machine | run --warm --flavour=container nope
		template rm: needs | template rm
		"zz" is not the key of a template | template rm zz
		--cpus is 1 to 8, not "x" | template build --cpus=x
	END
}

# given FLAG: as it stands in the help text, with a value that is not wrong of itself. Sets GIVEN.
given()
{
	local name=${1%%[=[]*}
	case $name in
	annotation | set-env | user-annotation | user-label) GIVEN=--$name=a=b ;;
	mount) GIVEN=--mount=volume=x,target=/x ;;
	port) GIVEN=--port=x:80 ;;
	set-env-file) GIVEN=--set-env-file=$FILES/variables ;;
	volume) GIVEN=--volume=x,kind=empty ;;
	*) [[ $1 == *=* ]] && GIVEN=--$name=1 || GIVEN=--$name ;;
	esac
}

@test "what goes on from a checkpoint takes no flag that says what a new pod or its machine is" {
	local flag name failed=0 number=0
	local -A other=()
	# What goes with it, what every command takes, and what must follow an image or is refused in any case.
	for name in from-checkpoint uuid-file-save flavour hostname log-size timing \
		debug dir help insecure-options local-config system-config trust-keys-from-https user-config \
		cap-remove cap-retain caps-remove caps-retain cpu cpu-shares environment exec group name \
		oom-score-adj readonly-rootfs seccomp signature stderr stdin stdout supplementary-gids user \
		working-dir stage1-from-dir stage1-hash stage1-name stage1-path stage1-url; do
		other[$name]=1
	done
	while read -r flag; do
		name=${flag%%[=[]*}
		[ -z "${other[$name]:-}" ] || continue
		number=$((number + 1))
		given "$flag"
		[ "$name" = pod-manifest ] ||
			refused "--$name has no place with --from-checkpoint" run --from-checkpoint=abcd "$GIVEN" || failed=1
	done < <(appc_vm run --help | sed -n 's/^  --\([^ ]*\).*/\1/p')
	echo "$number flags"
	[ "$number" -ge 30 ]
	refused_each <<-'END' || failed=1
		--kernel has no place with --from-checkpoint | run --kernel=FILES/absent --from-checkpoint=abcd
		in a virtual machine, not in a container | run --from-checkpoint=abcd --flavour=container
		takes no images and no pod manifest | run --from-checkpoint=abcd example.com/probe
		takes no images and no pod manifest | run --from-checkpoint=abcd FILES/broken.json
		takes no images and no pod manifest | run --from-checkpoint=abcd --pod-manifest=FILES/broken.json
		there is no checkpoint "abcd" | run --from-checkpoint=abcd --flavour=vm --hostname=x --log-size=0 --timing
		there is no checkpoint "abcd" | run --from-checkpoint=abcd --insecure-options=vmm-landlock
	END
	[ "$failed" -eq 0 ]
}

# A manifest with something in every field.
manifest()
{
	jq --null-input '{acVersion: "0.8.11", acKind: "PodManifest",
		apps: [{name: "a", image: {name: "example.com/probe", labels: [{name: "os", value: "linux"}]},
			app: {exec: ["/bin/probe"], user: "0", group: "0", supplementaryGIDs: [1],
				eventHandlers: [{name: "pre-start", exec: ["/bin/probe"]}], workingDirectory: "/",
				environment: [{name: "A", value: "b"}],
				mountPoints: [{name: "m", path: "/m", readOnly: true}],
				ports: [{name: "p", protocol: "tcp", port: 80, count: 1, socketActivated: false}],
				isolators: [{name: "resource/memory", value: {limit: "64M"}},
					{name: "resource/cpu", value: {limit: "1"}},
					{name: "os/linux/oom-score-adj", value: 1},
					{name: "os/linux/no-new-privileges", value: true},
					{name: "os/linux/capabilities-retain-set", value: {set: ["CAP_KILL"]}},
					{name: "os/linux/seccomp-retain-set", value: {set: ["@appc.io/all"], errno: "EPERM"}}],
				userAnnotations: {a: "b"}, userLabels: {a: "b"}},
			readOnlyRootFS: false, mounts: [{volume: "v", path: "/v"}], annotations: [{name: "a", value: "b"}]}],
		volumes: [{name: "v", kind: "empty", mode: "0755", uid: 0, gid: 0, readOnly: false, recursive: true}],
		isolators: [{name: "resource/memory", value: {limit: "64M"}}],
		annotations: [{name: "a", value: "b"}],
		ports: [{name: "p", hostPort: 80, hostIP: "127.0.0.1"}],
		userAnnotations: {a: "b"}, userLabels: {a: "b"}}'
}

@test "each field of a pod manifest that has a value of another type is named" {
	local key value failed=0 number=0
	manifest >"$BATS_TEST_TMPDIR/whole.json"
	appc_vm prepare --quiet "$BATS_TEST_TMPDIR/whole.json"
	while IFS=$'\t' read -r key value; do
		number=$((number + 1))
		printf '%s\n' "$value" >"$BATS_TEST_TMPDIR/bad.json"
		refused "$key" prepare "$BATS_TEST_TMPDIR/bad.json" || failed=1
	done < <(jq --raw-output '. as $whole | paths | . as $path | ($whole | getpath($path)) as $old |
		([$path[] | strings] | last) as $key |
		(if ($old | type) == "object" or ($old | type) == "array" then ["x", 7]
			# A quantity may be written as a number.
			elif $key == "limit" then [true, {}, ["x"]]
			elif ($old | type) == "string" then [7, {}, ["x"]]
			else ["x", {}] end)[] |
		. as $new | [$key, ($whole | setpath($path; $new) | tojson)] | @tsv' "$BATS_TEST_TMPDIR/whole.json" |
		sed 's/\\\\/\\/g')
	[ "$number" -gt 200 ]
	[ "$failed" -eq 0 ]
}

@test "nothing of what was refused is left" {
	[ "$(appc_vm list --no-legend | awk '{ print $4 }')" = prepared ]
	[ "$(appc_vm image list --no-legend | wc -l)" -eq 1 ]
	[ -z "$(find "$DATA/tmp" "$DATA/pods/embryo" -mindepth 1)" ]
}
