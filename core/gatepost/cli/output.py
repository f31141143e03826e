"""Tables, sizes, ages and JSON: how documents become text.

Colours are click's, which leaves them out when the output is no terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import click
import msgspec

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0  # seconds


def say_json(answer: object) -> None:
    """Print a document, or a sequence of them, as indented JSON with every field."""
    click.echo(msgspec.json.format(msgspec.json.encode(complete(answer)), indent=2))


def complete(answer: object) -> Any:  # Any: JSON
    """Return a document as dicts and lists with the fields that have their default, too.

    The API leaves those out; a script would have to guess what is missing.
    """
    if isinstance(answer, msgspec.Struct):
        return {k: complete(v) for k, v in msgspec.structs.asdict(answer).items()}
    if isinstance(answer, list | tuple):
        return [complete(item) for item in cast("list[object]", answer)]  # documents only
    return answer


def say_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns under dim heads; nothing for no rows."""
    if not rows:
        return
    if heads:
        rows = [heads, *rows]
    cells = [[click.unstyle(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, row in enumerate(rows):
        line = "  ".join(_pad(cell, width) for cell, width in zip(row, widths, strict=True))
        click.echo(click.style(line, dim=True) if heads and not number else line.rstrip())


def _pad(cell: str, width: int) -> str:
    return cell + " " * (width - len(click.unstyle(cell)))


def size(octets: int) -> str:
    """Say a number of octets in at most seven characters: "12 B", "1.5 MiB"."""
    if octets < _STEP:
        return f"{octets} B"
    value, unit = float(octets), 0
    while value >= _STEP - 0.5 and unit < len(_UNITS) - 1:
        value /= _STEP
        unit += 1
    return f"{value:.3g} {_UNITS[unit]}"


def age(seconds: float) -> str:
    """Say a length of time in one unit: "12s", "3m", "5h", "2d"."""
    if seconds < _MINUTE:
        return f"{max(seconds, 0):.0f}s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f}m"
    if seconds < _DAY:
        return f"{seconds // _HOUR:.0f}h"
    return f"{seconds // _DAY:.0f}d"


def ago(moment: float | None, now: float) -> str:
    return "never" if moment is None else f"{age(now - moment)} ago"


def until(moment: float | None, now: float) -> str:
    if moment is None:
        return "never"
    return f"in {age(moment - now)}" if moment > now else f"{age(now - moment)} ago"


def milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.3g} ms"
