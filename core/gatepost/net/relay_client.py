"""The relay client at work: messages, timers, and the kernel's stand-ins around the session.

    PathService --seek, messages, what was heard--> RelayClients --found, lost--> PathService
                                                        |
                                                     StandIns      the kernel wraps packets

A path is told as soon as its end is bound. While there is no stand-in for it
(the programs come a moment after the first need, or there is no BPF), the path
service carries the packets itself.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.model.netmap import Endpoint, NetMap, Node
from gatepost.net.tasks import Tasks
from gatepost.sessions.paths_outputs import ByDerp, ByRelay, RelayPath, Send, Way
from gatepost.sessions.relay_client import RelayClient
from gatepost.sessions.relay_client_numbers import CAPABLE
from gatepost.sessions.relay_client_outputs import AskOurselves, Found, Lost, Outcome, RelayNode
from gatepost.wire.disco import Message
from gatepost.wire.disco_relay import AllocateRequest, AllocateResponse, RelayMessage

log = logging.getLogger(__name__)

TARGET = "tailscale.com/cap/relay-target"  # capability of a relay at this node
REFUSES = "disable-relay-client"  # attribute of a node that shall not use relays
FIRST_TRIES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)  # seconds between tries of a first stand-in
CHECK = 5.0  # seconds between looks whether the stand-ins still work
LINGER = 2.0  # seconds for which a stand-in outlives its path: WireGuard moves a moment later


class PathsPort(Protocol):
    """What the relay client asks of the path service; `net.paths.PathService` is one."""

    def relay_path_found(self, key: NodePublic, path: RelayPath) -> None: ...
    def relay_path_lost(self, key: NodePublic, path: RelayPath) -> None: ...
    def send_message(self, receiver: DiscoPublic, way: Way, message: Message) -> str: ...


class StandInsPort(Protocol):
    """What it asks of the kernel; `linux.stand_ins.StandIns` is one."""

    async def open(self, server: Endpoint, vni: int) -> Endpoint | None: ...
    async def close(self, stand_in: Endpoint) -> None: ...
    def appear_as(self, stand_in: Endpoint, sender: Endpoint) -> None: ...
    async def check(self) -> frozenset[Endpoint]: ...


class RelayClients:
    """The use of relays by one path service. To be made on a running loop; `close` it.

    `ask_ourselves` is the relay on this very node; it answers None when there is none.
    """

    def __init__(
        self,
        *,
        disco: DiscoPublic,
        paths: PathsPort,
        stand_ins: StandInsPort,
        ask_ourselves: Callable[[AllocateRequest], AllocateResponse | None],
        clock: Callable[[], float] = time.monotonic,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        linger: float = LINGER,
    ) -> None:
        self._disco = disco
        self._paths = paths
        self._stand_ins = stand_ins
        self._ask_ourselves = ask_ourselves
        self._clock = clock
        self._linger = linger
        self._session = RelayClient(disco, random_bytes)
        self._me: NodePublic | None = None
        self._found: dict[ByRelay, tuple[NodePublic, RelayPath]] = {}
        self._endpoints: dict[NodePublic, Endpoint] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks = Tasks()
        self._hurry = asyncio.Event()
        self._tasks.spawn(self._keep_checking(), "stand-ins")

    # --- what the daemon says --------------------------------------------------------

    def set_netmap(self, netmap: NetMap | None) -> None:
        """Take who may relay for us and who could use a relay."""
        if netmap is None:
            return
        self._me = netmap.me.key
        able: Iterable[Node] = () if REFUSES in netmap.me.capabilities else netmap.peers
        peers = [p for p in able if p.capability_version >= CAPABLE and p.home_derp]
        granted = [p for p in peers if netmap.may(p, TARGET)]
        # Who grants it by "*" grants it for all nodes. A server that hides who relays leaves
        # no choice but to ask them.
        relays = [p for p in granted if p.offers_relay] or granted
        if REFUSES not in netmap.me.capabilities and netmap.may(netmap.me, TARGET):
            relays.append(replace(netmap.me, disco=self._disco))
        self._session.set_nodes(self._me, _relay_nodes(relays), _relay_nodes(peers))
        known = {p.key for p in netmap.peers}
        self._endpoints = {k: e for k, e in self._endpoints.items() if k in known}
        self._settle()

    def poke(self) -> None:
        """Bind again, and look at routes again: the machine's network has changed."""
        self._session.rebind(self._clock())
        self._hurry.set()
        self._settle()

    async def close(self) -> None:
        """Stop; stand-ins in use stay until somebody else uses relays."""
        self._disarm()
        await self._tasks.close()

    # --- what the daemon asks --------------------------------------------------------

    def outcomes(self, peer: NodePublic) -> Mapping[NodePublic | None, Outcome]:
        """Return how far we came with each relay; None is a relay that the peer told us of."""
        return self._session.outcomes(peer)

    @property
    def is_used(self) -> bool:
        """Whether there is a path through a relay, in use or not."""
        return bool(self._found)

    # --- what the path service says (net.path_ports.RelayLink) --------------------------

    def is_known(self, sender: DiscoPublic) -> bool:
        return self._session.is_known(sender)

    def on_message(
        self,
        sender: DiscoPublic,
        node: NodePublic | None,  # noqa: ARG002  # `way` says it too
        message: RelayMessage,
        way: Way,
    ) -> None:
        self._session.on_message(sender, message, way, self._clock())
        self._settle()

    def on_heard(self, sender: DiscoPublic, way: ByRelay) -> None:
        self._session.on_heard(sender, way, self._clock())
        self._settle()

    def seek(self, peer: NodePublic, disco: DiscoPublic) -> None:  # noqa: ARG002  # the netmap says it
        self._session.seek(peer, self._clock())
        self._settle()

    def on_moved(self, peer: NodePublic, endpoint: Endpoint) -> None:
        """Let what still comes by relays reach WireGuard from where it sends to now."""
        self._endpoints[peer] = endpoint
        for owner, path in self._found.values():
            if owner == peer and path.endpoint is not None:
                self._stand_ins.appear_as(path.endpoint, endpoint)

    # --- what the session wants ----------------------------------------------------------

    def _settle(self) -> None:
        """Do what the session asks for and set its timer."""
        for output in self._session.take():
            match output:
                case Send(receiver, way, message):
                    self._paths.send_message(receiver, way, message)
                case Found(peer, path):
                    self._on_found(peer, path)
                case Lost(_, path):
                    self._on_lost(path)
                case AskOurselves(request):
                    self._tasks.spawn(self._ask(request), "our own relay")
        self._arm()

    def _on_found(self, peer: NodePublic, path: RelayPath) -> None:
        known = self._found.get(path.way)
        if known is not None:
            path = replace(path, endpoint=known[1].endpoint)
        self._found[path.way] = peer, path
        if path.endpoint is not None:
            self._paths.relay_path_found(peer, path)
            return
        self._tasks.spawn(self._establish(path.way), f"stand-in for {path.server}")

    def _on_lost(self, path: RelayPath) -> None:
        known = self._found.pop(path.way, None)
        if known is None:
            return
        peer, path = known
        self._paths.relay_path_lost(peer, path)
        if path.endpoint is not None:
            self._tasks.spawn(self._close_later(path.way, path.endpoint), "closing a stand-in")

    async def _ask(self, request: AllocateRequest) -> None:
        """Ask the relay on this node; apart from the call that wanted it, like any other's."""
        response = self._ask_ourselves(request)
        if response is not None and self._me is not None:
            way = ByDerp(0, self._me)
            self._session.on_message(self._disco, response, way, self._clock())
            self._settle()

    # --- stand-ins ---------------------------------------------------------------------

    async def _establish(self, way: ByRelay) -> None:
        """Find a stand-in; tell the path at once, and again when there is one."""
        for wait in (0.0, *FIRST_TRIES):
            await asyncio.sleep(wait)
            if way not in self._found:
                return
            if await self._try(way):
                self._tell(way)
                return
            if not wait:
                self._tell(way)

    async def _try(self, way: ByRelay) -> bool:
        """Open the stand-in of a path; say whether it has one now."""
        stand_in = await self._stand_ins.open(way.server, way.vni)
        if stand_in is None:
            return False
        if way not in self._found:  # lost meanwhile
            await self._stand_ins.close(stand_in)
            return False
        peer, path = self._found[way]
        self._found[way] = peer, replace(path, endpoint=stand_in)
        if peer in self._endpoints:
            self._stand_ins.appear_as(stand_in, self._endpoints[peer])
        return True

    def _tell(self, way: ByRelay) -> None:
        """Tell a path as it is now.

        What goes by a stand-in is another flow to connection tracking: a NAT on this
        machine may give it another port than the one that was bound, so it is bound again.
        """
        if way not in self._found:
            return
        peer, path = self._found[way]
        self._paths.relay_path_found(peer, path)
        if path.endpoint is not None:
            self._session.bind_again(way, self._clock())
            self._settle()

    async def _close_later(self, way: ByRelay, stand_in: Endpoint) -> None:
        await asyncio.sleep(self._linger)
        if way not in self._found:  # else it was found again meanwhile
            await self._stand_ins.close(stand_in)

    async def _keep_checking(self) -> None:
        """Look at the stand-ins now and then; a path whose stand-in broke is carried by hand."""
        while True:
            try:
                async with asyncio.timeout(CHECK):
                    await self._hurry.wait()
            except TimeoutError:
                pass
            self._hurry.clear()
            if not self._found:
                continue
            broken = await self._stand_ins.check()
            for way, (peer, path) in tuple(self._found.items()):
                if self._found.get(way) != (peer, path):
                    continue  # lost, or another's, while an earlier one was tried
                if path.endpoint in broken:
                    self._found[way] = peer, replace(path, endpoint=None)
                    self._tell(way)
                elif path.endpoint is None and await self._try(way):
                    self._tell(way)

    # --- time ------------------------------------------------------------------------

    def _on_timer(self) -> None:
        self._timer = None
        self._session.on_timer(self._clock())
        self._settle()

    def _arm(self) -> None:
        self._disarm()
        when = self._session.next_timer()
        if when is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(when - self._clock(), 0.0), self._on_timer)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _relay_nodes(nodes: Iterable[Node]) -> list[RelayNode]:
    """Return those that can be written to under a known discovery key."""
    return [
        RelayNode(key=n.key, disco=n.disco, home=n.home_derp) for n in nodes if n.disco is not None
    ]
