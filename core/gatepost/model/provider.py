"""A WireGuard provider: what its configuration file says, without the file."""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.model.keys import NodePrivate, NodePublic, PresharedKey
from gatepost.model.netmap import IPAddress, IPNetwork
from gatepost.model.observed import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One configuration: this machine's end, and the provider's server.

    `host` is a name or an address as text, `keepalive` in seconds (0 sends none), `mtu`
    in octets. `allowed` covers the internet of at least one version of IP.
    """

    private_key: NodePrivate
    addresses: tuple[IPAddress, ...]
    dns: tuple[IPAddress, ...] = ()
    search: tuple[str, ...] = ()
    mtu: int | None = None
    port: int | None = None  # UDP
    server: NodePublic
    preshared: PresharedKey | None = None
    host: str
    host_port: int  # UDP
    keepalive: int = 0
    allowed: frozenset[IPNetwork]


@dataclass(frozen=True, slots=True)
class WatchProvider(Watch[Provider | None]):
    """What was imported under a name; None if nothing was."""

    name: str


@dataclass(frozen=True, slots=True)
class WatchServer(Watch[IPAddress | None]):
    """Where the tunnel that is there speaks to a provider's server, None if there is none."""

    server: NodePublic


@dataclass(frozen=True, slots=True)
class WatchHost(Watch[tuple[IPAddress, ...]]):
    """The addresses of a host that a service looks up, in the order to try them."""

    name: str
