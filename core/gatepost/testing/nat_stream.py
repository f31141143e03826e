"""A stream of small packets from one machine to another and back: what was lost, and when.

It is `ping` with fifty packets a second: the kernel of the far machine answers,
so nothing has to run there. A packet is lost when no answer came, whichever way
lost it.
"""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass
from itertools import pairwise

from gatepost.testing.netns import LabError, Machine, patient

INTERVAL = 0.02  # seconds between packets
LAST_WAIT = 1.0  # seconds for the answers that are still out at the end
_ANSWER = re.compile(r"^\[([\d.]+)\] .*icmp_seq=(\d+) .*time=([\d.]+) ms", re.MULTILINE)
_SUMMARY = re.compile(r"(\d+) packets transmitted, (\d+) received")


def now() -> float:
    """Return the moment, in seconds since 1970."""
    return time.time()  # noqa: TID251  # the clock that `ping -D` prints


@dataclass(frozen=True, slots=True)
class Flow:
    """What came of a stream. Moments are seconds since 1970."""

    sent: int
    answered: tuple[tuple[int, float], ...]  # in order of time: number from 1, and the moment
    began: float  # when the first packet left, as far as the answers tell

    @property
    def lost(self) -> int:
        return self.sent - len({number for number, _ in self.answered})

    @property
    def loss(self) -> float:
        """The part that was lost, 0 to 1."""
        return self.lost / self.sent if self.sent else 1.0

    @property
    def first(self) -> float | None:
        """Seconds from the first packet to the first answer; None: there was none."""
        return self.answered[0][1] - self.began if self.answered else None

    def silence(self, after: float = 0.0) -> float:
        """Return the longest time without an answer, in seconds, from the moment `after` on."""
        moments = [after, *(at for _, at in self.answered if at > after)]
        return max((b - a for a, b in pairwise(moments)), default=0.0)


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream that runs. `started` is in seconds since 1970."""

    machine: Machine
    started: float
    seconds: float
    _process: subprocess.Popen[str]

    def end(self) -> Flow:
        """End it now."""
        self.machine.attempt("pkill", "-INT", "-P", "0", "-x", "ping")
        return self.finish()

    def finish(self) -> Flow:
        """Wait for its end; raise LabError when it does not end or says nothing."""
        try:
            output, _ = self._process.communicate(timeout=patient(self.seconds + 20))
        except subprocess.TimeoutExpired as late:
            raise LabError(f"the stream from {self.machine.name} does not end") from late
        return read_flow(output, self.started)


def start_stream(machine: Machine, address: str, seconds: float) -> Stream:
    """Start sending from a machine."""
    count = str(int(seconds / INTERVAL))
    command = ("ping", "-n", "-D", "-i", f"{INTERVAL:g}", "-c", count, "-W", f"{LAST_WAIT:g}")
    started = now()
    process = machine.start(*command, address, output=subprocess.PIPE)
    return Stream(machine, started, seconds, process)


def read_flow(output: str, started: float) -> Flow:
    """Read what `ping -D` printed; raise LabError when there is no summary.

    `started` stands for the first packet's moment when no answer tells it.
    """
    summary = _SUMMARY.search(output)
    if summary is None:
        raise LabError(f"ping says: {output.strip()[-300:]}")
    rows = [(float(m[1]), int(m[2]), float(m[3]) / 1000) for m in _ANSWER.finditer(output)]
    began = started
    if rows:
        at, number, took = min(rows, key=lambda row: row[1])
        began = max(started, at - took - INTERVAL * (number - 1))
    return Flow(int(summary[1]), tuple((number, at) for at, number, _ in sorted(rows)), began)
