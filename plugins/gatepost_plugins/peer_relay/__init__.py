"""Relays between peers that cannot reach each other directly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address

from gatepost.api import (
    Announce,
    Endpoint,
    Item,
    Level,
    Listen,
    MapEntry,
    NetMap,
    Notice,
    Observed,
    PeerRelay,
    PluginInfo,
    TrafficProgram,
    WatchFact,
    WatchLinks,
    WatchPeerRelay,
    about,
    hookimpl,
    owned,
)

BPF = WatchFact("bpf")  # why the kernel takes no program, nothing if it does
MAY_USE = "tailscale.com/cap/relay"  # what a peer must have been granted at this node
FORBIDDEN = "disable-relay-server"  # an attribute that the coordination server gives
_SETTINGS = "settings"  # the program's map: port 2 in network order, 0 2, mark 4 (bpf/peer_relay.c)
_KEY = bytes(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    port: int = field(
        default=owned.PEER_RELAY_PORT,
        metadata=about(
            "UDP port",
            "Must be reachable from outside. 0 takes a free one, another with every start.",
            minimum=0,
            maximum=65535,
        ),
    )
    static_endpoints: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Static endpoints",
            "Addresses with ports that lead here too, such as 203.0.113.5:41650, for a router "
            "that forwards a port.",
        ),
    )
    devices: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Devices", "Where relayed packets come in; empty: every network device that is up."
        ),
    )

    def __post_init__(self) -> None:
        for text in self.static_endpoints:
            read_endpoint(text)


def read_endpoint(text: str) -> Endpoint:
    """Read `address:port`, an IPv6 address in brackets; raise `ValueError` with the way out."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) <= 65535:  # noqa: PLR2004  # the highest port
        raise ValueError(f"{text!r} must be an address and a port, like 203.0.113.5:41650")
    in_brackets = host.startswith("[") and host.endswith("]")
    address = ip_address(host[1:-1] if in_brackets else host)
    if (address.version == 6) != in_brackets:  # noqa: PLR2004  # the version of IP
        raise ValueError(f"{text!r}: an IPv6 address stands in brackets, like [2001:db8::5]:41650")
    return Endpoint(address, int(port))


@hookimpl
def describe() -> PluginInfo:
    return PluginInfo(
        title="Peer relay",
        summary="Carries traffic between peers that cannot reach each other directly.",
        settings=Settings,
    )


@hookimpl
def contribute(netmap: NetMap, settings: Settings, observed: Observed) -> Iterator[Item]:
    if FORBIDDEN in netmap.me.capabilities:
        yield Notice("relay-forbidden", "the coordination server forbids this node to relay")
        return
    yield PeerRelay(port=settings.port, static=tuple(map(read_endpoint, settings.static_endpoints)))
    yield Announce("peer-relay", "true")
    yield from _users(netmap)
    yield BPF
    yield WatchPeerRelay()
    # A port that is set counts before it is open: after a restart of the daemon the kernel
    # still forwards at it, and must not be stopped for that moment.
    port = observed.get(WatchPeerRelay(), 0) or settings.port
    if port:
        yield Listen("udp", port, "internet", "peer-relay")
    if trouble := observed.get(BPF, ""):
        yield Notice(
            "relay-in-user-space",
            f"relayed packets pass through user space, which is slower: {trouble}",
            Level.INFO,
        )
    elif port:
        yield from _programs(port, settings, observed)


def _users(netmap: NetMap) -> Iterator[Item]:
    if netmap.peers and not any(netmap.may(peer, MAY_USE) for peer in netmap.peers):
        yield Notice(
            "relay-unused",
            f"no peer may use this relay: the policy grants {MAY_USE} on it to nobody",
            Level.INFO,
        )


def _programs(port: int, settings: Settings, observed: Observed) -> Iterator[Item]:
    yield WatchLinks()
    there = observed.get(WatchLinks(), ())
    value = port.to_bytes(2, "big") + bytes(2) + owned.MARK.to_bytes(4, "little")
    for device in there:
        if not settings.devices or device in settings.devices:
            yield TrafficProgram(
                device=device,
                direction="in",
                priority=owned.RELAY_PRIORITY,
                object="peer_relay",
                program="ethernet",
                bare="bare",
                entries=frozenset((MapEntry(_SETTINGS, _KEY, value),)),
            )
    for device in settings.devices:
        if there and device not in there:
            yield Notice("relay-device", f"{device} is not up, so nothing is relayed through it")
