#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The metadata service: what apps of a pod get from $AC_METADATA_URL, and that nobody else gets it.
# shellcheck disable=SC2016,SC2034 # the variables are jq's; lib.bash reads LIMIT

load lib
load metadata

setup_file()
{
	if [ "$FLAVOUR" = container ] || [ -c /dev/kvm ]; then
		metadata_setup_file
	fi
}

setup()
{
	needs_kvm
}

ASCII='text/plain; charset=us-ascii'

@test "an app learns of its pod, of itself and of its image, with the content types of the specification" {
	client_pod '.annotations = [{name: "ip-address", value: "10.1.2.3"}] | .apps = [client("one"; ["url",
			"get", "/pod/uuid", "get", "/pod/annotations", "get", "/pod/manifest",
			"get", "/apps/one/annotations", "get", "/apps/one/annotations/lorem",
			"get", "/apps/one/image/manifest", "get", "/apps/one/image/id",
			"method", "HEAD", "/pod/annotations"]) |
		.annotations = [{name: "lorem", value: "over"}, {name: "new", value: "1"}] |
		.app.environment = [{name: "AC_METADATA_URL", value: "http://elsewhere/"}]]'
	run_pod
	expect_status 0
	expect_line 'url: http://127.0.0.1:18112/ and 32 digits' \
		'/pod/annotations: 200 [application/json] [{"name":"ip-address","value":"10.1.2.3"}]' \
		'/pod/annotations: 200 [application/json] ' \
		"/apps/one/annotations/lorem: 200 [$ASCII] over" \
		'/apps/one/annotations: 200 [application/json] [{"name":"lorem","value":"over"},{"name":"homepage","value":"https://example.com/"},{"name":"new","value":"1"}]'
	[[ $(pod_uuid) =~ ^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$ ]]
	[ "$(body /pod/manifest | jq -r .acKind)" = PodManifest ]
	body /pod/manifest >"$BATS_TEST_TMPDIR/manifest"
	[ "$(jq -r '.apps[0].image.id' "$BATS_TEST_TMPDIR/manifest")" = "$(body /apps/one/image/id)" ]
	# The image's manifest is the very one that was imported.
	body /apps/one/image/manifest | jq -S . >"$BATS_TEST_TMPDIR/served"
	tar --extract --to-stdout --file "$BATS_FILE_TMPDIR/client.aci" manifest | jq -S . |
		cmp - "$BATS_TEST_TMPDIR/served"
}

@test "annotations of a pod without any are null; every app is known to the others" {
	client_pod '.apps = [client("one"; ["get", "/pod/annotations", "get", "/apps/two/image/id"]),
		client("two"; ["url"])]'
	run_pod
	expect_status 0
	expect_line '/pod/annotations: 200 [application/json] null'
	[[ $(body /apps/two/image/id) = sha512-* ]]
}

@test "wrong tokens are 401, unknown apps 404, wrong methods 405, wrong requests 400, and the service goes on" {
	client_pod '.apps = [client("one"; ["get", "!/", "get",
			"!/00000000000000000000000000000000/acMetadata/v1/pod/uuid", "get", "/apps/two/image/id",
			"get", "/pod", "get", "/apps/one/image/none", "method", "POST", "/pod/uuid",
			"get", "/pod/hmac/sign", "form", "/pod/hmac/sign", "x=y",
			"raw", "nonsense{n}{n}", "raw", "GET {token}/acMetadata/v1/pod/uuid HTTP/1.1{n}{n}",
			"raw", "POST {token}/acMetadata/v1/pod/hmac/sign HTTP/1.1{n}Host: a{n}Transfer-Encoding: chunked{n}{n}",
			"raw", "POST {token}/acMetadata/v1/pod/hmac/sign HTTP/1.1{n}Host: a{n}Content-Length: 100000{n}{n}",
			"raw", "GET {token}/acMetadata/v1/pod/uuid HTTP/1.0{n}{n}"])]'
	run_pod
	expect_status 0
	sed 's/ \[.*//' "$OUT" >"$BATS_TEST_TMPDIR/statuses"
	diff - "$BATS_TEST_TMPDIR/statuses" <<-'END'
		!/: 401
		!/00000000000000000000000000000000/acMetadata/v1/pod/uuid: 401
		/apps/two/image/id: 404
		/pod: 404
		/apps/one/image/none: 404
		/pod/uuid: 405
		/pod/hmac/sign: 405
		/pod/hmac/sign: 400
		raw: 400
		raw: 400
		raw: 411
		raw: 413
		raw: 200
	END
}

@test "a signature of one pod is verified by another, and is no other pod's nor of other content" {
	client_pod '.apps = [client("one"; ["get", "/pod/uuid", "form", "/pod/hmac/sign", "content=Old+MacDonald%00"])]'
	run_pod
	expect_status 0
	uuid=$(pod_uuid)
	signature=$(body /pod/hmac/sign)
	[ "$(base64 --decode <<<"$signature" | wc --bytes)" -eq 64 ]
	[ "$(stat --format=%a:%s "$DATA/metadata-key")" = 600:64 ]
	# What signs is HMAC-SHA512 over the UUID's 16 bytes and the content.
	key=$(od -An -v -tx1 "$DATA/metadata-key" | tr -d ' \n')
	[ "$({ printf '%b' "$(sed 's/-//g; s/../\\x&/g' <<<"$uuid")"; printf 'Old MacDonald\0'; } |
		openssl dgst -sha512 -mac HMAC -macopt "hexkey:$key" -binary | base64 --wrap=0)" = "$signature" ]

	encoded=$(sed 's/+/%2B/g; s|/|%2F|g; s/=/%3D/g' <<<"$signature")
	client_pod '.apps = [client("two"; ["get", "/pod/uuid",
			"form", "/pod/hmac/verify", "content=Old+MacDonald%00&uuid='"$uuid&signature=$encoded"'",
			"form", "/pod/hmac/verify", "content=Old+MacDonald%00&uid='"$uuid&signature=$encoded"'",
			"form", "/pod/hmac/verify", "content=Old+MacDonald&uuid='"$uuid&signature=$encoded"'",
			"form", "/pod/hmac/verify", "content=Old+MacDonald%00&uuid='"$uuid"'",
			"form", "/pod/hmac/sign", "content=Old+MacDonald%00",
			"form", "/pod/hmac/verify", "content=Old+MacDonald%00&signature={last}&uuid='"$uuid"'"])]'
	run_pod
	expect_status 0
	[ "$(pod_uuid)" != "$uuid" ]
	sed -n 's/^\/pod\/hmac\/verify: \([0-9]*\) .*/\1/p' "$OUT" >"$BATS_TEST_TMPDIR/statuses"
	diff - "$BATS_TEST_TMPDIR/statuses" <<-'END'
		200
		200
		403
		400
		403
	END
}

@test "connections that begin a request and never end it keep nobody from the service" {
	client_pod '.apps = [client("slow"; ["hold", "40", "get", "/pod/uuid", "repeat", "20", "/pod/annotations",
		"keep", "20", "/pod/uuid"])]'
	run_pod
	expect_status 0
	[ -n "$(pod_uuid)" ]
	[ "$(grep -cxF '20 of 20 answered' "$OUT")" -eq 2 ]
}

@test "only the service's own port is taken, and each pod has a token of its own" {
	client_pod '.apps = [client("one"; ["listen", "18112", "listen", "80", "listen", "8080"]),
		app("two"; ["env", "AC_METADATA_URL"])]'
	run_pod
	expect_status 0
	expect_line 'listen 18112: refused' 'listen 80: ok' 'listen 8080: ok'
	grep '^env AC_METADATA_URL: http://127.0.0.1:18112/' "$OUT" >"$BATS_TEST_TMPDIR/first"
	run_pod
	expect_status 0
	grep '^env AC_METADATA_URL: http://127.0.0.1:18112/' "$OUT" >"$BATS_TEST_TMPDIR/second"
	run ! cmp -s "$BATS_TEST_TMPDIR/first" "$BATS_TEST_TMPDIR/second"
}

@test "event handlers can ask, too" {
	client_pod '.apps = [client("one"; ["url"]) | .app.eventHandlers = [
		{name: "pre-start", exec: ["/bin/metadata", "get", "/pod/annotations"]},
		{name: "post-stop", exec: ["/bin/metadata", "get", "/apps/one/annotations/lorem"]}]]'
	run_pod
	expect_status 0
	expect_line '/pod/annotations: 200 [application/json] null' "/apps/one/annotations/lorem: 200 [$ASCII] ipsum"
}

# The specification's validator waits 100 ms. A guest kernel that is emulated needs longer; metadata-machine.bats counts
# its instructions.
@test "a client that does not wait long gets every answer in time" {
	local limit=100
	[ "$FLAVOUR" = container ] || limit=5000
	client_pod '.apps = [client("one"; ["within", "'"$limit"'", "repeat", "20", "/pod/manifest",
		"keep", "20", "/pod/manifest"])]'
	run_pod
	expect_status 0
	[ "$(grep -cxF '20 of 20 answered' "$OUT")" -eq 2 ]
}
