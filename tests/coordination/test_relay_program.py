"""`gatepost-derp` as a process: it admits whom the coordination server knows."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.coordination.serving import RunningServer, box_of, free_ports
from tests.net.waiting import eventually

from gatepost.cli.main import cli
from gatepost.coordination.relay_main import main
from gatepost.errors import UnreachableError
from gatepost.localapi.admin_client import AdminClient
from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.model.netmap import DerpNode, DerpRegion
from gatepost.net.derp_client import DerpClients
from gatepost.testing.makers import make_private


class RunningRelay:
    """The program with its own directories and port."""

    def __init__(self, directory: Path, more: str) -> None:
        self.port, plain = free_ports(2)
        directory.mkdir()
        self.socket = directory / "admin.sock"
        self.admin = AdminClient(self.socket)
        settings = directory / "derp.toml"
        settings.write_text(
            f'host = "127.0.0.1"\nlisten-tls = ["127.0.0.1:{self.port}"]\n'
            f'listen = ["127.0.0.1:{plain}"]\nstun = []\n{more}'
        )
        self._log = directory / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                (
                    *(sys.executable, "-m", "gatepost.coordination.relay_main"),
                    *("--settings", str(settings), "--socket", str(self.socket)),
                    *("--state-directory", str(directory / "state")),
                ),
                stderr=log,
            )
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.admin.relay()
            except UnreachableError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"the relay does not start:\n{self._log.read_text()}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def region(self) -> DerpRegion:
        node = DerpNode(
            name="901a",
            host="127.0.0.1",
            port=self.port,
            address_v4=IPv4Address("127.0.0.1"),
            insecure=True,
        )
        return DerpRegion(id=901, code="x", name="X", nodes=(node,))

    @asynccontextmanager
    async def client(self, private: NodePrivate) -> AsyncGenerator[tuple[DerpClients, list[bytes]]]:
        """Run our own client with this relay as its home."""
        got: list[bytes] = []

        def on_packet(_: int, __: NodePublic, payload: bytes) -> None:
            got.append(payload)

        clients = DerpClients(private, on_packet)
        clients.set_regions((self.region(),))
        clients.set_home(901)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(clients.run())
            try:
                yield clients, got
            finally:
                running.cancel()


async def test_nodes_of_the_mesh_are_admitted_and_strangers_are_not(
    server: RunningServer, tmp_path: Path
) -> None:
    relay = RunningRelay(
        tmp_path / "r", f'verify-url = "{server.url}/verify"\nverify-fail-open = false\n'
    )
    key = server.make_key("relay", reusable=True)
    try:
        async with box_of(server, "one") as one, box_of(server, "two") as two:
            await one.register(key)
            await two.register(key)
            async with (
                relay.client(one.node) as (a, _),
                relay.client(two.node) as (b, got),
                relay.client(make_private(4711)) as (stranger, _),
            ):
                await eventually(lambda: a.connected(901) and b.connected(901))
                a.send(901, two.node.public, b"hello")
                await eventually(lambda: got)
                document = relay.admin.relay()
                await eventually(lambda: relay.admin.relay().refused)

                assert got == [b"hello"]
                assert not stranger.connected(901)
                assert document.homes == 2
                assert document.sent_packets == 1
                assert sum(document.dropped.values()) == 0
                listed = {client.key for client in relay.admin.relay_clients()}
                assert listed == {str(one.node.public), str(two.node.public)}
    finally:
        assert relay.stop() == 0


async def test_two_relays_of_a_region_carry_packets_between_their_clients(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("5e" * 32)
    shared = f'admit = "anybody"\nmesh-key-file = "{tmp_path / "key"}"\n'
    first = RunningRelay(tmp_path / "a", shared)
    try:
        (other,) = _pins(tmp_path / "a")
        second = RunningRelay(
            tmp_path / "b",
            f"{shared}[[servers]]\nhost = '127.0.0.1'\nport = {first.port}\n"
            f"certificate = '{other}'\n",
        )
        try:
            await eventually(lambda: second.admin.relay().mesh[0].connected)
            async with (
                first.client(make_private(1)) as (_, got),
                second.client(make_private(2)) as (b, _),
            ):
                await eventually(lambda: second.admin.relay().distant >= 2)
                await eventually(lambda: b.connected(901))
                b.send(901, make_private(1).public, b"across")
                await eventually(lambda: got)

            assert got == [b"across"]
            assert first.admin.relay().watchers == 1
        finally:
            second.stop()
    finally:
        first.stop()


def test_the_command_line_shows_the_figures(tmp_path: Path) -> None:
    relay = RunningRelay(tmp_path / "r", 'admit = "anybody"\n')
    try:
        ask = ("admin", "--socket", str(relay.socket), "derp")
        words = CliRunner().invoke(cli, ask)
        json_out = CliRunner().invoke(cli, (*ask, "--json"))
        clients = CliRunner().invoke(cli, (*ask, "--clients"))
    finally:
        relay.stop()

    assert words.exit_code == json_out.exit_code == clients.exit_code == 0
    assert "Dropped: queue full" in words.output
    assert json.loads(json_out.output)["clients"] == 0


def test_wrong_settings_end_the_program_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "derp.toml"
    settings.write_text('host = "x"\n')

    status = main(("--settings", str(settings), "--state-directory", str(tmp_path / "s")))

    assert status == 1
    assert f"gatepost-derp: {settings}: give either verify-url" in capsys.readouterr().err


def _pins(directory: Path) -> list[str]:
    words = (directory / "log").read_text().split()
    return [word for word in words if word.startswith("sha256-raw:")]
