"""Peers ask a site's box about the site's own names, and about nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from ipaddress import IPv4Network, ip_address

import dns.message
import dns.rcode
import dns.rrset
import pytest

from gatepost.api import DnsRoute, NameView, plain_server
from gatepost.model.names import NameServer
from gatepost.model.resolver import MeshNames, NamePlan, Upstream
from gatepost.model.site_names import KnownAs, SiteNames
from gatepost.model.via6 import via_prefix
from gatepost.net.dns_resolver import LARGEST, Resolver
from gatepost.net.dns_site_desk import SiteDesk
from gatepost.sessions.dns_messages import Message, Query
from gatepost.sessions.dns_plan import join_names

LAN = IPv4Network("192.168.1.0/24")
HERE, OURSELVES = (plain_server(ip_address(a)) for a in ("192.168.1.1", "100.64.0.1"))
VIEW = NameView(is_for_mesh=True)
PLAN = join_names(
    (
        MeshNames(plan=NamePlan(routes=(DnsRoute(suffix="berlin.example", servers=(OURSELVES,)),))),
        SiteNames("berlin.example"),
        Upstream(suffix="berlin.example", servers=(HERE,), rank="first"),
        Upstream(suffix="", servers=(HERE,), rank="last"),
        KnownAs(LAN, via_prefix(7, LAN)),
        KnownAs(LAN, IPv4Network("10.201.7.0/24")),
    )
)


@dataclass
class Site:
    """A name server that knows one host, and remembers what it was asked."""

    asked: list[tuple[tuple[NameServer, ...], str, str]] = field(
        default_factory=list[tuple[tuple[NameServer, ...], str, str]]
    )
    is_dead: bool = False
    together: asyncio.Barrier | None = None  # nobody is answered before so many have asked

    async def ask(self, servers: tuple[NameServer, ...], query: Query) -> Message | None:
        self.asked.append((servers, query.name, query.type.name))
        if self.is_dead:
            return None
        if self.together is not None:
            await self.together.wait()
        reply = dns.message.make_response(query.message)
        if query.type.name == "A":
            owner = query.message.question[0].name
            reply.answer.append(dns.rrset.from_text(owner, 300, "IN", "A", "192.168.1.9"))
        return reply


async def ask(site: Site, name: str, kind: str) -> tuple[str, list[str]]:
    """Return the code and the addresses of the answer."""
    resolver = Resolver(site.ask, lambda: 0.0)
    resolver.set_plan(PLAN)
    try:
        raw = dns.message.make_query(name, kind).to_wire()
        reply = await SiteDesk(resolver, VIEW).ask(raw, LARGEST)
    finally:
        await resolver.close()
    assert reply is not None
    message = dns.message.from_wire(reply)
    values = [line.split()[-1] for rrset in message.answer for line in str(rrset).splitlines()]
    return dns.rcode.to_text(message.rcode()), values


@pytest.mark.parametrize(
    ("kind", "address"), [("A", "10.201.7.9"), ("AAAA", "fd7a:115c:a1e0:b1a:0:7:c0a8:109")]
)
async def test_the_mesh_hears_addresses_that_it_can_reach(kind: str, address: str) -> None:
    assert await ask(Site(), "printer.berlin.example", kind) == ("NOERROR", [address])


async def test_the_site_is_asked_even_if_the_mesh_says_that_we_are_to_be_asked() -> None:
    site = Site()
    await ask(site, "printer.berlin.example", "A")

    assert [servers for servers, _, _ in site.asked] == [(HERE,)]


@pytest.mark.parametrize("name", ["www.example.org", "berlin.example.org", "other.example", "."])
async def test_other_names_are_refused_and_asked_of_nobody(name: str) -> None:
    site = Site()

    assert (await ask(site, name, "A"), site.asked) == (("REFUSED", []), [])


async def test_a_name_server_that_is_gone_is_told_as_a_failure() -> None:
    assert await ask(Site(is_dead=True), "printer.berlin.example", "A") == ("SERVFAIL", [])


async def test_both_questions_behind_one_are_asked_at_once() -> None:
    site = Site(together=asyncio.Barrier(2))
    async with asyncio.timeout(5):
        code, values = await ask(site, "printer.berlin.example", "AAAA")

    assert (code, values) == ("NOERROR", ["fd7a:115c:a1e0:b1a:0:7:c0a8:109"])
    assert sorted(kind for _, _, kind in site.asked) == ["A", "AAAA"]
