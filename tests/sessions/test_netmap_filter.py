"""The promises of the packet filter's way into the netmap."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.model.keys import NodePublic
from gatepost.model.netmap import AddressRange, FilterRule, PortRange
from gatepost.sessions.netmap import MapState
from gatepost.wire import netmap as wire

ANY_PORT = wire.PortRange(first=0, last=65535)
V4 = AddressRange(ip_address("0.0.0.0"), ip_address("255.255.255.255"))
V6 = AddressRange(ip_address("::"), ip_address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))


def node(number: int, **fields: Any) -> wire.MapNode:  # fields of MapNode
    return wire.MapNode(
        id=number,
        key=NodePublic(number.to_bytes(32, "big")),
        addresses=(f"100.64.0.{number}/32",),
        **fields,
    )


def state(*peers: wire.MapNode, **fields: Any) -> MapState:  # fields of MapResponse
    fresh = MapState()
    fresh.apply(wire.MapResponse(node=node(100), peers=peers, **fields))
    return fresh


def rules(of: MapState) -> tuple[FilterRule, ...] | None:
    netmap = of.netmap()
    assert netmap is not None
    return netmap.filter


def rule(*sources: str, to: str = "*", **fields: Any) -> wire.FilterRule:  # fields of FilterRule
    target = wire.NetPortRange(ip=to, ports=ANY_PORT)
    return wire.FilterRule(src_ips=sources, dst_ports=(target,), **fields)


def span(first: str, last: str) -> AddressRange:
    return AddressRange(ip_address(first), ip_address(last))


def only(of: MapState) -> FilterRule:
    """Return the rule, of which there must be one."""
    read = rules(of)
    assert read is not None
    assert len(read) == 1
    return read[0]


# --- parts ------------------------------------------------------------------------------


def test_no_filter_yet_is_none_and_an_empty_one_is_empty() -> None:
    assert rules(state()) is None
    assert rules(state(packet_filters={})) is None
    assert rules(state(packet_filter=())) == ()
    assert rules(state(packet_filters={"base": ()})) == ()


def test_parts_are_joined_by_name_replaced_and_removed() -> None:
    of = state(packet_filters={"b": (rule("192.0.2.2"),), "a": (rule("192.0.2.1"),)})
    assert [str(r.sources[0].first) for r in rules(of) or ()] == ["192.0.2.1", "192.0.2.2"]
    of.apply(wire.MapResponse(packet_filters={"a": None, "c": (rule("192.0.2.3"),)}))
    assert [str(r.sources[0].first) for r in rules(of) or ()] == ["192.0.2.2", "192.0.2.3"]
    of.apply(wire.MapResponse(packet_filters={"*": None, "d": (rule("192.0.2.4"),)}))

    assert [str(r.sources[0].first) for r in rules(of) or ()] == ["192.0.2.4"]


def test_the_older_list_is_the_part_named_base() -> None:
    of = state(packet_filter=(rule("192.0.2.1"),))
    of.apply(wire.MapResponse(packet_filters={"base": None, "x": ()}))

    assert rules(of) == ()


def test_a_filter_without_any_part_is_still_a_filter_after_a_restart() -> None:
    before = state(packet_filters={"a": (rule("*"),)})
    before.apply(wire.MapResponse(packet_filters={"*": None}))
    after = MapState()
    after.load(before.dump())

    assert rules(before) == rules(after) == ()


# --- addresses and ports ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*", (V4, V6)),
        ("192.0.2.1", (span("192.0.2.1", "192.0.2.1"),)),
        ("2001:db8::1", (span("2001:db8::1", "2001:db8::1"),)),
        ("10.0.0.0/8", (span("10.0.0.0", "10.255.255.255"),)),
        ("2001:db8::/127", (span("2001:db8::", "2001:db8::1"),)),
        ("100.64.0.0-100.115.91.255", (span("100.64.0.0", "100.115.91.255"),)),
        ("::-::5", (span("::", "::5"),)),
    ],
)
def test_sources_and_destinations_have_every_form(
    text: str, expected: tuple[AddressRange, ...]
) -> None:
    read = only(state(packet_filters={"base": (rule(text, to=text),)}))

    assert read.sources == expected
    assert read.destinations == tuple((part, PortRange(0, 65535)) for part in expected)
    assert read.protocols == ()


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.2-10.0.0.1", "10.0.0.1-",
        "-10.0.0.1", "10.0.0.1-::1", "10.0.0.1-10.0.0.2-10.0.0.3", "fe80::1%eth0", "**",
        "10.0.0.0/8-11.0.0.0/8",
    ],
)  # fmt: skip
def test_a_rule_with_a_wrong_address_is_left_out_and_named(text: str) -> None:
    for wrong in (rule("192.0.2.9", text), rule("192.0.2.9", to=text)):
        of = state(packet_filters={"base": (rule("192.0.2.1"), wrong)})

        assert [str(r.sources[0].first) for r in rules(of) or ()] == ["192.0.2.1"]
        assert of.problems[0].startswith("filter rule base[1]: ")


@pytest.mark.parametrize(("first", "last"), [(-1, 5), (5, 4), (0, 65536)])
def test_a_rule_with_wrong_ports_is_left_out(first: int, last: int) -> None:
    target = wire.NetPortRange(ip="*", ports=wire.PortRange(first=first, last=last))
    wrong = wire.FilterRule(src_ips=("*",), dst_ports=(target,))

    assert rules(state(packet_filters={"base": (wrong,)})) == ()


def test_unknown_protocols_are_ignored_but_never_widen_a_rule() -> None:
    of = state(packet_filters={"base": (rule("*", ip_proto=(6, 256)), rule("*", ip_proto=(-1,)))})

    assert [r.protocols for r in rules(of) or ()] == [(6,)]


def test_a_rule_that_lets_nothing_in_is_no_rule() -> None:
    grant = wire.FilterRule(src_ips=("*",), cap_grant=(wire.CapGrant(dsts=("10.0.0.1/32",)),))

    assert rules(state(packet_filters={"base": (grant, rule())})) == ()


# --- rules that depend on the peers -----------------------------------------------------


def test_a_capability_stands_for_the_peers_that_have_it_now() -> None:
    of = state(node(1, cap_map={"c": None}), node(2), packet_filters={"base": (rule("cap:c"),)})
    assert [r.sources for r in rules(of) or ()] == [(span("100.64.0.1", "100.64.0.1"),)]
    of.apply(wire.MapResponse(peers_changed=(node(2, cap_map={"c": None}),), peers_removed=(1,)))
    assert [r.sources for r in rules(of) or ()] == [(span("100.64.0.2", "100.64.0.2"),)]
    of.apply(wire.MapResponse(peers_removed=(2,)))

    assert rules(of) == ()


def test_a_jailed_peer_is_cut_out_of_every_source() -> None:
    of = state(packet_filters={"base": (rule("100.64.0.0/29"), rule("100.64.0.3"))})
    of.apply(wire.MapResponse(peers_changed=(node(3, is_jailed=True),)))
    read = only(of)
    assert read.sources == (span("100.64.0.0", "100.64.0.2"), span("100.64.0.4", "100.64.0.7"))
    of.apply(wire.MapResponse(peers_changed=(node(3),)))

    assert len(rules(of) or ()) == 2


def test_the_networks_behind_a_jailed_peer_are_cut_out_but_never_everything() -> None:
    exit_node = node(3, is_jailed=True, allowed_ips=("0.0.0.0/0", "100.64.0.3/32", "10.0.0.0/8"))
    of = state(exit_node, packet_filters={"base": (rule("9.255.255.255-11.0.0.0"),)})
    read = only(of)

    assert read.sources == (span("9.255.255.255", "9.255.255.255"), span("11.0.0.0", "11.0.0.0"))


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.integers(24, 32))
def test_cutting_out_removes_exactly_the_jailed_addresses(
    start: int, size: int, jailed: int, length: int
) -> None:
    end = min(start + size, 255)
    base = jailed >> (32 - length) << (32 - length)
    hole = f"198.51.100.{base}/{length}"
    of = state(
        node(1, is_jailed=True, allowed_ips=(hole,)),
        packet_filters={"base": (rule(f"198.51.100.{start}-198.51.100.{end}"),)},
    )
    left = {
        number
        for read in rules(of) or ()
        for part in read.sources
        for number in range(int(part.first) & 0xFF, (int(part.last) & 0xFF) + 1)
    }

    assert left == set(range(start, end + 1)) - set(range(base, base + (1 << (32 - length))))


@given(
    st.lists(
        st.lists(st.sampled_from(["*", "10.0.0.0/8", "10.0.0.1-10.0.0.9", "::1", "wrong"])),
        max_size=4,
    )
)
def test_filters_that_come_one_after_the_other_mean_what_each_means_alone(
    sources: list[list[str]],
) -> None:
    following = state()
    for texts in sources:
        parts: dict[str, tuple[wire.FilterRule, ...] | None] = {"base": (rule(*texts),)}
        following.apply(wire.MapResponse(packet_filters=parts))

        assert rules(following) == rules(state(packet_filters=parts))
