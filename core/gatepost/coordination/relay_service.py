"""A relay with its links to others of its region, as both programs run it."""

from __future__ import annotations

import logging
from importlib.metadata import version

from gatepost.coordination.relay_settings import RelaySettings, read_mesh_key
from gatepost.localapi.router import Answer, Call, Route
from gatepost.model.admin import RelayClientDocument, RelayDocument, RelayMeshDocument
from gatepost.model.keys import NodePrivate
from gatepost.net.derp_mesh import MeshLinks
from gatepost.net.derp_server import Admit, DerpServer
from gatepost.sessions.derp_counters import ClientCounters

log = logging.getLogger(__name__)

BACK_IN = 1.0  # seconds; what clients are told when we stop: a restart is likely
SHOWN = 1000  # clients in one document, the busiest


class RelayService:
    """The server and its links. `run` must run."""

    def __init__(self, private: NodePrivate, admit: Admit, settings: RelaySettings) -> None:
        """Raise `SettingsError` for a mesh key that cannot be read."""
        path = settings.mesh_key_file
        key = "" if path is None else read_mesh_key(path)
        self.server = DerpServer(private, admit, mesh_key=key, limits=settings.limits)
        dialled = [node for node in settings.servers if not node.stun_only]
        self._links = MeshLinks(dialled, self.server.relay, private, key)

    async def run(self) -> None:
        """Keep the links to the other servers of the region."""
        await self._links.run()

    async def close(self) -> None:
        """Tell the clients to come back soon, and close."""
        await self.server.close(back_in=BACK_IN)

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of the administration API; even reading needs permission."""
        return (
            Route("GET", "/v1/derp", self._answer, guarded=True),
            Route("GET", "/v1/derp/clients", self._answer_clients, guarded=True),
        )

    async def _answer(self, _call: Call) -> Answer:
        return self.document()

    async def _answer_clients(self, _call: Call) -> Answer:
        now = self.server.now()
        busiest = sorted(self.server.clients(), key=_traffic, reverse=True)[:SHOWN]
        return [_client_document(client, now) for client in busiest]

    def document(self) -> RelayDocument:
        """Describe the relay: figures since its start and the state of its links."""
        counters = self.server.counters()
        return RelayDocument(
            version=version("gatepost"),
            public_key=str(self.server.public),
            clients=counters.clients,
            homes=counters.homes,
            duplicates=counters.duplicates,
            joined=counters.joined,
            received_packets=counters.received_packets,
            received_octets=counters.received_octets,
            sent_packets=counters.sent_packets,
            sent_octets=counters.sent_octets,
            forwarded_packets=counters.forwarded_packets,
            waiting_octets=counters.waiting_octets,
            slowed=counters.slowed,
            dropped={str(reason): count for reason, count in counters.dropped.items()},
            refused=dict(self.server.refused),
            watchers=counters.watchers,
            distant=counters.distant,
            mesh=tuple(
                RelayMeshDocument(
                    name=state.name,
                    connected=state.connected,
                    clients=state.clients,
                    problem=state.problem,
                )
                for state in self._links.states()
            ),
        )


def _client_document(client: ClientCounters, now: float) -> RelayClientDocument:
    return RelayClientDocument(
        key=str(client.key),
        address=client.address,
        connected=now - client.since,
        home=client.preferred,
        mesh=client.mesh,
        received_packets=client.received_packets,
        received_octets=client.received_octets,
        sent_packets=client.sent_packets,
        sent_octets=client.sent_octets,
        dropped_packets=client.dropped_packets,
        waiting_octets=client.waiting_octets,
        slowed=client.slowed,
    )


def _traffic(client: ClientCounters) -> int:
    return client.received_octets + client.sent_octets
