"""What netcheck learns by HTTP: latencies where UDP is blocked, and captive portals.

    https://<relay>/derp/latency-check   any 2xx; the time to its first byte is one round trip
    http://<relay>/generate_204          204, with an answer to our challenge in a header

A captive portal (a hotel's, a train's) answers in place of the relay until a
person has clicked. Source: protocol document 2.7 and 3.1.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Iterable
from datetime import datetime
from functools import partial
from ssl import SSLObject

from gatepost.errors import GatepostError
from gatepost.model.netmap import DerpNode, DerpRegion
from gatepost.net.derp_link import Contexts
from gatepost.net.fetch import Question, Reply, fetch
from gatepost.net.tls import Trust, check_server, trust_of, utc_now

log = logging.getLogger(__name__)

LIMIT = 3.0  # seconds for one relay
MOST_AT_ONCE = 8  # relays that are asked side by side, as each costs a TLS handshake
MOST_PORTAL_CHECKS = 3  # relays that are asked: one answer is enough
PORTAL_LIMIT = 2.0  # seconds
_CHALLENGE, _RESPONSE = "X-Tailscale-Challenge", "x-tailscale-response"
_NO_CONTENT = 204


class HttpProbes:
    """Asks relays by HTTP. `mark` keeps the connections out of the tunnel.

    `plain_port` is where relays answer without TLS, as nodes expect.
    """

    def __init__(self, mark: int | None = None, plain_port: int = 80) -> None:
        self._mark = mark
        self._plain_port = plain_port
        self._contexts = Contexts()

    async def latencies(self, regions: Iterable[DerpRegion]) -> dict[int, float]:
        """Return seconds by region id, of the first relay that answers, at most some seconds."""
        turn = asyncio.Semaphore(MOST_AT_ONCE)
        known = tuple(regions)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._latency(region, turn)) for region in known]
        measured = ((r.id, t.result()) for r, t in zip(known, tasks, strict=True))
        return {region: latency for region, latency in measured if latency is not None}

    async def captive_portal(self, regions: Iterable[DerpRegion]) -> bool | None:
        """Say whether somebody answers in place of a relay; None: no relay could be asked."""
        relays = [n for r in regions for n in r.nodes if n.port_80 and n.address_v4]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._is_intercepted(relay))
                for relay in relays[:MOST_PORTAL_CHECKS]
            ]
        answers = [t.result() for t in tasks if t.result() is not None]
        return any(answers) if answers else None

    async def _latency(self, region: DerpRegion, turn: asyncio.Semaphore) -> float | None:
        for relay in region.nodes:
            if relay.stun_only:
                continue
            async with turn:
                try:
                    reply = await self._ask(relay)
                except GatepostError as error:
                    log.debug("no latency of %s by HTTPS: %s", relay.host, error)
                    continue
            if reply.status // 100 == 2:  # noqa: PLR2004  # any success
                return reply.first_byte
        return None

    async def _ask(self, relay: DerpNode) -> Reply:
        trust = trust_of(relay)
        return await fetch(
            Question(
                host=relay.host,
                port=relay.port,
                target="/derp/latency-check",
                addresses=tuple(str(a) for a in (relay.address_v4, relay.address_v6) if a),
            ),
            seconds=LIMIT,
            mark=self._mark,
            tls=self._contexts.of(trust),
            name=trust.name,
            check=partial(_check, trust, utc_now()),
        )

    async def _is_intercepted(self, relay: DerpNode) -> bool | None:
        """Ask a relay's plain port; no answer at all is no portal, they do answer."""
        challenge = f"gp_{secrets.token_hex(8)}"
        question = Question(
            host=str(relay.address_v4),
            port=self._plain_port,
            target="/generate_204",
            headers={_CHALLENGE: challenge},
        )
        try:
            reply = await fetch(question, seconds=PORTAL_LIMIT, mark=self._mark)
        except GatepostError as error:
            log.debug("no captive portal check at %s: %s", relay.address_v4, error)
            return None
        answer = reply.headers.get(_RESPONSE, "")
        return reply.status != _NO_CONTENT or answer != f"response {challenge}"


def _check(trust: Trust, now: datetime, connection: SSLObject) -> None:
    check_server(connection, trust, now)
