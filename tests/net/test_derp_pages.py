"""The pages around the relay, and WebSocket."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.net.derp_bed import Bed, joined, relaying
from tests.net.waiting import eventually
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage

from gatepost.model.keys import NodePublic
from gatepost.sessions.derp_client import DerpSession, State
from gatepost.testing.makers import make_private
from gatepost.wire.derp import write_packet


async def fetch(bed: Bed, method: str, path: str, *headers: str) -> tuple[str, dict[str, str], str]:
    """Return the status line, the headers and the body of one answer."""
    lines = (f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", "")
    async with bed.raw() as (reader, writer), asyncio.timeout(10):
        writer.write("\r\n".join(lines).encode())
        text = (await reader.read()).decode()
    head, _, body = text.partition("\r\n\r\n")
    status, *rest = head.split("\r\n")
    return status, {k.lower(): v for k, _, v in (line.partition(": ") for line in rest)}, body


@pytest.mark.parametrize("path", ["/derp/probe", "/derp/latency-check"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_probe_is_answered_to_any_origin(tmp_path: Path, path: str, method: str) -> None:
    async with relaying(tmp_path) as bed:
        status, headers, body = await fetch(bed, method, path)

    assert status.startswith("HTTP/1.1 200")
    assert headers["access-control-allow-origin"] == "*"
    assert body == ""


async def test_a_probe_with_another_method_is_refused(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed:
        status, _, _ = await fetch(bed, "DELETE", "/derp/probe")

    assert status.startswith("HTTP/1.1 405")


@pytest.mark.parametrize(
    ("challenge", "answer"),
    [
        ("ts_derp-1.example:443", "response ts_derp-1.example:443"),
        ("x" * 65, None),
        ("a b", None),
        ("<script>", None),
    ],
)
async def test_a_captive_portal_check_gets_its_challenge_back(
    tmp_path: Path, challenge: str, answer: str | None
) -> None:
    async with relaying(tmp_path) as bed:
        status, headers, body = await fetch(
            bed, "GET", "/generate_204", f"X-Tailscale-Challenge: {challenge}"
        )

    assert status.startswith("HTTP/1.1 204")
    assert headers.get("x-tailscale-response") == answer
    assert body == ""


async def test_bootstrap_dns_knows_no_names(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed:
        assert (await fetch(bed, "GET", "/bootstrap-dns"))[2] == "{}"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/derp", "426"), ("POST", "/derp", "426"), ("GET", "/derp/other", "404")],
)
async def test_other_requests_are_refused(
    tmp_path: Path, method: str, path: str, status: str
) -> None:
    async with relaying(tmp_path) as bed:
        assert (await fetch(bed, method, path))[0].split()[1] == status


async def test_the_upgrade_tells_version_and_key(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, bed.raw() as (reader, writer), asyncio.timeout(10):
        writer.write(
            b"GET /derp HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n"
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")

        assert head[0].startswith("http/1.1 101")
        assert "derp-version: 2" in head
        assert f"derp-public-key: {bed.server.public.raw.hex()}" in head


async def test_fast_start_leaves_the_answer_out(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, bed.raw() as (reader, writer), asyncio.timeout(10):
        writer.write(
            b"GET /derp HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n"
            b"Derp-Fast-Start: 1\r\n\r\n"
        )

        assert (await reader.readexactly(45))[13:] == bed.server.public.raw


async def test_a_browser_takes_part_over_websocket(tmp_path: Path) -> None:
    async with relaying(tmp_path) as bed, joined(bed, 2) as node:
        async with bed.raw() as (reader, writer), asyncio.timeout(10):
            browser = await Browser.enter(reader, writer)
            browser.send(write_packet(node.key, b"hello"))
            await eventually(lambda: node.packets)
            node.send(browser.key, b"and back")
            await browser.until(lambda: bool(browser.packets))

            assert node.packets == [(browser.key, b"hello")]
            assert browser.packets == [(node.key, b"and back")]
        await eventually(lambda: bed.server.counters().clients == 1)


class Browser:
    """A client whose DERP goes through binary WebSocket messages."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        private = make_private(1)
        self.key = private.public
        self.packets: list[tuple[NodePublic, bytes]] = []
        self._reader = reader
        self._writer = writer
        self._messages = Connection(ConnectionType.CLIENT)
        self._session = DerpSession(private, host="x", nonce=bytes(24), on_packet=self._on_packet)

    def _on_packet(self, source: NodePublic, payload: bytes) -> None:
        self.packets.append((source, payload))

    @classmethod
    async def enter(cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Browser:
        key = base64.b64encode(bytes(16)).decode()
        writer.write(
            "GET /derp HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: derp\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        browser = cls(reader, writer)
        browser._session.begin()
        browser._session.receive(b"HTTP/1.1 101 \r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\r\n")
        await browser.until(lambda: browser._session.state is State.READY)
        return browser

    def send(self, octets: bytes) -> None:
        self._writer.write(self._messages.send(BytesMessage(data=octets)))

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._messages.receive_data(await self._reader.read(4096))
            for event in self._messages.events():
                assert isinstance(event, BytesMessage)
                _, answer = self._session.receive(bytes(event.data))
                if answer:
                    self.send(answer)
