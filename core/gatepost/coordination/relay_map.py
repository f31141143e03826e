"""The DERP map that nodes are sent: our relay, its mesh, the regions of the settings. Pure."""

from __future__ import annotations

from dataclasses import replace

from gatepost.coordination.settings import DerpSettings
from gatepost.model.netmap import DerpNode as Server
from gatepost.wire.derp_map import DerpMap, DerpNode, DerpRegion


def relay_map(derp: DerpSettings | None, pin: str, *, plain_on_80: bool) -> DerpMap:
    """Return the map. `pin` is `sha256-raw:<hex>` for a self-signed certificate, else "".

    Without IPv4 or IPv6 address the field says "none" if the other is a
    literal, because there is no name to look up then.
    """
    if derp is None:
        return DerpMap(regions={}, omit_default_regions=True)
    own = Server(
        name=f"{derp.region_id}a",
        host=derp.host,
        port=derp.port,
        stun_port=derp.stun_port,
        address_v4=derp.ipv4,
        address_v6=derp.ipv6,
        certificate_name=pin,
    )
    mesh = [_node(server, derp.region_id) for server in derp.relay.servers]
    if derp.second_stun_port != -1:
        port = derp.second_stun_port
        second = replace(own, name=f"{own.name}-stun", stun_port=port, stun_only=True)
        mesh.append(_node(second, derp.region_id))
    region = DerpRegion(
        region_id=derp.region_id,
        region_code=derp.region_code,
        region_name=derp.region_name,
        nodes=(_node(own, derp.region_id, plain_on_80=plain_on_80), *mesh),
    )
    others = [
        DerpRegion(
            region_id=other.id,
            region_code=other.code,
            region_name=other.name,
            nodes=tuple(_node(server, other.id) for server in other.nodes),
        )
        for other in derp.regions
    ]
    regions: dict[str, DerpRegion | None] = {str(r.region_id): r for r in (region, *others)}
    return DerpMap(regions=regions, omit_default_regions=True)


def _node(server: Server, region: int, *, plain_on_80: bool = False) -> DerpNode:
    is_literal = server.host in {str(server.address_v4), str(server.address_v6)}
    missing = "none" if is_literal else ""
    return DerpNode(
        name=server.name,
        region_id=region,
        host_name=server.host,
        cert_name=server.certificate_name,
        ipv4=str(server.address_v4) if server.address_v4 else missing,
        ipv6=str(server.address_v6) if server.address_v6 else missing,
        stun_port=server.stun_port,
        stun_only=server.stun_only,
        derp_port=server.port,
        can_port80=plain_on_80,
    )
