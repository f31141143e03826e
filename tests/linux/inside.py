"""Runs a coroutine inside a machine of the test bed: a thread enters its network namespace.

Sockets that the coroutine opens, programs it starts and /proc/sys/net as it sees
them are the machine's. Processes and mounts stay the test's own: a thread in
another process namespace cannot start threads, and one in another mount namespace
does not find the machine any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from gatepost.hookspecs import Applier
from gatepost.linux.netlink import Netlink
from gatepost.model.resource import Change, Resource
from gatepost.testing.netns import Machine, patient

TIMEOUT = 50.0  # seconds
PATIENCE = patient(1.0)  # how much longer than on a real machine things may take

T = TypeVar("T")


def run_inside(machine: Machine, work: Callable[[Netlink], Awaitable[T]]) -> T:
    """Run `work` to its end inside the machine; return or raise what it does."""
    results: list[T] = []
    errors: list[BaseException] = []

    async def limited() -> T:
        with Netlink() as netlink:
            async with asyncio.timeout(TIMEOUT * PATIENCE):
                return await work(netlink)

    def body() -> None:
        try:
            _enter(machine)
            results.append(asyncio.run(limited()))
        except BaseException as error:  # noqa: BLE001  # carried over to the test's thread
            errors.append(error)

    thread = threading.Thread(target=body, name=f"inside {machine.name}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def processes_inside(machine: Machine, program: str) -> tuple[int, ...]:
    """Return the ids of the processes of that name in the machine's network namespace."""
    space = _space(machine.process_id).readlink()
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            same = _space(int(folder.name)).readlink() == space
            if same and (folder / "comm").read_text().strip() == program:
                found.append(int(folder.name))
    return tuple(found)


def _enter(machine: Machine) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(_space(machine.process_id), os.O_RDONLY)
    try:
        if libc.setns(descriptor, 0):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)


def _space(process: int) -> Path:
    return Path(f"/proc/{process}/ns/net")


async def apply(applier: Applier, *wanted: Resource) -> tuple[Change, ...]:
    """Do one round as the daemon does: compare, add, then remove; return what was changed."""
    actual = {r.key: r for r in await applier.read()}
    goal = {r.key: r for r in wanted}
    add = tuple(Change(k, actual.get(k), r) for k, r in goal.items() if actual.get(k) != r)
    remove = tuple(Change(k, r, None) for k, r in actual.items() if k not in goal)
    for changes in (add, remove):
        if changes:
            await applier.write(changes)
    return (*add, *remove)


async def settle(applier: Applier, *wanted: Resource) -> None:
    """Reach the goal, and check that a second round finds nothing to do."""
    await apply(applier, *wanted)

    assert set(await applier.read()) == set(wanted)
    assert await apply(applier, *wanted) == ()
