"""From what the wire says about names and resolvers to the model's nouns.

What cannot be used is left out and reported. Source: protocol document 7.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from gatepost.errors import Malformed
from gatepost.model.netmap import DnsRoute, DnsSettings, Endpoint, IPAddress
from gatepost.sessions.netmap_nodes import parse_address, parse_endpoint
from gatepost.wire import netmap

PORT = 53  # UDP and TCP, of a resolver that names no other
_LONGEST_NAME = 253  # characters, RFC 1035 section 3.1 without the final dot
_LONGEST_LABEL = 63
_URLS = ("https://", "http://")

Report = Callable[[str, str], None]


def parse_dns(wire: netmap.DnsConfig, report: Report) -> DnsSettings:
    """Read it all; `report` gets ("DNS …", reason) for each part that was left out."""
    search = [n for text in wire.domains or () for n in _kept(text, "domain", report)]
    routes = dict[str, tuple[netmap.Resolver, ...]]()
    for suffix, resolvers in (wire.routes or {}).items():
        routes.update((n, resolvers or ()) for n in _kept(suffix, "route", report))
    if wire.resolvers:
        routes[""] = wire.resolvers
    return DnsSettings(
        is_on=wire.proxied,
        search=tuple(search),
        routes=tuple(_route(suffix, routes[suffix], report) for suffix in sorted(routes)),
        records=tuple(_records(wire.extra_records or (), report)),
    )


def parse_name(text: str) -> str:
    """Return a name in small letters without dots at its ends; raise `Malformed`."""
    name = text.strip(".").lower()
    labels = name.split(".")
    if not name.isascii() or len(name) > _LONGEST_NAME:
        raise Malformed(f"{text!r} is not a name of at most {_LONGEST_NAME} ASCII characters")
    if not all(0 < len(label) <= _LONGEST_LABEL for label in labels) or set(name) & set(" \\/"):
        raise Malformed(f"{text!r} is not a name: each label has 1 to {_LONGEST_LABEL} characters")
    return name


def _kept(text: str, what: str, report: Report) -> Iterator[str]:
    try:
        yield parse_name(text)
    except Malformed as error:
        report(f"DNS {what}", str(error))


def _route(suffix: str, resolvers: Iterable[netmap.Resolver], report: Report) -> DnsRoute:
    servers, urls = list[Endpoint](), list[str]()
    for resolver in resolvers:
        try:
            servers.append(_server(resolver.addr))
        except Malformed as error:
            # Kept: a route without any server would mean that the mesh alone answers.
            urls.append(resolver.addr)
            if not resolver.addr.startswith(_URLS):
                report(f"DNS resolver for {suffix or 'every name'}", str(error))
    return DnsRoute(suffix=suffix, servers=tuple(servers), urls=tuple(urls))


def _server(text: str) -> Endpoint:
    """Read an address, or an address with a port as an endpoint has it."""
    try:
        return Endpoint(parse_address(text), PORT)
    except Malformed:
        return parse_endpoint(text)


def _records(
    records: Iterable[netmap.DnsRecord], report: Report
) -> Iterator[tuple[str, IPAddress]]:
    for record in records:
        try:
            name, address = parse_name(record.name), parse_address(record.value)
            versions = {"": (4, 6), "A": (4,), "AAAA": (6,)}[record.type.upper()]
        except KeyError:
            report(f"DNS record {record.name}", f"type {record.type} is not A or AAAA")
        except Malformed as error:
            report(f"DNS record {record.name}", str(error))
        else:
            if address.version in versions:
                yield name, address
            else:
                report(f"DNS record {record.name}", f"{address} is no value for {record.type}")
