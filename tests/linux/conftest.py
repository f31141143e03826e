"""A machine per test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from tests.linux.inside import processes_inside

from gatepost.testing.netns import Machine, machines


@pytest.fixture
def machine() -> Iterator[Machine]:
    with machines() as owner:
        (one,) = owner.add("box")
        yield one
        # Started from outside its process namespace, so they would outlive the machine.
        for process in processes_inside(one, "wireguard-go"):
            os.kill(process, signal.SIGKILL)
