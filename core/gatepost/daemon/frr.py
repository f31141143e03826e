"""`gatepost-frr`: runs FRR's daemons for the node, with the rights that they need."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from gatepost.daemon.frr_driver import Driver
from gatepost.errors import Malformed
from gatepost.linux.frr_daemons import Daemons
from gatepost.model.routing import DIRECTORY
from gatepost.net.journal import set_up_logging

LOOK = 1.0  # seconds between looks at what is wanted and at how it goes

log = logging.getLogger("gatepost.frr")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status: 0 told to stop or no longer wanted, 1 failed."""
    parser = argparse.ArgumentParser(prog="gatepost-frr", description="Runs FRR for Gatepost.")
    parser.add_argument(
        "--directory", type=Path, default=DIRECTORY, metavar="PATH",
        help="where the node leaves its wishes (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--while-wanted", action="store_true", help="end when the node wants no routing daemon"
    )
    given = parser.parse_args(arguments)
    set_up_logging("gatepost-frr", logging.INFO)
    try:
        given.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        asyncio.run(run(given.directory, while_wanted=given.while_wanted))
    except (OSError, Malformed) as error:
        log.error("%s", error)  # noqa: TRY400  # its text says it all
        return 1
    return 0


async def run(directory: Path, *, while_wanted: bool) -> None:
    """Look again and again until SIGTERM or SIGINT; then FRR ends, and what it said with it."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    driver = Driver(directory, Daemons(time.monotonic), time.monotonic)
    before = ""
    try:
        while not stopped.is_set():
            is_wanted, said = await _look(driver)
            if said and said != before:
                log.error("%s", said)
            before = said
            if not is_wanted and while_wanted:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await stopped.wait()
    finally:
        await driver.close()


async def _look(driver: Driver) -> tuple[bool, str]:
    """Return whether FRR is wanted, and what went wrong, which is no reason to end sessions."""
    try:
        return await driver.look(), ""
    except (OSError, Malformed) as error:
        return True, str(error)
