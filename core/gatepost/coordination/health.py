"""Which of several carriers of a prefix still carries. Pure; the clock is an argument.

A sign of life is an answer that came through the data path (another node pinged the
carrier inside the tunnel) or, where nobody can ask that way, one on the control
connection. A carrier is given up when it is silent while a rival answers: silence
of all of them says more about who asks than about them, and changes nothing.

silent for                    with the control stream open   without
under 2.6 s                   carries                        carries under 1.4 s
longer, a rival answers       given up                       given up
longer, no rival answers      stays as it was                stays as it was

Who was given up counts again after BACK_AFTER of answers, or at once if no rival is left.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

ASK_EVERY = 1.0  # seconds
DEAD_AFTER = 2.6  # seconds: two questions went unanswered
DEAD_AFTER_ALONE = 1.4  # seconds, when its control connection has gone too
FRESH = 1.7  # seconds: it answered the question before the last one, or a later one
BACK_AFTER = 5.0  # seconds of answers
RARELY_AFTER = 30.0  # seconds of silence, from when on it is asked each RARELY
RARELY = 10.0  # seconds


@dataclass(slots=True)
class _Pulse:
    """What was heard of one carrier; times by the clock of the caller."""

    began: float
    data: float | None = None
    control: float | None = None
    steady_since: float | None = None  # answers without a gap, while it is given up
    is_down: bool = False

    def last(self, *, by_data: bool) -> float | None:
        return self.data if by_data else self.control

    def is_fresh(self, now: float, *, by_data: bool) -> bool:
        last = self.last(by_data=by_data)
        return last is not None and now - last <= FRESH

    def silence(self, now: float, *, by_data: bool) -> float:
        last = self.last(by_data=by_data)
        return now - max(self.began, last if last is not None else self.began)


class Health:
    """The carriers of prefixes that have more than one."""

    def __init__(self) -> None:
        self._pulses: dict[int, _Pulse] = {}
        self._rivals: dict[int, set[int]] = {}

    @property
    def carriers(self) -> frozenset[int]:
        return frozenset(self._pulses)

    def rivals(self, carrier: int) -> frozenset[int]:
        """Return who carries at least one of the carrier's prefixes, too."""
        return frozenset(self._rivals.get(carrier, ()))

    def watch(self, contests: Iterable[tuple[int, ...]], now: float) -> None:
        """Take the carriers of each prefix; who is alone is not watched."""
        rivals: dict[int, set[int]] = {}
        for carriers in contests:
            for carrier in carriers if len(carriers) > 1 else ():
                rivals.setdefault(carrier, set()).update(c for c in carriers if c != carrier)
        self._rivals = rivals
        self._pulses = {c: self._pulses.get(c) or _Pulse(now) for c in rivals}

    def heard(self, carrier: int, now: float, *, by_data: bool) -> None:
        """Note an answer; one of somebody who is not watched (any more) is nothing."""
        pulse = self._pulses.get(carrier)
        if pulse is None:
            return
        if by_data:
            pulse.data = now
        else:
            pulse.control = now

    def answers(self, carrier: int, now: float) -> bool:
        """Say whether it has answered through the data path just now."""
        return self._pulses[carrier].is_fresh(now, by_data=True)

    def is_quiet(self, carrier: int, now: float) -> bool:
        """Say whether it has been silent in every way for so long that asking rarely is enough."""
        pulse = self._pulses[carrier]
        return all(pulse.silence(now, by_data=b) > RARELY_AFTER for b in (True, False))

    def judge(self, now: float, connected: Container[int]) -> frozenset[int]:
        """Return the carriers that are given up; `connected` have a control stream."""
        for carrier, pulse in self._pulses.items():
            rivals = [self._pulses[r] for r in self._rivals[carrier]]
            by_data = any(p.is_fresh(now, by_data=True) for p in (pulse, *rivals))
            patience = DEAD_AFTER if carrier in connected else DEAD_AFTER_ALONE
            has_rival = any(p.is_fresh(now, by_data=by_data) for p in rivals)
            if pulse.silence(now, by_data=by_data) > patience:
                pulse.steady_since = None
                pulse.is_down = pulse.is_down or has_rival
            elif pulse.is_down and pulse.is_fresh(now, by_data=by_data):
                _recover(pulse, rivals, now, by_data=by_data)
        return frozenset(c for c, p in self._pulses.items() if p.is_down)


def _recover(pulse: _Pulse, rivals: Iterable[_Pulse], now: float, *, by_data: bool) -> None:
    if pulse.steady_since is None:
        pulse.steady_since = now
    is_needed = not any(not r.is_down and r.is_fresh(now, by_data=by_data) for r in rivals)
    if is_needed or now - pulse.steady_since >= BACK_AFTER:
        pulse.is_down, pulse.steady_since = False, None
