"""The text of the packet filter: the same wishes, the same text; nothing that is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Network, ip_address, ip_network
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.engine.filter import NEVER, FilterWishes, filter_text
from gatepost.model.kernel import Listen, Sender
from gatepost.model.renumber import Renumber
from gatepost.testing.makers import make_range, make_rule

WISHES = FilterWishes(
    own=(ip_address("100.64.0.1"), ip_address("fd7a:115c:a1e0::1")),
    carried=(ip_network("100.64.0.2"), ip_network("10.9.0.0/16"), ip_network("fd00:9::/64")),
    admit=(
        make_rule("100.64.0.2/32", "100.64.0.1/32", 22, 22),
        make_rule("100.64.0.0/10", "10.1.0.0/16"),
        make_rule("fd7a:115c:a1e0::/48", "fd00:1::/64", 80, 443),
    ),
    senders=(Sender(ip_network("10.1.0.0/16"), "eth1"), Sender(ip_network("10.2.0.0/16"), "eth1")),
    forward=(ip_network("10.1.0.0/16"), ip_network("fd00:1::/64")),
    forward_out=(ip_network("10.9.0.0/16"), ip_network("100.64.0.0/10")),
    masquerade=(ip_network("10.1.0.0/16"),),
    clamp=(ip_network("10.1.0.0/16"),),
    listen=(
        Listen("tcp", 80, "mesh", "web"),
        Listen("tcp", 81, "mesh", "more"),
        Listen("udp", 53, "mesh", "names"),
        Listen("tcp", 443, "internet", "relay"),
        Listen("udp", 161, "lan", "snmp"),
    ),
)


def elements(text: str, name: str) -> list[str]:
    """Return what a set or map of the text holds."""
    match = re.search(rf"(?:set|map) {name} {{\n(.*?)\n\t}}", text, re.DOTALL)
    assert match, f"no set {name}"
    _, _, inside = match[1].partition("elements = {")
    return [e.strip() for e in inside.rstrip(" }\n\t").split(",") if e.strip()]


T = TypeVar("T")


@given(st.integers(0, 3), st.booleans())
def test_equal_wishes_give_equal_text_in_any_order(turn: int, backwards: bool) -> None:
    def turned(things: Sequence[T]) -> list[T]:
        twice = [*things[turn:], *things[:turn], *things[:1]]
        return twice[::-1] if backwards else twice

    other = FilterWishes(
        own=turned(WISHES.own),
        carried=turned(WISHES.carried),
        admit=turned(WISHES.admit),
        senders=turned(WISHES.senders),
        forward=turned(WISHES.forward),
        forward_out=turned(WISHES.forward_out),
        masquerade=turned(WISHES.masquerade),
        clamp=turned(WISHES.clamp),
        listen=turned(WISHES.listen),
    )

    assert filter_text(other) == filter_text(WISHES)


@pytest.mark.parametrize("name", ["forward", "masquerade"])
def test_nothing_is_forwarded_to_where_nothing_may_go(name: str) -> None:
    everywhere = (ip_network("0.0.0.0/0"), ip_network("::/0"), *NEVER)
    text = filter_text(FilterWishes(forward=everywhere, masquerade=everywhere))

    assert elements(text, f"{name}4") == [
        "1.0.0.0-100.63.255.255",
        "100.128.0.0-126.255.255.255",
        "128.0.0.0-169.253.255.255",
        "169.255.0.0-198.17.255.255",
        "198.20.0.0-223.255.255.255",
    ]
    for element in elements(text, f"{name}6"):
        allowed = make_range(element)
        for never in NEVER:
            if never.version == 6:
                before = int(allowed.last) < int(never[0])
                assert before or int(never[-1]) < int(allowed.first)


def test_only_doors_to_the_mesh_are_opened_in_this_table() -> None:
    text = filter_text(WISHES)

    assert elements(text, "listen_tcp") == ["80-81"]
    assert elements(text, "listen_udp") == ["53"]


def test_our_own_addresses_are_no_ones_source() -> None:
    text = filter_text(WISHES)

    assert elements(text, "own4") == ["100.64.0.1"]
    assert elements(text, "carried4") == [
        "10.9.0.0/16", "100.64.0.0", "100.64.0.2-100.127.255.255",
    ]  # fmt: skip


def test_prefixes_of_one_device_are_one_and_the_mesh_is_always_guarded() -> None:
    apart = Sender(ip_network("10.4.0.0/16"), "eth1")
    text = filter_text(WISHES)

    assert 'iifname != "eth1" ip saddr 10.1.0.0-10.2.255.255 counter drop' in text
    assert 'iifname != "gatepost0" ip saddr 100.64.0.0/10 counter drop' in text
    assert "ip saddr 100.64.0.0/10 counter drop" in filter_text(FilterWishes())
    text = filter_text(replace(WISHES, senders=(*WISHES.senders, apart)))
    assert elements(text, "sender0_4") == ["10.1.0.0-10.2.255.255", "10.4.0.0/16"]
    assert 'iifname != "eth1" ip saddr @sender0_4 counter drop' in text


@pytest.mark.parametrize("hook", ["nat hook postrouting", "forward priority mangle"])
def test_what_nobody_asks_for_is_not_in_the_text(hook: str) -> None:
    assert hook in filter_text(WISHES)
    assert hook not in filter_text(replace(WISHES, masquerade=(), forward_out=(), clamp=()))


@pytest.mark.parametrize(
    ("port", "ports"), [(41641, "1024-41640"), (5000, "5003-65535"), (65535, "1024-65534")]
)
def test_no_masqueraded_flow_gets_wireguards_port(port: int, ports: str) -> None:
    assert f"udp masquerade to :{ports}\n" in filter_text(replace(WISHES, port=port))


def test_the_name_of_the_device_is_everywhere() -> None:
    text = filter_text(replace(WISHES, device="other0"))

    assert "gatepost0" not in text
    assert text.count('"other0"') >= 6


def test_aliases_of_peers_go_where_it_is_translated_for_them_and_nowhere_else() -> None:
    networks = (ip_network("192.168.1.0/24"), ip_network("127.0.0.0/8"))
    text = filter_text(replace(WISHES, translated=networks))

    assert elements(text, "translated4") == ["192.168.1.0/24"]
    assert "192.168.1.0" not in " ".join(elements(text, "forward4"))
    for where in ("own", "network"):
        assert f"ip saddr 240.64.0.0/10 goto alias_to_{where}" in text
    assert "240.64.0.0/10" not in filter_text(WISHES)


def test_hosts_here_go_to_sites_behind_4via6_under_our_address() -> None:
    rule = 'oifname "gatepost0" ip6 daddr fd7a:115c:a1e0:b1a::/64 snat ip6 to fd7a:115c:a1e0::1'

    assert rule in filter_text(WISHES)
    assert rule not in filter_text(replace(WISHES, forward_out=()))


def test_a_network_with_an_alias_is_judged_by_it_and_never_by_its_own_addresses() -> None:
    pair = Renumber(IPv4Network("10.201.7.0/24"), IPv4Network("192.168.1.0/24"))
    text = filter_text(replace(WISHES, renumbered=(pair,)))

    assert elements(text, "renumbered4") == ["10.201.7.0/24"]
    assert elements(text, "renumbered_inside4") == ["192.168.1.0/24"]
    assert "192.168.1.0" not in " ".join(elements(text, "forward4"))
    assert 'iifname "gatepost0" ip daddr @renumbered4 goto renumber_judge' in text
    assert 'iifname "gatepost0" ip daddr 10.201.7.0/24 dnat ip prefix to 192.168.1.0/24\n' in text
    assert 'oifname "gatepost0" ip saddr 192.168.1.0/24 snat ip prefix to 10.201.7.0/24\n' in text
    assert "renumber" not in filter_text(WISHES)


def test_what_is_never_behind_a_box_is_not_reached_by_an_alias_either() -> None:
    pairs = tuple(
        Renumber(IPv4Network(f"10.{number}.0.0/24"), IPv4Network((int(never[0]), 24)))
        for number, never in enumerate(NEVER)
        if never.version == 4
    )
    assert elements(filter_text(FilterWishes(renumbered=pairs)), "renumbered_inside4") == []
