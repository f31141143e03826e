"""Port mapping at the rim: one line per gateway, and the announcements of them all.

A gateway for IPv6 maps nothing: there the port is opened in its firewall (a pinhole).

What is mapped is WireGuard's UDP port. Nothing is given back when the program
ends: the tunnels live on without it, and the next start asks for the same port.
It is given back when the mesh goes down, the setting is switched off, or the
gateway is not ours any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import socket
import time
from collections.abc import Callable
from ipaddress import IPv4Address

from gatepost.model.gateway import AnyGateway, Gateway, Gateway6
from gatepost.model.netmap import Endpoint
from gatepost.net.portmap_line import Line
from gatepost.net.tasks import Tasks
from gatepost.sessions.portmap import PortMap
from gatepost.sessions.portmap_values import Mapping, Protocol, Seen
from gatepost.wire.natpmp import ANNOUNCEMENT_PORT
from gatepost.wire.pcp import NONCE_LENGTH

log = logging.getLogger(__name__)

LOOK_TIMEOUT = 4.0  # seconds for a look that somebody waits for
ALL_HOSTS = IPv4Address("224.0.0.1")
_LARGEST = 4096  # bytes of an announcement
_PERSON = b"portmap"  # keeps this use of the secret apart from others


class PortMapping:
    """Keeps `port` mapped at all gateways while it is in use. To be made on a running loop.

    `gateways` is asked whenever `use` is called. `secret` is of this node and
    stays the same. `on_change` is called when `endpoints` changed; it may not wait.
    """

    def __init__(
        self,
        *,
        port: int,
        secret: bytes,
        gateways: Callable[[], tuple[AnyGateway, ...]],
        on_change: Callable[[], None],
        random_bytes: Callable[[int], bytes],
        mark: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._port = port
        self._secret = secret
        self._gateways = gateways
        self._on_change = on_change
        self._random = random_bytes
        self._mark = mark
        self._clock = clock
        self._lines: dict[AnyGateway, Line] = {}
        self._tasks = Tasks()
        self._listening: socket.socket | None = None
        self._in_use = False
        self._upnp = True

    # --- what the daemon says ---------------------------------------------------------------

    def use(self, *, on: bool, upnp: bool = True) -> None:
        """Map the port or give it back; look again which gateways there are. Never waits.

        Without `upnp` only NAT-PMP and PCP are spoken.
        """
        if upnp != self._upnp and self._lines:
            self.use(on=False, upnp=self._upnp)
        self._in_use, self._upnp = on, upnp
        wanted = self._wanted() if on else []
        for gateway in self._lines.keys() - set(wanted):
            line = self._lines.pop(gateway)
            self._tasks.spawn(line.release(), "release a port")
            if line.session.external:
                self._on_change()
        for gateway in wanted:
            if gateway not in self._lines:
                self._add(gateway)
        self._listen(on=bool(self._lines))

    async def close(self) -> None:
        """Stop, and leave the mappings as they are."""
        self._listen(on=False)
        for line in self._lines.values():
            await line.close()
        self._lines.clear()
        await self._tasks.close()

    # --- what the daemon asks ---------------------------------------------------------------

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return where the internet reaches our port, by all gateways.

        A pinhole leads to an address of our own, which is known anyhow.
        """
        external = (s.external for s in self._sessions())
        return tuple(dict.fromkeys(e for e in external if e is not None))

    def mappings(self) -> tuple[Mapping, ...]:
        """Return the mappings in force."""
        return tuple(s.mapping for s in self._sessions() if s.mapping is not None)

    def pinholes(self) -> tuple[Mapping, ...]:
        """Return what is open in firewalls for IPv6."""
        return tuple(s.mapping for s in self._sessions(is_v6=True) if s.mapping is not None)

    def seen(self, *, is_v6: bool = False) -> Seen | None:
        """Return what any gateway speaks, of IPv4 or of IPv6; None while nobody was asked."""
        all_seen = [s.seen for s in self._sessions(is_v6=is_v6) if s.has_looked]
        if not all_seen:
            return None
        refusals: dict[Protocol, str] = {}
        for seen in all_seen:
            refusals |= seen.refusals
        return Seen(
            nat_pmp=None if is_v6 else any(s.nat_pmp for s in all_seen),
            pcp=any(s.pcp for s in all_seen),
            upnp=any(s.upnp for s in all_seen),
            refusals=refusals,
        )

    @property
    def in_use(self) -> bool:
        return self._in_use

    async def look(self) -> None:
        """Look anew what the gateways speak; at most 4 seconds, then what is known counts."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_TIMEOUT), asyncio.TaskGroup() as group:
                for line in self._lines.values():
                    group.create_task(line.look())

    # --- what happens -----------------------------------------------------------------------

    def _sessions(self, *, is_v6: bool = False) -> list[PortMap]:
        lines = self._lines.items()
        return [line.session for g, line in lines if isinstance(g, Gateway6) == is_v6]

    def _wanted(self) -> list[AnyGateway]:
        """Return the routers to ask: as people have at home, by IPv6 as well."""
        known = self._gateways()
        others = {g.device for g in known if isinstance(g, Gateway) and not g.is_home}
        return [g for g in known if g.device not in others]

    def _add(self, gateway: AnyGateway) -> None:
        session = PortMap(
            gateway,
            self._port,
            nonce=self._nonce(gateway),
            random_bytes=self._random,
            now=self._clock(),
            upnp=self._upnp,
        )
        try:
            changed = self._opened if isinstance(gateway, Gateway6) else self._changed
            line = Line(session, mark=self._mark, clock=self._clock, on_change=changed)
        except OSError as error:  # our address there is just going; the next `use` comes with it
            log.info("no port mapping by %s: %s", gateway.address, error)
            return
        self._lines[gateway] = line

    def _nonce(self, gateway: AnyGateway) -> bytes:
        """Return the PCP nonce for this gateway: nobody else can know it, and it never changes."""
        about = gateway.address.packed + gateway.local.packed + self._port.to_bytes(2, "big")
        return hashlib.blake2s(
            about, key=self._secret, digest_size=NONCE_LENGTH, person=_PERSON
        ).digest()

    def _changed(self) -> None:
        for mapping in self.mappings():
            log.info("port mapped by %s: %s", mapping.protocol, mapping.external)
        self._on_change()

    def _opened(self) -> None:
        """Log it; it changes none of our endpoints."""
        for mapping in self.pinholes():
            log.info("port opened by %s: %s", mapping.protocol, mapping.external)

    # --- announcements ----------------------------------------------------------------------

    def _listen(self, *, on: bool) -> None:
        """Hear what gateways tell all hosts: that they have just begun, or a new address."""
        if on == (self._listening is not None):
            return
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()
            self._listening = None
            return
        try:
            self._listening = _open_listener()
        except OSError as error:
            log.debug("announcements of gateways are not heard: %s", error)
            return
        asyncio.get_running_loop().add_reader(self._listening, self._read, self._listening)

    def _read(self, listening: socket.socket) -> None:
        try:
            packet, sender = listening.recvfrom(_LARGEST)
        except OSError as error:
            log.debug("receiving announcements: %s", error)
            return
        devices: set[str] = set()
        for gateway, line in self._lines.items():
            if str(gateway.address) == sender[0]:
                line.on_announcement(packet, sender)
                devices.add(gateway.device)
        for gateway, line in self._lines.items():
            if isinstance(gateway, Gateway6) and gateway.device in devices:
                line.on_news()  # it is the same router


def _open_listener() -> socket.socket:
    """Open the port of announcements, which other programs on this machine may share."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((str(ALL_HOSTS), ANNOUNCEMENT_PORT))
    except OSError:
        opened.close()
        raise
    return opened
