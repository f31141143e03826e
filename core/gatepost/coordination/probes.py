"""Asks whether the carriers of shared prefixes are alive, and lets the world know.

Only prefixes that several nodes carry are of interest. Each second some nodes that are
no carriers themselves are asked to ping each carrier inside the tunnel (TSMP), so what
is tried is the way that packets go; official clients do that too. Rivals are not asked
about each other: they often share a LAN, and would reach a box whose uplink is gone.
A carrier that is not reached is asked to ping those nodes itself: one that has just
started has forgotten its WireGuard sessions, and others notice that only after 15 s.
Each carrier is also asked for a sign of life on its control connection, which counts
where nobody can try the data path. Source: protocol document 1.13 and 7.3.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from gatepost.coordination.health import ASK_EVERY, RARELY, Health
from gatepost.coordination.ledger import Ledger
from gatepost.coordination.world import World
from gatepost.model.keys import MachinePublic
from gatepost.model.netmap import IPNetwork
from gatepost.policy.intervals import bits
from gatepost.wire.go_json import read_json
from gatepost.wire.netmap import PingRequest, PingResponse

log = logging.getLogger(__name__)

PATH = "/machine/ping/"  # followed by the token of the question
STEP = 0.25  # seconds between two judgements
OBSERVERS = 3  # nodes that are asked about one carrier
MOST_OPEN = 4096  # questions; the oldest are forgotten
_PHONES = frozenset({"iOS", "android", "tvOS"})  # which a question a second would keep awake


class Asks(Protocol):
    """The map streams, by which nodes are asked."""

    @property
    def connected_ids(self) -> frozenset[int]: ...
    def ask(self, node_id: int, question: PingRequest) -> None: ...


@dataclass(frozen=True, slots=True)
class _Question:
    """`asked` is a node and its machine; `by_data` False is a sign of life of the carrier."""

    carrier: int
    asked: int
    machine: MachinePublic
    by_data: bool


class Probes:
    """Keeps `Presence.reachable` of the carriers true. `run` must be called for that."""

    def __init__(
        self,
        ledger: Ledger,
        streams: Asks,
        *,
        server_url: str,
        clock: Callable[[], float],
        token: Callable[[], str],
    ) -> None:
        """Take a monotonic clock and a source of words that nobody can guess."""
        self._ledger = ledger
        self._streams = streams
        self._url = server_url + PATH
        self._clock = clock
        self._token = token
        self._health = Health()
        self._precedence: Mapping[IPNetwork, tuple[int, ...]] | None = None
        self._open: OrderedDict[str, _Question] = OrderedDict()
        self._due: dict[int, float] = {}
        self._useful: dict[int, float] = {}  # when an observer last had an answer
        self._turn = 0
        self._connected: frozenset[int] = frozenset()  # at the newest step

    async def run(self) -> None:
        """Ask and judge until cancelled."""
        while True:
            await asyncio.sleep(STEP)
            self.step()

    def step(self) -> None:
        """Ask who is due, and publish who is given up and who is back."""
        world, now = self._ledger.world, self._clock()
        self._connected = self._streams.connected_ids
        if world.precedence is not self._precedence:
            self._precedence = world.precedence
            self._health.watch(world.precedence.values(), now)
            self._due = {c: self._due.get(c, now) for c in self._health.carriers}
        for carrier, due in self._due.items():
            if due <= now and carrier in world.nodes:
                is_gone = carrier not in self._connected
                rarely = is_gone and self._health.is_quiet(carrier, now)
                self._due[carrier] = now + (RARELY if rarely else ASK_EVERY)
                self._ask_about(carrier, world)
        self._publish(self._health.judge(now, self._connected), world)

    def answer(self, token: str, machine: MachinePublic, body: bytes) -> bool:
        """Take an answer; say whether this was asked of this machine and is open.

        Raise `Malformed` if the body is no answer to a ping.
        """
        question = self._open.get(token)
        if question is None or question.machine != machine:
            return False
        said = read_json(body, PingResponse) if question.by_data else PingResponse()
        del self._open[token]
        if said.err:
            log.debug("node %d about %d: %s", question.asked, question.carrier, said.err)
            return True
        now = self._clock()
        self._health.heard(question.carrier, now, by_data=question.by_data)
        if question.by_data:
            self._useful[question.asked] = now
        return True

    def _ask_about(self, carrier: int, world: World) -> None:
        self._put(carrier, carrier, None, world)
        is_heard = self._health.answers(carrier, self._clock())
        for observer in self._observers(carrier, world):
            self._put(carrier, observer, carrier, world)
            if not is_heard:
                self._put(carrier, carrier, observer, world)

    def _put(self, carrier: int, asked: int, target: int | None, world: World) -> None:
        """Ask a node about a carrier: to ping a target, or for a sign of life."""
        token, by_data = self._token(), target is not None
        machine = world.nodes[asked].record.machine
        self._open[token] = _Question(carrier, asked, machine, by_data)
        while len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)
        question = PingRequest(
            url=self._url + token,
            url_is_noise=True,
            types="TSMP" if by_data else "",
            ip="" if target is None else self._address(target, asked, world),
        )
        self._streams.ask(asked, question)

    def _address(self, target: int, asked: int, world: World) -> str:
        without_ipv4 = world.rights.compiled.attributes.without_ipv4
        v4, v6 = world.nodes[target].record.addresses
        return str(v6 if (without_ipv4 >> target | without_ipv4 >> asked) & 1 else v4)

    def _observers(self, carrier: int, world: World) -> tuple[int, ...]:
        """Choose who is asked: those who had answers last, and one more in turn."""
        if world.nodes[carrier].presence.expired:
            return ()
        involved = {carrier, *self._health.rivals(carrier)}
        seen = bits(world.rights.compiled.view(carrier).peers)
        able = [i for i in seen if i in self._connected and i not in involved and i in world.nodes]
        awake = [i for i in able if world.nodes[i].report.hostinfo.os not in _PHONES] or able
        awake.sort(key=lambda i: (-self._useful.get(i, 0.0), i))
        chosen, rest = awake[: OBSERVERS - 1], awake[OBSERVERS - 1 :]
        if rest:
            self._turn += 1
            chosen.append(rest[self._turn % len(rest)])
        return tuple(chosen)

    def _publish(self, down: frozenset[int], world: World) -> None:
        for node in (n for n in world.nodes.values() if n.presence.reachable == (n.id in down)):
            is_back = not node.presence.reachable
            text = "answers again" if is_back else "does not answer: others take its networks over"
            log.info("node %s %s", node.record.label, text)
            self._ledger.see(node.id, replace(node.presence, reachable=is_back))
