#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares what the VMM's filters allow with what its threads called: filter_used.py CALLS EXCEPTIONS TRACE...

CALLS is the list that is made with the filters, the traces are strace's, one for each thread (-ff). What a thread
called after it took on its filter counts; the length of the filter tells which it was. EXCEPTIONS has a line
"THREAD CALL: REASON" for each call that is allowed and that no test makes. Prints what is allowed and was never
called, exceptions that are none, and calls that a filter stopped; the status is 1 when there are any.
"""
import re
import sys

FILTER = re.compile(r"^seccomp\(SECCOMP_SET_MODE_FILTER, 0, \{len=(\d+)")
CALL = re.compile(r"^(\w+)\((.*)")
# How strace shows that nothing was said.
DEFAULTS = {"AT_STATX_SYNC_AS_STAT"}


def split_arguments(text):
    """The arguments of a call as strace shows it: commas within strings, structures and lists are none."""
    arguments, start, depth, quoted, index = [], 0, 0, False, 0
    while index < len(text):
        character = text[index]
        if quoted:
            index += character == "\\"
            quoted = character != '"'
        elif character == '"':
            quoted = True
        elif character in "([{":
            depth += 1
        elif character in ")]}" and depth > 0:
            depth -= 1
        elif character in ",)" and depth == 0:
            arguments.append(text[start:index].strip())
            start = index + 1
            if character == ")":
                break
        index += 1
    return arguments


def flags(text):
    return {word for word in re.split(r"\s*\|\s*", text) if word not in DEFAULTS}


def read_calls(path):
    """The filters by length, and (thread, number, call) of each line."""
    lengths, calls = {}, []
    with open(path, encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if words[0] == "#":
                if int(words[2]) in lengths:
                    sys.exit("two filters have the same length: they cannot be told apart")
                lengths[int(words[2])] = words[1]
            else:
                calls.append((words[0], int(words[1]), " ".join(words[2:-1])))
    return lengths, calls


def read_exceptions(path):
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip() and not line.startswith("#")]
    return {line.split(":")[0] for line in lines}


def read_traces(paths, lengths):
    """The set of (thread, name or number, arguments) of calls, and what was stopped."""
    made, stopped = set(), []
    for path in paths:
        thread = None
        with open(path, encoding="utf-8", errors="replace") as trace:
            for line in trace:
                shut = FILTER.match(line)
                if shut:
                    thread = lengths.get(int(shut[1]))
                call = CALL.match(line)
                if thread and line.startswith("--- SIGSYS"):
                    stopped.append(f"{thread}: {line.strip()}")
                elif thread and call and not shut:
                    name = call[1]
                    if name.startswith("syscall_0x"):
                        name = int(name[len("syscall_") :], 16)
                    made.add((thread, name, tuple(split_arguments(call[2]))))
    return made, stopped


def is_used(made, thread, number, call):
    name, _, rest = call.partition("(")
    wanted = [part.strip() for part in rest.rstrip(")").split(",")] if rest else []
    # A loop that can park, as that of pods without a network, runs the code of any loop.
    threads = (thread, "park") if thread == "loop" else (thread,)
    for other, made_name, arguments in made:
        if other not in threads or made_name not in (name, number):
            continue
        if all(
            part in ("_", "self")
            or part.startswith("~")
            or (index < len(arguments) and flags(part) == flags(arguments[index]))
            for index, part in enumerate(wanted)
        ):
            return True
    return False


def main():
    lengths, calls = read_calls(sys.argv[1])
    exceptions = read_exceptions(sys.argv[2])
    made, problems = read_traces(sys.argv[3:], lengths)
    seen = {thread for thread, _, _ in made}
    problems += [
        f"no trace has a thread with the filter of {thread}"
        for thread in lengths.values()
        if thread not in seen and thread != "loop"
    ]
    allowed = {f"{thread} {call}" for thread, _, call in calls}
    unused = {
        f"{thread} {call}"
        for thread, number, call in calls
        # A loop that parks runs the code of any loop, and is asked for its own calls only.
        if not is_used(made, thread, number, call) and not (thread == "park" and f"loop {call}" in allowed)
    }
    problems += [f"allowed and never called: {call}" for call in sorted(unused - exceptions)]
    problems += [f"an exception that is none: {call}" for call in sorted(exceptions - allowed)]
    print("\n".join(problems))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
