#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Configuration files, as rkt has them: where they are looked for, what they change. What may stand in them is
# tests/unit/test_configuration.c's affair.
# shellcheck disable=SC2030,SC2031 # each test has its own variables

load lib

setup_file()
{
	export FILES=$BATS_FILE_TMPDIR/files LOG=$BATS_FILE_TMPDIR/requests
	unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
	mkdir -p "$FILES" "$BATS_FILE_TMPDIR/rootfs"
	jq --null-input '{acKind: "ImageManifest", acVersion: "0.8.11", name: "example.com/app"}' \
		>"$BATS_FILE_TMPDIR/manifest"
	tar --create --file "$FILES/app.aci" --directory "$BATS_FILE_TMPDIR" manifest rootfs
	serve basic "Basic $(printf bar:baz | base64)"
	serve oauth "Bearer sometoken"
}

teardown_file()
{
	kill "$(cat "$BATS_FILE_TMPDIR/basic.pid")" "$(cat "$BATS_FILE_TMPDIR/oauth.pid")" || true
}

# serve NAME AUTHORIZATION: its host and port are in $BATS_FILE_TMPDIR/NAME when this returns.
serve()
{
	AUTHORIZATION=$2 python3 "$BATS_TEST_DIRNAME/http_server.py" "$FILES" "$LOG" >"$BATS_FILE_TMPDIR/$1" \
		2>"$BATS_FILE_TMPDIR/$1.err" </dev/null 3>&- &
	echo $! >"$BATS_FILE_TMPDIR/$1.pid"
	eventually "the $1 server listens" test -s "$BATS_FILE_TMPDIR/$1"
}

server()
{
	echo "127.0.0.1:$(cat "$BATS_FILE_TMPDIR/$1")"
}

setup()
{
	DATA=$BATS_TEST_TMPDIR/data
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	SYSTEM=$BATS_TEST_TMPDIR/system
	LOCAL=$BATS_TEST_TMPDIR/local
	: >"$LOG"
	mkdir -p "$SYSTEM/auth.d" "$LOCAL/auth.d" "$LOCAL/paths.d"
}

# oauth_file TOKEN, basic_file: the file for our server, on standard output.
oauth_file()
{
	jq --null-input --arg server "$(server oauth)" --arg token "$1" \
		'{rktKind: "auth", rktVersion: "v1", domains: [$server], type: "oauth", credentials: {token: $token}}'
}

basic_file()
{
	jq --null-input --arg server "$(server basic)" '{rktKind: "auth", rktVersion: "v1", domains: [$server],
		type: "basic", credentials: {user: "bar", password: "baz"}}'
}

# fetch SERVER: of the server that wants a password; sets status.
fetch()
{
	status=0
	appc_vm --insecure-options=image,http --system-config="$SYSTEM" --local-config="$LOCAL" fetch --no-store \
		"http://$(server "$1")/app.aci" >"$OUT" 2>"$ERR" || status=$?
}

refused()
{
	expect_status 254
	expect_error 'bad HTTP status code: 401'
}

@test "a server gets the password, or the token, that the system's or this host's files have for it" {
	local name
	for name in basic oauth; do
		fetch "$name"
		refused
		for directory in "$SYSTEM" "$LOCAL"; do
			"${name}_file" sometoken >"$directory/auth.d/test.json"
			fetch "$name"
			expect_status 0
			rm "$directory/auth.d/test.json"
		done
	done
}

@test "this host's files win over the system's; other files and directories are left alone" {
	oauth_file sometoken >"$SYSTEM/auth.d/test.json"
	fetch oauth
	expect_status 0
	oauth_file wrong >"$LOCAL/auth.d/test.json"
	fetch oauth
	refused
	oauth_file wrong >"$SYSTEM/auth.d/test.json"
	oauth_file sometoken >"$LOCAL/auth.d/test.json"
	fetch oauth
	expect_status 0
	rm "$SYSTEM/auth.d/test.json" "$LOCAL/auth.d/test.json"
	echo "This is system config" >"$SYSTEM/auth.d/README"
	oauth_file sometoken >"$LOCAL/auth.d/test.notjson"
	mkdir "$LOCAL/auth.d/below"
	oauth_file sometoken >"$LOCAL/auth.d/below/test.json"
	fetch oauth
	refused
}

@test "a password does not follow a redirect to another server" {
	basic_file >"$LOCAL/auth.d/basic.json"
	status=0
	appc_vm --insecure-options=image,http --local-config="$LOCAL" fetch \
		"http://$(server basic)/to/http%3A%2F%2F$(server oauth)%2Fapp.aci" >"$OUT" 2>"$ERR" || status=$?
	refused
	grep -q '^/to/.* 302 Basic' "$LOG"
	grep -q '^/app.aci 401 -$' "$LOG"
}

@test "the data directory is the one of the files, unless --dir says another" {
	local directory=$BATS_TEST_TMPDIR/elsewhere
	printf '{"rktKind": "paths", "rktVersion": "v1", "data": "%s"}' "$directory" >"$LOCAL/paths.d/paths.json"
	[ "$("$APPC_VM" --local-config="$LOCAL" config | jq -r '.stage0[] | select(.rktKind == "paths").data')" = \
		"$directory" ]
	[ ! -e "$directory" ]
	"$APPC_VM" --local-config="$LOCAL" list --no-legend
	[ -d "$directory/pods" ]
	[ "$(appc_vm --local-config="$LOCAL" config | jq -r '.stage0[0].data')" = "$DATA" ]
	# The last word is the user's.
	mkdir -p "$BATS_TEST_TMPDIR/user/paths.d"
	printf '{"rktKind": "paths", "rktVersion": "v1", "data": "/of/the/user", "stage1-images": "/images"}' \
		>"$BATS_TEST_TMPDIR/user/paths.d/paths.json"
	[ "$("$APPC_VM" config --local-config="$LOCAL" --user-config="$BATS_TEST_TMPDIR/user" --pretty-print=false |
		jq -c '.stage0[0]')" = \
		'{"rktVersion":"v1","rktKind":"paths","data":"/of/the/user","stage1-images":"/images"}' ]
}

@test "config prints what all files say" {
	basic_file >"$SYSTEM/auth.d/basic.json"
	oauth_file sometoken >"$LOCAL/auth.d/oauth.json"
	# As in rkt, a command's flags may stand before it.
	run appc_vm --system-config="$SYSTEM" --pretty-print=false --local-config="$LOCAL" config
	[ "$status" -eq 0 ]
	[ "$(jq -c '[.stage0[] | .rktKind]' <<<"$output")" = '["auth","auth","paths"]' ]
	[ "$(jq -c '.stage0[0]' <<<"$output")" = "$(basic_file | jq -c '{rktVersion, rktKind, type, domains, credentials}')" ]
}

@test "a bad file is named, by the commands that need it" {
	echo '{"rktKind": "paths", "rktVersion": "v2"}' >"$LOCAL/paths.d/paths.json"
	run "$APPC_VM" --local-config="$LOCAL" list
	[ "$status" -eq 254 ]
	[[ $output == *"$LOCAL/paths.d/paths.json: rktVersion: must be \"v1\""* ]]
	appc_vm --local-config="$LOCAL" list --no-legend
	rm "$LOCAL/paths.d/paths.json"
	echo '{' >"$LOCAL/auth.d/auth.json"
	appc_vm --local-config="$LOCAL" list --no-legend
	fetch basic
	expect_status 254
	expect_error "$LOCAL/auth.d/auth.json: line 2"
}
