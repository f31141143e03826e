"""A box: this machine's files, Gatepost installed over them, and a systemd that runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALLER = ROOT / "systemd" / "install.sh"
CHECKOUT = Path("/usr/src/gatepost")  # in the box; a booted box sees nothing of this /tmp
_BOOT = 60.0  # seconds
# What systemd starts on every machine, and cannot without hardware.
_NO_HARDWARE = ("networking", "systemd-udevd", "systemd-logind", "getty@tty1")


class Box:
    """Programs run in it as in a shell on that machine."""

    def __init__(self, root: Path, process: int) -> None:
        self.root = root
        self._process = process

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command, at most a minute; see its exit code, output and errors."""
        command = ["nsenter", "--target", str(self._process), "--all", "--", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def say(self, *words: str) -> str:
        """Run a command that must work and return what it printed."""
        done = self.run(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def journal(self, unit: str) -> str:
        return self.say("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")

    def until(self, *words: str, says: str, seconds: float = 20.0) -> None:
        """Run a command again and again until it prints something."""
        deadline = time.monotonic() + seconds
        while says not in (said := self.run(*words).stdout):
            assert time.monotonic() < deadline, f"{words} does not say {says!r}: {said}"
            time.sleep(0.1)


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True, timeout=30)


@contextmanager
def machine(base: Path) -> Generator[Path]:
    """Give a writable copy of this machine's files that vanishes with the block."""
    with ExitStack() as stack:
        mount("-t", "tmpfs", "-o", "size=1g", "tmpfs", str(base))
        stack.callback(unmount, base)
        for name in ("upper", "work", "root"):
            (base / name).mkdir()
        layers = f"lowerdir=/,upperdir={base}/upper,workdir={base}/work"
        try:
            mount("-t", "overlay", "-o", layers, "overlay", str(base / "root"))
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no overlay of / here: {error.stderr.decode().strip()}")
        stack.callback(unmount, base / "root")
        yield base / "root"


def unmount(path: Path) -> None:
    subprocess.run(["umount", "--lazy", str(path)], check=True, timeout=30)


@contextmanager
def booted(root: Path) -> Generator[Box]:
    """Run systemd over the files at `root` until the block ends."""
    cgroup = _cgroups() / f"gatepost-test-{os.getpid()}"
    cgroup.mkdir()
    with subprocess.Popen(["bash", str(Path(__file__).parent / "boot.sh"), root, cgroup]) as outer:
        try:
            box = Box(root, _child(outer.pid))
            box.until("systemctl", "is-system-running", says="running", seconds=_BOOT)
            yield box
        finally:
            outer.kill()  # --kill-child: systemd goes with it, and all of its namespace
    _remove(cgroup)


def _cgroups() -> Path:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    pytest.skip("no cgroup v2 here")


def _child(parent: int) -> int:
    """Return the process id of the systemd: the child of unshare, once it has become one."""
    deadline = time.monotonic() + _BOOT
    while time.monotonic() < deadline:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for child in children:
            if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                return int(child)
        time.sleep(0.05)
    pytest.fail("systemd did not start")


def _remove(cgroup: Path) -> None:
    """Remove a tree of cgroups when their processes are gone."""
    deadline = time.monotonic() + 10.0
    for place in sorted(cgroup.rglob("*"), key=lambda p: -len(p.parts)):
        if place.is_dir():
            _rmdir(place, deadline)
    _rmdir(cgroup, deadline)


def _rmdir(place: Path, deadline: float) -> None:
    while True:
        try:
            place.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def check_out(root: Path) -> None:
    """Put what the installer needs to uninstall where the booted box sees it."""
    for folder in (".ci", "systemd"):
        shutil.copytree(ROOT / folder, root / CHECKOUT.relative_to("/") / folder)


def silence(root: Path) -> None:
    """Keep the services of this machine, which have nothing to do with ours, from starting."""
    units = root / "etc" / "systemd" / "system"
    enabled = {unit.name for unit in units.glob("*.wants/*.service")}
    others = {name for name in enabled if not name.startswith("gatepost")}
    for name in others | {f"{name}.service" for name in _NO_HARDWARE}:
        link = units / name
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
