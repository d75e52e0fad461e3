#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A name server for the network's tests: name_server.py ADDRESS NAME ANSWER

Answers at port 53 of ADDRESS, to datagrams alone: NAME has the IPv4 address ANSWER, and nothing else is there. Says
"listening" when it does.
"""
import socket
import struct
import sys

RESPONSE, RECURSION_AVAILABLE = 0x8000, 0x0080
NO_SUCH_NAME = 3
TYPE_ADDRESS, CLASS_INTERNET = 1, 1
HEADER = struct.Struct("!6H")  # id, flags, and how many of each section
QUESTION = struct.Struct("!HH")  # type, class; behind the name


def question_of(query):
    """Name, type, class and all of its bytes (RFC 1035, section 4.1.2)."""
    labels, at = [], HEADER.size
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii"))
        at += 1 + query[at]
    end = at + 1 + QUESTION.size
    return ".".join(labels), *QUESTION.unpack(query[at + 1 : end]), query[HEADER.size : end]


def answer_to(query, name, address):
    number, flags = HEADER.unpack(query[: HEADER.size])[:2]
    asked, kind, group, question = question_of(query)
    found = (asked.lower(), kind, group) == (name, TYPE_ADDRESS, CLASS_INTERNET)
    flags |= RESPONSE | RECURSION_AVAILABLE | (0 if found else NO_SUCH_NAME)
    # The name is that of the question, at its place; 60 seconds.
    record = struct.pack("!HHHIH", 0xC000 | HEADER.size, kind, group, 60, 4) + socket.inet_aton(address)
    return HEADER.pack(number, flags, 1, int(found), 0, 0) + question + (record if found else b"")


def main():
    own, name, address = sys.argv[1:]
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((own, 53))
    print("listening", flush=True)
    while True:
        query, client = server.recvfrom(512)
        server.sendto(answer_to(query, name, address), client)


main()
