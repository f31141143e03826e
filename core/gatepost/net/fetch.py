"""One small HTTP request on a connection of its own, for probes and gateways in the LAN.

Not for the coordination server, which has its own conversation.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import h11

from gatepost.errors import Malformed, UnreachableError
from gatepost.net.dial import dial

LIMIT = 64 << 10  # bytes of a body
_READ_SIZE = 16 << 10  # bytes

Check = Callable[[ssl.SSLObject], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer. `first_byte` is seconds from the request to its answer: one round trip."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    first_byte: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of whom. `addresses`, if any, are dialled in place of `host`, from `source`."""

    host: str
    port: int
    target: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None  # None is a GET, else a POST
    addresses: Sequence[str] = ()
    source: str = ""  # our own address; "" leaves it to the kernel

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port in {80, 443} else f"{host}:{self.port}"


async def fetch(
    question: Question,
    *,
    seconds: float,
    mark: int | None = None,
    tls: ssl.SSLContext | None = None,
    name: str = "",
    check: Check | None = None,
) -> Reply:
    """Ask and return the answer; `check` judges the TLS peer before anything is sent.

    Raise `UnreachableError` (also for no answer within `seconds`), `Malformed`,
    and what `check` raises.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _fetch(question, seconds, mark, tls, name or question.host, check)
    except TimeoutError as error:
        raise UnreachableError(f"{question.authority}: no answer in {seconds:g} s") from error
    except OSError as error:  # also ssl.SSLError
        raise UnreachableError(f"{question.authority}: {error}") from error
    except h11.RemoteProtocolError as error:
        raise Malformed(f"{question.authority} does not speak HTTP: {error}") from error


async def _fetch(
    question: Question,
    seconds: float,
    mark: int | None,
    tls: ssl.SSLContext | None,
    name: str,
    check: Check | None,
) -> Reply:
    sock = await dial(
        question.host, question.port, mark=mark, seconds=seconds,
        addresses=question.addresses, source=question.source,
    )  # fmt: skip
    reader, writer = await asyncio.open_connection(
        sock=sock, ssl=tls, server_hostname=name if tls else None
    )
    try:
        connection: object = writer.get_extra_info("ssl_object")
        if check is not None and isinstance(connection, ssl.SSLObject):
            check(connection)
        return await _ask(reader, writer, question)
    finally:
        writer.transport.abort()


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, question: Question
) -> Reply:
    connection = h11.Connection(h11.CLIENT)
    writer.write(_request(connection, question))
    await writer.drain()
    asked = time.monotonic()
    first_byte, head, body = 0.0, None, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            received = await reader.read(_READ_SIZE)
            first_byte = first_byte or time.monotonic() - asked
            connection.receive_data(received)
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > LIMIT:
                raise Malformed(f"{question.authority} answers with over {LIMIT} bytes")
        elif head is not None and isinstance(event, h11.EndOfMessage):
            break
        elif not isinstance(event, h11.InformationalResponse):
            raise UnreachableError(f"{question.authority} closed the connection")
    headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in head.headers}
    return Reply(status=head.status_code, headers=headers, body=bytes(body), first_byte=first_byte)


def _request(connection: h11.Connection, question: Question) -> bytes:
    body = question.body
    headers = {"Host": question.authority, "Connection": "close", **question.headers}
    if body is not None:
        headers["Content-Length"] = str(len(body))
    request = h11.Request(
        method="GET" if body is None else "POST",
        target=question.target,
        headers=list(headers.items()),
    )
    sent = connection.send(request) or b""
    if body:
        sent += connection.send(h11.Data(data=body)) or b""
    return sent + (connection.send(h11.EndOfMessage()) or b"")
