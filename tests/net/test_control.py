"""The promises of the control connection, client and server against each other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest
from tests.net.control_bed import MACHINE, bed

from gatepost.errors import (
    Malformed,
    RefusedError,
    Truncated,
    UnreachableError,
)
from gatepost.model.keys import NodePublic
from gatepost.net.control_server import ControlRequest, ControlResponse, Limits
from gatepost.wire.go_json import read_json, write_json
from gatepost.wire.map_frames import keep_alive, write_frame
from gatepost.wire.netmap import MapNode, MapRequest, MapResponse
from gatepost.wire.register import RegisterRequest, RegisterResponse

STREAM = MapRequest(stream=True, compress="zstd")


async def echo(request: ControlRequest) -> ControlResponse:
    return ControlResponse(status=201, body=request.body)


def frame(domain: str) -> bytes:
    return write_frame(write_json(MapResponse(domain=domain)), "zstd")


# --- requests -------------------------------------------------------------------------


async def test_the_handler_sees_who_asks_and_what() -> None:
    seen: list[ControlRequest] = []

    async def handler(request: ControlRequest) -> ControlResponse:
        seen.append(request)
        return ControlResponse(body=b"{}")

    async with bed(handler) as door, door.client(version=130) as client:
        status, body = await client.request("GET", "/machine/tka/sync?a=1&b=", b"body")

    assert (status, body) == (200, b"{}")
    asked = seen[0]
    assert (asked.method, asked.path, asked.query) == (
        "GET", "/machine/tka/sync", {"a": "1", "b": ""},
    )  # fmt: skip
    assert (asked.body, asked.machine, asked.version) == (b"body", MACHINE.public, 130)
    assert asked.peer == "127.0.0.1"
    assert not asked.closed.is_set()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"])
async def test_every_method_may_have_a_body(method: str) -> None:
    async with bed(echo) as door, door.client() as client:
        answer = await client.request(method, "/x", b"body")

    assert answer == (201, b"" if method == "HEAD" else b"body")


async def test_large_bodies_pass_both_windows_both_ways() -> None:
    body = bytes(range(256)) * 4096  # 1 MiB, the limit
    async with bed(echo) as door, door.client() as client:
        assert await client.request("POST", "/x", body) == (201, body)


async def test_a_body_over_the_limit_is_refused_and_the_connection_lives_on() -> None:
    async with bed(echo, limits=Limits(body=1000)) as door, door.client() as client:
        refused = await client.request("POST", "/x", bytes(1001))
        served = await client.request("POST", "/x", bytes(1000))

        assert door.noise.connections == 1
    assert (refused[0], served[0]) == (413, 201)


async def test_many_requests_share_one_connection_and_overtake_each_other() -> None:
    release = asyncio.Event()

    async def handler(request: ControlRequest) -> ControlResponse:
        if request.path == "/slow":
            await release.wait()
        else:
            release.set()
        return ControlResponse(body=request.path.encode())

    async with bed(handler) as door, door.client() as client:
        slow, fast = await asyncio.gather(
            client.request("GET", "/slow"), client.request("GET", "/fast")
        )

        assert door.noise.connections == 1
    assert slow == (200, b"/slow")
    assert fast == (200, b"/fast")


async def test_a_failing_handler_costs_one_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: ControlRequest) -> ControlResponse:
        if request.path == "/bad":
            raise ValueError("secret detail")
        return ControlResponse(body=b"fine")

    async with bed(handler) as door, door.client() as client:
        failed = await client.request("GET", "/bad")
        served = await client.request("GET", "/good")

    assert failed[0] == 500
    assert b"secret" not in failed[1]
    assert served == (200, b"fine")
    assert "secret detail" in caplog.text


# --- register and map -------------------------------------------------------------------


async def test_registering_returns_the_answer_or_raises_the_servers_words() -> None:
    async def handler(request: ControlRequest) -> ControlResponse:
        asked = read_json(request.body, RegisterRequest)
        if asked.followup:
            return ControlResponse(body=write_json(RegisterResponse(error="not allowed here")))
        if asked.ephemeral:
            return ControlResponse(status=401, body=b"go away\n")
        return ControlResponse(body=write_json(RegisterResponse(auth_url="http://x/register/1")))

    async with bed(handler) as door, door.client() as client:
        answer = await client.register(RegisterRequest())
        with pytest.raises(RefusedError, match=r"^not allowed here$"):
            await client.register(RegisterRequest(followup=answer.auth_url))
        with pytest.raises(RefusedError, match="401: go away"):
            await client.register(RegisterRequest(ephemeral=True))

    assert answer.auth_url == "http://x/register/1"


async def test_map_messages_arrive_one_by_one_while_other_requests_are_answered() -> None:
    updated = asyncio.Event()

    async def pieces() -> AsyncGenerator[bytes]:
        yield frame("first")
        await updated.wait()
        yield keep_alive("zstd")
        yield frame("x" * 1_000_000) + frame("last")

    async def handler(request: ControlRequest) -> ControlResponse:
        asked = read_json(request.body, MapRequest)
        if asked.stream:
            return ControlResponse(stream=pieces())
        assert asked.omit_peers
        updated.set()
        return ControlResponse()

    messages: list[MapResponse] = []
    async with bed(handler) as door, door.client() as client:
        async for message in client.map(STREAM):
            messages.append(message)
            if message.domain == "first":
                await client.update(MapRequest(endpoints=("192.0.2.1:1",)))

    assert [m.domain[:5] for m in messages] == ["first", "", "xxxxx", "last"]
    assert [m.keep_alive for m in messages] == [False, True, False, False]


async def test_leaving_the_map_poll_closes_the_servers_stream_and_nothing_else() -> None:
    closed = asyncio.Event()
    requests: list[ControlRequest] = []

    async def pieces() -> AsyncGenerator[bytes]:
        try:
            yield frame("first")
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def handler(request: ControlRequest) -> ControlResponse:
        requests.append(request)
        return ControlResponse(stream=pieces()) if request.path != "/x" else ControlResponse()

    async with bed(handler) as door, door.client() as client:
        async with contextlib.aclosing(client.map(STREAM)) as messages:
            assert (await anext(messages)).domain == "first"
        async with asyncio.timeout(5):
            await closed.wait()

        assert (await client.request("GET", "/x"))[0] == 200
        assert door.noise.connections == 1
    assert requests[0].closed.is_set()


async def test_a_refused_map_poll_says_why() -> None:
    async def handler(_request: ControlRequest) -> ControlResponse:
        return ControlResponse(status=404, body=b"node not found")

    async with bed(handler) as door, door.client() as client:
        with pytest.raises(RefusedError, match="404: node not found"):
            await anext(client.map(STREAM))


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (b"\xff\xff\xff\xff", Malformed),
        (b"\x03\x00\x00\x00abc", Malformed),
        (write_frame(b"[]", "zstd"), Malformed),
        (frame("cut")[:-1], Truncated),
        (b"\x01", Truncated),
    ],
)
async def test_a_garbled_map_stream_is_an_error(stream: bytes, error: type[Exception]) -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        yield stream

    async def handler(_request: ControlRequest) -> ControlResponse:
        return ControlResponse(stream=pieces())

    async with bed(handler) as door, door.client() as client:
        with pytest.raises(error):
            await anext(client.map(STREAM))


async def test_a_wrong_peer_in_a_map_message_costs_only_that_peer() -> None:
    right = write_json(MapNode(id=1, key=NodePublic(bytes(range(32)))))

    async def pieces() -> AsyncGenerator[bytes]:
        yield write_frame(b'{"Peers":[' + right + b',{"ID":2,"Key":"nonsense"}]}', "zstd")

    async def handler(_request: ControlRequest) -> ControlResponse:
        return ControlResponse(stream=pieces())

    async with bed(handler) as door, door.client() as client:
        message = await anext(client.map(STREAM))

    assert [peer.id for peer in message.peers or ()] == [1]
    assert message.problems[0].startswith("Peers[1] left out: ")


async def test_a_silent_map_poll_is_given_up() -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        yield frame("first")
        await asyncio.Event().wait()

    async def handler(_request: ControlRequest) -> ControlResponse:
        return ControlResponse(stream=pieces())

    async with bed(handler) as door, door.client(watchdog=0.2) as client:
        messages = client.map(STREAM)
        await anext(messages)
        with pytest.raises(UnreachableError, match="within"):
            await anext(messages)
