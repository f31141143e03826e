"""What plugins say about names becomes one plan, and who counts before whom is fixed."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from gatepost.model.names import NameServer, parse_name_server, plain_server
from gatepost.model.netmap import DnsRoute
from gatepost.model.resolver import (
    HostServers,
    MeshNames,
    NamePlan,
    PrivateNames,
    Record,
    Upstream,
)
from gatepost.model.resource import Resource
from gatepost.sessions.dns_plan import join_names

MESH, FIRST, USUAL, LAST, HOST, SPARE = (
    plain_server(ip_address(f"192.0.2.{n}")) for n in range(1, 7)
)
OURSELVES = plain_server(ip_address("100.100.100.100"))
SAID = MeshNames(
    plan=NamePlan(suffix="mesh.example", routes=(DnsRoute(suffix="", servers=(MESH,)),))
)
RANKS = (
    Upstream(suffix="", servers=(LAST,), rank="last"),
    Upstream(suffix="", servers=(USUAL,)),
    SAID,
    Upstream(suffix="", servers=(FIRST,), rank="first"),
)


def asked(*resources: Resource, host: tuple[NameServer, ...] = (HOST,)) -> tuple[NameServer, ...]:
    """Return who is asked for every name."""
    plan = join_names(resources, HostServers(servers=host))
    return next((r.servers for r in plan.routes if not r.suffix), ())


@pytest.mark.parametrize(("known", "expected"), [*enumerate((HOST, LAST, USUAL, MESH, FIRST))])
def test_an_exit_node_goes_before_the_mesh_and_the_host_comes_last(
    known: int, expected: NameServer
) -> None:
    assert asked(*RANKS[:known]) == (expected,)


def test_the_mesh_may_name_servers_for_who_has_none() -> None:
    bare = MeshNames(plan=NamePlan(fallback=(SPARE,)))

    assert asked(bare, host=()) == (SPARE,)
    assert asked(bare) == (HOST,)


def test_a_server_that_the_administrator_wants_asked_beside_the_exit_node_still_is() -> None:
    beside = replace(MESH, beside_exit=True)
    said = MeshNames(plan=NamePlan(routes=(DnsRoute(suffix="", servers=(beside, MESH)),)))

    assert asked(said, RANKS[3]) == (beside,)


def test_we_are_never_asked_by_ourselves() -> None:
    assert asked(Upstream(suffix="", servers=(OURSELVES, LAST))) == (LAST,)
    assert asked(Upstream(suffix="", servers=(OURSELVES,))) == ()


def test_records_and_names_that_may_be_private_are_gathered() -> None:
    address = ip_address("10.0.0.9")
    plan = join_names(
        (Record("Printer.Mesh.Example.", address), PrivateNames(suffix="corp.example")),
        HostServers(search=("fritz.box",)),
    )

    assert plan.records == (("printer.mesh.example", (address,)),)
    assert plan.may_be_private == ("corp.example", "fritz.box")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("192.0.2.53", "192.0.2.53"),
        ("192.0.2.53:5353", "192.0.2.53:5353"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:53", "2001:db8::1"),
        ("[2001:db8::1]:54", "[2001:db8::1]:54"),
        ("tls://dns.example@192.0.2.53", "tls://dns.example"),
        ("tls://[2001:db8::1]:8853", "tls://[2001:db8::1]:8853"),
        ("https://dns.example", "https://dns.example/dns-query"),
        ("https://dns.example:8443/a/b?c=d", "https://dns.example:8443/a/b?c=d"),
        ("http://100.64.0.9:4000/dns-query", "http://100.64.0.9:4000/dns-query"),
    ],
)
def test_a_name_server_is_read_and_written(text: str, shown: str) -> None:
    assert str(parse_name_server(text)) == shown
    assert str(parse_name_server(shown)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "", "dns.example", "192.0.2.53:0", "192.0.2.53:65536", "192.0.2.256", "[192.0.2.1]:53",
        "2001:db8::1:x", "fe80::1%eth0", "[2001:db8::1", "ftp://dns.example", "plain://192.0.2.1",
        "tls://dns.example/path", "tls://", "https:///dns-query", "https://dns.example:99999",
        "https://dns.example:0", "https://a..b", "https://dns.example/a b", "tls://x@nonsense",
        "http://dns.example/dns-query", "http://192.0.2.1/dns-query", "https://-x.example",
    ],
)  # fmt: skip
def test_what_is_no_name_server_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a name server|has|would send") as error:
        parse_name_server(text)

    assert repr(text) in str(error.value)
