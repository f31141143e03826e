"""Takes what a node says about itself into its report, and refuses what it cannot mean."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import msgspec

from gatepost.coordination.records import Report
from gatepost.coordination.routes import LONGEST_LIST
from gatepost.errors import Malformed
from gatepost.model.keys import DiscoPublic
from gatepost.model.netmap import IPNetwork
from gatepost.wire.hostinfo import Hostinfo
from gatepost.wire.netmap import MapRequest

MOST_ENDPOINTS = 64  # a machine with many interfaces reports some twenty
MOST_SERVICES = 256


def report_of(old: Report, hostinfo: Hostinfo | None, *, version: int) -> Report:
    """Return the report with this host information; raise `Malformed` for a wrong prefix."""
    if hostinfo is None:
        return replace(old, version=version or old.version)
    if hostinfo.net_info is None and old.hostinfo.net_info is not None:
        # Clients leave NetInfo out until their first netcheck; the relay stays known.
        hostinfo = msgspec.structs.replace(hostinfo, net_info=old.hostinfo.net_info)
    if len(hostinfo.services or ()) > MOST_SERVICES:
        raise Malformed(f"{len(hostinfo.services or ())} services are over {MOST_SERVICES}")
    routes = _prefixes(hostinfo.routable_ips or ())
    return replace(old, hostinfo=hostinfo, routes=routes, version=version or old.version)


def updated(old: Report, request: MapRequest, now: float) -> Report:
    """Return the report after a lite update. What the request leaves out stays."""
    report = report_of(old, request.hostinfo, version=request.version)
    if request.endpoints is not None:
        if len(request.endpoints) > MOST_ENDPOINTS:
            raise Malformed(f"{len(request.endpoints)} endpoints are over {MOST_ENDPOINTS}")
        report = replace(report, endpoints=tuple(map(_endpoint, request.endpoints)))
    if not request.disco_key.is_zero:
        # A zero key would cut the node off in every peer, so it is never taken.
        report = replace(report, disco=DiscoPublic(request.disco_key.raw))
    return replace(report, last_seen=now)


def _prefixes(texts: tuple[str, ...]) -> tuple[IPNetwork, ...]:
    if len(texts) > LONGEST_LIST:
        raise Malformed(f"{len(texts)} announced routes are over {LONGEST_LIST}")
    try:
        return tuple(dict.fromkeys(ip_network(t) for t in texts))
    except ValueError as error:
        raise Malformed(f"an announced route is not a network prefix: {error}") from error


def _endpoint(text: str) -> str:
    """Return "address:port" as it came; raise `Malformed` if a client could not read it."""
    host, _, port = text.rpartition(":")
    try:
        address = ip_address(host[1:-1] if host.startswith("[") else host)
        if (address.version == 6) != host.startswith("["):  # noqa: PLR2004  # IP versions and the last port need no name
            raise ValueError(host)  # noqa: TRY301  # one message for every mistake
        if not (port.isascii() and port.isdigit() and 0 < int(port) <= 65535):  # noqa: PLR2004
            raise ValueError(port)  # noqa: TRY301
    except ValueError as error:
        raise Malformed(f"{text!r} is not an endpoint such as 192.0.2.1:41641") from error
    return text
