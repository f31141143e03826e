"""Talks to a daemon of FRR over its own socket, as `vtysh` does.

    to it    command in UTF-8 | 0
    from it  output | 0 0 0 | code u8      code 0: done, 1: done with a warning, others: refused

Connections begin without rights; "enable" gives them. (FRR: lib/vty.c, vtysh/vtysh.c)
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path

TIMEOUT = 10.0  # seconds for one command
LONGEST = 1 << 26  # bytes of an answer: 10,000 routes are 10 MB
_END = b"\0\0\0"
_DONE = frozenset({0, 1})
_WORDS = 300  # characters of its complaint
_SECRETS = (" password ", " message-digest-key ")


class Vty:
    """One connection; `open_vty` makes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, command: str) -> str:
        """Return what a command prints; raise `OSError` in its words when it is refused."""
        if "\0" in command or "\n" in command:
            raise OSError(errno.EINVAL, "a command to FRR is one line")
        try:
            async with asyncio.timeout(TIMEOUT):
                self._writer.write(command.encode() + b"\0")
                await self._writer.drain()
                answer = await self._reader.readuntil(_END)
                (code,) = await self._reader.readexactly(1)
        except TimeoutError as error:
            raise TimeoutError(errno.ETIMEDOUT, "FRR did not answer in time") from error
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise OSError(errno.EPROTO, f"FRR's answer: {error}") from error
        output = answer[: -len(_END)].decode("utf-8", "replace")
        if code not in _DONE:
            is_secret = any(word in command for word in _SECRETS)  # FRR repeats the command
            words = "one with a password" if is_secret else output.strip()[:_WORDS]
            raise OSError(errno.EINVAL, f"FRR refused a command: {words}")
        return output

    async def configure(self, runs: Iterable[tuple[str, ...]]) -> None:
        """Do runs of commands, each from the top level of the configuration."""
        for run in runs:
            await self.ask("configure terminal")
            try:
                for command in run:
                    await self.ask(command)
            finally:
                await self.ask("end")


@contextlib.asynccontextmanager
async def open_vty(socket: Path) -> AsyncGenerator[Vty]:
    """Connect and be allowed everything; raise `OSError` when nobody is there."""
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_unix_connection(socket, limit=LONGEST)
    try:
        vty = Vty(reader, writer)
        await vty.ask("enable")
        yield vty
    finally:
        writer.close()
        with contextlib.suppress(OSError):  # whatever it says, it is gone
            await writer.wait_closed()
