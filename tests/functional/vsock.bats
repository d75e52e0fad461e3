#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Streams between an app and the host: an app listens at a port of the pod's socket, and reaches vsock_PORT.
# shellcheck disable=SC2034 # of lib.bash

load lib

STREAMS=${VSOCK_STREAMS:-60}

setup_file()
{
	[ ! -c /dev/kvm ] || data_directory
}

setup()
{
	needs_kvm
	[ "$FLAVOUR" = vm ] || skip "a container has no vsock"
	UUID_FILE=$BATS_TEST_TMPDIR/uuid
}

pod_directory()
{
	echo "$DATA/pods/run/$UUID"
}

host()
{
	timeout "$LIMIT" "$TOP/tests/functional/vsock_host.py" "$@"
}

@test "clients of the host talk with an app that listens, all at once, each with its own bytes" {
	begin ".apps = [app(\"a\"; [\"vsock-echo\", \"5000\", \"$STREAMS\", \"say\", \"over\"])]"
	eventually "it listens" said 'vsock 5000: listening'
	[ "$(host refused "$(pod_directory)/vsock" 5001)" = refused ]
	[ "$(host clients "$(pod_directory)/vsock" 5000 "$STREAMS")" = "$STREAMS of $STREAMS right" ]
	finish_pod
	expect_status 0
	expect_line "vsock 5000: $STREAMS connected" "vsock 5000: $STREAMS ended" over
}

@test "an app reaches what listens at vsock_PORT in its pod's directory, and nothing else" {
	begin ".apps = [app(\"a\"; [\"await\", \"/v/go\", \"vsock-talk\", \"6001\", \"1\", \"vsock-talk\", \"6000\", \"$STREAMS\"]) |
		.mounts = [{volume: \"v\", path: \"/v\"}]] | .volumes = [{name: \"v\", kind: \"host\", source: \$host}]"
	host server "$(pod_directory)/vsock_6000" "$STREAMS" >"$BATS_TEST_TMPDIR/served" 3>&- &
	local server=$!
	eventually "the host listens" test -S "$(pod_directory)/vsock_6000"
	touch "$BATS_TEST_TMPDIR/host/go"
	finish_pod
	expect_status 0
	wait "$server"
	[ "$(<"$BATS_TEST_TMPDIR/served")" = "$STREAMS served" ]
	expect_line 'vsock 6001: ECONNRESET' "vsock 6000: $STREAMS of $STREAMS right"
}
