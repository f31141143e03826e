"""One TLS connection of this node to a DERP server: open it, feed the session, batch writes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import datetime

from gatepost.errors import GatepostError, Malformed, Unauthentic, UnreachableError
from gatepost.model.netmap import DerpNode
from gatepost.net.dial import dial
from gatepost.net.tls import (
    Insecure,
    SystemRoots,
    Trust,
    can_start_fast,
    check_server,
    client_context,
    trust_of,
)
from gatepost.sessions.derp_client import DerpSession, Event, Ready

DIAL_TIMEOUT = 1.5  # seconds for TCP to one node of a region
WRITE_HIGH = 64 << 10  # octets in the transport above which packets wait in the outbox

OnEvent = Callable[[Event], None]


class Contexts:
    """TLS contexts, made once: the system's roots cost 10 ms to load."""

    def __init__(self) -> None:
        self._checked: ssl.SSLContext | None = None
        self._unchecked: ssl.SSLContext | None = None

    def of(self, trust: Trust) -> ssl.SSLContext:
        if isinstance(trust, SystemRoots):
            self._checked = self._checked or client_context(trust)
            return self._checked
        self._unchecked = self._unchecked or client_context(Insecure(""))
        return self._unchecked


class DerpLink(asyncio.Protocol):
    """One connection. `ended` gets the reason; `ready` is done when packets may flow.

    `on_event` hears what the server says. `on_block` is called with True when
    the transport takes no more, with False when it does again.
    """

    def __init__(
        self,
        session: DerpSession,
        on_event: OnEvent,
        on_block: Callable[[bool], None],
        clock: Callable[[], float],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._clock = clock
        self._session = session
        self._on_event = on_event
        self._on_block = on_block
        self._transport: asyncio.Transport | None = None
        self._reason = ""
        self.ended: asyncio.Future[str] = loop.create_future()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.heard = clock()  # when the last byte came

    @property
    def transport(self) -> asyncio.Transport | None:
        """The connection, once TLS is up."""
        return self._transport

    def begin(self, *, fast: bool) -> None:
        """Send the request, now that the server is known to be the right one."""
        self.write(self._session.begin(fast=fast))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self, reason: str) -> None:
        """End the connection at once; `reason` is the first one given."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio's side -------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # asyncio's promise
        transport.set_write_buffer_limits(high=WRITE_HIGH)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard = self._clock()
        if self._reason:
            return
        try:
            events, answer = self._session.receive(data)
        except GatepostError as error:
            self.close(str(error))
            return
        if answer:
            self.write(answer)
        for event in events:
            if isinstance(event, Ready) and not self.ready.done():
                self.ready.set_result(None)
            self._on_event(event)

    def pause_writing(self) -> None:
        self._on_block(True)

    def resume_writing(self) -> None:
        self._on_block(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_block(True)
        reason = self._reason or (str(exc) if exc else "the server closed the connection")
        if not self.ended.done():
            self.ended.set_result(reason)


async def open_link(
    node: DerpNode,
    make: Callable[[], DerpLink],
    *,
    contexts: Contexts,
    mark: int | None,
    now: datetime,
) -> DerpLink:
    """Connect to one DERP node and wait until it accepts us; the caller bounds the time.

    Raise `UnreachableError` or, for a server that is not the right one,
    `Unauthentic`.
    """
    trust = trust_of(node)
    addresses = [str(a) for a in (node.address_v4, node.address_v6) if a is not None]
    sock = await dial(node.host, node.port, mark=mark, seconds=DIAL_TIMEOUT, addresses=addresses)
    loop = asyncio.get_running_loop()
    link: DerpLink | None = None
    try:
        transport, link = await loop.create_connection(
            make, sock=sock, ssl=contexts.of(trust), server_hostname=trust.name
        )
        connection = transport.get_extra_info("ssl_object")
        assert isinstance(connection, ssl.SSLObject)  # noqa: S101  # asked for above
        check_server(connection, trust, now)
        link.begin(fast=can_start_fast(connection))
        return await _until_ready(link, node)
    except ssl.SSLCertVerificationError as error:
        raise Unauthentic(f"{node.host}: {error.verify_message}") from error
    except OSError as error:  # also ssl.SSLError
        raise UnreachableError(f"{node.host} port {node.port}: {error}") from error
    except ValueError as error:  # a host that cannot be a name
        raise Malformed(f"{node.host!r} cannot be dialled: {error}") from error
    except BaseException:
        if link is not None:
            link.close("given up")
        raise


async def _until_ready(link: DerpLink, node: DerpNode) -> DerpLink:
    await asyncio.wait((link.ready, link.ended), return_when=asyncio.FIRST_COMPLETED)
    if link.ended.done():
        raise UnreachableError(f"{node.host} port {node.port}: {link.ended.result()}")
    return link
