"""A real server in a process of its own, and real clients for it, over loopback."""

from __future__ import annotations

import asyncio
import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gatepost.errors import UnreachableError
from gatepost.localapi.admin_client import AdminClient
from gatepost.model.admin import KeyRequest, UserRequest
from gatepost.model.keys import DiscoPublic, MachinePrivate, NodePrivate
from gatepost.net.control_client import ControlClient
from gatepost.wire.go_json import write_json
from gatepost.wire.hostinfo import Hostinfo, NetInfo
from gatepost.wire.netmap import MapRequest, MapResponse
from gatepost.wire.register import RegisterAuth, RegisterRequest, RegisterResponse

VERSION = 131  # capability version


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(s.getsockname()[1]) for s in sockets]
    for sock in sockets:
        sock.close()
    return ports


class RunningServer:
    """`gatepost-coordination` with its own directories and ports; start, kill and start again."""

    def __init__(self, directory: Path, *, more: str = "") -> None:
        self.directory = directory
        self.port, self.tls_port, self.stun_port = free_ports(3)
        self.url = f"http://127.0.0.1:{self.port}"
        self.state = directory / "state"
        self.admin = AdminClient(directory / "admin.sock")
        self.process: subprocess.Popen[bytes] | None = None
        self.settings = directory / "coordination.toml"
        self.settings.write_text(
            f'server-url = "{self.url}"\ndomain = "mesh.example"\n'
            f'listen = ["127.0.0.1:{self.port}"]\nlisten-tls = ["127.0.0.1:{self.tls_port}"]\n'
            f'stun = ["127.0.0.1:{self.stun_port}"]\n{more}'
        )

    def command(self) -> tuple[str, ...]:
        return (
            *(sys.executable, "-m", "gatepost.coordination.main"),
            *("--state-directory", str(self.state)),
            *("--settings", str(self.settings)),
            *("--socket", str(self.directory / "admin.sock")),
        )

    def start(self) -> None:
        """Start and wait until it answers."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stderr=log)
        end = time.monotonic() + 20
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.admin.server()
            except UnreachableError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"the server does not start:\n{self.log()}")

    def kill(self) -> None:
        """End it as a power cut would, in the middle of whatever it does."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(20)

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def make_key(self, user: str = "alice", *, reusable: bool = False) -> str:
        if user not in {u.name for u in self.admin.users()}:
            self.admin.create_user(UserRequest(name=user))
        return self.admin.create_key(KeyRequest(user=user, reusable=reusable)).secret


@dataclass(slots=True)
class Box:
    """One machine with its keys and its connection."""

    client: ControlClient
    machine: MachinePrivate
    node: NodePrivate
    name: str

    def request(self, auth_key: str = "", followup: str = "") -> RegisterRequest:
        return RegisterRequest(
            version=VERSION,
            node_key=self.node.public,
            auth=RegisterAuth(auth_key=auth_key) if auth_key else None,
            followup=followup,
            hostinfo=Hostinfo(hostname=self.name, os="linux"),
        )

    async def register(self, auth_key: str = "", followup: str = "") -> RegisterResponse:
        return await self.client.register(self.request(auth_key, followup))

    async def update(self, *endpoints: str) -> None:
        await self.client.update(
            MapRequest(
                version=VERSION,
                node_key=self.node.public,
                disco_key=DiscoPublic(self.node.public.raw),
                hostinfo=Hostinfo(
                    hostname=self.name, os="linux", net_info=NetInfo(preferred_derp=900)
                ),
                endpoints=endpoints,
            )
        )

    def poll(self) -> AsyncGenerator[MapResponse]:
        return self.client.map(
            MapRequest(version=VERSION, node_key=self.node.public, stream=True, compress="zstd")
        )


@asynccontextmanager
async def box_of(
    server: RunningServer,
    name: str = "box",
    *,
    machine: MachinePrivate | None = None,
    node: NodePrivate | None = None,
) -> AsyncGenerator[Box]:
    machine = machine or MachinePrivate(secrets.token_bytes(32))
    client = ControlClient(server.url, machine, version=VERSION)
    try:
        yield Box(client, machine, node or NodePrivate(secrets.token_bytes(32)), name)
    finally:
        await client.close()


async def take(stream: AsyncGenerator[MapResponse], limit: float = 5.0) -> MapResponse:
    return await asyncio.wait_for(anext(stream), limit)


async def hear(stream: AsyncGenerator[MapResponse], text: str, limit: float = 1.0) -> MapResponse:
    """Wait for the message in which this text occurs."""
    async with asyncio.timeout(limit):
        async for message in stream:
            if text in write_json(message).decode():
                return message
    raise AssertionError(f"the stream ended without {text}")


def get(server: RunningServer, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body
