"""The programs of the lab: a node daemon in its box, and the coordination server in one of them.

They are the real programs with the real command lines, each with directories
of its own below the lab's. Nothing in them knows that this is a lab.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from gatepost.errors import UnreachableError
from gatepost.localapi.admin_client import AdminClient
from gatepost.localapi.client import NodeClient
from gatepost.model.status import Status
from gatepost.testing.netns import LabError, Machine, patient
from gatepost.testing.topology import Site

START_TIMEOUT = 20.0  # seconds until a program answers; Python on a slow machine takes a few
STOP_TIMEOUT = 10.0  # seconds a program may take to end
POLL = 0.02  # seconds between two looks at something that changes soon
LOG_TAIL = 15  # lines of a program's log that go into an error
PROGRAMS = Path(sys.executable).parent  # the virtual environment's

Found = TypeVar("Found")


def wait_for(
    look: Callable[[], Found | None], *, seconds: float, otherwise: Callable[[], str]
) -> Found:
    """Look until there is something, and return it; raise LabError with `otherwise()` when late."""
    deadline = time.monotonic() + patient(seconds)
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise LabError(otherwise())
        time.sleep(POLL)
    return found


@dataclass(slots=True)
class Program:
    """One of our programs in a machine; it can be killed and started again.

    `starter` is a command that starts it, such as `setpriv` with its options.
    """

    machine: Machine
    name: str
    arguments: tuple[str, ...]
    log: Path
    starter: tuple[str, ...] = ()
    _process: subprocess.Popen[str] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it; `await_answer` tells when it is ready."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a") as output:
            self._process = self.machine.start(
                *self.starter, str(PROGRAMS / self.name), *self.arguments, output=output
            )

    def signal(self, name: str) -> None:
        """Send a signal, "KILL" or "TERM", and wait until the program has ended."""
        if self._process is None:
            raise LabError(f"{self.name} in {self.machine.name} was not started")
        self.machine.attempt("pkill", f"-{name}", "-f", f"^{sys.executable}.*/{self.name} ")
        try:
            self._process.wait(timeout=patient(STOP_TIMEOUT))
        except subprocess.TimeoutExpired as late:
            raise LabError(f"{self.name} does not end on SIG{name}; see {self.log}") from late

    @property
    def process_id(self) -> int:
        """The id of the running program inside its machine."""
        pattern = f"^{sys.executable}.*/{self.name} "
        return int(self.machine.run("pgrep", "-f", pattern).split()[0])

    def await_answer(self, ask: Callable[[], object]) -> None:
        """Wait until `ask` finds somebody; raise LabError with the log's end when it is late."""

        def look() -> bool | None:
            if self._process is not None and self._process.poll() is not None:
                raise LabError(f"{self.name} in {self.machine.name} ended:\n{self.tail()}")
            try:
                ask()
            except UnreachableError:
                return None
            return True

        wait_for(
            look,
            seconds=START_TIMEOUT,
            otherwise=lambda: (
                f"{self.name} in {self.machine.name} did not answer within {START_TIMEOUT:g} s:\n"
                f"{self.tail()}"
            ),
        )

    def tail(self) -> str:
        """Return the end of the program's log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"  {line}" for line in lines[-LOG_TAIL:])


@dataclass(frozen=True, slots=True)
class Box:
    """A site's Gatepost: its daemon, and how to talk to it from the host."""

    site: Site
    daemon: Program
    directory: Path
    client: NodeClient

    @property
    def name(self) -> str:
        return self.site.box.name

    @property
    def socket(self) -> Path:
        return self.directory / "gatepostd.sock"

    def await_answer(self) -> None:
        self.daemon.await_answer(self.client.version)

    def await_status(
        self, wanted: Callable[[Status], bool], what: str, seconds: float = START_TIMEOUT
    ) -> Status:
        """Wait until the status is as wanted; raise LabError, which names `what`, when late."""

        def look() -> Status | None:
            try:
                status = self.client.status()
            except UnreachableError as error:
                raise LabError(f"{self.name}: {error}; its log:\n{self.daemon.tail()}") from error
            return status if wanted(status) else None

        return wait_for(
            look,
            seconds=seconds,
            otherwise=lambda: (
                f"{self.name}: no {what} within {seconds:g} s; status:\n"
                f"  {self.client.status()}\n{self.daemon.tail()}"
            ),
        )


def make_box(site: Site, directory: Path) -> Box:
    """Return the box of a site, not yet running, with its state below `directory`."""
    home = directory / site.box.name
    home.mkdir(mode=0o700)
    (home / "etc").mkdir()
    (home / "etc/resolv.conf").write_text("# There is nobody to ask on the internet of the lab.\n")
    socket = home / "gatepostd.sock"
    arguments = (
        *("--state-directory", str(home / "state")),
        *("--settings", str(home / "settings.toml")),
        *("--socket", str(socket)),
        *("--etc", str(home / "etc")),
    )
    daemon = Program(site.box, "gatepostd", arguments, home / "gatepostd.log")
    return Box(site, daemon, home, NodeClient(socket))


@dataclass(frozen=True, slots=True)
class Coordination:
    """The coordination server, and how to administer it from the host."""

    site: Site
    program: Program
    directory: Path
    client: AdminClient

    @property
    def url(self) -> str:
        return f"http://{self.site.public_v4}"

    @property
    def socket(self) -> Path:
        return self.directory / "admin.sock"

    def await_answer(self) -> None:
        self.program.await_answer(self.client.server)


def make_coordination(site: Site, directory: Path) -> Coordination:
    """Return a coordination server, not yet running, on the public addresses of a site's box."""
    home = directory / "coordination"
    home.mkdir(mode=0o700)
    settings = home / "settings.toml"
    settings.write_text(_coordination_settings(site))
    socket = home / "admin.sock"
    arguments = (
        *("--state-directory", str(home / "state")),
        *("--settings", str(settings)),
        *("--socket", str(socket)),
    )
    log = home / "gatepost-coordination.log"
    program = Program(site.box, "gatepost-coordination", arguments, log)
    return Coordination(site, program, home, AdminClient(socket))


def _coordination_settings(site: Site) -> str:
    v4, v6 = site.public_v4, site.public_v6
    return f"""\
server-url = "http://{v4}"
domain = "mesh.example"
listen = ["{v4}:80", "[{v6}]:80"]
listen-tls = ["{v4}:443", "[{v6}]:443"]
stun = ["{v4}:3478", "[{v6}]:3478", "{v4}:3479"]

[derp]
host = "{v4}"
ipv4 = "{v4}"
ipv6 = "{v6}"
"""
