"""How long a LAN with two boxes is silent when the one that carries it fails, again and again.

A failure and its repair take 17 s. So many as a percentile needs take half an hour:
`python -m tests.bench.bench_failover 100`.
"""

from __future__ import annotations

import statistics
import sys
import time

from tests.bench.figures import Figure, finish

from gatepost.testing.lab_rivals import Rivals, rivals, silence_of

KILLS = 24  # seven minutes
LIMIT = 5.0  # seconds, p99; of fewer than 200 that is the worst
PAUSES = (1.0, 1.3, 1.7, 2.1, 2.4)  # seconds, so that failures meet each moment of a question


def main() -> int:
    silences: dict[str, list[float]] = {}
    with rivals() as found:
        for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else KILLS):
            way = list(found.ways)[number % len(found.ways)]
            silences.setdefault(way, []).append(_fail(found, way, PAUSES[number % len(PAUSES)]))
    everything = sorted(s for of_way in silences.values() for s in of_way)
    figures = [
        Figure(name=f"failover, {way}, worst of {len(of_way)}", value=max(of_way), unit="s")
        for way, of_way in silences.items()
    ]
    figures += [
        Figure(
            name=f"failover, p99 of {len(everything)}",
            value=everything[-max(1, len(everything) // 100)],
            unit="s",
            limit=LIMIT,
        ),
        Figure(name="failover, median", value=statistics.median(everything), unit="s"),
    ]
    return finish(figures)


def _fail(found: Rivals, way: str, pause: float) -> float:
    found.await_whole()
    time.sleep(pause)
    silence, undo = silence_of(found, way, found.primary(), found.lab.directory / "ping.log")
    undo()
    print(f"{way}: {silence:.2f} s", file=sys.stderr)
    return silence


if __name__ == "__main__":
    sys.exit(main())
