"""Seconds since 1970, as this room counts them, and the form they have on the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from gatepost.coordination.records import Records, Report

# A box without a battery for its clock starts in 1970. No key, login or node can
# be older than this program, so time never begins before it.
FLOOR = datetime(2025, 1, 1, tzinfo=UTC).timestamp()


def wire_time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def seconds_of(moment: datetime | None) -> float | None:
    """Return seconds since 1970; Go's zero time (year 1) means None."""
    return None if moment is None or moment.year == 1 else moment.timestamp()


def newest(records: Records, reports: Mapping[int, Report]) -> float:
    """Return the latest moment that the database knows of; 0.0 if it is empty."""
    known = [u.created for u in records.users.values()]
    known += [k.created for k in records.keys.values()]
    known += [n.created for n in records.nodes.values()]
    known += [r.last_seen for r in reports.values() if r.last_seen is not None]
    return max(known, default=0.0)


def steady(clock: Callable[[], float], floor: float) -> Callable[[], float]:
    """Return a clock that never shows a time before `floor`, such as the newest stored one."""

    def now() -> float:
        return max(clock(), floor)

    return now
