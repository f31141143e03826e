"""Two nodes over real WireGuard, a real relay and a real (small) internet."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.net.paths.node import mesh_address

from gatepost.testing.nat_stream import Flow, start_stream
from gatepost.testing.netns import Machine, Machines, machines, patient
from gatepost.testing.topology import Nat, Topology, build

pytestmark = [pytest.mark.root, pytest.mark.timeout(patient(120))]
FOLDER = Path(__file__).parent / "paths"
PORT = 41641
PONG = 8 + 110  # octets of UDP header and packet
LOSS = 0.01  # of a stream's packets at one change of path; none are lost on an idle machine


class Node:
    """A node process and the line to it."""

    def __init__(self, machine: Machine, number: int, folder: Path) -> None:
        self.machine = machine
        self.number = number
        self._path = folder / f"node{number}"
        self._log = folder / f"node{number}.log"
        self.start()

    def start(self) -> None:
        self._path.unlink(missing_ok=True)
        with self._log.open("a") as log:
            self.process = self.machine.start(
                sys.executable, str(FOLDER / "node.py"), str(self._path), str(self.number),
                output=log, environment={"PYTHONPATH": str(Path.cwd())},
            )  # fmt: skip
        until(self._path.is_socket)

    def kill(self) -> None:
        """End it like `kill -9`; WireGuard stays."""
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self._path))
            line.sendall(b'{"do": "die"}\n')
        self.process.wait(timeout=patient(10))

    def ask(self, do: str, peer: int = 0, **more: object) -> Any:  # JSON
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(patient(10))
            line.connect(str(self._path))
            line.sendall(json.dumps({"do": do, "peer": peer, **more}).encode() + b"\n")
            return json.loads(line.makefile().readline())

    def kind(self, peer: int) -> str:
        return str(self.ask("paths", peer)[0])

    def pings(self, peer: int, wait: float = 1.0) -> bool:
        """Send one echo request through the tunnel; `wait` is in seconds."""
        target = str(mesh_address(peer))
        return not self.machine.attempt("ping", "-c1", f"-W{patient(wait)}", target).returncode


def until(condition: Callable[[], object], seconds: float = 15.0) -> float:
    """Wait until it is true and return how long that took; fail when it takes too long."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < patient(seconds), "waited too long"
        time.sleep(0.02)
    return time.monotonic() - start


def every(interval: float, seconds: float) -> Iterator[None]:
    """Go on for `seconds`, once each `interval`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(interval)


@pytest.fixture
def owner() -> Iterator[Machines]:
    with machines() as owned:
        yield owned


@pytest.fixture
def internet(owner: Machines, tmp_path: Path) -> Topology:
    made = build(owner, {"one": Nat.NONE, "two": Nat.NONE})
    made.internet.start(
        sys.executable, str(FOLDER / "relay.py"), str(tmp_path),
        environment={"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    until((tmp_path / "pin").exists)
    return made


@pytest.fixture
def nodes(internet: Topology, tmp_path: Path) -> tuple[Node, Node]:
    first, second = (Node(s.box, n, tmp_path) for n, s in enumerate(internet.sites, start=1))
    return first, second


def introduce(
    nodes: tuple[Node, Node], tmp_path: Path, version: str = "", *, stale: int = 0
) -> None:
    """Give each node the other, as the coordination server does; only IPv6 if "6".

    The node of the number `stale` gets an old discovery key of the other one.
    """
    pin = (tmp_path / "pin").read_text()
    told = {
        n.number: [e for e in n.ask("endpoints") if not version or ("[" in e) == (version == "6")]
        for n in nodes
    }
    for node in nodes:
        peers = {str(n): e for n, e in told.items() if n != node.number}
        node.ask("peers", peers=peers, pin=pin, stale=node.number == stale)


def test_a_direct_path_is_found_within_a_second(nodes: tuple[Node, Node], tmp_path: Path) -> None:
    one, two = nodes
    introduce(nodes, tmp_path)
    start = time.monotonic()
    answered = one.pings(2)
    until(lambda: one.kind(2) == "direct" and "127." not in one.ask("device", 2))
    took = time.monotonic() - start

    assert answered
    assert took < patient(1.0)
    assert until(lambda: two.kind(1) == "direct", 1.0) < patient(1.0)
    assert one.ask("ping", 2)[1] == "direct"


@pytest.mark.parametrize("version", ["4", "6"])
def test_what_a_path_carries_is_measured(
    nodes: tuple[Node, Node], internet: Topology, tmp_path: Path, version: str
) -> None:
    one, two = nodes
    internet.internet.ip("link set site-2 mtu 1400")
    for site in internet.sites:  # one version only, or the path may move to the other
        site.box.run("ip", f"-{10 - int(version)}", "route", "delete", "default")
    introduce(nodes, tmp_path, version)
    until(lambda: one.pings(2) and one.kind(2) == two.kind(1) == "direct")

    until(lambda: (one.ask("mtu", 2), two.ask("mtu", 1)) == (1400, 1400))


def test_a_node_answers_inside_the_tunnel(nodes: tuple[Node, Node], tmp_path: Path) -> None:
    one = nodes[0]
    introduce(nodes, tmp_path)

    assert until(lambda: one.pings(2))
    latency = one.ask("tsmp", 2)
    assert latency
    assert latency < patient(1.0)
    assert one.ask("tsmp", 3) is None


def test_a_peer_that_started_again_tells_its_discovery_key_through_the_tunnel(
    nodes: tuple[Node, Node], tmp_path: Path
) -> None:
    one, two = nodes
    introduce(nodes, tmp_path, stale=2)

    until(lambda: one.pings(2))
    until(lambda: one.pings(2) and one.kind(2) == two.kind(1) == "direct")


def test_derp_carries_where_udp_is_blocked_then_direct_then_derp_again(
    nodes: tuple[Node, Node], internet: Topology, tmp_path: Path
) -> None:
    one, two = nodes
    internet.block_udp()
    introduce(nodes, tmp_path)

    until(lambda: one.pings(2))
    assert (one.kind(2), two.kind(1)) == ("derp", "derp")
    assert all(one.pings(2) for _ in range(3))
    assert one.ask("ping", 2)[1] == "derp"

    internet.allow_udp()
    until(lambda: one.pings(2) and one.kind(2) == "direct")
    internet.block_udp()
    assert until(lambda: one.pings(2), 12.0) < patient(10.0)

    until(lambda: one.kind(2) == "derp")
    internet.allow_udp()
    until(lambda: one.pings(2) and one.kind(2) == "direct" and two.kind(1) == "direct")
    assert one.pings(2)


def test_a_peer_whose_daemon_is_killed_keeps_its_traffic(
    nodes: tuple[Node, Node], tmp_path: Path
) -> None:
    one, two = nodes
    introduce(nodes, tmp_path)
    until(lambda: one.pings(2) and one.kind(2) == "direct" and two.kind(1) == "direct")
    two.kill()
    answered = [one.pings(2) for _ in every(0.5, 12.0)]

    assert all(answered)
    two.start()
    introduce(nodes, tmp_path)
    assert not two.ask("device", 1).startswith("127.")
    assert until(lambda: two.kind(1) == "direct") < patient(1.0)
    assert two.pings(1)


def test_no_change_of_path_costs_a_stream_its_packets(
    nodes: tuple[Node, Node], internet: Topology, tmp_path: Path
) -> None:
    """Without its pongs a path is given up, and carries all the time: every loss is ours."""
    one, two = nodes

    def deafen() -> None:
        for node in nodes:
            node.machine.nft(
                "table inet deaf { chain c { type filter hook prerouting priority -400;"
                f" udp length {PONG} drop; }}; }}"
            )

    def heal() -> None:
        for node in nodes:
            node.machine.run("nft", "delete", "table", "inet", "deaf")

    def change(event: Callable[[], object], path: str) -> Flow:
        """Let a stream run from before the event until both have used the new path for a while."""
        stream = start_stream(one.machine, str(mesh_address(2)), patient(60))
        time.sleep(0.5)
        event()
        until(lambda: one.kind(2) == two.kind(1) == path, 30.0)
        time.sleep(3.0)
        return stream.end()

    internet.block_udp()
    introduce(nodes, tmp_path)
    until(lambda: one.pings(2))
    flows = [
        change(internet.allow_udp, "direct"),
        change(deafen, "derp"),
        change(heal, "direct"),
    ]

    assert all(flow.sent > 100 for flow in flows)
    assert max(flow.loss for flow in flows) < LOSS


@pytest.mark.parametrize("version", ["4", "6"])
def test_packets_by_derp_do_not_move_a_direct_path(
    nodes: tuple[Node, Node], tmp_path: Path, version: str
) -> None:
    """Node two never hears a pong, so its packets come by DERP; node one trusts the address."""
    one, two = nodes
    two.machine.nft(
        f"table inet deaf {{ chain c {{ type filter hook prerouting priority -400;"
        f" udp length {PONG} drop; meta nfproto ipv{'4' if version == '6' else '6'}"
        f" udp dport {PORT} drop; }}; }}"
    )
    introduce(nodes, tmp_path, version)
    until(lambda: two.pings(1) and one.kind(2) == "direct")
    address = str(one.ask("paths", 2)[1])
    until(lambda: one.ask("device", 2) == address)
    before = one.ask("injected")
    seen = [(two.pings(1), one.ask("device", 2)) for _ in every(0.3, 12.0)]

    assert ("[" in address) == (version == "6")
    assert set(seen) == {(True, address)}
    assert one.ask("injected") >= before + 2
    assert two.kind(1) == "derp"
