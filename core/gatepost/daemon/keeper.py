"""What the control loop remembers over a restart, written without blocking the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Hashable
from functools import partial

from gatepost.daemon.store import NETMAP, Identity, Store
from gatepost.errors import GatepostError, StateError
from gatepost.model.netmap import NetMap
from gatepost.model.resource import Level, Notice
from gatepost.net.tasks import Tasks
from gatepost.sessions.netmap import MapState

log = logging.getLogger(__name__)

SAVE_EVERY = 15.0  # seconds between two writes of a netmap that the kernel does not depend on
SAVE_SOON = 0.2  # seconds between two writes of one that it does: a killed daemon starts from it


class Keeper:
    """The identity and the last netmap, in memory and on the disk.

    A disk that cannot be written is a notice, not the end: the node works on
    from memory, and only a restart would lose what was not written.
    """

    def __init__(self, store: Store, identity: Identity) -> None:
        self._store = store
        self.identity = identity
        self._failure: Notice | None = None
        self._one_by_one = asyncio.Lock()
        self._tasks = Tasks()
        self._latest: Callable[[], bytes] | None = None
        self._saving = False
        self._hurry = asyncio.Event()
        self._essence: Hashable = None
        self._listeners: list[Callable[[], None]] = []

    def on_identity(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change of the identity; it must not wait."""
        self._listeners.append(listener)

    def notices(self) -> tuple[Notice, ...]:
        return (self._failure,) if self._failure else ()

    async def keep_identity(self, identity: Identity) -> None:
        """Replace the identity, here at once and then on the disk."""
        self.identity = identity
        for listener in self._listeners:
            listener()
        await self._write(lambda: self._store.save_identity(identity))

    def keep_netmap(self, netmap: NetMap, dump: Callable[[], bytes]) -> None:
        """Save the netmap soon; `dump` is called then, and only the last one counts."""
        self._latest = dump
        if (essence := _essence(netmap)) != self._essence:
            self._essence = essence
            self._hurry.set()
        if not self._saving:
            self._saving = True
            self._tasks.spawn(self._save(), "save the netmap")

    async def _save(self) -> None:
        try:
            while (dump := self._latest) is not None:
                self._hurry.clear()
                await self._write(partial(self._store.save, NETMAP, dump()))
                if self._latest is dump:  # only now: who is stopped while writing writes again
                    self._latest = None
                await asyncio.sleep(SAVE_SOON)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SAVE_EVERY - SAVE_SOON):
                        await self._hurry.wait()
        finally:
            self._saving = False

    async def forget_netmap(self) -> None:
        self._latest = None
        await self._write(lambda: self._store.forget(NETMAP))

    async def load_netmap(self) -> NetMap | None:
        """Return the last netmap, if it is there, can be read, and is this node's."""
        node = self.identity.node
        try:
            raw = await asyncio.to_thread(self._store.load, NETMAP)
            if raw is None or node is None:
                return None
            state = MapState()
            state.load(raw)
            netmap = state.netmap()
        except GatepostError as error:
            log.warning("the stored netmap cannot be used: %s", error)
            return None
        return netmap if netmap is not None and netmap.me.key == node.public else None

    async def close(self) -> None:
        """Write what is still waiting."""
        await self._tasks.close()
        if self._latest is not None:
            raw = self._latest()
            await self._write(lambda: self._store.save(NETMAP, raw))

    async def _write(self, work: Callable[[], None]) -> None:
        """Do it after what was asked for before: the last one counts, not the slowest."""
        try:
            async with self._one_by_one:
                await asyncio.to_thread(work)
        except (StateError, OSError) as error:
            if self._failure is None:
                log.error("%s", error)  # noqa: TRY400  # the trace says nothing more
            self._failure = Notice("state-not-saved", f"{error}: make room", Level.ERROR)
        else:
            self._failure = None


def _essence(netmap: NetMap) -> Hashable:
    """Return what links, routes and the filter are made of: not who is online, and not where."""
    peers = tuple((p.key, p.addresses, p.allowed, p.expired) for p in netmap.peers)
    return netmap.me.key, netmap.me.addresses, netmap.me.allowed, peers, netmap.filter
