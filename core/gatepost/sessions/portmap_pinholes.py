"""The questions to one IPv6 gateway: to let in packets of everybody to our port.

Nothing is translated there, but the firewalls of most home routers let in
only who was written to (RFC 6092). PCP (RFC 6887 section 11, where the
external address is our own) and UPnP's WANIPv6FirewallControl open a port. Both
want to be asked from the very address that it is opened for.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from ipaddress import IPv6Address

from gatepost.errors import RefusedError, WireError
from gatepost.model.netmap import Endpoint
from gatepost.sessions.portmap_answers import Granted, Heard, Look
from gatepost.sessions.portmap_firewall import (
    Pinhole,
    check_pinhole,
    close_request,
    open_pinhole,
    renew_pinhole,
)
from gatepost.sessions.portmap_questions import Asked, Questions, Steps, Verdict
from gatepost.sessions.portmap_values import LIFETIME, Mapping, Protocol, SendTo, flaw_of_v6
from gatepost.wire import pcp, upnp

_PROTOCOLS = frozenset({Protocol.PCP, Protocol.UPNP})
_VERSION = 6
_ANY = IPv6Address(0)


@dataclass(slots=True)
class PinholeAsker(Questions):
    """Asks the firewall of an IPv6 router to let everybody in to one port."""

    _pinhole: Pinhole | None = None  # by UPnP

    def look(self) -> Steps:
        """Ask by both protocols at once, and set `seen`."""
        return self._look_by(self._greetings(), Look(_PROTOCOLS))

    def _greetings(self) -> list[SendTo]:
        kinds = (upnp.GATEWAY_2, upnp.GATEWAY_1)
        places = (self.gateway.address, upnp.GROUP_V6)
        searches = [
            SendTo(Endpoint(place, upnp.SEARCH_PORT), upnp.write_search(kind, _VERSION))
            for place in places
            for kind in kinds
        ]
        return [
            SendTo(self._service, pcp.write_request(pcp.Announce(self.gateway.local))),
            *(searches if self.speaks_upnp else ()),
        ]

    def ask(self, protocol: Protocol, previous: Endpoint | None) -> Asked:  # noqa: ARG002  # it is always our own
        """Return an opened or renewed port; raise `RefusedError` or `WireError`."""
        if protocol is Protocol.PCP:
            granted = yield from self._ask_pcp(self.port, _ANY)
        else:
            granted = yield from self._ask_upnp()
        if flaw := flaw_of_v6(granted.external.address, granted.external.port):
            raise RefusedError(flaw)
        if not granted.lifetime:
            raise RefusedError("the port would be closed at once")
        return self._mapping(protocol, granted.external, granted.lifetime)

    def _ask_upnp(self) -> Generator[float, Heard | None, Granted]:
        """Keep the pinhole that we have, else make one."""
        if self._pinhole is not None:  # known also while it is renewed: it may be released then
            try:
                self._pinhole = yield from self._converse(renew_pinhole(self._pinhole))
            except (RefusedError, WireError):
                self._pinhole = None
        if self._pinhole is None:
            opening = open_pinhole(self._found, self.gateway.local, self.port)
            self._pinhole = yield from self._converse(opening)
        return Granted(Endpoint(self.gateway.local, self.port), LIFETIME)

    def check(self, mapping: Mapping) -> Generator[float, Heard | None, Verdict]:
        """Ask the gateway whether it still lets packets through."""
        if mapping.protocol is Protocol.PCP:
            question = pcp.write_request(pcp.Announce(self.gateway.local))
            return (yield from self._check_by(question, mapping))
        if self._pinhole is None:
            return Verdict.SILENT
        try:
            held = yield from self._converse(check_pinhole(self._pinhole))
        except (RefusedError, WireError):
            return Verdict.SILENT
        return Verdict.HELD if held else Verdict.LOST

    def release(self, mapping: Mapping) -> None:
        """Say that the port is not wanted any more; the answer does not matter."""
        if mapping.protocol is Protocol.PCP:
            self._release_pcp(_ANY)
        elif self._pinhole:
            self._fetch(close_request(self._pinhole))
