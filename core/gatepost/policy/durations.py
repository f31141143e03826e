"""Lengths of time as Go writes them: `12h`, `1h30m`, `-1.5s`. Source: Go's time.ParseDuration."""

from __future__ import annotations

import re

from gatepost.policy.refusal import refuse
from gatepost.policy.selectors import Place

_UNITS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
_PART = re.compile(r"(?P<number>[0-9]*(?:\.[0-9]*)?)(?P<unit>[^0-9.]*)")
_MINUTE, _HOUR = 60, 3600  # seconds


def parse_duration(text: str, place: Place) -> float:
    """Return seconds; raise `PolicyRefusedError` in Go's words."""
    rest = text[1:] if text[:1] in {"+", "-"} else text
    if rest == "0":
        return 0.0
    hint = "write it like 12h, 30m or 1h30m"
    seconds = 0.0
    if not rest:
        raise refuse(f'time: invalid duration "{text}"', place, hint)
    while rest:
        part = _PART.match(rest)
        number = part["number"] if part else ""
        if part is None or number in {"", "."}:
            raise refuse(f'time: invalid duration "{text}"', place, hint)
        if not part["unit"]:
            raise refuse(f'time: missing unit in duration "{text}"', place, hint)
        if part["unit"] not in _UNITS:
            unit = part["unit"]
            raise refuse(f'time: unknown unit "{unit}" in duration "{text}"', place, hint)
        seconds += float(number) * _UNITS[part["unit"]]
        rest = rest[part.end() :]
    return -seconds if text.startswith("-") else seconds


def format_duration(seconds: float) -> str:
    """Return what Go prints for a duration of a second or more: 90 is `1m30s`."""
    sign, rest = ("-", -seconds) if seconds < 0 else ("", seconds)
    hours, rest = divmod(rest, _HOUR)
    minutes, rest = divmod(rest, _MINUTE)
    if hours:
        return f"{sign}{hours:g}h{minutes:g}m{rest:g}s"
    return f"{sign}{minutes:g}m{rest:g}s" if minutes else f"{sign}{rest:g}s"
