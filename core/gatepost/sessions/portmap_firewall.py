"""The conversation with a UPnP gateway about its IPv6 firewall: a pinhole, and whether it is there.

As `sessions.portmap_upnp`: a generator that yields requests and is sent
replies; `RefusedError` with the reason when the gateway does not do it.
Source: UPnP WANIPv6FirewallControl:1 section 2.5.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from gatepost.errors import RefusedError, WireError
from gatepost.model.netmap import IPAddress
from gatepost.sessions.portmap_upnp import FaultError, call, find_services, in_order
from gatepost.sessions.portmap_values import LIFETIME, HttpReply, HttpRequest
from gatepost.wire.upnp import FIREWALLS, Found, Service, read_address, write_call

_UDP = "17"
_NO_SUCH_ENTRY = 704
_YES = frozenset({"1", "true", "yes"})

Opening = Generator[HttpRequest, HttpReply | None, "Pinhole"]


@dataclass(frozen=True, slots=True)
class Pinhole:
    """What a service lets through, by its own number, 0 to 65535."""

    service: Service
    number: int


def open_pinhole(found: Sequence[Found], client: IPAddress, port: int) -> Opening:
    """Let UDP from everybody through to `port` of `client`, by the first gateway that does it."""
    reasons: list[str] = []
    for gateway in in_order(found):
        try:
            services = yield from find_services(gateway, FIREWALLS)
            return (yield from _open(services[0], client, port))
        except (RefusedError, WireError) as error:
            reasons.append(str(error))
    raise RefusedError("; ".join(reasons) or "no gateway was found")


def renew_pinhole(pinhole: Pinhole) -> Opening:
    """Let a pinhole live on."""
    arguments = {"UniqueID": str(pinhole.number), "NewLeaseTime": str(LIFETIME)}
    yield from call(pinhole.service, "UpdatePinhole", arguments)
    return pinhole


def check_pinhole(pinhole: Pinhole) -> Generator[HttpRequest, HttpReply | None, bool]:
    """Say whether the gateway still has it."""
    try:
        yield from call(pinhole.service, "GetPinholePackets", {"UniqueID": str(pinhole.number)})
    except FaultError as error:
        return error.code != _NO_SUCH_ENTRY  # not every gateway can be asked
    return True


def close_request(pinhole: Pinhole) -> HttpRequest:
    """Return the request that removes a pinhole; the reply does not matter."""
    arguments = {"UniqueID": str(pinhole.number)}
    action, body = write_call(pinhole.service.kind, "DeletePinhole", arguments)
    return HttpRequest(read_address(pinhole.service.control), action, body)


def _open(service: Service, client: IPAddress, port: int) -> Opening:
    status = yield from call(service, "GetFirewallStatus", {})
    if status.get("FirewallEnabled", "1").lower() not in _YES:
        raise RefusedError("the router has no firewall for IPv6")
    if status.get("InboundPinholeAllowed", "1").lower() not in _YES:
        raise RefusedError("opening ports is switched off in the router's firewall for IPv6")
    arguments = {
        "RemoteHost": "",
        "RemotePort": "0",
        "InternalClient": str(client),
        "InternalPort": str(port),
        "Protocol": _UDP,
        "LeaseTime": str(LIFETIME),
    }
    reply = yield from call(service, "AddPinhole", arguments)
    text = reply.get("UniqueID", "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 5):  # noqa: PLR2004  # digits
        raise RefusedError(f"{text[:40]!r} is not the number of a pinhole")
    return Pinhole(service, int(text))
