"""Seconds since 1970, as this room counts them, and the form they have on the wire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

# A box without a battery for its clock starts in 1970. No key, login or node can
# be older than this program, so time never begins before it.
FLOOR = datetime(2025, 1, 1, tzinfo=UTC).timestamp()


def wire_time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def seconds_of(moment: datetime | None) -> float | None:
    """Return seconds since 1970; Go's zero time (year 1) means None."""
    return None if moment is None or moment.year == 1 else moment.timestamp()


def steady(clock: Callable[[], float], floor: float) -> Callable[[], float]:
    """Return a clock that never shows a time before `floor`, such as the newest stored one."""

    def now() -> float:
        return max(clock(), floor)

    return now
