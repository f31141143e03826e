"""The relay server at work: its port, its addresses, its flows in the kernel or here.

    P      the relay's own UDP port: handshakes come to our socket; packets of flows are
           forwarded by the kernel's program before they reach it, or else by the socket
    DERP   requests for places come in by `allocate`, which whoever speaks DERP calls

The kernel's table is a copy of what the session knows. Flows of an earlier run of the
daemon stay in it until they are idle: their clients notice nothing.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from gatepost.model.keys import DiscoPrivate, DiscoPublic
from gatepost.model.netmap import DerpRegion, Endpoint, IPAddress
from gatepost.model.owned import MARK
from gatepost.net.netcheck import StunClient
from gatepost.net.relay_flows import Flows
from gatepost.net.relay_ports import Forwarder
from gatepost.net.relay_socket import RelaySocket, RelayTable
from gatepost.sessions.paths_outputs import Local
from gatepost.sessions.relay_server import Place, RelayServer, Reply
from gatepost.wire.disco_relay import AllocateRequest, AllocateResponse

log = logging.getLogger(__name__)

SURVEY = 20.0  # seconds between questions to STUN servers; a random 0 to 6 on top
MOST_ADDRESSES = 32  # told to clients, who try every one
_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayState:
    """How the relay is doing. `trouble`: why packets pass through user space, if they do.

    Pairs of an earlier run of the daemon, which the kernel still joins, count as bound.
    """

    port: int = 0
    trouble: str = ""
    addresses: tuple[Endpoint, ...] = ()
    places: int = 0
    bound: int = 0
    packets: int = 0
    octets: int = 0


class RelayService:
    """One relay. `run` it on a loop; the rest may be called while it runs.

    `static` are addresses that the operator knows to lead here, told first.
    `own_addresses` returns this machine's, whenever it is asked. `on_port` is told the port
    when it is open. `port` 0 lets the kernel choose.
    """

    def __init__(  # what it uses, by name
        self,
        *,
        port: int,
        static: tuple[Endpoint, ...],
        own_addresses: Callable[[], Iterable[IPAddress]],
        forwarder: Forwarder,
        on_port: Callable[[int], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._port = port
        self._static = static
        self._own_addresses = own_addresses
        self._forwarder = forwarder
        self._on_port = on_port
        self._clock = clock
        self._random = random_bytes
        self._session = RelayServer(DiscoPrivate(random_bytes(32)), random_bytes)
        self._table = RelayTable()
        self._flows = Flows(self._session, self._table, forwarder, clock)
        self._sockets: dict[int, RelaySocket] = {}
        self._stun = StunClient(self._send, clock, random_bytes)
        self._regions: tuple[DerpRegion, ...] = ()
        self._mapped: tuple[Endpoint, ...] = ()  # by a router
        self._found: tuple[Endpoint, ...] = ()  # by STUN
        self._hurry = asyncio.Event()

    # --- what the daemon says --------------------------------------------------------

    async def run(self) -> None:
        """Serve until cancelled. Raise `OSError` when the port is taken."""
        async with AsyncExitStack() as stack:
            self._open(stack)
            self._tell_addresses()
            self._on_port(self._sockets[4].port)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._survey(), name="relay addresses")
                group.create_task(self._flows.run(self.prefer_kernel), name="relay flows")

    def set_regions(self, regions: tuple[DerpRegion, ...]) -> None:
        """Take the STUN servers that say how the internet sees us."""
        if regions != self._regions:
            self._regions = regions
            self._hurry.set()

    def set_mapped(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Tell clients the addresses that a router forwards to our port; none when that ended."""
        self._mapped = endpoints
        self._tell_addresses()

    def poke(self) -> None:
        """Look again at addresses, routes and the kernel's table: the network has changed."""
        self._tell_addresses()
        self._hurry.set()
        self._flows.poke()

    def look(self) -> None:
        """Look for the kernel's table now, if there was none: programs may have been attached."""
        if self._forwarder.trouble:
            self._flows.look()

    def allocate(self, sender: DiscoPublic, request: AllocateRequest) -> AllocateResponse | None:
        """Return a place for a client that may have one, None for no answer. Never waits."""
        return self._session.allocate(sender, request, self._clock())

    def places(self) -> Iterable[Place]:
        """Return all places, to be read only."""
        return self._session.places()

    @property
    def is_ready(self) -> bool:
        """Whether the port is open and it is known who forwards."""
        return bool(self._sockets) and self._flows.is_settled

    @property
    def is_behind(self) -> bool:
        """Whether the kernel's table has not followed yet."""
        return self._flows.is_behind

    def state(self) -> RelayState:
        ends = [end for place in self._session.places() for end in place.ends]
        return RelayState(
            port=self._sockets[4].port if 4 in self._sockets else 0,  # noqa: PLR2004  # the version of IP
            trouble=self._forwarder.trouble,
            addresses=self._session.addresses,
            places=len(self._session) + self._flows.adopted,
            bound=sum(p.is_bound for p in self._session.places()) + self._flows.adopted,
            packets=sum(end.packets for end in ends),
            octets=sum(end.octets for end in ends),
        )

    # --- sockets ---------------------------------------------------------------------

    def _open(self, stack: AsyncExitStack) -> None:
        port = self._port
        stack.callback(self._sockets.clear)
        anywhere: tuple[IPAddress, ...] = (IPv4Address(0), IPv6Address(0))
        for address in anywhere:
            try:
                opened = RelaySocket(
                    address,
                    port,
                    self._table,
                    mark=MARK,
                    on_control=self._on_control,
                    on_stun=self._stun.on_packet,
                )
            except OSError as error:
                if address.version == 4 or error.errno not in _NO_IPV6:  # noqa: PLR2004
                    raise OSError(error.errno, f"relay port {port}: {error.strerror}") from error
                log.info("no IPv6 here: %s", error)
                continue
            stack.callback(opened.close)
            port = opened.port  # the same for both
            self._sockets[address.version] = opened

    def prefer_kernel(self, *, works: bool) -> None:
        """Take single packets from the kernel while it forwards, batches while it does not."""
        for each in self._sockets.values():
            each.take_batches(wanted=not works)

    def _send(self, to: Endpoint, packet: bytes, local: Local | None = None) -> None:
        if opened := self._sockets.get(to.address.version):
            opened.send(packet, to, local)

    def _on_control(self, packet: bytes, source: Endpoint, here: Local) -> None:
        match self._session.on_control(packet, source, here, self._clock()):
            case Reply(answer):
                self._send(source, answer, here)
            case Place() as place:
                self._flows.changed(place)
            case None:
                pass

    # --- our own addresses -----------------------------------------------------------

    async def _survey(self) -> None:
        """Ask STUN servers, often enough to keep a NAT's mapping of our port open."""
        while True:
            self._hurry.clear()
            if self._regions:
                report = await self._stun.check(self._regions)
                guesses = (
                    Endpoint(e.address, self._sockets[4].port)  # perhaps forwarded by hand
                    for e in report.seen_v4[:1]
                    if report.varies
                )
                self._found = (*report.seen, *guesses)
                self._tell_addresses()
            wait = SURVEY + self._random(1)[0] * 6 / 255
            try:
                async with asyncio.timeout(wait):
                    await self._hurry.wait()
            except TimeoutError:
                continue

    def _tell_addresses(self) -> None:
        """Give the session our addresses: the operator's, a router's, our own, what STUN saw."""
        own = (
            Endpoint(a, self._sockets[a.version].port)
            for a in self._own_addresses()
            if a.version in self._sockets
        )
        known = dict.fromkeys((*self._static, *self._mapped, *own, *self._found))
        self._session.addresses = tuple(known)[:MOST_ADDRESSES]
