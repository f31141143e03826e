"""What a node can be asked and told: the interface behind the local API.

The daemon implements it, `server.py` routes HTTP to it, and tests put a small
node with behaviour behind it. Every method may raise a GatepostError; the
router turns its class into a status (see `router.py`).
"""

from __future__ import annotations

from typing import Protocol

from gatepost.model.guest_documents import PlainWireGuardDocument
from gatepost.model.status import (
    ChangeDocument,
    LanDocument,
    NetcheckDocument,
    PingDocument,
    PingKind,
    PluginDocument,
    PluginRequest,
    ProviderDocument,
    ProviderRequest,
    ReasonDocument,
    ReturnPathDocument,
    Status,
    UpRequest,
    VersionDocument,
    WhyDocument,
)
from gatepost.model.surroundings import SurroundingsDocument
from gatepost.model.wake import WakeDocument, WakeRequestDocument


class NodeApi(Protocol):
    """One node. None of these waits for the network, except what asks others."""

    async def version(self) -> VersionDocument: ...

    async def status(self, *, peers: bool = True) -> Status:
        """Report the node; `peers` False leaves the peers out (cheap, for polling)."""
        ...

    async def up(self, request: UpRequest) -> Status:
        """Store the settings given, want the mesh up, and return at once.

        The caller follows with `status` until the state is Running, or shows
        `auth_url` when it appears. An auth key is used, never shown again.
        """
        ...

    async def down(self) -> Status:
        """Want the mesh down; the node stays registered."""
        ...

    async def logout(self) -> Status:
        """Tell the coordination server that this node's key ends now, and forget it."""
        ...

    async def settings(self) -> UpRequest:
        """Return the settings in use; every field is set, `auth_key` is None."""
        ...

    async def change_settings(self, request: UpRequest) -> UpRequest:
        """Change the fields that are not None and return all of them."""
        ...

    async def plan(self) -> tuple[ChangeDocument, ...]:
        """Return what the next round would change on this machine, without writing."""
        ...

    async def explain(self, what: str) -> tuple[ReasonDocument, ...]:
        """Say who wants a thing: a prefix, an address, a port or a name; empty if nobody."""
        ...

    async def plugins(self) -> tuple[PluginDocument, ...]: ...

    async def change_plugin(self, name: str, request: PluginRequest) -> PluginDocument:
        """Switch or configure a plugin; raise NotFoundError for an unknown name."""
        ...

    async def ping(
        self, target: str, seconds: float, kind: PingKind = "disco", size: int = 0
    ) -> PingDocument:
        """Ask one peer (name or mesh address) for an answer, at most `seconds` long.

        "disco" asks path discovery, and the peer through the tunnel if that is silent;
        "tsmp" (its daemon) and "icmp" (its kernel) ask through the tunnel only.
        `size` is octets of the whole packet, 0 is the smallest.
        No answer in time is a document without latency; a target that is no
        peer raises NotFoundError.
        """
        ...

    async def why(self, target: str, seconds: float) -> WhyDocument:
        """Try to reach one peer for at most `seconds`, and say what explains the path.

        A target that is no peer raises NotFoundError.
        """
        ...

    async def netcheck(self) -> NetcheckDocument: ...

    async def surroundings(self) -> SurroundingsDocument:
        """Return the networks around this box, and which of them are worth sharing."""
        ...

    async def lans(self) -> tuple[LanDocument, ...]:
        """Return the networks here that the mesh may reach, with what their hosts must know."""
        ...

    async def plain_wireguard(self) -> PlainWireGuardDocument:
        """Describe this box's end for machines with the stock app, and those machines."""
        ...

    async def wake(self, request: WakeRequestDocument) -> WakeDocument:
        """Wake a machine at this site, or have the box of another site do so.

        Raise RefusedError if that box or the policy says no.
        """
        ...

    async def return_path(self, target: str, seconds: float) -> ReturnPathDocument:
        """Ask a host of the LAN as other sites would, at most `seconds` long."""
        ...

    async def providers(self) -> tuple[ProviderDocument, ...]:
        """Return the WireGuard providers that were imported."""
        ...

    async def import_provider(self, request: ProviderRequest) -> ProviderDocument:
        """Read and keep a provider's file; raise SettingsError with the line that is wrong."""
        ...

    async def remove_provider(self, name: str) -> None:
        """Forget a provider; raise RefusedError for the one in use."""
        ...
