"""The questions to one gateway: what it speaks, for a port, and whether the port is still ours.

Every method that waits is a generator as `sessions.portmap` describes: it
yields when to go on at the latest, and is sent what was heard, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TypeVar

from gatepost.errors import RefusedError, WireError
from gatepost.model.gateway import Gateway
from gatepost.model.netmap import Endpoint
from gatepost.sessions.portmap_answers import Granted, Heard, Look, NatPmpAnswers, PcpAnswers
from gatepost.sessions.portmap_upnp import (
    Grant,
    Wish,
    check_port,
    close_request,
    open_port,
    renew_port,
)
from gatepost.sessions.portmap_values import (
    LIFETIME,
    Fetch,
    HttpReply,
    HttpRequest,
    Mapping,
    Output,
    Protocol,
    Seen,
    SendTo,
    believed,
    flaw_of,
    has_restarted,
)
from gatepost.wire import natpmp, pcp, upnp

TRIES = (0.0, 0.25, 0.75)  # seconds after the first packet at which it is sent (again)
LAST = 1.5  # seconds until silence is an answer; the gateway is one hop away
OTHERS = 0.3  # seconds for the other protocols after the first answer
MORE_UPNP = 0.05  # seconds for further UPnP gateways once all protocols have answered
REPLY_LAST = 6.0  # seconds for an HTTP reply, if the rim should forget to say that there is none

T = TypeVar("T")
Steps = Generator[float, Heard | None, None]
Asked = Generator[float, Heard | None, Mapping]


class Verdict(Enum):
    """What a look at the mapping showed."""

    HELD = auto()
    LOST = auto()
    SILENT = auto()


@dataclass(slots=True)
class Asker:
    """What is known of the gateway, and the words with which it is asked."""

    gateway: Gateway
    port: int
    nonce: bytes
    random_bytes: Callable[[int], bytes]
    clock: Callable[[], float]
    speaks_upnp: bool  # whether UPnP may be asked at all
    seen: Seen = field(default_factory=Seen)
    _grant: Grant | None = None  # the UPnP mapping in use
    _found: tuple[upnp.Found, ...] = ()
    _epochs: dict[Protocol, tuple[int, float]] = field(
        default_factory=dict[Protocol, tuple[int, float]]
    )
    _outputs: list[Output] = field(default_factory=list[Output])
    _calls: int = 0

    def take(self) -> list[Output]:
        outputs, self._outputs = self._outputs, []
        return outputs

    def spoken(self, first: Protocol | None) -> tuple[Protocol, ...]:
        """Return the protocols to ask by, in order, the one that worked before all others."""
        answers = {
            Protocol.NAT_PMP: self.seen.nat_pmp,
            Protocol.PCP: self.seen.pcp,
            Protocol.UPNP: self.seen.upnp and self.speaks_upnp,
        }
        spoken = [protocol for protocol, answered in answers.items() if answered]
        return tuple(sorted(spoken, key=lambda protocol: protocol is not first))

    def note_refusal(self, protocol: Protocol, reason: str) -> None:
        self.seen = replace(self.seen, refusals={**self.seen.refusals, protocol: reason})

    # --- which protocols are there --------------------------------------------------------

    def look(self) -> Steps:
        """Ask by all protocols at once, and set `seen`."""
        answers = Look()
        yield from self._exchange(self._greetings(), answers.accept_first)
        yield from self._linger(self.clock() + OTHERS, answers.accept)
        yield from self._linger(self.clock() + MORE_UPNP, answers.accept_more)
        self._found = tuple(answers.found) if self.speaks_upnp else ()
        self.seen = answers.seen()

    def _greetings(self) -> list[SendTo]:
        """Return the first question of each protocol.

        A search goes to the gateway itself before the group: many answer only one
        of the two, and a firewall on this machine then expects the answer. It names
        a gateway, because some devices answer "all" with their first service only.
        """
        service = self._service
        unicast = Endpoint(self.gateway.address, upnp.SEARCH_PORT)
        group = Endpoint(upnp.GROUP, upnp.SEARCH_PORT)
        searches = [
            SendTo(unicast, upnp.write_search(upnp.GATEWAY_1)),
            SendTo(group, upnp.write_search(upnp.GATEWAY_1)),
            SendTo(group, upnp.write_search(upnp.GATEWAY_2)),
        ]
        return [
            SendTo(service, natpmp.write_request(natpmp.AddressRequest())),
            SendTo(service, pcp.write_request(pcp.Announce(self.gateway.local))),
            *(searches if self.speaks_upnp else ()),
        ]

    # --- a port -----------------------------------------------------------------------------

    def ask(self, protocol: Protocol, previous: Endpoint | None) -> Asked:
        """Return a new or renewed mapping; raise `RefusedError` or `WireError`.

        The port that we had is asked for, else the number of our own: it is the
        easiest to recognise, and what a NAT would have chosen.
        """
        port = previous.port if previous else self.port
        granted = yield from self._asking(protocol, port, previous)
        if flaw := flaw_of(granted.external.address, granted.external.port):
            raise RefusedError(flaw)
        if not granted.lifetime:
            raise RefusedError("the mapping would end at once")
        return Mapping(protocol, granted.external, self.clock(), believed(granted.lifetime))

    def _asking(
        self, protocol: Protocol, port: int, previous: Endpoint | None
    ) -> Generator[float, Heard | None, Granted]:
        match protocol:
            case Protocol.NAT_PMP:
                return self._ask_nat_pmp(port)
            case Protocol.PCP:
                return self._ask_pcp(port, previous)
            case Protocol.UPNP:
                return self._ask_upnp(port)

    def _ask_nat_pmp(self, port: int) -> Generator[float, Heard | None, Granted]:
        answers = NatPmpAnswers(self.port)
        mapping = natpmp.MapRequest(internal=self.port, external=port, lifetime=LIFETIME)
        questions = [
            SendTo(self._service, natpmp.write_request(q))
            for q in (natpmp.AddressRequest(), mapping)
        ]
        yield from self._exchange(questions, answers.accept)
        granted = answers.result()
        self._note_epoch(Protocol.NAT_PMP, granted.epoch)
        return granted

    def _ask_pcp(
        self, port: int, previous: Endpoint | None
    ) -> Generator[float, Heard | None, Granted]:
        answers = PcpAnswers(self.port, self.nonce)
        question = pcp.Map(
            client=self.gateway.local,
            nonce=self.nonce,
            internal=self.port,
            external=port,
            address=previous.address if previous else pcp.ANY_V4,
            lifetime=LIFETIME,
        )
        questions = [SendTo(self._service, pcp.write_request(question))]
        yield from self._exchange(questions, answers.accept)
        granted = answers.result()
        self._note_epoch(Protocol.PCP, granted.epoch)
        return granted

    def _ask_upnp(self, port: int) -> Generator[float, Heard | None, Granted]:
        """Use the service that we know while it works, else find one."""
        wish = Wish(self.gateway.local, self.port, port)
        grant, self._grant = self._grant, None
        if grant is not None:
            try:
                self._grant = yield from self._converse(
                    renew_port(grant.service, wish, self.random_bytes)
                )
            except (RefusedError, WireError):
                grant = None
        if grant is None:
            self._grant = yield from self._converse(open_port(self._found, wish, self.random_bytes))
        assert self._grant is not None  # noqa: S101  # one of the two set it or raised
        return Granted(self._grant.external, LIFETIME)

    # --- is it still ours -------------------------------------------------------------------

    def check(self, mapping: Mapping) -> Generator[float, Heard | None, Verdict]:
        """Ask the gateway whether it still has the mapping."""
        if mapping.protocol is Protocol.UPNP:
            return (yield from self._check_upnp())
        if mapping.protocol is Protocol.PCP:
            question = pcp.write_request(pcp.Announce(self.gateway.local))
        else:
            question = natpmp.write_request(natpmp.AddressRequest())
        verdicts: list[Verdict] = []

        def accept(heard: Heard) -> bool:
            verdict = self.judge(heard, mapping)
            verdicts.extend(v for v in (verdict,) if v is not None)
            return verdict is not None

        yield from self._exchange([SendTo(self._service, question)], accept)
        return verdicts[0] if verdicts else Verdict.SILENT

    def judge(self, heard: Heard | None, mapping: Mapping) -> Verdict | None:
        """Say what an answer, asked for or not, means for a mapping; None is nothing."""
        match heard:
            case natpmp.AddressAnswer() if mapping.protocol is Protocol.NAT_PMP:
                is_other = heard.address != mapping.external.address
            case pcp.Announced(result=0) if mapping.protocol is Protocol.PCP:
                is_other = False
            case _:
                return None
        known = self._epochs.get(mapping.protocol)
        now = self.clock()
        self._note_epoch(mapping.protocol, heard.epoch)
        lost = is_other or (known is not None and has_restarted(*known, heard.epoch, now))
        return Verdict.LOST if lost else Verdict.HELD

    def _check_upnp(self) -> Generator[float, Heard | None, Verdict]:
        if self._grant is None:
            return Verdict.SILENT
        wish = Wish(self.gateway.local, self.port, self._grant.external.port)
        try:
            held = yield from self._converse(check_port(self._grant, wish))
        except (RefusedError, WireError):
            return Verdict.SILENT
        return Verdict.HELD if held else Verdict.LOST

    def _note_epoch(self, protocol: Protocol, epoch: int) -> None:
        self._epochs[protocol] = epoch, self.clock()

    # --- no more ------------------------------------------------------------------------------

    def release(self, mapping: Mapping) -> None:
        """Say that the port is not wanted any more; the answer does not matter."""
        match mapping.protocol:
            case Protocol.NAT_PMP:
                gone = natpmp.MapRequest(internal=self.port, external=0, lifetime=0)
                self._outputs.append(SendTo(self._service, natpmp.write_request(gone)))
            case Protocol.PCP:
                end = pcp.Map(
                    client=self.gateway.local, nonce=self.nonce, internal=self.port, lifetime=0
                )
                self._outputs.append(SendTo(self._service, pcp.write_request(end)))
            case Protocol.UPNP:
                if self._grant:
                    self._fetch(close_request(self._grant))

    # --- words --------------------------------------------------------------------------------

    @property
    def _service(self) -> Endpoint:
        return Endpoint(self.gateway.address, natpmp.PORT)

    def _exchange(self, questions: Sequence[SendTo], accept: Callable[[Heard], bool]) -> Steps:
        """Ask again and again until an answer is accepted or none will come."""
        start, tries = self.clock(), 0
        while (now := self.clock()) < start + LAST:
            if tries < len(TRIES) and now >= start + TRIES[tries]:
                tries += 1
                self._outputs += questions
            heard = yield start + (TRIES[tries] if tries < len(TRIES) else LAST)
            if heard is not None and accept(heard):
                return

    def _linger(self, until: float, accept: Callable[[Heard], bool]) -> Steps:
        """Wait for more answers to what was asked, until one is accepted as the last."""
        while self.clock() < until:
            heard = yield until
            if heard is not None and accept(heard):
                return

    def _converse(
        self, conversation: Generator[HttpRequest, HttpReply | None, T]
    ) -> Generator[float, Heard | None, T]:
        """Hold a conversation by HTTP and return what it returns."""
        try:
            request = next(conversation)
            while True:
                number = self._fetch(request)
                reply = yield from self._reply(number)
                request = conversation.send(reply)
        except StopIteration as done:
            result: T = done.value
            return result

    def _fetch(self, request: HttpRequest) -> int:
        self._calls += 1
        self._outputs.append(Fetch(self._calls, request))
        return self._calls

    def _reply(self, number: int) -> Generator[float, Heard | None, HttpReply | None]:
        until = self.clock() + REPLY_LAST
        while self.clock() < until:
            match (yield until):
                case (int() as other, reply) if other == number:
                    return reply
                case _:
                    continue
        return None
