"""10,000 networks of other sites on one box: until the kernel has them, one change, and memory."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

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
        changes = [_change(lab, giver, box) for _ in range(5)]
        memory = _memory(box)
    return finish(
        [
            Figure(name=f"{ROUTES} routes in force", value=programmed, unit="s", limit=PROGRAMMED),
            Figure(name="one change, worst of 5", value=max(changes), unit="s", limit=CHANGE),
            Figure(name="one change, best of 5", value=min(changes), unit="s"),
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


def _change(lab: Lab, giver: Box, box: Box) -> float:
    """Approve one more network; return the seconds until the kernel of the box has it."""
    began = time.monotonic()
    lab.coordination.client.change_node(giver.name, NodeRequest(approve_routes=(EXTRA,)))
    _await_routes(box, 1, EXTRA)
    took = time.monotonic() - began
    lab.coordination.client.change_node(giver.name, NodeRequest(unapprove_routes=(EXTRA,)))
    while _count(box, EXTRA):
        pass
    return took


def _memory(box: Box) -> float:
    """Return the most memory that the daemon ever had, in MiB."""
    text = box.site.box.run("cat", f"/proc/{box.daemon.process_id}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert found is not None, text
    return int(found[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
