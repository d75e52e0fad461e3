#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients of the pod with a network: clients.py PORT ADDRESS. One that is answered, one of datagrams to the
host's address, one that gets back what it says."""

import socket
import sys
import time

PORT, ADDRESS = int(sys.argv[1]), sys.argv[2]


def connect(say, answer):
    """passt listens before the app does: then the connection ends without a word."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        try:
            client = socket.create_connection(("127.0.0.1", PORT), 60)
            client.sendall(say)
            client.shutdown(socket.SHUT_WR)
            got = b""
            while piece := client.recv(65536):
                got += piece
            if got.startswith(answer):
                return
        except OSError:
            pass
        time.sleep(0.5)
    sys.exit(f"no answer at port {PORT}")


connect(b"question\n", b"from the pod")
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.settimeout(1)
for _ in range(60):
    datagrams.sendto(b"question\n", (ADDRESS, PORT))
    try:
        if datagrams.recv(100):
            break
    except OSError:
        pass
else:
    sys.exit(f"no answer to datagrams at port {PORT}")
connect(bytes(6000), bytes(6000))
