"""Ask the STUN servers of the DERP regions through the socket whose mapping WireGuard shares."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from ipaddress import ip_address

from gatepost.errors import WireError
from gatepost.model.netmap import DerpNode, DerpRegion, Endpoint, IPAddress
from gatepost.sessions.netcheck import GRACE, STUN_PORT, Check, Report, Server

log = logging.getLogger(__name__)

RESOLVE_TIMEOUT = 2.0  # seconds for the name of one relay


class StunClient:
    """Runs one check at a time; a second caller waits for its turn."""

    def __init__(
        self,
        send: Callable[[Endpoint, bytes], None],
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._send = send
        self._clock = clock
        self._random = random_bytes
        self._turn = asyncio.Lock()
        self._check: Check | None = None
        self._answered = asyncio.Event()
        self._names: dict[str, tuple[IPAddress, ...]] = {}

    def on_packet(self, packet: bytes) -> None:
        """Take a packet that looks like STUN; what is not an answer to us is dropped."""
        if self._check is None:
            return
        try:
            if self._check.on_packet(packet, self._clock()):
                self._answered.set()
        except WireError as error:
            log.debug("dropped a STUN packet: %s", error)

    async def check(
        self, regions: Iterable[DerpRegion], *, grace: float = GRACE, hairpin: bool = False
    ) -> Report:
        """Return what the servers of `regions` see; at most 3 seconds and a name's 2.

        `hairpin` lets it find out, too, whether our NAT lets us reach ourselves from outside.
        """
        async with self._turn:
            servers = await self._servers(regions)
            check = self._check = Check(servers, self._random, self._clock(), hairpin=hairpin)
            try:
                while not check.is_done(self._clock(), grace):
                    for endpoint, request in check.due(self._clock()):
                        self._send(endpoint, request)
                    await self._wait(check.next_timer(grace) - self._clock())
            finally:
                self._check = None
            return check.report()

    async def _wait(self, seconds: float) -> None:
        self._answered.clear()
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._answered.wait()
        except TimeoutError:
            return

    async def _servers(self, regions: Iterable[DerpRegion]) -> list[Server]:
        nodes = [(r.id, n) for r in regions for n in r.nodes if n.stun_port >= 0]
        found = await asyncio.gather(*(self._addresses(n) for _, n in nodes))
        return [
            Server(region, Endpoint(address, node.stun_port or STUN_PORT))
            for (region, node), addresses in zip(nodes, found, strict=True)
            for address in addresses
        ]

    async def _addresses(self, node: DerpNode) -> tuple[IPAddress, ...]:
        """Return the relay's addresses; a name is asked for until it has one."""
        told: tuple[IPAddress | None, ...] = (node.address_v4, node.address_v6)
        if any(told):
            return tuple(a for a in told if a is not None)
        try:
            return (ip_address(node.host),)
        except ValueError:
            pass  # a name
        if node.host not in self._names:
            self._names[node.host] = await _resolve(node.host)
        return self._names[node.host] or self._names.pop(node.host)


async def _resolve(name: str) -> tuple[IPAddress, ...]:
    """Return one address of each version, or nothing when the name has none in time."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT):
            found = await loop.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except (OSError, TimeoutError) as error:
        log.info("no address for relay %s: %s", name, error if str(error) else "no answer in time")
        return ()
    by_version = {a.version: a for a in (ip_address(str(f[4][0])) for f in reversed(found))}
    return tuple(by_version.values())
