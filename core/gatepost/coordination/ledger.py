"""The one writer: decisions become edits, edits become durable, then the world is swapped.

    decide (on `head`) -> queue -> one transaction per batch (thread) -> world swapped -> answer

`head` already contains the edits that are being written, so two requests that
arrive together see each other: of a hundred uses of a one-time key one wins.
`world` contains only what is on disk. Nobody gets an answer, and no stream
tells of an edit, before it is there. If a batch cannot be written, it and
everything decided on top of it is refused, and `head` goes back to `world`.

What a node reports (endpoints, relay, host name) is different: it counts at
once, because a full disk must not stop the mesh, and is answered when written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from gatepost.coordination.database.store import Batch, Store
from gatepost.coordination.records import DropNode, Edit, PutNode, Records, Report
from gatepost.coordination.world import Presence, World
from gatepost.errors import RefusedError, StateError
from gatepost.model.netmap import IPNetwork

log = logging.getLogger(__name__)

T = TypeVar("T")

LARGEST_BATCH = 500  # decisions in one transaction


@dataclass(frozen=True, slots=True)
class Decision(Generic[T]):
    """What to write, and what to answer once it is written."""

    answer: T
    edits: tuple[Edit, ...] = ()


@dataclass(slots=True)
class _Entry:
    """A decision that waits for its transaction; `records` is the head behind it."""

    edits: tuple[Edit, ...]
    records: Records
    written: asyncio.Future[None]


class Ledger:
    """Owner of the world. `run` must be running for anything to be written."""

    def __init__(
        self,
        store: Store,
        records: Records,
        reports: Mapping[int, Report],
        clock: Callable[[], float],
    ) -> None:
        """Take what the store has read, and a clock in seconds since 1970."""
        self._store = store
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")
        self._head = records
        self._newest_primaries = store.read_primaries()
        self._world = World.of(records, reports, clock(), self._newest_primaries)
        self._primaries: Mapping[IPNetwork, int] | None = None  # if they are not on disk yet
        self._has_moved = False  # a prefix, since the newest batch was begun
        self._precedence = self._world.precedence
        self._entries: list[_Entry] = []
        self._reports: dict[int, Report] = {}  # not given to the thread yet
        self._writing: frozenset[int] = frozenset()  # whose reports the thread has
        self._reports_written: list[asyncio.Future[None]] = []
        self._work = asyncio.Event()
        self._listeners: list[Callable[[World], None]] = []

    @property
    def world(self) -> World:
        """The mesh with everything that is on disk."""
        return self._world

    @property
    def now(self) -> float:
        return self._clock()

    def on_change(self, listener: Callable[[World], None]) -> None:
        """Call `listener` with every new world, from the event loop."""
        self._listeners.append(listener)

    async def change(self, decide: Callable[[Records], Decision[T]]) -> T:
        """Decide on the newest records and return the answer when the edits are durable.

        `decide` may raise; then nothing happened. Raise `StateError` if the
        edits could not be written.
        """
        decision = decide(self._head)
        if decision.edits:
            self._head = self._head.after(decision.edits)
            written = asyncio.get_running_loop().create_future()
            self._entries.append(_Entry(decision.edits, self._head, written))
            self._work.set()
            await written
        return decision.answer

    async def ask(self, question: Callable[[Store], T]) -> T:
        """Ask the database for what the world does not keep, between two transactions.

        Raise `StateError` if it cannot answer.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, question, self._store)

    async def report(self, node_id: int, report: Report) -> None:
        """Take what a node says: it counts at once; return when it is durable.

        Raise `RefusedError` if there is no such node, `StateError` if it could
        not be written (it counts all the same, and is written with the next).
        """
        node = self._world.nodes.get(node_id)
        if node is None or node_id not in self._head.nodes:
            raise RefusedError(f"node {node_id} does not exist any more")
        self._reports[node_id] = report
        self._swap(self._world.with_node(replace(node, report=report)))
        written = asyncio.get_running_loop().create_future()
        self._reports_written.append(written)
        self._work.set()
        await written

    def is_settled(self, node_id: int) -> bool:
        """Say whether what is known of a node's report is on disk."""
        return node_id not in self._reports and node_id not in self._writing

    def see(self, node_id: int, presence: Presence, *, last_seen: float | None = None) -> None:
        """Note what the server saw of a node; `last_seen` is written with the next batch."""
        node = self._world.nodes.get(node_id)
        if node is None or (node.presence == presence and last_seen is None):
            return
        report = node.report
        if last_seen is not None:
            report = replace(report, last_seen=last_seen)
            if node_id in self._head.nodes:
                self._reports[node_id] = report
        self._swap(self._world.with_node(replace(node, report=report, presence=presence)))

    async def run(self) -> None:
        """Write until cancelled; then write what is left."""
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                while self._entries or self._reports_written or self._has_moved:
                    await self._write_batch()
        finally:
            while self._entries or self._reports_written:
                await self._write_batch()
            await self._write_batch()  # reports that nobody waits for
            self._thread.shutdown()

    async def _write_batch(self) -> None:
        entries, self._entries = self._entries[:LARGEST_BATCH], self._entries[LARGEST_BATCH:]
        waiting, self._reports_written = self._reports_written, []
        batch = Batch(reports=self._reports, primaries=self._primaries)
        self._reports, self._primaries, self._has_moved = {}, None, False
        for entry in entries:
            batch.add(entry.edits, entry.records.counters)
        self._writing = frozenset(batch.reports)
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._store.write, batch)
        except StateError as error:
            log.error("%s", error)  # noqa: TRY400  # the text says all; each caller gets it too
            self._undo(batch, (*entries, *self._entries), waiting, error)
            return
        finally:
            self._writing = frozenset()
        if entries:
            await self._take(entries)
        for future in (*(e.written for e in entries), *waiting):
            if not future.done():
                future.set_result(None)

    async def _take(self, entries: Sequence[_Entry]) -> None:
        """Swap the world for the one that was decided; a long compilation runs in a thread."""
        base, records, touched = self._world, entries[-1].records, _touched(entries)
        if base.is_ruled_anew_by(records):
            made = await asyncio.to_thread(base.with_records, records, touched, self._clock())
            self._swap(made.caught_up(base, self._world))
        else:
            self._swap(base.with_records(records, touched, self._clock()))

    def _undo(
        self,
        batch: Batch,
        refused: Sequence[_Entry],
        waiting: Sequence[asyncio.Future[None]],
        error: StateError,
    ) -> None:
        self._entries = []
        self._head = self._world.records
        kept = {i: r for i, r in batch.reports.items() if i in self._head.nodes}
        self._reports = kept | self._reports
        self._primaries = batch.primaries if self._primaries is None else self._primaries
        for future in (*(e.written for e in refused), *waiting):
            if not future.done():
                future.set_exception(error)

    def _swap(self, world: World) -> None:
        self._world = world
        if world.precedence is not self._precedence:
            self._precedence = world.precedence
            self._note_primaries(world.contested)
        for listener in self._listeners:
            listener(world)

    def _note_primaries(self, primaries: Mapping[IPNetwork, int]) -> None:
        if primaries != self._newest_primaries:
            self._primaries = self._newest_primaries = primaries
            self._has_moved = True
            self._work.set()


def _touched(entries: Sequence[_Entry]) -> dict[int, Report | None]:
    """Return the nodes that were edited, with the first report of those that are new."""
    touched: dict[int, Report | None] = {}
    for entry in entries:
        for edit in entry.edits:
            match edit:
                case PutNode(node, report):
                    touched[node.id] = report or touched.get(node.id)
                case DropNode(id=node_id):
                    touched[node_id] = None
                case _:
                    pass
    return touched
