"""What a scene showed: one document for programs, and a table for people."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from gatepost.testing.lab_report import versions
from gatepost.testing.scenes import Row, Scene, Tell

HEADINGS = ("", "shown", "expected", "seen", "measured")


class SceneReport(msgspec.Struct, frozen=True, kw_only=True):
    """The document of `./run --scene NAME --json`. It holds if all rows do, and there is one."""

    scene: str
    shows: str
    holds: bool
    seconds: float
    versions: dict[str, str]
    rows: tuple[Row, ...]


def play(name: str, scene: Scene, tell: Tell) -> SceneReport:
    """Run a scene to its end; raise LabError when its ground cannot be built."""
    shows = (scene.__doc__ or "").strip().partition("\n")[0]
    tell(f"{name}: {shows}")
    began = time.monotonic()
    rows = tuple(scene.run(tell))
    return SceneReport(
        scene=name,
        shows=shows,
        holds=bool(rows) and all(row.ok for row in rows),
        seconds=round(time.monotonic() - began, 2),
        versions=versions(),
        rows=rows,
    )


def table(report: SceneReport) -> Iterator[str]:
    """Yield the lines that people read."""
    cells = [HEADINGS, *(_cells(row) for row in report.rows)]
    if not any(row.figure for row in report.rows):
        cells = [line[:-1] for line in cells]
    widths = [max(len(line[at]) for line in cells) for at in range(len(cells[0]))]
    yield ""
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()
    broken = sum(not row.ok for row in report.rows)
    yield ""
    verdict = "all of it holds" if report.holds else f"{broken} of {len(report.rows)} do not hold"
    yield f"{report.scene}: {verdict} ({report.seconds:.0f} s)"


def _cells(row: Row) -> tuple[str, ...]:
    return ("ok" if row.ok else "NO", row.shown, row.expected, row.seen, row.figure)
