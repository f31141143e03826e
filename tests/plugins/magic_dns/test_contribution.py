"""What the plugin wishes for, with what the server says about names."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from types import MappingProxyType

import pytest

from gatepost.api import (
    Address,
    DnsRoute,
    DnsSettings,
    HostResolver,
    HostServers,
    Item,
    Listen,
    NameView,
    Notice,
    Observed,
    Service,
    Upstream,
    WatchHostServers,
    plain_server,
)
from gatepost.engine.lower import lower
from gatepost.engine.merge import merge
from gatepost.engine.plugins import Owned
from gatepost.engine.texts import text_of
from gatepost.model.kernel import PacketFilter
from gatepost.testing.makers import make_netmap, make_observed
from gatepost_plugins import magic_dns, mesh

ROUTER = plain_server(ip_address("192.168.1.1"))
BARE = replace(make_netmap(), dns=DnsSettings(is_on=True))
SPLIT = DnsRoute(suffix="corp.example", servers=(plain_server(ip_address("10.0.0.53")),))
EVERY = DnsRoute(suffix="", servers=(plain_server(ip_address("192.0.2.1")),))


def told(*routes: DnsRoute) -> DnsSettings:
    return DnsSettings(is_on=True, routes=routes)


def items(
    dns: DnsSettings = BARE.dns,
    settings: magic_dns.Settings | None = None,
    host: HostServers | None = None,
    *,
    is_answering: bool = True,
) -> list[Item]:
    seen = {
        **make_observed().answers,
        WatchHostServers(): host or HostServers(servers=(ROUTER,), search=("lan",), way="file"),
        magic_dns.WatchAnswering(): is_answering,
    }
    observed = Observed(MappingProxyType(seen))
    netmap = replace(BARE, dns=dns)
    return list(magic_dns.contribute(netmap, settings or magic_dns.Settings(), observed))


def host_resolver(
    dns: DnsSettings = BARE.dns, settings: magic_dns.Settings | None = None
) -> HostResolver:
    (found,) = [i for i in items(dns, settings) if isinstance(i, HostResolver)]
    return found


def view(dns: DnsSettings = BARE.dns, settings: magic_dns.Settings | None = None) -> NameView:
    (service,) = [i for i in items(dns, settings) if isinstance(i, Service)]
    assert isinstance(service.params, NameView)
    return service.params


def test_the_addresses_and_ports_are_for_this_box_alone() -> None:
    shown = [text_of(i) for i in items() if isinstance(i, Address | Listen)]

    assert view().sources is None
    assert shown == [
        "Address gatepost0 100.100.100.100",
        "Address gatepost0 fd7a:115c:a1e0::53",
        "Listen udp 53 self, service magic-dns, addresses 100.100.100.100, fd7a:115c:a1e0::53",
        "Listen tcp 53 self, service magic-dns, addresses 100.100.100.100, fd7a:115c:a1e0::53",
    ]


def test_the_packet_filter_lets_nobody_in_the_mesh_ask() -> None:
    both = [*mesh.contribute(BARE, mesh.Settings(), make_observed()), *items()]
    lowered = lower(merge(tuple(Owned("p", item) for item in both)))
    (table,) = [r for r in lowered.resources.values() if isinstance(r, PacketFilter)]

    assert "100.64.0.1" in table.text
    assert "100.100.100.100" not in table.text
    assert "fd7a:115c:a1e0::53" not in table.text


def test_a_suffix_that_cannot_be_served_is_named() -> None:
    odd = DnsRoute(suffix="odd.example", unusable=("sdns://dns.example",))
    texts = [i.text for i in items(told(odd)) if isinstance(i, Notice)]

    assert any(t.startswith("odd.example: sdns://dns.example cannot") for t in texts)


def test_this_machine_asks_here_and_its_own_servers_stay_in_the_list_behind() -> None:
    found = host_resolver()

    assert (found.servers, found.spare) == ((ip_address("100.100.100.100"),), ROUTER.addresses)
    assert found.search == ("mesh.example", "lan")
    assert not found.is_for_all


@pytest.mark.parametrize("route", [SPLIT, EVERY])
def test_no_other_server_is_asked_for_names_that_somebody_gave_a_server(route: DnsRoute) -> None:
    assert host_resolver(told(route)).spare == ()


def test_only_a_server_for_every_name_takes_every_name() -> None:
    mine = magic_dns.Settings(resolvers=("tls://dns.example",))

    assert not host_resolver(told(SPLIT)).is_for_all
    assert host_resolver(told(EVERY)).is_for_all
    assert host_resolver(settings=mine).is_for_all


def test_without_accept_dns_names_or_sockets_this_machine_is_left_alone() -> None:
    off = items(settings=magic_dns.Settings(accept_dns=False))
    no_names = items(DnsSettings())
    no_sockets = items(is_answering=False)

    assert [i for i in (*off, *no_names, *no_sockets) if isinstance(i, HostResolver)] == []


def test_a_machine_whose_resolver_cannot_be_changed_says_why() -> None:
    found = items(host=HostServers(reason="it shares /etc with another machine"))

    assert [i for i in found if isinstance(i, HostResolver)] == []
    assert "it shares /etc with another machine" in [i.text for i in found if isinstance(i, Notice)]


def test_what_this_machine_could_resolve_before_is_not_refused() -> None:
    mine = magic_dns.Settings(resolvers=("192.0.2.1",))

    assert not view().refuses_private
    assert view(told(EVERY)).refuses_private
    assert view(settings=mine).refuses_private


def test_the_operators_resolvers_come_after_those_of_the_mesh() -> None:
    found = items(settings=magic_dns.Settings(resolvers=("192.0.2.1",)))

    assert [i.rank for i in found if isinstance(i, Upstream)] == ["last"]


def test_a_wrong_resolver_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'dns\.example' is not a name server"):
        magic_dns.Settings(resolvers=("dns.example",))
