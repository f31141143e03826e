"""From `gatepost up` on a box that was never in a mesh to the first answered ping of a peer."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time

from tests.bench.figures import Figure, finish

from gatepost.model.status import UpRequest
from gatepost.testing.lab_boxes import PROGRAMS, Box
from gatepost.testing.lab_mesh import Lab, ground, start
from gatepost.testing.netns import LabError
from gatepost.testing.topology import Nat

RUNS = 10
LIMIT = 1.0  # seconds, median
PATIENCE = 20.0  # seconds


def main() -> int:
    with ground({"a": Nat.NONE, "b": Nat.PORT_RESTRICTED}) as lab:
        start(lab)
        target = _join_first(lab)
        times = [_measure(lab, lab.boxes["b"], target) for _ in range(RUNS)]
    return finish(
        [
            Figure(
                name="`gatepost up` to the first answered ping, median",
                value=statistics.median(times),
                unit="s",
                limit=LIMIT,
            ),
            Figure(name="the same, best", value=min(times), unit="s"),
            Figure(name="the same, worst", value=max(times), unit="s"),
        ]
    )


def _join_first(lab: Lab) -> str:
    """Let box a join, and return its IPv4 address in the mesh."""
    box = lab.boxes["a"]
    request = UpRequest(login_server=lab.coordination.url, auth_key=lab.key(), hostname=box.name)
    box.client.up(request)
    status = box.await_status(lambda s: s.state == "Running" and s.node is not None, "login")
    return next(a for a in (status.node.addresses if status.node else ()) if ":" not in a)


def _measure(lab: Lab, box: Box, target: str) -> float:
    """Join as a new box, which is forgotten again after that; return the seconds it took."""
    key = lab.key(reusable=False)
    ping = box.site.box.start("ping", "-n", "-i", "0.01", target, output=subprocess.PIPE)
    began = time.monotonic()
    up = box.site.box.start(
        str(PROGRAMS / "gatepost"),
        *("--socket", str(box.socket), "up", "--hostname", box.name),
        *("--login-server", lab.coordination.url, "--auth-key", key),
        output=subprocess.PIPE,
    )
    took = _first_answer(ping, target) - began
    output = up.communicate(timeout=PATIENCE)[0]
    if up.returncode:
        raise LabError(f"gatepost up ended with {up.returncode}: {output}")
    box.site.box.run("pkill", "-x", "ping")
    _forget(lab, box)
    return took


def _first_answer(ping: subprocess.Popen[str], target: str) -> float:
    assert ping.stdout is not None
    deadline = time.monotonic() + PATIENCE
    for line in ping.stdout:
        if f"from {target}:" in line and "time=" in line:
            return time.monotonic()
        if time.monotonic() > deadline:
            break
    raise LabError(f"no answer from {target} within {PATIENCE} s")


def _forget(lab: Lab, box: Box) -> None:
    """Make the box new again: no state, nothing in the kernel, unknown to the server."""
    box.client.logout()
    box.daemon.signal("TERM")
    for program in box.site.box.processes("wireguard-go"):
        box.site.box.run("kill", str(program))
    box.site.box.attempt("ip", "link", "delete", "gatepost0")
    box.site.box.run("nft", "flush", "ruleset")
    shutil.rmtree(box.directory / "state")
    (box.directory / "settings.toml").unlink(missing_ok=True)
    for node in lab.coordination.client.nodes():
        if node.name.startswith(box.name):
            lab.coordination.client.delete_node(str(node.id))
    box.daemon.start()
    box.await_answer()


if __name__ == "__main__":
    sys.exit(main())
