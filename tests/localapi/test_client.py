"""The client against the server, over a real socket."""

from __future__ import annotations

import grp
import http.client
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest

from gatepost.errors import (
    DeniedError,
    NotFoundError,
    SettingsError,
    UnreachableError,
    WireError,
)
from gatepost.localapi.client import NodeClient
from gatepost.localapi.listen import only_members, serve_local
from gatepost.localapi.server import node_router, serve_node
from gatepost.model.status import PluginRequest, UpRequest
from gatepost.testing.fake_node import GOOD_KEY, FakeNode
from gatepost.testing.local_thread import served


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node.sock"


@pytest.fixture
def client(path: Path) -> Generator[NodeClient]:
    with served(lambda: serve_node(FakeNode(), path)):
        yield NodeClient(path)


def test_every_method_makes_the_round_trip(client: NodeClient) -> None:
    assert client.status().state == "Stopped"
    assert client.up(UpRequest(auth_key=GOOD_KEY)).state == "Running"
    assert [peer.id for peer in client.status().peers] == [2, 3]
    assert client.status(peers=False).peers == ()
    assert client.version().capability == 130
    assert client.settings().hostname == "gate"
    changed = client.change_settings(UpRequest(advertise_routes=("10.1.0.0/16",)))
    assert changed.advertise_routes == ("10.1.0.0/16",)
    assert client.plan()[0].action == "add"
    assert client.explain("10.9.0.0/16")[0].source == "the netmap"
    assert client.explain("nothing") == ()
    assert client.plugins()[0].required
    assert client.ping("far", 1.0).path == "derp"
    assert client.netcheck().preferred_derp == 900
    assert client.down().state == "Stopped"
    assert client.logout().state == "NeedsLogin"


def test_settings_of_a_plugin_make_the_round_trip(client: NodeClient) -> None:
    request = PluginRequest(enabled=True, settings={"networks": ["10.1.0.0/16"], "metric": 5})
    changed = client.change_plugin("subnet-router", request)

    values = {field.name: field.value for field in changed.fields}
    assert changed.enabled
    assert (values["networks"], values["metric"]) == (("10.1.0.0/16",), 5)


@pytest.mark.parametrize("size", [300_000, 3_000_000, 30_000_000])
def test_what_is_too_long_is_refused_with_its_size_and_the_limit(
    client: NodeClient, size: int
) -> None:
    request = PluginRequest(settings={"networks": ["x" * size]})
    sent = len(msgspec.json.encode(request))

    with pytest.raises(SettingsError, match=rf" {sent:,} octets .at most 262,144 octets"):
        client.change_plugin("subnet-router", request)


def test_errors_come_back_as_what_they_were(client: NodeClient) -> None:
    with pytest.raises(NotFoundError, match="'no/such'"):
        client.change_plugin("no/such", PluginRequest())
    with pytest.raises(SettingsError, match="required"):
        client.change_plugin("mesh", PluginRequest(enabled=False))
    with pytest.raises(SettingsError, match="timeout"):
        client.ping("far", 1000.0)


def test_a_hint_arrives_with_its_error(client: NodeClient) -> None:
    with pytest.raises(NotFoundError) as caught:
        client.ping("nobody", 1.0)

    assert caught.value.hint == "see: gatepost status"


def test_nobody_on_the_socket_says_how_to_start_it(path: Path) -> None:
    with pytest.raises(UnreachableError) as caught:
        NodeClient(path).status()

    assert "gatepostd is not running" in str(caught.value)
    assert caught.value.hint == "start it: sudo systemctl start gatepostd"


def test_a_daemon_that_hangs_is_given_up(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(UnreachableError, match="did not answer within"):
            NodeClient(path, seconds=0.05).status()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", WireError),
        (b"HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\noops", DeniedError),
        (b"no http at all\r\n\r\n", UnreachableError),
        (b"", UnreachableError),
    ],
)
def test_a_daemon_that_talks_nonsense_is_an_error(
    path: Path, answer: bytes, error: type[Exception]
) -> None:
    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        connection.recv(65536)
        connection.sendall(answer)
        connection.close()

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        with pytest.raises(error):
            NodeClient(path, seconds=5.0).status()
        thread.join()


def test_a_body_over_the_limit_is_refused(client: NodeClient, path: Path) -> None:
    assert client.status().state == "Stopped"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(b"POST /v1/up HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        sock.sendall(b" " * 300_000)
        response = http.client.HTTPResponse(sock)
        response.begin()

        assert response.status == 413


_AS_NOBODY = """
import os, sys
from pathlib import Path
os.setgroups([int(g) for g in sys.argv[2].split(",") if g])
os.setgid(65534); os.setuid(65534)
from gatepost.errors import DeniedError
from gatepost.localapi.client import NodeClient
client = NodeClient(Path(sys.argv[1]))
print(client.status().state)
try:
    print(client.down().state)
except DeniedError as error:
    print("denied", error.hint)
"""


def run_as_nobody(path: Path, groups: str) -> list[str]:
    command = [sys.executable, "-c", _AS_NOBODY, str(path), groups]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=30
    ).stdout.splitlines()


@pytest.mark.root
def test_another_user_reads_but_does_not_write() -> None:
    if os.getuid():
        pytest.skip("only root can become somebody else")
    with open_to_all() as path, served(lambda: serve_node(FakeNode(), path)):
        said = run_as_nobody(path, "")

    assert said[0] == "Stopped"
    assert said[1].startswith("denied use sudo")


@contextmanager
def open_to_all() -> Generator[Path]:
    """Give a path below a directory that every user may enter (pytest's own are private)."""
    with TemporaryDirectory(prefix="gatepost-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory) / "node.sock"


@pytest.mark.root
def test_a_socket_that_may_not_be_opened_says_so() -> None:
    if os.getuid():
        pytest.skip("only root can become somebody else")
    with open_to_all() as path, served(lambda: serve_node(FakeNode(), path, mode=0o600)):
        result = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, str(path), ""],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    assert "DeniedError: you may not open" in result.stderr


@pytest.mark.root
def test_a_supplementary_group_counts() -> None:
    if os.getuid():
        pytest.skip("only root can become somebody else")
    guard = only_members(0, "daemon")
    with (
        open_to_all() as path,
        served(lambda: serve_local(node_router(FakeNode(), guard), path)),
    ):
        said = run_as_nobody(path, str(grp.getgrnam("daemon").gr_gid))

    assert said == ["Stopped", "Stopped"]
