"""Our connections to the other DERP servers of the region: who is there, and packets for them.

One task per server keeps one connection, with the key that all of them share.
What comes over it is who joins and leaves there; what we send over it are
packets for their clients. `sessions.derp_mesh` keeps the books.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from gatepost.errors import GatepostError, UnreachableError
from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.model.netmap import DerpNode
from gatepost.net.derp_link import Contexts, DerpLink, open_link
from gatepost.net.tls import utc_now
from gatepost.sessions.backoff import Backoff
from gatepost.sessions.derp_client import READ_TIMEOUT, DerpSession, Event, Ready
from gatepost.sessions.derp_mesh import Neighbour
from gatepost.sessions.derp_server import Relay
from gatepost.wire.derp import write_frame
from gatepost.wire.derp_frames import PeerGone, PeerPresent, WatchPeers

log = logging.getLogger(__name__)

CONNECT_BUDGET = 5.0  # seconds, TCP to the end of the greeting
FIRST_RETRY = 0.5  # seconds
LONGEST_RETRY = 15.0  # seconds
STABLE = 5.0  # seconds a connection lives before it counts as a success
CHECK = 10.0  # seconds between looks whether the other side is still there
_HINT = "; is the mesh key the same on both sides?"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshState:
    """One other server as it is shown. `problem` is the last error, or empty."""

    name: str
    connected: bool
    clients: int
    problem: str


class MeshLink:
    """One other server; the `Output` of what is forwarded to it."""

    def __init__(self, node: DerpNode, relay: Relay, private: NodePrivate, mesh_key: str) -> None:
        self._node = node
        self._relay = relay
        self._private = private
        self._mesh_key = mesh_key
        self._contexts = Contexts()
        self._link: DerpLink | None = None
        self._neighbour: Neighbour | None = None
        self._is_self = False
        self._problem = ""
        self._backoff = Backoff(first=FIRST_RETRY, longest=LONGEST_RETRY)

    def state(self) -> MeshState:
        neighbour = self._neighbour
        return MeshState(
            name=f"{self._node.host}:{self._node.port}",
            connected=neighbour is not None,
            clients=0 if neighbour is None else len(neighbour.present),
            problem=self._problem,
        )

    async def run(self) -> None:
        """Keep the connection; end when the other server turns out to be this one."""
        while not self._is_self:
            try:
                await self._connect_and_stay()
            except GatepostError as error:
                self._say(str(error))
            if not self._is_self:
                await asyncio.sleep(self._backoff.next(secrets.randbelow(1 << 16) / (1 << 16)))
        self._problem = "this is our own address: not dialled"
        log.info("mesh: %s is this server itself", self._node.host)

    # --- `Output` of what is forwarded ------------------------------------------
    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._link is not None:
            self._link.write(data)

    def close(self, reason: str) -> None:
        if self._link is not None:
            self._link.close(reason)

    def unsent(self) -> int:
        return 0 if self._link is None else self._link.unsent()

    # --- the connection's life ----------------------------------------------------
    async def _connect_and_stay(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_BUDGET):
                link = await self._open()
        except TimeoutError as error:
            raise UnreachableError(f"did not finish in {CONNECT_BUDGET:.0f} s") from error
        since = asyncio.get_running_loop().time()
        try:
            while not (await asyncio.wait((link.ended,), timeout=CHECK))[0]:
                if asyncio.get_running_loop().time() - link.heard > READ_TIMEOUT:
                    link.close(f"it said nothing for {READ_TIMEOUT:.0f} s")
        finally:
            link.close("not needed any more")
            self._forget()
        if self._is_self:
            return
        lived = asyncio.get_running_loop().time() - since
        if lived > STABLE:
            self._backoff.reset()
        # derper takes a wrong key for a client's, and closes at the first word that needs it
        self._say(link.ended.result() + ("" if lived > STABLE else _HINT))

    async def _open(self) -> DerpLink:
        clock = asyncio.get_running_loop().time

        def make() -> DerpLink:
            session = DerpSession(
                self._private,
                host=self._node.host,
                nonce=secrets.token_bytes(24),
                on_packet=_ignore,
                mesh_key=self._mesh_key,
            )
            link = DerpLink(session, self._on_event, self._on_block, clock)
            self._link = link
            return link

        try:
            return await open_link(
                self._node, make, contexts=self._contexts, mark=None, now=utc_now()
            )
        except UnreachableError as error:
            has_greeted = self._link is not None and self._link.transport is not None
            raise UnreachableError(f"{error}{_HINT if has_greeted else ''}") from error

    def _forget(self) -> None:
        neighbour, self._neighbour, self._link = self._neighbour, None, None
        if neighbour is not None:
            self._relay.neighbour_left(neighbour)

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            log.warning("mesh: %s: %s", self._node.host, problem)
        self._problem = problem

    # --- what the link reports ----------------------------------------------------
    def _on_event(self, event: Event) -> None:
        match event:
            case Ready(server):
                self._on_ready(server)
            case PeerPresent(peer) if self._neighbour is not None:
                self._relay.neighbour_has(self._neighbour, peer)
            case PeerGone(peer) if self._neighbour is not None:
                self._relay.neighbour_lost(self._neighbour, peer)
            case _:
                pass  # health and restarts: the connection's end says enough

    def _on_ready(self, server: NodePublic) -> None:
        if server == self._private.public:
            self._is_self = True
            self.close("this server itself")
            return
        self._neighbour = self._relay.neighbour(server, self)
        self._problem = ""
        self.write(write_frame(WatchPeers()))
        log.info("mesh: connected to %s", self._node.host)

    def _on_block(self, blocked: bool) -> None:
        if self._neighbour is None:
            return
        if blocked:
            self._neighbour.outbox.block(asyncio.get_running_loop().time())
        else:
            self._neighbour.outbox.unblock()


class MeshLinks:
    """The other servers of a region. `run` must run."""

    def __init__(
        self, nodes: Sequence[DerpNode], relay: Relay, private: NodePrivate, mesh_key: str
    ) -> None:
        self._links = [MeshLink(node, relay, private, mesh_key) for node in nodes]

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for link in self._links:
                group.create_task(link.run(), name="derp mesh")

    def states(self) -> tuple[MeshState, ...]:
        return tuple(link.state() for link in self._links)


def _ignore(source: NodePublic, payload: bytes) -> None:
    """Hear nothing: nobody sends packets to a server."""
