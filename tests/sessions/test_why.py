"""Each cause of a bad path is named from facts alone, and nothing is named that is not so."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, replace
from ipaddress import ip_address
from types import ModuleType

import pytest
from tests.sessions.paths_makers import FAR, HERE, HOME, NEAR, PEER, PLACE
from tests.sessions.paths_world import REGION

from gatepost.model.netmap import Endpoint, NetworkFacts
from gatepost.model.resource import Level
from gatepost.sessions import why_direct, why_rules
from gatepost.sessions.paths_outputs import ByRelay, ByUdp, Way
from gatepost.sessions.paths_report import Change, Origin, PathReport, Reason, Try
from gatepost.sessions.relay_client_outputs import Outcome
from gatepost.sessions.why import describe_way, explain_path
from gatepost.sessions.why_evidence import (
    ControlEvidence,
    DerpEvidence,
    Evidence,
    PeerEvidence,
    RelayEvidence,
    TunnelEvidence,
)

EASY = NetworkFacts(udp=True, ipv6=False, varies=False, mapping=True)
HARD = replace(EASY, varies=True)
NO_UDP = NetworkFacts(udp=False)
UNMAPPED = replace(EASY, mapping=False)
V6 = Endpoint(ip_address("2001:db8::2"), 41641)


def make_try(way: ByUdp | ByRelay, *, answered: float | None = None, trouble: str = "") -> Try:
    return Try(
        way=way,
        origin=Origin.NETMAP,
        pings=4,
        answers=int(answered is not None),
        pinged=1.0,
        answered=answered,
        latency=0.02 if answered is not None else None,
        mtu=0,
        trouble=trouble,
    )


UNANSWERED = (make_try(ByUdp(NEAR)), make_try(ByUdp(FAR)))
BY_DERP = PathReport(
    peer=PEER,
    path="derp",
    way=HOME,
    has_disco=True,
    is_active=True,
    latency=0.05,
    derp_latency=0.05,
    mtu=0,
    sized=None,
    since=5.0,
    silent=None,
    told=(HERE,),
    calls_sent=3,
    call_sent=1.0,
    calls_heard=3,
    call_heard=1.0,
    heard_pings=0,
    ping_heard=None,
    derp_heard=1.0,
    relays_sought=3.0,
    tries=UNANSWERED,
    changes=(),
)
DIRECT = replace(
    BY_DERP,
    path="direct",
    way=ByUdp(NEAR),
    latency=0.02,
    silent=1.0,
    heard_pings=3,
    ping_heard=1.0,
    tries=(make_try(ByUdp(NEAR), answered=1.0),),
)
NO_ANSWER = replace(BY_DERP, latency=None, derp_latency=None, derp_heard=None, calls_heard=0)
WELL = Evidence(
    peer=PeerEvidence(name="box-b", online=True, home=REGION, network=EASY),
    path=DIRECT,
    network=EASY,
    addresses=(HERE.address,),
    control=ControlEvidence(url="https://mesh.example", connected=True),
    derp=DerpEvidence(regions={REGION: "home"}, home=REGION, connected=True),
    tunnel=TunnelEvidence(asked=True, echo=0.02, handshake=5.0),
)
RELAYED = replace(WELL, path=BY_DERP)  # by DERP, and no reason to be seen but dropped packets


def peer(**changes: object) -> PeerEvidence:
    return replace(WELL.peer, **changes)  # type: ignore[arg-type]  # the fields' names check it when it runs


@dataclass(frozen=True)
class Case:
    """Facts that show one thing; `also` are codes that come with it by nature."""

    evidence: Evidence
    also: frozenset[str] = frozenset()


def case(evidence: Evidence, *also: str) -> Case:
    return Case(evidence, frozenset(also))


def changes(count: int) -> tuple[Change, ...]:
    way = ByUdp(NEAR)
    return tuple(
        Change(ago=50.0 - n, before=None, after=way, reason=Reason.SILENT) for n in range(count)
    )


DEAD_DERP = replace(WELL.derp, connected=False)
SMALL = replace(DIRECT, mtu=1300, sized=5.0)
REFUSED = (make_try(ByUdp(NEAR), trouble="Network is unreachable"),)
BY_V6 = (make_try(ByUdp(V6)),)
BY_PLACE = (*UNANSWERED, make_try(PLACE.way))
UNHEARD = TunnelEvidence(asked=True, echo=None, handshake=None)
CASES = {
    "peer-expired": case(replace(WELL, peer=peer(expired=True))),
    "peer-offline": case(
        replace(WELL, peer=peer(online=False, seen=7200.0), path=NO_ANSWER, tunnel=TunnelEvidence())
    ),
    "control-unreachable": case(
        replace(WELL, control=replace(WELL.control, connected=False, heard=600.0))
    ),
    "clock-wrong": case(replace(WELL, control=replace(WELL.control, skew=-86400.0))),
    "no-derp": case(replace(WELL, derp=DerpEvidence())),
    "derp-disconnected": case(replace(WELL, derp=DEAD_DERP)),
    "peer-without-derp": case(
        replace(WELL, peer=peer(home=0), path=NO_ANSWER, tunnel=TunnelEvidence()), "no-peer-relay"
    ),
    "no-shared-derp": case(replace(WELL, peer=peer(home=7))),
    "peer-silent": case(
        replace(WELL, path=NO_ANSWER, tunnel=TunnelEvidence(asked=True)), "no-peer-relay"
    ),
    "no-session": case(replace(WELL, tunnel=UNHEARD)),
    "echo-dropped": case(replace(WELL, tunnel=replace(UNHEARD, handshake=30.0))),
    "policy-denies": case(replace(WELL, peer=peer(allowed_in=False))),
    "small-packets": case(replace(WELL, path=SMALL)),
    "path-changes": case(replace(WELL, path=replace(DIRECT, changes=changes(4)))),
    "no-discovery": case(replace(RELAYED, path=replace(BY_DERP, has_disco=False, tries=()))),
    "not-tried": case(replace(RELAYED, path=replace(BY_DERP, is_active=False, tries=()))),
    "udp-blocked-here": case(replace(RELAYED, network=NO_UDP, addresses=()), "no-peer-relay"),
    "udp-blocked-there": case(replace(RELAYED, peer=peer(network=NO_UDP)), "no-peer-relay"),
    "no-common-family": case(replace(RELAYED, path=replace(BY_DERP, tries=BY_V6)), "no-peer-relay"),
    "sending-fails": case(replace(RELAYED, path=replace(BY_DERP, tries=REFUSED))),
    "both-nats-hard": case(
        replace(RELAYED, network=HARD, peer=peer(network=HARD)), "no-peer-relay"
    ),
    "nat-hard-here": case(replace(RELAYED, network=HARD), "no-peer-relay"),
    "nat-hard-there": case(replace(RELAYED, peer=peer(network=HARD)), "no-peer-relay"),
    "answers-dropped": case(
        replace(RELAYED, path=replace(BY_DERP, heard_pings=4, ping_heard=1.0)), "no-peer-relay"
    ),
    "pings-dropped": case(RELAYED, "no-peer-relay"),
    "port-mapping-off": case(
        replace(RELAYED, network=replace(HARD, mapping=False), peer=peer(network=HARD)),
        *("both-nats-hard", "no-peer-relay"),
    ),
    "relay-silent": case(replace(RELAYED, path=replace(BY_DERP, tries=BY_PLACE)), "pings-dropped"),
    "no-peer-relay": case(RELAYED, "pings-dropped"),
}


def codes(evidence: Evidence) -> list[str]:
    return [finding.code for finding in explain_path(evidence)]


@pytest.mark.parametrize("code", CASES)
def test_a_cause_is_named_alone(code: str) -> None:
    found = codes(CASES[code].evidence)

    assert set(found) == {code} | CASES[code].also
    assert len(found) == len(set(found))


def test_a_good_path_needs_no_explanation() -> None:
    assert codes(WELL) == []


def codes_in(module: ModuleType) -> set[str]:
    """Return the codes that the rules of a module can say, wherever they stand in it."""
    texts = {
        node.value
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {
        text
        for text in texts
        if "-" in text and text.replace("-", "").islower() and " " not in text
    }


def test_every_finding_has_a_case_here() -> None:
    said = codes_in(why_rules) | codes_in(why_direct)

    assert said == set(CASES)


@pytest.mark.parametrize("code", CASES)
def test_a_finding_says_what_to_do_in_whole_sentences(code: str) -> None:
    for finding in explain_path(CASES[code].evidence):
        assert finding.text.endswith(".")
        assert finding.fix
        assert "None" not in finding.text + finding.fix


@pytest.mark.parametrize("mapped", ["own", "peer"])
def test_port_mapping_is_asked_for_only_where_a_router_lacks_it(mapped: str) -> None:
    mine, theirs = (EASY, UNMAPPED) if mapped == "own" else (UNMAPPED, EASY)
    evidence = replace(RELAYED, network=mine, peer=peer(network=theirs))
    found = {f.code: f.text for f in explain_path(evidence)}

    assert ("box-b" if mapped == "own" else "this box") in found["port-mapping-off"]
    assert "and" not in found["port-mapping-off"].partition("(")[0]


def test_a_peer_that_answers_is_not_called_offline_whatever_the_server_says() -> None:
    assert "peer-offline" not in codes(replace(WELL, peer=peer(online=False)))


def test_an_answer_of_long_ago_does_not_hide_that_nothing_answers_now() -> None:
    old = (make_try(ByUdp(NEAR), answered=120.0), make_try(ByUdp(FAR)))

    assert "pings-dropped" in codes(replace(RELAYED, path=replace(BY_DERP, tries=old)))


@pytest.mark.parametrize(
    ("mtu", "sized", "is_small"),
    [(1300, 5.0, True), (0, 5.0, True), (0, 0.5, False), (0, None, False), (1340, 5.0, False)],
)
def test_packets_are_called_small_only_after_their_size_was_looked_for(
    mtu: int, sized: float | None, *, is_small: bool
) -> None:
    path = replace(DIRECT, mtu=mtu, sized=sized)

    assert ("small-packets" in codes(replace(WELL, path=path))) == is_small


@pytest.mark.parametrize(("mtu", "level"), [(1300, Level.INFO), (1200, Level.WARNING)])
def test_a_path_that_the_box_cuts_packets_for_is_no_reason_for_a_warning(
    mtu: int, level: Level
) -> None:
    (finding,) = explain_path(replace(WELL, path=replace(DIRECT, mtu=mtu, sized=5.0)))

    assert (finding.code, finding.level) == ("small-packets", level)


def test_pings_that_arrived_while_the_path_was_good_say_nothing_about_now() -> None:
    path = replace(BY_DERP, heard_pings=9, ping_heard=60.0)

    assert "pings-dropped" in codes(replace(RELAYED, path=path))


def test_two_pings_are_not_enough_to_blame_a_firewall() -> None:
    few = (replace(UNANSWERED[0], pings=2),)

    assert codes(replace(RELAYED, path=replace(BY_DERP, tries=few))) == []


def test_an_address_that_cannot_be_sent_to_is_no_finding_while_others_can() -> None:
    tries = (*UNANSWERED, *REFUSED)

    assert "sending-fails" not in codes(replace(RELAYED, path=replace(BY_DERP, tries=tries)))


def test_a_nat_that_nobody_could_measure_is_named_as_the_other_explanation() -> None:
    evidence = replace(RELAYED, peer=peer(network=replace(EASY, varies=None)))
    (finding,) = [f for f in explain_path(evidence) if f.code == "pings-dropped"]

    assert "or the NAT of box-b is hard" in finding.text


def test_a_relay_that_carries_leaves_only_what_keeps_the_direct_path_away() -> None:
    place = make_try(PLACE.way, answered=1.0)
    path = replace(BY_DERP, path="relay", way=PLACE.way, tries=(*UNANSWERED, place))

    assert codes(replace(RELAYED, path=path)) == ["pings-dropped"]


@pytest.mark.parametrize("outcome", Outcome)
def test_a_relay_that_does_not_carry_is_named_with_how_far_we_came(outcome: Outcome) -> None:
    evidence = replace(RELAYED, relays=(RelayEvidence(name="hub", outcome=outcome),))
    found = {f.code: f for f in explain_path(evidence)}

    assert "no-peer-relay" not in found
    assert ("relay-silent" in found) == (outcome is not Outcome.WORKS)
    if outcome is not Outcome.WORKS:
        assert f"The peer relay hub {outcome.value}." in found["relay-silent"].text
        assert found["relay-silent"].fix


def test_what_stops_everything_is_an_error_and_what_could_be_better_is_not() -> None:
    levels = {f.code: f.level for c in CASES.values() for f in explain_path(c.evidence)}

    assert {code for code, level in levels.items() if level is Level.INFO} == {
        *("policy-denies", "not-tried", "port-mapping-off", "no-peer-relay", "small-packets")
    }
    assert levels["peer-offline"] is Level.ERROR
    assert levels["both-nats-hard"] is Level.WARNING


@pytest.mark.parametrize(
    ("way", "text"),
    [
        (ByUdp(NEAR), "198.51.100.2:41641"),
        (PLACE.way, "192.0.2.7:7777 vni 5"),
        (HOME, f"region {REGION}"),
        (None, ""),
    ],
)
def test_a_way_is_said_as_people_know_it(way: Way | None, text: str) -> None:
    assert describe_way(way, lambda region: f"region {region}") == text
