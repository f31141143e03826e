"""Offers the tunnel of a WireGuard provider to the mesh as a way to the internet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Network, ip_address

from gatepost.api import (
    ACCEPT_RA,
    EVERYWHERE,
    MESH_V4,
    MESH_V6,
    Address,
    Endpoint,
    HostServers,
    IPAddress,
    IPNetwork,
    Item,
    Level,
    LocalNetworks,
    NameServer,
    NetMap,
    Notice,
    Observed,
    OnlyThroughTunnel,
    PluginInfo,
    Provider,
    Route,
    Rule,
    Service,
    Sysctl,
    Tunnel,
    TunnelPeer,
    Upstream,
    WatchHost,
    WatchHostServers,
    WatchLocalNetworks,
    WatchPeerApi,
    WatchProvider,
    WatchServer,
    about,
    forwarding,
    hookimpl,
    offered_exit,
    owned,
    via6,
)
from gatepost_plugins.exit_provider.lookup import look_up

NAME = "exit-provider"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    use: str = field(
        default="",
        metadata=about(
            "Use",
            "The provider that carries what leaves through this box, by the name it was imported "
            "under (`gatepost exit-provider import`).",
        ),
    )


@hookimpl
def describe() -> PluginInfo:
    return PluginInfo(
        title="Exit provider",
        summary="Offers the tunnel of a WireGuard provider to the mesh as a way to the internet.",
        settings=Settings,
    )


@hookimpl
def contribute(netmap: NetMap, settings: Settings, observed: Observed) -> Iterator[Item]:
    yield ACCEPT_RA
    yield WatchLocalNetworks()
    yield WatchPeerApi()
    yield WatchHostServers()
    if not settings.use:
        yield Notice(
            "no-exit-provider",
            "no provider is chosen: `gatepost exit-provider import FILE`, then "
            "`gatepost exit-provider use NAME`",
            Level.INFO,
        )
        return
    yield WatchProvider(settings.use)
    attached = observed.get(WatchLocalNetworks(), LocalNetworks()).networks
    spared = frozenset((*attached, *_own_networks(netmap)))
    # From here on what leaves is closed, whether there is a tunnel or not.
    yield OnlyThroughTunnel(tunnel=owned.PROVIDER_DEVICE, mesh=owned.DEVICE, spared=spared)
    yield from offered_exit(netmap, attached, observed.get(WatchPeerApi(), 0))
    yield from forwarding({4, 6}, observed.get(ACCEPT_RA, ""))
    yield from _rules()
    yield from (Route(owned.PROVIDER_TABLE, network, kind="throw") for network in spared)
    provider = observed.get(WatchProvider(settings.use), None)
    tunnel = _tunnel(provider, observed) if provider is not None else None
    yield from _ways(provider if tunnel is not None else None)
    yield from _names(provider, tunnel, observed.get(WatchHostServers(), HostServers()).servers)
    if provider is None:
        yield Notice(
            "exit-provider-missing",
            f"no provider was imported as {settings.use}, so nothing leaves through this box: "
            "`gatepost exit-provider list`",
            Level.ERROR,
        )
        return
    yield from _lookup(provider)
    if tunnel is None:
        yield Notice(
            "exit-provider-unknown-host",
            f"the provider's server {provider.host} has not been found in DNS yet, so nothing "
            "leaves through this box",
            Level.ERROR,
        )
        return
    yield tunnel
    yield from (Address(owned.PROVIDER_DEVICE, address) for address in provider.addresses)
    # Answers come from everywhere, and the way back to the sender is not the main table's.
    yield Sysctl(f"net.ipv4.conf.{owned.PROVIDER_DEVICE}.rp_filter", "2")


def _own_networks(netmap: NetMap) -> Iterator[IPNetwork]:
    """Return the networks of this site that the mesh may reach here: they need no provider."""
    for prefix in netmap.me.allowed:
        if prefix.prefixlen > 0:
            yield prefix
        if isinstance(prefix, IPv6Network) and (found := via6.read_prefix(prefix)) is not None:
            yield found[1]


def _rules() -> Iterator[Rule]:
    for family in (4, 6):
        yield Rule(
            family=family,
            priority=owned.PROVIDER_PRIORITY,
            table=owned.PROVIDER_TABLE,
            incoming=owned.DEVICE,
        )
        yield Rule(
            family=family,
            priority=owned.PROVIDER_DEVICE_PRIORITY,
            table=owned.PROVIDER_TABLE,
            outgoing=owned.PROVIDER_DEVICE,
        )


def _ways(provider: Provider | None) -> Iterator[Route]:
    """Route what the provider takes into its tunnel, and refuse the rest aloud."""
    taken = provider.allowed if provider is not None else frozenset[IPNetwork]()
    for prefix in taken:
        sources = [a for a in provider.addresses if a.version == prefix.version] if provider else []
        if sources:
            yield Route(owned.PROVIDER_TABLE, prefix, owned.PROVIDER_DEVICE, source=sources[0])
    for prefix in EVERYWHERE:
        has_source = provider and any(a.version == prefix.version for a in provider.addresses)
        if prefix not in taken or not has_source:
            yield Route(owned.PROVIDER_TABLE, prefix, kind="unreachable")


def _tunnel(provider: Provider, observed: Observed) -> Tunnel | None:
    found = _where(provider, observed)
    if found is None:
        return None
    peer = TunnelPeer(
        public_key=provider.server,
        preshared=provider.preshared,
        endpoint=Endpoint(found, provider.host_port),
        keepalive=provider.keepalive,
        allowed=provider.allowed,
    )
    return Tunnel(
        name=owned.PROVIDER_DEVICE,
        private_key=provider.private_key,
        port=provider.port or owned.PROVIDER_PORT,
        mark=owned.MARK,
        # What leaves came through the mesh, and no packet there is longer.
        mtu=provider.mtu or owned.MTU,
        peers=frozenset({peer}),
    )


def _where(provider: Provider, observed: Observed) -> IPAddress | None:
    """Return where the server is; until that was looked up, where it was before a restart."""
    literal = _literal(provider.host)
    if literal is not None:
        return literal
    found = observed.get(WatchHost(provider.host), ())
    return found[0] if found else observed.get(WatchServer(provider.server), None)


def _lookup(provider: Provider) -> Iterator[Item]:
    if _literal(provider.host) is None:
        yield WatchHost(provider.host)
        yield WatchServer(provider.server)
        yield Service(NAME, look_up, provider.host)


def _literal(host: str) -> IPAddress | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _names(
    provider: Provider | None, tunnel: Tunnel | None, usual: tuple[NameServer, ...]
) -> Iterator[Item]:
    """Ask the provider's name servers, through its tunnel, whoever wants to know.

    While there is no tunnel nobody is asked. Where the provider's own server is must be
    known before, so that one name goes the usual way.
    """
    if provider is not None and _literal(provider.host) is None and usual:
        yield Upstream(suffix=provider.host, servers=usual, rank="first")
    named = provider.dns if provider is not None else ()
    asked = tuple(a for a in named if a not in MESH_V4 and a not in MESH_V6)
    if hidden := [a for a in named if a not in asked]:
        yield Notice(
            "exit-provider-dns",
            f"the provider's name server {hidden[0]} lies in the range of the mesh and cannot be "
            "asked: get a file with another one",
        )
    if provider is not None and not named:
        yield Notice(
            "exit-provider-dns",
            "the provider's file names no name server: names are asked of this box's own, beside "
            "the tunnel. Add a line `DNS = …` and import it again",
        )
        return
    through = tuple(NameServer(addresses=(a,), device=owned.PROVIDER_DEVICE) for a in asked)
    yield Upstream(suffix="", servers=through if tunnel is not None else (), rank="first")
