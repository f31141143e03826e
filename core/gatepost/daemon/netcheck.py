"""The netcheck of this box: the network by the path service, the router by port mapping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from gatepost.daemon.carriers import Carriers
from gatepost.model.status import NetcheckDocument, PortMappingDocument
from gatepost.net.portmap import PortMapping


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
    seen = port_mapping.seen()
    if seen is None:
        return None
    return PortMappingDocument(
        upnp=bool(seen.upnp),
        nat_pmp=bool(seen.nat_pmp),
        pcp=bool(seen.pcp),
        mapped=tuple(str(e) for e in port_mapping.endpoints()),
        refusals={str(protocol): reason for protocol, reason in seen.refusals.items()},
    )
