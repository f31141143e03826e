"""WireGuard tunnels to somebody outside of the mesh, and what must never leave beside one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gatepost.model.keys import NodePrivate, NodePublic, PresharedKey
from gatepost.model.netmap import Endpoint, IPNetwork
from gatepost.model.resource import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelPeer:
    """The other end of a tunnel. `keepalive` is in seconds, 0 sends none.

    Without an `endpoint` it must speak first, and it stays where it was heard last.
    """

    public_key: NodePublic
    preshared: PresharedKey | None = None
    endpoint: Endpoint | None = None
    keepalive: int = 0
    allowed: frozenset[IPNetwork] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel(Resource):
    """A WireGuard interface with its peers, as a whole; nothing but this noun writes it.

    `name` is one of `owned.TUNNEL_DEVICES`. `mark` is put on the encrypted packets, so
    that no rule of ours sends them into a tunnel.
    """

    identity: ClassVar = ("name",)
    name: str
    private_key: NodePrivate
    port: int  # UDP
    mark: int
    mtu: int  # octets
    peers: frozenset[TunnelPeer] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlyThroughTunnel(Resource):
    """Let packets from the mesh out through a tunnel only, and in from it only what they asked for.

    `spared` is what they may reach without it: the networks of this site. Guests of this
    machine go no other way to the internet either. It holds with or without the tunnel,
    and with or without the daemon.
    """

    identity: ClassVar = ("tunnel",)
    tunnel: str
    mesh: str
    spared: frozenset[IPNetwork] = frozenset()
