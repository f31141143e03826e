"""What a node daemon costs with a thousand peers in its netmap: memory, and work.

The work is measured while all are silent, and while this box talks with 50 of them, whose
path discovery answers. WireGuard carries what they say without the daemon.
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

from tests.bench.answering_peers import NAME
from tests.bench.figures import Figure, finish

from gatepost.model.status import UpRequest
from gatepost.testing.lab_boxes import Box
from gatepost.testing.lab_mesh import Lab, ground, start
from gatepost.testing.topology import Nat

PEERS = 1000
ACTIVE = 50  # of them
MEMORY = 80.0  # MiB, at most
IDLE = 0.5  # percent of a core, at most
SETTLE = 15.0  # seconds between the last peer's arrival and the first look
IDLE_TIME = 30.0  # seconds
BUSY_TIME = 20.0  # seconds
TALK = """
import itertools, socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    for address in itertools.cycle(sys.argv[1:]):
        s.sendto(b"hello", (address, 9))
        time.sleep(0.02)
"""
JOIN_TIMEOUT = 300.0  # seconds for all simulated peers


def main() -> int:
    with ground({"a": Nat.NONE, "b": Nat.NONE}) as lab:
        start(lab)
        box = _join(lab)
        empty = _memory(box, "VmRSS")
        _fill(lab)
        box.await_status(lambda s: len(s.peers) >= PEERS, f"{PEERS} peers", 60)
        time.sleep(SETTLE)
        before = _processor(box)
        time.sleep(IDLE_TIME)
        idle = (_processor(box) - before) / IDLE_TIME * 100
        busy = _busy(box)
        full, peak = _memory(box, "VmRSS"), _memory(box, "VmHWM")
    return finish(
        [
            Figure(name=f"daemon with {PEERS} peers", value=full, unit="MiB", limit=MEMORY),
            Figure(name=f"idle work with {PEERS} peers", value=idle, unit="%", limit=IDLE),
            Figure(name=f"work while {ACTIVE} of {PEERS} peers are active", value=busy, unit="%"),
            Figure(name="daemon with no peer", value=empty, unit="MiB"),
            Figure(name="daemon, most memory ever", value=peak, unit="MiB"),
        ]
    )


def _fill(lab: Lab) -> None:
    """Let all peers join: those that are never heard of, and those that answer."""
    machine, here = lab.coordination.site.box, Path(__file__).parent
    silent = (sys.executable, str(here / "simulated_nodes.py"))
    where = (lab.coordination.url, lab.key())
    machine.run(*silent, *where, str(PEERS - ACTIVE), timeout=JOIN_TIMEOUT)
    address = str(lab.coordination.site.public_v4)
    answering = (sys.executable, str(here / "answering_peers.py"))
    machine.start(*answering, *where, str(ACTIVE), address)


def _busy(box: Box) -> float:
    """Talk with the peers that answer; return the work in percent of a core."""
    peers = [p for p in box.client.status().peers if p.name.startswith(NAME)]
    addresses = [next(a for a in p.addresses if ":" not in a) for p in peers]
    box.site.box.start(sys.executable, "-c", TALK, *addresses)
    box.await_status(
        lambda s: sum(p.path == "direct" for p in s.peers) >= ACTIVE, f"{ACTIVE} direct paths", 60
    )
    time.sleep(SETTLE)
    before = _processor(box)
    time.sleep(BUSY_TIME)
    return (_processor(box) - before) / BUSY_TIME * 100


def _join(lab: Lab) -> Box:
    box = lab.boxes["b"]
    request = UpRequest(login_server=lab.coordination.url, auth_key=lab.key(), hostname=box.name)
    box.client.up(request)
    box.await_status(lambda status: status.state == "Running", "login")
    return box


def _memory(box: Box, name: str) -> float:
    """Return a line of /proc/PID/status in MiB."""
    text = box.site.box.run("cat", f"/proc/{box.daemon.process_id}/status")
    found = re.search(rf"{name}:\s+(\d+) kB", text)
    assert found is not None, text
    return int(found[1]) / 1024


def _processor(box: Box) -> float:
    """Return the seconds of processor time that the daemon has used."""
    text = box.site.box.run("cat", f"/proc/{box.daemon.process_id}/stat")
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
