#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the system call filters of the VMM's threads from the tags beside the code that needs the calls.

    filter_generate.py --cc CC --programs FILE --calls FILE SOURCE...

A tag stands in a comment and ends with its line:

    #syscalls:vcpu,loop futex(_, FUTEX_WAKE_PRIVATE) close

It names the threads that run the code, and the calls as they are written in C: _ is any argument, a constant
is that value, ~FLAGS is a value with none of these flags, self is this process's id. A call without
parentheses may have any arguments. Arguments are compared in their lower 32 bits, which is where the kernel
keeps the flags, commands and ids that are compared. A tag without a thread, "#syscalls: mount", is for the
reader: that code runs before the filters stand, or in another process; its names are checked as well.

PROGRAMS is included by vmm/filter.c, where the C compiler gives the constants their values; CALLS is the list
of what is allowed, one "THREAD NUMBER CALL SOURCE:LINE" a line, after "# THREAD LENGTH" with the length of each
program. Whatever is wrong ends with an error that names the source and the line of the tag.
"""

import argparse
import os
import re
import subprocess
import sys

# The threads, in the order of enum filter_thread, and whose calls each has beside its own.
THREADS = {"vcpu": (), "loop": (), "park": ("loop",)}

# As many system calls as all filters together may allow.
CALLS_MAX = 64

# Calls that are younger than the C library's headers; their numbers are for ever.
YOUNG_CALLS = {"fchmodat2": 452}

# Numbers from here on are those of the x32 ABI.
X32_NUMBERS = 0x40000000
# Jumps of the filter machine have 8 bits.
JUMP_MAX = 255
# Compared before the others of its call.
FREQUENT = "KVM_RUN"

TAG = re.compile(r"#syscalls:(?P<threads>([a-z]+(,[a-z]+)*)?)(?P<calls>( .*)?)$")
CALL = re.compile(r"\s*(?P<name>[a-z_][a-z0-9_]*)(?P<open>\()?")


class TagError(Exception):
    """What is wrong with a tag; where is "SOURCE:LINE"."""

    def __init__(self, where, what):
        super().__init__(f"{where}: {what}")


class Call:
    """A call of a tag. arguments: None, or (kind, text) for each, where kind is any, value, clear or self."""

    def __init__(self, name, arguments, where):
        self.name = name
        self.arguments = arguments
        self.where = where

    def __str__(self):
        words = {"any": "_", "self": "self"}
        if self.arguments is None:
            return self.name
        return "%s(%s)" % (
            self.name,
            ", ".join(
                words.get(kind) or ("~" if kind == "clear" else "") + text
                for kind, text in self.arguments
            ),
        )

    def checks(self):
        """(index, kind, text) of the arguments that are compared."""
        return [
            (index, kind, text)
            for index, (kind, text) in enumerate(self.arguments or ())
            if kind != "any"
        ]


def call_numbers(compiler):
    """The numbers of all system calls, by name."""
    macros = subprocess.run(
        compiler.split() + ["-E", "-dM", "-include", "sys/syscall.h", "-x", "c", os.devnull],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    numbers = dict(YOUNG_CALLS)
    for name, number in re.findall(r"^#define __NR_(\w+) (\d+)$", macros, re.MULTILINE):
        numbers[name] = int(number)
    return numbers


def split_arguments(text, where):
    """Splits what is between parentheses at its outer commas; returns the parts and what follows."""
    parts, start, depth = [], 0, 1
    for index, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0 or (depth == 1 and character == ","):
            parts.append(" ".join(text[start:index].split()))
            start = index + 1
        if depth == 0:
            return parts, text[start:]
    raise TagError(where, "a parenthesis is not closed")


def parse_argument(text, where):
    if text == "_":
        return ("any", "")
    if text == "self":
        return ("self", "")
    kind, value = ("clear", text[1:].strip()) if text.startswith("~") else ("value", text)
    if not re.fullmatch(r"[\w|^() ]+", value):
        raise TagError(where, f'an argument cannot be "{text}"')
    return (kind, value)


def parse_calls(text, where, numbers):
    calls = []
    while text.strip():
        match = CALL.match(text)
        if not match:
            raise TagError(where, f'no name of a system call: "{text.strip()}"')
        name, arguments = match["name"], None
        text = text[match.end() :]
        if name not in numbers:
            raise TagError(where, f"there is no system call {name}")
        if match["open"]:
            parts, text = split_arguments(text, where)
            if len(parts) > 6:
                raise TagError(where, f"{name}: a system call has at most 6 arguments")
            arguments = [parse_argument(part, where) for part in parts]
            if all(kind == "any" for kind, _ in arguments):
                raise TagError(where, f"{name}: no argument is compared; leave the parentheses out")
        if text and not text[0].isspace():
            raise TagError(where, f'after {name}: "{text.split()[0]}"')
        calls.append(Call(name, arguments, where))
    if not calls:
        raise TagError(where, "a tag without a system call")
    return calls


def read_tags(path, numbers):
    """(thread, call) of each tag of a source."""
    with open(path, encoding="utf-8") as source:
        for number, line in enumerate(source, 1):
            place = re.search(r"#\s*sys_?calls?\b", line, re.IGNORECASE)
            if not place:
                continue
            where = f"{path}:{number}"
            tag = TAG.match(line[place.start() :].split("*/")[0].rstrip())
            if not tag:
                raise TagError(where, 'a tag is written "#syscalls:THREAD[,THREAD...] CALL..."')
            calls = parse_calls(tag["calls"], where, numbers)
            for thread in filter(None, tag["threads"].split(",")):
                if thread not in THREADS:
                    raise TagError(where, f'there is no thread "{thread}", only {", ".join(THREADS)}')
                yield from ((thread, call) for call in calls)


class Rules:
    """What one thread may call: by name, the calls that differ in their arguments."""

    def __init__(self):
        self.calls = {}

    def add(self, call):
        known = self.calls.setdefault(call.name, [])
        for other in known:
            if (call.arguments is None) != (other.arguments is None):
                raise TagError(
                    call.where,
                    f"{call} is tagged as {other} in {other.where}: either all say the arguments or none",
                )
        if str(call) not in map(str, known):
            known.append(call)


def collect(sources, numbers):
    rules = {thread: Rules() for thread in THREADS}
    for path in sources:
        for thread, call in read_tags(path, numbers):
            rules[thread].add(call)
    for thread, others in THREADS.items():
        for other in others:
            for calls in rules[other].calls.values():
                for call in calls:
                    rules[thread].add(call)
    for thread, own in rules.items():
        if not own.calls:
            raise TagError("the filters", f"no tag says what the thread {thread} may call")
    union = sorted({name for thread in rules.values() for name in thread.calls})
    if len(union) > CALLS_MAX:
        raise TagError(
            "the filters", f"{len(union)} system calls are allowed, the bound is {CALLS_MAX}: {' '.join(union)}"
        )
    return rules


class Assembler:
    """Instructions whose jumps are labels until the end."""

    def __init__(self):
        self.instructions = []  # (code, constant, label if true, label if false, where)
        self.labels = {}

    def put(self, code, constant, true=None, false=None, where=None):
        self.instructions.append((code, constant, true, false, where))

    def label(self, name):
        self.labels[name] = len(self.instructions)

    def offset(self, label, at):
        if label is None:
            return 0
        distance = self.labels[label] - at - 1
        if not 0 <= distance <= JUMP_MAX:
            raise TagError("the filters", f"a jump over {distance} instructions, {JUMP_MAX} are possible")
        return distance

    def lines(self):
        for at, (code, constant, true, false, where) in enumerate(self.instructions):
            if where:
                source, line = where.rsplit(":", 1)
                yield f'#line {line} "{source}"'
            yield f"\t{{{code}, {self.offset(true, at)}, {self.offset(false, at)}, {constant}}},"

    def self_places(self):
        return [at for at, entry in enumerate(self.instructions) if entry[1] == SELF]


LOAD = "BPF_LD | BPF_W | BPF_ABS"
EQUAL = "BPF_JMP | BPF_JEQ | BPF_K"
REACHES = "BPF_JMP | BPF_JGE | BPF_K"
HAS_BITS = "BPF_JMP | BPF_JSET | BPF_K"
RETURN = "BPF_RET | BPF_K"
SELF = "0 /* self */"


def put_search(assembler, ranges):
    """A binary search of the number, which is in the accumulator, among (start, label)."""
    middle = len(ranges) // 2
    below, above = ranges[:middle], ranges[middle:]
    name = f"search_{len(assembler.instructions)}"
    true = above[0][1] if len(above) == 1 else name + "_above"
    false = below[0][1] if len(below) == 1 else name + "_below"
    assembler.put(REACHES, above[0][0], true, false)
    if len(below) > 1:
        assembler.label(false)
        put_search(assembler, below)
    if len(above) > 1:
        assembler.label(true)
        put_search(assembler, above)


def put_check(assembler, check, true, false, where):
    _, kind, text = check
    if kind == "self":
        assembler.put(EQUAL, SELF, true, false)
    elif kind == "value":
        assembler.put(EQUAL, f"(uint32_t)({text})", true, false, where)
    else:
        assembler.put(HAS_BITS, f"(uint32_t)({text})", false, true, where)


def put_argument_load(assembler, index):
    assembler.put(LOAD, f"offsetof(struct seccomp_data, args[{index}])")


def put_call(assembler, calls):
    """Compares the arguments with each of the calls'."""
    calls = sorted(calls, key=lambda call: (FREQUENT not in str(call), str(call)))
    compared = {tuple(index for index, _, _ in call.checks()) for call in calls}
    one = len(compared) == 1 and len(next(iter(compared))) == 1
    for order, call in enumerate(calls):
        name = f"call_{len(assembler.instructions)}"
        last = order == len(calls) - 1
        checks = call.checks()
        for step, check in enumerate(checks):
            if not one or order == 0:
                put_argument_load(assembler, check[0])
            true = "allow" if step == len(checks) - 1 else None
            put_check(assembler, check, true, "deny" if last else name, call.where)
        assembler.label(name)


def make_program(rules, numbers):
    assembler = Assembler()
    targets = {}
    for name, calls in rules.calls.items():
        targets[numbers[name]] = "allow" if calls[0].arguments is None else name
    ranges = [(0, "deny")]
    for number in sorted(targets):
        for start, target in ((number, targets[number]), (number + 1, "deny")):
            if start == ranges[-1][0]:
                ranges.pop()
            if not ranges or ranges[-1][1] != target:
                ranges.append((start, target))
    assembler.put(LOAD, "offsetof(struct seccomp_data, arch)")
    assembler.put(EQUAL, "AUDIT_ARCH_X86_64", None, "deny")
    assembler.put(LOAD, "offsetof(struct seccomp_data, nr)")
    put_search(assembler, ranges)
    for name in sorted(set(targets.values()) - {"allow"}):
        assembler.label(name)
        put_call(assembler, rules.calls[name])
    assembler.label("allow")
    assembler.put(RETURN, "SECCOMP_RET_ALLOW")
    assembler.label("deny")
    assembler.put(RETURN, "SECCOMP_RET_TRAP")
    return assembler


def programs_text(programs, path):
    lines = ["/* Made by vmm/filter_generate.py from the #syscalls tags of the sources. */"]
    table = []
    for thread, program in programs.items():
        lines += ["", f"static const struct sock_filter {thread}_program[] = {{", *program.lines(), "};"]
        lines += [f'#line {len(lines) + 2} "{path}"']
        places = ", ".join(map(str, program.self_places() + [0]))
        lines += [f"static const uint16_t {thread}_self_places[] = {{{places}}}; /* ends with 0 */"]
        table += [
            f"\t[FILTER_{thread.upper()}] = {{{thread}_program, ARRAY_SIZE({thread}_program), "
            f"{thread}_self_places}},"
        ]
    lines += ["", "static const struct filter_program programs[] = {", *table, "};", ""]
    return "\n".join(lines)


def calls_text(rules, programs, numbers):
    lines = [f"# {thread} {len(program.instructions)}" for thread, program in programs.items()]
    for thread, own in rules.items():
        for name in sorted(own.calls):
            lines += [f"{thread} {numbers[name]} {call} {call.where}" for call in own.calls[name]]
    return "\n".join(lines) + "\n"


def write_changed(path, text):
    """Nothing is compiled again for a source whose tags are the same."""
    try:
        with open(path, encoding="utf-8") as old:
            if old.read() == text:
                return
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as new:
        new.write(text)
    os.rename(temporary, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--programs", required=True)
    parser.add_argument("--calls", required=True)
    parser.add_argument("sources", nargs="+")
    options = parser.parse_args()
    numbers = call_numbers(options.cc)
    try:
        rules = collect(options.sources, numbers)
        programs = {thread: make_program(own, numbers) for thread, own in rules.items()}
        text = programs_text(programs, options.programs)
    except TagError as error:
        sys.exit(f"{error}")
    write_changed(options.programs, text)
    write_changed(options.calls, calls_text(rules, programs, numbers))


if __name__ == "__main__":
    main()
