"""One lab for each module: it takes seconds to bring up. Tests leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gatepost.testing.lab_mesh import Lab, bring_up
from gatepost.testing.lab_proof import await_pairs
from gatepost.testing.topology import Nat


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Three sites that talk: one with public addresses, two behind home routers."""
    nats = {"a": Nat.NONE, "b": Nat.PORT_RESTRICTED, "c": Nat.PORT_RESTRICTED}
    with bring_up(nats) as running:
        await_pairs(running.sites)
        yield running
