"""A relay as a process: DERP over TLS with a certificate of its own, and STUN. Arguments: a folder.

It writes its certificate to the folder, and the pin to the file `pin` when it serves.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.net.derp_server import DerpServer
from gatepost.net.http_server import Request, Response, Upgrade, serve
from gatepost.net.own_certificate import own_certificate
from gatepost.net.stun_server import serve_stun, stun_socket
from gatepost.net.tls import server_context, utc_now
from gatepost.testing.topology import INTERNET_V4, INTERNET_V6

PORT = 443


async def _admit(_key: NodePublic, _address: str) -> bool:
    return True


async def _run(folder: Path) -> None:
    server = DerpServer(NodePrivate(bytes(31) + b"\x09"), _admit)

    async def handler(request: Request) -> Response | Upgrade:
        return server.handle(request)

    certificate = own_certificate(folder / "relay.pem", [str(INTERNET_V4)], utc_now())
    listening = socket.create_server(("0.0.0.0", PORT))
    listening.setblocking(False)
    await serve(handler, [listening], tls=server_context(certificate.path))
    serve_stun([stun_socket(INTERNET_V4), stun_socket(INTERNET_V6)])
    (folder / "pin").write_text(certificate.pin)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1])))
