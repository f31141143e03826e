"""Whom each node asks for the names of apps: the connectors, at their peer APIs. Pure.

Source: protocol document 7.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gatepost.coordination.world import Node, World
from gatepost.policy.apps import APP_CONNECTORS, EVERY_CONNECTOR, texts_of
from gatepost.policy.intervals import bits
from gatepost.wire.netmap import Resolver

_WILD = "*."
_PATH = "/dns-query"
_IPV4, _IPV6 = "peerapi4", "peerapi6"

AppRoutes = Mapping[str, tuple[Resolver, ...]]  # by suffix, without dots at its ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """A node that answers for apps. `urls` are for askers with and without IPv4 in the mesh."""

    id: int
    is_online: bool
    suffixes: frozenset[str]
    urls: tuple[str, str]


def connectors(world: World) -> tuple[Connector, ...]:
    """Return the connectors that can be asked, those online first."""
    compiled = world.rights.compiled
    found = (_connector(world, world.nodes[i]) for i in bits(compiled.connectors))
    usable = [c for c in found if c is not None]
    return tuple(sorted(usable, key=lambda c: (not c.is_online, c.id)))


def app_routes(world: World, known: tuple[Connector, ...], viewer: int) -> AppRoutes:
    """Return whom a viewer asks for which suffix; all connectors of an app, the best first.

    Nobody is told of a connector that the policy does not let it use, and a connector not of its
    own apps: it would ask itself.
    """
    if not known or world.nodes[viewer].presence.expired:
        return {}
    compiled = world.rights.compiled
    is_free, through = compiled.visibility.internet.of(viewer)
    usable = compiled.view(viewer).peers & (-1 if is_free else through)
    own = next((c.suffixes for c in known if c.id == viewer), frozenset[str]())
    lacks_ipv4 = bool(compiled.attributes.without_ipv4 >> viewer & 1)
    found: dict[str, list[Resolver]] = {}
    for connector in known:
        url = connector.urls[lacks_ipv4]
        if url and usable >> connector.id & 1:
            for suffix in connector.suffixes - own:
                found.setdefault(suffix, []).append(Resolver(addr=url))
    return {suffix: tuple(found[suffix]) for suffix in sorted(found)}


def _connector(world: World, node: Node) -> Connector | None:
    compiled = world.rights.compiled
    suffixes = set[str]()
    for app in compiled.capabilities(node.id).get(APP_CONNECTORS) or ():
        named = texts_of(app, "connectors")
        if EVERY_CONNECTOR in named or any(tag in named for tag in node.record.tags):
            suffixes |= {_suffix(d) for d in texts_of(app, "domains")}
    lacks_ipv4 = bool(compiled.attributes.without_ipv4 >> node.id & 1)
    urls = _urls(node, lacks_ipv4=lacks_ipv4)
    if not suffixes - {""} or not any(urls) or node.presence.expired:
        return None
    return Connector(
        id=node.id,
        is_online=node.presence.online is not False,
        suffixes=frozenset(suffixes - {""}),
        urls=urls,
    )


def _urls(node: Node, *, lacks_ipv4: bool) -> tuple[str, str]:
    """Return where a node with IPv4 asks this one, and one without; "" is nowhere."""
    ports = {s.proto: s.port for s in node.report.hostinfo.services or ()}
    v4, v6 = node.record.addresses
    six = f"http://[{v6}]:{ports[_IPV6]}{_PATH}" if ports.get(_IPV6) else ""
    four = f"http://{v4}:{ports[_IPV4]}{_PATH}" if ports.get(_IPV4) and not lacks_ipv4 else ""
    return four or six, six


def _suffix(domain: str) -> str:
    return domain.strip().lower().removeprefix(_WILD).strip(".")
