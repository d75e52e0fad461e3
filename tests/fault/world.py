# SPDX-License-Identifier: Apache-2.0
"""A data directory to do harm to, commands to harm, and what must hold afterwards.

World makes a directory with images, an exited pod and a prepared one, and gives a fresh copy of it to
each trial. Scenarios are the commands that are made to fail or killed. World.check() asks the program
what is there now, and the host what was left; it returns complaints as a list of lines, empty when all
is well.
"""
import glob
import io
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("APPC_VM", os.path.join(TOP, "build/appc-vm"))
PROBE = os.environ.get("PROBE", os.path.join(TOP, "build/guest-probe"))
NETWORK = os.environ.get("NETWORK_PROBE", os.path.join(TOP, "build/guest-network"))
SHIM = os.environ.get("FAULT_SHIM", os.path.join(TOP, "build/fault.so"))
KINDS = ("alloc", "libarchive", "write", "fsync", "rename", "mmap", "ioctl")
# In memory where that is possible: thousands of copies of the data directory are made.
PLACE = os.environ.get("TMPDIR") or ("/dev/shm" if os.path.isdir("/dev/shm") else "/tmp")
MACHINE_KINDS = (*KINDS, "preadv", "kvm-run")
LIMIT = 600  # seconds of a command; only what hangs takes so long
GONE = 20    # seconds for the processes of a killed command to go

EMBRYO_AGE = 60
ERROR = re.compile(r"^appc-vm: error: .*[^\s]$")
NARRATION = re.compile(r"^appc-vm: (warning: |moving |removed |pod .* not removed: )")
# How libarchive ends the program when it has too little memory. Nothing in the store may show it.
LIBRARY_DEATHS = (1, -signal.SIGSEGV, -signal.SIGABRT)


def children(pid):
    """All processes below pid."""
    found = []
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
            for child in file.read().split():
                found += [int(child)] + children(int(child))
    except OSError:
        pass
    return found


def until(what, condition, seconds=GONE):
    """Asks until it is so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            raise Complaint("waited %d s in vain until %s" % (seconds, what))
        time.sleep(0.005)


def manifest(name, dependencies=(), mounts=(), annotations=(), ports=()):
    return json.dumps({
        "acKind": "ImageManifest", "acVersion": "0.8.11", "name": name,
        "labels": [{"name": "os", "value": "linux"}, {"name": "arch", "value": "amd64"}],
        "app": {"exec": ["/bin/probe", "say", "hello from " + name.rsplit("/", 1)[1]],
                "user": "0", "group": "0",
                "mountPoints": [{"name": name, "path": path} for name, path in mounts],
                "ports": [{"name": name, "protocol": "tcp", "port": port} for name, port in ports]},
        "annotations": [{"name": name, "value": value} for name, value in annotations],
        "dependencies": [{"imageName": d} for d in dependencies]}).encode()


def write_aci(path, name, dependencies=(), files=(), program=PROBE, **more):
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        def add(entry, data=None, kind=tarfile.REGTYPE, mode=0o755):
            info = tarfile.TarInfo(entry)
            info.type, info.mode = kind, mode
            if data is not None:
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data) if data is not None else None)

        add("manifest", manifest(name, dependencies, **more))
        add("rootfs", kind=tarfile.DIRTYPE)
        add("rootfs/tmp", kind=tarfile.DIRTYPE, mode=0o777)
        with open(program, "rb") as file:
            add("rootfs/bin/" + os.path.basename(program).replace("guest-", ""), file.read())
        for file in files:
            add("rootfs/" + file, file.encode() * 1000, mode=0o644)


def write_layout(path):
    """An OCI layout of two layers, by the generator of the hostile images."""
    subprocess.run(["python3", os.path.join(TOP, "tests/functional/hostile_images.py"), "good",
                    os.path.dirname(path)], check=True)
    os.rename(os.path.join(os.path.dirname(path), "good.oci.tar"), path)


class World:
    """apps: with an image for apps that come and go (apps.py); host: the host of pods with a network (networks.py),
    which are left to it: whatever is there that it did not have is a complaint."""
    # More than any command makes.
    MANY_CALLS = 1 << 62

    def __init__(self, machines=False, apps=False, host=None):
        self.root = tempfile.mkdtemp(prefix="appc-fault-", dir=PLACE)
        self.has_machines, self.host = machines, host
        self.base = self.path("base")
        self.data = self.path("data")
        # Machines' memory is left on disk, where the last worlds' templates serve too.
        self.templates = os.environ.get("APPC_VM_TEMPLATES") if machines else self.path("templates")
        self.environment = dict(os.environ)
        self.environment.pop("LD_PRELOAD", None)
        self.use_templates(self.templates)
        self.flavour = [] if machines else ["--flavour=container"]
        write_aci(self.path("lower.aci"), "example.com/lower", files=["lower/%d" % i for i in range(9)])
        # An app finds its pod's machine id and name where its image has a place for them.
        write_aci(self.path("probe.aci"), "example.com/probe",
                  files=["etc/machine-id", "etc/hostname"])
        write_aci(self.path("fresh.aci"), "example.com/fresh", files=["fresh"])
        write_aci(self.path("unrendered.aci"), "example.com/unrendered", ["example.com/lower"],
                  ["upper/%d" % i for i in range(5)])
        write_layout(self.path("layout.tar"))
        self.images = [self.must("image", "import", self.path(name + ".aci"), data=self.base)
                       for name in ("lower", "probe", "unrendered")]
        if apps:
            # What its volume begins with is copied to each pod.
            write_aci(self.path("many.aci"), "example.com/many", files=["data/%d" % i for i in range(99)],
                      mounts=[("volume-data", "/data")],
                      annotations=[("appc.io/docker/repository", "library/many")])
            self.images.append(self.must("image", "import", self.path("many.aci"), data=self.base))
        if host:
            write_aci(self.path("network.aci"), "example.com/network", program=NETWORK, ports=[("http", 80)])
            self.images.append(self.must("image", "import", self.path("network.aci"), data=self.base))
        self.must("run", *self.flavour, "example.com/probe", data=self.base)
        self.prepared = self.must("prepare", "example.com/probe", data=self.base)
        self.original = None
        self.uuids = []
        self.seconds = None
        self.sandbox = None
        self.renew()

    def path(self, name):
        return os.path.join(self.root, name)

    def use_templates(self, path):
        """path: None for those of the data directory."""
        if path:
            self.environment["APPC_VM_TEMPLATES"] = path

    def end_sandbox(self):
        if self.sandbox:
            self.sandbox.close()
        self.sandbox = None

    def close(self):
        self.end_sandbox()
        if self.host:
            self.host.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def renew(self):
        """The directory as it was at the beginning."""
        if self.is_unchanged():
            return
        shutil.rmtree(self.data, ignore_errors=True)
        subprocess.run(["cp", "-a", self.base, self.data], check=True)
        self.original = self.tree()

    def tree(self):
        """What is in the data directory. Files have their times; those of directories change when
        something temporary comes and goes."""
        found = []
        for path, directories, files in os.walk(self.data):
            for name in directories + files:
                entry = os.path.join(path, name)
                about = os.lstat(entry)
                found.append((entry, about.st_mode, about.st_uid, about.st_ino) +
                             (() if stat.S_ISDIR(about.st_mode)
                              else (about.st_size, about.st_mtime_ns, about.st_nlink)))
        return sorted(found)

    def is_unchanged(self):
        return self.original is not None and self.tree() == self.original

    def start(self, *words, data=None, extra=None, **options):
        environment = dict(self.environment, **(extra or {}))
        return subprocess.Popen([PROGRAM, "--dir=" + (data or self.data), *words], env=environment,
                                stdin=subprocess.DEVNULL, **options)

    def run(self, *words, data=None, extra=None, kill_after=None):
        """kill_after: seconds.

        Standard output and error go to files, as a person's would: what was said is there even
        when the command was killed. Returns (status, output, errors); seconds is how long it took."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            begin = time.monotonic()
            process = self.start(*words, data=data, extra=extra, stdout=out, stderr=err)
            try:
                status = process.wait(LIMIT if kill_after is None else kill_after)
            except subprocess.TimeoutExpired:
                process.kill()
                status = process.wait()
                if kill_after is None:
                    status = "no end within %d s" % LIMIT
            self.seconds = time.monotonic() - begin
            out.seek(0)
            err.seek(0)
            return (status, out.read().decode(errors="replace"),
                    err.read().decode(errors="replace"))

    def must(self, *words, data=None):
        status, out, err = self.run(*words, data=data)
        if status != 0:
            raise RuntimeError("%s: %s %s" % (" ".join(words), status, err))
        return out.strip()

    # ---- calls that are counted (fault.c)

    def shim(self, kind, at, kills=False):
        """The environment in which call number at of this kind fails, or is the last; 0: they are counted.
        From 0 on: see calls()."""
        # Another file: a pod may still count in the last one.
        path = self.path("fault-state")
        if os.path.exists(path):
            os.unlink(path)
        with open(path, "wb") as file:
            file.write(bytes(16))
        environment = {"LD_PRELOAD": SHIM, "FAULT_KIND": kind, "FAULT_AT": str(at), "FAULT_STATE": path}
        return dict(environment, FAULT_KILL="1") if kills else environment

    def calls(self):
        with open(self.path("fault-state"), "rb") as file:
            return int.from_bytes(file.read(8), sys.byteorder)

    def set_calls(self, count):
        with open(self.path("fault-state"), "r+b") as file:
            file.write(count.to_bytes(8, sys.byteorder))

    # ---- what must hold

    def failure_is_told(self, status, err, kind=None, errors_max=1):
        """254 and one line of error, whatever was warned of or done before."""
        lines = err.splitlines()
        errors = [line for line in lines if not NARRATION.match(line)]
        if status == 0:
            return []
        if kind == "libarchive" and status in LIBRARY_DEATHS:
            return []
        # A program that the host could not map for its guest is one that cannot be executed.
        if kind == "mmap" and status == 203 and "Cannot allocate memory" in err:
            return []
        if (status != 254 or not 1 <= len(errors) <= errors_max or
                not all(ERROR.match(line) for line in errors)):
            return ["status %s, expected 0, or 254 with one line: %r" % (status, err)]
        return []

    def mounts(self):
        with open("/proc/self/mountinfo") as file:
            return [line for line in file if self.root in line]

    def processes(self):
        found = []
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(path, "rb") as file:
                    words = file.read()
            except OSError:
                continue
            if ("--dir=" + self.data).encode() in words.split(b"\0"):
                found.append("%s %s" % (path.split("/")[2], words.replace(b"\0", b" ").decode()))
        return found

    def cgroups(self, uuids=None):
        """Of these pods, or all that are known."""
        ours = re.compile("|".join(uuids or self.uuids) or "$^")
        return [os.path.join(path, name) for path, names, _ in os.walk("/sys/fs/cgroup")
                for name in names if ours.search(name)]

    def left(self):
        """Processes and mounts that do not go by themselves."""
        end = time.monotonic() + GONE
        while True:
            complaints = (["mount left: " + line.strip() for line in self.mounts()] +
                          ["process left: " + line for line in self.processes()] +
                          (self.host.processes_left() if self.host else []))
            if not complaints or time.monotonic() >= end:
                return complaints
            time.sleep(0.02)

    def pods(self):
        status, out, err = self.run("list", "--format=json")
        if status != 0 or err:
            raise Complaint("list: status %s %s" % (status, err))
        return {pod["name"]: pod for pod in json.loads(out)}

    def image_ids(self):
        status, out, err = self.run("image", "list", "--format=json")
        if status != 0 or err:
            raise Complaint("image list: status %s %s" % (status, err))
        return [image["id"] for image in json.loads(out)]

    def check(self, images=(), pods=(), removed=()):
        """images and pods: what was acknowledged besides what the base has; removed: images of the
        base that may be gone."""
        try:
            # Nothing of it has changed: what held before holds.
            if not images and not pods and self.is_unchanged():
                return self.left()
            kept = [image for image in self.images if image not in removed]
            return self.left() or self._check(kept + list(images), [self.prepared, *pods])
        except Complaint as complaint:
            return [str(complaint)]

    def _check(self, images, pods):
        complaints = []
        there = self.pods()
        self.uuids = list(there)
        for uuid in pods:
            if there.get(uuid, {}).get("state") not in ("prepared", "exited"):
                complaints.append("pod %s was acknowledged: %s" % (uuid, there.get(uuid)))
        for uuid, pod in there.items():
            if pod["state"] in ("running", "preparing", "deleting", "exited deleting"):
                complaints.append("pod %s is %s, and nobody is at it" % (uuid, pod["state"]))
        known = self.image_ids()
        complaints += ["image %s was acknowledged, and is gone" % image
                       for image in images if image not in known]
        complaints += self.images_are_whole(known)
        for uuid in pods:
            if there.get(uuid, {}).get("state") == "prepared":
                complaints += self.pod_runs("run-prepared", *self.flavour, uuid)
        complaints += self.pod_runs("run", *self.flavour, "example.com/probe")
        complaints += self.garbage_goes()
        return complaints + self.store_is_consistent() + self.left()

    def images_are_whole(self, images):
        # An image may have lost the one that it depends on.
        if len(images) < len(self.images):
            images = [image for image in images if image != self.images[2]]
        status, out, err = self.run("image", "verify", *images)
        good = re.findall("^(?:successfully verified|image .* not rendered)", out, re.MULTILINE)
        if status != 0 or err or len(good) != len(images):
            return ["image verify: status %s %s %s" % (status, out, err)]
        return []

    def garbage_goes(self):
        """Collected twice, nothing of pods and killed commands is left."""
        complaints = []
        self.age_embryos()
        for turn in range(2):
            status, out, err = self.run("gc", "--grace-period=0s", "--expire-prepared=0s")
            if status != 0 or "error" in err or "warning" in err:
                complaints.append("gc: status %s %s" % (status, err))
        left = (glob.glob(self.data + "/tmp/*") + glob.glob(self.data + "/pods/*/*") +
                glob.glob(self.data + "/**/.appc-vm-*", recursive=True))
        complaints += ["left after gc: " + os.path.relpath(path, self.data) for path in left]
        return complaints + ["cgroup left: " + path for path in self.cgroups()]

    def check_templates(self, directory, acknowledged, flags):
        """Every template there is is good and serves pods, which run without one as well."""
        status, out, err = self.run("template", "list", "--format=json")
        if status != 0 or err:
            return ["template list: status %s %s" % (status, err)]
        listed = [template["key"] for template in json.loads(out)]
        complaints = ["template %s was acknowledged, and is gone" % key
                      for key in acknowledged if key not in listed]
        status, out, err = self.run("template", "verify")
        if status != 0 or err or out.count("\tgood\n") != len(listed):
            complaints.append("template verify: status %s %s %s" % (status, out, err))
        if set(os.listdir(directory)) - {"digests"}:
            complaints += self.pod_runs("run", *flags, "example.com/probe")
        complaints += self.garbage_goes()
        complaints += ["left after gc: " + name for name in os.listdir(directory)
                       if not re.fullmatch("digests|[0-9a-f]{64}", name)]
        return complaints + self.left()

    def age_embryos(self):
        """gc leaves pods that may be just about to be made alone for a minute: that is over."""
        for path in glob.glob(self.data + "/pods/embryo/*"):
            past = time.time() - 2 * EMBRYO_AGE
            os.utime(path, (past, past))

    def pod_runs(self, *words):
        status, out, err = self.run(*words)
        if status != 0 or not out.startswith("hello from "):
            return ["%s: status %s %r %s" % (words[0], status, out, err)]
        return []

    def store_is_consistent(self):
        """Every image and every tree has all of its files, and there is nothing else."""
        complaints = []
        for place, expected in (("images", {"manifest", "image.tar", "info.json", "last-used"}),
                                ("trees", {"rootfs", "info.json"})):
            for path in glob.glob(os.path.join(self.data, place, "*")):
                names = set(os.listdir(path))
                if not expected <= names <= expected | {"manifest"}:
                    complaints.append("%s has %s" % (os.path.relpath(path, self.data), sorted(names)))
        return complaints


class Complaint(Exception):
    pass


class Scenario:
    """A command to harm.

    words: its arguments, with {} for the world's directory
    acknowledges: "image", "pod" or "template", when a line of its output is a promise
    removes: which images of the base it takes away, by their places
    before: commands that come first, unharmed
    errors_max: lines of error, one each for what it was given
    kinds: of the calls before which it is killed (fault.c)
    """
    kinds = ("alloc", "write", "fsync", "rename", "any")

    def __init__(self, name, words, acknowledges=None, removes=(), before=(), errors_max=1):
        self.name, self.words, self.acknowledges = name, words, acknowledges
        self.removes, self.before, self.errors_max = removes, before, errors_max

    def prepare(self, world):
        world.use_templates(world.templates)
        world.renew()
        for words in self.before:
            world.must(*[w.format(world.root) for w in words])

    def arguments(self, world):
        return [word.format(world.root, prepared=world.prepared) for word in self.words]

    def run(self, world, extra=None):
        """extra: of the environment of what is harmed. As World.run()."""
        self.prepare(world)
        return world.run(*self.arguments(world), extra=extra)

    def commanded(self, world, process):
        """The id of what is harmed, while process runs the command."""
        del world
        return process.pid

    def was_killed(self, world, status):
        del world
        return status == -signal.SIGKILL

    def strike(self, pid):
        """Kills a process of it."""
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def check(self, world, status, out, err):
        """out, err: what the command had said, up to its end."""
        del err
        if status == 254 and self.acknowledges and world.is_unchanged():
            return world.left()
        lines = re.findall(r"^(\S+)\n", out, re.MULTILINE)
        images = [line for line in lines if self.acknowledges == "image"]
        pods = [line for line in lines if self.acknowledges == "pod"]
        complaints = []
        if self.acknowledges and status == 0 and not lines:
            complaints.append("success without a word")
        if self.acknowledges == "image" and status == 254:
            complaints += ["it failed, and there is image " + image
                           for image in world.image_ids() if image not in world.images]
        return complaints + world.check(images, pods, [world.images[i] for i in self.removes])


class TemplateBuild(Scenario):
    """A template is built, in a directory where there is none."""
    DIRECTORY = "built"
    FLAGS = ("--memory=144M",)

    def __init__(self, name):
        super().__init__(name, ["template", "build", *self.FLAGS], acknowledges="template")

    def prepare(self, world):
        super().prepare(world)
        directory = world.path(self.DIRECTORY)
        shutil.rmtree(directory, ignore_errors=True)
        world.use_templates(directory)

    def check(self, world, status, out, err):
        del err
        keys = re.findall("^([0-9a-f]{64})\n", out, re.MULTILINE)
        complaints = []
        if status == 0 and len(keys) != 1:
            complaints.append("success without a key")
        return complaints + world.check_templates(
            world.path(self.DIRECTORY), keys, self.FLAGS)


SCENARIOS = (
    Scenario("image import", ["image", "import", "{}/fresh.aci"], acknowledges="image"),
    Scenario("image import of a layout", ["image", "import", "{}/layout.tar"],
             acknowledges="image"),
    Scenario("prepare", ["prepare", "example.com/unrendered"], acknowledges="pod"),
    Scenario("run", ["run", "--flavour=container", "example.com/unrendered"]),
    Scenario("run-prepared", ["run-prepared", "--flavour=container", "{prepared}"]),
    Scenario("gc", ["gc", "--grace-period=0s", "--expire-prepared=1h"]),
    Scenario("image gc", ["image", "gc", "--grace-period=0s"], removes=(0, 2)),
    Scenario("image rm", ["image", "rm", "example.com/unrendered", "example.com/lower"],
             removes=(0, 2), errors_max=3),
)

# A pod starts from a template of APPC_VM_TEMPLATES.
MACHINE_SCENARIOS = (
    Scenario("run in a machine", ["run", "example.com/unrendered"]),
    # Its files are read and written by requests, of which some are too short for the ring.
    Scenario("run with files in a machine", ["run", "--dax=never", "example.com/unrendered", "--exec=/bin/probe", "--",
                                             "write", "/new", "text", "read", "/new", "read", "/upper/1"]),
    TemplateBuild("template build"),
)
