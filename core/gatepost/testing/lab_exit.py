"""Who went out by which way: somebody who talks without pause, and who listens on the wire.

A `Wire` watches one uplink from the internet's side and keeps whatever is sent from there to
the talker's targets in the clear: each such packet has left the normal way. It proves itself by
counting what else it saw.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from gatepost.testing.lab_mesh import Lab
from gatepost.testing.netns import LabError, Machine, patient
from gatepost.testing.topology import INTERNET_V4, INTERNET_V6, Site

PORT = 9999
DNS_PORT = 53
PAUSE = 0.002  # seconds between two packets to the same place

# Counts the packets that come in by destination and port, and prints the numbers at the end: when
# a frame says so.
_WATCH = """
import collections, socket, struct, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind((sys.argv[1], 0))
wire.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
print("up", flush=True)
seen = collections.Counter()
while True:
    packet, where = wire.recvfrom(2048)
    ether, = struct.unpack("!H", packet[12:14])
    if where[2] == 4:  # goes out to the site
        continue
    if ether == 0x0800:
        size = (packet[14] & 15) * 4
        target, protocol, rest = socket.inet_ntoa(packet[30:34]), packet[23], packet[14 + size:]
    elif ether == 0x86DD:
        target, protocol, rest = socket.inet_ntop(10, packet[38:54]), packet[20], packet[54:]
    else:
        if ether == 0x88B5:  # for experiments: the end
            break
        continue
    port = struct.unpack("!H", rest[2:4])[0] if protocol in (6, 17) and len(rest) > 3 else 0
    seen[f"{target} {port}"] += 1
lost = struct.unpack("II", wire.getsockopt(263, 6, 8))[1]  # PACKET_STATISTICS
for where, number in seen.items():
    print(where, number)
print("lost", 0, lost)
"""
# A frame that says the end, sent from the site's side.
_SAY_END = """
import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind((sys.argv[1], 0x88B5))
wire.send(b"\\xff" * 6 + b"\\x02" + bytes(5) + b"\\x88\\xb5" + bytes(46))
"""
# Sends UDP to a port of both addresses, and questions to name servers, whatever the kernel says.
_TALK = """
import socket, sys, time
pause, places = float(sys.argv[1]), [p.rsplit("#", 1) for p in sys.argv[2:]]
sockets = {f: socket.socket(f, socket.SOCK_DGRAM) for f in (socket.AF_INET, socket.AF_INET6)}
while True:
    for host, port in places:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            sockets[family].sendto(b"?", (host, int(port)))
        except OSError:
            pass
    time.sleep(pause)
"""
# Counts packets by where they came from, until one says "end".
_HEAR = """
import collections, socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)
s.bind(("::", 9999)); print("up", flush=True)
seen = collections.Counter()
while True:
    packet, source = s.recvfrom(99)
    if packet == b"end":
        break
    seen[source[0].removeprefix("::ffff:")] += 1
for source, number in seen.items():
    print(source, number)
"""


@dataclass(frozen=True, slots=True)
class Talker:
    """Somebody who talks until `hush`."""

    machine: Machine
    process: subprocess.Popen[str]

    def hush(self) -> None:
        # What was started is nsenter; the talker itself is its child, in the machine.
        self.machine.run("pkill", "-KILL", "-f", f"{INTERNET_V4}#{PORT}")
        self.process.wait(timeout=20)


def talk(machine: Machine, *more: str) -> Talker:
    """Send to the internet's both addresses without an end, and to `more` ("address#port").

    One talker at a time in a machine. On an emulated one it talks far less: it would keep
    everybody else from the processors.
    """
    pause = PAUSE * patient(1.0) ** 2
    places = (f"{INTERNET_V4}#{PORT}", f"{INTERNET_V6}#{PORT}", *more)
    return Talker(machine, machine.start("/usr/bin/python3", "-c", _TALK, str(pause), *places))


@dataclass(frozen=True, slots=True)
class Wire:
    """A watch of one uplink; `finish` ends it."""

    machine: Machine
    link: str
    process: subprocess.Popen[str]

    def finish(self) -> dict[tuple[str, int], int]:
        """Return how many packets went to each address and port; raise LabError if any was lost."""
        farther = self.machine.command("/usr/bin/python3", "-c", _SAY_END, self.link)
        subprocess.run(farther, check=True, timeout=20)
        text = self.process.communicate(timeout=20)[0]
        words = [line.split() for line in text.splitlines()]
        seen = {(host, int(port)): int(number) for host, port, number in words}
        if seen.pop(("lost", 0)):
            raise LabError(f"{self.link}: packets were not seen")
        return seen


def watch_uplink(lab: Lab, site: Site) -> Wire:
    """Watch what a box sends to its router, or to the internet."""
    if site.router is not None:
        return _watch(site.router, "inside0", site.box, "wan0")
    return _watch(lab.topology.internet, f"site-{site.number}", site.box, "wan0")


def watch_lan(site: Site) -> Wire:
    """Watch what a box sends to its LAN."""
    return _watch(site.host, "eth0", site.box, "lan0")


def _watch(near: Machine, link: str, box: Machine, box_link: str) -> Wire:
    words = ("/usr/bin/python3", "-c", _WATCH, link)
    return Wire(box, box_link, _started(near, words))


@dataclass(frozen=True, slots=True)
class Ear:
    """Somebody in the internet who hears the talker; `finish` ends it."""

    internet: Machine
    process: subprocess.Popen[str]

    def finish(self) -> dict[str, int]:
        """Return how many packets came from each address."""
        self.internet.run("bash", "-c", f"printf end > /dev/udp/{INTERNET_V4}/{PORT}")
        text = self.process.communicate(timeout=20)[0]
        return {source: int(number) for source, number in map(str.split, text.splitlines())}


def hear(internet: Machine) -> Ear:
    return Ear(internet, _started(internet, ("/usr/bin/python3", "-c", _HEAR)))


def in_the_clear(seen: dict[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    """Return what went to the talker's targets, or was a question for a name, of a watch."""
    targets = {str(INTERNET_V4), str(INTERNET_V6)}
    return {w: n for w, n in seen.items() if (w[0] in targets and w[1] == PORT) or w[1] == DNS_PORT}


def _started(machine: Machine, words: tuple[str, ...]) -> subprocess.Popen[str]:
    process = machine.start(*words, output=subprocess.PIPE)
    if not process.stdout or process.stdout.readline() != "up\n":
        raise LabError(f"{machine.name}: what should listen does not start")
    return process
