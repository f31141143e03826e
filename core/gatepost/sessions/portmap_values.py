"""The nouns of port mapping, and what a gateway may give us."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from gatepost.model.netmap import MESH_V4, MESH_V6, Endpoint, IPAddress
from gatepost.wire.upnp import Address

LIFETIME = 7200  # seconds wished for, RFC 6886 section 3.3
SHORTEST, LONGEST = 60, 86400  # seconds of a lifetime that are believed


class Protocol(StrEnum):
    """A way to ask a gateway, by the name that people know."""

    NAT_PMP = "NAT-PMP"
    PCP = "PCP"
    UPNP = "UPnP"


@dataclass(frozen=True, slots=True)
class Mapping:
    """A port of the gateway that leads to us. Times are of the session's clock."""

    protocol: Protocol
    external: Endpoint
    made: float
    lifetime: float  # seconds

    @property
    def renew(self) -> float:
        """When to ask for it again: at half of its lifetime, RFC 6886 section 3.3."""
        return self.made + self.lifetime / 2

    @property
    def end(self) -> float:
        return self.made + self.lifetime


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to the gateway: POST of `body` to a SOAP `action`, GET without one."""

    address: Address
    action: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpReply:
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class SendTo:
    """Send a datagram."""

    to: Endpoint
    packet: bytes


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask the gateway by HTTP, and give the reply (None: there was none) to `on_reply`."""

    number: int
    request: HttpRequest


@dataclass(frozen=True, slots=True)
class Changed:
    """The mapping is another one, or gone."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A look at which protocols the gateway speaks has ended."""


Output = SendTo | Fetch | Changed | Looked


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Which protocols the gateway answered to, None before the first look; and every refusal."""

    nat_pmp: bool | None = None
    pcp: bool | None = None
    upnp: bool | None = None
    refusals: dict[Protocol, str] = field(default_factory=dict[Protocol, str])


def flaw_of(address: IPAddress, port: int) -> str:
    """Say why nobody could reach us at what a gateway calls our external address, "" if one can.

    A private address is none: it is behind another NAT, but neighbours behind
    that one may use it.
    """
    if not isinstance(address, IPv4Address):
        return f"the external address {address} is not of IPv4"
    if address.is_unspecified:
        return "the gateway has no external address"
    if address in MESH_V4:
        return f"the external address {address} belongs to the NAT of a carrier"
    if address.is_loopback or address.is_multicast or address.is_link_local:
        return f"the external address {address} cannot be reached"
    if address.is_reserved or not 0 < port < 1 << 16:
        return f"the external address {address} port {port} does not exist"
    return ""


def flaw_of_v6(address: IPAddress, port: int) -> str:
    """Say the same of the address at which a gateway says that it lets IPv6 packets through."""
    if not isinstance(address, IPv6Address):
        return f"the external address {address} is not of IPv6"
    unreachable = address.is_unspecified or address.is_loopback or address.is_multicast
    if unreachable or address.is_link_local or address in MESH_V6:
        return f"the external address {address} cannot be reached"
    return "" if 0 < port < 1 << 16 else f"the external port {port} does not exist"


def believed(lifetime: int) -> float:
    """Return the lifetime to reckon with: one near 0 or for ever is not taken at its word."""
    return float(min(max(lifetime, SHORTEST), LONGEST))


def has_restarted(epoch: int, at: float, new_epoch: int, now: float) -> bool:
    """Say whether a gateway lost its mappings since it said `epoch` at `at`.

    Its clock may be an eighth slower than ours and two seconds late; a faster
    one proves nothing. Source: RFC 6886 section 3.6.
    """
    return new_epoch - epoch + 2 < (now - at) * 7 / 8
