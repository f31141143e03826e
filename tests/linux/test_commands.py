"""A command of the system says what it said, and never keeps us waiting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gatepost.linux.commands import Finished, run_command


async def test_a_command_is_given_its_input_and_says_all_that_it_said() -> None:
    done = await run_command("sh", "-c", "cat; echo no >&2; exit 3", script="in\n", limit=10.0)

    assert done == Finished(code=3, output="in\n", complaint="no")


async def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program is not installed"):
        await run_command("no-such-program", limit=10.0)


async def test_a_command_that_does_not_end_is_ended(tmp_path: Path) -> None:
    number = tmp_path / "number"
    with pytest.raises(TimeoutError, match=r"sh needed over 0\.5 s"):
        await run_command("sh", "-c", f"echo $$ > {number}; exec sleep 60", limit=0.5)

    with pytest.raises(ProcessLookupError):
        os.kill(int(number.read_text()), 0)
