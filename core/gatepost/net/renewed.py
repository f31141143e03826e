"""Greets peers that come back under another key, so that a tunnel is there at once.

Who gets a new key begins the WireGuard handshake as soon as it has it, mostly
before we have heard of the key; WireGuard drops that and tries again after 5
seconds, and as long nothing gets through to us. A packet of ours begins the
handshake from this side. When WireGuard knows the key nobody tells here, so
there are several.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from gatepost.model.keys import NodePublic
from gatepost.model.netmap import Node

GREETINGS = (0.2, 0.6, 1.5, 3.0)  # seconds after the netmap that brought the key


class RenewedKeys:
    """Knows the key of each node. `greet` sends any packet to a peer, and may not wait."""

    def __init__(
        self, greet: Callable[[NodePublic], None], delays: tuple[float, ...] = GREETINGS
    ) -> None:
        self._greet = greet
        self._delays = delays
        self._keys: dict[int, NodePublic] = {}

    def set_peers(self, peers: Iterable[Node]) -> None:
        """Take the peers of a new netmap, and greet the renewed ones in a moment."""
        before, self._keys = self._keys, {p.id: p.key for p in peers}
        for number, key in self._keys.items():
            if before.get(number, key) != key:
                loop = asyncio.get_running_loop()
                for delay in self._delays:
                    loop.call_later(delay, self._greet_again, number, key)

    def _greet_again(self, number: int, key: NodePublic) -> None:
        if self._keys.get(number) == key:
            self._greet(key)
