"""What the doors say to who may not pass."""

from __future__ import annotations

from math import ceil

from gatepost.errors import GatepostError


def in_wait(wait: float) -> tuple[str, dict[str, str]]:
    """Return what to say to who guessed too often, and the headers with it; `wait` in seconds."""
    seconds = str(ceil(wait))
    return f"Too many wrong attempts. Try again in {seconds} s.", {"Retry-After": seconds}


def sentence(error: GatepostError) -> str:
    """Return an error and its way out as people write."""
    text = str(error)
    hint = f" {error.hint[0].upper()}{error.hint[1:]}." if error.hint else ""
    return f"{text[0].upper()}{text[1:]}.{hint}"
