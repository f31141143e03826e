"""Runs `nft`."""

from __future__ import annotations

import asyncio
import contextlib
import errno

PROGRAM = "nft"
TIMEOUT = 60.0  # seconds for one run; 10,000 peers with rights of their own need about three
_WORDS = 400  # characters of its complaint in an error


async def run_nft(script: str, *arguments: str, program: str = PROGRAM) -> str:
    """Return what it prints. `script` is its input, for `-f -`.

    Raise `FileNotFoundError` for a missing table, else `OSError` in its words.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise OSError(errno.EIO, f"{program} is not installed: `apt install nftables`") from error
    try:
        async with asyncio.timeout(TIMEOUT):
            output, complaint = await process.communicate(script.encode())
    except TimeoutError as error:
        raise TimeoutError(errno.ETIMEDOUT, f"nft needed over {TIMEOUT} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode == 0:
        return output.decode("utf-8", "replace")
    words = complaint.decode("utf-8", "replace").strip()[:_WORDS]
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
