"""Lets this node use peer relays, through whatever path service there is.

A new login is a new path service and a new relay client; the stand-ins in the
kernel are the machine's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from gatepost.linux.stand_ins import StandIns
from gatepost.model.keys import DiscoPublic, NodePublic
from gatepost.model.netmap import NetMap
from gatepost.model.resource import Level, Notice, Resource
from gatepost.net.paths import PathService
from gatepost.net.relay_client import RelayClients
from gatepost.net.tasks import Tasks
from gatepost.sessions.relay_client_outputs import Outcome
from gatepost.wire.disco_relay import AllocateRequest, AllocateResponse


@dataclass(slots=True, kw_only=True)
class RelayUse:
    """The relay client in use, if any; `close` it.

    `ask_ourselves` asks the relay on this node, which answers None when there is none.
    """

    disco: DiscoPublic
    stand_ins: StandIns
    ask_ourselves: Callable[[DiscoPublic, AllocateRequest], AllocateResponse | None]
    _client: RelayClients | None = None
    _netmap: NetMap | None = None
    _tasks: Tasks = field(default_factory=Tasks)

    def attach_to(self, paths: PathService) -> None:
        """Serve these paths from now on, and no others."""
        if self._client is not None:
            self._tasks.spawn(self._client.close(), "end of a relay client")
        self._client = client = RelayClients(
            disco=self.disco,
            paths=paths,
            stand_ins=self.stand_ins,
            ask_ourselves=lambda request: self.ask_ourselves(self.disco, request),
        )
        paths.attach(client)
        client.set_netmap(self._netmap)

    def set_netmap(self, netmap: NetMap | None) -> None:
        if netmap is self._netmap:
            return
        self._netmap = netmap
        if self._client is not None:
            self._client.set_netmap(netmap)

    def poke(self) -> None:
        """Bind again and look at routes again: the machine's network has changed."""
        if self._client is not None:
            self._client.poke()

    def resources(self, devices: Collection[str]) -> tuple[Resource, ...]:
        """Return what should be on this machine's devices, so that the kernel writes to relays."""
        return self.stand_ins.resources(devices)

    def outcomes(self, peer: NodePublic) -> Mapping[NodePublic | None, Outcome]:
        """Return how far we came with each relay; None is a relay that the peer told us of."""
        return self._client.outcomes(peer) if self._client else {}

    def notices(self) -> tuple[Notice, ...]:
        is_used = self._client is not None and self._client.is_used
        if not is_used or not self.stand_ins.trouble:
            return ()
        text = (
            "packets that go through a peer relay pass through the daemon, which is slow: "
            f"{self.stand_ins.trouble}"
        )
        return (Notice("relay-without-kernel", text, Level.WARNING),)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
        await self._tasks.close()
