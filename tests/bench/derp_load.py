"""The processes of the relay's benchmark: `derp_load.py server|send|receive|idle …`.

Each role prints one line when it is ready, waits for a line on standard input,
and prints one line of JSON when it is done. Clients are blocking sockets, one
thread each: cheap enough that the relay is the slowest part where it can be.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from ssl import SSLSocket

from gatepost.model.keys import NodePublic
from gatepost.net.derp_server import DerpServer
from gatepost.net.http_server import Request, Response, Upgrade, serve
from gatepost.net.own_certificate import own_certificate
from gatepost.net.tls import Insecure, client_context, server_context, utc_now
from gatepost.sessions.derp_client import DerpSession, State
from gatepost.testing.makers import make_private
from gatepost.wire.derp import write_packet

PAYLOAD = 1400  # octets
BURST = 46  # packets per write: four TLS records of 16 KiB
RECEIVERS = 1000  # the number of the first receiver's key; senders' keys begin at 1
QUIET = 1.0  # seconds without a packet until a receiver is done
_CONTEXT = client_context(Insecure(""))


async def run_server(folder: str) -> None:
    certificate = own_certificate(Path(folder) / "derp.pem", ("127.0.0.1",), utc_now())

    async def admit(_: NodePublic, __: str) -> bool:
        return True

    server = DerpServer(make_private(1 << 20), admit)

    async def handle(request: Request) -> Response | Upgrade:
        return server.handle(request)

    listening = socket.create_server(("127.0.0.1", 0))
    http = await serve(handle, [listening], tls=server_context(certificate.path))
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
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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


def send(port: int, count: int, seconds: float, packets: int) -> None:
    """Send for `seconds` from `count` clients, `packets` per write, as fast as they go."""
    socks = [connect(port, 1 + n) for n in range(count)]

    def work(number: int) -> int:
        other = make_private(RECEIVERS + number).public
        burst = write_packet(other, bytes(PAYLOAD)) * packets
        until = time.monotonic() + seconds
        sent = 0
        while time.monotonic() < until:
            socks[number].sendall(burst)
            sent += packets
        return sent

    print("ready", flush=True)
    sys.stdin.readline()
    _report(sum(_in_threads(work, count)))


def receive(port: int, count: int) -> None:
    """Count what comes to `count` clients, until it is quiet."""
    socks = [connect(port, RECEIVERS + n) for n in range(count)]

    def work(number: int) -> int:
        buffer = bytearray(256 << 10)
        octets = 0
        try:
            while True:
                octets += socks[number].recv_into(buffer)
                socks[number].settimeout(QUIET)
        except TimeoutError:
            return octets // (PAYLOAD + 37)

    print("ready", flush=True)
    sys.stdin.readline()
    _report(sum(_in_threads(work, count)))


def idle(port: int, count: int) -> None:
    """Stay connected and say nothing."""
    socks = [connect(port, 1 + n) for n in range(count)]
    print("ready", flush=True)
    sys.stdin.readline()
    _report(len(socks))


def _report(packets: int) -> None:
    print(json.dumps({"packets": packets, "cpu": time.process_time()}), flush=True)


def _ignore(source: NodePublic, payload: bytes) -> None:
    """Hear nothing."""


def _in_threads(work: Callable[[int], int], count: int) -> list[int]:
    results = [0] * count

    def run(number: int) -> None:
        results[number] = work(number)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def main() -> None:
    role, *rest = sys.argv[1:]
    match role:
        case "server":
            asyncio.run(run_server(rest[0]))
        case "send":
            send(int(rest[0]), int(rest[1]), float(rest[2]), int(rest[3]))
        case "receive":
            receive(int(rest[0]), int(rest[1]))
        case _:
            idle(int(rest[0]), int(rest[1]))


if __name__ == "__main__":
    main()
