"""Says why a thing is there: the resource, the plugins that want it, the input it comes from.

The input is found by asking the plugin again with less: without a setting,
without a part of the netmap, without an observation. What makes the resource
go away is where it comes from. So no plugin has to say it, and none can be
wrong about it. No I/O.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from types import MappingProxyType
from typing import Any, cast

from gatepost.engine.merge import Desired
from gatepost.engine.plugins import Plugins
from gatepost.engine.settings import setting_name
from gatepost.engine.texts import kind_of, value_text
from gatepost.model.kernel import Listen
from gatepost.model.keys import Key
from gatepost.model.netmap import IPNetwork, NetMap, Node
from gatepost.model.observed import Observed
from gatepost.model.process import WatchNodeFacts
from gatepost.model.resource import Resource
from gatepost.model.status import ReasonDocument

MOST_SOURCES = 40  # resources whose input is looked for; the rest is listed without


@dataclass(frozen=True, slots=True)
class Question:
    """What the plugins were given, so that they can be asked again."""

    plugins: Plugins
    netmap: NetMap
    settings: Mapping[str, Any]
    observed: Observed


def explain(what: str, desired: Desired, question: Question) -> tuple[ReasonDocument, ...]:
    """Find every resource that `what` names: a prefix, an address, a port, a node or a noun."""
    matches = [r for r in desired.resources.values() if _names(r, what, question.netmap)]
    return tuple(
        ReasonDocument(
            kind=kind_of(resource),
            text=value_text(resource),
            plugins=tuple(sorted(desired.owners.get(resource.key, ()))),
            source=_source(resource, desired, question) if number < MOST_SOURCES else "",
        )
        for number, resource in enumerate(matches)
    )


# --- what the operator means --------------------------------------------------
def _names(resource: Resource, what: str, netmap: NetMap) -> bool:
    wanted = what.strip()
    if wanted.lower() == kind_of(resource).lower():
        return True
    values = [getattr(resource, f.name) for f in fields(resource)]
    if isinstance(resource, Listen) and wanted == str(resource.port):
        return True
    if (network := _network(wanted)) is not None:
        return any(_is_about(value, network) for value in values)
    keys = {n.key for n in (netmap.me, *netmap.peers) if wanted in {n.name, n.label}}
    return any(
        value in keys if isinstance(value, Key) else str(value) == wanted for value in values
    )


def _network(text: str) -> IPNetwork | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _is_about(value: object, wanted: IPNetwork) -> bool:
    """Say whether a value lies in what is asked for, or, for one address, around it.

    Of all addresses there are, only the network of all of them is meant.
    """
    match value:
        case IPv4Address() | IPv6Address():
            return value.version == wanted.version and value in wanted
        case IPv4Network() | IPv6Network():
            is_host = wanted.prefixlen == wanted.max_prefixlen
            if value.version != wanted.version:
                return False
            if is_host:
                return wanted.network_address in value
            return value == wanted or (wanted.prefixlen > 0 and _is_inside(value, wanted))
        case _:
            return False


def _is_inside(value: IPNetwork, wanted: IPNetwork) -> bool:
    return value.prefixlen >= wanted.prefixlen and value.network_address in wanted


# --- where it comes from -----------------------------------------------------
def _source(resource: Resource, desired: Desired, question: Question) -> str:
    found = list[str]()
    for plugin in sorted(desired.owners.get(resource.key, ())):
        found += [f"{text} ({plugin})" for text in _sources_of(resource, plugin, question)]
    return "; ".join(found)


def _sources_of(resource: Resource, plugin: str, question: Question) -> Iterator[str]:
    def stays(
        netmap: NetMap | None = None, settings: object = None, observed: Observed | None = None
    ) -> bool:
        items = question.plugins.ask_one(
            plugin,
            netmap or question.netmap,
            question.settings[plugin] if settings is None else settings,
            observed or question.observed,
        )
        return resource in items

    if plugin not in question.settings or not stays():
        yield "what the plugin asked for before it failed"
        return
    current = question.settings[plugin]
    for field in fields(current):
        default = _default(field)
        if getattr(current, field.name) == default:
            continue
        less = _with(current, field.name, default)
        if less is None or not stays(settings=less):
            yield f"setting {setting_name(field.name)}"
    yield from _from_netmap(question.netmap, lambda netmap: stays(netmap=netmap))
    yield from _from_observed(question.observed, lambda observed: stays(observed=observed))


def _with(settings: Any, name: str, value: object) -> object | None:
    """Return settings with one of them changed; None if the others need it as it was."""
    try:
        return cast(object, replace(settings, **{name: value}))
    except (ValueError, TypeError):  # what the class itself checks
        return None


def _from_observed(observed: Observed, stays: Callable[[Observed], bool]) -> Iterator[str]:
    answers = observed.answers
    for watch in answers:
        rest = Observed(MappingProxyType({w: a for w, a in answers.items() if w != watch}))
        # Without the key there is nothing at all, which explains nothing.
        if not isinstance(watch, WatchNodeFacts) and not stays(rest):
            yield f"observation {type(watch).__name__}"


def _from_netmap(netmap: NetMap, stays: Callable[[NetMap], bool]) -> Iterator[str]:
    if not stays(replace(netmap, peers=())):
        yield f"netmap: {_guilty(netmap, stays).name}"
    own = tuple(ip_network(a) for a in netmap.me.addresses)
    if netmap.me.allowed != own and not stays(replace(netmap, me=replace(netmap.me, allowed=own))):
        yield "netmap: a route approved for this box"
    if netmap.filter and not stays(replace(netmap, filter=())):
        yield "netmap: the policy"


def _guilty(netmap: NetMap, stays: Callable[[NetMap], bool]) -> Node:
    """Find one peer that is enough for the resource, by halving."""
    peers = list(netmap.peers)
    while len(peers) > 1:
        half = peers[: len(peers) // 2]
        peers = half if stays(replace(netmap, peers=tuple(half))) else peers[len(half) :]
    return peers[0]


def _default(field: dataclasses.Field[Any]) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
