# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the tests of pods' networks share. The program in the pods is tests/functional/guest/network.c.

# What the name server of the tests knows, and nobody else does.
KNOWN_NAME=pod.appc-vm.test
KNOWN_ADDRESS=192.0.2.77

# name_server ADDRESS [COMMAND...]: starts one, by COMMAND if there is one, which is no function: $! is to be the server.
name_server()
{
	local address=$1
	shift
	"$@" python3 "$BATS_TEST_DIRNAME/name_server.py" "$address" "$KNOWN_NAME" "$KNOWN_ADDRESS" \
		>"$BATS_TEST_TMPDIR/name-server" 3>&- &
	NAME_SERVER=$!
	eventually "the name server listens" test -s "$BATS_TEST_TMPDIR/name-server"
}

name_server_ends()
{
	[ -z "${NAME_SERVER:-}" ] || kill "$NAME_SERVER" || true
	NAME_SERVER=
}

# resolv_conf LINE...: from now on appc-vm runs where these are the lines of /etc/resolv.conf.
resolv_conf()
{
	printf '%s\n' "$@" >"$BATS_TEST_TMPDIR/resolv.conf"
	[ ! -e "$BATS_TEST_TMPDIR/with-resolv-conf" ] || return 0
	cat >"$BATS_TEST_TMPDIR/with-resolv-conf" <<-END
		#!/bin/sh
		exec unshare --mount sh -c 'mount --bind "\$0" /etc/resolv.conf && exec "\$@"' \
			"$BATS_TEST_TMPDIR/resolv.conf" "$APPC_VM" "\$@"
	END
	chmod +x "$BATS_TEST_TMPDIR/with-resolv-conf"
	APPC_VM=$BATS_TEST_TMPDIR/with-resolv-conf
}

# ask ADDRESS PORT [COMMAND...]: what a server answers a datagram.
ask()
{
	local address=$1 port=$2
	shift 2
	"$@" python3 -c 'import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
s.connect((sys.argv[1], int(sys.argv[2])))
s.send(b"question\n")
print(s.recv(100).decode(), end="")' "$address" "$port"
}

# echoes ADDRESS PORT [COMMAND...]: 1 MiB that is sent there comes back as it was. COMMAND starts the client.
echoes()
{
	local address=$1 port=$2
	shift 2
	"$@" python3 - "$address" "$port" <<-'END'
		import os, socket, sys, threading
		data = os.urandom(1 << 20)
		s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 60)
		def send():
		    s.sendall(data)
		    s.shutdown(socket.SHUT_WR)
		threading.Thread(target=send).start()
		got = b""
		while len(got) < len(data):
		    piece = s.recv(1 << 16)
		    assert piece, len(got)
		    got += piece
		assert got == data
		assert not s.recv(1)
	END
}
