"""Machines of a test bed: processes in a network, mount and process namespace of their own.

A machine is one process that waits. Its namespaces have no names and end with
it, and it ends with the program that made it, however that program dies: a
killed test leaves no namespace, no interface and no daemon behind. That is why
nothing here uses `ip netns add`, whose names outlive everybody.

Inside a machine /run is empty and private (wireguard-go keeps its sockets in
/run/wireguard), /sys shows its own interfaces, and process 1 collects orphans.
All other files are the host's. /etc can only be read: a program that looks after
/etc/resolv.conf as if the machine were its own would otherwise write the host's.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from gatepost.errors import GatepostError

COMMAND_TIMEOUT = 20.0  # seconds, for a command that is expected to end by itself
END_TIMEOUT = 5.0  # seconds between a machine's end and the end of its processes

# No duplicate address detection: it would keep every new IPv6 address unusable for a second.
_INIT = """
set -e
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/wireguard
mount --rbind /etc /etc
mounted=$(</proc/self/mountinfo)  # in containers files below /etc are, too
while read -r _ _ _ _ place _; do
  case $place in /etc | /etc/*) mount -o remount,bind,ro "$place" ;; esac
done <<< "$mounted"
for scope in all default; do
  for setting in accept_dad dad_transmits accept_ra; do
    echo 0 > /proc/sys/net/ipv6/conf/$scope/$setting
  done
done
ip link set lo up
echo ready
while :; do sleep 3600 & wait $!; done
"""


def patient(seconds: float) -> float:
    """Return a limit for this machine: times GATEPOST_PATIENCE, which an emulated one sets."""
    return seconds * float(os.environ.get("GATEPOST_PATIENCE", "1"))


class LabError(GatepostError):
    """The test bed could not be built, or a command in it failed; the text has its output."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine. `process_id` is that of the outermost process, as the host sees it."""

    name: str
    process_id: int
    _started: list[subprocess.Popen[str]] = field(
        default_factory=list[subprocess.Popen[str]], compare=False, repr=False
    )

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Return the command line that runs `arguments` in this machine."""
        spaces = f"/proc/{self.process_id}/ns"
        return (
            "nsenter",
            f"--net={spaces}/net",
            f"--mount={spaces}/mnt",
            f"--pid={spaces}/pid_for_children",
            "--",
            *arguments,
        )

    def run(self, *arguments: str, stdin: str = "", timeout: float = COMMAND_TIMEOUT) -> str:
        """Run to the end and return standard output; raise LabError when it fails."""
        result = self.attempt(*arguments, stdin=stdin, timeout=timeout)
        if result.returncode:
            output = (result.stderr or result.stdout).strip()
            raise LabError(
                f"{self.name}: {' '.join(arguments)} ended with {result.returncode}: {output}"
            )
        return result.stdout

    def attempt(
        self, *arguments: str, stdin: str = "", timeout: float = COMMAND_TIMEOUT
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end, whatever the exit code; raise LabError when it takes too long."""
        try:
            return subprocess.run(
                self.command(*arguments),
                input=stdin,
                capture_output=True,
                text=True,
                check=False,
                timeout=patient(timeout),
            )
        except subprocess.TimeoutExpired as late:
            raise LabError(
                f"{self.name}: {' '.join(arguments)} ran longer than {patient(timeout)} s"
            ) from late

    def start(
        self,
        *arguments: str,
        output: IO[str] | int = subprocess.DEVNULL,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a process that stays; the machine's end ends it."""
        process = subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=True,  # Ctrl-C is for the lab, which ends them in order
        )
        self._started.append(process)
        return process

    def ip(self, *lines: str) -> None:
        """Run lines of `ip` in one process."""
        self.run("ip", "-batch", "-", stdin="\n".join(lines) + "\n")

    def nft(self, rules: str) -> None:
        """Load nftables rules in one transaction."""
        self.run("nft", "-f", "-", stdin=rules)

    def sysctl(self, **values: str | int) -> None:
        """Write settings of the kernel; a name's dots are written as two underscores."""
        lines = (f"{name.replace('__', '/')} = {value}" for name, value in values.items())
        self.run("sysctl", "-q", "-p", "-", stdin="\n".join(lines) + "\n")

    def processes(self, program: str) -> tuple[int, ...]:
        """Return the ids, inside the machine, of its processes with this name."""
        found = self.attempt("pgrep", "-x", program).stdout
        return tuple(int(line) for line in found.split())


@dataclass(slots=True)
class Machines:
    """The owner of machines; `close` ends them and everything that runs in them."""

    _keepers: list[subprocess.Popen[str]] = field(default_factory=list[subprocess.Popen[str]])
    _started: list[subprocess.Popen[str]] = field(default_factory=list[subprocess.Popen[str]])

    def add(self, *names: str) -> tuple[Machine, ...]:
        """Start machines, side by side; they are ready when this returns."""
        started = [(name, self._start()) for name in names]
        for name, keeper in started:
            _await_ready(name, keeper)
        return tuple(Machine(name, keeper.pid, self._started) for name, keeper in started)

    def _start(self) -> subprocess.Popen[str]:
        keeper = subprocess.Popen(
            (
                *("setpriv", "--pdeathsig", "KILL"),
                *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *("bash", "-c", _INIT),
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._keepers.append(keeper)
        return keeper

    def close(self) -> None:
        """End all machines; safe to call twice."""
        for keeper in self._keepers:
            keeper.kill()  # not SIGTERM, which unshare ignores while its child runs
        for process in (*self._keepers, *self._started):
            process.communicate(timeout=patient(END_TIMEOUT))
        self._keepers.clear()
        self._started.clear()


def _await_ready(name: str, keeper: subprocess.Popen[str]) -> None:
    """Raise LabError unless the machine's first process says that it is set up."""
    line = keeper.stdout.readline() if keeper.stdout else ""
    if line != "ready\n":
        keeper.kill()
        reason = keeper.communicate(timeout=patient(END_TIMEOUT))[1].strip()
        raise LabError(f"cannot make the machine {name}: {reason}")


@contextlib.contextmanager
def machines() -> Generator[Machines]:
    """Own machines for the length of a block."""
    owner = Machines()
    try:
        yield owner
    finally:
        owner.close()


def connect(one: Machine, one_link: str, other: Machine, other_link: str) -> None:
    """Lay a cable (a veth pair) between two machines; both ends are up, without addresses."""
    _host_ip(
        f"link add {one_link} netns {one.process_id} "
        f"type veth peer name {other_link} netns {other.process_id}"
    )
    one.ip(f"link set {one_link} up")
    other.ip(f"link set {other_link} up")


def _host_ip(line: str) -> None:
    result = subprocess.run(
        ("ip", *line.split()), capture_output=True, text=True, check=False, timeout=COMMAND_TIMEOUT
    )
    if result.returncode:
        raise LabError(f"ip {line}: {result.stderr.strip()}")


def missing_programs(programs: Sequence[str]) -> tuple[str, ...]:
    """Return those that are not on the search path."""
    folders = [*os.get_exec_path(), "/usr/sbin", "/sbin"]
    return tuple(p for p in programs if not any((Path(f) / p).is_file() for f in folders))
