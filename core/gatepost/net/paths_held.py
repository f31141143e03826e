"""Addresses whose WireGuard packets come to us instead, because WireGuard would follow them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from gatepost.model.keys import NodePublic
from gatepost.model.netmap import Endpoint

log = logging.getLogger(__name__)

RENEWAL = 3.0  # seconds after which what is still wanted is said again: the kernel's forget

HoldAddresses = Callable[[Iterable[Endpoint]], Awaitable[None]]


async def hold_nothing(_: Iterable[Endpoint]) -> None:
    """Let WireGuard have its packets: there is no packet filter."""


class Held:
    """The wish, and the one task that carries it out."""

    def __init__(self, hold: HoldAddresses) -> None:
        self._hold = hold
        self._wanted: dict[NodePublic, Endpoint] = {}
        # What the kernel held last and before that: such packets may still be on their way to us.
        self._applied: dict[Endpoint, NodePublic] = {}
        self._formerly: dict[Endpoint, NodePublic] = {}
        self._may_hold = False  # whether the kernel may have addresses now
        self._changed = asyncio.Event()

    def hold(self, peer: NodePublic, endpoint: Endpoint | None) -> None:
        """Hold what the peer's WireGuard sends from `endpoint`; None is nothing."""
        self._wanted.pop(peer, None)
        if endpoint is not None:
            self._wanted[peer] = endpoint
        self._changed.set()

    def owner(self, endpoint: Endpoint) -> NodePublic | None:
        """Return whose packets are held at an address, or were until a moment ago."""
        return self._applied.get(endpoint) or self._formerly.get(endpoint)

    async def run(self) -> None:
        """Carry out until cancelled; then nothing is held any more."""
        try:
            while True:
                await self._wait()
                await self._write(dict(self._wanted))
        finally:
            if self._may_hold:
                self._wanted.clear()
                await self._write({})

    async def _wait(self) -> None:
        """Wait for a change, or until what is wanted must be said again."""
        try:
            async with asyncio.timeout(RENEWAL if self._wanted else None):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    async def _write(self, wanted: dict[NodePublic, Endpoint]) -> None:
        owners = {endpoint: peer for peer, endpoint in wanted.items()}
        if owners != self._applied:
            self._formerly, self._applied = self._applied | owners, owners
        self._may_hold = self._may_hold or bool(owners)
        try:
            await self._hold(owners)
            self._may_hold = bool(owners)
        except OSError as error:  # a broken path is left more slowly without it, nothing else
            log.warning("could not hold the packets of %d peers: %s", len(owners), error)
