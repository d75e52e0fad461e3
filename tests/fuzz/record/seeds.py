#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes seeds of the fuzz harnesses out of what machines said: seeds.py RECORD CORPORA (record.sh).

RECORD is what hook.c wrote; each harness gets CORPORA/NAME/recorded-*, in the form that its first comment describes.
A seed stands on its own: what its requests need, and was made before, is asked for in it again. Of what is
alike, by operation, outcome and class of length, the first is taken. What is this machine's or this run's (identifiers, times, ports,
sequence numbers) is replaced, so that a new recording differs where the program does.
"""

import copy
import os
import re
import struct
import sys
from collections import namedtuple

MESSAGE, TRANSMIT, TAKEN, BACK, ANSWERED = range(5)
NET, CONSOLE, VSOCK, FS = 1, 3, 19, 26
SEED_MAX = 4096
SHARING, NETWORKED, CHANGING = range(3)  # the machines of record.sh

Record = namedtuple("Record", "kind machine device queue head length room data")


def records_read(path):
    """In order, without what was put back."""
    header = struct.Struct("<IBBBBHHII")
    with open(path, "rb") as file:
        data = file.read()
    records, at = [], 8
    while at + header.size <= len(data):
        size, kind, machine, device, queue, head, _, length, room = header.unpack_from(data, at)
        if not size:
            break
        start = at + header.size
        record = Record(kind, machine, device, queue, head, length, room, data[start:start + length][:size - header.size])
        at += size
        if kind != BACK:
            records.append(record)
            continue
        # The one that was taken last.
        for i in range(len(records) - 1, -1, -1):
            other = records[i]
            if (other.kind, other.machine, other.device, other.queue) == (TAKEN, machine, device, queue):
                del records[i]
                break
    return records


def length_class(length):
    return 0 if length == 0 else 1 if length <= 64 else 2 if length <= 1024 else 3


def seed_write(corpora, harness, name, data):
    with open(os.path.join(corpora, harness, f"recorded-{name}"), "wb") as file:
        file.write(data)


# ---- texts

IDENTIFIERS = (
    (re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), b"01234567-89ab-4cde-8f01-23456789abcd"),
    (re.compile(rb"(?<![0-9a-f])[0-9a-f]{128}(?![0-9a-f])"), b"0123456789abcdef" * 8),
    (re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])"), b"0123456789abcdef" * 4),
    (re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])"), b"0123456789abcdef" * 2),
    (re.compile(rb"02(:[0-9a-f]{2}){5}"), b"02:00:00:00:00:01"),
    (re.compile(rb"[A-Za-z0-9+/]{86}=="), b"ABCD" * 21 + b"AA=="),
    (re.compile(rb'(hostPort\\?":|"pid":)\d+'), rb"\g<1>41000"),
)


def text_clean(text):
    for pattern, substitute in IDENTIFIERS:
        text = pattern.sub(substitute, text)
    return text


def usage_clean(text):
    return re.sub(rb"\d{3,}", lambda number: b"1" * len(number[0]), text)


# ---- fuzz_fuse

LOOKUP, FORGET, GETATTR, SETATTR, READLINK, SYMLINK, MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK, OPEN, READ, WRITE = (
    1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16)
STATFS, RELEASE, FSYNC, SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR = (
    17, 18, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29)
FSYNCDIR, CREATE, FALLOCATE, READDIRPLUS, RENAME2, LSEEK, COPY, SYNCFS, TMPFILE, STATX = (
    30, 35, 43, 44, 45, 46, 47, 50, 51, 52)

# How long the structure before the names is.
STRUCTURES = {
    LOOKUP: 0, GETATTR: 16, SETATTR: 88, READLINK: 0, SYMLINK: 0, MKNOD: 16, MKDIR: 8, UNLINK: 0, RMDIR: 0,
    RENAME: 8, LINK: 8, OPEN: 8, READ: 40, WRITE: 40, STATFS: 0, RELEASE: 24, FSYNC: 16, SETXATTR: 8, GETXATTR: 8,
    LISTXATTR: 8, REMOVEXATTR: 0, FLUSH: 24, OPENDIR: 8, READDIR: 40, RELEASEDIR: 24, FSYNCDIR: 16, CREATE: 16,
    FALLOCATE: 32, READDIRPLUS: 40, RENAME2: 16, LSEEK: 24, COPY: 56, SYNCFS: 8, TMPFILE: 16, STATX: 24,
}
WITH_HANDLE = {READ, WRITE, RELEASE, FSYNC, FLUSH, READDIR, READDIRPLUS, RELEASEDIR, FSYNCDIR, FALLOCATE, LSEEK, COPY}
WITH_LATER_HANDLE = {GETATTR: (0, 1), SETATTR: (0, 1 << 6), STATX: (0, 1)}
WITH_NAMES = {LOOKUP: 1, SYMLINK: 2, MKNOD: 1, MKDIR: 1, UNLINK: 1, RMDIR: 1, RENAME: 2, RENAME2: 2, LINK: 1,
              CREATE: 1, TMPFILE: 1, SETXATTR: 1, GETXATTR: 1, REMOVEXATTR: 1}
MAKES_ENTRY = {LOOKUP, MKNOD, MKDIR, SYMLINK, LINK, CREATE, TMPFILE}
MAKES_HANDLE = {OPEN: 0, OPENDIR: 0, CREATE: 128, TMPFILE: 128}
CHANGES_NAME = {MKNOD, MKDIR, SYMLINK, LINK, CREATE, UNLINK, RMDIR}
RECORD_HANDLE, RECORD_NODE, RECORD_LATER, RECORD_COPY = 0x01, 0x08, 0x10, 0x20
KNOWN, REQUESTS, ROOM = 16, 64, 0xfe * 8
UNSAID = -1  # given by what the harness cannot be told
ROOT = 1


def harness_tables():
    """Opcodes and names in the order that the harness has them in."""
    folder = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(folder, "../fuzz_fuse.c")) as file:
        source = file.read()
    with open("/usr/include/linux/fuse.h") as file:
        numbers = {name: int(number) for name, number in re.findall(r"\b(FUSE_\w+)\s*=\s*(\d+),", file.read())}
    body = source[source.index("} operations[] = {"):]
    body = body[:body.index("\n};")]
    opcodes = [int(numbers.get(word, word)) for word in re.findall(r"\{(FUSE_\w+|\d+)", body)]
    body = source[source.index("names[16] = {"):]
    names = [None] + [text.encode() for text in re.findall(r'"([^"]*)"', body[:body.index("};")])]
    return opcodes, names


class Request:
    """One request, and what it takes from earlier ones (needs) and leaves for later ones (gives)."""

    def __init__(self, taken, answer):
        _, self.opcode, _, self.node, self.uid, _, _, _ = struct.unpack_from("<IIQQIIII", taken.data)
        self.arguments = bytearray(taken.data[40:])
        self.room = taken.room
        self.error = struct.unpack_from("<i", answer, 4)[0] if len(answer) >= 16 else 0
        self.reply = answer[16:]
        self.names, self.value = [], b""
        self.handle = self.other = None
        self.nodes, self.handles = [], []  # that the harness learns, in its order
        self.entries = []  # of a directory: (name, node), which the harness's file system may have in another order
        self.is_recorded = True
        if self.opcode in STRUCTURES:
            self.read_names()
            self.read_handle()
            self.read_reply()

    def read_names(self):
        size, rest = STRUCTURES[self.opcode], bytes(self.arguments)
        if self.opcode == SETXATTR and len(rest) < 8:
            return
        for _ in range(WITH_NAMES.get(self.opcode, 0)):
            end = rest.find(b"\0", size)
            self.names.append(rest[size:end])
            size = end + 1
        self.value = rest[size:]

    def read_handle(self):
        if self.opcode in (LINK, RENAME, RENAME2):
            self.other, = struct.unpack_from("<Q", self.arguments)
        elif self.opcode in WITH_HANDLE:
            self.handle, = struct.unpack_from("<Q", self.arguments)
        elif self.opcode in WITH_LATER_HANDLE:
            at, bit = WITH_LATER_HANDLE[self.opcode]
            if struct.unpack_from("<I", self.arguments, at)[0] & bit:
                self.handle, = struct.unpack_from("<Q", self.arguments, 8)
        # Without an open file the kernel says 0.
        self.handle = self.handle or None

    def read_reply(self):
        if self.error:
            return
        if self.opcode in MAKES_ENTRY:
            self.nodes = [struct.unpack_from("<Q", self.reply)[0]]
        elif self.opcode == READDIRPLUS:
            at = 0
            while at + 152 <= len(self.reply):
                length, = struct.unpack_from("<I", self.reply, at + 144)
                node, = struct.unpack_from("<Q", self.reply, at)
                if node:
                    self.entries.append((bytes(self.reply[at + 152:at + 152 + length]), node))
                at += 152 + (length + 7) // 8 * 8
        self.nodes = [node for node in self.nodes if node]
        if self.opcode in MAKES_HANDLE:
            # 0: the kernel is to open nothing.
            self.handles = [handle for handle in struct.unpack_from("<Q", self.reply, MAKES_HANDLE[self.opcode]) if handle]

    def lookups(self):
        """What the kernel need not ask any more, since a directory's reply told it of these entries."""
        for name, node in self.entries:
            lookup = copy.copy(self)
            lookup.opcode, lookup.names, lookup.nodes, lookup.entries = LOOKUP, [name], [node], []
            lookup.arguments, lookup.handle, lookup.is_recorded = bytearray(name + b"\0"), None, False
            yield lookup

    def copied_to(self):
        return struct.unpack_from("<QQ", self.arguments, 16)

    def needs(self):
        keys = [("node", self.node)]
        if self.other is not None:
            keys.append(("node", self.other))
        if self.handle is not None:
            keys.append(("handle", self.handle))
        if self.opcode == COPY:
            keys.append(("node", self.copied_to()[0]))
            if self.copied_to()[1]:
                keys.append(("handle", self.copied_to()[1]))
        if self.opcode in (SETXATTR, GETXATTR, REMOVEXATTR):
            keys.append(("attribute", self.node, self.names[0]))
        elif self.opcode in (RENAME, RENAME2):
            keys += [("name", self.node, self.names[0]), ("name", self.other, self.names[1])]
        elif self.opcode != SYMLINK and self.names:
            keys.append(("name", self.node, self.names[0]))
        elif self.opcode == SYMLINK:
            keys.append(("name", self.node, self.names[0]))
        elif self.opcode in (READ, LSEEK):
            keys.append(("data", self.node))
        elif self.opcode in (READDIR, READDIRPLUS):
            keys.append(("entries", self.node))
        return keys

    def gives(self):
        if self.error or self.opcode not in STRUCTURES:
            return []
        keys = [("node", node) for node in self.nodes] + [("handle", handle) for handle in self.handles]
        if self.opcode in CHANGES_NAME:
            keys += [("name", self.node, self.names[0]), ("entries", self.node)]
        elif self.opcode in (RENAME, RENAME2):
            keys += [("name", self.node, self.names[0]), ("name", self.other, self.names[1]), ("entries", self.other)]
        elif self.opcode in (SETXATTR, REMOVEXATTR):
            keys.append(("attribute", self.node, self.names[0]))
        elif self.opcode == WRITE:
            keys.append(("data", self.node))
        return keys

    def kind(self):
        flags = bytes(self.arguments[:4]) if self.opcode in (SETATTR, OPEN, FALLOCATE, GETXATTR, CREATE) else b""
        if self.opcode == RENAME2:
            flags = bytes(self.arguments[8:12])
        return (self.opcode, self.error, flags, self.handle is not None, tuple(self.names[:1]), self.node == ROOT,
                length_class(len(self.value)), length_class(len(self.reply)))


class FuseSeeds:
    """The requests of one machine, as seeds; root: the node that stands for the harness's root."""

    def __init__(self, records, machine, root_name):
        self.opcodes, self.table = harness_tables()
        self.requests = []
        self.root = ROOT
        waiting = {}
        for record in records:
            if (record.machine, record.device) != (machine, FS):
                continue
            if record.kind == TAKEN and len(record.data) >= 40:
                waiting[record.queue, record.head] = record
            elif record.kind == ANSWERED and (record.queue, record.head) in waiting:
                request = Request(waiting.pop((record.queue, record.head)), record.data)
                self.requests += [request, *request.lookups()]
        self.givers, self.needed = {}, []
        for number, request in enumerate(self.requests):
            if request.opcode == LOOKUP and request.names == [root_name] and request.nodes:
                self.root = request.nodes[0]
            usable = self.is_expressible(request)
            earlier = [self.givers.get(key) for key in request.needs()] if usable else None
            # Whatever is named must be reachable from the root, by what can be said.
            for key, giver in zip(request.needs() if usable else (), earlier or ()):
                if giver == UNSAID or (key[0] in ("node", "handle") and giver is None and key != ("node", self.root)):
                    earlier = None
                    break
            self.needed.append(None if earlier is None else [giver for giver in earlier if giver is not None])
            for key in request.gives():
                if key != ("node", self.root):
                    self.givers[key] = UNSAID if earlier is None else number

    def is_expressible(self, request):
        if request.opcode not in STRUCTURES or request.opcode not in self.opcodes:
            return False
        if request.node == ROOT and self.root != ROOT:
            return False
        # Places in a directory are numbers of the host's file system.
        if request.opcode in (READDIR, READDIRPLUS) and struct.unpack_from("<Q", request.arguments, 8)[0]:
            return False
        return all(name in self.table for name in request.names)

    def closure(self, number, ret):
        if number not in ret:
            ret.add(number)
            for giver in self.needed[number]:
                self.closure(giver, ret)
        return ret

    def encode(self, numbers):
        """The bytes of a seed; None where it asks for what the harness has forgotten by then."""
        nodes, handles, data = [], [], b""
        for number in numbers:
            request = self.requests[number]
            try:
                data += self.record(request, nodes, handles)
            except ValueError:
                return None
            nodes += request.nodes + [None] * len(request.entries)
            handles += request.handles
        return data

    def place(self, known, value):
        """Where the harness has it, the newest."""
        at = len(known) - 1 - known[::-1].index(value)
        if len(known) - at > KNOWN:
            raise ValueError
        return at % KNOWN

    def node(self, nodes, node):
        if node == self.root:
            return 0
        return self.place(nodes, node) or min(len(nodes), KNOWN)

    def record(self, request, nodes, handles):
        structure = bytearray(request.arguments[:STRUCTURES[request.opcode]])
        flags = handle = names = 0
        value = bytes(request.value)
        if request.other is not None:
            # The root has no place there but in the structure.
            if request.other == self.root:
                struct.pack_into("<Q", structure, 0, ROOT)
            else:
                flags, handle = RECORD_NODE, self.place(nodes, request.other)
        elif request.handle is not None:
            flags = RECORD_LATER if request.opcode in WITH_LATER_HANDLE else RECORD_HANDLE
            handle = self.place(handles, request.handle)
        if request.opcode == COPY:
            node, other = request.copied_to()
            flags |= RECORD_COPY
            names = self.place(nodes, node) | (self.place(handles, other) << 4 if other else 0xf0)
        if request.opcode == SETATTR:
            self.times_set(structure)
        if request.opcode in (WRITE, SETXATTR):
            value = value[:192]
            struct.pack_into("<I", structure, 16 if request.opcode == WRITE else 0, len(value))
        if request.opcode == SETXATTR:
            structure, value = structure + request.names[0] + b"\0" + value, b""
        else:
            for i, name in enumerate(request.names):
                names |= self.table.index(name) << 4 * i
        structure += value
        room = min(request.room, ROOM) // 8
        return struct.pack("8B", self.opcodes.index(request.opcode), self.node(nodes, request.node), handle,
                           1 if request.uid == 1000 else 0, names, flags, len(structure), room) + structure

    def times_set(self, structure):
        for at in (32, 40, 48):
            struct.pack_into("<Q", structure, at, 1000000000)
        for at in (56, 60, 64):
            struct.pack_into("<I", structure, at, 0)

    def seeds(self, first):
        """Requests of new kinds, as many in a seed as there is room for."""
        seen, chosen = set(), set()
        for number, request in enumerate(self.requests):
            if self.needed[number] is None or not request.is_recorded or request.kind() in seen:
                continue
            more = chosen | self.closure(number, set())
            data = self.encode(sorted(more))
            if len(more) > REQUESTS or data is None or len(data) > SEED_MAX:
                if chosen:
                    yield bytes([first]) + self.encode(sorted(chosen))
                more = self.closure(number, set())
                if self.encode(sorted(more)) is None or len(more) > REQUESTS:
                    chosen = set()
                    continue
            seen.add(request.kind())
            chosen = more
        if chosen:
            yield bytes([first]) + self.encode(sorted(chosen))


def fuse_seeds(records, corpora):
    for machine, root_name, first, name in (
        (SHARING, None, 0, "volumes"), (SHARING, b"scratch", 0, "opens"), (NETWORKED, b"scratch", 1, "alone"),
    ):
        for number, data in enumerate(FuseSeeds(records, machine, root_name).seeds(first)):
            seed_write(corpora, "fuse", f"{name}-{number}", data)


# ---- fuzz_vsock, fuzz_session

V_REQUEST, V_RESPONSE, V_RST, V_SHUTDOWN, V_RW, V_CREDIT_UPDATE, V_CREDIT_REQUEST = range(1, 8)
VSOCK_HEADER = struct.Struct("<QQIIIHHIII")
HOST_PORTS = 1 << 30
SESSION_PORT, SESSION_RESULT, SESSION_USAGE = 1, 8, 9
PACKETS_MAX = 40

Packet = namedtuple("Packet", "from_guest guest_port host_port operation flags room count data")


def packets_of(records, machine):
    """Of each connection, in the order of their first packets."""
    connections = {}
    for record in records:
        if (record.machine, record.device) != (machine, VSOCK) or len(record.data) < VSOCK_HEADER.size:
            continue
        from_guest = record.kind == TAKEN and record.queue == 1
        if not from_guest and not (record.kind == ANSWERED and record.queue == 0):
            continue
        _, _, source, to, _, _, operation, flags, room, count = VSOCK_HEADER.unpack_from(record.data)
        ports = (source, to) if from_guest else (to, source)
        connections.setdefault(ports, []).append(
            Packet(from_guest, *ports, operation, flags, room, count, record.data[VSOCK_HEADER.size:]))
    return list(connections.values())


class VsockSeed:
    """Connections one after the other, in a machine of their own."""

    def __init__(self):
        self.data, self.buffers = b"", 0
        self.programs = self.host_ports = self.guest_ports = 0

    def add(self, packets):
        guest_port, host_port = packets[0].guest_port, packets[0].host_port
        program = self.programs
        if packets[0].from_guest:
            guest_port = 1024 + self.guest_ports
            self.guest_ports += 1
        else:
            host_port = HOST_PORTS + self.host_ports
            self.host_ports += 1
        for packet in packets[:PACKETS_MAX]:
            if packet.from_guest:
                self.guest_says(packet, guest_port, host_port)
            else:
                self.host_says(packet, program)

    def guest_says(self, packet, guest_port, host_port):
        room = 255 - VSOCK_HEADER.size
        for at in range(0, max(1, min(len(packet.data), 3 * room)), room):
            piece = session_clean(packet.data)[at:at + room]
            raw = VSOCK_HEADER.pack(3, 2, guest_port, host_port, len(piece), 1, packet.operation, packet.flags,
                                    packet.room, packet.count) + piece
            self.data += bytes([1, len(raw)]) + raw
        self.data += bytes([12])

    def host_says(self, packet, program):
        if self.buffers < 2:
            self.data += bytes([2, 12, 255])
            self.buffers += 12
        self.buffers -= 1
        if packet.operation == V_REQUEST:
            self.greet(packet.guest_port)
        elif packet.operation == V_RESPONSE:
            self.programs += 1
            self.data += bytes([7, 0])
        elif packet.operation == V_RST and self.programs == program:
            self.data += bytes([7, 1])
        elif packet.operation == V_RW:
            self.data += bytes([4, program % 8, min(255, (len(packet.data) + 63) // 64)])
        elif packet.operation == V_SHUTDOWN:
            self.data += bytes([6, program % 8, {1: 0, 2: 1}.get(packet.flags, 3)])
        elif packet.operation == V_CREDIT_UPDATE:
            self.data += bytes([5, program % 8])
        self.data += bytes([12])

    def greet(self, port):
        greeting = b"CONNECT %d\n" % port
        self.programs += 1
        self.data += bytes([3, len(greeting)]) + greeting


def vsock_seeds(records, corpora):
    seen, number = set(), 0
    for machine in (SHARING, NETWORKED):
        connections = packets_of(records, machine)
        for packets in connections:
            kind = (packets[0].from_guest, min(packets[0].guest_port, 1024),
                    frozenset((p.from_guest, p.operation, p.flags, length_class(len(p.data))) for p in packets))
            if kind in seen:
                continue
            seen.add(kind)
            seed = VsockSeed()
            seed.add(packets)
            seed_write(corpora, "vsock", f"connection-{number}", seed.data)
            number += 1
        together = [packets for packets in connections if packets[0].guest_port == 5000]
        if together:
            seed = VsockSeed()
            for packets in together:
                seed.add(packets)
            seed_write(corpora, "vsock", "several", seed.data)


def session_clean(data):
    """Its frames, or bytes of something else, as they are."""
    cleaned = b""
    for kind, payload in session_frames(data):
        if kind == SESSION_USAGE:
            payload = usage_clean(payload)
        cleaned += struct.pack("<IB3x", len(payload), kind) + text_clean(payload)
    return cleaned + data[len(cleaned):]


def session_frames(data):
    at = 0
    while at + 8 <= len(data):
        length, kind, reserved = struct.unpack_from("<IB3s", data, at)
        if reserved != b"\0\0\0" or not 1 <= kind <= SESSION_USAGE or at + 8 + length > len(data):
            return
        yield kind, data[at + 8:at + 8 + length]
        at += 8 + length


def session_seeds(records, corpora):
    seen, number = set(), 0
    for machine in (SHARING, NETWORKED):
        for packets in packets_of(records, machine):
            if packets[0].from_guest or packets[0].guest_port != SESSION_PORT:
                continue
            for from_guest in (False, True):
                stream = b"".join(p.data for p in packets if p.from_guest == from_guest and p.operation == V_RW)
                kept, kinds = b"", []
                for kind, payload in session_frames(session_clean(stream)):
                    if len(kept) + 8 + len(payload) <= SEED_MAX:
                        kept += struct.pack("<IB3x", len(payload), kind) + payload
                        kinds.append((kind, length_class(len(payload))))
                if not kinds or (from_guest, tuple(kinds)) in seen:
                    continue
                seen.add((from_guest, tuple(kinds)))
                # In pieces of 128 bytes.
                side = "guest" if from_guest else "client"
                seed_write(corpora, "session", f"{side}-{number}", bytes([127 << 1 | from_guest]) + kept)
                number += 1


# ---- fuzz_control_frames, fuzz_supervisor

CONTROL, STREAM = 1, 2
TEXT, OUTPUT, LISTEN = 1, 4, 12  # operations of fuzz_supervisor


def port_bytes(records, machine):
    """(from_guest, port, bytes) in order; messages have a frame like all others."""
    for record in records:
        if record.machine != machine:
            continue
        if record.kind == MESSAGE:
            yield False, CONTROL, struct.pack("<I", len(record.data)) + record.data
        elif record.kind == TRANSMIT:
            yield True, record.queue, record.data
        elif record.device == CONSOLE and record.queue >= 4:
            from_guest = record.queue % 2 == 1
            if record.kind == (TAKEN if from_guest else ANSWERED):
                yield from_guest, (record.queue - 2) // 2, record.data


def frames_of(records, machine, header):
    """(from_guest, port, frame with its header), whole ones; header tells how long the rest of each is."""
    left = {}
    for from_guest, port, data in port_bytes(records, machine):
        data = left.get((from_guest, port), b"") + data
        while len(data) >= header(port) and len(data) >= header(port) + struct.unpack_from("<I", data)[0]:
            size = header(port) + struct.unpack_from("<I", data)[0]
            yield from_guest, port, data[:size]
            data = data[size:]
        left[from_guest, port] = data


def frames(records, machine):
    return frames_of(records, machine, lambda port: 4 if port == CONTROL else 8)


def framed(frame):
    text = text_clean(frame[4:])
    return struct.pack("<I", len(text)) + text


def control_seeds(records, corpora):
    seen, number = set(), 0
    for machine in (SHARING, NETWORKED, CHANGING):
        said = b""
        for from_guest, port, frame in frames(records, machine):
            if port != CONTROL:
                continue
            kind = tuple(re.findall(rb'"(\w+)":', frame)[:64]), re.search(rb'"type":"(\w+)"', frame)[1]
            if from_guest:
                said += framed(frame)
            elif kind not in seen:
                seen.add(kind)
                seed_write(corpora, "control_frames", f"{kind[1].decode()}-{number}", b"\1" + framed(frame))
                number += 1
        # In two parts.
        seed_write(corpora, "control_frames", f"from-guest-{machine}", bytes([100 << 1]) + said)


def supervisor_seeds(records, corpora):
    for machine in (SHARING, NETWORKED):
        data = bytes([0])
        for from_guest, port, frame in frames(records, machine):
            if not from_guest or len(frame) > 255:
                continue
            if port == CONTROL:
                text = text_clean(frame[4:])
                data += bytes([TEXT, len(text)]) + text
            elif port == STREAM:
                # The harness's second app has number 7.
                length, app, rest = struct.unpack_from("<IH2s", frame)
                data += bytes([OUTPUT, len(frame)]) + struct.pack("<IH2s", length, app * 7, rest) + frame[8:]
            data += bytes([LISTEN])
        seed_write(corpora, "supervisor", f"life-{machine}", data)


# ---- fuzz_net

NET_HEADER = 12
HARNESS_MAC = bytes([2, 0, 0, 0, 0, 1])
FRAME_MAX, FRAMES_MAX = 1514, 8
NET_FEATURES = 0x018003
NEEDS_CHECKSUM = 1
PORTS_PASSING = 32768


def sum16(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


class Frames:
    """Frames without what is this run's."""

    def __init__(self, mac):
        # With the address of the link, and the group that is asked for it.
        self.replaced = [(mac, HARNESS_MAC), (self.link_address(mac), self.link_address(HARNESS_MAC)),
                         (b"\xff" + mac[3:], b"\xff" + HARNESS_MAC[3:])]
        self.hosts, self.ports, self.sequences, self.clocks = {}, {}, {}, {}

    @staticmethod
    def link_address(mac):
        return bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]

    def host(self, address):
        """Of this machine; the pod's own network is the same everywhere."""
        if address[0] in (0, 10, 127) or address[0] >= 224:
            return address
        return self.hosts.setdefault(address, bytes([192, 0, 2, 1 + len(self.hosts)]))

    def port(self, number):
        if number < PORTS_PASSING:
            return number
        return self.ports.setdefault(number, 40000 + len(self.ports))

    def relative(self, table, key, value):
        if not value:
            return 0
        return (value - table.setdefault(key, value) + 1000) % (1 << 32)

    def clean(self, header, frame):
        """Both again, and what kind they are."""
        for old, new in self.replaced:
            frame = frame.replace(old, new)
        frame = bytearray(frame)
        ethertype, = struct.unpack_from(">H", frame, 12)
        if ethertype == 0x0800 and len(frame) >= 34:
            start, protocol = 14 + (frame[14] & 15) * 4, frame[23]
            end = 14 + struct.unpack_from(">H", frame, 16)[0]
            for at in (26, 30):
                frame[at:at + 4] = self.host(bytes(frame[at:at + 4]))
            struct.pack_into(">H", frame, 18, 0)
            struct.pack_into(">H", frame, 24, 0)
            struct.pack_into(">H", frame, 24, 0xffff ^ sum16(bytes(frame[14:start])))
            addresses = bytes(frame[26:34])
        elif ethertype == 0x86dd and len(frame) >= 54:
            start, protocol, addresses = 54, frame[20], bytes(frame[22:54])
            end = 54 + struct.unpack_from(">H", frame, 18)[0]
            # The label of the flow.
            struct.pack_into(">I", frame, 14, 6 << 28)
        else:
            return bytes(frame), (ethertype,)
        kind = ethertype, protocol
        if protocol == 6:
            kind += (frame[start + 13],)
            self.clean_tcp(frame, start, addresses)
            place = 16
        elif protocol == 17:
            kind += (min(struct.unpack_from(">HH", frame, start)),)
            self.clean_udp(frame, start)
            place = 6
        elif protocol in (1, 58):
            kind += (frame[start],)
            place = 2
        else:
            return bytes(frame), kind
        self.sum_set(header, frame, start, end, place, addresses, protocol)
        return bytes(frame), kind

    def clean_tcp(self, frame, start, addresses):
        source, to, sequence, acknowledged = struct.unpack_from(">HHII", frame, start)
        half = len(addresses) // 2
        here, there = (addresses[:half], source, to), (addresses[half:], to, source)
        struct.pack_into(">HHII", frame, start, self.port(source), self.port(to),
                         self.relative(self.sequences, here, sequence),
                         self.relative(self.sequences, there, acknowledged))
        at, options_end = start + 20, start + (frame[start + 12] >> 4) * 4
        while at < options_end and frame[at] != 0:
            if frame[at] == 1:
                at += 1
                continue
            if frame[at] == 8:
                now, echoed = struct.unpack_from(">II", frame, at + 2)
                struct.pack_into(">II", frame, at + 2, self.relative(self.clocks, here, now),
                                 self.relative(self.clocks, there, echoed))
            at += max(frame[at + 1], 2)

    def clean_udp(self, frame, start):
        source, to = struct.unpack_from(">HH", frame, start)
        struct.pack_into(">HH", frame, start, self.port(source), self.port(to))
        if to == 53 or source == 53:
            struct.pack_into(">H", frame, start + 8, 1)

    @staticmethod
    def sum_set(header, frame, start, end, place, addresses, protocol):
        # That of ICMP over IPv4 has no pseudo header.
        pseudo = b"" if protocol == 1 else addresses + struct.pack(">II", end - start, protocol)
        struct.pack_into(">H", frame, start + place, 0)
        if header[0] & NEEDS_CHECKSUM:
            total = sum16(pseudo)
        else:
            total = 0xffff ^ sum16(pseudo + bytes(frame[start:end]))
        struct.pack_into(">H", frame, start + place, total)


class NetSeed:
    def __init__(self):
        # Features; a queue of 32 for each direction; and go.
        self.data = (bytes([0]) + struct.pack("<I", NET_FEATURES)[:3] + bytes([1, 0, 5, 0, 1, 1, 5, 1, 2]))
        self.received = self.sent = self.count = 0

    def send(self, header, frame):
        data, index, address = header + frame, self.sent % 32, 0x8000 + self.sent % 8 * 0x800
        for at in range(0, len(data), 255):
            piece = data[at:at + 255]
            self.data += bytes([4]) + struct.pack("<HB", address + at, len(piece)) + piece
        self.data += self.descriptor(1, index, 0, address, len(data)) + bytes([3, 1, 10])
        self.sent += 1
        self.count += 1

    def receive(self, frame, room):
        self.data += self.descriptor(0, self.received % 32, 2, 0x10000 + self.received % 16 * 0x1000, room)
        self.data += bytes([3, 0])
        data = struct.pack(">I", len(frame)) + frame
        for at in range(0, len(data), 255):
            self.data += bytes([7, len(data[at:at + 255])]) + data[at:at + 255]
        self.data += bytes([9, 1])
        self.received += 1
        self.count += 1

    @staticmethod
    def descriptor(queue, index, flags, address, length):
        return bytes([5, queue, index, flags, 0]) + struct.pack("<I", address)[:3] + struct.pack("<I", length)[:3]


def net_seeds(records, corpora):
    ours = [r for r in records if (r.machine, r.device) == (NETWORKED, NET)]
    sent = [r for r in ours if r.kind == TAKEN and r.queue == 1]
    frames_ = Frames(sent[0].data[NET_HEADER + 6:NET_HEADER + 12])
    rooms = {r.head: r.room for r in ours if r.kind == TAKEN and r.queue == 0}
    seen, seed, number = set(), NetSeed(), 0
    for record in ours:
        from_guest = record.kind == TAKEN and record.queue == 1
        if not from_guest and not (record.kind == ANSWERED and record.queue == 0):
            continue
        header, frame = record.data[:NET_HEADER], record.data[NET_HEADER:]
        whole = len(frame) == record.length - NET_HEADER <= FRAME_MAX
        # Also of what is not taken: the first is where numbers begin.
        frame, kind = frames_.clean(header, frame)
        kind = from_guest, kind, length_class(len(frame)), header[0]
        if not whole or kind in seen:
            continue
        seen.add(kind)
        if from_guest:
            seed.send(header, frame)
        else:
            seed.receive(frame, min(rooms[record.head], 4096))
        if seed.count == FRAMES_MAX or len(seed.data) > SEED_MAX - FRAME_MAX:
            seed_write(corpora, "net", f"frames-{number}", seed.data)
            seed, number = NetSeed(), number + 1
    if seed.count:
        seed_write(corpora, "net", f"frames-{number}", seed.data)


if __name__ == "__main__":
    everything, folder = records_read(sys.argv[1]), sys.argv[2]
    for make in (fuse_seeds, vsock_seeds, session_seeds, control_seeds, supervisor_seeds, net_seeds):
        make(everything, folder)
