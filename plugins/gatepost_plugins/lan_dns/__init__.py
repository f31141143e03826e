"""Lets hosts of the LAN ask this box for names: those of the mesh, and all others.

Only hosts in networks of this site are answered, whatever way a question comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from gatepost.api import (
    IPAddress,
    IPNetwork,
    Item,
    Level,
    Listen,
    LocalNetworks,
    MeshNames,
    NetMap,
    Notice,
    Observed,
    PluginInfo,
    Service,
    WatchLocalNetworks,
    about,
    hookimpl,
)
from gatepost.sessions.dns_names import name_plan
from gatepost_plugins.lan_dns.lists import check_list
from gatepost_plugins.lan_dns.serving import Parameters, WatchLists, serve

NAME = "lan-dns"
PORT = 53
# Networks of homes and offices. A box with a public address must not answer the world.
PRIVATE: tuple[IPNetwork, ...] = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv6Network("fc00::/7"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    networks: tuple[IPNetwork, ...] = field(
        default=(),
        metadata=about(
            "Networks",
            "Whose hosts are answered, and at this box's addresses there. Empty: the private "
            "networks that it is attached to.",
        ),
    )
    block_lists: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Block lists",
            "Names in these have no addresses for hosts of the LAN: files, or https:// "
            "addresses that are read again each day.",
        ),
    )

    def __post_init__(self) -> None:
        for text in self.block_lists:
            check_list(text)


@hookimpl
def describe() -> PluginInfo:
    return PluginInfo(
        title="LAN DNS",
        summary="Answers hosts of the LAN that ask this box for names.",
        settings=Settings,
    )


@hookimpl
def contribute(netmap: NetMap, settings: Settings, observed: Observed) -> Iterator[Item]:
    yield WatchLocalNetworks()
    here = observed.get(WatchLocalNetworks(), LocalNetworks())
    networks = settings.networks or tuple(n for n in here.networks if _is_private(n))
    addresses = tuple(sorted(_inside(here.addresses, networks), key=lambda a: (a.version, a)))
    if not addresses:
        shown = ", ".join(map(str, networks)) or "any private network"
        yield Notice(
            "lan-dns-nowhere",
            f"this box has no address in {shown}, so no host there can ask it for names: choose "
            "the networks of lan-dns",
            Level.WARNING,
        )
        return
    if netmap.dns.is_on:
        yield MeshNames(plan=name_plan(netmap))
    if settings.block_lists:
        yield WatchLists()
        for problem in observed.get(WatchLists(), ()):
            yield Notice("block-list", problem, Level.WARNING)
    yield Listen("udp", PORT, "lan", NAME, addresses)
    yield Listen("tcp", PORT, "lan", NAME, addresses)
    yield Service(NAME, serve, Parameters(sources=networks, lists=settings.block_lists))


def _is_private(network: IPNetwork) -> bool:
    return any(
        network.version == other.version and network.subnet_of(other)  # type: ignore[arg-type]  # of one version
        for other in PRIVATE
    )


def _inside(
    addresses: tuple[IPAddress, ...], networks: tuple[IPNetwork, ...]
) -> Iterator[IPAddress]:
    yield from (a for a in addresses if any(a in n for n in networks))
