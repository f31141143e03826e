"""Carries traffic to applications on the internet that are known by name.

Peers ask this box for the names (the coordination server tells them to). The addresses
that they are given become routes through this box for as long as they are in use: an
address is kept for `keep_hours` after it was last given to anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_network

from gatepost.api import (
    ACCEPT_RA,
    APP_CONNECTOR,
    Advertise,
    Announce,
    AnswerPeers,
    ClampMss,
    Forward,
    IPNetwork,
    Item,
    LearnNames,
    Level,
    Masquerade,
    NetMap,
    Notice,
    Observed,
    PluginInfo,
    PrivateNames,
    WatchHostServers,
    WatchNames,
    about,
    forwarding,
    hookimpl,
    why_never_behind,
)
from gatepost_plugins.app_connector.domains import parse_domain, suffix_of
from gatepost_plugins.app_connector.policy import apps_of
from gatepost_plugins.app_connector.using import parse_use, use


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    domains: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Domains",
            "Names such as wiki.example, *.wiki.example for all below it, beside those that the "
            "policy gives to this box. Peers only ask here for what the policy names.",
        ),
    )
    routes: tuple[IPNetwork, ...] = field(
        default=(),
        metadata=about("Routes", "Networks that are carried whether or not a name leads there."),
    )
    keep_hours: int = field(
        default=24,
        metadata=about(
            "Hours to keep",
            "How long an address stays a route after it was last given to a peer.",
            minimum=1,
            maximum=24 * 365,
        ),
    )
    most: int = field(
        default=256,
        metadata=about(
            "Most addresses",
            "Of one domain at once. When there are more, peers are told only some of them.",
            minimum=1,
            maximum=800,
        ),
    )
    private: bool = field(
        default=False,
        metadata=about(
            "Private addresses",
            "Names may lead to private addresses and to the networks this box is attached to.",
        ),
    )

    use: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Use",
            "Names that this box asks another one for, such as *.apps.example=box-b, where the "
            "coordination server does not say so itself. Needs the plugin magic-dns.",
        ),
    )

    def __post_init__(self) -> None:
        for text in self.domains:
            parse_domain(text)
        for text in self.use:
            parse_use(text)


@hookimpl
def describe() -> PluginInfo:
    return PluginInfo(
        title="App connector",
        summary="Carries traffic to applications that are known by name.",
        settings=Settings,
    )


@hookimpl
def contribute(netmap: NetMap, settings: Settings, observed: Observed) -> Iterator[Item]:
    yield from use(netmap, settings.use)
    yield ACCEPT_RA
    yield WatchHostServers()  # who is asked for the names, unless somebody else is named
    apps = apps_of(netmap.me)
    for problem in apps.problems:
        yield Notice("app-policy", problem, Level.ERROR)
    domains = list[str]()
    for text in (*settings.domains, *apps.domains):
        try:
            domains.append(parse_domain(text))
        except ValueError as error:
            yield Notice("app-domain-refused", str(error), Level.ERROR)
    routes = list[IPNetwork]()
    for network in (*settings.routes, *apps.routes):
        if reason := why_never_behind(network):
            yield Notice("network-refused", f"{network} is not advertised: {reason}", Level.ERROR)
        else:
            routes.append(network)
    if domains or routes or not settings.use:
        yield Announce(APP_CONNECTOR, "true")
    if not (domains or routes or settings.use):
        yield Notice(
            "app-nothing",
            "neither the policy nor the settings name a domain or network for this connector",
            Level.INFO,
        )
    yield from _names(sorted(set(domains)), settings)
    found = (a for d in set(domains) for a in observed.get(WatchNames(d), frozenset()))
    learned = {ip_network(a) for a in found}
    yield from _carry(netmap, sorted({*routes, *_uncovered(learned, routes)}, key=_order))
    versions: set[int] = {n.version for n in (*routes, *learned)}
    yield from forwarding(versions, observed.get(ACCEPT_RA, ""))


def _names(domains: Iterable[str], settings: Settings) -> Iterator[Item]:
    """Answer and learn. A domain and all below it have one suffix."""
    for domain in domains:
        yield LearnNames(
            domain=domain,
            keep=timedelta(hours=settings.keep_hours),
            most=settings.most,
            private=settings.private,
        )
        yield WatchNames(domain)
        yield AnswerPeers(suffix_of(domain))
        if settings.private:
            yield PrivateNames(suffix=suffix_of(domain))


def _carry(netmap: NetMap, networks: list[IPNetwork]) -> Iterator[Item]:
    """Carry them before they are approved, too: until then no peer sends anything there."""
    for network in networks:
        yield Advertise(network)
        yield Forward(network)
        yield Masquerade(network)
        yield ClampMss(network)
    allowed = frozenset(netmap.me.allowed)
    waiting = [n for n in networks if n not in allowed]
    if waiting:
        yield Notice(
            "route-not-approved",
            f"{waiting[0]}{f' and {len(waiting) - 1} more' if waiting[1:] else ''}: advertised for "
            "apps, but not approved on the coordination server: let the policy do it "
            "(autoApprovers, routes 0.0.0.0/0 and ::/0)",
            Level.INFO,
        )


def _uncovered(hosts: set[IPNetwork], routes: list[IPNetwork]) -> Iterator[IPNetwork]:
    for host in hosts:
        if not any(r.version == host.version and host.network_address in r for r in routes):
            yield host


def _order(network: IPNetwork) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen
