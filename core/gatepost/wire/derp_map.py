"""Where the relays are. Source: protocol document 3.4."""

from __future__ import annotations

from msgspec import field

from gatepost.wire.go_json import Message


class DerpNode(Message, frozen=True, kw_only=True):
    """One relay. `stun_port` -1 is none, 0 is 3478; `derp_port` 0 is 443.

    `cert_name` may be `sha256-raw:<64 hex>`: trust exactly that self-signed leaf.
    """

    name: str
    region_id: int
    host_name: str
    cert_name: str = ""
    ipv4: str = ""
    ipv6: str = ""
    stun_port: int = 0
    stun_only: bool = False
    derp_port: int = 0
    insecure_for_tests: bool = False
    can_port80: bool = field(default=False, name="CanPort80")


class DerpRegion(Message, frozen=True, kw_only=True):
    region_id: int
    region_code: str = ""
    region_name: str = ""
    latitude: float = 0.0
    longitude: float = 0.0
    avoid: bool = False  # what it meant was never clear; `no_measure_no_home` took its place
    no_measure_no_home: bool = False
    nodes: tuple[DerpNode, ...] | None = None


class HomeParams(Message, frozen=True, kw_only=True):
    """How to choose a home. A region's latency is multiplied by its score, if it has one."""

    region_score: dict[str, float] | None = None


class DerpMap(Message, frozen=True, kw_only=True):
    """`regions` or `home_params` None is unchanged; their keys are decimal region ids."""

    home_params: HomeParams | None = None
    regions: dict[str, DerpRegion | None] | None = None
    omit_default_regions: bool = field(default=False, name="omitDefaultRegions")
