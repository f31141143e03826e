"""A site's own names, answered for the whole mesh with addresses that the mesh can reach.

The site's name server says 192.168.1.9 for `printer.berlin.example`. At home that is right;
the mesh must hear what stands for it: an alias, or the IPv6 address of 4via6. The site's box
knows both, so it answers at its addresses in the mesh, and whoever sends questions about
`berlin.example` there (split DNS) needs to know nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import ClassVar

from gatepost.model.kernel import Listen
from gatepost.model.names import NameServer, read_name
from gatepost.model.netmap import MESH_V4, MESH_V6, IPNetwork
from gatepost.model.process import Service, ServiceContext
from gatepost.model.resolver import NameView, Upstream
from gatepost.model.resource import Merge, Resource

NAME = "site-names"  # of the service
PORT = 53


@dataclass(frozen=True, slots=True)
class SiteNames(Resource):
    """Answer the mesh's questions about names under `suffix`, which are this site's own."""

    identity: ClassVar = ("suffix",)
    merge: ClassVar = Merge.UNION
    suffix: str


@dataclass(frozen=True, slots=True)
class KnownAs(Resource):
    """The mesh knows hosts of `inside` by addresses of `outside`, which has as many host bits."""

    identity: ClassVar = ("inside", "outside")
    merge: ClassVar = Merge.UNION
    inside: IPv4Network
    outside: IPNetwork


def site_names(
    suffixes: Iterable[str], servers: tuple[NameServer, ...]
) -> Iterator[SiteNames | Upstream | Listen | Service]:
    """Yield what answers the mesh about these names; two plugins that want it want the same."""
    for suffix in suffixes:
        yield SiteNames(suffix)
        # Before what the mesh says, which is that we are the one to ask.
        yield Upstream(suffix=suffix, servers=servers, rank="first")
    yield Listen("udp", PORT, "mesh", NAME)
    yield Listen("tcp", PORT, "mesh", NAME)
    yield Service(NAME, serve, NameView(sources=(MESH_V4, MESH_V6), is_for_mesh=True))


async def serve(context: ServiceContext, view: NameView) -> None:
    """Answer for as long as the service runs."""
    await context.answer_names(view)


def read_suffix(text: str) -> str:
    """Read a domain of a site, such as "Berlin.Example."; raise ValueError for what is none."""
    try:
        return read_name(text)
    except ValueError as error:
        raise ValueError(f"{error}; a domain is like berlin.example") from error
