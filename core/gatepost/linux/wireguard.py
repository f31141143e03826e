"""The WireGuard device of this node, made by the kernel or by wireguard-go.

`open_wireguard` looks once which of the two there is. From then on the device is
a `WireGuard`, and nobody else needs to know: the appliers of `WireGuardDevice`
and `WireGuardPeer` write it, the path service moves endpoints, status reads it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from gatepost.linux import rtnetlink
from gatepost.linux.links import find_link
from gatepost.linux.netlink import Netlink
from gatepost.linux.rtnetlink import Link
from gatepost.linux.wireguard_go import GoBackend
from gatepost.linux.wireguard_kernel import KernelBackend
from gatepost.linux.wireguard_state import (
    Backend,
    BackendName,
    DeviceState,
    DeviceUpdate,
    PeerState,
    PeerUpdate,
    plan_peers,
)
from gatepost.model.kernel import WireGuardDevice, WireGuardPeer
from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.model.netmap import Endpoint
from gatepost.model.owned import DEVICE
from gatepost.model.resource import Change, Resource

T = TypeVar("T")
NO_KEY = NodePrivate(bytes(32))  # how a device without a key reads
InitialEndpoint = Callable[[NodePublic], Endpoint | None]


async def open_wireguard(
    netlink: Netlink,
    device: str = DEVICE,
    *,
    prefer: Literal["auto", "kernel", "wireguard-go"] = "auto",
    log: Path | None = None,
) -> WireGuard:
    """Choose the implementation: the kernel's when it has one, else wireguard-go.

    `log` is the file for what wireguard-go has to say. Raise `OSError` when there is neither.
    """
    if prefer != "wireguard-go":
        kernel = await KernelBackend.probe(netlink)
        if kernel is not None:
            return WireGuard(netlink, kernel, device)
        if prefer == "kernel":
            raise OSError(errno.EOPNOTSUPP, "this kernel has no WireGuard")
    return WireGuard(netlink, GoBackend(log), device)


class WireGuard:
    """One WireGuard device. Safe to use from several tasks at once."""

    def __init__(self, netlink: Netlink, backend: Backend, device: str) -> None:
        self._netlink = netlink
        self._backend = backend
        self.device = device

    def beside(self, device: str) -> WireGuard:
        """Return another device of the same implementation."""
        return WireGuard(self._netlink, self._backend, device)

    @property
    def backend(self) -> BackendName:
        return self._backend.name

    async def link(self) -> Link | None:
        """Return the network device, None when there is none; raise when it is a stranger's."""
        link = await find_link(self._netlink, self.device)
        if link is None or await self._backend.owns(self.device, link.kind):
            return link
        raise OSError(
            errno.EEXIST,
            f"{self.device} exists but is not a {self._backend.name} WireGuard device of ours "
            f"(kind {link.kind or 'hardware'!r}): `ip link delete {self.device}` makes room",
        )

    async def read(self) -> DeviceState | None:
        """Return keys, port, mark and peers; None when the device is not there."""
        if await self.link() is None:
            return None
        try:
            return await self._backend.read(self.device)
        except FileNotFoundError:
            return None  # it went away in between

    async def peers(self) -> tuple[PeerState, ...]:
        """Return every peer with its counters; nothing when there is no device."""
        state = await self.read()
        return () if state is None else state.peers

    async def set_endpoints(self, endpoints: Mapping[NodePublic, Endpoint]) -> None:
        """Move peers in one transaction; a peer that is gone stays gone."""
        updates = [PeerUpdate(public_key=k, endpoint=e) for k, e in endpoints.items()]
        await self._backend.write(self.device, DeviceUpdate(), updates)

    async def configure(self, wanted: WireGuardDevice) -> None:
        """Make the device and set what differs; a device that is right is not touched."""
        link = await self.link()
        if link is None:
            await self._backend.create(self.device)
            link = await self.link()
            if link is None:
                raise OSError(errno.ENODEV, f"{self.device} vanished while it was being made")
        state = await self._backend.read(self.device)
        # The key and port go first: a device that comes up without them sends nothing useful.
        update = DeviceUpdate(
            private_key=_changed(state.private_key, wanted.private_key),
            port=_changed(state.port, wanted.port),
            mark=_changed(state.mark, wanted.mark),
        )
        if update:
            await self._backend.write(self.device, update, ())
        if link.mtu != wanted.mtu:
            await self._netlink.write([rtnetlink.set_mtu(link, wanted.mtu)])
        if not link.is_up:
            await self._netlink.write([rtnetlink.refuse_link_local(link)], _NO_IPV6)
            await self._netlink.write([rtnetlink.set_up(link)])

    async def remove(self) -> None:
        """Delete the device; wireguard-go ends with it."""
        link = await self.link()
        if link is not None:
            request = rtnetlink.delete_link(link.index, link.name)
            await self._netlink.write([request], frozenset({errno.ENODEV}))

    async def update_peers(self, updates: Sequence[PeerUpdate]) -> None:
        """Carry out the steps in their order, in one transaction."""
        await self._backend.write(self.device, DeviceUpdate(), updates)

    async def write_peers(
        self, changes: tuple[Change, ...], endpoints: Mapping[NodePublic, Endpoint]
    ) -> None:
        await self._backend.write(self.device, DeviceUpdate(), plan_peers(changes, endpoints))


_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.ENODEV})


def _changed(now: T | None, wanted: T) -> T | None:
    return None if now == wanted else wanted


class Devices:
    """The applier of `WireGuardDevice`."""

    applies: type[Resource] = WireGuardDevice

    def __init__(self, wireguard: WireGuard) -> None:
        self._wireguard = wireguard

    async def read(self) -> frozenset[Resource]:
        link = await self._wireguard.link()
        state = await self._wireguard.read()
        if link is None or state is None:
            return frozenset()
        return frozenset(
            {
                WireGuardDevice(
                    name=self._wireguard.device,
                    private_key=state.private_key or NO_KEY,
                    port=state.port,
                    mark=state.mark,
                    # A device that is down carries nothing, whatever its MTU.
                    mtu=link.mtu if link.is_up else 0,
                )
            }
        )

    async def write(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            if isinstance(change.new, WireGuardDevice):
                if change.new.name != self._wireguard.device:
                    raise OSError(
                        errno.EPERM,
                        f"{change.new.name}: this node's device is {self._wireguard.device}",
                    )
                await self._wireguard.configure(change.new)
            else:
                await self._wireguard.remove()


class Peers:
    """The applier of `WireGuardPeer`; a new peer's first endpoint comes from `initial_endpoint`."""

    applies: type[Resource] = WireGuardPeer

    def __init__(self, wireguard: WireGuard, initial_endpoint: InitialEndpoint) -> None:
        self._wireguard = wireguard
        self._initial_endpoint = initial_endpoint

    async def read(self) -> frozenset[Resource]:
        return frozenset(
            WireGuardPeer(
                device=self._wireguard.device,
                public_key=peer.public_key,
                # A pre-shared key or keep-alive set by hand: equal to no peer that is wanted.
                allowed=peer.allowed if peer.is_plain else frozenset(),
            )
            for peer in await self._wireguard.peers()
        )

    async def write(self, changes: tuple[Change, ...]) -> None:
        endpoints: dict[NodePublic, Endpoint] = {}
        for change in changes:
            if change.old is None and isinstance(change.new, WireGuardPeer):
                endpoint = self._initial_endpoint(change.new.public_key)
                if endpoint is not None:
                    endpoints[change.new.public_key] = endpoint
        await self._wireguard.write_peers(changes, endpoints)
