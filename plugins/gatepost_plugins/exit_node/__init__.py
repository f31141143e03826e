"""Offers this box as a way to the internet, and sends packets out through another one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network

from gatepost.api import (
    ACCEPT_RA,
    Advertise,
    AllowedPrefix,
    ClampMss,
    Forward,
    ForwardOut,
    IPNetwork,
    Item,
    Level,
    LocalNetworks,
    Masquerade,
    MasqueradeOut,
    NetMap,
    Node,
    Notice,
    Observed,
    OnlyThroughMesh,
    PluginInfo,
    Route,
    Rule,
    WatchLocalNetworks,
    about,
    forwarding,
    hookimpl,
    owned,
)

EVERYWHERE = (ip_network("0.0.0.0/0"), ip_network("::/0"))
MOST_NETWORKS = len(owned.EXIT_PRIORITIES) - 1  # each has a rule of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    offer: bool = field(
        default=False,
        metadata=about("Offer this box", "Let others go out to the internet through this box."),
    )
    use: str = field(
        default="",
        metadata=about("Use", "The exit node to go out through: its name or address in the mesh."),
    )
    allow_lan: bool = field(
        default=True,
        metadata=about("Allow the LAN", "Reach the networks this box is attached to as ever."),
    )
    fail_closed: bool = field(
        default=True,
        metadata=about(
            "Fail closed", "While the exit node is away nothing goes out; off: the normal way."
        ),
    )
    networks: tuple[IPNetwork, ...] = field(
        default=(),
        metadata=about(
            "Networks", "Networks or devices behind this box that go out through it, too."
        ),
    )


@hookimpl
def describe() -> PluginInfo:
    return PluginInfo(
        title="Exit node",
        summary="Offers this box as a way to the internet, or goes out through another one.",
        settings=Settings,
    )


@hookimpl
def contribute(netmap: NetMap, settings: Settings, observed: Observed) -> Iterator[Item]:
    yield ACCEPT_RA
    yield WatchLocalNetworks()
    attached = observed.get(WatchLocalNetworks(), LocalNetworks()).networks
    versions = set[int]()
    if settings.offer:
        yield from (Advertise(prefix) for prefix in EVERYWHERE)
        approved = [p for p in EVERYWHERE if p in netmap.me.allowed]
        versions |= {p.version for p in approved}
        yield from _offer(approved, attached)
    if settings.use:
        yield from _use(netmap, settings, attached)
        versions |= {n.version for n in settings.networks}
    yield from forwarding(versions, observed.get(ACCEPT_RA, ""))


# --- for others ----------------------------------------------------------------------


def _offer(approved: list[IPNetwork], attached: Iterable[IPNetwork]) -> Iterator[Item]:
    """Forward to everywhere but the networks that this box is attached to.

    Those are a subnet router's to offer: who may use the internet here need not see the LAN.
    """
    if not approved:
        yield Notice(
            "exit-not-approved",
            "this box is offered as an exit node, but not approved on the coordination server yet "
            "(`gatepost admin routes`)",
            Level.INFO,
        )
    for prefix in approved:
        for part in _without(prefix, attached):
            yield Forward(part)
            yield Masquerade(part)
        yield ClampMss(prefix)


def _without(whole: IPNetwork, parts: Iterable[IPNetwork]) -> list[IPNetwork]:
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


# --- for this box and what is behind it -------------------------------------------------


def _use(netmap: NetMap, settings: Settings, attached: tuple[IPNetwork, ...]) -> Iterator[Item]:
    behind = settings.networks[:MOST_NETWORKS]
    if len(settings.networks) > MOST_NETWORKS:
        yield Notice(
            "too-many-exit-networks",
            f"only the first {MOST_NETWORKS} of {len(settings.networks)} networks go out through "
            "the exit node: name larger ones",
            Level.ERROR,
        )
    peer, complaint = _find(netmap, settings.use)
    if complaint:
        yield Notice("exit-unavailable", complaint, Level.ERROR)
    spared = frozenset(attached) if settings.allow_lan else frozenset(behind)
    if not settings.fail_closed and (peer is None or peer.online is False):
        return
    if settings.fail_closed:
        yield OnlyThroughMesh(device=owned.DEVICE, behind=frozenset(behind), spared=spared)
    for prefix in EVERYWHERE:
        if peer is not None:
            yield AllowedPrefix(prefix, peer.key)
        yield _way_out(netmap, prefix, is_there=peer is not None)
    yield from (Route(owned.EXIT_TABLE, network, kind="throw") for network in _in_order(spared))
    yield from _rules(behind)
    for network in behind:
        yield ForwardOut(ip_network("0.0.0.0/0" if network.version == 4 else "::/0"))  # noqa: PLR2004  # the version of IP
        yield MasqueradeOut(network)
        yield ClampMss(network)


def _way_out(netmap: NetMap, prefix: IPNetwork, *, is_there: bool) -> Route:
    source = {a.version: a for a in netmap.me.addresses}.get(prefix.version)
    if not is_there or source is None:
        return Route(owned.EXIT_TABLE, prefix, kind="blackhole")
    return Route(owned.EXIT_TABLE, prefix, owned.DEVICE, source=source)


def _rules(behind: Iterable[IPNetwork]) -> Iterator[Rule]:
    """Send this box's own packets and those from behind it to the exit's table.

    What carries the mesh itself has a mark, and only what has none is meant: a rule that
    is turned round ("not marked") would be so as a whole, and mean all that is forwarded.
    """
    first, *rest = owned.EXIT_PRIORITIES
    for family in (4, 6):
        yield Rule(
            family=family,
            priority=first,
            table=owned.EXIT_TABLE,
            mark=0,
            mask=owned.MARK_MASK,
            own=True,
        )
    for priority, network in zip(rest, behind, strict=False):
        yield Rule(
            family=4 if network.version == 4 else 6,  # noqa: PLR2004  # the version of IP
            priority=priority,
            table=owned.EXIT_TABLE,
            mark=0,
            mask=owned.MARK_MASK,
            source=network,
        )


def _find(netmap: NetMap, wanted: str) -> tuple[Node | None, str]:
    """Return the peer that is meant, if it can be used, and what is wrong if anything is."""
    name = wanted.lower().rstrip(".")
    found = [p for p in netmap.peers if name in _names(p)]
    if not found:
        return None, f"exit node {wanted}: no node of the mesh has this name or address"
    if len(found) > 1:
        return None, f"exit node {wanted}: {len(found)} nodes are called so: give its address"
    peer = found[0]
    missing = [str(p) for p in EVERYWHERE if p not in peer.allowed]
    if peer.expired:
        return None, f"exit node {wanted}: its login has expired"
    if len(missing) == len(EVERYWHERE):
        return None, (
            f"exit node {wanted}: it is no exit node for this box: it must offer itself "
            "(`gatepost set --advertise-exit-node`), be approved, and the policy must let us"
        )
    if missing:
        return peer, f"exit node {wanted}: it offers nothing for {missing[0]}, which goes nowhere"
    return peer, "" if peer.online is not False else f"exit node {wanted}: it is offline"


def _names(peer: Node) -> set[str]:
    full = peer.name.lower().rstrip(".")
    return {full, full.partition(".")[0], *(str(a) for a in peer.addresses)}


def _in_order(networks: Iterable[IPNetwork]) -> list[IPNetwork]:
    return sorted(networks, key=lambda n: (n.version, int(n.network_address), n.prefixlen))
