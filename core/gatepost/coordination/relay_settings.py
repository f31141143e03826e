"""Settings of a relay that the coordination server's file and `gatepost-derp`'s have in common.

mesh-key-file = "/etc/gatepost/derp-mesh.key"   # 64 hex digits, for all servers of a region
clients = 10000                                  # connections at once
client-rate = "100M"                             # bit/s that one client may send; "0": no limit
[[servers]]                                      # the other servers of the region
host = "relay2.example.org"
certificate = "sha256-raw:…"                     # if it signs its own
[[regions]]                                      # relays elsewhere, for the map of the nodes only
id = 901
code = "berlin"
name = "Berlin"
servers = [{ host = "relay.berlin.example" }]
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import msgspec

from gatepost.errors import Malformed, SettingsError
from gatepost.model.netmap import DerpNode, DerpRegion
from gatepost.net.tls import PIN_PREFIX, read_pin
from gatepost.sessions.derp_member import RelayLimits

_KEY = re.compile(r"[0-9a-f]{64}")
_RATE = re.compile(r"(\d+)([kMG]?)")
_UNITS = {"": 1, "k": 1000, "M": 1000_000, "G": 1000_000_000}
_PORTS = range(1, 65536)
_REGIONS = range(1, 65536)  # a region id fits 16 bits in clients
_SLOWEST = 64_000  # bit/s; under that no greeting ends in time
_LEAST_BURST = 128 << 10  # octets: two of the largest packets
_MOST_SERVERS = 26


class ServerTable(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"
):
    """One server as the file has it."""

    host: str
    port: int = 443
    stun_port: int = 3478
    ipv4: str = ""
    ipv6: str = ""
    certificate: str = ""
    stun_only: bool = False


class RegionTable(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"
):
    id: int
    code: str = ""
    name: str = ""
    servers: tuple[ServerTable, ...] = ()


class RelayTable(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"
):
    """What every relay's table may have."""

    mesh_key_file: str = ""
    clients: int = 10_000
    client_rate: str = "0"
    servers: tuple[ServerTable, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """Checked. `servers` are the others of the region, in the map and in the mesh."""

    mesh_key_file: Path | None
    servers: tuple[DerpNode, ...]
    limits: RelayLimits


def relay_settings(table: RelayTable, region: int) -> RelaySettings:
    """Check what a relay's table says; raise `SettingsError`."""
    if table.clients < 1:
        raise SettingsError(f"clients {table.clients} must be 1 or more")
    servers = read_servers(table.servers, region, own=1)
    if any(not server.stun_only for server in servers) and not table.mesh_key_file:
        raise SettingsError(
            "servers of one region need mesh-key-file: their clients could not reach each other"
        )
    rate = _rate(table.client_rate) / 8
    burst = max(_LEAST_BURST, rate / 4)
    return RelaySettings(
        mesh_key_file=Path(table.mesh_key_file) if table.mesh_key_file else None,
        servers=servers,
        limits=RelayLimits(clients=table.clients, rate=rate, burst=burst),
    )


def read_regions(tables: tuple[RegionTable, ...], taken: set[int]) -> tuple[DerpRegion, ...]:
    """Check the other regions; raise `SettingsError`."""
    regions: list[DerpRegion] = []
    for table in tables:
        if table.id not in _REGIONS or table.id in taken:
            raise SettingsError(f"regions: id {table.id} must be 1 to 65535, each only once")
        if not table.servers:
            raise SettingsError(f"regions: {table.id} has no servers: add one, or leave it out")
        taken = taken | {table.id}
        regions.append(
            DerpRegion(
                id=table.id,
                code=table.code or str(table.id),
                name=table.name or table.code or f"Region {table.id}",
                nodes=read_servers(table.servers, table.id, own=0),
            )
        )
    return tuple(regions)


def read_servers(tables: tuple[ServerTable, ...], region: int, *, own: int) -> tuple[DerpNode, ...]:
    """Check servers; the first `own` letters of the region are taken already."""
    if len(tables) + own > _MOST_SERVERS:
        raise SettingsError(f"region {region} has over {_MOST_SERVERS} servers")
    letters = string.ascii_lowercase[own:]
    return tuple(_server(t, f"{region}{x}") for t, x in zip(tables, letters, strict=False))


def read_mesh_key(path: Path) -> str:
    """Return the 64 digits; raise `SettingsError` naming the file and the way out."""
    try:
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"mesh-key-file {path} cannot be read: {error}; make one with: openssl rand -hex 32"
        ) from error
    if not _KEY.fullmatch(text) or not text.strip("0"):
        raise SettingsError(
            f"mesh-key-file {path} must hold 64 lower-case hexadecimal digits, not all zero"
        )
    return text


def _server(table: ServerTable, name: str) -> DerpNode:
    if not table.host or table.port not in _PORTS:
        raise SettingsError(f"servers: {table.host!r} port {table.port} is no host and port")
    if table.stun_port not in _PORTS and table.stun_port != -1:
        raise SettingsError(f"servers: stun-port {table.stun_port} must be 1 to 65535, or -1")
    if table.certificate.startswith(PIN_PREFIX):
        try:
            read_pin(table.certificate)
        except Malformed as error:
            raise SettingsError(f"servers: {table.host}: {error}") from error
    return DerpNode(
        name=name,
        host=table.host,
        port=table.port,
        stun_port=table.stun_port,
        address_v4=_address_v4(table),
        address_v6=_address_v6(table),
        certificate_name=table.certificate,
        stun_only=table.stun_only,
    )


def _address_v4(table: ServerTable) -> IPv4Address | None:
    found = _address(table.ipv4, table.host)
    if table.ipv4 and not isinstance(found, IPv4Address):
        raise SettingsError(f"servers: ipv4 {table.ipv4!r} is no IPv4 address")
    return found if isinstance(found, IPv4Address) else None


def _address_v6(table: ServerTable) -> IPv6Address | None:
    found = _address(table.ipv6, table.host)
    if table.ipv6 and not isinstance(found, IPv6Address):
        raise SettingsError(f"servers: ipv6 {table.ipv6!r} is no IPv6 address")
    return found if isinstance(found, IPv6Address) else None


def _address(text: str, host: str) -> IPv4Address | IPv6Address | None:
    """Return an address, or the host if it is one."""
    try:
        return ip_address(text or host)
    except ValueError:
        return None


def _rate(text: str) -> int:
    match = _RATE.fullmatch(text)
    rate = int(match[1]) * _UNITS[match[2]] if match else -1
    if rate < 0 or 0 < rate < _SLOWEST:
        raise SettingsError(
            f"client-rate {text!r} must be bits a second such as 20M or 1G, at least 64k, or 0"
        )
    return rate
