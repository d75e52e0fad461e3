#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many pods of many kinds, one after the other and at once, and what the host has lost by them.

    soak.py [--seconds=N] [--flavour=vm|container] [--pods=N] [--parallel=N] [--clones=N] [--apps=N] [--seed=N]
            [--shared-host]

  pods      N pods one after the other, their kinds chosen at random (KINDS below), however long that takes: a short
            run is one of few pods
  parallel  N at once, over and over for half of the time, at least once
            --pods=0 leaves out both
  clones    N pods in a row from one template, however long that takes: no two have random bytes, names,
            ids or times in common (machines only)
  apps      N seconds, a fifth of the others if not given, of several clients at the apps of one pod that runs, some
            of them killed, with gc and image gc beside them

Each pod must end with the status that it ought to, and must have said what it ought to. Before and after
everything the host is measured: processes, mounts, cgroups and files of ours (none may be left), and
memory, slabs, shared memory and open files of all (they may not have grown beyond reason). With
--shared-host the latter are only told, for hosts where others work meanwhile.
"""
import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from apps import Sandbox, add_words, app_words
from world import LIMIT, Complaint, World, until, write_aci

SHELL = "/bin/busybox"
OUTPUT_LINES = 3000
# What a host may have less or more of afterwards.
BOUNDS = {"MemAvailable": -256 << 10, "Shmem": 64 << 10, "SUnreclaim": 64 << 10, "open files": 256}


def app(exec_words, **more):
    return {"exec": exec_words, "user": "0", "group": "0", **more}


class Kind:
    """apps: {name: (image, app, mounts)}; statuses: which are right; lines: each must be said; stops:
    whether it is stopped at some point."""

    def __init__(self, name, apps, statuses=(0,), lines=(), volumes=(), stops=False, vm_only=False,
                 count=None):
        self.name, self.apps, self.statuses, self.lines = name, apps, statuses, lines
        self.volumes, self.stops, self.vm_only, self.count = volumes, stops, vm_only, count

    def manifest(self, host):
        volumes = [dict(volume, **({"source": host} if volume["kind"] == "host" else {}))
                   for volume in self.volumes]
        return {"acVersion": "0.8.11", "acKind": "PodManifest", "volumes": volumes, "apps": [
            {"name": name, "image": {"name": "example.com/" + image}, "app": what,
             "mounts": [{"volume": volume, "path": path} for volume, path in mounts]}
            for name, (image, what, mounts) in self.apps.items()]}


def probe(*words):
    return app(["/bin/probe", *words])


KINDS = [
    Kind("static", {"a": ("probe", probe("say", "hello", "cwd"), [])},
         lines=["hello", "cwd: /"]),
    Kind("shell", {"a": ("shell", app(["/bin/busybox", "sh", "-c",
                                       "i=0; while [ $i -lt 50 ]; do i=$((i + 1)); done; "
                                       "/bin/busybox ls / | /bin/busybox wc -l >/dev/null; "
                                       "echo sum $i; exit 7"]), [])},
         statuses=(7,), lines=["sum 50"]),
    Kind("volumes", {"a": ("probe", probe("write", "/v/file", "written", "read", "/v/file",
                                          "write", "/host/file", "there", "read", "/host/file"),
                           [("own", "/v"), ("host", "/host")])},
         volumes=[{"name": "own", "kind": "empty"}, {"name": "host", "kind": "host"}],
         lines=["read /v/file: written", "read /host/file: there"]),
    Kind("output", {"a": ("probe", probe("lines", "loud", str(OUTPUT_LINES)), [])},
         count=OUTPUT_LINES),
    Kind("several apps", {"a": ("probe", probe("say", "one"), []),
                          "b": ("probe", probe("say", "two"), []),
                          "c": ("probe", probe("create", "/tmp", "200"), [])},
         lines=["one", "two"]),
    Kind("failing", {"a": ("probe", probe("say", "before", "exit", "3"), [])},
         statuses=(3,), lines=["before"]),
    Kind("crashing", {"a": ("probe", probe("say", "before", "crash"), [])},
         statuses=(128 + signal.SIGSEGV,), lines=["before"]),
    Kind("one fails", {"a": ("probe", probe("say", "before", "exit", "9"), []),
                       "b": ("probe", probe("forever"), [])}, statuses=(9,), lines=["before"]),
    Kind("greedy", {"a": ("probe", dict(probe("say", "before", "hog"), isolators=[
        {"name": "resource/memory", "value": {"limit": "16Mi"}}]), [])},
         statuses=(137,), lines=["before"], vm_only=True),
    # Stopped before its apps started it is 254; before it handles the signal, 143.
    Kind("stopped", {"a": ("probe", probe("until-stopped", "exit", "5"), [])},
         statuses=(5, 143, 254), stops=True),
    Kind("killed", {"a": ("probe", probe("forever"), [])}, statuses=(137, 143, 254), stops=True),
]


class Soak:
    def __init__(self, flavour, seed):
        self.world = World(machines=flavour == "vm")
        self.world.flavour = ["--flavour=" + flavour]
        self.kinds = [kind for kind in KINDS if flavour == "vm" or not kind.vm_only]
        self.seed, self.dice = seed, random.Random(seed)
        self.lock = threading.Lock()
        self.complaints, self.count, self.statuses = [], 0, {}
        write_aci(self.world.path("shell.aci"), "example.com/shell", program=SHELL)
        self.world.must("image", "import", self.world.path("shell.aci"))

    def complain(self, text):
        with self.lock:
            self.complaints.append(text)
            print("# " + text.replace("\n", " "))
            sys.stdout.flush()

    def pod(self, kind, delay, how):
        """Runs one; delay: seconds until it is stopped."""
        place = tempfile.mkdtemp(prefix="pod-", dir=self.world.root)
        host, manifest, uuid = (os.path.join(place, name) for name in ("host", "pod.json", "uuid"))
        os.mkdir(host)
        with open(manifest, "w") as file:
            json.dump(kind.manifest(host), file)
        with open(os.path.join(place, "out"), "w+") as out, \
                open(os.path.join(place, "err"), "w+") as err:
            process = self.world.start("run", *self.world.flavour, "--uuid-file-save=" + uuid,
                                       manifest, stdout=out, stderr=err)
            ended = ()
            if kind.stops:
                time.sleep(delay)
                ended = self.stop(process, uuid, how if kind.name == "stopped" else "force")
            try:
                status = process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                status = "no end within %d s" % LIMIT
            out.seek(0)
            err.seek(0)
            said, wrong = out.read(), err.read()
        if os.path.exists(uuid):
            with open(uuid) as file:
                self.world.uuids.append(file.read().strip())
        self.judge(kind, kind.statuses + ended, status, said, wrong)
        shutil.rmtree(place)
        return said

    def stop(self, process, uuid, how):
        """Returns the statuses that are right then, too: how a process ends that a slow host has not
        given the time to handle a signal, or to answer."""
        if how == "signal" or not os.path.exists(uuid):
            process.terminate()
            return (-signal.SIGTERM,)
        # It may have ended meanwhile, or not have begun: then it is ended by its process.
        options = ["--force"] if how == "force" else []
        status, _, err = self.world.run("stop", *options, "--uuid-file=" + uuid)
        ended = (-signal.SIGKILL,) if "and was killed" in err else ()
        if status != 0:
            process.terminate()
            ended += (-signal.SIGTERM,)
        return ended

    def judge(self, kind, statuses, status, said, wrong):
        lines = said.splitlines()
        with self.lock:
            self.count += 1
            key = "%s %s" % (kind.name, status)
            self.statuses[key] = self.statuses.get(key, 0) + 1
        if status not in statuses:
            self.complain("%s: status %s, expected %s: %r %r" % (
                kind.name, status, statuses, said[-300:], wrong[-300:]))
        if status == -signal.SIGTERM and (said or wrong):
            self.complain("%s: its process ended by SIGTERM after %r %r" % (kind.name, said, wrong))
        missing = [line for line in kind.lines if line not in lines]
        if missing or (kind.count is not None and len(lines) != kind.count):
            self.complain("%s: %d lines, without %s" % (kind.name, len(lines), missing))

    def throw(self):
        with self.lock:
            return (self.dice.choice(self.kinds), self.dice.uniform(0, 1.5),
                    self.dice.choice(("signal", "stop", "force")))

    def one_after_the_other(self, count):
        """How many were judged."""
        before = self.count
        for number in range(count):
            kind, delay, how = self.throw()
            # Each kind once, before any has its second turn.
            self.pod(self.kinds[number] if number < len(self.kinds) else kind, delay, how)
            if number % 20 == 19:
                self.collect()
        return self.count - before

    def at_once(self, throws):
        threads = [threading.Thread(target=self.pod, args=throw) for throw in throws]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def collect(self):
        for _ in range(2):
            status, _, err = self.world.run("gc", "--grace-period=0s")
            if status != 0:
                self.complain("gc: status %s %s" % (status, err))

    def clones(self, count):
        """Values that no two clones may share, by name."""
        seen, kind = {}, Kind("clone", {"a": ("probe", probe("unique"), [])})
        done = 0
        while done < count:
            for name, value in re.findall(r"^(\S+) (.+)$", self.pod(kind, 0, None), re.MULTILINE):
                values = seen.setdefault(name, {})
                if re.fullmatch("E[A-Z]+", value):
                    self.complain("clone %d has no %s: %s" % (done, name, value))
                elif value in values:
                    self.complain("clones %d and %d have the same %s: %s" % (
                        values[value], done, name, value))
                values[value] = done
            done += 1
            if done % 50 == 0:
                self.collect()
        short = [name for name, values in seen.items() if len(values) != done]
        if len(seen) < 7 or short:
            self.complain("%d clones, but not as many of %s" % (done, short or "anything"))
        return done, sorted(seen)


class Storm:
    """Clients of one pod, whose apps come and go.

    Two have an app of their own, over and over, and it must go as if they were alone. Three do what comes to
    their mind to one that is everybody's: each ends as it ought to, if it is not killed. Another collects what
    nobody uses, and with it images that the first two need: these they import again.
    """
    SHARED = "shared"
    # What the pod's processes may have more of their own memory than after the first round.
    MEMORY = 1 << 10

    def __init__(self, soak, seconds):
        self.soak, self.world = soak, soak.world
        self.sandbox = self.world.sandbox = Sandbox(self.world)
        self.end, self.turns = 0, {}
        self.run(0)
        memory = self.sandbox.memory()
        self.run(seconds)
        try:
            complaints = self.settle(memory)
        except (Complaint, RuntimeError) as complaint:
            complaints = [str(complaint)]
        for line in complaints:
            soak.complain(line)
        self.world.uuids.append(self.sandbox.uuid)
        self.world.end_sandbox()

    def run(self, seconds):
        """Each turn at least once."""
        self.end = time.monotonic() + seconds
        work = [(self.own_app, "own-%d" % i) for i in range(2)] + [(self.shared_app, self.SHARED)] * 3
        threads = [threading.Thread(target=self.repeat, args=(turn, name, random.Random("%d %d" % (self.soak.seed, i))))
                   for i, (turn, name) in enumerate(work + [(self.collect, "gc")])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def repeat(self, turn, name, dice):
        count = 0
        try:
            while count == 0 or time.monotonic() < self.end:
                turn(name, dice)
                count += 1
        except (Complaint, RuntimeError, KeyError) as error:
            self.soak.complain("%s, turn %d: %r" % (name, count, error))
        with self.soak.lock:
            self.turns[name] = self.turns.get(name, 0) + count

    def own_app(self, name, dice):
        code = str(dice.randint(1, 99))
        image = dice.choice(("probe", "unrendered"))
        words = add_words(image, ("exit", code), name)
        while True:
            status, _, err = self.sandbox.run(words)
            if status == 0:
                break
            if image == "probe" or self.world.failure_is_told(status, err):
                raise Complaint("add of %s: status %s %s" % (image, status, err))
            for needed in ("lower", "unrendered"):
                self.world.must("image", "import", self.world.path(needed + ".aci"))
        for _ in range(dice.randint(1, 2)):
            self.sandbox.must(app_words("start", name))
            until("app %s ends" % name, lambda: self.sandbox.state(name) == "exited", LIMIT)
            app = self.sandbox.apps()[name]
            if app["exit_code"] != int(code):
                raise Complaint("its end was not its own: %s" % app)
        self.sandbox.must(app_words("rm", name))
        if name in self.sandbox.apps():
            raise Complaint("it was removed")

    def shared_app(self, name, dice):
        words = dice.choice([add_words("probe", ("until-stopped", "exit", "5"), name)] * 2 +
                            [app_words(action, name) for action in ("start", "start", "stop", "rm")] +
                            [["app", "list", "{pod}"], app_words("status", name)])
        killed = dice.random() < 0.3
        # The others are to have their turns, too.
        time.sleep(dice.uniform(0, 0.02))
        status, out, err = self.sandbox.run(words, kill_after=dice.uniform(0, 0.05) if killed else None)
        if status == -signal.SIGKILL and killed:
            return
        for line in self.world.failure_is_told(status, err):
            raise Complaint("%s: %s %r" % (words, line, out))

    def collect(self, _, dice):
        for words in dice.sample([["gc", "--grace-period=0s"], ["image", "gc", "--grace-period=0s"]], 2):
            status, _, err = self.sandbox.run(words)
            if status != 0:
                raise Complaint("%s: status %s %s" % (words, status, err))
        time.sleep(dice.uniform(0, 0.1))

    def settle(self, memory):
        sandbox = self.sandbox
        # What was asked by somebody who was killed may be under way.
        until("the shared app has gone", lambda: sandbox.run(app_words("rm", self.SHARED))[0] == 254 and
              not sandbox.apps())
        complaints = sandbox.is_as_before()
        grown = sandbox.memory() - memory
        if grown > self.MEMORY:
            complaints.append("the pod's processes have %d KiB more" % grown)
        self.world.must("stop", sandbox.uuid)
        status = sandbox.process.wait(LIMIT)
        if status != 0:
            complaints.append("the pod ended with status %s %s" % (status, sandbox.said(sandbox.err)))
        return complaints


def measure():
    """Of the whole host. KiB, and numbers."""
    found = {}
    with open("/proc/meminfo") as file:
        for line in file:
            name, value = line.split(":")
            if name in ("MemAvailable", "Shmem", "SUnreclaim"):
                found[name] = int(value.split()[0])
    with open("/proc/sys/fs/file-nr") as file:
        found["open files"] = int(file.read().split()[0])
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--flavour", choices=("vm", "container"), default="vm")
    parser.add_argument("--pods", type=int, default=200)
    parser.add_argument("--parallel", type=int, default=20)
    parser.add_argument("--clones", type=int, default=1000)
    parser.add_argument("--apps", type=float)
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--shared-host", action="store_true")
    arguments = parser.parse_args()
    soak = Soak(arguments.flavour, arguments.seed)
    try:
        failed = run_all(soak, arguments)
    finally:
        soak.world.close()
    sys.exit(1 if failed else 0)


def run_all(soak, arguments):
    numbers = iter(range(1, 10))
    failed = 0

    def result(text, begin):
        nonlocal failed
        bad = len(soak.complaints)
        soak.complaints.clear()
        failed += bool(bad)
        print("%s %d - %s%s # in %dms" % ("not ok" if bad else "ok", next(numbers), text,
                                          ", %d wrong" % bad if bad else "",
                                          1000 * (time.monotonic() - begin)))
        sys.stdout.flush()

    machines = arguments.flavour == "vm" and arguments.clones > 0
    mixed = arguments.pods > 0
    apps = arguments.seconds / 5 if arguments.apps is None else arguments.apps
    print("TAP version 13\n1..%d\n# seed %d" % (1 + 2 * mixed + machines + (apps > 0), arguments.seed))
    # What caches and the first pods take is not lost.
    soak.at_once([(kind, 0.1, "signal") for kind in (soak.kinds if mixed else soak.kinds[:1])])
    soak.collect()
    before, start = measure(), time.monotonic()
    if mixed:
        done = soak.one_after_the_other(arguments.pods)
        result("%d of %d pods one after the other" % (done, arguments.pods), start)
        begin, rounds = time.monotonic(), 0
        while rounds == 0 or time.monotonic() < begin + arguments.seconds / 2:
            soak.at_once([soak.throw() for _ in range(arguments.parallel)])
            soak.collect()
            rounds += 1
        result("%d times %d pods at once" % (rounds, arguments.parallel), begin)
    if machines:
        begin = time.monotonic()
        done, names = soak.clones(arguments.clones)
        result("%d clones, each with its own %s" % (done, ", ".join(names)), begin)
    if apps > 0:
        begin = time.monotonic()
        turns = Storm(soak, apps).turns
        result("the apps of a pod, by clients at once: %s" % ", ".join(
            "%s %d times" % pair for pair in sorted(turns.items())), begin)
    begin = time.monotonic()
    soak.collect()
    for line in soak.world.left() + soak.world.garbage_goes():
        soak.complain(line)
    for name, now in measure().items():
        grown, bound = now - before[name], BOUNDS[name]
        text = "%s: %d before, %d after" % (name, before[name], now)
        if not arguments.shared_host and (grown < bound if bound < 0 else grown > bound):
            soak.complain(text)
        else:
            print("# " + text)
    result("nothing is left of %d pods" % soak.count, begin)
    print("# " + ", ".join("%s: %d" % pair for pair in sorted(soak.statuses.items())))
    return failed


main()
