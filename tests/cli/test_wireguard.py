"""`gatepost wireguard`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from gatepost.errors import RefusedError
from gatepost.localapi.server import serve_node
from gatepost.model.keys import NodePrivate
from gatepost.model.status import PluginDocument, PluginRequest
from gatepost.testing.fake_guests import PUBLIC_KEY
from gatepost.testing.fake_node import FakeNode
from gatepost.testing.local_thread import served

OWN_KEY = NodePrivate(bytes(range(32))).public.base64


class ClosingNode(FakeNode):
    """Takes one change of a plugin and no more."""

    changes = 0

    async def change_plugin(self, name: str, request: PluginRequest) -> PluginDocument:
        self.changes += 1
        if self.changes > 1:
            raise RefusedError("only one change is taken here")
        return await super().change_plugin(name, request)


@pytest.fixture
def ready(run: Run, daemon: FakeNode) -> FakeNode:
    words = ("networks=10.77.1.0/24", "host=vpn.example.org")
    assert run("plugin", "set", "plain-wireguard", *words).code == 0
    return daemon


def line(text: str, name: str) -> str:
    return next(row.partition(" = ")[2] for row in text.splitlines() if row.startswith(name))


@pytest.mark.usefixtures("ready")
def test_a_phone_is_shown_its_configuration_and_a_code(run: Run) -> None:
    said = run("wireguard", "add", "phone")

    assert said.code == 0
    assert line(said.out, "Address") == "10.77.1.2/32"
    assert line(said.out, "PublicKey") == PUBLIC_KEY
    assert line(said.out, "AllowedIPs") == "10.77.1.0/24, 100.64.0.0/10"
    assert line(said.out, "Endpoint") == "vpn.example.org:51820"
    assert "█" in said.out


@pytest.mark.usefixtures("ready")
def test_the_box_keeps_the_public_half_of_the_key_alone(run: Run) -> None:
    private = line(run("wireguard", "add", "phone").out, "PrivateKey")
    kept = run("wireguard", "list", "--json").out

    assert private not in kept
    assert json.loads(kept)["guests"][0]["key"] != private
    assert len(private) == 44


@pytest.mark.usefixtures("ready")
def test_who_brings_a_key_shows_no_secret_and_needs_no_code(run: Run) -> None:
    said = run("wireguard", "add", "laptop", "--key", OWN_KEY, "--host", "192.0.2.1")

    assert "# PrivateKey" in said.out
    assert "█" not in said.out
    assert line(said.out, "Endpoint") == "192.0.2.1:51820"
    assert json.loads(run("wireguard", "list", "--json").out)["guests"][0]["key"] == OWN_KEY


@pytest.mark.usefixtures("ready")
def test_the_file_is_for_nobody_else(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "phone.conf"
    said = run("wireguard", "add", "phone", "--output", str(path))

    assert path.stat().st_mode & 0o777 == 0o600
    assert "PrivateKey" in path.read_text()
    assert "PrivateKey" not in said.out


@pytest.mark.usefixtures("ready")
def test_nobody_is_invited_whose_file_cannot_be_written(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "phone.conf"
    path.write_text("somebody's")
    said = run("wireguard", "add", "phone", "--output", str(path))

    assert said.code == 1
    assert f"{path} cannot be written: File exists" in said.err
    assert path.read_text() == "somebody's"
    assert json.loads(run("wireguard", "list", "--json").out)["guests"] == []


def test_no_file_stays_of_who_could_not_be_invited(run: Run, tmp_path: Path) -> None:
    path, closing = tmp_path / "phone.conf", ClosingNode()
    with served(lambda: serve_node(closing, tmp_path / "node.sock")):
        words = ("networks=10.77.1.0/24", "host=vpn.example.org")
        assert run("plugin", "set", "plain-wireguard", *words).code == 0
        said = run("wireguard", "add", "phone", "--output", str(path))

    assert said.code == 1
    assert "only one change" in said.err
    assert not path.exists()


@pytest.mark.usefixtures("ready")
def test_each_gets_another_address_and_a_freed_one_is_used_again(run: Run) -> None:
    assert [line(run("wireguard", "add", n).out, "Address") for n in ("one", "two")] == [
        "10.77.1.2/32",
        "10.77.1.3/32",
    ]
    assert run("wireguard", "remove", "one").code == 0

    assert line(run("wireguard", "add", "three").out, "Address") == "10.77.1.2/32"
    assert "one" not in run("wireguard", "list").out


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "phone"), "there already"),
        (("add", "My Phone"), "My Phone"),
        (("add", "tablet", "--key", "nonsense"), "key"),
        (("remove", "tablet"), "there are: phone"),
    ],
)
def test_what_cannot_be_is_named(run: Run, words: tuple[str, ...], said: str) -> None:
    assert run("wireguard", "add", "phone").code == 0

    result = run("wireguard", *words)

    assert result.code == 1
    assert said in result.err


@pytest.mark.usefixtures("daemon")
def test_without_networks_the_way_to_them_is_named(run: Run) -> None:
    said = run("wireguard", "add", "phone")

    assert said.code == 1
    assert "networks=10.77.1.0/24" in said.err


@pytest.mark.usefixtures("daemon")
def test_nobody_is_invited_to_a_box_that_nobody_finds(run: Run) -> None:
    assert run("plugin", "set", "plain-wireguard", "networks=10.77.1.0/24").code == 0

    assert "--host" in run("wireguard", "add", "phone").err
