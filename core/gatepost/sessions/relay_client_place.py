"""Our end of one place at a peer relay: bind it, and know for how long it is ours.

               challenge                 the peer is heard
    BINDING --------------> ANSWERED -----------------------> OPEN
       |                       |  |                             |  nothing heard for the
       | 30 s                  |  | 30 s                        |  steady lifetime
       +-----------> gone <----+--+-------------- gone <--------+

From OPEN a place may be bound again (`rebind`): our address has changed, or
nothing was heard lately. The relay goes on sending to the old address until the
new answer reaches it, so the path stays until then.

"Heard" is any packet of path discovery through the relay. The relay's own
acknowledgement does not exist: that an answer arrived is seen only by what
comes through afterwards, so the answer is repeated a few times. A superfluous
one is dropped by the relay. Source: protocol document 4.
"""

from __future__ import annotations

import enum

from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.model.netmap import Endpoint
from gatepost.sessions.paths_candidates import is_possible
from gatepost.sessions.paths_outputs import ByRelay, RelayPath, Send
from gatepost.sessions.relay_client_numbers import (
    ANSWER_AGAIN,
    BIND_AGAIN,
    BIND_FOR,
    HEARD_LATELY,
    MOST_ADDRESSES,
    NANOSECONDS,
    STEADY_FROM,
    STEADY_TO,
)
from gatepost.wire.disco_relay import Allocation, BindAnswer, BindChallenge, BindRelay


class PlaceState(enum.Enum):
    BINDING = "asked the relay for a challenge"
    ANSWERED = "sent the challenge back; nothing came through yet"
    OPEN = "the peer is heard through the relay"


class Place:
    """One binding. `generation` is not 0 and new for each binding. Times are of one clock."""

    __slots__ = (
        "_again_at", "_answer", "_ends_at", "_generation", "_tries", "allocation", "heard_at",
        "path", "peer", "remote", "state", "targets", "via",
    )  # fmt: skip

    def __init__(
        self,
        peer: NodePublic,
        remote: DiscoPublic,
        allocation: Allocation,
        via: NodePublic | None = None,
    ) -> None:
        self.peer = peer
        self.remote = remote  # the peer's disco key
        self.allocation = allocation
        self.via = via  # the relay's node that gave it; None: the peer told us
        self.path: RelayPath | None = None  # what was last bound
        self.targets: tuple[Endpoint, ...] = ()  # addresses that the binding asks
        self.state = PlaceState.BINDING
        self.heard_at = float("-inf")
        self._answer: Send | None = None
        self._generation = self._tries = 0
        self._again_at = self._ends_at = float("inf")

    @property
    def key(self) -> tuple[DiscoPublic, int]:
        """The relay's disco key and the VNI, which name the place."""
        return self.allocation.relay, self.allocation.vni

    @property
    def timer(self) -> float:
        """When to call `on_timer`."""
        return min(self._again_at, self._ends_at)

    def addresses(self) -> tuple[Endpoint, ...]:
        """Return the relay's addresses that are worth a packet."""
        return tuple(a for a in self.allocation.addresses if is_possible(a))[:MOST_ADDRESSES]

    def was_heard_lately(self, now: float) -> bool:
        return now - self.heard_at <= HEARD_LATELY

    def is_stale(self, now: float) -> bool:
        """Say whether it may be given up for another: it worked once and is silent now."""
        return self.state is PlaceState.OPEN and not self.was_heard_lately(now)

    def is_over(self, now: float) -> bool:
        """Say whether it ended: nobody came, or nothing was heard for too long."""
        return now >= self._ends_at

    def bind(self, generation: int, now: float, *, same: bool = False) -> list[Send]:
        """Ask all of the relay's addresses for a challenge; the first answer counts.

        `same` asks only the address that the path leads to already.
        """
        self.targets = (self.path.server,) if same and self.path else self.addresses()
        self.state = PlaceState.BINDING
        self._generation = generation
        self._answer = None
        self._tries = 0
        self._again_at = now + BIND_AGAIN[0]
        self._ends_at = now + min(self.allocation.bind_lifetime / NANOSECONDS, BIND_FOR)
        return self._requests()

    def on_challenge(self, challenge: BindChallenge, server: Endpoint, now: float) -> bool:
        """Take a challenge; say whether it is for us and now, so that our end is as good as bound.

        It must come from an address of the relay and name this place, this
        binding and this peer: a relay cannot make us answer for somebody else.
        """
        allocation = self.allocation
        if (
            self.state is not PlaceState.BINDING
            or (challenge.vni, challenge.generation) != (allocation.vni, self._generation)
            or challenge.remote != self.remote
            or server not in self.targets
        ):
            return False
        way = ByRelay(server, allocation.vni)
        answer = BindAnswer(
            vni=allocation.vni,
            generation=self._generation,
            remote=self.remote,
            challenge=challenge.challenge,
        )
        self._answer = Send(allocation.relay, way, answer)
        self.path = RelayPath(
            server=server,
            vni=allocation.vni,
            relay=allocation.relay,
            generation=self._generation,
        )
        self.state = PlaceState.ANSWERED
        self._tries = 0
        self._again_at = now + ANSWER_AGAIN[0]
        return True

    def answer(self) -> list[Send]:
        """Return the answer to the challenge, none before it came."""
        return [self._answer] if self._answer else []

    def on_heard(self, now: float) -> None:
        """Note a packet of the peer that came through the relay."""
        self.heard_at = now
        if self.state is PlaceState.BINDING:
            return  # by the binding before this one
        self.state = PlaceState.OPEN
        self._again_at = float("inf")
        steady = self.allocation.steady_lifetime / NANOSECONDS
        self._ends_at = now + min(max(steady, STEADY_FROM), STEADY_TO)

    def on_timer(self, now: float) -> list[Send]:
        """Repeat what may have been lost."""
        if now < self._again_at:
            return []
        self._tries += 1
        is_binding = self.state is PlaceState.BINDING
        waits = BIND_AGAIN if is_binding else ANSWER_AGAIN
        self._again_at = now + waits[self._tries] if self._tries < len(waits) else float("inf")
        return self._requests() if is_binding else self.answer()

    def _requests(self) -> list[Send]:
        request = BindRelay(
            vni=self.allocation.vni, generation=self._generation, remote=self.remote
        )
        return [
            Send(self.allocation.relay, ByRelay(address, self.allocation.vni), request)
            for address in self.targets
        ]
