"""What every exit does for the mesh, whichever way its packets leave."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from gatepost.model.kernel import ClampMss, Forward, Masquerade
from gatepost.model.mesh import Advertise
from gatepost.model.netmap import IPNetwork, NetMap
from gatepost.model.peer_api import AnswerPeers, peer_api
from gatepost.model.resource import Level, Notice, Resource

EVERYWHERE: tuple[IPNetwork, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def offered_exit(
    netmap: NetMap, attached: Iterable[IPNetwork], tries: int
) -> Iterator[Resource | Notice]:
    """Forward to everywhere but the networks that this box is attached to, and answer for names.

    Those are a subnet router's to offer: who may use the internet here need not see the LAN.
    `tries` answers `WatchPeerApi`.
    """
    yield from (Advertise(prefix) for prefix in EVERYWHERE)
    approved = approved_exit(netmap)
    if not approved:
        yield Notice(
            "exit-not-approved",
            "this box is offered as an exit node, but not approved on the coordination server yet "
            "(`gatepost admin routes`)",
            Level.INFO,
        )
    for prefix in approved:
        for part in without(prefix, attached):
            yield Forward(part)
            yield Masquerade(part)
        yield ClampMss(prefix)
    if approved:
        yield AnswerPeers("")
        yield from peer_api(netmap.me.addresses, tries)


def approved_exit(netmap: NetMap) -> tuple[IPNetwork, ...]:
    """Return the versions of the internet that this node may carry for others."""
    return tuple(prefix for prefix in EVERYWHERE if prefix in netmap.me.allowed)


def without(whole: IPNetwork, parts: Iterable[IPNetwork]) -> list[IPNetwork]:
    """Return the prefixes of `whole` that have nothing in common with `parts`."""
    rest = [whole]
    for part in parts:
        if part.version == whole.version:
            rest = [left for one in rest for left in _cut(one, part)]
    return sorted(rest, key=lambda n: (int(n.network_address), n.prefixlen))


def _cut(one: IPNetwork, part: IPNetwork) -> Iterable[IPNetwork]:
    if not one.overlaps(part):
        return (one,)
    if one.prefixlen >= part.prefixlen:
        return ()
    # Both have the same version, as the caller says; the library has a method for each.
    return one.address_exclude(part)  # type: ignore[arg-type]  # see above
