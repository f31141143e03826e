"""How a second terminal finds a running lab, and how leftovers of a dead one are told apart.

A lab keeps its directory locked for as long as it lives, so an unlocked one
is a leftover; all else of a dead lab went with its processes. `lab.json` in
the directory says where the machines are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from gatepost.testing.lab_boxes import PROGRAMS
from gatepost.testing.lab_directory import PREFIX, is_locked
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.netns import LabError, Machine

NAME = "lab.json"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One machine, and the environment of commands in it."""

    process_id: int
    environment: dict[str, str]


class Register(msgspec.Struct, frozen=True, kw_only=True):
    machines: dict[str, Entry]


def write_register(lab: Lab) -> None:
    """Say where the machines of this lab are."""
    machines = {lab.topology.internet.name: _entry(lab.topology.internet, {})}
    for site in lab.sites:
        for machine in filter(None, (site.box, site.host, site.router)):
            environment = _environment(lab, site.name) if machine is site.box else {}
            machines[machine.name] = _entry(machine, environment)
    part = lab.directory / f"{NAME}.part"
    part.write_bytes(msgspec.json.encode(Register(machines=machines)))
    part.rename(lab.directory / NAME)


def _entry(machine: Machine, environment: dict[str, str]) -> Entry:
    return Entry(process_id=machine.process_id, environment=environment)


def _environment(lab: Lab, site: str) -> dict[str, str]:
    sockets = {"GATEPOST_SOCKET": str(lab.boxes[site].socket)}
    if lab.coordination.site.name == site:
        sockets["GATEPOST_COORDINATION_SOCKET"] = str(lab.coordination.socket)
    return sockets


def enter(name: str, command: list[str], lab: str = "") -> int:
    """Run a command (default: a shell) in a machine of a lab; return its exit code.

    Raises LabError when `find_machine` does.
    """
    running = {lab_name(d): r for d in _directories() if is_locked(d) and (r := _read(d))}
    entry = find_machine(running, name, lab)
    path = f"{PROGRAMS}:{os.environ.get('PATH', '/usr/sbin:/usr/bin')}"
    arguments = Machine(name, entry.process_id).command(*(command or ["bash"]))
    environment = {**os.environ, **entry.environment, "PATH": path}
    return subprocess.run(arguments, env=environment, check=False).returncode


def find_machine(running: Mapping[str, Register], name: str, lab: str = "") -> Entry:
    """Return a machine of the labs that run, by their names; `lab` is "" for the only one.

    Raises LabError when no lab runs, when several do, or when it has no such machine.
    """
    if not running:
        raise LabError("no lab is running: start one with ./run in another terminal")
    known = "\n".join(f"  --lab {n}: {', '.join(r.machines)}" for n, r in running.items())
    if lab and lab not in running:
        raise LabError(f"no lab {lab!r} is running; there are\n{known}")
    if not lab and len(running) > 1:
        raise LabError(f"several labs are running; say which: ./run in --lab NAME {name}\n{known}")
    machines = running[lab or next(iter(running))].machines
    if name not in machines:
        raise LabError(f"no machine {name!r}; there are {', '.join(machines)}")
    return machines[name]


def lab_name(directory: Path) -> str:
    """Return what tells a lab from others that run on this machine."""
    return directory.name.removeprefix(PREFIX)


def remove_leftovers() -> Iterator[Path]:
    """Remove the directories of labs that do not live any more; yield each."""
    for directory in _directories():
        if not is_locked(directory):
            shutil.rmtree(directory)
            yield directory


def _directories() -> list[Path]:
    return sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))


def _read(directory: Path) -> Register | None:
    try:
        return msgspec.json.decode((directory / NAME).read_bytes(), type=Register)
    except FileNotFoundError:
        return None
