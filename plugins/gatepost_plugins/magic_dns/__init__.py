"""Answers for the names of the mesh at 100.100.100.100, and asks the right server for others.

With `accept-dns` this machine itself asks there; else only who names 100.100.100.100.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gatepost.api import (
    Address,
    DnsRoute,
    HostResolver,
    HostServers,
    IPAddress,
    Item,
    Level,
    Listen,
    MeshNames,
    NameServer,
    NameView,
    NetMap,
    NodeFacts,
    Notice,
    Observed,
    PluginInfo,
    PrivateNames,
    Service,
    ServiceContext,
    Upstream,
    Watch,
    WatchHostServers,
    WatchNodeFacts,
    about,
    hookimpl,
    owned,
    parse_name_server,
)
from gatepost.sessions.dns_names import REVERSE_ZONES, SERVICE_V4, SERVICE_V6, name_plan

NAME = "magic-dns"
PORT = 53
HERE: tuple[IPAddress, ...] = (SERVICE_V4, SERVICE_V6)
MOST_SPARE = 2  # of the three servers that the C library reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    accept_dns: bool = field(
        default=True,
        metadata=about(
            "Use the mesh's names",
            "Let this machine itself ask here, so that `ping box2` works. What it had before "
            "comes back when this is switched off.",
        ),
    )
    resolvers: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Resolvers",
            "Who is asked for all other names if the mesh names nobody: 192.0.2.53, "
            "tls://dns.example, https://dns.example/dns-query; @192.0.2.53 behind it says where "
            "that is. Empty: whom this machine asked before.",
        ),
    )
    refuse_private: bool = field(
        default=True,
        metadata=about(
            "Refuse private addresses",
            "Drop answers of the resolvers above, or of the mesh, by which a public name leads "
            "to a private address (DNS rebinding).",
        ),
    )
    private_names: tuple[str, ...] = field(
        default=(),
        metadata=about("Private names", "Names under these may lead to private addresses."),
    )

    def __post_init__(self) -> None:
        self.servers()

    def servers(self) -> tuple[NameServer, ...]:
        """Return the resolvers as values; raise `ValueError` for what is none."""
        return tuple(map(parse_name_server, self.resolvers))


@dataclass(frozen=True, slots=True)
class WatchAnswering(Watch[bool]):
    """Whether the sockets are open: only then may this machine itself ask there."""


@hookimpl
def describe() -> PluginInfo:
    return PluginInfo(
        title="Names",
        summary="Makes the names of the mesh work on this box.",
        settings=Settings,
    )


@hookimpl
def contribute(netmap: NetMap, settings: Settings, observed: Observed) -> Iterator[Item]:
    yield WatchNodeFacts()
    yield WatchHostServers()
    yield WatchAnswering()
    facts: NodeFacts | None = observed.get(WatchNodeFacts(), None)
    if facts is None or facts.private_key.public != netmap.me.key:
        return  # there is no tunnel to hold the addresses
    if not netmap.dns.is_on:
        yield Notice("names-off", "the coordination server has switched names off", Level.INFO)
        return
    yield from _silent(netmap.dns.routes)
    yield MeshNames(plan=name_plan(netmap))
    if settings.resolvers:
        yield Upstream(suffix="", servers=settings.servers(), rank="last")
    yield from (PrivateNames(suffix=n.lower().strip(".")) for n in settings.private_names)
    yield from (Address(owned.DEVICE, address) for address in HERE)
    yield Listen("udp", PORT, "self", NAME, HERE)
    yield Listen("tcp", PORT, "self", NAME, HERE)
    # What this machine could resolve before, it still can.
    is_as_before = not settings.resolvers and not _for_all(netmap)
    view = NameView(refuses_private=settings.refuse_private and not is_as_before)
    yield Service(NAME, serve, view)
    if settings.accept_dns and observed.get(WatchAnswering(), default=False):
        host: HostServers = observed.get(WatchHostServers(), HostServers())
        yield from _host_resolver(netmap, settings, host)


async def serve(context: ServiceContext, view: NameView) -> None:
    await context.answer(WatchAnswering(), value=True)
    try:
        await context.answer_names(view)
    except Exception:  # of whatever kind: the machine must not ask where nobody answers
        await context.answer(WatchAnswering(), value=False)
        raise


def _for_all(netmap: NetMap) -> DnsRoute | None:
    """Return whom the mesh names for every name."""
    return next((r for r in netmap.dns.routes if not r.suffix), None)


def _host_resolver(netmap: NetMap, settings: Settings, host: HostServers) -> Iterator[Item]:
    if host.way == "none":
        if host.reason:
            yield Notice("host-names", host.reason, Level.INFO)
        return
    routes = netmap.dns.routes
    is_for_all = bool(settings.resolvers or _for_all(netmap))
    # A server in the list beside ours is asked whenever ours fails, and must not be asked for
    # names that somebody gave a server of their own.
    is_shared = not is_for_all and not any(r.servers or r.unusable for r in routes)
    plain = tuple(s.addresses[0] for s in host.servers if s.transport == "plain")
    mine = netmap.me.name.lower().partition(".")[2]
    search = tuple(dict.fromkeys((*((mine,) if mine else ()), *netmap.dns.search, *host.search)))
    yield HostResolver(
        servers=(SERVICE_V4,),
        search=search,
        suffixes=(*(r.suffix for r in routes if r.suffix), *REVERSE_ZONES),
        is_for_all=is_for_all,
        spare=plain[:MOST_SPARE] if is_shared else (),
    )


def _silent(routes: tuple[DnsRoute, ...]) -> Iterator[Item]:
    """Name the suffixes whose servers cannot be asked."""
    for route in routes:
        if route.unusable and not route.servers:
            yield Notice(
                "resolver-unsupported",
                f"{route.suffix or 'all other names'}: {', '.join(route.unusable)} cannot be "
                "asked: name a server on the coordination server that has an address or a URL",
                Level.WARNING,
            )
