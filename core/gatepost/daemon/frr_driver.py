"""Makes FRR do what the node wants of it, and tells how it fares.

The node leaves its wish in a file and reads the state from another (see
`gatepost.wire.routing_files`); neither waits for the other. This is a program of its own,
because FRR's daemons need rights that the node's unit does not have.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gatepost.daemon.files import write_atomically
from gatepost.engine.frr_show import (
    BGP_NEIGHBOURS,
    OSPF_NEIGHBOURS,
    read_bgp,
    read_ospf,
    read_routes,
    routes_command,
)
from gatepost.engine.frr_text import Program, frr_config, why_no_password
from gatepost.errors import Malformed, SettingsError
from gatepost.linux.frr_daemons import KEPT, Daemons
from gatepost.linux.frr_signs import keep_signs
from gatepost.model.routing import (
    STATE,
    WANTED,
    LearnedRoute,
    RoutingDaemon,
    RoutingNeighbour,
    RoutingProtocol,
    RoutingState,
)
from gatepost.wire.routing_files import read_wanted, write_state

LONGEST_PASSWORD: dict[RoutingProtocol, int] = {"bgp": 80, "ospf": 16}  # characters
_LARGEST = 1024  # bytes of a password's file that are read

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Driver:
    """One look after the other; `close` it."""

    directory: Path
    daemons: Daemons
    now: Callable[[], float]
    _problem: str = ""
    _has_signs: bool = False
    _learned: tuple[LearnedRoute, ...] = ()
    _learned_at: float = float("-inf")

    async def look(self) -> bool:
        """Do what is wanted now, and say how it goes; return whether anything is wanted."""
        wanted = await asyncio.to_thread(self._wanted)
        if wanted is None:
            await self.close()
            return False
        state = await self._drive(wanted)
        if state.problem != self._problem:
            self._problem = state.problem
            log.warning("%s", state.problem or "all is well again")
        content = write_state(state, self.now())
        await asyncio.to_thread(write_atomically, self.directory / STATE, content, 0o600)
        return True

    async def close(self) -> None:
        """Take back everything: FRR's routes, what the LAN's routers were told, the state."""
        await self.daemons.stop()
        if self._has_signs:
            await keep_signs(())
            self._has_signs = False
        self._learned = ()
        (self.directory / STATE).unlink(missing_ok=True)

    def _wanted(self) -> RoutingDaemon | None:
        try:
            return read_wanted((self.directory / WANTED).read_bytes())
        except FileNotFoundError:
            return None

    async def _drive(self, wanted: RoutingDaemon) -> RoutingState:
        if why_not := await asyncio.to_thread(self.daemons.why_not):
            await self.daemons.stop()
            return RoutingState(problem=why_not)
        try:
            passwords = await asyncio.to_thread(read_passwords, wanted)
            problem = await self.daemons.keep(frr_config(wanted, passwords))
        except SettingsError as error:  # what runs goes on with the passwords that it has
            problem = str(error)
        try:
            await self._keep_signs(wanted)
            state = await self._state(wanted, problem)
        except (OSError, Malformed) as error:
            state = RoutingState(problem=problem or str(error))
        return self.vouch(state)

    def vouch(self, state: RoutingState) -> RoutingState:
        """Vouch for a while for what was learnt before a program failed: it is started again.

        zebra's routes stay in the kernel meanwhile; without this the mesh would lose them.
        """
        if not state.problem:
            self._learned, self._learned_at = state.learned, self.now()
        elif self.now() - self._learned_at < KEPT:
            learned = tuple(dict.fromkeys((*state.learned, *self._learned)))
            return replace(state, learned=learned)
        return state

    async def _keep_signs(self, wanted: RoutingDaemon) -> None:
        if wanted.ospf is not None or self._has_signs:
            await keep_signs((wanted.announce or ()) if wanted.ospf is not None else ())
            self._has_signs = wanted.ospf is not None

    async def _state(self, wanted: RoutingDaemon, problem: str) -> RoutingState:
        neighbours = list[RoutingNeighbour]()
        learned = list[LearnedRoute]()
        if wanted.bgp is not None:
            text = await self._ask("bgpd", BGP_NEIGHBOURS)
            neighbours += read_bgp(text, wanted.bgp)
            versions = sorted({n.address.version for n in wanted.bgp.neighbours})
            for version in versions:
                learned += await self._routes(version, "bgp")
        if wanted.ospf is not None:
            neighbours += read_ospf(await self._ask("ospfd", OSPF_NEIGHBOURS))
            learned += await self._routes(4, "ospf")
        return RoutingState(problem=problem, neighbours=tuple(neighbours), learned=tuple(learned))

    async def _routes(self, version: int, protocol: RoutingProtocol) -> tuple[LearnedRoute, ...]:
        return read_routes(await self._ask("zebra", routes_command(version, protocol)), protocol)

    async def _ask(self, program: Program, command: str) -> str:
        """Return the answer of one that runs; nothing of one that does not, which is told."""
        return await self.daemons.ask(program, command) if self.daemons.runs(program) else ""


def read_passwords(wanted: RoutingDaemon) -> dict[Path, str]:
    """Read every password that is named; raise `SettingsError`, which shows none of them."""
    named: dict[Path, int] = {}
    for neighbour in wanted.bgp.neighbours if wanted.bgp else ():
        if neighbour.password_file is not None:
            named[neighbour.password_file] = LONGEST_PASSWORD["bgp"]
    if wanted.ospf and wanted.ospf.password_file is not None:
        named[wanted.ospf.password_file] = LONGEST_PASSWORD["ospf"]
    return {path: _read_password(path, longest) for path, longest in named.items()}


def _read_password(path: Path, longest: int) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST).decode("ascii", "replace").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"the password in {path}: {error.strerror}") from error
    if reason := why_no_password(text, longest):
        raise SettingsError(f"the password in {path}: {reason}")
    return text
