"""A router between the mesh and a LAN, for packets made by scapy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.linux.packets.wires import WISHES, Router, make_router

from gatepost.testing.netns import machines


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
