"""Who is connected, and what each was last sent.

A viewer remembers the world it knows. When the world has changed, all viewers
are woken, and each asks for the difference between its world and the newest:
almost all of them know the same world, so they get the same bytes. A viewer
that reads slowly skips worlds and costs no memory but its own old world.

Changes are gathered for up to `BATCH` seconds. Under load (many joins at once)
the pause grows with the time that sending and first maps take, up to
`LONGEST_PAUSE`. First maps are long, so they are made one by one, and changes
overtake them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Protocol

from gatepost.coordination.delta import Messages
from gatepost.coordination.ledger import Ledger
from gatepost.coordination.records import NodeRecord
from gatepost.coordination.timers import Timers
from gatepost.coordination.world import World
from gatepost.wire.go_json import write_json
from gatepost.wire.map_frames import keep_alive, write_frame
from gatepost.wire.netmap import MapResponse, PingRequest

log = logging.getLogger(__name__)

FIRST_DELAY = 0.01  # seconds: what belongs together (register, first update) usually comes within
BATCH = 0.05  # seconds between two rounds
LONGEST_PAUSE = 0.25  # seconds between two rounds, however long they take
KEEP_ALIVE = 50.0  # seconds of silence, to which up to KEEP_ALIVE_JITTER is added
KEEP_ALIVE_JITTER = 10.0  # the client gives up after 120
_TURN = 0.01  # seconds for viewers; then other work of the event loop gets its turn
_WOKEN_FIRST = 64  # viewers in the first turn of a round
_MOST_QUESTIONS = 16  # that wait for a viewer which reads slowly; the oldest are dropped
_FIRST_MAPS = 32  # first maps in memory at the same time, as each may be a megabyte


class Presence(Protocol):
    """Who wants to know which node has a stream."""

    def connected(self, node_id: int) -> None: ...
    def left(self, node_id: int) -> None: ...


@dataclass(slots=True, eq=False)
class _Viewer:
    record: NodeRecord  # as it was when the stream began; its key is the stream's
    compress: str
    world: World  # what it knows
    patience: float  # seconds of silence that are too long for it
    heard: float  # when it was sent something, by the monotonic clock
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    questions: deque[PingRequest] = field(default_factory=lambda: deque(maxlen=_MOST_QUESTIONS))
    is_replaced: bool = False
    is_silent_too_long: bool = False


class Streams:
    """The map streams of all nodes. `run` and `tick` must be called for anything to be sent."""

    def __init__(
        self,
        ledger: Ledger,
        messages: Messages,
        presence: Presence,
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        """Take a monotonic clock and a source of numbers from 0 to 1."""
        self._ledger = ledger
        self._messages = messages
        self._presence = presence
        self._clock = clock
        self._jitter = jitter
        self._published = ledger.world
        self._changed = asyncio.Event()
        self._viewers: dict[int, _Viewer] = {}
        self._silence: Timers[_Viewer] = Timers()
        self._first_maps = asyncio.Semaphore(_FIRST_MAPS)
        self._making = asyncio.Lock()
        self._spent = 0.0  # seconds for first maps since the last round
        ledger.on_change(self._on_change)

    @property
    def connected(self) -> int:
        return len(self._viewers)

    @property
    def connected_ids(self) -> frozenset[int]:
        return frozenset(self._viewers)

    def ask(self, node_id: int, question: PingRequest) -> None:
        """Send a question to a node, if it is connected; nobody says whether it arrived."""
        viewer = self._viewers.get(node_id)
        if viewer is not None:
            viewer.questions.append(question)
            viewer.wake.set()

    def _on_change(self, world: World) -> None:  # noqa: ARG002  # only that it changed counts
        self._changed.set()

    async def open(self, record: NodeRecord, compress: str) -> AsyncGenerator[bytes]:
        """Yield frames for a node, until it is gone or has a newer stream."""
        node_id = record.id
        if node_id not in self._ledger.world.nodes:
            return
        viewer = _Viewer(
            record,
            compress,
            self._world_for(node_id),
            patience=KEEP_ALIVE + KEEP_ALIVE_JITTER * self._jitter(),
            heard=self._clock(),
        )
        older = self._viewers.get(node_id)
        self._viewers[node_id] = viewer
        if older is not None:
            older.is_replaced = True
            older.wake.set()
        self._presence.connected(node_id)
        try:
            async with self._first_maps:
                yield await self._first(viewer)
            self._silence.set(viewer, self._clock() + viewer.patience)
            while not viewer.is_replaced:
                for frame in self._frames(viewer):
                    yield frame
                if node_id not in viewer.world.nodes:
                    return
                await viewer.wake.wait()
                viewer.wake.clear()
        finally:
            self._close(viewer)

    async def _first(self, viewer: _Viewer) -> bytes:
        """Return the whole map; a turn of the event loop has time for one."""
        async with self._making:
            began, now = self._clock(), self._ledger.now
            frame = self._messages.first(viewer.world, viewer.record.id, now, viewer.compress)
            viewer.heard = self._clock()
            self._spent += viewer.heard - began
            await asyncio.sleep(0)
        return frame

    def once(self, node_id: int, compress: str) -> bytes:
        """Return the frame with the whole map, without a stream."""
        return self._messages.first(self._ledger.world, node_id, self._ledger.now, compress)

    async def run(self) -> None:
        """Send what changed, in rounds, until cancelled."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(FIRST_DELAY)
            self._changed.clear()
            began = self._clock()
            self._published = self._ledger.world
            await self._wake_all()
            took = min(self._clock() - began + self._spent, LONGEST_PAUSE)
            self._spent = 0.0
            await asyncio.sleep(max(BATCH - FIRST_DELAY, took))

    async def _wake_all(self) -> None:
        """Wake all viewers, as many at once as one turn of the event loop has time for."""
        waiting = deque(self._viewers.values())
        count = _WOKEN_FIRST
        while waiting:
            for _ in range(min(count, len(waiting))):
                waiting.popleft().wake.set()
            began = self._clock()
            await asyncio.sleep(0)
            count = max(1, count // 2) if self._clock() - began > _TURN else count * 2

    def tick(self, now: float) -> None:
        """Wake the viewers that have heard nothing for too long; call it every second."""
        for viewer in self._silence.due(now):
            due = viewer.heard + viewer.patience
            if due <= now:
                viewer.is_silent_too_long = True
                viewer.wake.set()
                due = now + viewer.patience
            self._silence.set(viewer, due)  # once a silence, not once a frame

    def _world_for(self, node_id: int) -> World:
        """Return the world that other viewers know too, unless it lacks this node's newest self."""
        newest = self._ledger.world
        known = self._published.nodes.get(node_id)
        if known is not None and known.record is newest.nodes[node_id].record:
            return self._published
        return newest

    def _frames(self, viewer: _Viewer) -> list[bytes]:
        """Return what the viewer must be sent now, and count it as sent."""
        frames: list[bytes] = []
        new = self._published
        if new.generation > viewer.world.generation:
            frame = self._change(viewer, new)
            if frame:
                frames.append(frame)
        while viewer.questions:
            frames.append(_question_frame(viewer.questions.popleft(), viewer.compress))
        if viewer.is_silent_too_long and not frames:
            frames.append(keep_alive(viewer.compress))
        if frames:
            viewer.is_silent_too_long = False
            viewer.heard = self._clock()
        return frames

    def _change(self, viewer: _Viewer, new: World) -> bytes:
        old, viewer.world = viewer.world, new
        record = viewer.record
        if record.id not in new.nodes:
            return self._messages.eviction(record.key, record.machine, record.id, viewer.compress)
        return self._messages.between(old, new, record.id, record.key, viewer.compress)

    def _close(self, viewer: _Viewer) -> None:
        self._silence.cancel(viewer)
        if self._viewers.get(viewer.record.id) is viewer:
            del self._viewers[viewer.record.id]
            self._presence.left(viewer.record.id)


def _question_frame(question: PingRequest, compress: str) -> bytes:
    """Return the frame of a question; as a sign of life it makes clients build no new map."""
    return write_frame(write_json(MapResponse(keep_alive=True, ping_request=question)), compress)
