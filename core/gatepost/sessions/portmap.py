"""Keep one UDP port of a gateway mapped to ours, by whichever protocol the gateway speaks.

For IPv6 nothing is mapped: there a port of the gateway's firewall is kept open.

    probe ─> ask NAT-PMP, else PCP, else UPnP ─┬─ granted ─> keep: check, renew ─┐
      ^                                        └─ refused by all ─> rest         │
      └────────── rested, restarted, address changed, mapping lost <─────────────┘

NAT-PMP first as the official client does; unlike there, a protocol that refuses
does not keep the next one from being asked. A gateway that restarts says so to
all (or shows it by its epoch when checked), and is asked again for the same
port. The whole life is one generator: it yields when it wants to be woken, and
is sent what was heard, or None when that time has come.
Source: RFC 6886 section 3, RFC 6887 sections 8 and 11; protocol document 2.7.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Never

from gatepost.errors import RefusedError, WireError
from gatepost.model.gateway import AnyGateway, Gateway6
from gatepost.model.netmap import Endpoint
from gatepost.sessions.portmap_answers import Heard, News
from gatepost.sessions.portmap_ask import Asker
from gatepost.sessions.portmap_pinholes import PinholeAsker
from gatepost.sessions.portmap_questions import Verdict
from gatepost.sessions.portmap_values import (
    Changed,
    HttpReply,
    Looked,
    Mapping,
    Output,
    Seen,
)
from gatepost.wire import natpmp, pcp, upnp

CHECK = 30.0  # seconds between looks whether the gateway still has the mapping
SETTLE = 5.0  # seconds between two mappings, whatever the gateway says about restarts
RETRY_FIRST, RETRY_LONGEST = 30.0, 900.0  # seconds of rest when nobody gave us a port
LATE_RENEW = 30.0  # seconds at least between two tries to renew

Life = Generator[float, Heard | None, Never]
Steps = Generator[float, Heard | None, None]


class PortMap:
    """One gateway. Feed it, call `on_timer` at `next_timer`, and do what `take` returns.

    `port` is ours. `nonce` is 12 bytes that must be the same after a restart of
    this program: a PCP gateway lets nobody else change the mapping.
    """

    def __init__(
        self,
        gateway: AnyGateway,
        port: int,
        *,
        nonce: bytes,
        random_bytes: Callable[[int], bytes],
        now: float,
        upnp: bool = True,
    ) -> None:
        self.gateway = gateway
        self.mapping: Mapping | None = None
        self.has_looked = False  # at which protocols the gateway speaks
        self._now = now
        self._ask = _asker(gateway, port, nonce, random_bytes, lambda: self._now, upnp=upnp)
        self._outputs: list[Output] = []
        self._look_wanted = False
        self._is_over = False
        self._life = self._live()
        self._wake = next(self._life)

    @property
    def seen(self) -> Seen:
        return self._ask.seen

    @property
    def external(self) -> Endpoint | None:
        return self.mapping.external if self.mapping else None

    # --- what happens ---------------------------------------------------------------

    def on_packet(self, packet: bytes, source: Endpoint, now: float) -> None:
        """Take a datagram; others than the gateway's are ignored. Raise `WireError`."""
        heard = _read(packet, source, self.gateway)
        if heard is not None:
            self._now = now
            self._step(heard)

    def on_announcement(self, packet: bytes, source: Endpoint, now: float) -> None:
        """Take what was sent to all hosts. Raise `WireError`.

        Its epoch is not asked: one that began less than two seconds after we asked
        could not be told from a slow clock, and nobody announces without a reason.
        """
        heard = _read(packet, source, self.gateway)
        if isinstance(heard, natpmp.AddressAnswer | pcp.Announced):
            self._now = now
            self._step(News())

    def on_news(self, now: float) -> None:
        """Take it that the gateway has just begun, as it told by the other version of IP."""
        self._now = now
        self._step(News())

    def on_reply(self, number: int, reply: HttpReply | None, now: float) -> None:
        """Take the reply to a `Fetch`; None is none in time."""
        self._now = now
        self._step((number, reply))

    def on_timer(self, now: float) -> None:
        self._now = now
        while self._wake <= now:
            self._step(None)

    def look(self, now: float) -> None:
        """Look anew which protocols the gateway speaks; `Looked` follows."""
        if not self._is_over:
            self._look_wanted = True
            self._wake = now

    def next_timer(self) -> float:
        return self._wake

    def take(self) -> list[Output]:
        """Return what is to be done, once."""
        outputs = [*self._outputs, *self._ask.take()]
        self._outputs = []
        return outputs

    def release(self, now: float) -> list[Output]:
        """Return what gives the port back. The session is over: what comes later is nothing."""
        self._now = now
        self._life.close()
        self._is_over, self._wake = True, math.inf
        self._outputs.clear()
        self._ask.take()
        if self.mapping is not None:
            self._ask.release(self.mapping)
            self.mapping = None
        return self.take()

    # --- the life ---------------------------------------------------------------------

    def _step(self, heard: Heard | None) -> None:
        if not self._is_over:
            self._wake = self._life.send(heard)

    def _live(self) -> Life:
        pause = RETRY_FIRST
        while True:
            yield from self._look()
            mapping = yield from self._obtain()
            self._use(mapping)
            if mapping is None:
                yield from self._rest(self._now + pause)
                pause = min(pause * 2, RETRY_LONGEST)
                continue
            pause = RETRY_FIRST
            yield from self._keep(mapping)

    def _look(self) -> Steps:
        self._look_wanted = False
        yield from self._ask.look()
        self.has_looked = True
        self._outputs.append(Looked())

    def _obtain(self) -> Generator[float, Heard | None, Mapping | None]:
        """Ask by one protocol after the other, for the port that we had."""
        for protocol in self._ask.spoken(self.mapping.protocol if self.mapping else None):
            try:
                return (yield from self._ask.ask(protocol, self.external))
            except (RefusedError, WireError) as error:
                self._ask.note_refusal(protocol, str(error))
        return None

    def _use(self, mapping: Mapping | None) -> None:
        before = self.external
        self.mapping = mapping
        if self.external != before:
            self._outputs.append(Changed())

    def _rest(self, until: float) -> Steps:
        """Wait; a gateway that speaks unasked has just begun, which ends the rest soon."""
        while self._now < until and not self._look_wanted:
            heard = yield until
            if isinstance(heard, News):
                until = min(until, self._now + SETTLE)

    def _keep(self, mapping: Mapping) -> Steps:
        """Keep the mapping until it has ended or has to be made anew."""
        check, renew = self._now + CHECK, mapping.renew
        while self._now < mapping.end:
            heard = yield min(check, renew, mapping.end)
            if self._look_wanted:
                yield from self._look()
            verdict = self._ask.judge(heard, mapping)
            if verdict is None and self._now >= check:
                verdict = yield from self._ask.check(mapping)
                check = self._now + CHECK
            if verdict is Verdict.LOST or isinstance(heard, News):
                yield from self._pause_until(mapping.made + SETTLE)
                return
            if verdict is Verdict.SILENT or self._now >= renew:
                mapping = yield from self._renew(mapping)
                late = max((mapping.end - self._now) / 2, LATE_RENEW)
                renew = max(mapping.renew, self._now + late)

    def _renew(self, mapping: Mapping) -> Generator[float, Heard | None, Mapping]:
        """Ask again. While the gateway is silent or refuses, the old mapping counts to its end."""
        yield from self._look()
        renewed = yield from self._obtain()
        if renewed is None:
            return mapping
        self._use(renewed)
        return renewed

    def _pause_until(self, until: float) -> Steps:
        while self._now < until:
            yield until


def _asker(
    gateway: AnyGateway,
    port: int,
    nonce: bytes,
    random_bytes: Callable[[int], bytes],
    clock: Callable[[], float],
    *,
    upnp: bool,
) -> Asker | PinholeAsker:
    kind = PinholeAsker if isinstance(gateway, Gateway6) else Asker
    return kind(gateway, port, nonce, random_bytes, clock, upnp)


def _read(packet: bytes, source: Endpoint, gateway: AnyGateway) -> Heard | None:
    """Return what the gateway says. Others may only point to it, by an SSDP answer."""
    if packet[:4] == b"HTTP":
        return upnp.read_found(packet)
    if source != Endpoint(gateway.address, natpmp.PORT):
        return None
    return pcp.read_answer(packet) if packet[:1] == b"\x02" else natpmp.read_answer(packet)
