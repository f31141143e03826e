"""The conversation with a UPnP gateway: a generator that yields requests and is sent replies.

A reply of None is none in time. Every function raises `RefusedError` with the
reason when the gateway does not do what it is asked for. Only the gateway's own
address is ever asked: of a URL that it gives, port and path count.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from gatepost.errors import RefusedError, WireError
from gatepost.model.netmap import Endpoint, IPAddress
from gatepost.sessions.portmap_values import LIFETIME, HttpReply, HttpRequest, flaw_of
from gatepost.wire.upnp import (
    CONNECTIONS,
    Fault,
    Found,
    Service,
    read_address,
    read_description,
    read_reply,
    write_call,
)

DESCRIPTION = "gatepost"  # what the gateway shows beside the mapping
MOST_SERVICES = 4  # that are asked for their state
TRIES = 3  # external ports that are tried
LOWEST = 1024  # external ports below are not wished for: many gateways refuse them

_OK = 200
_CONNECTED = frozenset({"Connected", "Up"})
_NO_SUCH_ACTION = frozenset({401, 602})
_NO_SUCH_ENTRY = frozenset({713, 714})
_PERMANENT_ONLY = frozenset({402, 725})  # 402: how some gateways say 725
_TAKEN = frozenset({718, 724, 726, 727, 729})

Conversation = Generator[HttpRequest, HttpReply | None, "Grant"]
Called = Generator[HttpRequest, HttpReply | None, Mapping[str, str]]


class FaultError(RefusedError):
    """A call was refused with this code."""

    def __init__(self, action: str, fault: Fault) -> None:
        super().__init__(f"{action} is refused: {fault.text or 'no reason'} ({fault.code})")
        self.code = fault.code


@dataclass(frozen=True, slots=True)
class Grant:
    """A mapping and the service that made it."""

    service: Service
    external: Endpoint


@dataclass(frozen=True, slots=True)
class Wish:
    """UDP to `external` of the gateway shall come to `port` of `client`."""

    client: IPAddress
    port: int
    external: int


def open_port(
    found: Sequence[Found], wish: Wish, random_bytes: Callable[[int], bytes]
) -> Conversation:
    """Map a port by the first of the gateways found that does it."""
    reasons: list[str] = []
    for gateway in in_order(found):
        try:
            service = yield from _find_service(gateway)
            return (yield from renew_port(service, wish, random_bytes))
        except (RefusedError, WireError) as error:
            reasons.append(str(error))
    raise RefusedError("; ".join(reasons) or "no gateway was found")


def renew_port(service: Service, wish: Wish, random_bytes: Callable[[int], bytes]) -> Conversation:
    """Map a port by a service that is known."""
    port = wish.external if wish.external >= LOWEST else _random_port(random_bytes)
    for left in reversed(range(TRIES)):
        try:
            port = yield from _add(service, wish, port)
            break
        except FaultError as error:
            if error.code not in _TAKEN or not left:
                raise
            port = _random_port(random_bytes)
    address = yield from _external_address(service)
    if flaw := flaw_of(address, port):
        raise RefusedError(flaw)
    return Grant(service, Endpoint(address, port))


def check_port(grant: Grant, wish: Wish) -> Generator[HttpRequest, HttpReply | None, bool]:
    """Say whether the gateway still has the mapping, at the same address."""
    address = yield from _external_address(grant.service)
    if address != grant.external.address:
        return False
    try:
        entry = yield from call(
            grant.service, "GetSpecificPortMappingEntry", _entry(grant.external.port)
        )
    except FaultError as error:
        return error.code not in _NO_SUCH_ENTRY  # not every gateway can be asked
    return (entry.get("NewInternalClient"), entry.get("NewInternalPort")) == (
        str(wish.client),
        str(wish.port),
    )


def close_request(grant: Grant) -> HttpRequest:
    """Return the request that removes a mapping; the reply does not matter."""
    action, body = write_call(grant.service.kind, "DeletePortMapping", _entry(grant.external.port))
    return HttpRequest(read_address(grant.service.control), action, body)


def find_services(
    gateway: Found, kinds: tuple[str, ...] = CONNECTIONS
) -> Generator[HttpRequest, HttpReply | None, tuple[Service, ...]]:
    """Return the services of these kinds that a gateway describes, one at least."""
    reply = yield HttpRequest(read_address(gateway.location))
    if reply is None or reply.status != _OK:
        raise RefusedError(f"no description at {gateway.location}")
    services = read_description(reply.body, gateway.location, kinds)
    if not services:
        what = "maps ports" if kinds == CONNECTIONS else "opens ports for IPv6"
        raise RefusedError(f"{gateway.location} describes no service that {what}")
    return services


def _find_service(gateway: Found) -> Generator[HttpRequest, HttpReply | None, Service]:
    services = yield from find_services(gateway)
    if len(services) == 1:
        return services[0]
    return (yield from _best(services[:MOST_SERVICES]))


def _best(services: Sequence[Service]) -> Generator[HttpRequest, HttpReply | None, Service]:
    """Prefer a line that is up with a public address, then one with any, then one that is up."""
    ranked: list[tuple[int, Service]] = []
    for service in services:
        rank = yield from _rank(service)
        if rank == 0:
            return service
        ranked.append((rank, service))
    return min(ranked, key=lambda r: r[0])[1]


def _rank(service: Service) -> Generator[HttpRequest, HttpReply | None, int]:
    try:
        status = yield from call(service, "GetStatusInfo", {})
    except (RefusedError, WireError):
        return 3
    if status.get("NewConnectionStatus") not in _CONNECTED:
        return 3
    try:
        address = yield from _external_address(service)
    except (RefusedError, WireError):
        return 2
    return 1 if address.is_private else 0


def _add(service: Service, wish: Wish, port: int) -> Generator[HttpRequest, HttpReply | None, int]:
    """Return the external port; ask for a mapping without end where there is no other."""
    try:
        return (yield from _add_for(service, wish, port, LIFETIME))
    except FaultError as error:
        if error.code not in _PERMANENT_ONLY:
            raise
    return (yield from _add_for(service, wish, port, 0))


def _add_for(
    service: Service, wish: Wish, port: int, lifetime: int
) -> Generator[HttpRequest, HttpReply | None, int]:
    arguments = {
        **_entry(port),
        "NewInternalPort": str(wish.port),
        "NewInternalClient": str(wish.client),
        "NewEnabled": "1",
        "NewPortMappingDescription": DESCRIPTION,
        "NewLeaseDuration": str(lifetime),
    }
    if service.kind == CONNECTIONS[0]:  # of version 2: the gateway takes another port by itself
        try:
            reply = yield from call(service, "AddAnyPortMapping", arguments)
            return _port(reply.get("NewReservedPort", ""))
        except FaultError as error:
            if error.code not in _NO_SUCH_ACTION:
                raise
    yield from call(service, "AddPortMapping", arguments)
    return port


def _external_address(
    service: Service,
) -> Generator[HttpRequest, HttpReply | None, IPv4Address]:
    reply = yield from call(service, "GetExternalIPAddress", {})
    text = reply.get("NewExternalIPAddress", "")
    try:
        return IPv4Address(text)
    except ValueError:
        raise RefusedError(f"{text[:40]!r} is not an external address") from None


def call(service: Service, action: str, arguments: Mapping[str, str]) -> Called:
    """Return the results of a call; a fault is a `FaultError`."""
    name, body = write_call(service.kind, action, arguments)
    reply = yield HttpRequest(read_address(service.control), name, body)
    if reply is None:
        raise RefusedError(f"{action} is not answered")
    answer = read_reply(reply.body, action)
    if isinstance(answer, Fault):
        raise FaultError(action, answer)
    return answer


def _entry(port: int) -> dict[str, str]:
    return {"NewRemoteHost": "", "NewExternalPort": str(port), "NewProtocol": "UDP"}


def _port(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 1 << 16:  # noqa: PLR2004  # digits
        return int(text)
    raise RefusedError(f"{text[:40]!r} is not an external port")


def _random_port(random_bytes: Callable[[int], bytes]) -> int:
    return LOWEST + int.from_bytes(random_bytes(4), "big") % ((1 << 16) - LOWEST)


def in_order(found: Sequence[Found]) -> list[Found]:
    """Return each location once, of several device versions the newest, always in one order."""
    by_location = {f.location: f for f in sorted(found, key=lambda f: f.name)}
    return sorted(by_location.values(), key=lambda f: f.location)
