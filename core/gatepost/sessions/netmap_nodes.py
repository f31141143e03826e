"""From what the wire says about nodes and relays to the model's nouns.

Everything raises `Malformed` with the wrong value in the text; nothing is
guessed. Source: protocol document 1.10, 3.4.
"""

from __future__ import annotations

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from types import MappingProxyType

from gatepost.errors import Malformed
from gatepost.model.keys import DiscoPublic
from gatepost.model.netmap import (
    DerpNode,
    DerpRegion,
    Endpoint,
    IPAddress,
    IPNetwork,
    NetworkFacts,
    Node,
    PeerServices,
)
from gatepost.wire import derp_map, netmap
from gatepost.wire.go_json import ZERO_TIME, write_json
from gatepost.wire.hostinfo import NetInfo, Service

_PORT_LIMIT = 0xFFFF
_REGION_LIMIT = 0xFFFF  # clients keep a region id in 16 bits
_LEGACY_DERP = "127.3.3.40:"  # HomeDERP's form before capability version 111


def parse_address(text: str) -> IPAddress:
    """Read an IP address without a zone."""
    try:
        if "%" in text:
            raise ValueError("a zone means nothing in a mesh")  # noqa: TRY301  # one message for all
        return ip_address(text)
    except ValueError as error:
        raise Malformed(f"{text!r} is not an address: {error}") from error


def parse_network(text: str) -> IPNetwork:
    """Read a prefix without host bits."""
    try:
        if "/" not in text or "%" in text:
            raise ValueError("the form is address/length")  # noqa: TRY301  # one message for all
        return ip_network(text)
    except ValueError as error:
        raise Malformed(f"{text!r} is not a prefix: {error}") from error


def parse_endpoint(text: str) -> Endpoint:
    """Read `1.2.3.4:5` or `[v6]:5`."""
    host, colon, port = text.rpartition(":")
    if not colon or not _is_number(port) or not 0 < int(port) <= _PORT_LIMIT:
        raise Malformed(f"{text!r} is not address:port")
    if host.startswith("[") != (":" in host):
        raise Malformed(f"{text!r} is not address:port")
    return Endpoint(parse_address(host.removeprefix("[").removesuffix("]")), int(port))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def parse_node(wire: netmap.MapNode) -> Node:
    """Read a node, own or peer."""
    if wire.id <= 0 or wire.key.is_zero:
        raise Malformed(f"node {wire.id} has no id or no key")
    addresses = tuple(_own_address(text) for text in wire.addresses or ())
    allowed = (
        tuple(ip_network(address) for address in addresses)
        if wire.allowed_ips is None
        else tuple(parse_network(text) for text in wire.allowed_ips)
    )
    return Node(
        id=wire.id,
        key=wire.key,
        name=wire.name.removesuffix("."),
        addresses=addresses,
        allowed=allowed,
        disco=_known(wire.disco_key),
        endpoints=tuple(parse_endpoint(text) for text in wire.endpoints or ()),
        home_derp=_home(wire),
        user=wire.user,
        tags=wire.tags or (),
        online=wire.online,
        last_seen=wire.last_seen,
        key_expiry=_time(wire.key_expiry),
        expired=wire.expired,
        authorized=wire.machine_authorized,
        capability_version=wire.cap,
        operating_system=wire.hostinfo.os if wire.hostinfo else "",
        offers_relay=bool(wire.hostinfo and wire.hostinfo.peer_relay),
        network=read_network(wire.hostinfo.net_info if wire.hostinfo else None),
        services=read_services(wire.hostinfo.services if wire.hostinfo else None),
        capabilities=read_capabilities(wire.cap_map),
    )


def read_network(found: NetInfo | None) -> NetworkFacts:
    """Read what a node says of its network; servers may keep that to themselves."""
    if found is None:
        return NetworkFacts()
    asked = (found.upnp, found.pmp, found.pcp)
    mapped = found.have_port_map or any(asked)
    return NetworkFacts(
        udp=found.working_udp,
        ipv6=found.working_ipv6,
        varies=found.mapping_varies_by_dest_ip,
        mapping=True if mapped else (False if asked == (False,) * 3 else None),
    )


def read_services(services: tuple[Service, ...] | None) -> PeerServices:
    """Read what a node serves its peers; what is no port counts as nothing."""
    found = {s.proto: s.port for s in services or () if 0 < s.port <= _PORT_LIMIT}
    return PeerServices(
        v4=found.get("peerapi4", 0),
        v6=found.get("peerapi6", 0),
        names="peerapi-dns-proxy" in found,
    )


def _own_address(text: str) -> IPAddress:
    network = parse_network(text)
    if network.num_addresses != 1:
        raise Malformed(f"a node's address {text!r} is a whole network")
    return network.network_address


def _known(key: DiscoPublic | None) -> DiscoPublic | None:
    return None if key is None or key.is_zero else key


def _time(value: datetime | None) -> datetime | None:
    return None if value == ZERO_TIME else value


def _home(wire: netmap.MapNode) -> int:
    region = wire.home_derp
    if not region and wire.derp.startswith(_LEGACY_DERP):
        text = wire.derp.removeprefix(_LEGACY_DERP)
        region = int(text) if _is_number(text) else -1
    if not 0 <= region <= _REGION_LIMIT:
        raise Malformed(f"home relay region {region} is not 0 to {_REGION_LIMIT}")
    return region


def read_capabilities(cap_map: netmap.CapMap | None) -> MappingProxyType[str, tuple[str, ...]]:
    return MappingProxyType(
        {
            name: tuple(write_json(value).decode() for value in values or ())
            for name, values in (cap_map or {}).items()
        }
    )


def parse_region(key: str, wire: derp_map.DerpRegion, score: float = 1.0) -> DerpRegion:
    """Read a relay region, which stands under `key` in the map.

    A score that is not above 0 counts as none, as in the official client.
    """
    if key != str(wire.region_id) or not 0 < wire.region_id <= _REGION_LIMIT:
        raise Malformed(f"relay region {wire.region_id} stands under the key {key!r}")
    return DerpRegion(
        id=wire.region_id,
        code=wire.region_code,
        name=wire.region_name,
        nodes=tuple(_derp_node(node) for node in wire.nodes or ()),
        score=score if score > 0 else 1.0,
        may_be_home=not wire.no_measure_no_home,
    )


def _derp_node(wire: derp_map.DerpNode) -> DerpNode:
    port = wire.derp_port or 443
    stun = wire.stun_port or 3478
    if not 0 < port <= _PORT_LIMIT or not (stun == -1 or 0 < stun <= _PORT_LIMIT):
        raise Malformed(f"relay {wire.name!r} has the ports {wire.derp_port} and {wire.stun_port}")
    v4, v6 = _literal(wire.ipv4), _literal(wire.ipv6)
    if isinstance(v4, IPv6Address) or isinstance(v6, IPv4Address):
        raise Malformed(f"relay {wire.name!r} has {v4} as IPv4 and {v6} as IPv6")
    return DerpNode(
        name=wire.name,
        host=wire.host_name,
        port=port,
        stun_port=stun,
        address_v4=v4,
        address_v6=v6,
        certificate_name=wire.cert_name,
        insecure=wire.insecure_for_tests,
        stun_only=wire.stun_only,
        port_80=wire.can_port80,
    )


def _literal(text: str) -> IPAddress | None:
    """Read a relay's address; empty is "ask DNS", `none` is "not in this family"."""
    return None if text in {"", "none"} else parse_address(text)
