"""A box behind a router as a process: port mapping, and an echo on the port.

Arguments: a Unix socket to listen on. It takes one word per line and answers
with one JSON value: "state", "look", "on", "off", "end", "die".
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
import sys
from pathlib import Path
from typing import Any

from gatepost.linux.interfaces import read_attachment
from gatepost.linux.netlink import Netlink
from gatepost.net.portmap import PortMapping

PORT = 41641


class Echo(asyncio.DatagramProtocol):
    """Sends back what comes."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # it is one
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:  # asyncio's type
        self._transport.sendto(data, addr)


class Box:
    """The mapping and how often it changed."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink
        self.changes = 0
        self.mapping = PortMapping(
            port=PORT,
            secret=bytes(32),
            gateways=lambda: (*self._attached.gateways, *self._attached.gateways_v6),
            on_change=self._on_change,
            random_bytes=secrets.token_bytes,
        )

    def _on_change(self) -> None:
        self.changes += 1

    async def use(self, *, on: bool) -> None:
        self._attached = await read_attachment(self._netlink)
        self.mapping.use(on=on)

    def state(self) -> dict[str, Any]:  # JSON
        seen = self.mapping.seen()
        return {
            "mapped": [[str(m.protocol), str(m.external)] for m in self.mapping.mappings()],
            "seen": None if seen is None else [seen.nat_pmp, seen.pcp, seen.upnp],
            "refusals": {str(p): r for p, r in seen.refusals.items()} if seen else {},
            "opened": [[str(m.protocol), str(m.external)] for m in self.mapping.pinholes()],
            "changes": self.changes,
            "gateways": [str(g.address) for g in self._attached.gateways],
        }

    async def answer(self, word: str) -> Any:  # JSON
        match word:
            case "look":
                await self.mapping.look()
            case "on" | "off":
                await self.use(on=word == "on")
            case "end":
                await self.mapping.close()
                os._exit(0)
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case _:
                pass
        return self.state()


async def _main(path: Path) -> None:
    box = Box(Netlink())
    await box.use(on=True)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Echo, ("::", PORT))  # and IPv4

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await box.answer(line.decode().strip())).encode() + b"\n")
                await writer.drain()
        finally:
            writer.close()

    async with await asyncio.start_unix_server(serve, path) as server:
        await server.serve_forever()


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG, format="%(relativeCreated)d %(name)s %(message)s")
    asyncio.run(_main(Path(sys.argv[1])))
