"""The questions to one IPv4 gateway: what it speaks, for a port, and whether it is still ours."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from gatepost.errors import RefusedError, WireError
from gatepost.model.netmap import Endpoint
from gatepost.sessions.portmap_answers import Granted, Heard, Look, NatPmpAnswers
from gatepost.sessions.portmap_questions import Asked, Questions, Steps, Verdict
from gatepost.sessions.portmap_upnp import (
    Grant,
    Wish,
    check_port,
    close_request,
    open_port,
    renew_port,
)
from gatepost.sessions.portmap_values import LIFETIME, Mapping, Protocol, SendTo, flaw_of
from gatepost.wire import natpmp, pcp, upnp


@dataclass(slots=True)
class Asker(Questions):
    """Asks for a port of a NAT by NAT-PMP, PCP and UPnP."""

    _grant: Grant | None = None  # the UPnP mapping in use

    # --- which protocols are there --------------------------------------------------------

    def look(self) -> Steps:
        """Ask by all protocols at once, and set `seen`."""
        return self._look_by(self._greetings(), Look())

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
        return self._mapping(protocol, granted.external, granted.lifetime)

    def _asking(
        self, protocol: Protocol, port: int, previous: Endpoint | None
    ) -> Generator[float, Heard | None, Granted]:
        match protocol:
            case Protocol.NAT_PMP:
                return self._ask_nat_pmp(port)
            case Protocol.PCP:
                return self._ask_pcp(port, previous.address if previous else pcp.ANY_V4)
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

    def _ask_upnp(self, port: int) -> Generator[float, Heard | None, Granted]:
        """Use the service that we know while it works, else find one."""
        wish = Wish(self.gateway.local, self.port, port)
        if self._grant is not None:  # known also while it is renewed: it may be released then
            try:
                self._grant = yield from self._converse(
                    renew_port(self._grant.service, wish, self.random_bytes)
                )
            except (RefusedError, WireError):
                self._grant = None
        if self._grant is None:
            self._grant = yield from self._converse(open_port(self._found, wish, self.random_bytes))
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
        return (yield from self._check_by(question, mapping))

    def _check_upnp(self) -> Generator[float, Heard | None, Verdict]:
        if self._grant is None:
            return Verdict.SILENT
        wish = Wish(self.gateway.local, self.port, self._grant.external.port)
        try:
            held = yield from self._converse(check_port(self._grant, wish))
        except (RefusedError, WireError):
            return Verdict.SILENT
        return Verdict.HELD if held else Verdict.LOST

    # --- no more ------------------------------------------------------------------------------

    def release(self, mapping: Mapping) -> None:
        """Say that the port is not wanted any more; the answer does not matter."""
        match mapping.protocol:
            case Protocol.NAT_PMP:
                gone = natpmp.MapRequest(internal=self.port, external=0, lifetime=0)
                self._outputs.append(SendTo(self._service, natpmp.write_request(gone)))
            case Protocol.PCP:
                self._release_pcp(pcp.ANY_V4)
            case Protocol.UPNP:
                if self._grant:
                    self._fetch(close_request(self._grant))
