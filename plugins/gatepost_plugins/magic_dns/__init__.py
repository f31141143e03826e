"""Answers for the names of the mesh at 100.100.100.100, and asks the right server for others.

It does not touch how this machine itself resolves names: whoever wants these
answers asks there, or names 100.100.100.100 in /etc/resolv.conf.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from gatepost.api import (
    Address,
    DnsRoute,
    Endpoint,
    IPAddress,
    Item,
    Level,
    Listen,
    NetMap,
    NodeFacts,
    Notice,
    Observed,
    PluginInfo,
    Service,
    WatchNodeFacts,
    about,
    hookimpl,
    owned,
)
from gatepost.sessions.dns_names import SERVICE_V4, SERVICE_V6, name_plan
from gatepost_plugins.magic_dns.resolver import Parameters
from gatepost_plugins.magic_dns.serving import serve

NAME = "magic-dns"
PORT = 53
HERE: tuple[IPAddress, ...] = (SERVICE_V4, SERVICE_V6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    resolvers: tuple[IPAddress, ...] = field(
        default=(),
        metadata=about(
            "Resolvers",
            "Who is asked for all other names if the mesh names nobody; empty: such a question is "
            "refused. This machine's own /etc/resolv.conf is neither read nor changed.",
        ),
    )
    refuse_private: bool = field(
        default=False,
        metadata=about(
            "Refuse private addresses",
            "Drop answers by which a public name leads to a private address (DNS rebinding).",
        ),
    )


@hookimpl
def describe() -> PluginInfo:
    return PluginInfo(
        title="Names",
        summary="Answers for the names of the mesh at 100.100.100.100, on this box only.",
        settings=Settings,
    )


@hookimpl
def contribute(netmap: NetMap, settings: Settings, observed: Observed) -> Iterator[Item]:
    yield WatchNodeFacts()
    facts: NodeFacts | None = observed.get(WatchNodeFacts(), None)
    if facts is None or facts.private_key.public != netmap.me.key:
        return  # there is no tunnel to hold the addresses
    if not netmap.dns.is_on:
        yield Notice("names-off", "the coordination server has switched names off", Level.INFO)
        return
    servers = tuple(Endpoint(a, PORT) for a in settings.resolvers)
    mine = DnsRoute(suffix="", servers=servers) if servers else None
    plan = name_plan(netmap, mine)
    yield from _silent(plan.routes)
    yield from (Address(owned.DEVICE, address) for address in HERE)
    yield Listen("udp", PORT, "self", NAME, HERE)
    yield Listen("tcp", PORT, "self", NAME, HERE)
    routes = tuple(_without_ourselves(route) for route in plan.routes)
    parameters = Parameters(
        plan=replace(plan, routes=routes), refuse_private=settings.refuse_private
    )
    yield Service(NAME, serve, parameters)


def _silent(routes: tuple[DnsRoute, ...]) -> Iterator[Item]:
    """Name the suffixes whose servers cannot be asked."""
    for route in routes:
        if route.urls and not _without_ourselves(route).servers:
            yield Notice(
                "resolver-unsupported",
                f"{route.suffix or 'all other names'}: {', '.join(route.urls)} cannot be asked, "
                "only servers with plain addresses can: name one on the coordination server",
                Level.WARNING,
            )


def _without_ourselves(route: DnsRoute) -> DnsRoute:
    """Drop ourselves from the servers: a question would go round for ever.

    A route left with nobody still is one: its names must not be asked of others.
    """
    others = tuple(s for s in route.servers if s.address not in HERE)
    if len(others) == len(route.servers):
        return route
    dropped = tuple(str(s) for s in route.servers if s.address in HERE)
    return replace(route, servers=others, urls=route.urls + dropped)
