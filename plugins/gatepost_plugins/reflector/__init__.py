"""Lets hosts of chosen sites find each other's services: mDNS and SSDP, repeated there.

What hosts of this LAN multicast is told to the boxes of the chosen sites, and what those tell
is repeated here if the policy grants it to them. What is found is reached like everything:
over routes, and as the policy says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gatepost.api import (
    IPAddress,
    Item,
    Level,
    Listen,
    NetMap,
    Node,
    Notice,
    Observed,
    PluginInfo,
    Service,
    WatchLinks,
    about,
    hookimpl,
)
from gatepost.wire.reflected import CAPABILITY, PORT
from gatepost_plugins.reflector.reflecting import Parameters, reflect

NAME = "reflector"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    sites: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Sites", "The boxes whose hosts shall find services here, by name: box-b. They decide "
            "whether to listen."
        ),
    )  # fmt: skip
    links: tuple[str, ...] = field(
        default=(),
        metadata=about("Devices", "Network devices of the LAN here, such as lan0."),
    )


@hookimpl
def describe() -> PluginInfo:
    return PluginInfo(
        title="mDNS and SSDP reflector",
        summary="Lets hosts of chosen sites find each other's printers, players and the like.",
        settings=Settings,
    )


@hookimpl
def contribute(netmap: NetMap, settings: Settings, observed: Observed) -> Iterator[Item]:
    yield WatchLinks()
    if not settings.links:
        yield Notice(
            "reflector-devices",
            "name the devices of the LAN: gatepost plugin set reflector links=lan0 sites=box-b",
            Level.INFO,
        )
        return
    up = observed.get(WatchLinks(), ())
    if missing := [link for link in settings.links if up and link not in up]:
        yield Notice("reflector-device", f"{', '.join(missing)}: not up, so nobody is heard there")
    found = {site: _find(netmap, site) for site in settings.sites}
    if lost := [site for site, peer in found.items() if peer is None]:
        yield Notice("reflector-site", f"{', '.join(lost)}: no box of the mesh is called so")
    allowed = [peer for peer in netmap.peers if netmap.may(peer, CAPABILITY)]
    if not allowed:
        yield Notice(
            "reflector-unused",
            f"no other site is heard here: the policy grants {CAPABILITY} on this box to nobody",
            Level.INFO,
        )
    links = tuple(link for link in settings.links if link in up)
    if links and netmap.me.addresses:
        yield Listen("udp", PORT, "mesh", NAME)
        yield Service(
            NAME,
            reflect,
            Parameters(
                links=links,
                sites=tuple(a for p in found.values() if p and (a := _towards(netmap, p))),
                allowed=frozenset(a for peer in allowed for a in peer.addresses),
            ),
        )


def _find(netmap: NetMap, name: str) -> Node | None:
    wanted = name.lower().rstrip(".")
    return next(
        (p for p in netmap.peers if wanted in {p.label.lower(), p.name.lower().rstrip(".")}), None
    )


def _towards(netmap: NetMap, peer: Node) -> IPAddress | None:
    """Return an address of a peer of a version that this node has, too."""
    mine = {address.version for address in netmap.me.addresses}
    return next((address for address in peer.addresses if address.version in mine), None)
