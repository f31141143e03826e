"""What the hosts of a LAN must know to reach the other sites, and how their router is told. No I/O.

Without masquerade a host sees who really writes to it, and its answers have to come back
through the box. A host whose router is the box knows that already; others need these routes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, collapse_addresses, ip_network

from gatepost.model.netmap import IPAddress, IPNetwork
from gatepost.model.owned import ALIAS_NETWORK
from gatepost.model.process import LocalNetworks
from gatepost.wire.dhcp_routes import CODE, LONGEST, ClasslessRoute, write_routes

EVERYWHERE = IPv4Network("0.0.0.0/0")
STYLES = ("dnsmasq", "isc", "kea", "linux", "plain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lan:
    """A network that the mesh may reach, and the `routes` that its hosts need, by way of `via`."""

    network: IPNetwork
    via: IPAddress
    routes: tuple[IPNetwork, ...]


def lans_of(
    shared: Iterable[IPNetwork], local: LocalNetworks, carried: Iterable[IPNetwork]
) -> tuple[Lan, ...]:
    """Return the attached networks that are `shared` with the mesh, with what is `carried` there.

    A LAN's own addresses are reached in the LAN, whoever else offers them.
    """
    offered, remote = tuple(shared), tuple(carried)
    found = list[Lan]()
    for network in local.networks:
        if not any(network.version == n.version and network.overlaps(n) for n in offered):
            continue
        via = next((a for a in local.addresses if a in network), None)
        if via is not None:
            found.append(Lan(network=network, via=via, routes=routes_for(network, remote)))
    return tuple(found)


def routes_for(network: IPNetwork, carried: Iterable[IPNetwork]) -> tuple[IPNetwork, ...]:
    """Return the routes for hosts of `network`: as few as say the same."""
    if isinstance(network, IPv4Network):
        v4 = [n for n in carried if isinstance(n, IPv4Network) and not n.subnet_of(network)]
        return tuple(collapse_addresses(n for n in v4 if n != ALIAS_NETWORK))
    v6 = [n for n in carried if isinstance(n, IPv6Network) and not n.subnet_of(network)]
    return tuple(collapse_addresses(v6))


def told_to(style: str, lan: Lan, router: IPAddress | None) -> Iterator[str]:
    """Yield the lines that tell the LAN's hosts or router, in the language of `style`.

    `router` is the hosts' default router, which option 121 has to name, too. Raise
    `ValueError` if a DHCP server is to be told and that is missing, or the value is too long.
    """
    if style == "linux":
        yield from (f"ip route add {n} via {lan.via}" for n in lan.routes)
    elif style == "plain" or not lan.routes:
        yield from (f"{n} via {lan.via}" for n in lan.routes)
    else:
        yield _option(style, classless_routes(lan, router))


def classless_routes(lan: Lan, router: IPAddress | None) -> tuple[ClasslessRoute, ...]:
    """Return what option 121 has to say in this LAN, the default route last."""
    if not isinstance(lan.via, IPv4Address):
        raise ValueError(f"{lan.network}: DHCPv6 has no routes; hosts learn them by advertisements")  # noqa: TRY004  # the value is wrong, not its type
    if not isinstance(router, IPv4Address) or router not in lan.network:
        raise ValueError(
            f"{lan.network}: a client that is told routes by DHCP ignores its router unless it is "
            "among them: name the router of that network"
        )
    routes = (
        *(ClasslessRoute(n, lan.via) for n in lan.routes if isinstance(n, IPv4Network)),
        ClasslessRoute(EVERYWHERE, router),
    )
    if (length := len(write_routes(routes))) > LONGEST:
        raise ValueError(
            f"{lan.network}: {len(routes)} routes take {length} octets, and a DHCP option has "
            f"{LONGEST}: add them on the router"
        )
    return routes


def _option(style: str, routes: tuple[ClasslessRoute, ...]) -> str:
    if style == "dnsmasq":
        pairs = ",".join(f"{r.destination},{r.router}" for r in routes)
        return f"dhcp-option={CODE},{pairs}"
    octets = write_routes(routes)
    if style == "isc":
        numbers = ", ".join(str(octet) for octet in octets)
        return (
            f"option classless-routes code {CODE} = array of unsigned integer 8;\n"
            f"option classless-routes {numbers};"
        )
    if style == "kea":
        return (
            f'{{ "code": {CODE}, "space": "dhcp4", "csv-format": false, "data": "{octets.hex()}" }}'
        )
    raise ValueError(f"style {style!r} is none of {', '.join(STYLES)}")


def read_route(text: str) -> tuple[IPNetwork, IPAddress]:
    """Read "10.1.5.0/24 via 10.1.0.254"; raise `ValueError` with the way out."""
    words = text.split()
    if len(words) != 3 or words[1] != "via":  # noqa: PLR2004  # network, via, router
        raise ValueError(
            f"{text!r} must be a network and its router, like 10.1.5.0/24 via 10.1.0.9"
        )
    network, router = ip_network(words[0]), ip_network(words[2])
    if router.prefixlen != router.max_prefixlen:
        raise ValueError(f"{text!r}: {words[2]} must be the address of one router")
    if router.version != network.version:
        raise ValueError(f"{text!r}: the network and its router are of two versions of IP")
    return network, router.network_address
