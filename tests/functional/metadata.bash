# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# The pods of metadata.bats and metadata-machine.bats: their apps are a client of the service.
# shellcheck disable=SC2016 # the variables are jq's

CLIENT=${CLIENT:-$TOP/build/guest-metadata}

image_client()
{
	local work
	work=$(mktemp -d "$BATS_FILE_TMPDIR/image-XXXXXX")
	mkdir -p "$work/rootfs/bin"
	cp "$CLIENT" "$work/rootfs/bin/metadata"
	image_manifest example.com/client '.annotations = [{name: "lorem", value: "ipsum"}, {name: "homepage",
		value: "https://example.com/"}]' >"$work/manifest"
	tar --create --file "$1" --directory "$work" manifest rootfs
	rm -rf "$work"
}

# client_pod FILTER: as pod; client(NAME; [WORDS]) is an app that runs the client.
client_pod()
{
	pod 'def client(name; words): app(name; words) | .image.name = "example.com/client" |
		.app.exec[0] = "/bin/metadata"; '"$1"
}

# body PATH: what the pod's client got for a path.
body()
{
	sed -n "s|^$1: 200 \[[^]]*\] ||p" "$OUT"
}

pod_uuid()
{
	body /pod/uuid | head -n 1
}

metadata_setup_file()
{
	data_directory
	image_client "$BATS_FILE_TMPDIR/client.aci"
	appc_vm image import "$BATS_FILE_TMPDIR/client.aci"
}
