"""The policy in terms of aliases, the aliases themselves, and what the programs are told."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from gatepost.api import owned
from gatepost.model.netmap import AddressRange, FilterRule, PortRange
from gatepost.model.via6 import via_prefix
from gatepost.testing.makers import make_node, make_rule
from gatepost_plugins.via6 import aliases_of
from gatepost_plugins.via6.grants import grants
from gatepost_plugins.via6.programs import programs

LAN = IPv4Network("192.168.1.0/24")
PREFIX = str(via_prefix(7, LAN))
PEERS = (make_node(2), make_node(3))
ALIASES = aliases_of(PEERS)


def granted(*rules: FilterRule) -> list[FilterRule]:
    return list(grants(rules, 7, (LAN,), ALIASES))


def test_an_alias_is_the_peers_own_number_in_another_range_whoever_else_is_there() -> None:
    assert list(ALIASES.values()) == [IPv4Address("240.64.0.2"), IPv4Address("240.64.0.3")]
    assert aliases_of(PEERS[1:]) == {IPv6Address("fd7a:115c:a1e0::3"): IPv4Address("240.64.0.3")}
    last = make_node(addresses=(IPv4Address("100.127.255.255"), IPv6Address("fd7a:115c:a1e0::9")))
    assert all(a in owned.ALIAS_NETWORK for a in aliases_of((last,)).values())


def test_a_peer_without_one_of_both_addresses_has_no_alias() -> None:
    six = make_node(addresses=(IPv6Address("fd7a:115c:a1e0::9"),))
    elsewhere = make_node(addresses=(IPv4Address("10.0.0.9"), IPv6Address("fd7a:115c:a1e0::9")))

    assert aliases_of((six, elsewhere)) == {}


def test_a_grant_to_the_prefix_is_one_to_the_network_for_the_aliases_of_its_senders() -> None:
    (rule,) = granted(make_rule("fd7a:115c:a1e0::2/128", PREFIX, 80, 443))

    alias = IPv4Address("240.64.0.2")
    assert rule.sources == (AddressRange(alias, alias),)
    assert rule.destinations == ((AddressRange(LAN[0], LAN[-1]), PortRange(80, 443)),)


def test_a_wide_grant_is_cut_to_the_network_and_a_narrow_one_stays_narrow() -> None:
    (wide,) = granted(make_rule("::/0", "::/0"))
    (narrow,) = granted(make_rule("::/0", str(via_prefix(7, IPv4Network("192.168.1.8/30")))))

    assert wide.destinations[0][0] == AddressRange(LAN[0], LAN[-1])
    assert narrow.destinations[0][0] == AddressRange(LAN[8], LAN[11])


def test_what_is_granted_to_others_to_other_sites_or_in_ipv4_is_no_grant() -> None:
    assert granted(make_rule("fd7a:115c:a1e0::4/128", PREFIX)) == []
    assert granted(make_rule("::/0", str(via_prefix(8, LAN)))) == []
    assert granted(make_rule("100.64.0.0/10", str(LAN)), make_rule("100.64.0.2/32", PREFIX)) == []


def test_the_ping_of_ipv6_becomes_that_of_ipv4_and_no_grant_widens() -> None:
    rule = make_rule("::/0", PREFIX)

    assert [r.protocols for r in granted(replace(rule, protocols=(58, 6)))] == [(1, 6)]
    assert granted(replace(rule, protocols=(1,))) == []


def test_a_host_named_itself_may_be_the_last_of_a_network() -> None:
    inward, _ = programs(7, (LAN, IPv4Network("192.168.1.255/32")), ALIASES)
    told = {e.key[8:]: e.value[0] for e in inward.entries if e.map == "targets" and e.key[0] == 64}

    assert told == {LAN[0].packed: 0, LAN[255].packed: 1}
