"""The promises of the node's view of the mesh."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed
from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.model.netmap import Endpoint, NetMap, Node
from gatepost.sessions.netmap import MapState
from gatepost.wire import netmap as wire
from gatepost.wire.derp_map import DerpMap, DerpNode, DerpRegion
from gatepost.wire.go_json import ZERO_TIME
from gatepost.wire.hostinfo import Hostinfo

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


def key(number: int) -> NodePublic:
    return NodePublic(number.to_bytes(32, "big"))


def node(number: int, **fields: Any) -> wire.MapNode:  # fields of MapNode
    plain = wire.MapNode(
        id=number,
        name=f"n{number}.mesh.example.",
        key=key(number),
        addresses=(f"100.64.0.{number}/32", f"fd7a:115c:a1e0::{number:x}/128"),
    )
    return msgspec.structs.replace(plain, **fields)


RELAYS = DerpMap(
    regions={
        "1": DerpRegion(region_id=1, nodes=(DerpNode(name="n", region_id=1, host_name="h"),)),
        "2": None,
    }
)


def state(*peers: wire.MapNode, **fields: Any) -> MapState:  # fields of MapResponse
    fresh = MapState()
    fresh.apply(wire.MapResponse(node=node(100), peers=peers, **fields))
    return fresh


def read(of: MapState) -> NetMap:
    netmap = of.netmap()
    assert netmap is not None
    return netmap


def peer(of: MapState, number: int) -> Node:
    return next(p for p in read(of).peers if p.id == number)


def ids(of: MapState) -> list[int]:
    return [p.id for p in read(of).peers]


def rule(source: str) -> wire.FilterRule:
    target = wire.NetPortRange(ip="*", ports=wire.PortRange(first=0, last=65535))
    return wire.FilterRule(src_ips=(source,), dst_ports=(target,))


# --- nodes --------------------------------------------------------------------------------


def test_there_is_no_netmap_before_the_own_node_is_known() -> None:
    fresh = MapState()
    fresh.apply(wire.MapResponse(peers=(node(1),)))

    assert fresh.netmap() is None


def test_a_node_is_read_into_the_model() -> None:
    full = node(
        1,
        allowed_ips=("100.64.0.1/32", "10.0.0.0/8"),
        disco_key=DiscoPublic(bytes(31) + b"\x07"),
        endpoints=("192.0.2.1:41641", "[2001:db8::1]:2"),
        home_derp=900, user=3, tags=("tag:a",), online=True, last_seen=NOON, key_expiry=NOON,
        expired=True, machine_authorized=True, cap=131, hostinfo=Hostinfo(os="linux"),
        cap_map={"a": None, "b": [{"x": 1}, "y"]},
    )  # fmt: skip

    assert peer(state(full), 1) == Node(
        id=1,
        key=key(1),
        name="n1.mesh.example",
        addresses=(ip_address("100.64.0.1"), ip_address("fd7a:115c:a1e0::1")),
        allowed=(ip_network("100.64.0.1/32"), ip_network("10.0.0.0/8")),
        disco=DiscoPublic(bytes(31) + b"\x07"),
        endpoints=(
            Endpoint(ip_address("192.0.2.1"), 41641),
            Endpoint(ip_address("2001:db8::1"), 2),
        ),
        home_derp=900,
        user=3,
        tags=("tag:a",),
        online=True,
        last_seen=NOON,
        key_expiry=NOON,
        expired=True,
        authorized=True,
        capability_version=131,
        operating_system="linux",
        capabilities={"a": (), "b": ('{"x":1}', '"y"')},
    )


def test_without_allowed_prefixes_the_addresses_are_allowed() -> None:
    of = state(node(1), node(2, allowed_ips=()))

    assert peer(of, 1).allowed == (ip_network("100.64.0.1/32"), ip_network("fd7a:115c:a1e0::1/128"))
    assert peer(of, 2).allowed == ()


def test_zero_keys_and_times_are_none() -> None:
    of = state(node(1, disco_key=DiscoPublic.zero(), key_expiry=ZERO_TIME))

    assert peer(of, 1).disco is None
    assert peer(of, 1).key_expiry is None


def test_the_older_form_of_the_home_relay_counts_when_the_newer_is_absent() -> None:
    of = state(node(1, derp="127.3.3.40:7"), node(2, derp="127.3.3.40:7", home_derp=8))

    assert [p.home_derp for p in read(of).peers] == [7, 8]


WRONG: list[dict[str, Any]] = [
    {"key": NodePublic.zero()},
    {"addresses": ("100.64.0.1",)},
    {"addresses": ("100.64.0.0/24",)},
    {"addresses": ("fe80::1%eth0/128",)},
    {"allowed_ips": ("10.0.0.1/8",)},
    {"allowed_ips": ("10.0.0.0/33",)},
    {"allowed_ips": ("",)},
    {"endpoints": ("192.0.2.1",)},
    {"endpoints": ("192.0.2.1:0",)},
    {"endpoints": ("192.0.2.1:65536",)},
    {"endpoints": ("2001:db8::1:5",)},
    {"endpoints": ("[192.0.2.1]:5",)},
    {"endpoints": ("host:5",)},
    {"endpoints": ("192.0.2.1:\N{ARABIC-INDIC DIGIT FIVE}",)},
    {"home_derp": -1},
    {"home_derp": 65536},
    {"derp": "127.3.3.40:x"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_malformed_peer_is_left_out_and_named_and_the_rest_stands(wrong: dict[str, Any]) -> None:
    of = state(node(1), node(2, **wrong), node(3))

    assert ids(of) == [1, 3]
    [problem] = of.problems
    assert problem.startswith("peer 2: ")


def test_a_peer_that_becomes_malformed_stays_as_it_was_until_it_is_right_again() -> None:
    of = state(node(1, home_derp=1))
    of.apply(wire.MapResponse(peers_changed=(node(1, home_derp=-5),)))
    assert peer(of, 1).home_derp == 1
    assert "-5" in of.problems[0]
    of.apply(wire.MapResponse(peers_changed=(node(1, home_derp=2),)))

    assert peer(of, 1).home_derp == 2
    assert of.problems == ()


def test_a_malformed_own_node_leaves_what_was_known() -> None:
    of = state()
    of.apply(wire.MapResponse(node=node(100, addresses=("x",))))

    assert read(of).me.addresses[0] == ip_address("100.64.0.100")
    assert of.problems[0].startswith("this node: ")


def test_what_the_reader_left_out_is_a_problem_until_the_next_whole_map() -> None:
    of = state(node(1), problems=("Peers[1] left out: wrong",))
    assert "Peers[1]" in of.problems[0]
    of.apply(wire.MapResponse(node=node(100)))

    assert of.problems == ()


# --- deltas ---------------------------------------------------------------------------------


def test_a_list_of_peers_replaces_all_and_no_list_changes_nothing() -> None:
    of = state(node(3), node(1))
    assert ids(of) == [1, 3]
    of.apply(wire.MapResponse(peers=()))
    assert ids(of) == [1, 3]
    of.apply(wire.MapResponse(peers=(node(2), node(3)), peers_removed=(3,)))

    assert ids(of) == [2, 3]


def test_deltas_apply_in_the_protocol_s_order() -> None:
    of = state(node(1), node(2))
    of.apply(
        wire.MapResponse(
            peers_removed=(1, 2, 9),
            peers_changed=(node(1, online=False), node(4)),
            peer_seen_change={1: True, 4: False, 9: True},
            online_change={1: True, 4: True, 9: True},
            peers_changed_patch=(
                wire.PeerChange(node_id=4, online=False),
                wire.PeerChange(node_id=9, online=True),
            ),
        ),
        NOON,
    )

    assert ids(of) == [1, 4]
    assert (peer(of, 1).online, peer(of, 1).last_seen) == (True, NOON)
    assert (peer(of, 4).online, peer(of, 4).last_seen) == (False, None)


def test_seen_without_a_clock_changes_nothing() -> None:
    of = state(node(1, last_seen=NOON))
    of.apply(wire.MapResponse(peer_seen_change={1: False}))

    assert peer(of, 1).last_seen == NOON


def test_a_patch_changes_what_it_names_and_nothing_else() -> None:
    before = node(1, home_derp=1, endpoints=("192.0.2.1:1",), online=True, cap=130)
    patches: list[tuple[wire.PeerChange, dict[str, Any]]] = [
        (wire.PeerChange(node_id=1), {}),
        (wire.PeerChange(node_id=1, derp_region=2), {"home_derp": 2}),
        (wire.PeerChange(node_id=1, online=False), {"online": False}),
        (wire.PeerChange(node_id=1, endpoints=()), {"endpoints": ()}),
        (wire.PeerChange(node_id=1, cap=131), {"cap": 131}),
        (wire.PeerChange(node_id=1, key=key(7)), {"key": key(7)}),
        (wire.PeerChange(node_id=1, cap_map={}), {"cap_map": {}}),
        (wire.PeerChange(node_id=1, last_seen=NOON), {"last_seen": NOON}),
        (wire.PeerChange(node_id=1, key_expiry=NOON), {"key_expiry": NOON}),
    ]
    for patch, changes in patches:
        of = state(before)
        of.apply(wire.MapResponse(peers_changed_patch=(patch,)))

        assert peer(of, 1) == peer(state(msgspec.structs.replace(before, **changes)), 1)


def test_a_malformed_patch_changes_nothing() -> None:
    of = state(node(1, endpoints=("192.0.2.1:1",)))
    patch = wire.PeerChange(node_id=1, endpoints=("nowhere",), online=True)
    of.apply(wire.MapResponse(peers_changed_patch=(patch,)))

    assert peer(of, 1).online is None
    assert "nowhere" in of.problems[0]


def test_this_node_is_never_its_own_peer() -> None:
    of = state(node(1), node(100))

    assert ids(of) == [1]


def test_a_sign_of_life_changes_nothing() -> None:
    of = state(node(1))
    before = of.netmap()
    of.apply(wire.MapResponse(keep_alive=True, peers_removed=(1,)))

    assert of.netmap() is before


def test_a_patch_keeps_the_other_peers_as_they_are() -> None:
    of = state(*(node(n) for n in range(1, 50)))
    before = read(of).peers
    of.apply(wire.MapResponse(online_change={7: True}))

    assert [a is b for a, b in zip(before, read(of).peers, strict=True)].count(False) == 1


# --- users, relays, names ----------------------------------------------------------------------


def test_users_add_up() -> None:
    of = state(user_profiles=(wire.UserProfile(id=1, login_name="a"),), domain="mesh.example")
    of.apply(wire.MapResponse(user_profiles=(wire.UserProfile(id=2, login_name="b"),)))

    assert dict(read(of).users) == {1: "a", 2: "b"}
    assert read(of).domain == "mesh.example"


# --- what is kept over a restart ------------------------------------------------------------------


def test_what_is_dumped_loads_into_the_same_netmap() -> None:
    before = state(
        node(1, cap_map={"c": ["v"]}, online=True), node(2, allowed_ips=()),
        packet_filters={"a": (rule("cap:c"),), "b": ()}, derp_map=RELAYS, domain="d",
        user_profiles=(wire.UserProfile(id=1, login_name="l"),),
        dns_config=wire.DnsConfig(domains=("d",)),
    )  # fmt: skip
    after = MapState()
    after.load(before.dump())

    assert after.netmap() == before.netmap()
    assert read(after).dns == read(before).dns


def test_an_empty_state_can_be_dumped() -> None:
    after = MapState()
    after.load(MapState().dump())

    assert after.netmap() is None


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"Node":5}'])
def test_anything_else_than_a_dump_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        MapState().load(raw)


@given(st.data())
def test_any_order_of_deltas_ends_where_a_whole_map_starts(data: st.DataObject) -> None:
    of = MapState()
    of.apply(wire.MapResponse(node=node(100)))
    expected: dict[int, wire.MapNode] = {}
    for _ in range(data.draw(st.integers(0, 12))):
        number = data.draw(st.integers(1, 4))
        match data.draw(st.sampled_from(["put", "remove", "online", "patch"])):
            case "put":
                expected[number] = node(number, home_derp=data.draw(st.integers(0, 3)))
                change = wire.MapResponse(peers_changed=(expected[number],))
            case "remove":
                expected.pop(number, None)
                change = wire.MapResponse(peers_removed=(number,))
            case "online":
                if number in expected:
                    expected[number] = msgspec.structs.replace(expected[number], online=True)
                change = wire.MapResponse(online_change={number: True})
            case _:
                if number in expected:
                    expected[number] = msgspec.structs.replace(expected[number], home_derp=9)
                patch = wire.PeerChange(node_id=number, derp_region=9)
                change = wire.MapResponse(peers_changed_patch=(patch,))
        of.apply(change)
    whole = MapState()
    whole.apply(wire.MapResponse(node=node(100), peers=tuple(expected.values())))

    assert of.netmap() == whole.netmap()
