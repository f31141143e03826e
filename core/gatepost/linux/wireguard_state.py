"""What a WireGuard device is and what may be asked of it, whichever implementation it is.

Nothing here talks to the kernel: values, and the pure step from "these peers
changed" to the smallest list of updates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from gatepost.model.kernel import WireGuardPeer
from gatepost.model.keys import NodePrivate, NodePublic, PresharedKey
from gatepost.model.netmap import Endpoint, IPNetwork
from gatepost.model.resource import Change

BackendName = Literal["kernel", "wireguard-go"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerState:
    """A peer as the device knows it now."""

    public_key: NodePublic
    endpoint: Endpoint | None = None
    last_handshake: float | None = None  # seconds since 1970; None means never
    received: int = 0  # bytes
    sent: int = 0  # bytes
    allowed: frozenset[IPNetwork] = frozenset()
    preshared: PresharedKey | None = None
    keepalive: int = 0  # seconds, 0 is none

    @property
    def is_plain(self) -> bool:
        """Say whether it has neither, as we make every peer of the mesh."""
        return self.preshared is None and self.keepalive == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """What the implementation says about its device; `private_key` None means none is set."""

    private_key: NodePrivate | None
    port: int
    mark: int
    peers: tuple[PeerState, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUpdate:
    """What to change about a device; None leaves it as it is."""

    private_key: NodePrivate | None = None
    port: int | None = None
    mark: int | None = None

    def __bool__(self) -> bool:
        return (self.private_key, self.port, self.mark) != (None, None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerUpdate:
    """One step about one peer.

    `create` False leaves a peer that is not there alone. `replace` takes all
    prefixes away before `allowed` is added. A prefix that another peer has
    moves to this one, in one instant. `preshared` and `keepalive` (seconds) count with
    `create` only.
    """

    public_key: NodePublic
    endpoint: Endpoint | None = None
    allowed: tuple[IPNetwork, ...] = ()
    preshared: PresharedKey | None = None
    keepalive: int = 0
    create: bool = False
    replace: bool = False
    remove: bool = False


class Backend(Protocol):
    """An implementation of WireGuard. All methods raise `OSError` in its own words."""

    name: BackendName

    async def create(self, device: str) -> None:
        """Make the device; it must not exist."""
        ...

    async def owns(self, device: str, kind: str) -> bool:
        """Say whether the existing link of that `kind` is a device of this implementation."""
        ...

    async def read(self, device: str) -> DeviceState:
        """Return all of it; `FileNotFoundError` when the device is not there."""
        ...

    async def write(self, device: str, update: DeviceUpdate, peers: Sequence[PeerUpdate]) -> None:
        """Carry out the steps in their order."""
        ...


def plan_peers(
    changes: Iterable[Change], endpoints: Mapping[NodePublic, Endpoint]
) -> list[PeerUpdate]:
    """Return the steps for these changes, such that no prefix is ever without its peer.

    First every peer gets the prefixes it lacks: one that belonged to another peer
    moves in that instant. Then the peers that still hold a prefix which nobody
    gets any more have their list replaced; only those have a gap, of microseconds,
    because WireGuard before Linux 6.16 cannot take away a single prefix.
    """
    add: list[PeerUpdate] = []
    replace: list[PeerUpdate] = []
    remove: list[PeerUpdate] = []
    wanted = [c for c in changes if isinstance(c.new, WireGuardPeer)]
    taken: set[IPNetwork] = set()
    for change in wanted:
        assert isinstance(change.new, WireGuardPeer)  # noqa: S101  # filtered above
        taken |= change.new.allowed
    for change in changes:
        new, old = change.new, change.old
        if isinstance(new, WireGuardPeer):
            before = old.allowed if isinstance(old, WireGuardPeer) else frozenset[IPNetwork]()
            endpoint = None if isinstance(old, WireGuardPeer) else endpoints.get(new.public_key)
            add.append(
                PeerUpdate(
                    public_key=new.public_key,
                    endpoint=endpoint,
                    allowed=in_order(new.allowed - before),
                    create=True,
                )
            )
            if before - new.allowed - taken:
                replace.append(
                    PeerUpdate(
                        public_key=new.public_key, allowed=in_order(new.allowed), replace=True
                    )
                )
        elif isinstance(old, WireGuardPeer):
            remove.append(PeerUpdate(public_key=old.public_key, remove=True))
    return [*add, *replace, *remove]


def in_order(prefixes: Iterable[IPNetwork]) -> tuple[IPNetwork, ...]:
    return tuple(sorted(prefixes, key=lambda p: (p.version, p.network_address.packed, p.prefixlen)))
