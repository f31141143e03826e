"""What the plugin wishes for, with what the server says about names."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from gatepost.api import DnsRoute, DnsSettings, Endpoint, Item, Notice, Service, Watch
from gatepost.engine.lower import lower
from gatepost.engine.merge import merge
from gatepost.engine.plugins import Owned
from gatepost.engine.texts import text_of
from gatepost.model.kernel import PacketFilter
from gatepost.testing.makers import make_netmap, make_observed
from gatepost_plugins import magic_dns, mesh
from gatepost_plugins.magic_dns.resolver import Parameters

ROUTES = (
    DnsRoute(suffix="", servers=(Endpoint(ip_address("100.100.100.100"), 53),)),
    DnsRoute(suffix="doh.example", urls=("https://dns.example/dns-query",)),
)
NETMAP = replace(make_netmap(), dns=DnsSettings(is_on=True, routes=ROUTES))


def items(settings: magic_dns.Settings | None = None) -> list[Item]:
    return list(magic_dns.contribute(NETMAP, settings or magic_dns.Settings(), make_observed()))


def test_the_addresses_and_ports_are_for_this_box_alone() -> None:
    shown = [text_of(i) for i in items() if not isinstance(i, Watch | Notice | Service)]

    assert shown == [
        "Address gatepost0 100.100.100.100",
        "Address gatepost0 fd7a:115c:a1e0::53",
        "Listen udp 53 self, service magic-dns, addresses 100.100.100.100, fd7a:115c:a1e0::53",
        "Listen tcp 53 self, service magic-dns, addresses 100.100.100.100, fd7a:115c:a1e0::53",
    ]


def test_the_packet_filter_lets_nobody_in_the_mesh_ask() -> None:
    both = [*mesh.contribute(NETMAP, mesh.Settings(), make_observed()), *items()]
    lowered = lower(merge(tuple(Owned("p", item) for item in both)))
    (table,) = [r for r in lowered.resources.values() if isinstance(r, PacketFilter)]

    assert "100.64.0.1" in table.text
    assert "100.100.100.100" not in table.text
    assert "fd7a:115c:a1e0::53" not in table.text


def test_a_server_that_is_ourselves_is_never_asked() -> None:
    (service,) = [i for i in items() if isinstance(i, Service)]
    assert isinstance(service.params, Parameters)
    whole = service.params.plan.routes[0]

    assert (whole.suffix, whole.servers) == ("", ())


def test_a_suffix_that_cannot_be_served_is_named() -> None:
    texts = [i.text for i in items() if isinstance(i, Notice)]

    assert any(t.startswith("doh.example: https://dns.example/dns-query cannot") for t in texts)
