"""The netcheck of this box: the network by the path service, the router by port mapping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from gatepost.daemon.carriers import Carriers
from gatepost.model.status import NetcheckDocument, PortMappingDocument
from gatepost.net.portmap import PortMapping
from gatepost.sessions.portmap_values import Mapping, Seen


async def check_network(
    carriers: Carriers, port_mapping: PortMapping, now: Callable[[], float]
) -> NetcheckDocument:
    """Look at everything anew. Raise `UnreachableError` while the mesh is down."""
    document, _ = await asyncio.gather(carriers.netcheck(), port_mapping.look())
    return msgspec.structs.replace(
        document, time=now(), port_mapping=port_mapping_document(port_mapping)
    )


def port_mapping_document(port_mapping: PortMapping) -> PortMappingDocument | None:
    """Say what the router speaks; None when none was asked."""
    seen, firewall = port_mapping.seen(), port_mapping.seen(is_v6=True)
    if seen is None and firewall is None:
        return None
    seen = seen or Seen()
    return PortMappingDocument(
        upnp=bool(seen.upnp),
        nat_pmp=bool(seen.nat_pmp),
        pcp=bool(seen.pcp),
        mapped=tuple(str(e) for e in port_mapping.endpoints()),
        refusals=_by_name(seen),
        pinholes=None if firewall is None else tuple(_words(m) for m in port_mapping.pinholes()),
        pinhole_refusals={} if firewall is None else _by_name(firewall),
    )


def _words(pinhole: Mapping) -> str:
    return f"{pinhole.external} by {pinhole.protocol}"


def _by_name(seen: Seen) -> dict[str, str]:
    return {str(protocol): reason for protocol, reason in seen.refusals.items()}
