"""Talking to FRR's daemons, with one that answers as they do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from gatepost.linux.frr_vty import open_vty

REFUSED = 2


class FakeDaemon:
    """Keeps what it was told; refuses what begins with "bad" in FRR's words."""

    def __init__(self) -> None:
        self.told = list[str]()
        self.left = asyncio.Event()  # set when the one client is gone

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                command = (await reader.readuntil(b"\0"))[:-1].decode()
                self.told.append(command)
                code = REFUSED if "bad" in command else 0
                text = f"% [BGP] Unknown command: {command}\n" if code else f"{command}?\n"
                writer.write(text.encode() + b"\0\0\0" + bytes([code]))
        await end(writer)
        self.left.set()


async def end(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def daemon(place: Path) -> AsyncGenerator[FakeDaemon]:
    fake = FakeDaemon()
    async with await asyncio.start_unix_server(fake.serve, place):
        yield fake
        async with asyncio.timeout(10):
            await fake.left.wait()


async def test_an_answer_is_read_to_its_end(tmp_path: Path) -> None:
    async with daemon(tmp_path / "vty") as fake, open_vty(tmp_path / "vty") as vty:
        assert await vty.ask("show version") == "show version?\n"
        assert fake.told == ["enable", "show version"]


async def test_each_run_begins_and_ends_at_the_top(tmp_path: Path) -> None:
    async with daemon(tmp_path / "vty") as fake, open_vty(tmp_path / "vty") as vty:
        await vty.configure([("router bgp 1", "no neighbor 10.1.0.9"), ("a",)])

    conf = "configure terminal"
    assert fake.told[1:] == [conf, "router bgp 1", "no neighbor 10.1.0.9", "end", conf, "a", "end"]


async def test_a_refused_command_is_an_error_in_frrs_words(tmp_path: Path) -> None:
    async with daemon(tmp_path / "vty") as fake, open_vty(tmp_path / "vty") as vty:
        with pytest.raises(OSError, match="Unknown command: bad one"):
            await vty.configure([("bad one", "good one")])

    assert fake.told[-2:] == ["bad one", "end"]


async def test_a_refused_password_is_not_repeated(tmp_path: Path) -> None:
    async with daemon(tmp_path / "vty"), open_vty(tmp_path / "vty") as vty:
        for command in ("neighbor x password bad1", "ip ospf message-digest-key 1 md5 bad1"):
            with pytest.raises(OSError, match="one with a password") as told:
                await vty.ask(command)
            assert "bad1" not in str(told.value)


@pytest.mark.parametrize("command", ["a\nb", "a\0b"])
async def test_a_command_is_one_line(tmp_path: Path, command: str) -> None:
    async with daemon(tmp_path / "vty") as fake, open_vty(tmp_path / "vty") as vty:
        with pytest.raises(OSError, match="one line"):
            await vty.ask(command)
        assert fake.told == ["enable"]


async def test_who_ends_within_an_answer_is_an_error(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\0")
        writer.write(b"half an answer\0\0")
        await end(writer)
        left.set()

    async with await asyncio.start_unix_server(half, tmp_path / "vty"):
        with pytest.raises(OSError, match="FRR's answer"):
            async with open_vty(tmp_path / "vty"):
                pass
        async with asyncio.timeout(10):
            await left.wait()
