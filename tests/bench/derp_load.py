"""The processes of the relay's benchmark: `derp_load.py server|idle …`, and what clients say first.

Each role prints one line when it is ready, waits for a line on standard input,
and prints one line of JSON when it is done. The traffic itself comes from
`derp_generator.c`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import sys
from pathlib import Path
from ssl import SSLSocket

from gatepost.model.keys import NodePublic
from gatepost.net.derp_server import DerpServer
from gatepost.net.http_server import Limits, Request, Response, Upgrade, serve
from gatepost.net.own_certificate import own_certificate
from gatepost.net.tls import Insecure, client_context, server_context, utc_now
from gatepost.sessions.derp_client import DerpSession, State
from gatepost.testing.makers import make_private
from gatepost.wire.box import SharedKeys
from gatepost.wire.derp import VERSION, write_frame
from gatepost.wire.derp_frames import ClientGreeting, ClientInfo
from gatepost.wire.go_json import write_json

SERVER = make_private(1 << 20)
_CONTEXT = client_context(Insecure(""))
_REQUEST = (
    b"GET /derp HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n"
    b"Derp-Fast-Start: 1\r\n\r\n"
)


def openings(count: int) -> bytes:
    """Return for each client its key, the length of what it says first (4 bytes), and that."""
    return b"".join(map(_opening, range(1, count + 1)))


def _opening(number: int) -> bytes:
    private = make_private(number)
    text = write_json(ClientGreeting(version=VERSION, can_ack_pings=True))
    sealed = SharedKeys(private).seal(SERVER.public, text, secrets.token_bytes(24))
    said = _REQUEST + write_frame(ClientInfo(private.public, sealed))
    return private.public.raw + len(said).to_bytes(4, "big") + said


async def run_server(folder: str) -> None:
    certificate = own_certificate(Path(folder) / "derp.pem", ("127.0.0.1",), utc_now())

    async def admit(_: NodePublic, __: str) -> bool:
        return True

    server = DerpServer(SERVER, admit)

    async def handle(request: Request) -> Response | Upgrade:
        return server.handle(request)

    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    tls = server_context(certificate.path)
    http = await serve(handle, [listening], tls=tls, limits=Limits(connections=20_000))
    print(listening.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    counters = server.counters()
    print(
        json.dumps(
            {
                "received": counters.received_packets,
                "sent": counters.sent_packets,
                "dropped": {str(reason): count for reason, count in counters.dropped.items()},
            }
        ),
        flush=True,
    )
    await server.close()
    await http.close()


def connect(port: int, number: int) -> SSLSocket:
    """Return a connection that the relay has admitted."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=30)
    sock = _CONTEXT.wrap_socket(plain, server_hostname="127.0.0.1")
    session = DerpSession(
        make_private(number), host="x", nonce=secrets.token_bytes(24), on_packet=_ignore
    )
    sock.sendall(session.begin())
    while session.state is not State.READY:
        _, answer = session.receive(sock.recv(4096))
        if answer:
            sock.sendall(answer)
    return sock


def idle(port: int, count: int) -> None:
    """Stay connected and say nothing."""
    socks = [connect(port, 1 + n) for n in range(count)]
    print("ready", flush=True)
    sys.stdin.readline()
    print(len(socks), flush=True)


def _ignore(source: NodePublic, payload: bytes) -> None:
    """Hear nothing."""


def main() -> None:
    role, *rest = sys.argv[1:]
    if role == "server":
        asyncio.run(run_server(rest[0]))
    else:
        idle(int(rest[0]), int(rest[1]))


if __name__ == "__main__":
    main()
