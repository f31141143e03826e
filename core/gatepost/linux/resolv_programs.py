"""The two programs that look after names on many machines: systemd-resolved and resolvconf.

Both are told through their own commands and give back what was there by themselves:
`resolvectl` per link, which goes with the link; `resolvconf` per record.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from pathlib import Path

from gatepost.linux.commands import run_command
from gatepost.model.owned import DEVICE
from gatepost.model.resolver import HostResolver

RESOLVED, RESOLVCONF = "resolvectl", "resolvconf"
# Both put records whose name begins so before those of networks.
RECORD = f"tun0.{DEVICE}"
TIMEOUT = 5.0  # seconds for one command
_WORDS = 300  # characters of its complaint


async def run(program: str, *arguments: str, script: str = "") -> str:
    """Return what a command prints; raise `OSError` in its words."""
    done = await run_command(program, *arguments, script=script, limit=TIMEOUT)
    if done.code:
        words = done.complaint[:_WORDS] or "failed"
        raise OSError(errno.EIO, f"{program} {arguments[0]}: {words}")
    return done.output


class Resolved:
    """systemd-resolved, for our own device."""

    def __init__(self, program: str = RESOLVED, device: str = DEVICE) -> None:
        self._program = program
        self._device = device

    async def take(self, wish: HostResolver) -> None:
        device = self._device
        await run(self._program, "dns", device, *map(str, wish.servers))
        await run(self._program, "domain", device, *self._domains(wish))
        await run(self._program, "default-route", device, "yes" if wish.is_for_all else "no")

    def _domains(self, wish: HostResolver) -> tuple[str, ...]:
        everything = ("~.",) if wish.is_for_all else ()
        return (*wish.search, *(f"~{suffix}" for suffix in wish.suffixes), *everything)

    async def is_taken(self, wish: HostResolver) -> bool:
        """Say whether the link has these servers and domains; one that is gone has none."""
        if not self._is_link_there():
            return False
        servers = _after_colon(await run(self._program, "dns", self._device))
        domains = _after_colon(await run(self._program, "domain", self._device))
        return servers == {str(s) for s in wish.servers} and domains == set(self._domains(wish))

    async def give_back(self) -> None:
        """Forget what the link was told; nothing is there to forget when the link is gone."""
        if self._is_link_there():
            await run(self._program, "revert", self._device)

    def _is_link_there(self) -> bool:
        try:
            socket.if_nametoindex(self._device)
        except OSError:
            return False
        return True


class Resolvconf:
    """Debian's resolvconf or openresolv."""

    def __init__(self, program: str = RESOLVCONF, places: tuple[Path, ...] = ()) -> None:
        """`places` are where the records lie: one of them is there."""
        self._program = program
        self._places = places or (
            Path("/run/resolvconf/interface"),  # Debian's resolvconf
            Path("/run/resolvconf/interfaces"),  # openresolv before 3.13
            Path("/run/resolvconf/keys"),  # openresolv
        )

    async def take(self, wish: HostResolver) -> None:
        exclusive = ("-x",) if wish.is_for_all and await self._is_open() else ()
        await run(self._program, *exclusive, "-a", RECORD, script=self.record(wish))

    async def _is_open(self) -> bool:
        """Say whether it is openresolv, which alone can put one record in place of all others."""
        with contextlib.suppress(OSError):
            return "openresolv" in await run(self._program, "--version")
        return False

    async def is_taken(self, wish: HostResolver) -> bool:
        records = await asyncio.to_thread(self._records)
        return any(text.split() == self.record(wish).split() for text in records)

    def _records(self) -> tuple[str, ...]:
        files = (place / RECORD for place in self._places)
        return tuple(file.read_text("utf-8", "replace") for file in files if file.is_file())

    async def give_back(self) -> None:
        if await asyncio.to_thread(self._records):
            await run(self._program, "-d", RECORD)

    def record(self, wish: HostResolver) -> str:
        lines = [f"nameserver {server}" for server in wish.servers]
        if wish.search:
            lines.append(f"search {' '.join(wish.search)}")
        return "\n".join(lines) + "\n"


def _after_colon(line: str) -> set[str]:
    """Read `Link 5 (gatepost0): a b`."""
    return set(line.partition("):")[2].split())
