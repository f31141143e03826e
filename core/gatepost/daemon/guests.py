"""Plain WireGuard: this box's key for it, and what can be said about the machines that use it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import msgspec

from gatepost.daemon.inputs import Inputs
from gatepost.daemon.settings_file import BoxSettings
from gatepost.daemon.status import PeerNumbers
from gatepost.daemon.store import Store
from gatepost.daemon.wishes import Wishes
from gatepost.engine.lower import clamp
from gatepost.errors import Malformed, SettingsError, StateError
from gatepost.linux.wireguard import WireGuard
from gatepost.linux.wireguard_state import in_order
from gatepost.model.guest_documents import GuestDocument, PlainWireGuardDocument
from gatepost.model.guests import Guests, WatchTunnelKey
from gatepost.model.keys import NodePrivate
from gatepost.model.netmap import IPAddress, IPNetwork
from gatepost.model.observed import Watch
from gatepost.model.owned import GUEST_DEVICE
from gatepost.model.resource import Resource
from gatepost.model.tunnel import Tunnel
from gatepost.sessions.guests import reach_of, read_guests
from gatepost.sessions.netcheck import Report

PLUGIN = "plain-wireguard"
PREFIX = "tunnel-key-"  # of the sealed files
_PURPOSE = re.compile(r"[a-z][a-z-]{0,31}")


@dataclass(frozen=True, slots=True)
class TunnelKeyProbe:
    """Answers with this box's key for a purpose, made at the first question."""

    store: Store
    answers: type[Watch[NodePrivate | None]] = WatchTunnelKey

    async def ask(self, watch: Watch[NodePrivate | None]) -> object:
        purpose = cast(WatchTunnelKey, watch).purpose  # `answers` says so
        return await asyncio.to_thread(self._key, purpose)

    def _key(self, purpose: str) -> NodePrivate:
        """Raise `StateError` rather than make another: machines out there know the old one."""
        if not _PURPOSE.fullmatch(purpose):
            raise SettingsError(f"{purpose[:40]!r} is no purpose of a key")
        raw = self.store.load(PREFIX + purpose)
        if raw is None:
            key = clamp(NodePrivate(os.urandom(32)))
            self.store.save(PREFIX + purpose, key.reveal().encode())
            return key
        try:
            return NodePrivate.parse(raw.decode("ascii", "replace"))
        except Malformed as error:
            path = self.store.directory / (PREFIX + purpose)
            raise StateError(
                f"{path} holds no key: remove it, and every machine has to be invited again"
            ) from error


class GuestDevice(Protocol):
    """The device of the guests; `linux.wireguard.WireGuard` is one."""

    async def peers(self) -> Sequence[PeerNumbers]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestDesk:
    """Says what machines need to know, and which are there.

    `wanted` are the resources of the last round, `box` the settings in force, `shared` the
    networks of this site that the mesh reaches, `seen` the addresses that the internet sees.
    """

    device: GuestDevice
    box: Callable[[], BoxSettings]
    wanted: Callable[[], Iterable[Resource]]
    shared: Callable[[], Iterable[IPNetwork]]
    seen: Callable[[], Iterable[IPAddress]]

    async def document(self, carried: Iterable[IPNetwork]) -> PlainWireGuardDocument:
        """Describe it; `carried` is what this box routes into the mesh."""
        tunnel, networks = self._wanted()
        if tunnel is None:
            return PlainWireGuardDocument()
        settings = self.box().of(PLUGIN)
        lines = cast("Sequence[str]", settings.get("peers", ()))  # the plugin has read it so
        guests = read_guests(lines)
        peers = {peer.public_key: peer for peer in await self._peers()}
        host = str(settings.get("host", "")) or next((_written(a) for a in self.seen()), "")
        return PlainWireGuardDocument(
            key=tunnel.private_key.public.base64,
            host=host,
            port=tunnel.port,
            mtu=tunnel.mtu,
            networks=tuple(map(str, networks)),
            reach=tuple(map(str, reach_of(networks, self.shared(), carried))),
            guests=tuple(
                _document(GuestDocument(
                    name=g.name,
                    number=g.number,
                    key=g.key.base64,
                    addresses=tuple(map(str, g.addresses(networks))),
                ), peers.get(g.key))
                for g in guests
            ),
        )  # fmt: skip

    def _wanted(self) -> tuple[Tunnel | None, tuple[IPNetwork, ...]]:
        tunnel, networks = None, tuple[IPNetwork, ...]()
        for resource in self.wanted():
            if isinstance(resource, Tunnel) and resource.name == GUEST_DEVICE:
                tunnel = resource
            elif isinstance(resource, Guests):
                networks = in_order(resource.networks)
        return tunnel, networks

    async def _peers(self) -> Sequence[PeerNumbers]:
        try:
            return await self.device.peers()
        except OSError:
            return ()  # a stranger's device of that name: the reconciler's notice says so


def make_guests(
    wireguard: WireGuard,
    inputs: Inputs,
    wishes: Wishes,
    box: Callable[[], BoxSettings],
    report: Callable[[], Report | None],
) -> GuestDesk:
    """Make the desk of this box; `report` is what the last look at the network around it found."""

    def shared() -> Iterable[IPNetwork]:
        return inputs.netmap.me.routes if inputs.netmap else ()

    def seen() -> Iterable[IPAddress]:
        found = report()
        return (e.address for e in (*found.seen_v4, *found.seen_v6)) if found else ()

    def wanted() -> Iterable[Resource]:
        return wishes.merged.resources.values()

    return GuestDesk(
        device=wireguard.beside(GUEST_DEVICE),
        box=box,
        wanted=wanted,
        shared=shared,
        seen=seen,
    )


def _written(address: IPAddress) -> str:
    return str(address) if address.version == 4 else f"[{address}]"  # noqa: PLR2004  # version of IP


def _document(guest: GuestDocument, peer: PeerNumbers | None) -> GuestDocument:
    if peer is None:
        return guest
    return msgspec.structs.replace(
        guest,
        endpoint=str(peer.endpoint or ""),
        last_handshake=peer.last_handshake,
        received=peer.received,
        sent=peer.sent,
    )
