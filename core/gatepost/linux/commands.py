"""Runs a command of the system to its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a command left: its exit code (negative: the signal that ended it) and its words."""

    code: int
    output: str
    complaint: str  # without spaces at its ends


async def run_command(program: str, *arguments: str, script: str = "", limit: float) -> Finished:
    """Run a command with `script` as its input, for at most `limit` seconds; then it is killed.

    Raise `FileNotFoundError` if there is no such program, `TimeoutError` after `limit`.
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
        raise FileNotFoundError(errno.ENOENT, f"{program} is not installed") from error
    try:
        async with asyncio.timeout(limit):
            output, complaint = await process.communicate(script.encode())
    except TimeoutError as error:
        raise TimeoutError(errno.ETIMEDOUT, f"{program} needed over {limit:g} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        code = await process.wait()
    return Finished(
        code=code,
        output=output.decode("utf-8", "replace"),
        complaint=complaint.decode("utf-8", "replace").strip(),
    )
