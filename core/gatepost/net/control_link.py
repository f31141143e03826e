"""One connection to the coordination server, shared by all requests to it.

The conversation itself is `sessions.h2_client`; here are the reading task and
the waiting of each request.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from gatepost.errors import GatepostError, UnreachableError
from gatepost.net.control_dial import Line
from gatepost.sessions.h2_channel import Failed, GoneAway
from gatepost.sessions.h2_client import Answered, Arrived, ClientEvent, ClientSession, Ended

log = logging.getLogger(__name__)

_READ_SIZE = 64 << 10  # octets


class Exchange:
    """One request and its answer. `close` it in any case."""

    def __init__(self, link: ControlLink, stream: int) -> None:
        self._link = link
        self._stream = stream
        self._moved = asyncio.Event()
        self._answer: Answered | None = None
        self._pieces: deque[Arrived] = deque()
        self._ended = False
        self._error: GatepostError | None = None

    async def head(self) -> Answered:
        """Wait for the head of the answer. The caller bounds the wait."""
        while self._answer is None:
            await self._wait()
        return self._answer

    async def piece(self) -> bytes | None:
        """Wait for the next piece of the body; None is its end. The caller bounds the wait."""
        while not self._pieces:
            if self._ended:
                return None
            await self._wait()
        arrived = self._pieces.popleft()
        self._link.consumed(arrived)
        return arrived.piece

    async def body(self, limit: int) -> bytes:
        """Wait for the rest of the body; raise `UnreachableError` if it is over `limit`."""
        whole = bytearray()
        while (piece := await self.piece()) is not None:
            whole += piece
            if len(whole) > limit:
                raise UnreachableError(f"the server's answer is over {limit} bytes")
        return bytes(whole)

    def close(self) -> None:
        """Give the request up unless it is complete."""
        self._link.forget(self._stream, is_complete=self._ended or self._error is not None)
        for arrived in self._pieces:
            self._link.consumed(arrived)
        self._pieces.clear()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._moved.clear()
        await self._moved.wait()

    # --- the link's side ----------------------------------------------------------
    def on_event(self, event: Answered | Arrived | Ended) -> None:
        match event:
            case Answered():
                self._answer = event
            case Arrived():
                self._pieces.append(event)
            case Ended():
                self._ended = True
        self._moved.set()

    def fail(self, error: GatepostError) -> None:
        """End the waiting with an error, after the pieces that are there."""
        if not self._ended:
            self._error = error
        self._moved.set()


class ControlLink:
    """Runs on a line until either side ends it. `run` must be running."""

    def __init__(self, line: Line, authority: str) -> None:
        self._line = line
        self._session = ClientSession(line.transport, authority)
        self._exchanges: dict[int, Exchange] = {}
        self._flushing = False
        self.is_over = False
        self.heard = 0  # reads that brought something

    async def run(self) -> None:
        """Read until the connection ends; then fail what is still waiting."""
        reason: GatepostError = UnreachableError(f"{self._line.way} closed the connection")
        try:
            self._flush_soon()
            arrived = self._line.rest
            while True:
                if arrived:
                    self._receive(arrived)
                arrived = await self._line.reader.read(_READ_SIZE)
                if not arrived:
                    return
        except OSError as error:
            reason = UnreachableError(f"{self._line.way}: {error.strerror or error}")
        except GatepostError as error:
            reason = error
            self._flush()
        finally:
            self.end(reason)

    def end(self, reason: GatepostError) -> None:
        """Close the line and fail what is still waiting; safe to call twice."""
        if self.is_over:
            return
        self.is_over = True
        self._line.writer.close()
        for exchange in self._exchanges.values():
            exchange.fail(reason)

    async def prove(self, patience: float) -> None:
        """Ask for a sign of life; end the line if none comes in that many seconds."""
        heard = self.heard
        self._session.ping()
        self._flush_soon()
        await asyncio.sleep(patience)
        if self.heard == heard:
            self.end(UnreachableError(f"{self._line.way} gives no sign of life"))

    def open(self, method: str, path: str, body: bytes) -> Exchange:
        """Send a request; raise `UnreachableError` if the connection takes no more."""
        if self.is_over:
            raise UnreachableError(f"the connection to {self._line.way} has ended")
        stream = self._session.request(method, path, body)
        exchange = Exchange(self, stream)
        self._exchanges[stream] = exchange
        self._flush_soon()
        return exchange

    def consumed(self, arrived: Arrived) -> None:
        self._session.consumed(arrived.stream, arrived.cost)
        self._flush_soon()

    def forget(self, stream: int, *, is_complete: bool) -> None:
        if self._exchanges.pop(stream, None) is not None and not is_complete:
            self._session.reset(stream)
            self._flush_soon()

    def _receive(self, arrived: bytes) -> None:
        self.heard += 1
        for event in self._session.receive(arrived):
            self._on_event(event)
        self._flush_soon()

    def _on_event(self, event: ClientEvent) -> None:
        match event:
            case Answered() | Ended():
                if exchange := self._exchanges.get(event.stream):
                    exchange.on_event(event)
            case Arrived():
                self._on_piece(event)
            case Failed():
                if exchange := self._exchanges.get(event.stream):
                    exchange.fail(UnreachableError(f"the server broke off: {event.reason}"))
            case GoneAway():
                raise UnreachableError(f"the server ends the connection: {event.reason}")
            case _:
                pass  # requests are small: nobody waits for them to leave

    def _on_piece(self, arrived: Arrived) -> None:
        exchange = self._exchanges.get(arrived.stream)
        if exchange is None:
            self._session.consumed(arrived.stream, arrived.cost)
        else:
            exchange.on_event(arrived)

    def _flush_soon(self) -> None:
        if not self._flushing and not self.is_over:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self.is_over or self._line.writer.is_closing():
            return
        if records := self._session.take():
            self._line.writer.write(records)
