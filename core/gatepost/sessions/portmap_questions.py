"""The words of all conversations with a gateway: questions by datagram and HTTP, and PCP.

Every method that waits is a generator as `sessions.portmap` describes: it
yields when to go on at the latest, and is sent what was heard, or None. What is
asked of whom: `sessions.portmap_ask` for IPv4, `sessions.portmap_pinholes` for IPv6.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TypeVar

from gatepost.model.gateway import AnyGateway
from gatepost.model.netmap import Endpoint, IPAddress
from gatepost.sessions.portmap_answers import Granted, Heard, Look, PcpAnswers
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
class Questions:
    """What is known of the gateway, and the words with which it is asked."""

    gateway: AnyGateway
    port: int
    nonce: bytes
    random_bytes: Callable[[int], bytes]
    clock: Callable[[], float]
    speaks_upnp: bool  # whether UPnP may be asked at all
    seen: Seen = field(default_factory=Seen)
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

    # --- which protocols are there --------------------------------------------------------

    def _look_by(self, greetings: Sequence[SendTo], answers: Look) -> Steps:
        """Ask by all protocols at once, and set `seen`."""
        yield from self._exchange(greetings, answers.accept_first)
        yield from self._linger(self.clock() + OTHERS, answers.accept)
        yield from self._linger(self.clock() + MORE_UPNP, answers.accept_more)
        self._found = tuple(answers.found) if self.speaks_upnp else ()
        self.seen = answers.seen()

    # --- PCP --------------------------------------------------------------------------------

    def _ask_pcp(self, port: int, address: IPAddress) -> Generator[float, Heard | None, Granted]:
        """Ask for a mapping, at an external `address` if it is not unspecified."""
        answers = PcpAnswers(self.port, self.nonce)
        question = pcp.Map(
            client=self.gateway.local,
            nonce=self.nonce,
            internal=self.port,
            external=port,
            address=address,
            lifetime=LIFETIME,
        )
        questions = [SendTo(self._service, pcp.write_request(question))]
        yield from self._exchange(questions, answers.accept)
        granted = answers.result()
        self._note_epoch(Protocol.PCP, granted.epoch)
        return granted

    def _release_pcp(self, address: IPAddress) -> None:
        end = pcp.Map(
            client=self.gateway.local,
            nonce=self.nonce,
            internal=self.port,
            address=address,
            lifetime=0,
        )
        self._outputs.append(SendTo(self._service, pcp.write_request(end)))

    def _check_by(
        self, question: bytes, mapping: Mapping
    ) -> Generator[float, Heard | None, Verdict]:
        """Ask a question whose answer tells whether the gateway has begun anew."""
        verdicts: list[Verdict] = []

        def accept(heard: Heard) -> bool:
            verdict = self.judge(heard, mapping)
            verdicts.extend(v for v in (verdict,) if v is not None)
            return verdict is not None

        yield from self._exchange([SendTo(self._service, question)], accept)
        return verdicts[0] if verdicts else Verdict.SILENT

    def _note_epoch(self, protocol: Protocol, epoch: int) -> None:
        self._epochs[protocol] = epoch, self.clock()

    def _mapping(self, protocol: Protocol, external: Endpoint, lifetime: int) -> Mapping:
        return Mapping(protocol, external, self.clock(), believed(lifetime))

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
