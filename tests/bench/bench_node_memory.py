"""What a node daemon costs with a thousand peers in its netmap: memory, and work while idle."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

from tests.bench.figures import Figure, finish

from gatepost.model.status import UpRequest
from gatepost.testing.lab_boxes import Box
from gatepost.testing.lab_mesh import Lab, ground, start
from gatepost.testing.topology import Nat

PEERS = 1000
MEMORY = 80.0  # MiB, at most
IDLE = 0.5  # percent of a core, at most
SETTLE = 15.0  # seconds between the last peer's arrival and the first look
IDLE_TIME = 30.0  # seconds
JOIN_TIMEOUT = 300.0  # seconds for all simulated peers


def main() -> int:
    with ground({"a": Nat.NONE, "b": Nat.NONE}) as lab:
        start(lab)
        box = _join(lab)
        empty = _memory(box, "VmRSS")
        lab.coordination.site.box.run(
            *(sys.executable, str(Path(__file__).with_name("simulated_nodes.py"))),
            *(lab.coordination.url, lab.key(), str(PEERS)),
            timeout=JOIN_TIMEOUT,
        )
        box.await_status(lambda s: len(s.peers) >= PEERS, f"{PEERS} peers", 60)
        time.sleep(SETTLE)
        before = _processor(box)
        time.sleep(IDLE_TIME)
        idle = (_processor(box) - before) / IDLE_TIME * 100
        full, peak = _memory(box, "VmRSS"), _memory(box, "VmHWM")
    return finish(
        [
            Figure(name=f"daemon with {PEERS} peers", value=full, unit="MiB", limit=MEMORY),
            Figure(name=f"idle work with {PEERS} peers", value=idle, unit="%", limit=IDLE),
            Figure(name="daemon with no peer", value=empty, unit="MiB"),
            Figure(name="daemon, most memory ever", value=peak, unit="MiB"),
        ]
    )


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
