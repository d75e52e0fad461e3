#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes calls of appc-vm fail, one at a time, and looks at what is left.

    faults.py [--vm] [--apps] [--networks] [--seconds=N] [--every=N] [--seed=N]
              [--scenario=NAME] [--kind=KIND] [--first=N] [--keep]

For each scenario and each kind of call (fault.c has them): the command is run with its first call
failing, its second, and so on until it makes no such call any more. Each time it ends with success, or
with 254 and one line; then the world (world.py) must be as it should. --every=N tries every N-th call
only; --seconds=N chooses the steps so that it takes about N seconds. Which of the first N is the first to fail is random,
so that short runs get around in time; the seed is printed, and --seed=N is the same again. One TAP line for each
scenario and kind; the numbers of the failing calls in it reproduce it: --first=N tries only that one. With --vm the
commands are those about machines; with --apps (apps.py) those about the apps of a pod that runs, and
what fails is the command's call, or the pod's that serves it; with --networks (networks.py) those about pods with a network.
"""
import argparse
import os
import random
import sys
import time

from apps import APP_SCENARIOS
from networks import NETWORK_SCENARIOS, Host
from world import KINDS, MACHINE_KINDS, MACHINE_SCENARIOS, SCENARIOS, SHIM, World


class Trial:
    def __init__(self, world, scenario, kind):
        self.world, self.scenario, self.kind = world, scenario, kind

    def run(self, at):
        """Returns (calls made, status, output, errors)."""
        extra = self.world.shim(self.kind, at)
        result = self.scenario.run(self.world, extra)
        return (self.world.calls(), *result)

    def complaints(self, at):
        """None: there was no such call."""
        calls, status, out, err = self.run(at)
        complaints = self.world.failure_is_told(
            status, err, self.kind, self.scenario.errors_max)
        complaints += self.scenario.check(self.world, status, out, err)
        if complaints:
            complaints.append("  it said: %r %r" % (out, err))
        return None if calls < at else complaints


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--scenario")
    parser.add_argument("--kind")
    parser.add_argument("--first", type=int)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--vm", action="store_true")
    parser.add_argument("--apps", action="store_true")
    parser.add_argument("--networks", action="store_true")
    arguments = parser.parse_args()
    world = World(machines=arguments.vm, apps=arguments.apps,
                  host=Host() if arguments.networks else None)
    try:
        failed = run_all(world, arguments)
    finally:
        if arguments.keep:
            print("# kept: " + world.root)
        else:
            world.close()
    sys.exit(1 if failed else 0)


def run_all(world, arguments):
    trials = [Trial(world, scenario, kind)
              for scenario in (APP_SCENARIOS if arguments.apps else
                               NETWORK_SCENARIOS if arguments.networks else
                               MACHINE_SCENARIOS if arguments.vm else SCENARIOS)
              for kind in (MACHINE_KINDS if arguments.vm else KINDS)
              if arguments.scenario in (None, scenario.name) and arguments.kind in (None, kind)]
    counted = []
    start = time.monotonic()
    for trial in trials:
        calls, status, out, err = trial.run(0)
        if status != 0:
            sys.exit("%s without a fault: status %s %s" % (trial.scenario.name, status, err))
        if calls:
            counted.append((trial, calls))
    # A trial is a command and about ten to look at what it left.
    cost = 8 * (time.monotonic() - start) / len(trials)
    total = sum(calls for _, calls in counted)
    budget = arguments.seconds / cost if arguments.seconds else None
    dice = random.Random(arguments.seed)
    print("TAP version 13\n1..%d\n# seed %d" % (len(counted), arguments.seed))
    failed = tried = 0
    for number, (trial, calls) in enumerate(counted, 1):
        every = arguments.every
        if budget:
            # Rare calls matter as much as frequent ones: each kind has its share, at least three.
            share = max(3, int(budget / len(counted)))
            every = max(1, -(-calls // share))
        bad, count = [], 0
        at = arguments.first or 1 + dice.randrange(min(every, calls))
        begin = time.monotonic()
        while True:
            complaints = trial.complaints(at)
            if complaints is None:
                break
            count += 1
            if complaints:
                bad.append(at)
                print("# %s, %s %d:" % (trial.scenario.name, trial.kind, at))
                for line in complaints:
                    print("#   " + line.replace("\n", " "))
                sys.stdout.flush()
            if arguments.first:
                break
            at += every
        tried += count
        failed += bool(bad)
        print("%s %d - %s: %d of about %d calls of %s failed%s # in %dms" % (
            "not ok" if bad else "ok", number, trial.scenario.name, count, calls, trial.kind,
            ", wrongly %s" % bad if bad else "", 1000 * (time.monotonic() - begin)))
        sys.stdout.flush()
    print("# %d faults, of %d possible" % (tried, total))
    return failed


if not os.path.exists(SHIM):
    sys.exit("%s is missing: make build/fault.so" % SHIM)
main()
