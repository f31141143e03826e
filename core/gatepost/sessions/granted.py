"""Whether a server may have granted routes to this node without telling it.

Headscale tells the peers of a node that its routes are approved, and sends the
node itself a packet filter, but not its own entry; the same when the node takes
a network over from one that went away. Its own entry comes with a new stream
only. Official clients forward whatever they offer, so they do not miss it.

A filter is no proof, so a server that is asked in vain is asked less and less.
A peer that gains or loses a network which this node offers, too, is more.
"""

from __future__ import annotations

from collections.abc import Iterable

from gatepost.model.netmap import IPNetwork, NetMap
from gatepost.wire.netmap import MapResponse

SOON = 1.0  # seconds
SELDOM = 60.0  # seconds, what the wait grows to, twice as long each time


class GrantDoubt:
    """Look at each message of one server, over all its streams."""

    def __init__(self) -> None:
        self._wait = SOON
        self._waiting = frozenset[IPNetwork]()
        self._carried = frozenset[IPNetwork]()

    def on_message(
        self, message: MapResponse, netmap: NetMap, offered: Iterable[IPNetwork]
    ) -> float | None:
        """Return after how many seconds to ask for the whole map again; None: no need.

        `netmap` is what is known with the message, `offered` what this node advertises.
        """
        waiting = frozenset(offered).difference(netmap.me.allowed)
        carried = _carried(waiting, netmap) if waiting else waiting
        had = self._waiting, self._carried
        self._waiting, self._carried = waiting, carried
        if (waiting, carried) != had:
            self._wait = SOON
        if not waiting or message.node is not None:
            return None
        if had[0] == waiting and had[1] != carried:
            return SOON
        if message.packet_filter is None and not message.packet_filters:
            return None
        wait, self._wait = self._wait, min(2 * self._wait, SELDOM)
        return wait


def _carried(waiting: frozenset[IPNetwork], netmap: NetMap) -> frozenset[IPNetwork]:
    """Return those of the networks that lead to a peer now."""
    return waiting.intersection(n for peer in netmap.peers for n in peer.allowed)
