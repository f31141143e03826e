"""What every command is given: the clients, the clock, and where sockets are."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported when used: `gatepost version` needs neither
    from gatepost.localapi.admin_client import AdminClient
    from gatepost.localapi.client import NodeClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One run of the command line; the sockets are None for the usual places."""

    node_socket: Path | None = None
    server_socket: Path | None = None

    @property
    def node(self) -> NodeClient:
        from gatepost.localapi.client import DEFAULT_SOCKET, NodeClient  # noqa: PLC0415  # lazy

        return NodeClient(self.node_socket or DEFAULT_SOCKET)

    @property
    def server(self) -> AdminClient:
        from gatepost.localapi.admin_client import DEFAULT_SOCKET, AdminClient  # noqa: PLC0415

        return AdminClient(self.server_socket or DEFAULT_SOCKET)

    def now(self) -> float:
        """Return seconds since 1970: documents count in them."""
        return time.time()  # noqa: TID251  # this is the program's one look at the clock

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)
