"""The applier of `RoutingDaemon`: leaves the wish where `gatepost-frr` looks for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from gatepost.errors import Malformed
from gatepost.linux.small_files import replace_file
from gatepost.model.resource import Change, Resource
from gatepost.model.routing import DIRECTORY, STATE, WANTED, RoutingDaemon, RoutingState
from gatepost.wire.routing_files import read_state, read_wanted, write_wanted

SILENCE = 15.0  # seconds after which a state is not believed any more
NOBODY = "FRR does not run for Gatepost: `systemctl enable --now gatepost-frr.path`"


class RoutingDaemons:
    """Owns one file in a directory that lasts as long as the machine runs."""

    applies: type[Resource] = RoutingDaemon

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self._file = directory / WANTED

    async def read(self) -> frozenset[Resource]:
        return await asyncio.to_thread(self._read)

    async def write(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            wanted = change.new if isinstance(change.new, RoutingDaemon) else None
            await asyncio.to_thread(self._write, wanted)

    def _read(self) -> frozenset[Resource]:
        try:
            return frozenset({read_wanted(self._file.read_bytes())})
        except FileNotFoundError:
            return frozenset()
        except Malformed:  # of another version of ours: it is written anew, or removed
            return frozenset({RoutingDaemon(router_id=IPv4Address(0))})

    def _write(self, wanted: RoutingDaemon | None) -> None:
        if wanted is None:
            self._file.unlink(missing_ok=True)
            return
        if wanted.announce is None:
            before = {r for r in self._read() if isinstance(r, RoutingDaemon)}
            announced = frozenset(n for r in before for n in r.announce or ())
            wanted = replace(wanted, announce=announced)
        try:
            self._file.parent.mkdir(mode=0o700, exist_ok=True)
            replace_file(self._file, write_wanted(wanted))
        except OSError as error:
            raise OSError(
                error.errno, f"{self._file} cannot be written: {error.strerror}"
            ) from error


def read_routing(now: float, directory: Path = DIRECTORY) -> RoutingState:
    """Return how the daemon fares at `now` of the monotonic clock; waits for the disk."""
    try:
        state, at = read_state((directory / STATE).read_bytes())
    except FileNotFoundError:
        return RoutingState(problem=NOBODY)
    except Malformed as error:
        return RoutingState(problem=str(error))
    return state if 0 <= now - at < SILENCE else RoutingState(problem=NOBODY)
