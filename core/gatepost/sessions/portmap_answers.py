"""Collect the answers to a question that several packets answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address

from gatepost.errors import RefusedError
from gatepost.model.netmap import Endpoint
from gatepost.sessions.portmap_values import HttpReply, Protocol, Seen
from gatepost.wire import natpmp, pcp, upnp

MOST_FOUND = 10  # UPnP gateways that are remembered
WRONG_VERSION = 1  # the result for a packet of the other protocol on the same port


@dataclass(frozen=True, slots=True)
class News:
    """The gateway told all hosts that it has just begun, or has another address."""


Heard = natpmp.Answer | pcp.Answer | upnp.Found | News | tuple[int, HttpReply | None]


@dataclass(frozen=True, slots=True)
class Granted:
    """What a gateway granted: `lifetime` in seconds, `epoch` 0 where the protocol has none."""

    external: Endpoint
    lifetime: int
    epoch: int = 0


@dataclass(slots=True)
class Look:
    """Which of the protocols that are asked answer at all."""

    protocols: frozenset[Protocol] = frozenset(Protocol)
    found: dict[upnp.Found, None] = field(default_factory=dict[upnp.Found, None])
    _spoken: set[Protocol] = field(default_factory=set[Protocol])
    _refusals: dict[Protocol, str] = field(default_factory=dict[Protocol, str])

    def accept(self, heard: Heard) -> bool:
        """Take an answer; return whether there is one by each protocol."""
        match heard:
            case natpmp.AddressAnswer():
                self._spoken.add(Protocol.NAT_PMP)
            case natpmp.Refusal(result=result) if result != WRONG_VERSION:
                self._refusals[Protocol.NAT_PMP] = heard.reason
            case pcp.Announced(result=0):
                self._spoken.add(Protocol.PCP)
            case pcp.Announced(result=result) if result != WRONG_VERSION:
                self._refusals[Protocol.PCP] = heard.reason
            case upnp.Found() if len(self.found) < MOST_FOUND:
                self._spoken.add(Protocol.UPNP)
                self.found[heard] = None
            case _:
                pass
        return self._spoken | self._refusals.keys() >= self.protocols

    def accept_first(self, heard: Heard) -> bool:
        """Take an answer; return whether it is one by any protocol."""
        self.accept(heard)
        return bool(self._spoken or self._refusals)

    def accept_more(self, heard: Heard) -> bool:
        """Take an answer; there may always be more."""
        self.accept(heard)
        return False

    def seen(self) -> Seen:
        asked_nat_pmp = Protocol.NAT_PMP in self.protocols
        return Seen(
            nat_pmp=Protocol.NAT_PMP in self._spoken if asked_nat_pmp else None,
            pcp=Protocol.PCP in self._spoken,
            upnp=Protocol.UPNP in self._spoken,
            refusals=self._refusals,
        )


@dataclass(slots=True)
class NatPmpAnswers:
    """The public address and the mapping of our `port`."""

    port: int
    _address: IPv4Address | None = None
    _mapped: natpmp.MapAnswer | None = None
    _refusal: str = ""

    def accept(self, heard: Heard) -> bool:
        match heard:
            case natpmp.AddressAnswer():
                self._address = heard.address
            case natpmp.MapAnswer(internal=internal) if internal == self.port:
                self._mapped = heard
            case natpmp.Refusal(result=result) if result != WRONG_VERSION:
                self._refusal = heard.reason
            case _:
                return False
        return bool(self._refusal) or (self._address is not None and self._mapped is not None)

    def result(self) -> Granted:
        """Return the mapping; raise `RefusedError`."""
        if self._address is None or self._mapped is None:
            raise RefusedError(self._refusal or "no answer")
        external = Endpoint(self._address, self._mapped.external)
        return Granted(external, self._mapped.lifetime, self._mapped.epoch)


@dataclass(slots=True)
class PcpAnswers:
    """The mapping of our `port` under our `nonce`."""

    port: int
    nonce: bytes
    _mapped: pcp.Mapped | None = None

    def accept(self, heard: Heard) -> bool:
        match heard:
            case pcp.Mapped(nonce=nonce, internal=port) if (nonce, port) == (self.nonce, self.port):
                self._mapped = heard
                return True
            case _:
                return False

    def result(self) -> Granted:
        """Return the mapping; raise `RefusedError`."""
        if self._mapped is None or self._mapped.result:
            raise RefusedError(self._mapped.reason if self._mapped else "no answer")
        external = Endpoint(self._mapped.address, self._mapped.external)
        return Granted(external, self._mapped.lifetime, self._mapped.epoch)
