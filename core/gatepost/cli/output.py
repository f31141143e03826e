"""Tables and JSON: how documents become lines.

Colours are click's, which leaves them out when the output is no terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import click
import msgspec


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


def say_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str = "") -> None:
    """Print aligned columns under dim heads; for no rows only `empty`, to stderr."""
    if not rows:
        if empty:
            click.echo(empty, err=True)
        return
    if heads:
        rows = [heads, *rows]
    cells = [[click.unstyle(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, row in enumerate(rows):
        line = "  ".join(_pad(cell, width) for cell, width in zip(row, widths, strict=True))
        line = line.rstrip()
        click.echo(click.style(line, dim=True) if heads and not number else line)


def _pad(cell: str, width: int) -> str:
    return cell + " " * (width - len(click.unstyle(cell)))
