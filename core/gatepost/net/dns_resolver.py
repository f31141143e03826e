"""The one resolver of this box: from the bytes of a query to the bytes of its answer.

    resolver = Resolver(upstreams.ask, loop.time)
    resolver.set_plan(plan)                     whenever something has changed
    desk = resolver.desk(NameView(...))         one for each kind of people who ask
    answer = await desk.ask(query)              bytes to bytes; None gets no answer

All desks share what servers have answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field

import dns.rcode

from gatepost.errors import Malformed
from gatepost.model.names import NameServer
from gatepost.model.netmap import DnsRoute
from gatepost.model.resolver import NamePlan, NameView
from gatepost.net.tasks import Tasks
from gatepost.sessions.dns_cache import AnswerCache, WireCache
from gatepost.sessions.dns_messages import (
    OWN_TTL,
    Kept,
    Message,
    Query,
    answer_with,
    failure,
    keep,
    own_answer,
    read_query,
    write_reply,
)
from gatepost.sessions.dns_names import Addresses, Finding, Missing, Names, Pointer, is_under_any

MOST_ASKED = 256  # questions that servers are asked at once
LARGEST = 65535  # bytes of a message on TCP

Ask = Callable[[tuple[NameServer, ...], Query], Awaitable[Message | None]]


class Resolver:
    """Knows the plan, asks servers, remembers. `close` it.

    Whoever asks the same at the same time waits together.
    """

    def __init__(self, ask: Ask, now: Callable[[], float]) -> None:
        """`now` is seconds that only grow."""
        self.now = now
        self.plan = NamePlan()
        self.names = Names(self.plan)
        self.generation = 0
        self._ask_servers = ask
        self._answers = AnswerCache()
        self._asked = dict[Hashable, asyncio.Task[Kept | None]]()
        self._tasks = Tasks()

    def set_plan(self, plan: NamePlan) -> None:
        """Answer by this plan from now on."""
        if plan != self.plan:
            self.plan, self.names = plan, Names(plan)
            self.generation += 1

    def desk(self, view: NameView) -> Desk:
        """Return where people of one kind ask."""
        return Desk(self, view)

    async def close(self) -> None:
        await self._tasks.close()

    def held(self, query: Query, route: DnsRoute) -> tuple[Kept, float] | None:
        """Return what servers have answered, and how many seconds ago."""
        return self._answers.get((query.key, route), self.now())

    async def ask(self, query: Query, route: DnsRoute) -> Kept | None:
        """Ask the servers of a route, together with who asks them the same now."""
        key = (query.key, route)
        running = self._asked.get(key)
        if running is None:
            if len(self._asked) >= MOST_ASKED:
                return None
            running = self._tasks.spawn(self._ask(key, query, route), "dns question")
            self._asked[key] = running
        return await asyncio.shield(running)

    async def _ask(self, key: Hashable, query: Query, route: DnsRoute) -> Kept | None:
        try:
            message = await self._ask_servers(route.servers, query) if route.servers else None
        finally:
            del self._asked[key]
        if message is None:
            return None
        kept = keep(query, message)
        self._answers.put(key, kept, self.now())
        return kept


@dataclass(slots=True)
class Desk:
    """Answers queries as one view has it."""

    resolver: Resolver
    view: NameView
    _wires: WireCache = field(default_factory=WireCache)
    _generation: int = -1

    async def ask(self, raw: bytes, room: int = LARGEST) -> bytes | None:
        """Answer a query in at most `room` bytes, waiting if servers must be asked.

        None is for what is no query at all, and gets no answer.
        """
        found = self.read(raw)
        return await self.answer(found, room) if isinstance(found, Query) else found

    def at_once(self, raw: bytes) -> bytes | Query | None:
        """Return the answer to a UDP query, the query if somebody must be asked, or None."""
        if self._generation != self.resolver.generation:
            self._generation, self._wires = self.resolver.generation, WireCache()
        now = self.resolver.now()
        if (ready := self._wires.get(raw, now)) is not None:
            return ready
        query = self.read(raw)
        if not isinstance(query, Query):
            return query
        known = self._known(query)
        if known is None:
            return query
        reply, seconds = known
        answer = write_reply(reply, query.room)
        if query.is_plain:
            self._wires.put(raw, answer, now, seconds)
        return answer

    def read(self, raw: bytes) -> bytes | Query | None:
        """Return the query, the answer that refuses it, or None for what gets none."""
        try:
            return read_query(raw)
        except Malformed:
            return None

    async def answer(self, query: Query, room: int) -> bytes:
        """Answer a query, which may have to wait for a server, in at most `room` bytes."""
        if (known := self._known(query)) is not None:
            return write_reply(known[0], room)
        found = self._find(query.name)
        kept = await self.resolver.ask(query, found) if isinstance(found, DnsRoute) else None
        if kept is None:
            return write_reply(failure(query), room)
        is_wrong = isinstance(found, DnsRoute) and self._leads_inside(query, found, kept)
        reply = own_answer(query, Missing.RECORD, "") if is_wrong else answer_with(query, kept)
        return write_reply(reply, room)

    def _known(self, query: Query) -> tuple[Message, float] | None:
        """Return the answer and for how long it holds, if nobody has to be asked."""
        found = self._find(query.name)
        if found is None:
            return failure(query, dns.rcode.REFUSED), 0.0
        if not isinstance(found, DnsRoute):
            return own_answer(query, found, self.resolver.plan.suffix), OWN_TTL
        if (held := self.resolver.held(query, found)) is None:
            return None
        kept, age = held
        if self._leads_inside(query, found, kept):
            return own_answer(query, Missing.RECORD, ""), kept.seconds - age
        return answer_with(query, kept.aged(int(age))), kept.seconds - age

    def _find(self, name: str) -> Finding:
        if self.view.blocked and is_under_any(name, self.view.blocked):
            return Missing.RECORD
        found = self.resolver.names.find(name)
        if not self.view.is_mesh_known and isinstance(found, Addresses | Pointer | Missing):
            return None
        is_for_all = found is None or (isinstance(found, DnsRoute) and not found.suffix)
        if self.view.servers and is_for_all:
            return DnsRoute(suffix="", servers=self.view.servers)
        return found

    def _leads_inside(self, query: Query, route: DnsRoute, kept: Kept) -> bool:
        """Say whether a public name leads to a private address, as DNS rebinding does."""
        if not kept.is_inside or route.suffix or not self.view.refuses_private:
            return False
        return not is_under_any(query.name, self.resolver.names.may_be_private)
