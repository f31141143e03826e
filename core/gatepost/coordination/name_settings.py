"""What an administrator may say about names, and how nodes are told. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import TypeVar

from gatepost.coordination.ledger import Decision
from gatepost.coordination.records import PutNames, Records
from gatepost.errors import Malformed, NotFoundError, SettingsError
from gatepost.model.admin_names import NameChanges, Names, NamesDocument, NamesRequest
from gatepost.model.names import NameServer, parse_name_server
from gatepost.sessions.netmap_dns import parse_name
from gatepost.wire.netmap import DnsConfig, DnsRecord, Resolver

MOST_SERVERS = 16  # for one suffix; clients ask few of them
MOST_SEARCH = 32
MOST_NAMES = 1000  # routes, and records: each goes to every node
_IPV6 = 6

V = TypeVar("V")


def change_names(records: Records, wish: NamesRequest, domain: str) -> Decision[NamesDocument]:
    """Decide on a wish; raise `SettingsError` that names the value. `domain` is the mesh's."""
    old = records.names
    new = NamesDocument(
        magic_dns=old.magic_dns if wish.magic_dns is None else wish.magic_dns,
        nameservers=old.nameservers if wish.nameservers is None else _servers(wish.nameservers),
        override_local=old.override_local if wish.override_local is None else wish.override_local,
        search=old.search if wish.search is None else _search(wish.search),
        routes=_changed(old.routes, _routes(wish.routes, domain), "route for"),
        records=_changed(old.records, _records(wish.records), "record of"),
    )
    return Decision(new, (PutNames(new),) if new != old else ())


def _changed(old: Names, changes: NameChanges, what: str) -> Names:
    found = dict(old)
    for name, values in changes.items():
        if values is not None:
            found[name] = values
        elif found.pop(name, None) is None:
            raise NotFoundError(f"there is no {what} {name}: `gatepost admin dns show` lists them")
    if len(found) > MOST_NAMES:
        raise SettingsError(f"{len(found)} are over {MOST_NAMES}: each goes to every node")
    return dict(sorted(found.items()))


def _routes(changes: NameChanges, domain: str) -> NameChanges:
    found = NameChanges()
    for suffix, servers in changes.items():
        name = _name(suffix)
        if name == domain and servers:
            raise SettingsError(
                f"{name} is the mesh's own: choose a suffix under it, or another one"
            )
        found[name] = None if servers is None else _servers(servers)
    return found


def _records(changes: NameChanges) -> NameChanges:
    return {_name(n): None if a is None else _addresses(n, a) for n, a in changes.items()}


def _addresses(name: str, texts: Iterable[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(map(_address, texts)))
    if not found or len(found) > MOST_SERVERS:
        raise SettingsError(f"{name} needs 1 to {MOST_SERVERS} addresses")
    return found


def _address(text: str) -> str:
    try:
        if "%" in text:
            raise ValueError("a zone means nothing in a mesh")  # noqa: TRY301  # one message for all
        return str(ip_address(text))
    except ValueError as error:
        raise SettingsError(f"{text!r} is not an address: {error}") from error


def _servers(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        _server(text)
    found = tuple(dict.fromkeys(texts))
    if len(found) > MOST_SERVERS:
        raise SettingsError(f"{len(found)} servers are over {MOST_SERVERS}")
    return found


def _server(text: str) -> NameServer:
    try:
        return parse_name_server(text)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _search(texts: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(map(_name, texts)))
    if len(found) > MOST_SEARCH:
        raise SettingsError(f"{len(found)} search suffixes are over {MOST_SEARCH}")
    return found


def _name(text: str) -> str:
    try:
        return parse_name(text)
    except Malformed as error:
        raise SettingsError(str(error)) from error


# --- what nodes are told -------------------------------------------------------------------


def dns_config(
    names: NamesDocument, domain: str, apps: Mapping[str, tuple[Resolver, ...] | None]
) -> DnsConfig:
    """Return what a node is told. `apps` are the routes for apps, which give way to others."""
    own: dict[str, tuple[Resolver, ...] | None] = {domain: ()} if names.magic_dns else {}
    chosen = {suffix: tuple(map(_resolver, names.routes[suffix])) for suffix in names.routes}
    servers = tuple(map(_resolver, names.nameservers)) or None
    return DnsConfig(
        proxied=names.magic_dns,
        domains=_some(((domain,) if names.magic_dns else ()) + names.search),
        routes={**apps, **chosen, **own} or None,
        resolvers=servers if names.override_local else None,
        fallback_resolvers=None if names.override_local else servers,
        extra_records=_some(
            tuple(_record(name, a) for name in names.records for a in names.records[name])
        ),
    )


def _some(values: tuple[V, ...]) -> tuple[V, ...] | None:
    return values or None


def _resolver(text: str) -> Resolver:
    """Write a server the way clients read it: without what says where its host is."""
    server = parse_name_server(text)  # it was checked when it was stored
    known = tuple(map(str, server.addresses)) if server.host and "@" in text else None
    return Resolver(addr=text.partition("@")[0], bootstrap_resolution=known)


def _record(name: str, address: str) -> DnsRecord:
    kind = "AAAA" if ip_address(address).version == _IPV6 else ""
    return DnsRecord(name=name, type=kind, value=address)
