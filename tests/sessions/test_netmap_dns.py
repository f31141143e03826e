"""What the map says about names is read, and what cannot be read is named."""

from __future__ import annotations

from ipaddress import ip_address

from gatepost.model.names import NameServer, plain_server
from gatepost.model.netmap import DnsRoute
from gatepost.sessions.netmap_dns import parse_dns
from gatepost.wire.netmap import DnsConfig, DnsRecord, Resolver

WIRE = DnsConfig(
    proxied=True,
    domains=("Mesh.Example.", "b ad"),
    resolvers=(Resolver(addr="192.0.2.1"), Resolver(addr="https://dns.example/dns-query")),
    routes={
        "Corp.Example.": (Resolver(addr="10.0.0.1:5353"), Resolver(addr="[2001:db8::1]:53")),
        "own.example": None,
        "sad.example": (Resolver(addr="nonsense"),),
    },
    extra_records=(
        DnsRecord(name="P.mesh.example.", value="10.0.0.9"),
        DnsRecord(name="six.mesh.example", type="AAAA", value="10.0.0.9"),
        DnsRecord(name="text.mesh.example", type="TXT", value="x"),
    ),
)


def test_all_that_can_be_used_is_read_and_the_rest_is_named() -> None:
    problems = dict[str, str]()
    read = parse_dns(WIRE, problems.__setitem__)

    assert read.is_on
    assert read.search == ("mesh.example",)
    assert read.records == (("p.mesh.example", ip_address("10.0.0.9")),)
    assert read.routes == (
        DnsRoute(
            suffix="",
            servers=(
                plain_server(ip_address("192.0.2.1")),
                NameServer(transport="https", host="dns.example", port=443, path="/dns-query"),
            ),
        ),
        DnsRoute(
            suffix="corp.example",
            servers=(
                plain_server(ip_address("10.0.0.1"), 5353),
                plain_server(ip_address("2001:db8::1")),
            ),
        ),
        DnsRoute(suffix="own.example"),
        DnsRoute(suffix="sad.example", unusable=("nonsense",)),
    )
    assert sorted(problems) == [
        "DNS domain",
        "DNS record six.mesh.example",
        "DNS record text.mesh.example",
        "DNS resolver for sad.example",
    ]
