"""What the server does with clients that are slow, wrong, old, or gone."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncGenerator

import pytest
from h2.errors import ErrorCodes
from tests.net.control_bed import MACHINE, SERVER, Holder, bed, eventually, ok
from tests.net.serving import read_all, read_exactly, read_until

from gatepost.errors import RefusedError
from gatepost.model.keys import MachinePrivate
from gatepost.net.control_server import ControlRequest, ControlResponse, Limits
from gatepost.sessions.h2_channel import Failed, GoneAway
from gatepost.sessions.h2_client import Answered, Arrived, Ended
from gatepost.wire import noise

FOREVER = 60.0  # seconds: longer than any test


# --- the handshake ------------------------------------------------------------------------


def upgrade(header: bytes, name: bytes = b"tailscale-control-protocol") -> bytes:
    return (
        b"POST /ts2021 HTTP/1.1\r\nHost: b\r\nConnection: upgrade\r\nUpgrade: " + name + b"\r\n"
        b"X-Tailscale-Handshake: " + header + b"\r\n\r\n"
    )  # fmt: skip


def initiation(version: int = 131) -> bytes:
    return noise.Initiation(MACHINE, SERVER.public, version, bytes(32)).message


@pytest.mark.parametrize(
    ("asked", "status", "word"),
    [
        (upgrade(b""), b"400", b"missing"),
        (upgrade(b"%%%"), b"400", b"base64"),
        (upgrade(base64.b64encode(initiation()[:-1])), b"400", b"101"),
        (upgrade(base64.b64encode(bytes(101))), b"400", b"initiation"),
        (upgrade(base64.b64encode(initiation()), b"DERP"), b"400", b"tailscale-control"),
        (b"PUT /ts2021 HTTP/1.1\r\nHost: b\r\n\r\n", b"405", b"PUT"),
        (b"GET /ts2021 HTTP/1.1\r\nHost: b\r\n\r\n", b"400", b"missing"),
    ],
)
async def test_a_request_that_is_no_handshake_is_refused_with_the_reason(
    asked: bytes, status: bytes, word: bytes
) -> None:
    async with bed(ok) as door, door.address.connect() as (reader, writer):
        writer.write(asked)
        head = await read_until(reader, b"\r\n\r\n")
        body = await reader.read(300)

    assert head.split()[1] == status
    assert word in body


async def test_every_flipped_byte_of_the_handshake_is_refused() -> None:
    message = initiation()
    async with bed(ok) as door:
        for position in range(5, len(message)):
            flipped = bytearray(message)
            flipped[position] ^= 0x40
            async with door.address.connect() as (reader, writer):
                writer.write(upgrade(base64.b64encode(bytes(flipped))))
                await read_until(reader, b"\r\n\r\n")
                answer = await read_all(reader)

            assert answer[0] == 3, position  # Noise's error message
        assert door.noise.connections == 0


async def test_a_client_that_expects_another_server_is_told() -> None:
    async with (
        bed(ok, server=MachinePrivate(bytes(range(65, 97)))) as door,
        door.client() as client,
    ):
        with pytest.raises(RefusedError, match="wrong tag"):
            await client.request("GET", "/x")


async def test_a_client_that_is_too_old_is_told() -> None:
    async with bed(ok) as door, door.client(version=112) as client:
        with pytest.raises(RefusedError, match="version 112 is too old"):
            await client.request("GET", "/x")


async def test_the_first_records_may_come_with_the_handshake() -> None:
    async with bed(ok) as door, door.address.connect() as (reader, writer):
        start = noise.Initiation(MACHINE, SERVER.public, 131, bytes(32))
        writer.write(upgrade(base64.b64encode(start.message)) + b"\x04\x00")
        head = await read_until(reader, b"\r\n\r\n")
        transport = start.finish(await read_exactly(reader, noise.RESPONSE_LENGTH))
        settings = transport.open(await reader.read(4096))
        writer.write(b"\x10" + bytes(16))  # the rest of a record, with a wrong tag

        assert head.startswith(b"HTTP/1.1 101 ")
        assert settings[3] == 4  # an HTTP/2 SETTINGS frame
        await read_all(reader)
        assert door.noise.connections == 0


async def test_connections_beyond_the_limit_are_refused() -> None:
    async with (
        bed(ok, limits=Limits(connections=1)) as door,
        door.client() as first,
        door.client() as second,
    ):
        await first.request("GET", "/x")
        with pytest.raises(RefusedError, match="503: too many connections"):
            await second.request("GET", "/x")
        await first.close()
        await eventually(lambda: not door.noise.connections)

        assert await second.request("GET", "/x") == (200, b"ok")


# --- records and frames ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00",
        b"\x03\x00\x00",
        b"\x04\x00\x0f" + bytes(15),  # shorter than a tag
        b"\x04\x0f\xfe",  # longer than a record
        b"\x04\x00\x10" + bytes(16),  # not authentic
    ],
)
async def test_garbage_instead_of_a_record_ends_the_connection(garbage: bytes) -> None:
    async with bed(ok) as door, door.raw() as client:
        client.line.writer.write(garbage)
        await read_all(client.line.reader)

        assert door.noise.connections == 0


async def test_records_that_carry_no_http2_end_the_connection_with_a_goaway() -> None:
    async with bed(ok) as door, door.raw() as client:
        await client.flush()
        data_on_stream_0 = bytes.fromhex("000001 00 00 00000000 78")
        client.line.writer.write(client.line.transport.seal(data_on_stream_0))
        events = await client.until(GoneAway)

        assert events[-1] == GoneAway(0, "PROTOCOL_ERROR")


async def test_a_record_may_arrive_byte_by_byte() -> None:
    async with bed(ok) as door, door.raw() as client:
        client.session.request("GET", "/x", b"")
        for byte in client.session.take():
            client.line.writer.write(bytes([byte]))
            await client.line.writer.drain()
        events = await client.until(Ended)

    assert [e.piece for e in events if isinstance(e, Arrived)] == [b"ok"]


# --- streams ----------------------------------------------------------------------------------


async def test_a_reset_tells_the_handler() -> None:
    holder = Holder()
    async with bed(holder) as door, door.raw() as client:
        stream = client.session.request("GET", "/x", b"")
        await client.flush()
        await client.read()
        client.session.reset(stream)
        await client.flush()

        await holder.until_closed(1)


async def test_a_lost_connection_tells_every_handler() -> None:
    holder = Holder()
    async with bed(holder) as door:
        async with door.raw() as client:
            for _ in range(3):
                client.session.request("GET", "/x", b"")
            await client.flush()
            await eventually(lambda: holder.running == 3)

        await holder.until_closed(3)


async def test_a_handler_that_does_not_notice_is_cancelled_after_a_grace_period() -> None:
    cancelled = asyncio.Event()

    async def stubborn(_request: ControlRequest) -> ControlResponse:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            cancelled.set()
        return ControlResponse()

    async with bed(stubborn, limits=Limits(grace=0.1)) as door, door.raw() as client:
        stream = client.session.request("GET", "/x", b"")
        await client.flush()
        await client.read()
        client.session.reset(stream)
        await client.flush()
        async with asyncio.timeout(5):
            await cancelled.wait()


async def test_resetting_streams_fast_starts_no_more_handlers_than_the_limit() -> None:
    started = 0

    async def slow(_request: ControlRequest) -> ControlResponse:
        nonlocal started
        started += 1
        await asyncio.sleep(FOREVER)
        return ControlResponse()

    async with bed(slow, limits=Limits(streams=4)) as door, door.raw() as client:
        await client.read()
        for _ in range(100):
            stream = client.session.request("GET", "/x", b"")
            client.session.reset(stream)
            await client.flush()
        last = client.session.request("GET", "/x", b"")
        await client.flush()
        events = await client.until(Failed)

    assert events[-1] == Failed(last, ErrorCodes.REFUSED_STREAM.name)
    assert started <= 4


async def test_a_reader_that_opens_no_window_holds_the_stream_back_and_loses_it() -> None:
    asked = 0
    closed = asyncio.Event()

    async def pieces() -> AsyncGenerator[bytes]:
        nonlocal asked
        try:
            while True:
                asked += 1
                yield bytes(1 << 16)
        finally:
            closed.set()

    async def handler(request: ControlRequest) -> ControlResponse:
        return ControlResponse(stream=pieces()) if request.path == "/map" else await ok(request)

    async with bed(handler, limits=Limits(stall=0.3)) as door, door.raw() as client:
        stream = client.session.request("GET", "/map", b"")
        await client.flush()
        events = await client.until(Failed)  # reads, yet acknowledges nothing
        other = client.session.request("GET", "/x", b"")
        await client.flush()
        more = await client.until(Ended)

        assert closed.is_set()
    assert Failed(stream, ErrorCodes.ENHANCE_YOUR_CALM.name) in events
    assert asked <= 17  # 1 MiB of window in pieces of 64 KiB, and the one that waits
    assert any(isinstance(e, Answered) and e.stream == other for e in more)


async def test_a_client_that_reads_nothing_at_all_is_dropped() -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        while True:
            yield bytes(1 << 16)

    async def handler(_request: ControlRequest) -> ControlResponse:
        return ControlResponse(stream=pieces())

    async with bed(handler, limits=Limits(stall=0.3)) as door, door.raw() as client:
        await client.ignore_windows([client.session.request("GET", "/map", b"") for _ in range(30)])

        await eventually(lambda: not door.noise.connections)


async def test_pings_are_answered() -> None:
    async with bed(ok) as door, door.raw() as client:
        client.line.writer.write(client.pings(3))
        client.session.request("GET", "/x", b"")
        await client.flush()

        assert Ended(1) in await client.until(Ended)


async def test_a_client_that_floods_and_reads_nothing_is_dropped() -> None:
    async with bed(ok, limits=Limits(stall=0.3)) as door, door.raw() as client:
        sock = client.line.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        client.line.writer.write(client.pings(60_000))  # 1 MiB of answers

        await eventually(lambda: not door.noise.connections)


async def test_a_client_without_requests_is_sent_away() -> None:
    async with bed(ok, limits=Limits(idle=0.1)) as door, door.raw() as client:
        events = await client.until(GoneAway)

        assert events[-1] == GoneAway(0, "NO_ERROR")
        assert door.noise.connections == 0
