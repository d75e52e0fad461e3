#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Images of other formats: an OCI layout and the archives of docker save, imported and run. The image is
# the probe in three layers: the first lays files out, the second removes and replaces some, the third
# has the configuration's mount point.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034 # the variables are jq's; lib.bash reads LIMIT

load lib

setup_file()
{
	DATA=$BATS_FILE_TMPDIR/data
	LAYERS=$BATS_FILE_TMPDIR/layers
	export DATA LAYERS
	mkdir -p "$LAYERS"/{1/bin,1/etc,1/gone,1/opaque,2/opaque,3/var/lib/data}
	cp "$PROBE" "$LAYERS/1/bin/probe"
	echo lower >"$LAYERS/1/etc/replaced"
	echo lower >"$LAYERS/1/etc/removed"
	echo lower >"$LAYERS/1/gone/file"
	echo lower >"$LAYERS/1/opaque/hidden"
	printf 'root:x:0:0::/:/bin/sh\nweb:x:33:33::/:/bin/sh\n' >"$LAYERS/1/etc/passwd"
	printf 'root:x:0:\nweb:x:33:\n' >"$LAYERS/1/etc/group"
	mkdir "$LAYERS/2/etc"
	echo upper >"$LAYERS/2/etc/replaced"
	: >"$LAYERS/2/etc/.wh.removed"
	: >"$LAYERS/2/.wh.gone"
	: >"$LAYERS/2/opaque/.wh..wh..opq"
	echo upper >"$LAYERS/2/opaque/seen"
	echo "from the image" >"$LAYERS/3/var/lib/data/file"
	for layer in 1 2 3; do
		tar --create --sort=name --mtime=@1000000000 --owner=0 --group=0 --numeric-owner \
			--file "$LAYERS/$layer.tar" --directory "$LAYERS/$layer" .
		gzip --keep --no-name "$LAYERS/$layer.tar"
	done
	jq --null-input --compact-output \
		--args '{
			architecture: "amd64", os: "linux", created: "2026-11-22T10:00:00Z",
			config: {
				User: "33:33", Env: ["COLOUR=blue", "PATH=/bin"], WorkingDir: "/opaque",
				Entrypoint: ["/bin/probe"],
				Cmd: ["identity", "cwd", "env", "COLOUR", "read", "/etc/replaced",
					"read", "/opaque/seen", "stat", "/etc/removed", "stat", "/gone",
					"stat", "/opaque/hidden"],
				Volumes: {"/var/lib/data": {}}, ExposedPorts: {"8080/tcp": {}},
				Labels: {"org.example.colour": "blue"}
			},
			rootfs: {type: "layers", diff_ids: $ARGS.positional}
		}' "sha256:$(sum "$LAYERS/1.tar")" "sha256:$(sum "$LAYERS/2.tar")" \
		"sha256:$(sum "$LAYERS/3.tar")" >"$LAYERS/config.json"
	oci_layout "$BATS_FILE_TMPDIR/oci"
}

sum()
{
	sha256sum "$1" | cut -d ' ' -f 1
}

# blob DIRECTORY FILE MEDIA-TYPE: puts a file among the blobs and prints its descriptor.
blob()
{
	local digest
	digest=$(sum "$2")
	mkdir -p "$1/blobs/sha256"
	cp "$2" "$1/blobs/sha256/$digest"
	jq --null-input --compact-output --arg digest "sha256:$digest" --arg type "$3" \
		--argjson size "$(stat --format=%s "$2")" '{mediaType: $type, digest: $digest, size: $size}'
}

# oci_layout DIRECTORY
oci_layout()
{
	local type=application/vnd.oci.image layers=() layer
	mkdir -p "$1"
	echo '{"imageLayoutVersion":"1.0.0"}' >"$1/oci-layout"
	for layer in 1 2 3; do
		layers+=("$(blob "$1" "$LAYERS/$layer.tar.gz" "$type.layer.v1.tar+gzip")")
	done
	jq --null-input --argjson config "$(blob "$1" "$LAYERS/config.json" "$type.config.v1+json")" \
		--jsonargs '{schemaVersion: 2, mediaType: "'$type'.manifest.v1+json", config: $config,
		layers: $ARGS.positional}' "${layers[@]}" >"$BATS_FILE_TMPDIR/manifest.json"
	blob "$1" "$BATS_FILE_TMPDIR/manifest.json" $type.manifest.v1+json |
		jq '{schemaVersion: 2, manifests: [. + {annotations:
			{"org.opencontainers.image.ref.name": "registry.example.com/team/probe:1.5"}}]}' \
			>"$1/index.json"
}

# docker_save FILE: the older layout, with layers as skopeo has them: links to DIFF-ID.tar.
docker_save()
{
	local work config layer digest names=()
	work=$(mktemp -d "$BATS_TEST_TMPDIR/save-XXXXXX")
	config=$(sum "$LAYERS/config.json").json
	cp "$LAYERS/config.json" "$work/$config"
	for layer in 1 2 3; do
		digest=$(sum "$LAYERS/$layer.tar")
		cp "$LAYERS/$layer.tar" "$work/$digest.tar"
		mkdir "$work/layer$layer"
		ln -s "../$digest.tar" "$work/layer$layer/layer.tar"
		names+=("layer$layer/layer.tar")
	done
	jq --null-input --arg config "$config" \
		--args '[{Config: $config, RepoTags: ["team/probe:2"], Layers: $ARGS.positional}]' \
		"${names[@]}" >"$work/manifest.json"
	tar --create --file "$1" --directory "$work" .
}

image_manifest_of()
{
	jq . "$DATA/images/$1/manifest"
}

pod_of_image()
{
	pod '.apps = [{name: "probe", image: {id: "'"$1"'"}}]'
}

expect_probe()
{
	expect_status 0
	expect_line 'identity: uid=33 euid=33 gid=33 egid=33 groups=' 'cwd: /opaque' \
		'env COLOUR: blue' 'read /etc/replaced: upper' 'read /opaque/seen: upper' \
		'stat /etc/removed: ENOENT' 'stat /gone: ENOENT' 'stat /opaque/hidden: ENOENT'
}

@test "an OCI layout is imported under the name of its reference and runs" {
	needs_kvm
	id=$(appc_vm image import "$BATS_FILE_TMPDIR/oci")
	[ "$(image_manifest_of "$id" | jq -r '.name')" = registry.example.com/team/probe ]
	[ "$(image_manifest_of "$id" | jq -c '[.labels[] | {(.name): .value}] | add')" = \
		'{"os":"linux","arch":"amd64","version":"1.5"}' ]
	image_manifest_of "$id" | jq -e '.app.mountPoints == [{name: "volume-var-lib-data",
		path: "/var/lib/data"}] and .app.ports == [{name: "8080-tcp", protocol: "tcp", port: 8080,
		count: 1, socketActivated: false}] and .app.userLabels == {"org.example.colour": "blue"}'
	pod_of_image "$id"
	run_pod
	expect_probe
}

@test "the same layout as a tar, compressed, or through a pipe, is the same image" {
	id=$(appc_vm image import "$BATS_FILE_TMPDIR/oci")
	tar --create --file "$BATS_TEST_TMPDIR/oci.tar" --directory "$BATS_FILE_TMPDIR/oci" .
	[ "$(appc_vm image import "$BATS_TEST_TMPDIR/oci.tar")" = "$id" ]
	[ "$(appc_vm image import - <"$BATS_TEST_TMPDIR/oci.tar")" = "$id" ]
	gzip "$BATS_TEST_TMPDIR/oci.tar"
	[ "$(appc_vm image import "$BATS_TEST_TMPDIR/oci.tar.gz")" = "$id" ]
	[ "$(dd if="$BATS_TEST_TMPDIR/oci.tar.gz" status=none | appc_vm image import -)" = "$id" ]
}

@test "an archive of docker save with links in it is imported and runs" {
	needs_kvm
	docker_save "$BATS_TEST_TMPDIR/probe.tar"
	id=$(appc_vm image import "$BATS_TEST_TMPDIR/probe.tar")
	[ "$(image_manifest_of "$id" | jq -r .name)" = registry-1.docker.io/team/probe ]
	image_manifest_of "$id" | jq -e '[.annotations[] | {(.name): .value}] | add |
		."appc.io/docker/repository" == "team/probe" and ."appc.io/docker/tag" == "2"'
	pod_of_image "$id"
	run_pod
	expect_probe
}

@test "--name and --ref choose; without them a file of several images lists them" {
	id=$(appc_vm image import --name=example.com/mine:7 "$BATS_FILE_TMPDIR/oci")
	[ "$(image_manifest_of "$id" | jq -r '.name + ":" + (.labels[] | select(.name == "version").value)')" = \
		example.com/mine:7 ]

	cp -r "$BATS_FILE_TMPDIR/oci" "$BATS_TEST_TMPDIR/two"
	type=application/vnd.oci.image
	jq '. + {annotations: {other: "x"}}' "$BATS_FILE_TMPDIR/manifest.json" >"$BATS_TEST_TMPDIR/other.json"
	second=$(blob "$BATS_TEST_TMPDIR/two" "$BATS_TEST_TMPDIR/other.json" $type.manifest.v1+json)
	jq --argjson second "$second" '.manifests += [$second + {annotations:
		{"org.opencontainers.image.ref.name": "edge"}}]' "$BATS_FILE_TMPDIR/oci/index.json" \
		>"$BATS_TEST_TMPDIR/two/index.json"
	run appc_vm image import "$BATS_TEST_TMPDIR/two"
	[ "$status" -eq 254 ]
	[[ $output == *"choose one with --ref: registry.example.com/team/probe:1.5, edge"* ]]
	id=$(appc_vm image import --ref=edge "$BATS_TEST_TMPDIR/two")
	[ "$(image_manifest_of "$id" | jq -r '.name + ":" + (.labels[] | select(.name == "version").value)')" = \
		two:edge ]
	run appc_vm image import --ref=nothing "$BATS_TEST_TMPDIR/two"
	[ "$status" -eq 254 ]
	[[ $output == *'no image "nothing" in it; there is: '* ]]
}

@test "a blob that was changed is refused by name, and nothing is left" {
	cp -r "$BATS_FILE_TMPDIR/oci" "$BATS_TEST_TMPDIR/bad"
	digest=$(sum "$LAYERS/2.tar.gz")
	printf '\001' | dd of="$BATS_TEST_TMPDIR/bad/blobs/sha256/$digest" bs=1 seek=40 conv=notrunc status=none
	before=$(ls "$DATA/images")
	run appc_vm image import "$BATS_TEST_TMPDIR/bad"
	[ "$status" -eq 254 ]
	[[ $output == *"/bad: layer \"blobs/sha256/$digest\" has the digest sha256:"* ]]
	[ "$(ls "$DATA/images")" = "$before" ]
	[ -z "$(ls "$DATA/tmp")" ]
}
