"""What a benchmark reports: figures with the limits that the project set itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Literal

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One result. `limit` None means that it is only for information."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    wanted: Literal["at most", "at least"] = "at most"

    @property
    def is_met(self) -> bool:
        if self.limit is None:
            return True
        return self.value <= self.limit if self.wanted == "at most" else self.value >= self.limit

    def line(self) -> str:
        """Return it as a line of the table."""
        limit = "" if self.limit is None else f"{self.wanted} {self.limit:g}"
        verdict = "" if self.limit is None else "ok" if self.is_met else "MISSED"
        return f"{self.name:<58} {self.value:>10.3f} {self.unit:<8} {limit:<14} {verdict}".rstrip()


def finish(figures: Sequence[Figure]) -> int:
    """Print the figures as one line of JSON, for the table; return the exit code."""
    sys.stdout.buffer.write(msgspec.json.encode(figures) + b"\n")
    return 0 if all(figure.is_met for figure in figures) else 1
