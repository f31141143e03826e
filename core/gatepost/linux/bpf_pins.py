"""Finds the maps of an attached program again, also after a restart and with few rights.

By their numbers the kernel gives out programs and maps to CAP_SYS_ADMIN only, which
the daemon does not have as a service. There the maps are pinned as well, in the
kernel's file system for that:

    /sys/fs/bpf/gatepost/<object>/<map>

Where numbers work nothing is pinned, so network namespaces do not meet.
Source: bpf(2), BPF_OBJ_PIN and BPF_OBJ_GET.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from gatepost.linux import bpf

ROOT = Path("/sys/fs/bpf")  # where distributions mount it
FOLDER = "gatepost"
_PIN, _GET = 6, 7
_NOBODY = 0x7FFFFFFF  # a number that no program has


def why_unfindable(root: Path = ROOT) -> str:
    """Return why maps could not be found again here; nothing if they can."""
    if may_ask() or os.path.ismount(root):
        return ""
    return f"no BPF file system at {root}, and no right to do without one (CAP_SYS_ADMIN)"


def may_ask() -> bool:
    """Say whether the kernel gives us programs and maps by their numbers."""
    try:
        bpf.open_program(_NOBODY).close()
    except PermissionError:
        return False
    except FileNotFoundError:
        return True
    return True


def find_program(identity: int) -> bpf.LoadedProgram | None:
    """Open an attached program, None when we may not; raise `FileNotFoundError` when it is gone."""
    try:
        return bpf.open_program(identity)
    except PermissionError:
        return None


def find_maps(identity: int, name: str, root: Path = ROOT) -> dict[str, bpf.BpfMap]:
    """Open the maps of a program of the object `name`; the caller closes them.

    Raise `FileNotFoundError` when the program is gone. Pins that somebody removed are missing.
    """
    program = find_program(identity)
    if program is None:
        return _pinned(name, root)
    with program:
        return program.maps()


def find_all_maps(identities: Iterable[int], name: str, root: Path = ROOT) -> dict[str, bpf.BpfMap]:
    """Open the maps of several programs of one object, each once; else like `find_maps`."""
    found = dict[str, bpf.BpfMap]()
    try:
        for identity in identities:
            for key, one in find_maps(identity, name, root).items():
                if key in found:
                    one.close()
                else:
                    found[key] = one
    except OSError:
        for one in found.values():
            one.close()
        raise
    return found


def keep(name: str, maps: Mapping[str, bpf.BpfMap], root: Path = ROOT) -> None:
    """Pin the maps of the object `name`, if they could not be found again otherwise."""
    if may_ask():
        return
    if trouble := why_unfindable(root):
        raise OSError(errno.EPERM, trouble)
    folder = root / FOLDER / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = _pinned(name, root)
    for one in maps.values():
        before = known.get(one.spec.name)
        if before is None or before.identity != one.identity:
            (folder / one.spec.name).unlink(missing_ok=True)
            path = bpf.Memory(bytes(folder / one.spec.name) + b"\0")
            bpf.call(_PIN, struct.pack("=QII", path.address, one.number, 0))
    for each in known.values():
        each.close()


def forget(name: str, root: Path = ROOT) -> None:
    """Remove the pins of the object `name`; without a program the maps go with them."""
    folder = root / FOLDER / name
    with contextlib.suppress(FileNotFoundError):
        for path in list(folder.iterdir()):
            path.unlink()
        folder.rmdir()


def _pinned(name: str, root: Path) -> dict[str, bpf.BpfMap]:
    found = dict[str, bpf.BpfMap]()
    with contextlib.suppress(FileNotFoundError):
        for path in sorted((root / FOLDER / name).iterdir()):
            memory = bpf.Memory(bytes(path) + b"\0")
            number, _ = bpf.call(_GET, struct.pack("=QII", memory.address, 0, 0))
            found[path.name] = bpf.describe_map(number)
    return found
