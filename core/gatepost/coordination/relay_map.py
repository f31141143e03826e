"""The DERP map that nodes are sent: our own relay, and nobody else's. Pure."""

from __future__ import annotations

from gatepost.coordination.settings import DerpSettings
from gatepost.wire.derp_map import DerpMap, DerpNode, DerpRegion


def relay_map(derp: DerpSettings | None, pin: str, *, plain_on_80: bool) -> DerpMap:
    """Return the map. `pin` is `sha256-raw:<hex>` for a self-signed certificate, else "".

    Without IPv4 or IPv6 address the field says "none" if the other is a
    literal, because there is no name to look up then.
    """
    if derp is None:
        return DerpMap(regions={}, omit_default_regions=True)
    is_literal = derp.host in {str(derp.ipv4), str(derp.ipv6)}
    missing = "none" if is_literal else ""
    node = DerpNode(
        name=f"{derp.region_id}a",
        region_id=derp.region_id,
        host_name=derp.host,
        cert_name=pin,
        ipv4=str(derp.ipv4) if derp.ipv4 else missing,
        ipv6=str(derp.ipv6) if derp.ipv6 else missing,
        stun_port=derp.stun_port,
        derp_port=derp.port,
        can_port80=plain_on_80,
    )
    region = DerpRegion(
        region_id=derp.region_id,
        region_code=derp.region_code,
        region_name=derp.region_name,
        nodes=(node,),
    )
    return DerpMap(regions={str(derp.region_id): region}, omit_default_regions=True)
