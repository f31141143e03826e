"""Two sites with one network, and aliases for it: what is granted, what stays shut, what fits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

import pytest

from gatepost.model import owned
from gatepost.model.policy import PolicyRequest
from gatepost.testing.lab_boxes import wait_for
from gatepost.testing.lab_mesh import Lab, ground, start
from gatepost.testing.netns import Machine
from gatepost.testing.scene_lab import (
    PORT,
    answer,
    ask,
    await_answer,
    join,
    ping,
    turn_on,
)
from gatepost.testing.topology import Nat

pytestmark = [pytest.mark.root, pytest.mark.mesh]

SAME = IPv4Network("192.168.1.0/24")
ALIASES = {"a": IPv4Network("10.201.7.0/24"), "b": IPv4Network("10.201.8.0/24")}
HOST = {name: str(network[2]) for name, network in ALIASES.items()}
BOX = {name: str(network[1]) for name, network in ALIASES.items()}
CLOSED = 8001
OPEN = '{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}'


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with ground({"a": Nat.NONE, "b": Nat.PORT_RESTRICTED}, lan=SAME) as made:
        start(made)
        join(made)
        for name, box in made.boxes.items():
            answer(box.site.host, f"host-{name}", str(box.site.host_v4))
            turn_on(box, "alias", networks=[f"{ALIASES[name]}={SAME}"])
            made.approve(box, str(ALIASES[name]))
        for one, other in (("a", "b"), ("b", "a")):
            for machine in (made.boxes[one].site.box, made.boxes[one].site.host):
                await_answer(machine, HOST[other], tuple(made.boxes.values()))
        yield made


@pytest.fixture
def box(lab: Lab) -> Machine:
    return lab.boxes["a"].site.box


@pytest.mark.parametrize("size", [0, 1000, 1232, 1252, 1253, 3000, 8000])
def test_datagrams_of_every_size_go_and_come_back(box: Machine, size: int) -> None:
    assert ask(box, "udp", HOST["b"], size=size) == "host-b"


def test_hosts_that_know_nothing_of_the_mesh_reach_each_other(lab: Lab) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        assert ask(lab.boxes[one].site.host, "tcp", HOST[other]) == f"host-{other}"


def test_the_same_address_here_is_still_the_host_here(lab: Lab) -> None:
    assert ask(lab.boxes["a"].site.box, "tcp", str(SAME[2])) == "host-a"


def test_a_closed_port_and_a_short_life_are_told_with_the_alias_as_the_sender(box: Machine) -> None:
    late = box.attempt("ping", "-c1", "-W2", "-t1", HOST["b"])

    assert ask(box, "udp", HOST["b"], port=CLOSED) == "ConnectionRefusedError"
    assert ask(box, "tcp", HOST["b"], port=CLOSED) == "ConnectionRefusedError"
    assert "Time to live exceeded" in late.stdout, late.stdout


def test_the_box_itself_is_reached_at_its_address_there(box: Machine) -> None:
    assert ping(box, BOX["b"])


def test_a_peer_that_sends_to_the_inner_addresses_gets_nowhere(lab: Lab, box: Machine) -> None:
    """The peer's own WireGuard and routes are told to send the inner network there."""
    key = lab.boxes["b"].site.box.run("wg", "show", owned.DEVICE, "public-key").strip()
    allowed = box.run("wg", "show", owned.DEVICE, "allowed-ips").splitlines()
    mine = next(line for line in allowed if line.startswith(key)).split()[1:]
    stolen = SAME[200]
    lab.boxes["b"].site.host.ip(f"address add {stolen}/24 dev eth0")
    box.run(
        *("wg", "set", owned.DEVICE, "peer", key),
        *("allowed-ips", ",".join([*mine, f"{stolen}/32"])),
    )
    box.ip(f"route add {stolen}/32 dev {owned.DEVICE} src {_mesh_address(lab, 'a')}")
    try:
        assert not ping(box, str(stolen))
        assert ping(box, str(ALIASES["b"][200]))
    finally:
        box.ip(f"route del {stolen}/32 dev {owned.DEVICE}")


def test_only_what_is_granted_to_the_alias_gets_in(lab: Lab, box: Machine) -> None:
    """A grant to the inner network is none: other sites have it too."""
    grants = [
        {"action": "accept", "src": ["*"], "dst": [f"{ALIASES['b']}:{PORT}"]},
        {"action": "accept", "src": ["*"], "dst": [f"{SAME}:*"]},
    ]
    lab.coordination.client.set_policy(PolicyRequest(text=json.dumps({"acls": grants})))
    try:
        wait_for(
            lambda: None if ask(box, "udp", HOST["b"], port=PORT + 10) == "host-b" else True,
            seconds=15,
            otherwise=lambda: "what was not granted goes on",
        )
        assert ask(box, "udp", HOST["b"]) == "host-b"
        assert ask(box, "udp", HOST["b"], port=PORT + 10) == "TimeoutError"
    finally:
        lab.coordination.client.set_policy(PolicyRequest(text=OPEN))
    await_answer(box, HOST["b"], tuple(lab.boxes.values()))


def test_a_network_that_is_not_approved_any_more_is_closed(lab: Lab, box: Machine) -> None:
    other = lab.boxes["b"]
    turn_on(other, "alias", networks=[])
    wait_for(
        lambda: None if ping(box, HOST["b"]) else True,
        seconds=15,
        otherwise=lambda: "still answers",
    )
    assert "renumber" not in other.site.box.run("nft", "list", "table", "inet", owned.NFT_TABLE)
    turn_on(other, "alias", networks=[f"{ALIASES['b']}={SAME}"])
    await_answer(box, HOST["b"], tuple(lab.boxes.values()))


def _mesh_address(lab: Lab, name: str) -> IPv4Address:
    node = lab.boxes[name].client.status().node
    assert node
    return IPv4Address(node.addresses[0].partition("/")[0])
