"""The wire to one gateway: a socket on our address towards it, HTTP, and the session's timer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

from gatepost.errors import GatepostError, WireError
from gatepost.model.gateway import AnyGateway, Gateway6
from gatepost.model.netmap import Endpoint
from gatepost.net.fetch import Question, fetch
from gatepost.net.tasks import Tasks
from gatepost.net.udp import make_endpoint
from gatepost.sessions.portmap import PortMap
from gatepost.sessions.portmap_values import (
    Changed,
    Fetch,
    HttpReply,
    HttpRequest,
    Looked,
    Output,
    SendTo,
)

log = logging.getLogger(__name__)

HTTP_TIMEOUT = 3.0  # seconds; the gateway is one hop away, but some are slow
_LARGEST = 4096  # bytes of a datagram
_BATCH = 32  # packets a wake-up
_MULTICAST_HOPS = 2  # UPnP Device Architecture 1.1 section 1.3.2


class Line:
    """Runs `session` on the running loop until `close`; calls `on_change` for a new endpoint.

    Raise `OSError` when our address has just gone.
    """

    def __init__(
        self,
        session: PortMap,
        *,
        mark: int | None,
        clock: Callable[[], float],
        on_change: Callable[[], None],
    ) -> None:
        self.session = session
        self._mark = mark
        self._clock = clock
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._tasks = Tasks()
        self._looked = asyncio.Event()
        self._is_over = False
        self._timer: asyncio.TimerHandle | None = None
        self._socket = _open_socket(session.gateway, mark)
        self._loop.add_reader(self._socket, self._read)
        self._settle()

    def on_packet(self, packet: bytes, sender: tuple[Any, ...]) -> None:  # as sockets say it
        """Take a datagram of anybody; the session knows its gateway."""
        try:
            self.session.on_packet(packet, make_endpoint((sender[0], sender[1])), self._clock())
        except WireError as error:
            log.debug("dropped a packet of %s: %s", sender[0], error)
        self._settle()

    def on_announcement(self, packet: bytes, sender: tuple[str, int]) -> None:
        """Take a datagram to all hosts."""
        try:
            self.session.on_announcement(packet, make_endpoint(sender), self._clock())
        except WireError as error:
            log.debug("dropped an announcement of %s: %s", sender[0], error)
        self._settle()

    def on_news(self) -> None:
        """Take it that the gateway has just begun."""
        self.session.on_news(self._clock())
        self._settle()

    async def look(self) -> None:
        """Look anew which protocols the gateway speaks; 2 seconds as a rule."""
        self._looked.clear()
        self.session.look(self._clock())
        self._settle()
        await self._looked.wait()

    async def release(self) -> None:
        """Give the port back and close; waits for an HTTP gateway only."""
        self._stop()
        try:
            await self._tasks.close()
            for output in self.session.release(self._clock()):
                if isinstance(output, SendTo):
                    self._send(output)
                elif isinstance(output, Fetch):
                    await self._ask(output.request)
        finally:
            await self.close()

    async def close(self) -> None:
        """Close, and leave the mapping to the gateway: the tunnels that use it live on."""
        self._stop()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        await self._tasks.close()

    # --- what happens -------------------------------------------------------------------

    def _read(self) -> None:
        try:
            for _ in range(_BATCH):
                packet, sender = self._socket.recvfrom(_LARGEST)
                self.on_packet(packet, sender)
        except BlockingIOError:
            pass
        except OSError as error:  # an ICMP error about an earlier packet of ours
            log.debug("receiving from a gateway: %s", error)

    def _on_timer(self) -> None:
        self._timer = None
        self.session.on_timer(self._clock())
        self._settle()

    def _settle(self) -> None:
        """Do what the session asks for, and set its timer."""
        has_changed = False
        for output in self.session.take():
            has_changed |= self._do(output)
        if self._timer:
            self._timer.cancel()
        self._timer = None
        if not self._is_over:
            wait = max(self.session.next_timer() - self._clock(), 0.0)
            self._timer = self._loop.call_later(wait, self._on_timer)
        if has_changed:
            self._on_change()

    def _do(self, output: Output) -> bool:
        match output:
            case SendTo():
                self._send(output)
            case Fetch():
                self._tasks.spawn(self._fetch(output), "gateway")
            case Looked():
                self._looked.set()
            case Changed():
                return True
        return False

    def _send(self, output: SendTo) -> None:
        with contextlib.suppress(OSError):  # lost, as on the network; the session asks again
            self._socket.sendto(output.packet, self._name_of(output.to))

    def _name_of(self, to: Endpoint) -> tuple[object, ...]:
        """Return an address as sockets want it; a link-local one counts on one interface only."""
        gateway = self.session.gateway
        if isinstance(gateway, Gateway6):
            return str(to.address), to.port, 0, socket.if_nametoindex(gateway.device)
        return str(to.address), to.port

    async def _fetch(self, output: Fetch) -> None:
        reply = await self._ask(output.request)
        self.session.on_reply(output.number, reply, self._clock())
        self._settle()

    async def _ask(self, request: HttpRequest) -> HttpReply | None:
        headers = {"SOAPAction": request.action, "Content-Type": 'text/xml; charset="utf-8"'}
        gateway = self.session.gateway
        place = str(gateway.address)
        if isinstance(gateway, Gateway6) and gateway.address.is_link_local:
            place = f"{place}%{gateway.device}"
        question = Question(
            host=str(gateway.address),
            addresses=(place,),
            source=str(gateway.local),  # a gateway opens ports for who asks, and for nobody else
            port=request.address.port,
            target=request.address.path,
            headers=headers if request.action else {},
            body=request.body if request.action else None,
        )
        try:
            reply = await fetch(question, seconds=HTTP_TIMEOUT, mark=self._mark)
        except GatepostError as error:
            log.debug("gateway: %s", error)
            return None
        return HttpReply(reply.status, reply.body)

    def _stop(self) -> None:
        self._is_over = True
        if self._timer:
            self._timer.cancel()
            self._timer = None


def _open_socket(gateway: AnyGateway, mark: int | None) -> socket.socket:
    is_v6 = isinstance(gateway, Gateway6)
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if mark is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        if is_v6:
            index = socket.if_nametoindex(gateway.device)
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _MULTICAST_HOPS)
        else:
            local = gateway.local.packed
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, local)
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _MULTICAST_HOPS)
        opened.bind((str(gateway.local), 0))
    except OSError:
        opened.close()
        raise
    return opened
