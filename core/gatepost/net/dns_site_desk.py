"""Answers the mesh about this site's own names, with addresses that the mesh can reach.

It knows nothing else, so that no peer can ask through it what it could not ask itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import dns.rcode
import dns.rdatatype

from gatepost.model.netmap import DnsRoute
from gatepost.net.dns_resolver import Desk
from gatepost.sessions.dns_messages import (
    Kept,
    Message,
    Query,
    address_query,
    answer_with,
    failure,
    own_answer,
    write_reply,
)
from gatepost.sessions.dns_names import is_under_any
from gatepost.sessions.dns_sites import seen_from_mesh


@dataclass(slots=True)
class SiteDesk(Desk):
    """Answers queries that peers send to this node's addresses in the mesh."""

    async def answer(self, query: Query, room: int) -> bytes:
        """Answer a query in at most `room` bytes; it may take two questions to servers at once."""
        if (known := self._known(query)) is not None:
            return write_reply(known[0], room)
        kept = await self._translated(query)
        return write_reply(failure(query) if kept is None else answer_with(query, kept), room)

    def _known(self, query: Query) -> tuple[Message, float] | None:
        plan = self.resolver.plan
        if not is_under_any(query.name, frozenset(plan.site_suffixes)):
            return failure(query, dns.rcode.REFUSED), 0.0
        found = self.resolver.names.find(query.name)
        if found is None or isinstance(found, DnsRoute):
            return None
        return own_answer(query, found, plan.suffix), 0.0

    async def _translated(self, query: Query) -> Kept | None:
        if query.type != dns.rdatatype.AAAA:
            kept = await self._kept(query)
            return kept and seen_from_mesh(kept, self.resolver.plan.known_as)
        # At once: one after the other may take longer than anybody waits.
        six, four = await asyncio.gather(
            self._kept(query), self._kept(address_query(query.name, "A"))
        )
        return six and seen_from_mesh(six, self.resolver.plan.known_as, four)

    async def _kept(self, query: Query) -> Kept | None:
        route = self.resolver.names.find(query.name)
        if not isinstance(route, DnsRoute):
            return None
        if (held := self.resolver.held(query, route)) is not None:
            return held[0].aged(int(held[1]))
        return await self.resolver.ask(query, route)
