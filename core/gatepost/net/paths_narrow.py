"""Addresses of peers that lose whole packets of the tunnel: told to the kernel, and kept told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

from gatepost.model.keys import NodePublic
from gatepost.model.netmap import Endpoint, IPNetwork, Node

log = logging.getLogger(__name__)

FIRST = 5.0  # seconds in which paths are measured, before what an earlier daemon found is forgotten
RENEWAL = 5.0  # seconds after which the kernel is told again: ways to an address change

NarrowAddresses = Callable[[Mapping[Endpoint, Collection[IPNetwork]]], Awaitable[None]]


async def narrow_nothing(_: Mapping[Endpoint, Collection[IPNetwork]]) -> None:
    """Leave all addresses as they are: this machine's routes are not ours."""


class Narrowed:
    """The wish, and the one task that carries it out. Nothing is undone at the end."""

    def __init__(self, narrow: NarrowAddresses, first: float = FIRST) -> None:
        self._narrow = narrow
        self._first = first
        self._wanted: dict[NodePublic, Endpoint] = {}
        self._behind: Mapping[NodePublic, Collection[IPNetwork]] = {}
        self._trouble = ""
        self._changed = asyncio.Event()

    def set_peers(self, peers: Iterable[Node]) -> None:
        """Take what is behind each peer; others are forgotten."""
        behind = {p.key: p.allowed for p in peers}
        if any(self._behind.get(key) != behind.get(key) for key in self._wanted):
            self._changed.set()
        self._behind = behind
        self._wanted = {k: e for k, e in self._wanted.items() if k in behind}

    def narrow(self, peer: NodePublic, endpoint: Endpoint | None) -> None:
        """Take where a peer's packets may only be short; None is nowhere."""
        self._wanted.pop(peer, None)
        if endpoint is not None:
            self._wanted[peer] = endpoint
        self._changed.set()

    async def run(self) -> None:
        """Carry out until cancelled."""
        await self._wait(self._first)
        while True:
            wanted = bool(self._wanted)
            await self._write({e: self._behind.get(k, ()) for k, e in self._wanted.items()})
            await self._wait(RENEWAL if wanted or self._trouble else None)

    async def _wait(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    async def _write(self, wanted: Mapping[Endpoint, Collection[IPNetwork]]) -> None:
        try:
            await self._narrow(wanted)
        except OSError as error:  # long packets are lost there, as before
            if str(error) != self._trouble:
                log.warning("could not fit packets to %d narrow paths: %s", len(wanted), error)
            self._trouble = str(error)
        else:
            self._trouble = ""
