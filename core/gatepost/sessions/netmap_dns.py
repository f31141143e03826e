"""From what the wire says about names and resolvers to the model's nouns.

What cannot be used is left out and reported. Source: protocol document 7.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from gatepost.errors import Malformed
from gatepost.model.names import NameServer, parse_name_server, read_name
from gatepost.model.netmap import DnsRoute, DnsSettings, IPAddress
from gatepost.sessions.netmap_nodes import parse_address
from gatepost.wire import netmap

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
        fallback=_route("", wire.fallback_resolvers or (), report).servers,
        not_for_others=tuple(
            n for t in wire.exit_node_filtered_set or () for n in _kept(t, "filter", report)
        ),
    )


def parse_name(text: str) -> str:
    """Return a name in small letters without dots at its ends; raise `Malformed`."""
    try:
        return read_name(text)
    except ValueError as error:
        raise Malformed(str(error)) from error


def _kept(text: str, what: str, report: Report) -> Iterator[str]:
    try:
        yield parse_name(text)
    except Malformed as error:
        report(f"DNS {what}", str(error))


def _route(suffix: str, resolvers: Iterable[netmap.Resolver], report: Report) -> DnsRoute:
    servers, unusable = list[NameServer](), list[str]()
    for resolver in resolvers:
        try:
            servers.append(_server(resolver))
        except (Malformed, ValueError) as error:
            # Kept: a route without any server would mean that the mesh alone answers.
            unusable.append(resolver.addr)
            report(f"DNS resolver for {suffix or 'every name'}", str(error))
    return DnsRoute(suffix=suffix, servers=tuple(servers), unusable=tuple(unusable))


def _server(resolver: netmap.Resolver) -> NameServer:
    known = tuple(map(parse_address, resolver.bootstrap_resolution or ()))
    return parse_name_server(resolver.addr, known, beside_exit=resolver.use_with_exit_node)


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
