"""TLS for servers with thousands of connections, and for one that relays gigabits.

asyncio's own TLS keeps a buffer of 256 KiB per connection for good, reads one
of its records at a time and joins what is written. Here all connections of a
listener share the memory that is read into, the records of one read are opened
in one go, straight into the owner's memory if it is a BufferedProtocol, and
everything that one `write` gives is one piece for the kernel:

    socket ──256 KiB──> incoming BIO ──records──> owner.get_buffer()
    socket <──64 KiB─── outgoing BIO <──records── owner: transport.write(view)

A connection costs OpenSSL's 15 KiB and little else.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

log = logging.getLogger(__name__)

READ_SIZE = 256 << 10  # octets of TLS that one turn reads from one connection at most
PIECE = 64 << 10  # octets that go through OpenSSL's memory at once: it never gives any back
RECORD = 16 << 10  # octets in a TLS record, RFC 8446 5.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """What strangers and leavers get: seconds for the handshake and for our good-bye.

    `handshakes` may go on at once; who comes on top is hung up on and comes back.
    """

    handshake: float = 10.0
    shutdown: float = 5.0
    handshakes: int = 1024  # two seconds of one core


class _Records(Protocol):
    """What seals and opens records: `SSLObject`, or OpenSSL's own object behind it.

    `read` returns the number of octets, 0 after the other side's good-bye; `write` makes one
    record and returns how many octets went into it.
    """

    def read(self, length: int, buffer: memoryview, /) -> int: ...
    def write(self, octets: bytes | bytearray | memoryview, /) -> int: ...


class TlsMemory:
    """Memory for one read at a time; the connections of one listener share it."""

    def __init__(self) -> None:
        self.sealed = memoryview(bytearray(READ_SIZE))
        self.opened = memoryview(bytearray(PIECE))
        self.handshakes = 0  # that go on now


class TlsConnection(asyncio.BufferedProtocol):
    """The server's side of one connection, between its socket and what `make` returns."""

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext,
        memory: TlsMemory,
        patience: Patience,
    ) -> None:
        self._make = make
        self._memory = memory
        self._patience = patience
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        # A call in Python less for each record: 5 % of what relaying single packets costs.
        records: object = getattr(self.tls, "_sslobj", self.tls)
        self._records = cast("_Records", records)  # typeshed knows no views
        self._timer: asyncio.TimerHandle | None = None
        self._fed = self._arrived = 0  # octets of this turn's read: given to OpenSSL, in all
        self._shaken = False
        self._paused = False
        self._ended = False  # the other side has said good-bye
        self.closing = False
        self.lost = False

    # --- asyncio's side, below ------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # asyncio's promise
        self._below = transport
        self._memory.handshakes += 1
        if self._memory.handshakes > self._patience.handshakes:
            transport.abort()
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._patience.handshake, self._below.abort)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's signature
        return self._memory.sealed

    def buffer_updated(self, nbytes: int) -> None:
        self._fed, self._arrived = 0, nbytes
        self._on_sealed()
        while self._fed < self._arrived:  # paused: the memory is somebody else's next
            self._feed()

    def eof_received(self) -> bool:
        self._on_end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.lost = True
        if self._shaken:
            self._above.owner.connection_lost(exc)
        else:
            self._memory.handshakes -= 1

    def pause_writing(self) -> None:
        if self._shaken:
            self._above.owner.pause_writing()

    def resume_writing(self) -> None:
        if self._shaken:
            self._above.owner.resume_writing()

    # --- what the owner's transport asks ----------------------------------------
    def write(self, octets: bytes | bytearray | memoryview) -> None:
        """Seal and send; the memory may be used again when this returns."""
        if len(octets) <= RECORD:
            self._write_record(octets)
            return
        view, seal = memoryview(octets), self._records.write
        for start in range(0, len(view), PIECE):
            position, stop = start, min(len(view), start + PIECE)
            try:
                while position < stop:
                    position += seal(view[position : min(stop, position + RECORD)])
            except ssl.SSLError as error:
                self._fail(error)
                return
            self._below.write(self._outgoing.read())

    def _write_record(self, octets: bytes | bytearray | memoryview) -> None:
        try:
            self._records.write(octets)
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._below.write(self._outgoing.read())

    def pause(self) -> None:
        self._paused = True
        self._below.pause_reading()

    def resume(self) -> None:
        """Read on, beginning with what had arrived before the pause."""
        if self._paused:
            self._paused = False
            asyncio.get_running_loop().call_soon(self._after_pause)

    def finish(self) -> None:
        """Say good-bye and close when everything was sent, or when patience ends."""
        if self.closing:
            return
        self.closing = True
        try:
            self.tls.unwrap()
        except ssl.SSLError as error:  # SSLWantRead: the other side has not said it yet
            log.debug("tls: closing: %s", error)
        self._send()
        self._below.close()
        self._stop_timer()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._patience.shutdown, self._below.abort)

    # --- records ------------------------------------------------------------------
    def _on_sealed(self) -> None:
        try:
            if not self._shaken:
                self._shake_hands()
            self._deliver()
        except ssl.SSLWantReadError:
            pass  # the handshake goes on
        except ssl.SSLError as error:
            self._send()  # the alert that says why
            self._fail(error)
            return
        if self._outgoing.pending:  # the handshake's, or an answer to a change of keys
            self._send()

    def _shake_hands(self) -> None:
        while self._fed < self._arrived:
            self._feed()
        self.tls.do_handshake()
        self._send()
        self._stop_timer()
        self._memory.handshakes -= 1
        self._shaken = True
        self._above = TlsTransport(self, self._below, self._make())
        self._above.owner.connection_made(self._above)

    def _deliver(self) -> None:
        """Give the owner what there is."""
        while not self._is_held:
            owner = self._above.owner
            if isinstance(owner, asyncio.BufferedProtocol):
                count, more = self._fill(memoryview(owner.get_buffer(-1)))
                if count:
                    owner.buffer_updated(count)
            else:
                count, more = self._fill(self._memory.opened)
                if count:
                    owner.data_received(bytes(self._memory.opened[:count]))
            if not more:
                break
        if self._ended:
            self._on_end()

    @property
    def _is_held(self) -> bool:
        return self._paused or self.closing

    def _fill(self, view: memoryview) -> tuple[int, bool]:
        """Open records into `view`; return the octets opened and whether there may be more."""
        count, room, read, incoming = 0, len(view), self._records.read, self._incoming
        while count < room:
            if not incoming.pending:
                if self._fed < self._arrived:
                    self._feed()
                elif not self.tls.pending():  # asked first: an exception costs as much as a record
                    return count, False
            try:
                opened = read(room - count, view[count:])
            except ssl.SSLWantReadError:  # OpenSSL keeps half a record
                continue
            if not opened:
                self._ended = True
                return count, False
            count += opened
        return count, True

    def _feed(self) -> None:
        """Give OpenSSL the next piece of what the socket brought."""
        start, self._fed = self._fed, min(self._arrived, self._fed + PIECE)
        self._incoming.write(self._memory.sealed[start : self._fed])

    def _after_pause(self) -> None:
        if self._paused or self._below.is_closing():
            return
        self._on_sealed()
        if not self._is_held:
            self._below.resume_reading()

    def _on_end(self) -> None:
        """End after the other side's last octet: TLS has no half-closed state here."""
        if not self._shaken:
            self._below.abort()
        elif not self.closing:
            self._above.owner.eof_received()
            self.finish()

    def _send(self) -> None:
        if self._outgoing.pending and not self._below.is_closing():
            self._below.write(self._outgoing.read())

    def _fail(self, error: ssl.SSLError) -> None:
        log.info("tls: dropping %s: %s", self._below.get_extra_info("peername"), error)
        self._below.close() if not self._shaken else self._below.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class TlsTransport(asyncio.Transport):
    """What the owner writes to."""

    def __init__(
        self, connection: TlsConnection, below: asyncio.Transport, owner: asyncio.Protocol
    ) -> None:
        super().__init__()
        self._connection = connection
        self._below = below
        self.owner: asyncio.Protocol | asyncio.BufferedProtocol = owner

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.is_closing():
            self._connection.write(data)

    def close(self) -> None:
        self._connection.finish()

    def abort(self) -> None:
        self._connection.closing = True
        if not self._connection.lost:  # asyncio's transport has no loop any more then
            self._below.abort()

    def is_closing(self) -> bool:
        return self._connection.closing or self._below.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # asyncio's signature
        if name == "ssl_object":
            return self._connection.tls
        return self._below.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol | asyncio.BufferedProtocol)  # noqa: S101  # streams have no other kind
        self.owner = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.owner

    def pause_reading(self) -> None:
        self._connection.pause()

    def resume_reading(self) -> None:
        self._connection.resume()

    def is_reading(self) -> bool:
        return self._below.is_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._below.get_write_buffer_size()


def over_tls(
    make: Callable[[], asyncio.Protocol],
    context: ssl.SSLContext,
    patience: Patience = Patience(),  # frozen
) -> Callable[[], asyncio.BaseProtocol]:
    """Return a protocol factory for `create_server` (without `ssl`) that puts TLS below `make`."""
    memory = TlsMemory()
    return lambda: TlsConnection(make, context, memory, patience)
