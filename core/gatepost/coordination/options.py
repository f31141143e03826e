"""The command line that the server and the lone relay have in common."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where a program finds its settings, keeps its state and is administered."""

    state_directory: Path
    settings: Path
    socket: Path
    verbose: bool


def read_options(
    arguments: Sequence[str] | None, *, program: str, settings: Path, description: str
) -> Options:
    """Read the command line; leave the process for --help and for what is wrong.

    State and socket are where systemd makes directories for a unit of that name.
    """
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--state-directory", type=Path, default=Path("/var/lib") / program)
    parser.add_argument("--settings", type=Path, default=settings)
    parser.add_argument("--socket", type=Path, default=Path("/run") / program / "admin.sock")
    parser.add_argument("--verbose", action="store_true", help="log what happens in detail")
    return Options(**vars(parser.parse_args(arguments)))
