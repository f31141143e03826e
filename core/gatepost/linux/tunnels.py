"""The applier of `Tunnel`: WireGuard devices beside the mesh's, each with its peers as a whole."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable

from gatepost.linux.wireguard import NO_KEY, WireGuard
from gatepost.linux.wireguard_state import PeerState, PeerUpdate, in_order
from gatepost.model.kernel import WireGuardDevice
from gatepost.model.keys import NodePublic
from gatepost.model.owned import TUNNEL_DEVICES
from gatepost.model.resource import Change, Resource
from gatepost.model.tunnel import Tunnel, TunnelPeer

OpenDevice = Callable[[str], WireGuard]


class Tunnels:
    """Owns the devices named in `names`, from the first peer to the last."""

    applies: type[Resource] = Tunnel

    def __init__(self, open_device: OpenDevice, names: Iterable[str] = TUNNEL_DEVICES) -> None:
        self._devices = {name: open_device(name) for name in sorted(names)}
        self._silent = dict[str, frozenset[NodePublic]]()  # peers for whom no endpoint is wanted

    async def read(self) -> frozenset[Resource]:
        found = [await self._read(name, device) for name, device in self._devices.items()]
        return frozenset(tunnel for tunnel in found if tunnel is not None)

    async def _read(self, name: str, device: WireGuard) -> Tunnel | None:
        link = await device.link()
        state = await device.read()
        if link is None or state is None:
            return None
        silent = self._silent.get(name, frozenset())
        return Tunnel(
            name=name,
            private_key=state.private_key or NO_KEY,
            port=state.port,
            mark=state.mark,
            # A device that is down carries nothing, whatever its MTU.
            mtu=link.mtu if link.is_up else 0,
            peers=frozenset(_peer(p, follows=p.public_key in silent) for p in state.peers),
        )

    async def write(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            if isinstance(change.new, Tunnel):
                old = change.old
                before = old.peers if isinstance(old, Tunnel) else frozenset[TunnelPeer]()
                await self._configure(change.new, before)
            elif isinstance(change.old, Tunnel):
                await self._devices[change.old.name].remove()

    async def _configure(self, wanted: Tunnel, before: frozenset[TunnelPeer]) -> None:
        if wanted.name not in self._devices:
            known = ", ".join(self._devices)
            raise OSError(errno.EPERM, f"{wanted.name}: the tunnels of this node are {known}")
        device = self._devices[wanted.name]
        silent = frozenset(p.public_key for p in wanted.peers if p.endpoint is None)
        self._silent[wanted.name] = silent
        await device.configure(
            WireGuardDevice(
                name=wanted.name,
                private_key=wanted.private_key,
                port=wanted.port,
                mark=wanted.mark,
                mtu=wanted.mtu,
            )
        )
        await device.update_peers(_steps(before, wanted.peers))


def _steps(before: frozenset[TunnelPeer], after: frozenset[TunnelPeer]) -> list[PeerUpdate]:
    """Return who goes, then who is new or differs, each written whole."""
    kept = {peer.public_key for peer in after}
    gone = {peer.public_key for peer in before} - kept
    return [
        *(PeerUpdate(public_key=key, remove=True) for key in sorted(gone)),
        *(
            PeerUpdate(
                public_key=peer.public_key,
                endpoint=peer.endpoint,
                allowed=in_order(peer.allowed),
                preshared=peer.preshared,
                keepalive=peer.keepalive,
                create=True,
                replace=True,
            )
            for peer in sorted(after - before, key=lambda p: p.public_key)
        ),
    ]


def _peer(state: PeerState, *, follows: bool) -> TunnelPeer:
    """Return what the device holds; who `follows` is where it was heard, and that is no setting."""
    return TunnelPeer(
        public_key=state.public_key,
        preshared=state.preshared,
        endpoint=None if follows else state.endpoint,
        keepalive=state.keepalive,
        allowed=state.allowed,
    )
