#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command on a terminal of its own: on_terminal.py ROWS COLUMNS STEP... -- COMMAND...

Steps are done one after the other, each when the command has printed what it waits for:
  WAIT=>TEXT          types TEXT; \\n, \\x03 and the like as in Python; an empty WAIT waits for nothing
  WAIT=>size:R,C      gives the terminal's window another size
What the command prints is printed, and at the end whether the terminal is set as it was before. The status is the
command's.
"""
import codecs
import fcntl
import os
import pty
import select
import struct
import sys
import termios


def resize(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def start(terminal, command):
    pid = os.fork()
    if pid > 0:
        return pid
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for fd in range(3):
        os.dup2(terminal, fd)
    os.execvp(command[0], command)


def do(master, action):
    if action.startswith("size:"):
        resize(master, *map(int, action[len("size:"):].split(",")))
    else:
        os.write(master, codecs.decode(action, "unicode_escape").encode("latin-1"))


split = sys.argv.index("--")
steps = [step.split("=>", 1) for step in sys.argv[3:split]]
# Our copy of the terminal's side keeps it, so that its settings can be compared.
master, terminal = pty.openpty()
resize(master, int(sys.argv[1]), int(sys.argv[2]))
before = termios.tcgetattr(terminal)
pid = start(terminal, sys.argv[split + 1:])
pidfd = os.pidfd_open(pid)
seen = b""
while steps and not steps[0][0]:
    do(master, steps.pop(0)[1])
while True:
    ready = select.select([master, pidfd], [], [])[0]
    if master in ready:
        data = os.read(master, 65536)
        seen += data
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        while steps and steps[0][0].encode() in seen:
            wait, action = steps.pop(0)
            seen = seen.split(wait.encode(), 1)[1]
            do(master, action)
    elif pidfd in ready:
        break
print("\nterminal: " + ("as before" if termios.tcgetattr(terminal) == before else "changed"))
status = os.waitpid(pid, 0)[1]
sys.exit(os.waitstatus_to_exitcode(status) % 256)
