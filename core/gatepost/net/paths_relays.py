"""Who hears the messages of peer relays beside the path session: relay clients and servers."""

from __future__ import annotations

from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.model.netmap import Endpoint
from gatepost.net.path_ports import RelayLink
from gatepost.sessions.paths import Paths
from gatepost.sessions.paths_outputs import ByDerp, ByRelay, RelayPath, SeekRelay, Way
from gatepost.wire.disco_relay import Binding, RelayMessage


class RelayLinks:
    """The links of one path service, in the order in which they were attached."""

    def __init__(self, session: Paths) -> None:
        self._session = session
        self._links: tuple[RelayLink, ...] = ()
        self._stand_ins: dict[ByRelay, Endpoint] = {}
        self._servers: dict[Endpoint, Endpoint] = {}

    def attach(self, link: RelayLink) -> None:
        self._links += (link,)

    def found(self, path: RelayPath) -> None:
        """Note what stands for a place at a relay: the kernel changes the address of packets."""
        self.lost(path)
        if path.endpoint is not None:
            self._stand_ins[path.way] = path.endpoint
            self._servers[path.endpoint] = path.server

    def lost(self, path: RelayPath) -> None:
        """Forget what stood for a place."""
        if stand_in := self._stand_ins.pop(path.way, None):
            self._servers.pop(stand_in, None)

    def outward(self, way: ByRelay) -> Endpoint:
        """Return where to send what shall go through a relay."""
        return self._stand_ins.get(way, way.server)

    def inward(self, sender: Endpoint) -> Endpoint:
        """Return the relay behind the address that a packet came from."""
        return self._servers.get(sender, sender)

    def is_known(self, sender: DiscoPublic) -> bool:
        """Say whether a box from this key is worth opening: a peer's, or a relay's in use."""
        return self._session.is_known(sender) or any(i.is_known(sender) for i in self._links)

    def hear(self, sender: DiscoPublic, message: RelayMessage, way: Way) -> None:
        """Hand over a message that came by the way it should.

        Bindings are talk with a relay, in Geneve. The others come by DERP: only
        the owner speaks with a key, and only DERP proves who that is.
        """
        node = way.node if isinstance(way, ByDerp) else None
        if isinstance(message, Binding):
            allowed = isinstance(way, ByRelay)
        else:
            allowed = node is not None and self._session.owns(sender, node)
        for link in self._links if allowed else ():
            link.on_message(sender, node, message, way)

    def heard(self, sender: DiscoPublic, way: Way) -> None:
        """Tell of a peer's own message if it came through a relay."""
        if isinstance(way, ByRelay):
            for link in self._links:
                link.on_heard(sender, way)

    def seek(self, wanted: SeekRelay) -> None:
        for link in self._links:
            link.seek(wanted.peer, wanted.disco)

    def on_moved(self, peer: NodePublic, endpoint: Endpoint) -> None:
        for link in self._links:
            link.on_moved(peer, endpoint)
