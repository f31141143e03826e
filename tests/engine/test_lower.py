"""From the plugins' nouns to the kernel's."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address, ip_network
from typing import Any

import pytest

from gatepost.engine.lower import FILTER_NOUNS, clamp, lower
from gatepost.engine.merge import Desired, merge
from gatepost.engine.plugins import Owned, Plugins
from gatepost.model.guests import Guests
from gatepost.model.kernel import (
    Address,
    Admit,
    Forward,
    Listen,
    OnlyThroughMesh,
    PacketFilter,
    Route,
    Rule,
    Sysctl,
    Translate,
    WireGuardDevice,
    WireGuardPeer,
)
from gatepost.model.keys import NodePrivate
from gatepost.model.mesh import Advertise, AllowedPrefix
from gatepost.model.names import NameServer
from gatepost.model.netmap import NetMap
from gatepost.model.observed import Observed
from gatepost.model.owned import PROVIDER_TABLE
from gatepost.model.renumber import Renumber
from gatepost.model.resolver import HostResolver, Rank, Upstream
from gatepost.model.resource import Resource
from gatepost.model.tunnel import OnlyThroughTunnel
from gatepost.testing.makers import make_private, make_rule

KEY, OTHER = make_private(1).public, make_private(2).public
PEER = WireGuardPeer(device="gatepost0", public_key=KEY)
DEVICE = WireGuardDevice(
    name="gatepost0", private_key=make_private(3), port=41641, mark=0x80000, mtu=1280
)


def want(*resources: Resource, plugin: str = "mesh") -> Desired:
    return merge([Owned(plugin, r) for r in resources])


def test_prefixes_are_gathered_into_their_peer() -> None:
    one, two = ip_network("100.64.0.1/32"), ip_network("10.0.0.0/8")
    lowered = lower(want(AllowedPrefix(two, KEY), PEER, AllowedPrefix(one, KEY)))

    assert set(lowered.resources.values()) == {
        WireGuardPeer(device="gatepost0", public_key=KEY, allowed=frozenset({one, two}))
    }


def test_a_prefix_of_somebody_who_is_no_peer_becomes_a_notice() -> None:
    lowered = lower(want(PEER, AllowedPrefix(ip_network("10.0.0.0/8"), OTHER)))

    assert set(lowered.resources.values()) == {PEER}
    assert [n.code for n in lowered.notices] == ["prefix-without-peer"]
    assert "10.0.0.0/8: mesh routes it" in lowered.notices[0].text


def test_a_device_without_rules_gets_a_filter_that_lets_nothing_in() -> None:
    (packet_filter,) = filters(lower(want(DEVICE)))

    assert packet_filter.table == "gatepost"
    assert "goto targets" not in packet_filter.text


def test_without_device_and_rules_there_is_no_filter() -> None:
    desired = want(Sysctl("a", "1"), Listen("tcp", 80, "mesh", "web"))

    assert dict(lower(desired).resources) == dict(desired.resources)


def test_the_filters_nouns_end_in_the_filter_and_all_others_pass() -> None:
    passing = (
        Address("gatepost0", ip_address("100.64.0.1")),
        Advertise(ip_network("10.0.0.0/8")),
        Route(52, ip_network("10.0.0.0/8"), "gatepost0"),
        Listen("tcp", 80, "mesh", "web"),
        PacketFilter("gatepost-path", "table inet gatepost-path {\n}\n"),
    )
    admit = Admit(make_rule("100.64.0.2/32", "100.64.0.1/32", 22, 22))
    lowered = lower(want(admit, Forward(ip_network("10.1.0.0/16")), *passing))
    left = set(lowered.resources.values()) - set(passing)

    (only,) = left
    assert isinstance(only, PacketFilter)
    assert "tcp dport 22 goto admitted" in only.text
    assert "10.1.0.0/16" in only.text
    assert "100.64.0.1" in only.text


def test_everybody_behind_the_filter_owns_it() -> None:
    desired = merge(
        [
            Owned("packet-filter", Admit(make_rule("0.0.0.0/0", "0.0.0.0/0"))),
            Owned("subnet-router", Forward(ip_network("10.1.0.0/16"))),
            Owned("web", Sysctl("a", "1")),
        ]
    )
    lowered = lower(desired)
    (packet_filter,) = filters(lowered)

    assert lowered.owners[packet_filter.key] == {"packet-filter", "subnet-router"}
    assert lowered.owners.keys() == lowered.resources.keys()


def test_values_are_written_as_the_kernel_reads_them_back() -> None:
    rough = NodePrivate(bytes([0xFF] * 32))
    device = WireGuardDevice(name="gatepost0", private_key=rough, port=1, mark=0, mtu=1280)
    rule = Rule(family=4, priority=5270, table=52, mark=1, mask=0xFFFFFFFF)
    lowered = lower(want(device, rule)).resources

    assert lowered[device.key] == WireGuardDevice(
        name="gatepost0", private_key=clamp(rough), port=1, mark=0, mtu=1280
    )
    assert lowered[rule.key] == Rule(family=4, priority=5270, table=52, mark=1)
    assert clamp(rough).public == rough.public


def test_what_all_plugins_wish_is_lowered_without_a_rest(
    plugins: Plugins, netmap: NetMap, settings: dict[str, Any], observed: Observed
) -> None:
    lowered = lower(merge(plugins.contribute(netmap, settings, observed)))
    kinds = {type(r) for r in lowered.resources.values()}

    assert not kinds & {AllowedPrefix, *FILTER_NOUNS}
    assert {WireGuardDevice, WireGuardPeer, PacketFilter} <= kinds
    assert all(p.allowed for p in lowered.resources.values() if isinstance(p, WireGuardPeer))


def filters(lowered: Desired) -> list[PacketFilter]:
    return [r for r in lowered.resources.values() if isinstance(r, PacketFilter)]


def test_translation_makes_room_on_the_device_and_on_no_route() -> None:
    mesh, aliases = (
        Route(52, ip_network(n), "gatepost0") for n in ("fd7a:115c:a1e0::/48", "240.64.0.0/10")
    )
    outside, inside = ip_network("fd7a:115c:a1e0:b1a:0:7::/96"), ip_network("192.168.1.0/24")
    found = lower(want(DEVICE, mesh, aliases, Translate(outside, inside))).resources.values()

    assert [r.mtu for r in found if isinstance(r, WireGuardDevice)] == [1288]
    assert {r.destination: r.mtu for r in found if isinstance(r, Route)} == {
        mesh.destination: 1280,
        aliases.destination: 1260,
    }
    assert mesh in lower(want(DEVICE, mesh)).resources.values()


@pytest.mark.parametrize(("suffix", "rank", "everything", "alone"), [
    ("", "first", True, True), ("", "last", False, False), ("lan.example", "first", False, True),
    ("lan.example", "usual", False, True),
])  # fmt: skip
def test_this_machine_asks_nobody_beside_us_for_what_somebody_gave_a_server(
    suffix: str, rank: Rank, *, everything: bool, alone: bool
) -> None:
    host = HostResolver(
        servers=(ip_address("100.100.100.100"),),
        is_for_all=False,
        spare=(ip_address("192.0.2.53"),),
    )
    lowered = lower(want(host, Upstream(suffix=suffix, servers=(), rank=rank)))
    (found,) = [r for r in lowered.resources.values() if isinstance(r, HostResolver)]

    assert (found.is_for_all, found.spare) == (everything, () if alone else host.spare)
    assert (suffix in found.suffixes) is bool(suffix)


def test_what_leaves_through_a_tunnel_only_becomes_a_table_of_its_own() -> None:
    switch = OnlyThroughTunnel(
        tunnel="gatepost-exit", mesh="gatepost0", spared=frozenset({ip_network("10.1.0.0/16")})
    )
    (table,) = lower(want(switch, plugin="exit-provider")).resources.values()

    assert isinstance(table, PacketFilter)
    assert table.table == "gatepost-provider"
    assert "10.1.0.0/16" in table.text


def test_what_leaves_through_a_tunnel_only_holds_for_guests_too() -> None:
    switch = OnlyThroughTunnel(tunnel="gatepost-exit", mesh="gatepost0")
    guests = Guests("guest0", frozenset({ip_network("10.77.1.0/24")}))
    tables = {f.table: f.text for f in filters(lower(want(switch, guests)))}

    assert 'iifname "guest0" ip daddr != @spared4 counter drop' in tables["gatepost-provider"]


def test_a_network_with_an_alias_is_never_reached_through_a_provider() -> None:
    pair = Renumber(IPv4Network("10.201.7.0/24"), IPv4Network("192.168.1.0/24"))
    switch = OnlyThroughTunnel(tunnel="gatepost-exit", mesh="gatepost0")
    lowered = lower(want(switch, pair, plugin="alias"))
    beside = Route(PROVIDER_TABLE, pair.inside, kind="throw")

    assert lowered.resources[beside.key] == beside
    assert lowered.owners[beside.key] == {"alias"}
    assert "10.201.7.0/24" in {f.table: f.text for f in filters(lowered)}["gatepost-provider"]
    assert beside.key not in lower(want(pair)).resources


def test_a_server_around_that_was_given_names_is_asked_beside_an_exit() -> None:
    here, elsewhere = ip_address("192.168.1.53"), ip_address("192.0.2.53")
    guard = OnlyThroughMesh(device="gatepost0", spared=frozenset({ip_network("192.168.1.0/24")}))
    servers = tuple(NameServer(addresses=(a,)) for a in (here, elsewhere))
    (named,) = [
        r
        for r in lower(
            want(guard, Upstream(suffix="lan.example", servers=servers))
        ).resources.values()
        if isinstance(r, PacketFilter)
    ]
    (unnamed,) = [
        r
        for r in lower(want(guard, Upstream(suffix="", servers=servers))).resources.values()
        if isinstance(r, PacketFilter)
    ]

    assert "192.168.1.53" in named.text
    assert "192.0.2.53" not in named.text
    assert "192.168.1.53" not in unnamed.text
