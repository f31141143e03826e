"""Runs `nft`."""

from __future__ import annotations

import errno

from gatepost.linux.commands import run_command

PROGRAM = "nft"
TIMEOUT = 60.0  # seconds for one run; 10,000 peers with rights of their own need about three
_WORDS = 400  # characters of its complaint in an error


async def run_nft(script: str, *arguments: str, program: str = PROGRAM) -> str:
    """Return what it prints. `script` is its input, for `-f -`.

    Raise `FileNotFoundError` for a missing table, else `OSError` in its words.
    """
    try:
        done = await run_command(program, *arguments, script=script, limit=TIMEOUT)
    except FileNotFoundError as error:  # which would say that there is no table
        raise OSError(errno.EIO, f"{error.strerror}: `apt install nftables`") from error
    if done.code == 0:
        return done.output
    words = done.complaint[:_WORDS]
    if "list" in arguments and "No such file or directory" in words:
        raise FileNotFoundError(errno.ENOENT, words)
    raise OSError(errno.EIO, f"nft refused the packet filter: {words}{_line(words, script)}")


def _line(words: str, script: str) -> str:
    """Return the line that nft complains about ("…:LINE:COLUMN…"), if it names one."""
    number = words.partition(":")[2].partition(":")[0]
    lines = script.split("\n")
    if number.isdigit() and 0 < int(number) <= len(lines):
        return f" (line {number}: {lines[int(number) - 1].strip()})"
    return ""
