# SPDX-License-Identifier: Apache-2.0
"""A pod whose apps come and go, the commands that are harmed there, and what must hold afterwards.

Sandbox is such a pod. AppScenario is a command about one app of it, or, with in_pod, the process of the
pod while it serves that command. Afterwards the command, given once more, does what it ought to; and
when the app is removed the pod has what it had in the beginning. Where the pod's process was what was
killed, it has ended, and is removed like any other.
"""
import glob
import json
import os
import re
import signal

from world import LIMIT, Complaint, Scenario, children, until

NAME = "harmed"
# What an app does: ends by itself, or needs a moment for its end when it is told to.
ENDS = ("say", "up", "exit", "4")
WAITS = ("say", "up", "until-stopped", "burn", "10", "exit", "5")
CODES = {ENDS: 4, WAITS: 5}
UNRECORDED = "cannot record the state of app"


def add_words(image, does, name=NAME):
    return ["app", "add", "{pod}", "example.com/" + image, "--name=" + name, "--exec=/bin/probe",
            "--memory=32Mi", "--mnt-volume=name=d,kind=empty,target=/d", "--", *does]


def app_words(action, name=NAME):
    return ["app", action, "{pod}", "--app=" + name]


class Sandbox:
    """extra: of the environment of its process."""

    def __init__(self, world, extra=None):
        self.world, self.is_spoiled = world, False
        uuid = world.path("sandbox.uuid")
        if os.path.exists(uuid):
            os.unlink(uuid)
        self.out, self.err = (open(world.path("sandbox." + name), "w+") for name in ("out", "err"))
        self.process = world.start("app", "sandbox", *world.flavour, "--uuid-file-save=" + uuid,
                                   extra=extra, stdout=self.out, stderr=self.err)
        until("the sandbox has a UUID", lambda: self.has_ended() or
              os.path.exists(uuid) and os.path.getsize(uuid) > 0, LIMIT)
        if self.has_ended():
            raise RuntimeError("app sandbox: %s" % self.said(self.err))
        with open(uuid) as file:
            self.uuid = file.read().strip()
        world.must("status", "--wait-ready", self.uuid)
        # Without any of these it has ended.
        self.guests = children(self.process.pid)
        self.before = self.holds()

    def has_ended(self):
        return self.process.poll() is not None

    def ends_soon(self):
        try:
            until("it has ended", self.has_ended, 1)
            return True
        except Complaint:
            return False

    @staticmethod
    def said(file):
        with open(file.name) as again:
            return again.read()

    def words(self, words):
        return [word.format(self.world.root, pod=self.uuid) for word in words]

    def run(self, words, **options):
        return self.world.run(*self.words(words), **options)

    def must(self, words):
        return self.world.must(*self.words(words))

    def apps(self):
        status, out, err = self.run(["app", "list", "--format=json", "{pod}"])
        if status != 0 or err:
            raise Complaint("app list: status %s %s" % (status, err))
        return {app["name"]: app for app in json.loads(out)}

    def state(self, name=NAME):
        return self.apps().get(name, {}).get("state")

    def start(self, does, name=NAME):
        """Until the app can be told to end, where it waits for that."""
        seen = self.said(self.out).count("ready\n")
        self.must(app_words("start", name))
        if does == WAITS:
            until("app %s waits" % name, lambda: self.said(self.out).count("ready\n") > seen, LIMIT)

    def holds(self):
        """What it has of the host, as lines. A VMM has files open for the caches of its guest's kernel."""
        processes = [self.process.pid, *children(self.process.pid)]
        found = ["processes: %d" % len(processes)]
        for pid in processes:
            try:
                if not self.world.has_machines or pid == self.process.pid:
                    found.append("open files: %d" % len(os.listdir("/proc/%d/fd" % pid)))
                with open("/proc/%d/mountinfo" % pid) as file:
                    found.append("mounts: %d" % len(file.readlines()))
            except OSError:
                found.append("a process that ends")
        found.append("cgroups: %d" % len(self.world.cgroups([self.uuid])))
        place = "%s/pods/run/%s" % (self.world.data, self.uuid)
        # The directories themselves are made once, when there is something for them.
        found += sorted(os.path.relpath(path, place) for path in glob.glob(place + "/**", recursive=True)
                        if os.path.dirname(path) != place or not os.path.isdir(path))
        with open(place + "/trees") as file:
            return found + file.read().splitlines()

    def is_as_before(self):
        """Complaints."""
        now = []

        def same():
            now[:] = self.holds()
            return now == self.before
        try:
            until("the pod is as it was", same)
        except Complaint:
            return ["%s: %s" % (text, [line for line in some if line not in others][:10])
                    for text, some, others in (("the pod has, and had not", now, self.before),
                                               ("the pod had, and has not", self.before, now))]
        return []

    def memory(self):
        """KiB that its processes have written to, but for a machine's memory."""
        total = 0
        for pid in [self.process.pid, *children(self.process.pid)]:
            with open("/proc/%d/smaps" % pid) as file:
                mappings = re.findall(r"^Size:\s*(\d+).*?^Anonymous:\s*(\d+)", file.read(),
                                      re.MULTILINE | re.DOTALL)
            total += sum(int(written) for size, written in mappings if int(size) < 64 << 10)
        return total

    def close(self):
        """With what it left, which is the caller's to look at."""
        if not self.has_ended():
            self.world.run("stop", "--force", self.uuid)
        self.process.wait()
        self.out.close()
        self.err.close()


class AppScenario(Scenario):
    """action: add, start, stop or rm; does: what its app does, of image."""

    def __init__(self, action, does, image="probe", in_pod=False):
        add, start = add_words(image, does), app_words("start")
        words = add if action == "add" else app_words(action)
        super().__init__("app " + action + (" of many files" if image != "probe" else "") +
                         (", in its pod" if in_pod else ""), words)
        self.action, self.does, self.adding, self.in_pod = action, does, add, in_pod
        self.kinds = ("write", "rename") if in_pod else ("write", "any")
        self.is_started = action in ("stop", "rm")
        self.victim = self.last_call = None

    def prepare(self, world, extra=None):
        # A pod is made for its own harm; others serve until something is wrong.
        if self.in_pod or not world.sandbox or world.sandbox.is_spoiled:
            world.end_sandbox()
            super().prepare(world)
            world.sandbox = Sandbox(world, extra)
        self.victim = self.last_call = None
        for name in world.sandbox.apps():
            world.sandbox.must(app_words("rm", name))
        if self.action != "add":
            world.sandbox.must(self.adding)
        if self.is_started:
            world.sandbox.start(self.does)

    def arguments(self, world):
        return world.sandbox.words(self.words)

    def run(self, world, extra=None):
        if not self.in_pod:
            return super().run(world, extra)
        # What it does before it is asked is not counted.
        world.set_calls(world.MANY_CALLS)
        self.prepare(world, extra)
        if extra and "FAULT_KILL" in extra:
            self.last_call = int(extra["FAULT_AT"])
        world.set_calls(0)
        return world.run(*self.arguments(world))

    def commanded(self, world, process):
        return world.sandbox.process.pid if self.in_pod else process.pid

    def strike(self, pid):
        self.victim = pid
        super().strike(pid)

    def was_killed(self, world, status):
        return world.sandbox.has_ended() if self.in_pod else super().was_killed(world, status)

    def check(self, world, status, out, err):
        del out, err
        sandbox = world.sandbox
        if self.in_pod:
            if self.last_call and world.calls() >= self.last_call:
                self.victim = sandbox.process.pid
            world.set_calls(world.MANY_CALLS)
        try:
            if self.victim in (sandbox.process.pid, *sandbox.guests):
                until("the pod has ended", sandbox.has_ended)
            complaints = [] if sandbox.has_ended() else (
                self.check_effect(sandbox, status) or self.check_again(sandbox))
        except (Complaint, RuntimeError) as complaint:
            complaints = [str(complaint)]
        # A call that failed may have been its end, which takes a moment.
        if sandbox.has_ended() or complaints and self.in_pod and sandbox.ends_soon():
            complaints = self.check_end(world)
        if complaints:
            sandbox.is_spoiled = True
            complaints.append("  the pod said: %r" % sandbox.said(sandbox.err))
        return complaints

    # ---- the pod goes on

    def check_effect(self, sandbox, status):
        """Whole, or none."""
        # A record that could not be written tells of nothing; the pod has said so.
        if UNRECORDED in sandbox.said(sandbox.err):
            self.check_removal(sandbox, status, None)
            return []
        app = sandbox.apps().get(NAME)
        state = app and app["state"]
        if self.action == "add" and status == 0 and state != "created":
            return ["app add: status %s, and there is %s" % (status, app)]
        if self.action in ("start", "stop") and not app:
            return ["the app has gone"]
        if self.action == "start" and status == 0 and state not in ("running", "exited"):
            return ["it has started, and is %s" % app]
        if self.action == "stop" and status == 0 and state != "exited":
            return ["it was stopped, and is %s" % app]
        if self.action == "rm" and status == 0 and app:
            return ["it was removed, and is %s" % app]
        if self.action == "rm" and app:
            self.check_removal(sandbox, status, state)
        # What it left has gone with it.
        return sandbox.is_as_before() if self.action == "add" and status == 254 and not app else []

    @staticmethod
    def check_removal(sandbox, status, state):
        # Who was killed has not had it stopped alone.
        if status == -signal.SIGKILL and state == "exited":
            until("the app that is being removed has gone", lambda: not sandbox.apps())
        status, _, err = sandbox.run(app_words("rm"))
        if status != 0 and "has no app" not in err:
            raise Complaint("app rm: status %s %s" % (status, err))

    def check_again(self, sandbox):
        """The same once more, up to the app's end, and its removal."""
        until("the app is there", lambda: sandbox.apps() or sandbox.run(self.adding)[0] == 0)
        app = sandbox.apps()[NAME]
        if self.does == ENDS:
            status, _, err = sandbox.run(app_words("start"))
            # A killed client's request may have started it just now.
            if status != 0 and "is running" not in err:
                return ["app start: status %s %s" % (status, err)]
            until("the app has ended", lambda: sandbox.state() == "exited", LIMIT)
        elif app["state"] != "exited" or self.victim:
            if app["state"] != "running":
                sandbox.start(self.does)
            sandbox.must(app_words("stop"))
        app = sandbox.apps()[NAME]
        if app["state"] != "exited" or app["exit_code"] != CODES[self.does]:
            return ["the app's end was not its own: %s" % app]
        sandbox.must(app_words("rm"))
        if sandbox.apps():
            return ["it was removed, and is %s" % sandbox.apps()]
        return sandbox.is_as_before()

    # ---- the pod has ended

    def check_end(self, world):
        sandbox = world.sandbox
        sandbox.is_spoiled = True
        code = sandbox.process.wait()
        complaints = []
        if code != -signal.SIGKILL or self.victim is None:
            complaints = world.failure_is_told(code, sandbox.said(sandbox.err))
            if code == 0:
                complaints.append("the pod ended with success")
        status, _, err = sandbox.run(self.adding)
        if status != 254 or "is not running" not in err:
            complaints.append("app add to a pod that has ended: status %s %s" % (status, err))
        for app in sandbox.apps().values():
            if app["state"] == "running":
                complaints.append("nobody runs it: %s" % app)
        # It goes one way or the other.
        if self.action in ("add", "stop"):
            status, _, err = world.run("rm", sandbox.uuid)
            if status != 0 or err:
                complaints.append("rm: status %s %s" % (status, err))
        return complaints + world.check()


APP_SCENARIOS = tuple(
    AppScenario(action, does, image, in_pod)
    for action, does, image in (("add", ENDS, "probe"), ("add", ENDS, "many"), ("start", ENDS, "probe"),
                                ("stop", WAITS, "probe"), ("rm", WAITS, "probe"))
    for in_pod in (False, True))
