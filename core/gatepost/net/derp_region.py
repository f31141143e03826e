"""A node's connection to one DERP region: kept while wanted, and found again when lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from gatepost.errors import GatepostError, UnreachableError
from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.model.netmap import DerpNode, DerpRegion
from gatepost.net.derp_link import Contexts, DerpLink, open_link
from gatepost.sessions.backoff import Backoff
from gatepost.sessions.derp_client import READ_TIMEOUT, DerpSession, Event, Ready
from gatepost.sessions.derp_outbox import Outbox, OutboxLimits
from gatepost.wire.derp import write_frame, write_packet
from gatepost.wire.derp_frames import Health, NotePreferred, PeerGone, PeerPresent, Restarting

log = logging.getLogger(__name__)

CONNECT_BUDGET = 10.0  # seconds for one round over a region's nodes
NODE_BUDGET = 5.0  # seconds for one node, TCP to the end of the greeting
IDLE = 60.0  # seconds after the last packet until a region that is not home is left
FIRST_RETRY = 0.25  # seconds
LONGEST_RETRY = 30.0  # seconds
STABLE = 10.0  # seconds a connection lives before it counts as a success
LONGEST_RESTART = 60.0  # seconds that a server may ask us to stay away
LIMITS = OutboxLimits(packets=128)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionState:
    """One region as status shows it. `problem` is empty, the server's complaint or the last error.

    `waiting` is octets in the queue, `dropped` packets since the region was first used,
    `heard` when the server last said something, in the clock's seconds.
    """

    region: int
    connected: bool
    home: bool
    node: str = ""
    problem: str = ""
    waiting: int = 0
    dropped: int = 0
    heard: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all regions share."""

    private: NodePrivate
    on_packet: Callable[[int, NodePublic, bytes], None]
    on_peer_gone: Callable[[int, NodePublic, int], None]
    on_change: Callable[[int], None]
    random: Callable[[int], bytes]
    clock: Callable[[], float]  # seconds, never goes back
    today: Callable[[], datetime]  # what certificates are checked by
    mark: int | None
    contexts: Contexts
    wake: Callable[[RegionClient], None]  # ask for `flush` at the end of this turn


class RegionClient:
    """One region. `run` is its task; everything else is called from the same loop."""

    def __init__(self, region: DerpRegion, surroundings: Surroundings) -> None:
        self.region = region
        self._use = surroundings
        self._link: DerpLink | None = None
        self._node: DerpNode | None = None
        self._home = False
        self._problem = ""
        self._restart_in = 0.0  # seconds that the server asked us to stay away
        self._used = self._use.clock()
        self._hurry = asyncio.Event()
        self._backoff = Backoff(first=FIRST_RETRY, longest=LONGEST_RETRY)
        self._outbox = Outbox(self, LIMITS)
        self._outbox.block(self._used)

    @property
    def connected(self) -> bool:
        return self._link is not None

    @property
    def wanted(self) -> bool:
        """Whether this is home, or was used a moment ago."""
        return self._home or self._use.clock() - self._used < IDLE

    def state(self) -> RegionState:
        return RegionState(
            region=self.region.id,
            connected=self.connected,
            home=self._home,
            node=self._node.name if self._node is not None and self.connected else "",
            problem=self._problem,
            waiting=self._outbox.waiting,
            dropped=self._outbox.dropped,
            heard=0.0 if self._link is None else self._link.heard,
        )

    # --- what the owner asks --------------------------------------------------------
    def send(self, destination: NodePublic, payload: bytes) -> None:
        """Queue one packet of at most 64 KiB; connects when need be."""
        self._used = self._use.clock()
        if self._outbox.put(write_packet(destination, payload), 1):
            self._use.wake(self)

    def flush(self) -> None:
        self._outbox.flush()

    def set_home(self, home: bool) -> None:
        if home != self._home:
            self._home = home
            self._note_preference()

    def replace(self, region: DerpRegion) -> None:
        """Take a new description; a connection to a node that is still in it stays."""
        if region != self.region:
            self.region = region
            self._hurry.set()
            if self._node is not None and not any(_same_place(self._node, n) for n in region.nodes):
                self.close("the region has changed")

    def hurry(self) -> None:
        """Try now instead of when the back-off ends."""
        self._hurry.set()

    def check(self) -> None:
        """Close a connection that is silent for too long or not wanted; about once a second."""
        if self._link is None:
            return
        if self._use.clock() - self._link.heard > READ_TIMEOUT:
            self.close(f"the server said nothing for {READ_TIMEOUT:.0f} s")
        elif not self.wanted:
            self.close("not used any more")

    # --- `Output` of the outbox -----------------------------------------------------
    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._link is not None:
            self._link.write(data)

    def close(self, reason: str) -> None:
        if self._link is not None:
            self._link.close(reason)

    def unsent(self) -> int:
        return 0 if self._link is None else self._link.unsent()

    # --- the connection's life ------------------------------------------------------
    async def run(self) -> None:
        """Keep a connection for as long as it is wanted."""
        while self.wanted:
            try:
                await self._connect_and_stay()
            except GatepostError as error:
                self._problem = str(error)
                log.warning("derp region %d: %s", self.region.id, error)
                self._outbox.discard()  # too old to be of use when a connection comes
                self._use.on_change(self.region.id)
            if self.wanted:
                await self._pause()

    async def _connect_and_stay(self) -> None:
        link, node = await self._connect()
        since = self._use.clock()
        self._link, self._node, self._problem = link, node, ""
        named = {"fields": {"region": self.region.id, "relay": node.name}}
        log.info("derp region %d: connected to %s", self.region.id, node.name, extra=named)
        try:
            self._outbox.unblock()
            self._note_preference()
            self._use.on_change(self.region.id)
            reason = await link.ended
        finally:
            link.close("no longer needed")
            self._link = None
            self._outbox.block(self._use.clock())
        log.info("derp region %d: %s left: %s", self.region.id, node.name, reason, extra=named)
        if self._use.clock() - since > STABLE:
            self._backoff.reset()
        self._problem = (self._problem or reason) if self.wanted else ""
        self._use.on_change(self.region.id)

    async def _connect(self) -> tuple[DerpLink, DerpNode]:
        """Try the region's nodes in their order, within the budget."""
        failure: GatepostError = UnreachableError(f"region {self.region.id} has no relay")
        try:
            async with asyncio.timeout(CONNECT_BUDGET):
                for node in self.region.nodes:
                    if node.stun_only:
                        continue
                    try:
                        return await self._open(node), node
                    except GatepostError as error:
                        failure = error
        except TimeoutError as error:
            raise UnreachableError(
                f"region {self.region.id} did not answer in {CONNECT_BUDGET:.0f} s"
            ) from error
        raise failure

    async def _open(self, node: DerpNode) -> DerpLink:
        def make() -> DerpLink:
            session = DerpSession(
                self._use.private,
                host=node.host,
                nonce=self._use.random(24),
                on_packet=self._on_packet,
                ideal=_ideal_instead_of(node, self.region),
            )
            return DerpLink(session, self._on_event, self._on_block, self._use.clock)

        try:
            async with asyncio.timeout(NODE_BUDGET):
                return await open_link(
                    node,
                    make,
                    contexts=self._use.contexts,
                    mark=self._use.mark,
                    now=self._use.today(),
                )
        except TimeoutError as error:
            raise UnreachableError(
                f"{node.host} port {node.port} did not finish in {NODE_BUDGET:.0f} s"
            ) from error

    async def _pause(self) -> None:
        jitter = int.from_bytes(self._use.random(2), "big") / 0xFFFF
        wait = max(self._backoff.next(jitter), self._restart_in)
        self._restart_in = 0.0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._hurry.wait()
        self._hurry.clear()

    # --- what the link reports --------------------------------------------------------
    def _on_packet(self, source: NodePublic, payload: bytes) -> None:
        self._used = self._use.clock()
        self._use.on_packet(self.region.id, source, payload)

    def _on_event(self, event: Event) -> None:
        match event:
            case Ready() | PeerPresent():
                pass  # `open_link` waits for the first; the other is for servers
            case PeerGone(peer, reason):
                self._use.on_peer_gone(self.region.id, peer, reason)
            case Health(problem):
                self._problem = problem
                self._use.on_change(self.region.id)
            case Restarting(reconnect_in=milliseconds):
                self._restart_in = min(milliseconds / 1000, LONGEST_RESTART)
                self._problem = "the relay is restarting"
                self._use.on_change(self.region.id)

    def _on_block(self, blocked: bool) -> None:
        if blocked:
            self._outbox.block(self._use.clock())
        elif self._link is not None:
            self._outbox.unblock()

    def _note_preference(self) -> None:
        if self._link is not None:
            self._link.write(write_frame(NotePreferred(self._home)))


def _ideal_instead_of(node: DerpNode, region: DerpRegion) -> str:
    """Name the region's first server if this is another: the servers count who is elsewhere."""
    first = next((n for n in region.nodes if not n.stun_only), node)
    return "" if first.name == node.name else first.name


def _same_place(one: DerpNode, other: DerpNode) -> bool:
    return (one.host, one.port, one.address_v4, one.address_v6) == (
        other.host,
        other.port,
        other.address_v4,
        other.address_v6,
    )
