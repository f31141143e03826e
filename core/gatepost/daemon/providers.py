"""The WireGuard providers that were imported: sealed files of the state directory.

What is sealed is the provider's own file. It is read again at each use, so a stricter
reader of a later version says what it dislikes, and nobody sees a key anywhere else.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from gatepost.daemon.inputs import Inputs
from gatepost.daemon.settings_file import BoxSettings
from gatepost.daemon.store import Store
from gatepost.errors import NotFoundError, RefusedError, SettingsError, StateError
from gatepost.hookspecs import Probe
from gatepost.linux.wireguard import WireGuard
from gatepost.linux.wireguard_state import PeerState
from gatepost.model.exits import EVERYWHERE
from gatepost.model.netmap import IPAddress
from gatepost.model.observed import Watch
from gatepost.model.owned import PROVIDER_DEVICE
from gatepost.model.provider import Provider, WatchProvider, WatchServer
from gatepost.model.status import ProviderDocument, ProviderRequest
from gatepost.wire.wg_quick import covers, read_wg_quick

log = logging.getLogger(__name__)

PLUGIN = "exit-provider"
PREFIX = "exit-provider-"  # of the sealed files
MOST = 100  # imported at the same time
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")

Publish = Callable[[WatchProvider, Provider | None], None]
PeerNow = Callable[[], Awaitable[PeerState | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Providers:
    """Keeps the files, and tells the plugins when one changes.

    `in_use` names the one that settings name, "" for none; `peer_now` reads the
    server's end of the tunnel as it is now.
    """

    store: Store
    publish: Publish
    in_use: Callable[[], str]
    peer_now: PeerNow

    async def documents(self) -> tuple[ProviderDocument, ...]:
        """Describe all; one whose file cannot be used any more has an `error`."""
        names = await asyncio.to_thread(self._names)
        used, peer = self.in_use(), await self.peer_now()
        return tuple([await self._document(name, used, peer) for name in names])

    async def take(self, request: ProviderRequest) -> ProviderDocument:
        """Read a file and keep it, in the place of one with the same name."""
        name = request.name
        if not _NAME.fullmatch(name):
            raise SettingsError(
                f"{name[:40]!r} is no name for a provider: up to 32 small letters, digits and -"
            )
        provider = read_wg_quick(request.text)
        names = await asyncio.to_thread(self._names)
        if name not in names and len(names) >= MOST:
            raise RefusedError(f"{MOST} providers are imported already: remove one first")
        await asyncio.to_thread(self.store.save, PREFIX + name, request.text.encode())
        log.info("imported the provider %s", name)
        self.publish(WatchProvider(name), provider)
        return await self._document(name, self.in_use(), await self.peer_now())

    async def remove(self, name: str) -> None:
        """Forget one; raise `RefusedError` for the one in use."""
        if name not in await asyncio.to_thread(self._names):
            raise NotFoundError(f"no provider was imported as {name!r}")
        if name == self.in_use():
            raise RefusedError(
                f"{name} is in use: nothing would leave through this box any more",
                hint="gatepost exit-provider off, or use another one first",
            )
        await asyncio.to_thread(self.store.forget, PREFIX + name)
        self.publish(WatchProvider(name), None)

    def load(self, name: str) -> Provider | None:
        """Read one, None if there is none; raise `StateError` or `SettingsError`."""
        raw = self.store.load(PREFIX + name) if _NAME.fullmatch(name) else None
        return None if raw is None else read_wg_quick(raw.decode("utf-8", "replace"))

    def _names(self) -> list[str]:
        found = (path.name for path in self.store.directory.glob(f"{PREFIX}*"))
        return sorted(n for name in found if _NAME.fullmatch(n := name.removeprefix(PREFIX)))

    async def _document(self, name: str, used: str, peer: PeerState | None) -> ProviderDocument:
        try:
            provider = await asyncio.to_thread(self.load, name)
        except (SettingsError, StateError) as error:
            return ProviderDocument(name=name, used=name == used, error=str(error))
        if provider is None:  # removed in between
            return ProviderDocument(name=name, error="it is gone")
        return _describe(name, provider, peer if name == used else None, used=name == used)


def _describe(
    name: str, provider: Provider, peer: PeerState | None, *, used: bool
) -> ProviderDocument:
    """Say what can be shown: everything but the keys that are secret."""
    mine = {a.version for a in provider.addresses}
    carried = [w for w in EVERYWHERE if covers(provider.allowed, w) and w.version in mine]
    there = peer if peer is not None and peer.public_key == provider.server else None
    host = f"[{provider.host}]" if ":" in provider.host else provider.host
    return ProviderDocument(
        name=name,
        used=used,
        server=f"{host}:{provider.host_port}",
        key=provider.server.base64,
        addresses=tuple(map(str, provider.addresses)),
        resolvers=tuple(map(str, provider.dns)),
        carries=tuple(f"IPv{w.version}" for w in carried),
        last_handshake=there.last_handshake if there else None,
        received=there.received if there else 0,
        sent=there.sent if there else 0,
    )


@dataclass(frozen=True, slots=True)
class ProviderProbe:
    """Answers what was imported under a name."""

    providers: Providers
    answers: type[Watch[Provider | None]] = WatchProvider

    async def ask(self, watch: Watch[Provider | None]) -> object:
        name = cast(WatchProvider, watch).name  # `answers` says so
        return await asyncio.to_thread(self.providers.load, name)


@dataclass(frozen=True, slots=True)
class ServerProbe:
    """Answers where the tunnel that is there leads: what an earlier daemon made goes on."""

    providers: Providers
    answers: type[Watch[IPAddress | None]] = WatchServer

    async def ask(self, watch: Watch[IPAddress | None]) -> object:
        server = cast(WatchServer, watch).server  # `answers` says so
        peer = await self.providers.peer_now()
        if peer is None or peer.public_key != server or peer.endpoint is None:
            return None
        return peer.endpoint.address


def provider_probes(providers: Providers) -> tuple[Probe, ...]:
    return (ProviderProbe(providers), ServerProbe(providers))


def make_providers(
    store: Store, wireguard: WireGuard, inputs: Inputs, box: Callable[[], BoxSettings]
) -> Providers:
    """Make the providers of this box; `box` gives the settings in force."""
    device = wireguard.beside(PROVIDER_DEVICE)

    def in_use() -> str:
        settings = box()
        return str(settings.of(PLUGIN).get("use", "")) if PLUGIN in settings.enabled else ""

    async def peer_now() -> PeerState | None:
        try:
            return next(iter(await device.peers()), None)
        except OSError:
            return None  # a stranger's device of that name: the reconciler's notice says so

    return Providers(store=store, publish=inputs.answer_one, in_use=in_use, peer_now=peer_now)
