"""From the bytes of a query to the bytes of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field

import dns.rcode

from gatepost.api import DnsRoute, Endpoint
from gatepost.errors import Malformed
from gatepost.sessions.dns_cache import AnswerCache, WireCache
from gatepost.sessions.dns_messages import (
    OWN_TTL,
    Kept,
    Message,
    Query,
    answer_with,
    failure,
    keep,
    names_inside,
    own_answer,
    read_query,
    write_reply,
)
from gatepost.sessions.dns_names import Finding, NamePlan, Names

MOST_ASKED = 256  # questions that servers are asked at once
LARGEST = 65535  # bytes of a message on TCP

Ask = Callable[[tuple[Endpoint, ...], Query], Awaitable[Message | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What the service is started with."""

    plan: NamePlan
    refuse_private: bool = False

    def __str__(self) -> str:
        return str(self.plan)


@dataclass(slots=True)
class Resolver:
    """Answers queries. Whoever asks for the same thing at the same time waits together."""

    parameters: Parameters
    group: asyncio.TaskGroup
    ask: Ask
    now: Callable[[], float]
    _answers: AnswerCache = field(default_factory=AnswerCache)
    _wires: WireCache = field(default_factory=WireCache)
    _names: Names = field(init=False)
    _asked: dict[Hashable, asyncio.Task[Kept | None]] = field(
        default_factory=dict[Hashable, asyncio.Task[Kept | None]]
    )

    def __post_init__(self) -> None:
        self._names = Names(self.parameters.plan)

    def at_once(self, raw: bytes) -> bytes | Query | None:
        """Return the answer to a UDP query, the query if somebody must be asked, or None."""
        now = self.now()
        if (ready := self._wires.get(raw, now)) is not None:
            return ready
        query = self.read(raw)
        if not isinstance(query, Query):
            return query
        known = self._known(query, now)
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
        if (known := self._known(query, self.now())) is not None:
            return write_reply(known[0], room)
        found = self._names.find(query.name)
        kept = await self._ask_once(query, found) if isinstance(found, DnsRoute) else None
        return write_reply(answer_with(query, kept) if kept else failure(query), room)

    def _known(self, query: Query, now: float) -> tuple[Message, float] | None:
        """Return the answer and for how long it holds, if nobody has to be asked."""
        found: Finding = self._names.find(query.name)
        if found is None:
            return failure(query, dns.rcode.REFUSED), 0.0
        if not isinstance(found, DnsRoute):
            return own_answer(query, found, self.parameters.plan.suffix), OWN_TTL
        if (held := self._answers.get(query.key, now)) is None:
            return None
        kept, age = held
        reply = answer_with(query, kept.aged(int(age)))
        return reply, kept.seconds - age

    async def _ask_once(self, query: Query, route: DnsRoute) -> Kept | None:
        running = self._asked.get(query.key)
        if running is None:
            if len(self._asked) >= MOST_ASKED:
                return None
            running = self.group.create_task(self._ask(query, route), name="dns question")
            self._asked[query.key] = running
        return await asyncio.shield(running)

    async def _ask(self, query: Query, route: DnsRoute) -> Kept | None:
        try:
            message = await self.ask(route.servers, query) if route.servers else None
        finally:
            del self._asked[query.key]
        if message is None:
            return None
        kept = keep(query, message)
        if self.parameters.refuse_private and not route.suffix and names_inside(kept):
            return None
        self._answers.put(query.key, kept, self.now())
        return kept
