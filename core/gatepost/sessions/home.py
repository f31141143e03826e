"""Which DERP region to be reached at, and which regions to ask how far they are.

A home that changes costs every peer a detour, so it is kept unless another is
clearly nearer, by the best of the last five minutes. Source: protocol document 2.7.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

REMEMBERED = 300.0  # seconds for which a latency counts, and between two checks of all regions
NEAREST = 3  # regions that an incremental check asks, beside the home
MOVE_GAIN = 0.010  # seconds that a new home must be nearer
MOVE_RATIO = 2 / 3  # of the old home's latency that a new one must be under


@dataclass(slots=True)
class History:
    """The latencies of the last minutes."""

    _reports: list[tuple[float, Mapping[int, float]]] = field(
        default_factory=list[tuple[float, Mapping[int, float]]]
    )

    def add(self, latencies: Mapping[int, float], now: float) -> None:
        """Take the seconds by region of one check."""
        kept = [(at, known) for at, known in self._reports if now - at < REMEMBERED]
        self._reports = [*kept, (now, latencies)]

    def best(self) -> dict[int, float]:
        """Return the least seconds of each region."""
        best: dict[int, float] = {}
        for _, latencies in self._reports:
            for region, latency in latencies.items():
                best[region] = min(latency, best.get(region, latency))
        return best

    def forget(self) -> None:
        """Forget them all: we are somewhere else now."""
        self._reports.clear()


def choose_home(
    home: int,
    known: Iterable[int],
    latencies: Mapping[int, float],
    recent: Mapping[int, float] | None = None,
) -> int:
    """Return the region to be reached at: the old one unless another is clearly nearer.

    `known` are the regions that may be a home, `home` 0 is none yet, `latencies`
    what was measured just now, `recent` the best of the last minutes. Without any
    measurement the old home stays, or the region with the lowest id is taken, so
    that a node behind a firewall that drops UDP can be reached at all. 0: no region.
    """
    regions = sorted(known)
    measured = {r: latencies[r] for r in regions if r in latencies}
    if not measured:
        return home if home in regions else next(iter(regions), 0)
    best = {r: min(m, (recent or {}).get(r, m)) for r, m in measured.items()}
    nearest = min(best, key=lambda r: best[r])
    if home not in regions or home not in measured:
        return nearest
    gain = measured[home] - best[nearest]
    moves = gain > MOVE_GAIN and best[nearest] < measured[home] * MOVE_RATIO
    return nearest if moves else home


def regions_to_ask(
    known: Collection[int], home: int, best: Mapping[int, float], *, full: bool
) -> frozenset[int]:
    """Return the regions that a check asks: all, or the home and the three nearest."""
    measured = sorted((r for r in known if r in best), key=lambda r: best[r])
    if full or not measured:
        return frozenset(known)
    return frozenset({*measured[:NEAREST], *({home} & set(known))})
