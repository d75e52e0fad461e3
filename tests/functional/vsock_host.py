#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The host's end of streams to and from a pod.

    vsock_host.py clients SOCKET PORT COUNT   so many clients of an app's port at once; each checks its bytes
    vsock_host.py refused SOCKET PORT         a client of a port where nobody listens
    vsock_host.py wait SOCKET PORT            a client that only waits for the other end to go
    vsock_host.py server SOCKET COUNT         what an app reaches at the port of this socket; gives bytes back
"""

import hashlib
import os
import socket
import sys
import threading


def read_line(stream):
    line = b""
    while not line.endswith(b"\n"):
        byte = stream.recv(1)
        if not byte:
            return line
        line += byte
    return line


def connect(path, port):
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(120)
    stream.connect(path)
    stream.sendall(f"CONNECT {port}\n".encode())
    return stream, read_line(stream)


def read_all(stream):
    data = b""
    while piece := stream.recv(65536):
        data += piece
    return data


def clients(path, port, count):
    streams = []
    for _ in range(count):
        stream, answer = connect(path, port)
        assert answer.startswith(b"OK "), answer
        streams.append(stream)
    data = [hashlib.sha256(str(i).encode()).digest() * (i % 64 + 1) for i in range(count)]
    for stream, text in zip(streams, data):
        stream.sendall(text)
    for stream in streams:
        stream.shutdown(socket.SHUT_WR)
    right = sum(read_all(stream) == text for stream, text in zip(streams, data))
    print(f"{right} of {count} right")


def refused(path, port):
    stream, answer = connect(path, port)
    print("refused" if answer == b"" and stream.recv(1) == b"" else answer)


def wait(path, port):
    stream, answer = connect(path, port)
    assert answer.startswith(b"OK "), answer
    read_all(stream)


def serve(stream):
    stream.sendall(read_all(stream))
    stream.close()


def server(path, count):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".new")
    listener.listen(count)
    os.rename(path + ".new", path)
    threads = [threading.Thread(target=serve, args=(listener.accept()[0],)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{count} served")


if __name__ == "__main__":
    action, socket_path = sys.argv[1:3]
    {"clients": clients, "refused": refused, "wait": wait, "server": server}[action](
        socket_path, *map(int, sys.argv[3:])
    )
