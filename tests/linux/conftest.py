"""A machine per test, and a router per file."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from tests.linux.inside import processes_inside
from tests.linux.wires import WISHES, Router, make_router

from gatepost.testing.netns import Machine, machines


@pytest.fixture
def machine() -> Iterator[Machine]:
    with machines() as owner:
        (one,) = owner.add("box")
        yield one
        # Started from outside its process namespace, so they would outlive the machine.
        for process in processes_inside(one, "wireguard-go"):
            os.kill(process, signal.SIGKILL)


@pytest.fixture(scope="module")
def plain() -> Iterator[Router]:
    """Return a router between the mesh and a LAN that all tests of a file share."""
    with machines() as owner:
        router = make_router(*owner.add("router"))
        yield router
        router.close()


@pytest.fixture
def router(plain: Router) -> Router:
    """Return the router with the usual filter and no memory of earlier connections."""
    plain.load(WISHES)
    plain.forget()
    return plain
