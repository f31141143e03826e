"""What a wish of the operator is held against before anything is stored or asked. Pure."""

from __future__ import annotations

from gatepost.daemon.settings_file import BoxSettings
from gatepost.errors import NotFoundError, RefusedError, SettingsError, UnreachableError
from gatepost.model.exits import EVERYWHERE
from gatepost.model.netmap import NetMap, Node
from gatepost.model.status import UpRequest
from gatepost.net.control_address import parse_server


def check_server(box: BoxSettings) -> None:
    if box.node.login_server:
        parse_server(box.node.login_server)


def check_ready(box: BoxSettings) -> None:
    check_server(box)
    if not box.node.login_server:
        raise SettingsError(
            "no coordination server is set", hint="gatepost up --login-server https://…"
        )


def check_stay(before: BoxSettings, request: UpRequest) -> None:
    """Refuse to leave a mesh by the way, as `set` would for a box that is logged in."""
    here = before.node.login_server
    if request.login_server is not None and request.login_server.rstrip("/") != here:
        raise RefusedError(
            f"this box is logged in at {here}, and would leave that mesh at once",
            hint=f"join the other one: gatepost up --login-server {request.login_server}",
        )


def check_exit(before: BoxSettings, request: UpRequest, netmap: NetMap | None) -> None:
    """Refuse an exit node that is none: while one is chosen, nothing leaves by another way.

    Before the mesh is known, any name is taken.
    """
    server = request.login_server
    is_elsewhere = server is not None and server.rstrip("/") != before.node.login_server
    if not request.exit_node or netmap is None or is_elsewhere:
        return
    peer = _only(netmap, request.exit_node)
    if not any(prefix in peer.allowed for prefix in EVERYWHERE):
        raise SettingsError(
            f"{peer.label} is no exit node for this box",
            hint="it must offer itself (there: gatepost set --advertise-exit-node), be approved "
            "(gatepost admin routes approve) and be granted by the policy",
        )


def _only(netmap: NetMap, wanted: str) -> Node:
    if netmap.me.is_called(wanted):
        raise SettingsError(f"{wanted} is this box itself: an exit node is another one")
    found = [peer for peer in netmap.peers if peer.is_called(wanted)]
    if not found:
        raise NotFoundError(
            f"no node of the mesh is called {wanted!r}",
            hint="gatepost exit-node list shows those that can be used",
        )
    if len(found) > 1:
        raise SettingsError(f"{len(found)} nodes are called {wanted!r}: give an address")
    return found[0]


def check_running(*, logged_in: bool, wanted: bool, netmap: NetMap | None) -> NetMap:
    """Return who is in the mesh; raise at once what else a peer's silence would say late."""
    if not logged_in:
        raise RefusedError("this box is logged in nowhere", hint="join a mesh: gatepost up")
    if not wanted:
        raise RefusedError("the mesh is switched off on this box", hint="gatepost up")
    if netmap is None:
        raise UnreachableError(
            "the coordination server has not said yet who is in the mesh",
            hint="look with: gatepost status",
        )
    return netmap
