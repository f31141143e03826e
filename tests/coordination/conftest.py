"""One server in a process of its own for each file of tests that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.coordination.serving import RunningServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Serve a whole file; each test brings its own users and machines."""
    running = RunningServer(tmp_path_factory.mktemp("server"))
    running.start()
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.log()
