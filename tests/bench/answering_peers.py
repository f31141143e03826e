"""Nodes whose path discovery works: `answering_peers URL KEY COUNT ADDRESS`; they run until killed.

Each has a UDP port of its own at ADDRESS, answers the pings that come there, and
pings back every few seconds as a peer with traffic does. There is no WireGuard
behind it. Prints a line when all have joined.
"""

from __future__ import annotations

import asyncio
import secrets
import sys

from gatepost.model.keys import DiscoPrivate, DiscoPublic, MachinePrivate, NodePrivate
from gatepost.model.netmap import Endpoint, parse_endpoint
from gatepost.net.control_client import ControlClient
from gatepost.sessions.paths_numbers import HEARTBEAT
from gatepost.wire.box import NONCE_LENGTH, SharedKeys
from gatepost.wire.disco import Message, Ping, Pong, open_packet, read_packet, seal_packet
from gatepost.wire.disco_fields import TRANSACTION_LENGTH
from gatepost.wire.hostinfo import Hostinfo, NetInfo
from gatepost.wire.netmap import MapRequest
from gatepost.wire.register import RegisterAuth, RegisterRequest

VERSION = 113  # the oldest capability version that the server supports
REGION = 900
NAME = "active"  # the hosts' names begin with it


class Peer(asyncio.DatagramProtocol):
    """One node at its port."""

    def __init__(self) -> None:
        self.node = NodePrivate(secrets.token_bytes(32))
        self.disco = DiscoPrivate(secrets.token_bytes(32))
        self._public = self.disco.public
        self._keys = SharedKeys(self.disco)
        self._other: tuple[DiscoPublic, tuple[str, int]] | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # it is one
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a ping; the test has nobody else who might ask."""
        if data[:2] != b"TS":
            return  # WireGuard's
        closed = read_packet(data)
        message = open_packet(closed, self._keys)
        if isinstance(message, Ping):
            self._other = closed.sender, addr
            self._send(Pong(message.transaction, parse_endpoint(f"{addr[0]}:{addr[1]}")))

    def beat(self) -> None:
        """Ping who pinged us last."""
        self._send(Ping(secrets.token_bytes(TRANSACTION_LENGTH), self.node.public))

    def _send(self, message: Message) -> None:
        if self._other is None:
            return
        to, address = self._other
        nonce = secrets.token_bytes(NONCE_LENGTH)
        self._transport.sendto(seal_packet(message, self._public, to, self._keys, nonce), address)

    async def join(self, url: str, key: str, number: int, endpoint: Endpoint) -> None:
        """Register, and tell where we are."""
        client = ControlClient(url, MachinePrivate(secrets.token_bytes(32)))
        hostinfo = Hostinfo(
            hostname=f"{NAME}-{number}", os="linux", net_info=NetInfo(preferred_derp=REGION)
        )
        try:
            await client.register(
                RegisterRequest(
                    version=VERSION,
                    node_key=self.node.public,
                    auth=RegisterAuth(auth_key=key),
                    hostinfo=hostinfo,
                )
            )
            await client.update(
                MapRequest(
                    version=VERSION,
                    node_key=self.node.public,
                    disco_key=self._public,
                    hostinfo=hostinfo,
                    endpoints=(str(endpoint),),
                )
            )
        finally:
            await client.close()


async def _run(url: str, key: str, count: int, address: str) -> None:
    loop = asyncio.get_running_loop()
    peers: list[Peer] = []
    for number in range(count):
        transport, peer = await loop.create_datagram_endpoint(Peer, (address, 0))
        port = transport.get_extra_info("sockname")[1]
        await peer.join(url, key, number, parse_endpoint(f"{address}:{port}"))
        peers.append(peer)
    print(f"{count} joined", flush=True)
    while True:
        for peer in peers:
            await asyncio.sleep(HEARTBEAT / count)
            peer.beat()


def main() -> None:
    url, key, count, address = sys.argv[1:]
    asyncio.run(_run(url, key, int(count), address))


if __name__ == "__main__":
    main()
