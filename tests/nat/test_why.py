"""`gatepost why` names what was done to real boxes, and nothing else that matters."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from gatepost.model.policy import PolicyRequest
from gatepost.model.status import WhyDocument
from gatepost.testing.lab_boxes import PROGRAMS, Box, wait_for
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.nat import Nat
from gatepost.testing.nat_lab import HUB, cut_direct, nat_lab, restore
from gatepost.testing.netns import patient

pytestmark = [pytest.mark.root, pytest.mark.mesh, pytest.mark.timeout(300)]

NATS = {
    "easy": Nat.PORT_RESTRICTED,
    "plain": Nat.ENDPOINT_INDEPENDENT,
    "hard": Nat.SYMMETRIC,
    "harder": Nat.SYMMETRIC,
    "hotel": Nat.UDP_BLOCKED,
}
TRIED = 4.0  # seconds that a box tries to reach another
LEARNT = 25.0  # seconds until what one box found out is known to the other
TINY = 1200  # octets; the tunnel's packets have 1340
ONE_WAY = """\
{
	"grants": [{"src": ["100.64.0.0/10"], "dst": ["DESTINATION"], "ip": ["*"]}],
}
"""
OPEN = '{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}'


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with nat_lab(NATS) as running:
        yield running


def why(lab: Lab, one: str, other: str, *, seconds: float = TRIED) -> WhyDocument:
    return lab.boxes[one].client.why(lab.boxes[other].name, patient(seconds))


def await_finding(lab: Lab, one: str, other: str, code: str) -> WhyDocument:
    """Ask until the finding is there: some facts come by the coordination server."""
    last: list[WhyDocument] = []

    def look() -> WhyDocument | None:
        answer = why(lab, one, other, seconds=1.0)
        last[:] = [answer]
        return answer if code in codes(answer) else None

    return wait_for(look, seconds=LEARNT, otherwise=lambda: f"not {code}: {last}")


def gatepost(lab: Lab, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a box."""
    box = lab.boxes[name]
    command = (str(PROGRAMS / "gatepost"), "--socket", str(box.socket))
    return box.site.box.attempt(*command, *words, timeout=60)


def codes(answer: WhyDocument) -> set[str]:
    return {finding.code for finding in answer.findings}


def address(box: Box) -> str:
    node = box.client.status(peers=False).node
    assert node is not None
    return node.addresses[0]


def test_a_direct_path_has_nothing_to_fix(lab: Lab) -> None:
    answer = why(lab, "plain", "easy")

    assert (answer.path, codes(answer)) == ("direct", set())
    assert answer.changes[-1].after == answer.via


def test_ping_shows_each_try_until_the_path_is_direct(lab: Lab) -> None:
    said = gatepost(lab, "hub", "ping", lab.boxes["easy"].name)
    lines = said.stdout.splitlines()

    assert said.returncode == 0, said.stdout + said.stderr
    assert "via DERP(gatepost) in" in lines[0]
    assert f"via {lab.topology.site('easy').public_v4}:" in lines[-1]
    assert all("DERP" in line for line in lines[:-1])


@pytest.mark.parametrize(
    "flags", [("--tsmp",), ("--icmp",), ("--icmp", "--size", "1200"), ("--size", "1300")]
)
def test_every_kind_of_ping_is_answered(lab: Lab, flags: tuple[str, ...]) -> None:
    name = lab.boxes["easy"].name
    said = gatepost(lab, "plain", "ping", "-c", "3", "--until-direct=false", *flags, name)

    assert said.returncode == 0, said.stdout + said.stderr
    assert len([line for line in said.stdout.splitlines() if line.startswith("pong from")]) == 3


def test_status_shows_the_path_of_each_peer(lab: Lab) -> None:
    why(lab, "plain", "easy")
    why(lab, "plain", "hotel", seconds=1.0)
    lines = gatepost(lab, "plain", "status").stdout.splitlines()
    path = {line.split()[1]: line for line in lines[1:]}

    assert f"direct {lab.topology.site('easy').public_v4}:" in path[lab.boxes["easy"].name]
    assert "derp gatepost" in path[lab.boxes["hotel"].name]
    assert "idle" in path[lab.boxes["hard"].name]


def test_two_hard_nats_are_named_and_that_no_router_opens_a_port(lab: Lab) -> None:
    answer = await_finding(lab, "hard", "harder", "both-nats-hard")

    assert answer.path == "derp"
    assert answer.answered
    assert codes(answer) <= {"both-nats-hard", "port-mapping-off", "no-peer-relay"}
    assert "port-mapping-off" in codes(await_finding(lab, "hard", "harder", "port-mapping-off"))


def test_one_hard_nat_and_a_strict_one_are_named_from_both_sides(lab: Lab) -> None:
    here = await_finding(lab, "hard", "easy", "nat-hard-here")
    there = await_finding(lab, "easy", "hard", "nat-hard-there")

    assert "pings-dropped" not in codes(here) | codes(there)


def test_blocked_udp_is_named_from_both_sides(lab: Lab) -> None:
    here = await_finding(lab, "hotel", "plain", "udp-blocked-here")
    there = await_finding(lab, "plain", "hotel", "udp-blocked-there")

    assert "pings-dropped" not in codes(here) | codes(there)


def test_a_firewall_that_drops_between_two_easy_nats_is_named(lab: Lab) -> None:
    site = lab.topology.site("easy")
    cut_direct(site, [lab.topology.site(HUB)])
    try:
        answer = await_finding(lab, "plain", "easy", "pings-dropped")
    finally:
        restore(site)

    assert answer.path == "derp"
    assert "nat-hard-there" not in codes(answer)


def test_a_link_with_a_small_mtu_is_named(lab: Lab) -> None:
    """Nobody tells that packets are too long: the router that knows drops them in silence."""
    router, _ = lab.topology.site("plain").routers[0]
    router.nft(
        "table inet narrow { chain through { type filter hook forward priority -20;"
        f" meta length > {TINY} drop; }}; }}"
    )
    try:
        answer = await_finding(lab, "hub", "plain", "small-packets")
    finally:
        router.run("nft", "delete", "table", "inet", "narrow")

    (finding,) = [f for f in answer.findings if f.code == "small-packets"]
    assert "No packet of 1280 octets or more came back" in finding.text


def test_a_policy_that_lets_a_peer_in_only_one_way_is_named(lab: Lab) -> None:
    target = address(lab.boxes["easy"])
    policy = ONE_WAY.replace("DESTINATION", target)
    lab.coordination.client.set_policy(PolicyRequest(text=policy))
    try:
        answer = await_finding(lab, "easy", "plain", "echo-dropped")
        denied = await_finding(lab, "plain", "easy", "policy-denies")
    finally:
        lab.coordination.client.set_policy(PolicyRequest(text=OPEN))

    assert answer.answered
    assert "echo-dropped" not in codes(denied)


def test_a_peer_that_is_away_is_named_and_the_command_fails(lab: Lab) -> None:
    harder = lab.boxes["harder"]
    harder.daemon.signal("TERM")
    try:
        answer = await_finding(lab, "easy", "harder", "peer-offline")
        said = gatepost(lab, "easy", "why", harder.name, "--timeout", "1s")
    finally:
        harder.daemon.start()
        harder.await_answer()

    assert not answer.answered
    assert said.returncode == 1
    assert "is not connected to the coordination server" in said.stdout


def test_a_coordination_server_that_is_away_is_named(lab: Lab) -> None:
    lab.coordination.program.signal("KILL")
    try:
        answer = await_finding(lab, "plain", "easy", "control-unreachable")
    finally:
        lab.coordination.program.start()
        lab.coordination.await_answer()

    assert "derp-disconnected" in codes(answer)
    assert answer.path == "direct"
