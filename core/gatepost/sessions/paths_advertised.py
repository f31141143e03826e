"""Discovery keys that peers told through the tunnel, before the coordination server did.

An official node has a new key after every start. What it tells is believed
because WireGuard proves who sent it, and until the netmap says another key than
the one that it said before. Source: protocol document 2.6.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.sessions.paths_outputs import PeerFacts


class Advertised:
    """At most one key per peer of the netmap. `netmap` are the peers as the netmap says."""

    __slots__ = ("_keys", "netmap")

    def __init__(self) -> None:
        self.netmap: Mapping[NodePublic, PeerFacts] = {}
        # For each peer the key in the netmap that was replaced, and the peer's own.
        self._keys: dict[NodePublic, tuple[DiscoPublic | None, DiscoPublic]] = {}

    def add(self, key: NodePublic, disco: DiscoPublic) -> None:
        """Believe a peer of the netmap."""
        self._keys[key] = self.netmap[key].disco, disco

    def apply(self, netmap: Mapping[NodePublic, PeerFacts]) -> dict[NodePublic, PeerFacts]:
        """Take a netmap and return it with what the peers told since.

        Peers with a key that they told come last: where two have one key, the netmap's is the
        likelier owner.
        """
        self.netmap = netmap
        self._keys = {
            key: (replaced, told)
            for key, (replaced, told) in self._keys.items()
            if key in netmap and netmap[key].disco == replaced
        }
        told = {
            key: dataclasses.replace(netmap[key], disco=disco)
            for key, (_, disco) in self._keys.items()
        }
        return {k: f for k, f in netmap.items() if k not in told} | told
