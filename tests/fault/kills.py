#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills appc-vm at points chosen at random, and looks at what is left.

    kills.py [--kills=N] [--seed=N] [--scenario=NAME] [--only=N] [--vm] [--apps] [--networks]

Half of the kills come before a call that changes something (fault.c counts them and kills there), the
others after a time. One in five hits not the command but a process that it started; then the command
must end by itself. What was acknowledged, on standard output, must be there afterwards, and the world
(world.py) must be as it should. With --vm the commands are those about machines. With --apps (apps.py)
they are those about the apps of a pod that runs, in machines with --vm, and every other time the pod's own
process is what is killed, or one that it started, while it serves them. With --networks (networks.py) they are those about
pods with a network.

The seed, which is printed, chooses scenarios and points; --only=N tries kill number N of it alone.
"""
import argparse
import os
import random
import signal
import sys
import tempfile
import time

from apps import APP_SCENARIOS
from networks import NETWORK_SCENARIOS, Host
from world import LIMIT, MACHINE_SCENARIOS, SCENARIOS, SHIM, World, children

# Of a pod whose app was killed: as an app, or before it was one.
APP_KILLED = (128 + signal.SIGKILL, 203)


class Measured:
    """What a scenario does when nobody disturbs it."""

    def __init__(self, world, scenario):
        self.calls = {}
        for kind in scenario.kinds:
            status, _, err = scenario.run(world, world.shim(kind, 0))
            self.seconds = world.seconds
            if status != 0:
                sys.exit("%s undisturbed: status %s %s" % (scenario.name, status, err))
            self.calls[kind] = world.calls()


def kill_at_time(world, scenario, seconds, at_child, dice):
    """Returns (status, output, errors, who was killed)."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = world.start(*scenario.arguments(world), stdout=out, stderr=err)
        time.sleep(seconds)
        commanded = scenario.commanded(world, process)
        below = children(commanded) if at_child else []
        scenario.strike(dice.choice(below) if below else commanded)
        status = process.wait(LIMIT)
        out.seek(0)
        err.seek(0)
        return (status, out.read().decode(errors="replace"), err.read().decode(errors="replace"),
                "a child" if below else "the command")


def one_kill(world, scenario, measured, dice):
    """Returns (what was done, whether the command was killed, complaints)."""
    if dice.random() < 0.5:
        kind = dice.choice([kind for kind in scenario.kinds if measured.calls[kind]])
        at = dice.randint(1, measured.calls[kind])
        status, out, err = scenario.run(world, world.shim(kind, at, kills=True))
        what, victim = "before call %d of %s" % (at, kind), "the command"
    else:
        scenario.prepare(world)
        seconds = dice.uniform(0, 1.1 * measured.seconds)
        status, out, err, victim = kill_at_time(
            world, scenario, seconds, dice.random() < 0.4, dice)
        what = "after %.1f ms" % (1000 * seconds)
    complaints = []
    if victim == "a child" and status in APP_KILLED:
        pass
    elif status != -signal.SIGKILL:
        # It was quicker, or only lost a child.
        complaints = world.failure_is_told(status, err, errors_max=scenario.errors_max)
    complaints += scenario.check(world, status, out, err)
    if complaints:
        complaints.append("  it said: %r %r" % (out, err))
    return ("%s, %s killed %s" % (scenario.name, victim, what), scenario.was_killed(world, status),
            complaints)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--scenario")
    parser.add_argument("--only", type=int)
    parser.add_argument("--vm", action="store_true")
    parser.add_argument("--apps", action="store_true")
    parser.add_argument("--networks", action="store_true")
    arguments = parser.parse_args()
    scenarios = [scenario for scenario in (APP_SCENARIOS if arguments.apps else
                                           NETWORK_SCENARIOS if arguments.networks else
                                           MACHINE_SCENARIOS if arguments.vm else SCENARIOS)
                 if arguments.scenario in (None, scenario.name)]
    print("TAP version 13\n1..%d\n# seed %d" % (len(scenarios), arguments.seed))
    world = World(machines=arguments.vm, apps=arguments.apps,
                  host=Host() if arguments.networks else None)
    failed, killed, hits, begin = 0, 0, 0, time.monotonic()
    try:
        for number, scenario in enumerate(scenarios, 1):
            measured = Measured(world, scenario)
            bad = []
            # Each kill has dice of its own, so that one of them can be thrown again alone.
            mine = range(number, arguments.kills + 1, len(scenarios))
            for index in mine:
                if arguments.only not in (None, index):
                    continue
                dice = random.Random(arguments.seed * 1000003 + index)
                what, hit, complaints = one_kill(world, scenario, measured, dice)
                killed += 1
                hits += hit
                if complaints:
                    bad.append(index)
                    print("# kill %d, %s:" % (index, what))
                    for line in complaints:
                        print("#   " + line.replace("\n", " "))
                    sys.stdout.flush()
            failed += bool(bad)
            print("%s %d - %s: killed %d times%s" % ("not ok" if bad else "ok", number,
                                                      scenario.name, len(mine),
                                                      ", wrongly %s" % bad if bad else ""))
            sys.stdout.flush()
    finally:
        world.close()
    print("# %d kills in %d s: %d ended the command, the others a child of it or came too late" % (
        killed, time.monotonic() - begin, hits))
    sys.exit(1 if failed else 0)


if not os.path.exists(SHIM):
    sys.exit("%s is missing: make build/fault.so" % SHIM)
main()
