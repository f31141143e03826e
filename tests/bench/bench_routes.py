"""10,000 networks of other sites on one box: until the kernel has them, one change, and memory.

A change lasts from the administrator's request to the kernel's own report of the route, by
`ip monitor` in the box's namespace; WireGuard has the prefix before the route is written.
"""

from __future__ import annotations

import os
import re
import selectors
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from tests.bench.figures import Figure, finish

from gatepost.model import owned
from gatepost.model.admin import NodeRequest
from gatepost.model.policy import PolicyRequest
from gatepost.model.status import UpRequest
from gatepost.testing.lab_boxes import Box
from gatepost.testing.lab_mesh import USER, Lab, ground, start
from gatepost.testing.netns import LabError
from gatepost.testing.topology import Nat

ROUTERS, EACH = 10, 1000
ROUTES = ROUTERS * EACH
PROGRAMMED = 3.0  # seconds, at most
CHANGE = 0.2  # seconds, at most
CHANGES = 5  # of each kind
SETTLED = 2.0  # seconds between two changes, which are no burst
PATIENCE = 60.0  # seconds for one change, however busy the machine is
MEMORY = 150.0  # MiB, at most
JOIN_TIMEOUT = 120.0  # seconds
EXTRA = "172.31.7.0/24"  # which waits for approval
POLICY = f"""{{
  "grants": [{{"src": ["*"], "dst": ["*"], "ip": ["*"]}}],
  "autoApprovers": {{"routes": {{"10.0.0.0/8": ["{USER}@"]}}}},
}}"""


def main() -> int:
    with ground({"a": Nat.NONE, "b": Nat.NONE}) as lab:
        start(lab)
        lab.coordination.client.set_policy(PolicyRequest(text=POLICY))
        giver, box = lab.boxes["a"], lab.boxes["b"]
        _join(lab, giver, advertise_routes=(EXTRA,))
        _join(lab, box, accept_routes=False)
        lab.coordination.site.box.run(
            *(sys.executable, str(Path(__file__).with_name("simulated_nodes.py"))),
            *(lab.coordination.url, lab.key(), str(ROUTERS), str(EACH)),
            timeout=JOIN_TIMEOUT,
        )
        box.await_status(
            lambda s: sum(len(p.routes) for p in s.peers) >= ROUTES, "all networks", JOIN_TIMEOUT
        )
        time.sleep(3)
        began = time.monotonic()
        box.client.change_settings(UpRequest(accept_routes=True))
        _await_routes(box, ROUTES)
        programmed = time.monotonic() - began
        time.sleep(3)
        with _Kernel(box) as kernel:
            used = _processor(box)
            changes = [
                _change(lab, giver, kernel, is_wanted=turn % 2 == 0) for turn in range(2 * CHANGES)
            ]
            used = (_processor(box) - used) / len(changes)
        memory = _memory(box)
    more, less = changes[::2], changes[1::2]
    return finish(
        [
            Figure(name=f"{ROUTES} routes in force", value=programmed, unit="s", limit=PROGRAMMED),
            Figure(name="one network more, worst of 5", value=max(more), unit="s", limit=CHANGE),
            Figure(name="one network less, worst of 5", value=max(less), unit="s", limit=CHANGE),
            Figure(name="one change, median", value=statistics.median(changes), unit="s"),
            Figure(name="processor time of the daemon for each", value=used, unit="s"),
            Figure(name="daemon, most memory ever", value=memory, unit="MiB", limit=MEMORY),
        ]
    )


def _join(lab: Lab, box: Box, **more: object) -> None:
    values = {"login_server": lab.coordination.url, "auth_key": lab.key(), "hostname": box.name}
    box.client.up(UpRequest(**(values | more)))  # type: ignore[arg-type]  # fields of a request
    box.await_status(lambda status: status.state == "Running", "login")


def _count(box: Box, *what: str) -> int:
    shown = box.site.box.run("ip", "route", "show", "table", str(owned.ROUTE_TABLE), *what)
    return shown.count("\n")


def _await_routes(box: Box, count: int, *what: str, limit: float = 60.0) -> None:
    end = time.monotonic() + limit
    while _count(box, *what) < count:
        if time.monotonic() > end:
            raise LabError(f"{_count(box, *what)} of {count} routes after {limit:g} s")


class _Kernel:
    """Hears from a box's kernel which routes come and go."""

    def __init__(self, box: Box) -> None:
        self._box = box

    def __enter__(self) -> Self:
        monitor = ("ip", "-oneline", "monitor", "route")
        self._process = self._box.site.box.start(*monitor, output=subprocess.PIPE)
        assert self._process.stdout is not None
        self._lines = selectors.DefaultSelector()
        os.set_blocking(self._process.stdout.fileno(), False)
        self._lines.register(self._process.stdout, selectors.EVENT_READ)
        time.sleep(SETTLED)
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._process.terminate()
        self._process.wait(timeout=PATIENCE)

    def await_line(self, begin: str) -> None:
        end, text = time.monotonic() + PATIENCE, ""
        output = self._process.stdout
        assert output is not None
        while not any(line.startswith(begin) for line in text.splitlines()):
            if time.monotonic() > end:
                raise LabError(f"the kernel did not report {begin!r} within {PATIENCE:g} s")
            if self._lines.select(1.0):
                text += os.read(output.fileno(), 1 << 16).decode()


def _change(lab: Lab, giver: Box, kernel: _Kernel, *, is_wanted: bool) -> float:
    """Approve one more network, or one less; return the seconds until the box's kernel did."""
    time.sleep(SETTLED)
    began = time.monotonic()
    request = (
        NodeRequest(approve_routes=(EXTRA,))
        if is_wanted
        else NodeRequest(unapprove_routes=(EXTRA,))
    )
    lab.coordination.client.change_node(giver.name, request)
    kernel.await_line(EXTRA if is_wanted else f"Deleted {EXTRA}")
    return time.monotonic() - began


def _processor(box: Box) -> float:
    """Return the seconds of processor time that the daemon has used."""
    text = box.site.box.run("cat", f"/proc/{box.daemon.process_id}/stat")
    user, system = text.rpartition(") ")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _memory(box: Box) -> float:
    """Return the most memory that the daemon ever had, in MiB."""
    text = box.site.box.run("cat", f"/proc/{box.daemon.process_id}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert found is not None, text
    return int(found[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
