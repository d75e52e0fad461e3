# SPDX-License-Identifier: Apache-2.0
"""The host of pods with networks, the commands that are harmed there, and what must hold afterwards.

Host is a network namespace of this process's own, so that nothing that others do on the host is in it, and
whatever is in it in the end was left there. It may have a neighbour, a pod that nobody harms and that must be
reached all the time, and a bridge of its own. NetworkScenario is a pod with a network, KilledPod the gc of one
that was killed. What a killed process leaves of interfaces, rules, leases and switches goes with the next gc or
the next such pod; processes go by themselves, and what was not killed leaves nothing.
"""
import ctypes
import glob
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

from world import GONE, LIMIT, Complaint, Scenario, children, until

ADDRESS, ROUTER = "198.51.100.1", "198.51.100.2"
ADDRESS6, ROUTER6 = "2001:db8::1", "2001:db8::2"
SERVER_PORT, NEIGHBOUR_PORT = 7000, 8081
OWN_BRIDGE = "own"
ANSWER_SECONDS = 5
CLONE_NEWNET = 0x40000000
STAYS = 'stays until "appc-vm gc"'
LEASES = "/run/appc-vm/network-%d-*"


def own_namespace():
    return os.stat("/proc/self/ns/net").st_ino


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def hear(port):
    """What a server of this host says. None: there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as client:
            client.sendall(b"hello\n")
            return client.makefile().readline().strip() or None
    except OSError:
        return None


class Host:
    def __init__(self):
        self.neighbour = self.server = None
        self.begin()

    def begin(self):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        ip("link", "set", "lo", "up")
        # The other end plays the world, which nobody asks for anything.
        ip("link", "add", "out", "type", "veth", "peer", "name", "world")
        ip("address", "add", ADDRESS + "/24", "dev", "out")
        ip("address", "add", ADDRESS6 + "/64", "dev", "out", "nodad")
        for name in ("out", "world"):
            ip("link", "set", name, "up")
        ip("route", "add", "default", "via", ROUTER)
        ip("-6", "route", "add", "default", "via", ROUTER6, "dev", "out")
        self.server = socket.create_server((ADDRESS, SERVER_PORT))
        threading.Thread(target=self.serve, args=(self.server,), daemon=True).start()

    @staticmethod
    def serve(server):
        while True:
            try:
                client, _ = server.accept()
                client.sendall(b"from the host\n")
                client.close()
            except ConnectionError:
                pass
            except OSError:
                return

    def end(self):
        self.without_neighbour()
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for path in glob.glob(LEASES % own_namespace()):
            shutil.rmtree(path)

    def renew(self):
        """Another one."""
        self.end()
        self.begin()

    close = end

    # ---- what it has beside the harmed pod

    def with_bridge(self, wanted):
        there = OWN_BRIDGE in [name for _, name in socket.if_nameindex()]
        if wanted and not there:
            ip("link", "add", OWN_BRIDGE, "type", "bridge")
            ip("address", "add", "192.0.2.1/24", "dev", OWN_BRIDGE)
            ip("address", "add", "2001:db8:1::1/64", "dev", OWN_BRIDGE, "nodad")
            ip("link", "set", OWN_BRIDGE, "up")
        elif there and not wanted:
            ip("link", "delete", OWN_BRIDGE)
        # Nothing but the rules is made for a pod on such a bridge of a host that forwards.
        with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
            file.write("1" if wanted else "0")

    def with_neighbour(self, world):
        if self.neighbour:
            return
        data = world.path("neighbour")
        if not os.path.exists(data):
            subprocess.run(["cp", "-a", world.base, data], check=True)
        self.neighbour = world.start(
            "run", *world.flavour, "--net=tap", "--port=http:%d" % NEIGHBOUR_PORT, "example.com/network",
            "--exec=/bin/network", "--", "serve-all", "80", data=data, stdout=subprocess.DEVNULL)
        until("the neighbour answers", self.neighbour_answers, LIMIT)

    def without_neighbour(self):
        if not self.neighbour:
            return
        self.neighbour.terminate()
        self.neighbour.wait()
        self.neighbour = None

    def neighbour_answers(self):
        return hear(NEIGHBOUR_PORT) == "from the pod"

    # ---- what is there

    def state(self):
        """As lines."""
        def said(*words):
            return subprocess.run(words, check=False, stdout=subprocess.PIPE, text=True).stdout.splitlines()

        found = ["interface: " + name for _, name in socket.if_nameindex()]
        found += ["address: " + " ".join(line.split()[1:4]) for line in said("ip", "-oneline", "address")]
        found += ["neighbour: " + line for line in said("ip", "neighbour", "show", "nud", "permanent")]
        found += ["rules: " + line.strip() for line in said("nft", "list", "ruleset")]
        found += ["switch: " + line for line in said("grep", "-s", "-r", ".", "/proc/sys/net/ipv4/ip_forward",
                                                     "/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv6/conf")]
        found += ["lease: " + os.path.relpath(path, "/run/appc-vm")
                  for path in glob.glob(LEASES % own_namespace() + "/*")]
        return sorted(found)

    def processes_left(self):
        """Whoever is on this host and neither we nor the neighbour."""
        namespace = os.readlink("/proc/self/ns/net")
        known = [os.getpid()]
        if self.neighbour:
            known += [self.neighbour.pid, *children(self.neighbour.pid)]
        found = []
        for path in glob.glob("/proc/[0-9]*"):
            pid = int(os.path.basename(path))
            try:
                if pid in known or os.readlink(path + "/ns/net") != namespace:
                    continue
                with open(path + "/cmdline", "rb") as file:
                    words = file.read().replace(b"\0", b" ").decode()
            except OSError:
                continue
            found.append("process of the network left: %d %s" % (pid, words))
        return found

    @staticmethod
    def port_taken(port):
        """Whoever had it may still be on his way out."""
        end = time.monotonic() + GONE
        while True:
            found = []
            for kind, name in ((socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp")):
                with socket.socket(socket.AF_INET, kind) as probe:
                    # A connection of before may wait for its last packets.
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
                    try:
                        probe.bind(("127.0.0.1", port))
                    except OSError:
                        found.append("port left: %s %d" % (name, port))
            if not found or time.monotonic() >= end:
                return found
            time.sleep(0.02)


def difference(now, before):
    return (["left: " + line for line in now if line not in before] +
            ["gone: " + line for line in before if line not in now])


class NetworkScenario(Scenario):
    """net: what --net says; has_neighbour, own_bridge: of the host; cleaner: "gc" or "run", who first comes after it."""

    def __init__(self, name, net, has_neighbour=False, own_bridge=False, cleaner="gc"):
        super().__init__(name, ())
        self.net, self.has_neighbour, self.own_bridge, self.cleaner = net, has_neighbour, own_bridge, cleaner
        # Passt's connections keep theirs from being another's for a minute.
        self.port = 8080 if net == "default" else 8090
        self.at_first, self.struck = [], False

    def pod_words(self, world, *does):
        return ["run", *world.flavour, "--net=" + self.net, "--port=http:127.0.0.1:%d" % self.port, "example.com/network",
                "--exec=/bin/network", "--", *does]

    def arguments(self, world):
        return self.pod_words(world, "connect", ADDRESS, str(SERVER_PORT))

    def prepare(self, world):
        super().prepare(world)
        world.host.with_bridge(self.own_bridge)
        if self.has_neighbour:
            world.host.with_neighbour(world)
        else:
            world.host.without_neighbour()
        self.at_first, self.struck = world.host.state(), False

    def strike(self, pid):
        self.struck = True
        super().strike(pid)

    # ---- what must hold

    def check(self, world, status, out, err):
        try:
            complaints = (self.check_end(status, out) or world.left() or world.host.port_taken(self.port) or
                          self.check_host(world, status, err))
        except Complaint as complaint:
            complaints = [str(complaint)]
        complaints = complaints or super().check(world, status, out, err) or self.check_as_before(world)
        if complaints:
            world.host.renew()
        return complaints

    def check_end(self, status, out):
        # Without one of its processes a pod may have no network.
        if status == 0 and not self.struck and "connect %s: from the host\n" % ADDRESS not in out:
            return ["the pod did not reach the host"]
        return []

    @staticmethod
    def may_leave(status, err):
        return status == -signal.SIGKILL or STAYS in err

    def check_host(self, world, status, err):
        complaints = self.check_neighbour(world)
        if not self.may_leave(status, err):
            complaints += self.check_as_before(world)
        if self.cleaner == "run":
            complaints += self.new_pod(world)
        else:
            world.age_embryos()
            world.must("gc", "--grace-period=0s")
        complaints = complaints or self.check_as_before(world) or self.new_pod(world)
        return complaints or self.check_as_before(world) or self.check_neighbour(world)

    def check_neighbour(self, world):
        if self.has_neighbour and not world.host.neighbour_answers():
            return ["the neighbour does not answer"]
        return []

    def check_as_before(self, world):
        return difference(world.host.state(), self.at_first)

    @staticmethod
    def until_listening(process, out):
        """Who asks earlier is asked to wait for a second. Or it has ended."""
        def said():
            with open(out.name) as again:
                return process.poll() is not None or "listening\n" in again.read()
        until("the pod listens", said, LIMIT)

    def new_pod(self, world):
        """Another such pod has addresses and is reached at its port."""
        with open(world.path("pod.out"), "w+") as out, open(world.path("pod.err"), "w+") as err:
            process = world.start(*self.pod_words(world, "interface", "eth0", "interface6", "eth0", "serve", "80"),
                                  stdout=out, stderr=err)
            self.until_listening(process, out)
            answer = hear(self.port)
            if not answer:
                # It would wait for another client.
                process.kill()
            status = process.wait(LIMIT)
            out.seek(0)
            err.seek(0)
            text, errors = out.read(), err.read()
        wanted = ("interface eth0: address ", "interface6 eth0: address ", "serve 80: ok")
        if status != 0 or errors or answer != "from the pod" or not all(any(line.startswith(word) for line in text.splitlines())
                                            for word in wanted):
            return ["another pod: status %s %r %r" % (status, text, errors)]
        return []


class KilledPod(NetworkScenario):
    """gc where a pod was killed."""

    def prepare(self, world):
        super().prepare(world)
        with open(world.path("pod.out"), "w+") as out:
            process = world.start(*self.pod_words(world, "serve", "80"), stdout=out)
            self.until_listening(process, out)
        process.kill()
        process.wait()
        for complaint in world.left():
            raise RuntimeError(complaint)

    def arguments(self, world):
        return ["gc", "--grace-period=0s"]

    def check_end(self, status, out):
        return []

    @staticmethod
    def may_leave(status, err):
        return status != 0


NETWORK_SCENARIOS = (
    NetworkScenario("run with passt", "default"),
    NetworkScenario("run on a bridge, then gc", "tap"),
    NetworkScenario("run on a bridge, then another", "tap", cleaner="run"),
    NetworkScenario("run beside another on a bridge", "tap", has_neighbour=True, cleaner="run"),
    NetworkScenario("run on the host's own bridge", "tap:bridge=" + OWN_BRIDGE, own_bridge=True),
    KilledPod("gc of a killed pod's bridge", "tap"),
    KilledPod("gc beside another on a bridge", "tap", has_neighbour=True),
)
