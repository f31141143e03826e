"""Values for tests: whole, valid, and different in what the test names."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, TypedDict, Unpack

from gatepost.model.keys import DiscoPublic, NodePrivate, NodePublic
from gatepost.model.netmap import (
    MESH_V4,
    MESH_V6,
    AddressRange,
    DerpRegion,
    Endpoint,
    FilterRule,
    IPAddress,
    IPNetwork,
    NetMap,
    Node,
    PortRange,
)
from gatepost.model.observed import Observed, Watch
from gatepost.model.process import LocalNetworks, NodeFacts, WatchLocalNetworks, WatchNodeFacts


class NodeFields(TypedDict, total=False):
    """What a test may say about a node, beside its number and its routes."""

    name: str
    key: NodePublic
    addresses: tuple[IPAddress, ...]
    endpoints: tuple[Endpoint, ...]
    home_derp: int
    online: bool | None
    expired: bool
    authorized: bool
    user: int
    tags: tuple[str, ...]
    capabilities: Mapping[str, tuple[str, ...]]


def make_private(number: int) -> NodePrivate:
    """Return the private key of node `number`; X25519 ignores the lowest three bits of a key."""
    return NodePrivate((number << 8).to_bytes(32, "little"))


def make_node(number: int = 1, *routes: str, **said: Unpack[NodeFields]) -> Node:
    """Return node `number`: 100.64.x.y, a key of its own, `routes` behind it."""
    v4 = IPv4Address(int(MESH_V4.network_address) + number)
    v6 = IPv6Address(int(MESH_V6.network_address) + number)
    addresses = said.get("addresses", (v4, v6))
    networks: tuple[IPNetwork, ...] = tuple(ip_network(r) for r in routes)
    fields: NodeFields = {"name": f"box{number}.mesh.example", "home_derp": 900, **said}
    fields.setdefault("key", NodePublic(number.to_bytes(32, "big")))
    fields["addresses"] = addresses
    return Node(
        id=number,
        allowed=(*(ip_network(a) for a in addresses), *networks),
        disco=DiscoPublic((number + (1 << 64)).to_bytes(32, "big")),
        **fields,
    )


def make_range(text: str) -> AddressRange:
    """Read "10.0.0.0/8" or "10.0.0.1-10.0.0.9"."""
    first, dash, last = text.partition("-")
    if dash:
        return AddressRange(ip_address(first), ip_address(last))
    network = ip_network(first)
    return AddressRange(network[0], network[-1])


def make_rule(source: str, target: str, first: int = 0, last: int = 65535) -> FilterRule:
    """Let `source` reach ports `first` to `last` of `target`."""
    ports = PortRange(first, last)
    return FilterRule(sources=(make_range(source),), destinations=((make_range(target), ports),))


ALLOW_ALL = (make_rule("0.0.0.0/0", "0.0.0.0/0"), make_rule("::/0", "::/0"))


def make_netmap(
    peers: int = 1,
    *,
    me: Node | None = None,
    others: tuple[Node, ...] | None = None,
    rules: tuple[FilterRule, ...] | None = ALLOW_ALL,
    derp: tuple[DerpRegion, ...] = (),
) -> NetMap:
    """Return node 1 with `peers` peers, or with `others`."""
    myself = me or make_node(1, key=make_private(1).public)
    around = others if others is not None else tuple(make_node(n + 2) for n in range(peers))
    return NetMap(me=myself, peers=around, filter=rules, derp=derp)


def make_observed(
    *attached: str,
    addresses: tuple[str, ...] = (),
    number: int = 1,
    answers: Mapping[Watch[Any], object] | None = None,
) -> Observed:
    """Return what node `number` sees on a machine attached to the given networks."""
    local = LocalNetworks(
        networks=tuple(ip_network(n) for n in attached),
        addresses=tuple(ip_address(a) for a in addresses),
    )
    facts = NodeFacts(make_private(number), 41641)
    return Observed({WatchLocalNetworks(): local, WatchNodeFacts(): facts, **(answers or {})})
