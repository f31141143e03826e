"""Runs FRR's daemons for us: their processes, their files, and changes while they run.

They are Debian's programs in a path space of their own (`-N gatepost`): sockets and
configuration lie in /run/frr/gatepost, and nothing in /etc/frr is read or written. An FRR of
the operator's on the same machine would take our routes for its own leftovers, and we its;
so ours does not start beside one that runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gatepost.engine.frr_text import PROGRAMS, Config, Program, config_change, config_text
from gatepost.linux.frr_vty import Vty, open_vty
from gatepost.linux.small_files import change_owner, replace_file

PATH_SPACE = "gatepost"
USER = "frr"  # of the package
START_TIMEOUT, END_TIMEOUT = 10.0, 5.0  # seconds
_POLL = 0.05  # seconds
FIRST_PAUSE, LAST_PAUSE = 1.0, 30.0  # seconds before one that ended is started again
KEPT = 30  # seconds that zebra leaves the routes of one that was killed before it
_QUIET = 5.0  # seconds after which one that was started again counts as well

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Places:
    """Where things lie on this machine; tests have others."""

    programs: Path = Path("/usr/lib/frr")
    run: Path = Path("/run/frr")

    @property
    def ours(self) -> Path:
        return self.run / PATH_SPACE


@dataclass(slots=True)
class _Running:
    config: Config
    process: asyncio.subprocess.Process


@dataclass(slots=True)
class _Failures:
    """Of one program: when it may start again, and what is told until that has lasted."""

    pause: float = FIRST_PAUSE
    not_before: float = 0.0
    started: float = 0.0
    text: str = ""


@dataclass(slots=True)
class Daemons:
    """The programs of FRR that run for us. One caller at a time; `stop` them at the end."""

    now: Callable[[], float]
    places: Places = field(default_factory=Places)
    _running: dict[Program, _Running] = field(default_factory=dict[Program, _Running])
    _failures: dict[Program, _Failures] = field(default_factory=dict[Program, _Failures])

    def why_not(self) -> str:
        """Say why FRR cannot be run here; nothing if it can. Waits for the disk."""
        if missing := [p for p in PROGRAMS if not (self.places.programs / p).exists()]:
            return (
                f"{self.places.programs / missing[0]} is not there: FRR is not installed "
                "(`apt install frr`, then `systemctl disable --now frr`)"
            )
        if _answers(self.places.run / "zserv.api"):
            return (
                "another FRR runs on this machine, and two would remove each other's routes: "
                "`systemctl disable --now frr`, if nobody uses it"
            )
        return ""

    async def keep(self, configs: Mapping[Program, Config]) -> str:
        """Run exactly these with these configurations; return what does not run, in words."""
        for program in reversed(PROGRAMS):
            if program in self._running and program not in configs:
                await self._end(program)
        for program, config in configs.items():
            await self._keep_one(program, config)
        return "; ".join(f.text for p, f in self._failures.items() if f.text and p in configs)

    async def stop(self) -> None:
        """End all of them; zebra, last, takes its routes away."""
        for program in reversed(PROGRAMS):
            if program in self._running:
                await self._end(program)
        self._failures.clear()

    async def ask(self, program: Program, command: str) -> str:
        """Ask one that runs; raise `OSError` when it does not answer."""
        async with open_vty(self._socket(program)) as vty:
            return await vty.ask(command)

    def runs(self, program: Program) -> bool:
        return program in self._running

    async def _keep_one(self, program: Program, config: Config) -> None:
        failures = self._failures.setdefault(program, _Failures())
        running = self._running.get(program)
        if running is not None and running.process.returncode is not None:
            await self._end(program)
            self._note(failures, f"{program} ended with {running.process.returncode}")
            return
        try:
            if running is None:
                await self._start_in_time(program, config, failures)
            elif running.config != config:
                await self._change(program, running, config)
        except OSError as error:
            self._note(failures, f"{program}: {error}")
            if program in self._running:  # what it has now is not known: it begins anew
                await self._end(program)
            return
        if program in self._running and self.now() - failures.started > _QUIET:
            failures.text, failures.pause = "", FIRST_PAUSE

    def _note(self, failures: _Failures, text: str) -> None:
        log.warning("%s", text)
        failures.text = text
        failures.not_before = self.now() + failures.pause
        failures.pause = min(failures.pause * 2, LAST_PAUSE)

    async def _start_in_time(self, program: Program, config: Config, failures: _Failures) -> None:
        if self.now() >= failures.not_before:
            await self._start(program, config)
            failures.started = self.now()

    async def _change(self, program: Program, running: _Running, config: Config) -> None:
        """Change one while it runs: sessions that are not named stay."""
        await asyncio.to_thread(self._write, program, config)
        async with open_vty(self._socket(program)) as vty:
            await vty.configure(config_change(running.config, config))
        running.config = config
        log.info("%s has a new configuration", program)

    async def _start(self, program: Program, config: Config) -> None:
        await asyncio.to_thread(self._prepare, program, config)
        kept = ("-K", str(KEPT)) if program == "zebra" else ()
        process = await asyncio.create_subprocess_exec(
            str(self.places.programs / program),
            *("-N", PATH_SPACE, "-f", str(self._file(program)), "-P", "0"),
            *("--log", "stdout", "--log-level", "warnings", *kept),
            stdin=asyncio.subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        self._running[program] = _Running(config, process)
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._await_answer(program, process)
        except TimeoutError as error:
            raise TimeoutError(errno.ETIMEDOUT, "it did not answer in time") from error
        log.info("%s runs", program)

    async def _await_answer(self, program: Program, process: asyncio.subprocess.Process) -> None:
        """Wait until it has read its file and answers; raise `OSError` if it ends instead."""
        while process.returncode is None:
            with contextlib.suppress(OSError):
                async with open_vty(self._socket(program)) as vty:
                    await self._is_ready(program, vty)
                    return
            await asyncio.sleep(_POLL)
        raise OSError(errno.ECHILD, f"it ended with {process.returncode} at once")

    async def _is_ready(self, program: Program, vty: Vty) -> None:
        """Raise `OSError` unless zebra takes the others, too."""
        await vty.ask("show version")
        if program == "zebra" and not await asyncio.to_thread(
            _answers, self.places.ours / "zserv.api"
        ):
            raise ConnectionError("zebra does not take others yet")

    async def _end(self, program: Program) -> None:
        process = self._running.pop(program).process
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(END_TIMEOUT):
                await process.wait()
        except TimeoutError:
            log.warning("%s did not end in time and is killed", program)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await asyncio.to_thread(self._file(program).unlink, missing_ok=True)  # it has passwords

    # --- files, in threads --------------------------------------------------------------

    def _prepare(self, program: Program, config: Config) -> None:
        self._end_predecessor(program)
        for folder in (self.places.run, self.places.ours):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            change_owner(folder, USER)
        self._write(program, config)

    def _write(self, program: Program, config: Config) -> None:
        """Write what the program reads at its next start; only it may read passwords."""
        replace_file(self._file(program), config_text(config).encode("ascii"), owner=USER)

    def _end_predecessor(self, program: Program) -> None:
        """End one whose owner was killed: it would keep the new one from starting.

        Its words say that it is ours; /proc/…/exe takes CAP_SYS_PTRACE, which our unit lacks.
        """
        try:
            number = int((self.places.ours / f"{program}.pid").read_text())
            words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
            named = {bytes(self.places.programs / program), bytes(self._file(program))}
            if named <= set(words):
                log.warning("ending %s of before (process %d)", program, number)
                os.kill(number, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return

    def _file(self, program: Program) -> Path:
        return self.places.ours / f"{program}.conf"

    def _socket(self, program: Program) -> Path:
        return self.places.ours / f"{program}.vty"


def _answers(path: Path) -> bool:
    """Say whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as tried:
        tried.settimeout(1.0)
        try:
            tried.connect(str(path))
        except OSError:
            return False
    return True
