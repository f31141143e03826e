"""Who asks at the peer API, and whether they may. Pure. Source: protocol document 5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from gatepost.model.netmap import FilterRule, IPAddress, NetMap, Node

_TCP = 6
_DNS = 53
_BRACKET = "]"
# What stands for the internet in the field: whoever may open port 53 there may ask for names.
_INTERNET: Mapping[int, IPAddress] = {
    4: IPv4Address("0.0.0.0"),
    6: IPv6Address("2000::"),
}  # not to listen at


@dataclass(slots=True)
class Callers:
    """Finds peers by their addresses; what it has built for one netmap it keeps for the next call.

    Each question that a peer asks is looked up twice, and there may be thousands of peers.
    """

    _netmap: NetMap | None = None
    _peers: Mapping[IPAddress, Node] = field(default_factory=dict[IPAddress, Node])

    def peer_at(self, netmap: NetMap, address: str) -> Node | None:
        """Return the peer whose own address this is; None for everybody else, this node too."""
        if netmap is not self._netmap:
            self._netmap = netmap
            self._peers = {a: p for p in netmap.peers if not p.expired for a in p.addresses}
        try:
            return self._peers.get(ip_address(address))
        except ValueError:  # with a zone: of a link, not of the mesh
            return None


def is_meant(netmap: NetMap, headers: Mapping[str, str]) -> bool:
    """Say whether a request is meant for this node, and comes from no web page.

    A page that a browser shows must not be able to ask in its user's name.
    """
    if headers.get("referer") or headers.get("origin"):
        return False
    host = headers.get("host", "")
    if host == "peer":
        return True
    name = host[1 : host.rindex(_BRACKET)] if host.startswith("[") and _BRACKET in host else (
        host.partition(":")[0]
    )  # fmt: skip
    try:
        return ip_address(name) in netmap.me.addresses
    except ValueError:
        return False


def may_ask_names(netmap: NetMap, peer: Node, address: str) -> bool:
    """Say whether a peer at this address may have names answered here.

    A user's own devices may; others may if the policy lets them reach the internet through
    this node, or, where it is a connector, the apps.
    """
    if peer.user == netmap.me.user and not (peer.tags or netmap.me.tags):
        return True
    sender = ip_address(address)
    return any(_opens(rule, sender) for rule in netmap.filter or ())


def _opens(rule: FilterRule, sender: IPAddress) -> bool:
    if rule.protocols and _TCP not in rule.protocols:
        return False
    internet = _INTERNET[sender.version]
    return any(sender in part for part in rule.sources) and any(
        internet in part and ports.first <= _DNS <= ports.last for part, ports in rule.destinations
    )
