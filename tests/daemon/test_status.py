"""The status document."""

from __future__ import annotations

import pytest

from gatepost.api import Level, NetMap, Notice
from gatepost.daemon.status import Facts, Login, make_status, state_of
from gatepost.model.netmap import DerpRegion, Endpoint
from gatepost.model.status import RelayServerDocument, State
from gatepost.net.path_ports import PathInfo
from gatepost.net.relay_server import RelayState
from gatepost.testing.makers import make_netmap, make_node

IN = Login(wanted=True, logged_in=True)
HERE = make_netmap(2, derp=(DerpRegion(id=900, code="own", name="Own"),))

WAITING = make_netmap(me=make_node(1, authorized=False))


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (Facts(login=Login(wanted=False, logged_in=True), netmap=HERE), "Stopped"),
        (Facts(login=Login(wanted=True, logged_in=False)), "NeedsLogin"),
        (Facts(login=Login(wanted=True, logged_in=True, auth_url="x")), "NeedsLogin"),
        (Facts(login=Login(wanted=True, logged_in=True, refused=True)), "NeedsLogin"),
        (Facts(login=IN), "Starting"),
        (
            Facts(login=IN, netmap=make_netmap(me=make_node(1, authorized=False))),
            "NeedsMachineAuth",
        ),
        (Facts(login=IN, netmap=HERE), "Starting"),
        (Facts(login=IN, netmap=HERE, applied=True), "Running"),
    ],
)
def test_each_situation_has_its_word(facts: Facts, state: State) -> None:
    assert state_of(facts) == state


def test_paths_are_shown_by_their_kind() -> None:
    near, far = HERE.peers
    endpoint = Endpoint(near.addresses[0], 41641)
    paths = {near.key: PathInfo("direct", endpoint), far.key: PathInfo("derp", region=900)}
    peers = make_status(Facts(login=IN, netmap=HERE, paths=paths)).peers

    assert [(p.path, p.endpoint, p.relay) for p in peers] == [
        ("direct", str(endpoint), ""),
        ("derp", "", "own"),
    ]


def test_the_worst_notice_comes_first_and_none_twice() -> None:
    small, big = Notice("b", "x", Level.INFO), Notice("a", "y", Level.ERROR)
    shown = make_status(Facts(login=IN, notices=(small, big, small))).notices

    assert [(n.code, n.level) for n in shown] == [("a", "error"), ("b", "info")]


def test_peers_can_be_left_out() -> None:
    assert make_status(Facts(login=IN, netmap=HERE), peers=False).peers == ()


def test_routes_are_accepted_only_if_the_operator_said_so() -> None:
    netmap: NetMap = make_netmap(others=(make_node(2, "10.9.0.0/16"),))

    assert make_status(Facts(login=IN, netmap=netmap)).routes.accepted == ()
    accepting = Facts(login=IN, netmap=netmap, accept_routes=True)
    assert make_status(accepting).routes.accepted == ("10.9.0.0/16",)


def test_a_relay_says_who_forwards_and_why_not_the_kernel() -> None:
    working = RelayState(port=41650, places=3, bound=2, packets=7, octets=900)
    slow = RelayState(port=41650, trouble="this kernel has no BPF")
    shown = [make_status(Facts(login=IN, relay=r)).relay_server for r in (None, working, slow)]

    assert shown[0] is None
    assert shown[1] == RelayServerDocument(port=41650, places=3, sessions=2, packets=7, octets=900)
    assert shown[2] == RelayServerDocument(
        port=41650, forwarding="user space", reason="this kernel has no BPF"
    )
