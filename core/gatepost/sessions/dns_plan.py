"""Joins what plugins say about names into the one plan of the box's resolver. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from gatepost.model.netmap import DnsRoute
from gatepost.model.resolver import (
    HostServers,
    MeshNames,
    NamePlan,
    PrivateNames,
    Rank,
    Record,
    Upstream,
)
from gatepost.model.resource import Resource
from gatepost.model.site_names import KnownAs, SiteNames
from gatepost.sessions.dns_names import SERVICE_V4, SERVICE_V6, gather_records

HERE = frozenset({SERVICE_V4, SERVICE_V6})
NOTHING = HostServers()
_AFTER: Sequence[Rank] = ("usual", "last")  # what the mesh does not say


def join_names(resources: Iterable[Resource], host: HostServers = NOTHING) -> NamePlan:
    """Return the plan; without any of the nouns it knows nobody and asks what the host asks."""
    mesh, records, private = NamePlan(), list[Record](), set[str]()
    upstreams = dict[Rank, dict[str, Upstream]]()
    sites, known = set[str](), set[KnownAs]()
    for resource in resources:
        match resource:
            case MeshNames():
                mesh = resource.plan
            case Record():
                records.append(resource)
            case Upstream():
                upstreams.setdefault(resource.rank, {})[resource.suffix] = resource
            case PrivateNames():
                private.add(resource.suffix)
            case SiteNames():
                sites.add(resource.suffix)
            case KnownAs():
                known.add(resource)
            case _:
                pass
    more = [(name, a) for name, held in mesh.records for a in held]
    more += sorted({(r.name.lower().strip("."), r.address) for r in records}, key=repr)
    return replace(
        mesh,
        records=gather_records(more),
        routes=tuple(_without_ourselves(route) for route in _routes(mesh, upstreams, host)),
        may_be_private=tuple(sorted({*mesh.may_be_private, *private, *host.search})),
        site_suffixes=tuple(sorted(sites)),
        known_as=tuple(sorted(((k.inside, k.outside) for k in known), key=repr)),
    )


def _routes(
    mesh: NamePlan, upstreams: dict[Rank, dict[str, Upstream]], host: HostServers
) -> list[DnsRoute]:
    found = {route.suffix: route for route in mesh.routes}
    for suffix, upstream in upstreams.get("first", {}).items():
        said = found.get(suffix)
        # The administrator wants these asked directly, exit node or not.
        beside = tuple(s for s in said.servers if s.beside_exit) if said else ()
        found[suffix] = DnsRoute(suffix=suffix, servers=beside or upstream.servers)
    for rank in _AFTER:
        for suffix, upstream in upstreams.get(rank, {}).items():
            found.setdefault(suffix, DnsRoute(suffix=suffix, servers=upstream.servers))
    if "" not in found and (anybody := host.servers or mesh.fallback):
        found[""] = DnsRoute(suffix="", servers=anybody)
    return [found[suffix] for suffix in sorted(found)]


def _without_ourselves(route: DnsRoute) -> DnsRoute:
    """Drop ourselves from the servers: a question would go round for ever.

    A route left with nobody still is one: its names must not be asked of others.
    """
    others = tuple(s for s in route.servers if not HERE & frozenset(s.addresses))
    if len(others) == len(route.servers):
        return route
    dropped = tuple(str(s) for s in route.servers if s not in others)
    return replace(route, servers=others, unusable=route.unusable + dropped)
