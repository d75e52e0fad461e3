#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes images as an attacker would, for hostile-images.bats.

    hostile_images.py cases DIRECTORY     each list of entries below as an ACI, an OCI layout (a
                                          directory and a tar) and an archive of docker save; on
                                          standard output: FILE, "yes" or "no", and for "no" what
                                          the message must have in it
    hostile_images.py good DIRECTORY      the same image of 0.5 MiB in each format and compression
    hostile_images.py bombs DIRECTORY     a few KiB or MiB that become 4 GiB, in each format
    hostile_images.py many N              an ACI with N empty files, on standard output

Tar headers are made by hand: tarfile does not write what no archive should have.
"""
import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import random
import sys

BLOCK = 512
KINDS = {"file": b"0", "hardlink": b"1", "symlink": b"2", "character": b"3", "block": b"4",
         "directory": b"5", "fifo": b"6"}


def octal(value, size):
    """A number in a header; in base 256 where it is negative or does not fit."""
    digits = b"%0*o" % (size - 1, value) if value >= 0 else b"-"
    if value >= 0 and len(digits) < size:
        return digits + b"\0"
    return bytes([0x80 if value >= 0 else 0xff]) + value.to_bytes(size - 1, "big", signed=value < 0)


def padded(data):
    return data + b"\0" * (-len(data) % BLOCK)


def header(name, kind=b"0", size=0, target=b"", mode=0o644, uid=0, device=(0, 0), sparse=b""):
    if sparse:  # of GNU, which has its own idea of what follows the name of the owner's group
        block = (name.ljust(100, b"\0") + octal(mode, 8) + octal(uid, 8) + octal(0, 8) +
                 octal(size, 12) + octal(0, 12) + b" " * 8 + kind + target.ljust(100, b"\0") +
                 b"ustar  \0" + b"\0" * 121 + sparse)
    else:
        block = (name.ljust(100, b"\0") + octal(mode, 8) + octal(uid, 8) + octal(0, 8) +
                 octal(size, 12) + octal(0, 12) + b" " * 8 + kind + target.ljust(100, b"\0") +
                 b"ustar\00000" + b"\0" * 64 + octal(device[0], 8) + octal(device[1], 8))
    block = block.ljust(BLOCK, b"\0")
    assert len(block) == BLOCK
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def long_name(name, kind=b"L"):
    return header(b"././@LongLink", kind, len(name) + 1) + padded(name + b"\0")


def pax(**records):
    text = b""
    for key, value in records.items():
        record = b" %s=%s\n" % (key.replace("_", ".").encode(), value)
        length = len(record)
        while len(b"%d" % length) + len(record) != length:
            length = len(b"%d" % length) + len(record)
        text += b"%d" % length + record
    return header(b"pax", b"x", len(text)) + padded(text)


class Entries:
    """Entries of a layer; in an ACI the same below rootfs/."""

    def __init__(self, prefix=b""):
        self.prefix = prefix
        self.data = b""

    def raw(self, data):
        self.data += data

    def name(self, name):
        return self.prefix + name

    def add(self, kind, name, target=b"", content=b"", **more):
        name = self.name(name)
        if kind == "hardlink":
            target = self.prefix + target
        if len(name) > 100:
            self.raw(long_name(name))
        if len(target) > 100:
            self.raw(long_name(target, b"K"))
        self.raw(header(name[:100], KINDS[kind], len(content), target[:100], **more) +
                 padded(content))

    def file(self, name, content=b"x", **more):
        self.add("file", name, content=content, **more)

    def sparse(self, name, size):
        """A file of that size with one byte at its end, as GNU tar writes it."""
        holes = octal(size - 1, 12) + octal(1, 12) + b"\0" * 72 + b"\0" + octal(size, 12)
        self.raw(header(self.name(name), b"S", 1, sparse=holes) + padded(b"x"))


# ---- what is in them, and what the message of the refusal has in it, if they are no good image

CASES = []
ACCEPTED = "accepted"


def case(refusal=ACCEPTED, layer_refusal=None):
    """layer_refusal: what is said of them as a layer, where that is something else."""
    def register(function):
        CASES.append((function.__name__, function, refusal,
                      refusal if layer_refusal is None else layer_refusal))
        return function
    return register


@case("leaves the archive's root")
def name_leaves(entries):
    entries.file(b"../../escape")


@case("leaves the archive's root")
def name_leaves_inside(entries):
    entries.file(b"a/b/../../../../../../escape")


@case("leaves the archive's root")
def long_name_leaves(entries):
    entries.file(b"d/" * 100 + b"../" * 150 + b"escape")


@case("leaves the archive's root")
def pax_name_leaves(entries):
    entries.raw(pax(path=entries.name(b"../../escape")))
    entries.file(b"innocent")


@case("lies below an entry that is not a directory")
def file_through_a_link(entries):
    entries.add("symlink", b"link", b"/etc")
    entries.file(b"link/passwd")


@case("lies below an entry that is not a directory")
def file_through_a_link_up(entries):
    entries.add("symlink", b"link", b"../../../../../../tmp")
    entries.file(b"link/escape")


@case("earlier entries lie below it", layer_refusal=ACCEPTED)
def link_over_a_directory(entries):
    entries.file(b"link/passwd")
    entries.add("symlink", b"link", b"/etc")


@case("lies below an entry that is not a directory")
def file_through_a_hard_link(entries):
    entries.add("symlink", b"link", b"/etc")
    entries.add("hardlink", b"other", b"link")
    entries.file(b"other/passwd")


@case("not inside")
def hard_link_out(entries):
    entries.add("hardlink", b"shadow", b"../../../../../../etc/shadow")


@case("not in the archive before", layer_refusal="nor in a lower one")
def hard_link_forward(entries):
    entries.add("hardlink", b"link", b"later")
    entries.file(b"later")


@case("hard link to itself", layer_refusal="")
def hard_link_to_itself(entries):
    entries.add("hardlink", b"link", b"link")


@case("hard link to a directory")
def hard_link_to_a_directory(entries):
    entries.add("directory", b"directory")
    entries.add("hardlink", b"link", b"directory")


@case("duplicate file entry", layer_refusal=ACCEPTED)
def twice(entries):
    entries.file(b"twice")
    entries.file(b"twice", b"other")


@case("duplicate file entry", layer_refusal=ACCEPTED)
def twice_spelled_otherwise(entries):
    entries.file(b"a/twice")
    entries.file(b"./a//./twice", b"other")


@case("larger than")
def sparse_bomb(entries):
    entries.sparse(b"bomb", 1 << 50)


@case("larger than")
def sparse_bombs(entries):
    for number in range(9):
        entries.sparse(b"bomb%d" % number, 8 << 30)


@case("")
def negative_size(entries):
    entries.raw(header(entries.name(b"file"), size=-1))


@case("")
def size_beyond_the_archive(entries):
    entries.raw(header(entries.name(b"file"), size=1 << 40))


@case("")
def size_that_overflows(entries):
    entries.raw(header(entries.name(b"file"), size=(1 << 63) - 1))


@case("")
def size_that_overflows_a_block(entries):
    entries.raw(header(entries.name(b"file"), size=(1 << 64) - 1))


@case("")
def pax_size_that_overflows(entries):
    entries.raw(pax(size=b"9223372036854775807"))
    entries.raw(header(entries.name(b"file"), size=0))


@case("")
def pax_header_without_an_end(entries):
    entries.raw(header(b"pax", b"x", 1 << 36))


@case("")
def long_name_without_an_end(entries):
    entries.raw(header(b"././@LongLink", b"L", 1 << 36))


@case("out of range")
def owner_that_means_nobody(entries):
    entries.file(b"file", uid=(1 << 32) - 1)


@case("name too long")
def component_too_long(entries):
    entries.file(b"n" * 256)


@case("name too long")
def path_too_long(entries):
    entries.file(b"d/" * 5000 + b"file")


@case("too long target")
def link_target_too_long(entries):
    entries.add("symlink", b"link", b"d/" * 5000)


@case("")
def checksum_wrong(entries):
    block = header(entries.name(b"file"), size=0)
    entries.raw(b"X" + block[1:])


@case("")
def noise(entries):
    entries.raw(random.Random(1).randbytes(100 * BLOCK))


@case()
def links_that_lead_nowhere(entries):
    entries.add("symlink", b"out", b"/../../../../etc/shadow")
    entries.add("symlink", b"around", b"around")
    entries.add("directory", b"d")
    entries.add("symlink", b"d/up", b"../../../..")


@case()
def devices(entries):
    entries.add("character", b"memory", device=(1, 1), mode=0o666)
    entries.add("block", b"disk", device=(8, 0), mode=0o666)
    entries.add("block", b"loop", device=(7, 0), mode=0o666)
    entries.add("fifo", b"fifo")


@case("device number out of range")
def device_out_of_range(entries):
    entries.add("character", b"device", device=((1 << 20), 1))


@case()
def reordered(entries):
    entries.file(b"a/b/c/file")
    entries.add("directory", b"a/b/c", mode=0o711)
    entries.add("directory", b"a", mode=0o700)
    entries.add("directory", b"a/b", mode=0o700)


@case()
def deep(entries):
    entries.file(b"d/" * 1900 + b"file")


@case()
def odd_names(entries):
    for name in (b"\x01\x1b[31m", b"caf\xc3\xa9", b"caf\xe9", b"a\nb", b"-rf", b"*", b" ", b"..."):
        entries.file(name)


@case()
def modes(entries):
    entries.file(b"setuid", mode=0o6755)
    entries.add("directory", b"nobody", mode=0)
    entries.file(b"nobody/file", mode=0)


# ---- formats

END = b"\0" * (2 * BLOCK)


def image_manifest(name, **more):
    return json.dumps({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": name, "labels": [
        {"name": "os", "value": "linux"}, {"name": "arch", "value": "amd64"}], **more}).encode()


def aci(entries, name="example.com/hostile", last=False):
    manifest = Entries()
    manifest.file(b"manifest", image_manifest(name))
    rootfs = Entries()
    rootfs.add("directory", b"rootfs", mode=0o755)
    parts = [manifest.data, rootfs.data, entries]
    return b"".join(parts[1:] + parts[:1] if last else parts) + END


def digest(data):
    return hashlib.sha256(data).hexdigest()


def config(layers):
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                       "rootfs": {"type": "layers",
                                  "diff_ids": ["sha256:" + digest(l) for l in layers]}}).encode()


def oci(layers, compress=None):
    """Files of a layout, by name."""
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    kind = "application/vnd.oci.image."

    def blob(data, media_type):
        files["blobs/sha256/" + digest(data)] = data
        return {"mediaType": kind + media_type, "digest": "sha256:" + digest(data),
                "size": len(data)}

    manifest = {"schemaVersion": 2, "mediaType": kind + "manifest.v1+json",
                "config": blob(config(layers), "config.v1+json"),
                "layers": [blob(compress(l), "layer.v1.tar+gzip") if compress
                           else blob(l, "layer.v1.tar") for l in layers]}
    descriptor = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    descriptor["annotations"] = {"org.opencontainers.image.ref.name": "example.com/hostile:1"}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [descriptor]}).encode()
    return files


def docker(layers):
    files = {digest(l) + ".tar": l for l in layers}
    name = digest(config(layers)) + ".json"
    files[name] = config(layers)
    files["manifest.json"] = json.dumps(
        [{"Config": name, "RepoTags": ["hostile:1"],
          "Layers": [digest(l) + ".tar" for l in layers]}]).encode()
    return files


def archive(files):
    entries = Entries()
    for name, content in files.items():
        entries.file(name.encode(), content)
    return entries.data + END


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def write_directory(path, files):
    for name, content in files.items():
        write(os.path.join(path, name), content)


def write_cases(directory):
    def told(path, refusal):
        good = refusal == ACCEPTED
        print("\t".join((path, "yes" if good else "no", "" if good else refusal)))

    for name, function, refusal, layer_refusal in CASES:
        entries = Entries(b"rootfs/")
        function(entries)
        for last in (False, True):
            path = "%s/%s%s.aci" % (directory, name, "-manifest-last" if last else "")
            data = aci(entries.data, last=last)
            # What breaks the archive's structure leaves no manifest behind it.
            write(path, data)
            told(path, refusal if refusal == ACCEPTED or not last else "")
        entries = Entries()
        function(entries)
        layers = [entries.data + END]
        path = "%s/%s" % (directory, name)
        write_directory(path + ".oci", oci(layers))
        write(path + ".oci.tar", archive(oci(layers)))
        write(path + ".docker.tar", archive(docker(layers)))
        for ending in (".oci", ".oci.tar", ".docker.tar"):
            told(path + ending, layer_refusal)


def write_good(directory):
    source = random.Random(2)
    layers = []
    for number in range(2):
        entries = Entries()
        entries.add("directory", b"d%d" % number, mode=0o755)
        for file in range(8):
            # Half of it is noise, so that its compression has as many offsets.
            entries.file(b"d%d/file%d" % (number, file),
                         source.randbytes(24 << 10) + b"plain" * 1500)
        layers.append(entries.data + END)
    entries = Entries(b"rootfs/")
    for file in range(16):
        entries.file(b"file%d" % file, source.randbytes(24 << 10) + b"plain" * 1500)
    image = aci(entries.data)
    write(directory + "/good.aci", image)
    write(directory + "/good.aci.gz", gzip.compress(image, 1, mtime=0))
    write(directory + "/good.aci.bz2", bz2.compress(image, 1))
    write(directory + "/good.aci.xz", lzma.compress(image, preset=0))
    files = oci(layers, lambda data: gzip.compress(data, 1, mtime=0))
    write(directory + "/good.oci.tar", archive(files))
    write(directory + "/good.oci.tar.gz", gzip.compress(archive(files), 1, mtime=0))
    write(directory + "/good.docker.tar", archive(docker(layers)))


class Zeros:
    """A compressed file of zeros that is a repetition: all formats allow several streams in a row."""

    def __init__(self, compress, piece=16 << 20):
        self.piece = piece
        self.data = compress(b"\0" * piece)

    def tail(self, size):
        return self.data * (size // self.piece)


def write_bombs(directory):
    size = 4 << 30
    # An entry of 4 GiB, its header compressed by itself, and then only zeros, which end the archive too.
    for ending, compress in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
        zeros = Zeros(compress)
        head = aci(b"")[:-len(END)] + header(b"rootfs/bomb", size=size)
        write("%s/bomb.aci.%s" % (directory, ending), compress(head) + zeros.tail(size + zeros.piece))
        # An archive of another format: all of it is written down before anything is looked at.
        head = archive({"index.json": b"{}"})[:-len(END)] + header(b"bomb", size=size)
        write("%s/bomb.tar.%s" % (directory, ending), compress(head) + zeros.tail(size + zeros.piece))
    zeros = Zeros(gzip.compress)
    layer = gzip.compress(header(b"bomb", size=size)) + zeros.tail(size + zeros.piece)
    files = oci([b""], lambda data: layer)
    write(directory + "/bomb.oci.tar", archive(files))
    files = docker([b""])
    entry = next(name for name in files if name.endswith(".tar"))
    files[entry] = layer
    write(directory + "/bomb.docker.tar", archive(files))
    write(directory + "/nested.aci.xz", lzma.compress(gzip.compress(aci(b""))))


def write_many(count):
    out = sys.stdout.buffer
    out.write(aci(b"")[:-len(END)])
    first = header(b"rootfs/%03d/%04d" % (0, 0))
    at = first.index(b"000/0000")
    base = sum(first[:148]) + 8 * 32 + sum(first[156:]) - 7 * ord("0")
    head, middle, end = first[:at], first[at + 8:148], b"\0 " + first[156:]
    pieces = []
    for number in range(count):
        name = b"%03d/%04d" % (number // 10000, number % 10000)
        checksum = b"%06o" % (base + sum(name) - ord("/"))
        pieces.append(head + name + middle + checksum + end)
        if len(pieces) == 4096:
            out.write(b"".join(pieces))
            pieces.clear()
    out.write(b"".join(pieces) + END)


def main():
    what, rest = sys.argv[1], sys.argv[2:]
    if what == "cases":
        write_cases(*rest)
    elif what == "good":
        write_good(*rest)
    elif what == "bombs":
        write_bombs(*rest)
    elif what == "many":
        write_many(int(rest[0]))
    else:
        sys.exit("unknown: " + what)


main()
