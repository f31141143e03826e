"""What FRR's daemons are started beside, without FRR."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gatepost.engine.frr_text import PROGRAMS
from gatepost.linux.frr_daemons import Daemons, Places


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Return places with what was zebra's, and no program that could be started."""
    found = Places(programs=tmp_path / "programs", run=tmp_path / "run")
    found.programs.mkdir()
    found.ours.mkdir(parents=True)
    return found


@contextmanager
def process(places: Places, *words: str) -> Generator[subprocess.Popen[bytes]]:
    """Run one that calls itself zebra, and whose number is where zebra left its own."""
    name = str(places.programs / "zebra")
    with subprocess.Popen(
        [name, "-c", "read -r line", *words], executable="/bin/sh", stdin=subprocess.PIPE
    ) as running:
        (places.ours / "zebra.pid").write_text(f"{running.pid}\n")
        try:
            yield running
        finally:
            running.kill()


async def test_one_of_a_killed_owner_is_ended(places: Places) -> None:
    with process(places, "-f", str(places.ours / "zebra.conf")) as before:
        await Daemons(lambda: 7.0, places).keep({"zebra": ()})

        assert before.wait(timeout=10) == -9


async def test_one_with_another_configuration_is_left_alone(places: Places) -> None:
    with process(places, "-f", "/etc/frr/zebra.conf") as other:
        await Daemons(lambda: 7.0, places).keep({"zebra": ()})

        assert other.poll() is None


def test_another_frr_keeps_ours_from_starting_while_it_runs(places: Places) -> None:
    for program in PROGRAMS:
        (places.programs / program).touch()
    daemons = Daemons(lambda: 7.0, places)

    assert not daemons.why_not()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(places.run / "zserv.api"))
        other.listen()
        assert "another FRR runs" in daemons.why_not()
    assert not daemons.why_not()
