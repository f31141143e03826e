"""The command line of `gatepostd`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gatepost import __version__
from gatepost.daemon.host_names import ETC


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    state_directory: Path
    settings: Path
    socket: Path
    etc: Path
    verbose: bool
    only_give_back: bool


def read_options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="gatepostd", description="The Gatepost node.")
    parser.add_argument("--version", action="version", version=f"gatepostd {__version__}")
    parser.add_argument(
        "--state-directory", type=Path, default=Path("/var/lib/gatepost"), metavar="PATH"
    )
    parser.add_argument(
        "--settings", type=Path, default=Path("/etc/gatepost/settings.toml"), metavar="FILE"
    )
    parser.add_argument(
        "--socket", type=Path, default=Path("/run/gatepost/gatepostd.sock"), metavar="PATH"
    )
    parser.add_argument(
        "--etc", type=Path, default=ETC, metavar="PATH", help="where resolv.conf is (%(default)s)"
    )
    parser.add_argument(
        "--give-back-names", action="store_true",
        help="let this machine ask whom it asked before a daemon that was killed, and end",
    )  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="log what is decided, too")
    given = parser.parse_args(arguments)
    return Options(
        state_directory=given.state_directory,
        settings=given.settings,
        socket=given.socket,
        etc=given.etc,
        verbose=given.verbose,
        only_give_back=given.give_back_names,
    )
