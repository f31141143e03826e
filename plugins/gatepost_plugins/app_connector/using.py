"""Names that this box asks a connector for, where the coordination server does not say so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gatepost.api import Item, Level, NetMap, Node, Notice, Upstream, parse_name_server
from gatepost_plugins.app_connector.domains import parse_domain, suffix_of


def parse_use(text: str) -> tuple[str, str]:
    """Read `*.apps.example=box-b` into a suffix and a node; raise `ValueError` with the way out."""
    domain, sign, node = text.partition("=")
    if not sign or not node.strip():
        raise ValueError(f"{text!r} is not a domain and its connector, such as wiki.example=box-b")
    return suffix_of(parse_domain(domain)), node.strip().lower().rstrip(".")


def use(netmap: NetMap, wanted: Iterable[str]) -> Iterator[Item]:
    """Ask connectors for their suffixes; whose connector is away is asked of nobody."""
    chosen = dict[str, list[str]]()
    for suffix, name in map(parse_use, wanted):
        chosen.setdefault(suffix, []).append(name)
    for suffix, names in chosen.items():
        servers = list[str]()
        for name in names:
            endpoint, complaint = _place_of(netmap, name)
            if complaint:
                yield Notice("app-connector-away", f"{suffix}: {complaint}", Level.ERROR)
            else:
                servers.append(f"http://{endpoint}/dns-query")
        found = tuple(parse_name_server(s) for s in servers)
        yield Upstream(suffix=suffix, servers=found, rank="first")


def _place_of(netmap: NetMap, name: str) -> tuple[str, str]:
    """Return where a connector answers, or what is wrong."""
    found = [p for p in netmap.peers if name in _names(p)]
    if len(found) != 1:
        many = f"{len(found)} nodes are called {name}: give its address"
        return "", many if found else f"no node of the mesh is called {name}"
    place = netmap.peer_api(found[0])
    if place is None or not found[0].services.names:
        return "", f"{name} answers no names: is it an app connector?"
    return str(place), ""


def _names(peer: Node) -> set[str]:
    full = peer.name.lower().rstrip(".")
    return {full, full.partition(".")[0], *(str(a) for a in peer.addresses)}
