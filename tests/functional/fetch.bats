#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Images from files and servers, and the keys that sign them. The servers are tests/functional/http_server.py
# on free ports of 127.0.0.1; keys are made here.
# shellcheck disable=SC2030,SC2031 # each test has its own variables

load lib

setup_file()
{
	export FILES=$BATS_FILE_TMPDIR/files LOG=$BATS_FILE_TMPDIR/requests GNUPGHOME=$BATS_FILE_TMPDIR/gnupg
	unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
	mkdir "$FILES"
	mkdir -m 700 "$GNUPGHOME"
	aci app
	aci unsigned
	aci other/app
	for name in signer stranger; do
		gpg --batch --quiet --passphrase '' --quick-gen-key "$name <$name@example.com>" ed25519 sign never
		gpg --batch --armor --export "$name" >"$FILES/$name.asc"
	done 2>"$BATS_FILE_TMPDIR/gpg"
	for name in app other-app; do
		gpg --batch --armor --local-user signer --output "$FILES/$name.aci.asc" --detach-sign \
			"$FILES/$name.aci"
	done
	gpg --batch --local-user stranger --output "$FILES/app-by-stranger.sig" --detach-sign "$FILES/app.aci"
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
		-keyout "$BATS_FILE_TMPDIR/key.pem" -out "$BATS_FILE_TMPDIR/certificate.pem" \
		2>"$BATS_FILE_TMPDIR/openssl"
	cat "$BATS_FILE_TMPDIR/key.pem" "$BATS_FILE_TMPDIR/certificate.pem" >"$BATS_FILE_TMPDIR/server.pem"
	serve http
	serve https "$BATS_FILE_TMPDIR/server.pem"
	HTTP=http://127.0.0.1:$(cat "$BATS_FILE_TMPDIR/http")
	HTTPS=https://127.0.0.1:$(cat "$BATS_FILE_TMPDIR/https")
	export HTTP HTTPS
}

teardown_file()
{
	kill "$(cat "$BATS_FILE_TMPDIR/http.pid")" "$(cat "$BATS_FILE_TMPDIR/https.pid")" || true
	gpgconf --kill gpg-agent
}

# serve NAME [CERTIFICATE]: its port is in $BATS_FILE_TMPDIR/NAME when this returns.
serve()
{
	python3 "$BATS_TEST_DIRNAME/http_server.py" "$FILES" "$LOG" "${@:2}" >"$BATS_FILE_TMPDIR/$1" \
		2>"$BATS_FILE_TMPDIR/$1.err" </dev/null 3>&- &
	echo $! >"$BATS_FILE_TMPDIR/$1.pid"
	eventually "the $1 server listens" test -s "$BATS_FILE_TMPDIR/$1"
}

# aci NAME: $FILES/NAME.aci, an image called example.com/NAME; '/' is '-' in the file's name
aci()
{
	local work
	work=$(mktemp -d "$BATS_FILE_TMPDIR/aci-XXXXXX")
	mkdir "$work/rootfs"
	jq --null-input --arg name "example.com/$1" \
		'{acKind: "ImageManifest", acVersion: "0.8.11", name: $name}' >"$work/manifest"
	tar --create --file "$FILES/${1//\//-}.aci" --directory "$work" manifest rootfs
	rm -r "$work"
}

setup()
{
	DATA=$BATS_TEST_TMPDIR/data
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	: >"$LOG"
}

trust()
{
	appc_vm trust --skip-fingerprint-review "$@" >"$OUT"
}

fetch()
{
	status=0
	appc_vm fetch "$@" >"$OUT" 2>"$ERR" || status=$?
}

id_of()
{
	echo "sha512-$(sha512sum <"$FILES/$1" | cut -c1-"${2:-32}")"
}

fetched()
{
	expect_status 0
	expect_line "$(id_of "$1")"
}

# refused PATTERN: nothing was fetched, and this is why.
refused()
{
	expect_status 254
	expect_error "$1"
	[ ! -s "$OUT" ]
	[ -z "$(appc_vm image list --no-legend)" ]
	[ -z "$(find "$DATA/tmp" -mindepth 1)" ]
}

requests()
{
	cat "$LOG"
}

@test "a signed file is fetched when its key is trusted for its name" {
	fetch "$FILES/app.aci"
	refused 'no key is trusted'
	trust --prefix=example.com/other "$FILES/signer.asc"
	fetch "$FILES/app.aci"
	refused 'not trusted for images called "example.com/app"'
	trust --prefix=example.com/app "$FILES/signer.asc"
	fetch "$FILES/app.aci"
	fetched app.aci
	fetch --full "file://$FILES/app.aci"
	expect_line "$(id_of app.aci 128)"
}

@test "a root key may sign every image" {
	trust --root "$FILES/signer.asc"
	fetch "$FILES/app.aci" "$FILES/other-app.aci"
	fetched app.aci
	fetched other-app.aci
}

@test "an image without a signature is fetched only with --insecure-options=image" {
	trust --root "$FILES/signer.asc"
	fetch "$FILES/unsigned.aci"
	refused 'unsigned\.aci\.asc.*--insecure-options=image'
	fetch "$HTTP/unsigned.aci"
	refused 'unsigned\.aci\.asc.*404'
	fetch --insecure-options=image "$FILES/unsigned.aci"
	fetched unsigned.aci
}

@test "a signature of another file, of nobody we know, or none at all is refused" {
	trust --root "$FILES/signer.asc"
	fetch "--signature=$FILES/app.aci.asc" "$FILES/unsigned.aci"
	refused 'bad signature'
	fetch "--signature=$FILES/app-by-stranger.sig" "$FILES/app.aci"
	refused 'no trusted key made it'
	fetch "--signature=$FILES/signer.asc" "$FILES/app.aci"
	refused 'not an OpenPGP signature|no good signature'
	head -c 10000 "$FILES/app.aci" >"$BATS_TEST_TMPDIR/short.aci"
	fetch "--signature=$FILES/app.aci.asc" "$BATS_TEST_TMPDIR/short.aci"
	refused 'bad signature'
	fetch "--signature=$FILES/app.aci.asc" "$FILES/app.aci"
	fetched app.aci
}

@test "a URL is fetched with the signature beside it, and not again while it has not changed" {
	trust --root "$FILES/signer.asc"
	fetch "$HTTP/app.aci"
	fetched app.aci
	[ "$(requests)" = "$(printf '%s\n' '/app.aci.asc 200' '/app.aci 200')" ]
	: >"$LOG"
	fetch "$HTTP/app.aci"
	fetched app.aci
	[ "$(requests)" = "$(printf '%s\n' '/app.aci.asc 200' '/app.aci 304')" ]
}

@test "the pull policies: new asks the server once, never does not ask, update asks each time" {
	fetch --insecure-options=image --pull-policy=never "$HTTP/app.aci"
	refused 'pull policy is never'
	fetch --insecure-options=image --pull-policy=new "$HTTP/app.aci"
	fetched app.aci
	fetch --insecure-options=image --pull-policy=new "$HTTP/app.aci"
	fetched app.aci
	fetch --insecure-options=image --pull-policy=never "$HTTP/app.aci"
	fetched app.aci
	[ "$(requests)" = '/app.aci 200' ]
	fetch --insecure-options=image --pull-policy=update "$HTTP/app.aci"
	fetched app.aci
	[ "$(requests)" = "$(printf '%s\n' '/app.aci 200' '/app.aci 304')" ]
	fetch --insecure-options=image --store-only --debug "$HTTP/app.aci"
	fetched app.aci
	expect_error "using image from local store for URL $HTTP/app.aci"
	for flags in --pull-policy=sometimes '--store-only --no-store'; do
		# shellcheck disable=SC2086 # several words
		fetch $flags "$HTTP/app.aci"
		expect_status 254
	done
	# What came without a signature does not count where one is wanted.
	: >"$LOG"
	trust --root "$FILES/signer.asc"
	fetch --pull-policy=new "$HTTP/app.aci"
	fetched app.aci
	[ "$(requests)" = "$(printf '%s\n' '/app.aci.asc 200' '/app.aci 200')" ]
}

@test "a query stays behind the name of the signature" {
	trust --root "$FILES/signer.asc"
	fetch "$HTTP/app.aci?token=1"
	fetched app.aci
	[ "$(requests)" = "$(printf '%s\n' '/app.aci.asc?token=1 200' '/app.aci?token=1 200')" ]
}

@test "redirects are followed to http and https, not for ever and nowhere else" {
	fetch --insecure-options=image "$HTTP/to/%2Fapp.aci"
	fetched app.aci
	appc_vm image rm example.com/app
	fetch --insecure-options=image "$HTTP/loop"
	refused 'loop.*redirects'
	fetch --insecure-options=image "$HTTP/to/file:%2F%2F$FILES%2Fapp.aci"
	refused '[Pp]rotocol'
}

@test "a server's certificate must be known; https does not lead to http" {
	fetch --insecure-options=image "$HTTPS/app.aci"
	refused 'certificate'
	fetch --insecure-options=image,tls "$HTTPS/to/${HTTP//\//%2F}%2Fapp.aci"
	refused '[Pp]rotocol'
	fetch --insecure-options=image,tls "$HTTPS/app.aci"
	fetched app.aci
	fetch --insecure-options=all-fetch "$HTTPS/to/${HTTP//\//%2F}%2Fapp.aci"
	fetched app.aci
}

@test "what a server does not have, does not end or does not send whole is an error that names the URL" {
	fetch --insecure-options=image "$HTTP/absent.aci"
	refused "$HTTP/absent\\.aci.*404"
	fetch --insecure-options=image "$HTTP/huge"
	refused "$HTTP/huge.*larger than"
	fetch --insecure-options=image "$HTTP/cut"
	refused "$HTTP/cut"
	fetch --insecure-options=image "$HTTP/signer.asc"
	refused "$HTTP/signer\\.asc"
	fetch --insecure-options=image http://127.0.0.1:1/app.aci
	refused '127\.0\.0\.1'
}

@test "names are not looked for on the net, and other schemes are refused" {
	fetch example.com/app:1.0
	refused 'discovery of names .* is not supported'
	fetch docker://busybox
	refused 'unable to fetch image from URL "docker://busybox".*http, https and file URLs only'
	fetch
	expect_status 254
	expect_error 'at least one image'
}

@test "a fetch that is killed leaves nothing of the image, and the next one clears up" {
	# A file that does not end: a pipe that nobody closes.
	mkfifo "$BATS_TEST_TMPDIR/endless.aci"
	exec 9<>"$BATS_TEST_TMPDIR/endless.aci"
	head -c 3000 "$FILES/app.aci" >&9
	"$APPC_VM" "--dir=$DATA" --insecure-options=image fetch "$BATS_TEST_TMPDIR/endless.aci" >"$OUT" 2>"$ERR" \
		3>&- 9>&- &
	eventually "something is written" find_work
	kill -KILL $!
	wait $! || true
	exec 9>&-
	[ -z "$(appc_vm image list --no-legend)" ]
	fetch --insecure-options=image "$FILES/app.aci"
	fetched app.aci
	[ -z "$(find "$DATA/tmp" -mindepth 1)" ]
}

find_work()
{
	[ -n "$(find "$DATA/tmp" -mindepth 1 2>/dev/null)" ]
}

@test "trust needs a terminal or --skip-fingerprint-review, and says what it trusts" {
	run appc_vm trust --prefix=example.com "$FILES/signer.asc" </dev/null
	[ "$status" -eq 254 ]
	[[ $output == *"not a terminal"* && $output == *"signer <signer@example.com>"* ]]
	[ ! -e "$DATA/trusted-keys" ]
	run appc_vm trust --prefix=example.com --skip-fingerprint-review "$FILES/signer.asc"
	[ "$status" -eq 0 ]
	[[ $output == *'Added key for prefix "example.com" at "trusted-keys/prefix.d/example.com/'* ]]
	[[ ${output// /} == *"$(gpg --with-colons --list-keys signer | sed -n 's/^fpr:*\([0-9A-F]*\):$/\1/p')"* ]]
}

@test "trust asks on a terminal, and no is no" {
	answer()
	{
		echo "$1" | script --quiet --return --command \
			"'$APPC_VM' '--dir=$DATA' trust --root '$FILES/signer.asc'" /dev/null
	}
	run answer no
	[ "$status" -eq 254 ]
	[ ! -e "$DATA/trusted-keys" ]
	run answer yes
	[ "$status" -eq 0 ]
	[[ $output == *"Are you sure you want to trust this key"* ]]
	fetch "$FILES/app.aci"
	fetched app.aci
}

@test "trust fetches keys over https; over http only when told to" {
	run appc_vm trust --root --skip-fingerprint-review "$HTTP/signer.asc"
	[ "$status" -eq 254 ]
	[[ $output == *"over https only"* ]]
	run appc_vm trust --root --skip-fingerprint-review "$HTTPS/signer.asc"
	[ "$status" -eq 254 ]
	[[ $output == *certificate* ]]
	trust --root --insecure-allow-http "$HTTP/signer.asc"
	expect_line "prefix: \"\""
	trust --prefix=example.com --insecure-options=pubkey "$HTTPS/stranger.asc"
	fetch "--signature=$FILES/app-by-stranger.sig" "$FILES/app.aci"
	fetched app.aci
}

@test "trust refuses contradictions and what is no key" {
	for words in "--root --prefix=example.com $FILES/signer.asc" "$FILES/signer.asc" --prefix=example.com \
		--root "--prefix=../x $FILES/signer.asc" "--root $FILES/app.aci" "--root $FILES/absent"; do
		# shellcheck disable=SC2086 # several words
		run appc_vm trust --skip-fingerprint-review $words
		[ "$status" -eq 254 ]
	done
	[ ! -e "$DATA/trusted-keys" ]
}
