"""The settings on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatepost.daemon.settings_file import VERSIONS, BoxSettings, Edit, NodeSettings, SettingsFile
from gatepost.errors import SettingsError

WRONG = {
    "[node": "is not TOML",
    "[nodes]\n": r"has a table \[nodes\]: it may have \[node\] and \[plugins",
    "node = 1\n": r"node must be a table: \[node\]",
    "[node]\nport = 0\n": r"0 in port of \[node\]: the least that is allowed is 1",
    "[node]\nwanted = 'sideways'\n": "must be one of up, down",
    "[node]\nstatic-endpoints = ['203.0.113.7']\n": "203.0.113.7",
    "[node]\nstatic-endpoints = ['203.0.113.7:0']\n": "'203.0.113.7:0' has no port from 1",
    "[node]\nstatic-endpoints = ['2001:db8::1:5']\n": "2001:db8::1",
    "[node]\nstatic-endpoints = ['box.example:41641']\n": "box.example",
    "[plugins.mesh]\nenabled = false\n": "mesh cannot be switched off",
    "[plugins.x]\nenabled = 'perhaps'\n": "perhaps in enabled of x: it must be true or false",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "etc" / "settings.toml"


def write(path: Path, text: str) -> SettingsFile:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return SettingsFile(path)


def test_no_file_is_all_defaults(path: Path) -> None:
    assert SettingsFile(path).load() == BoxSettings()


def test_a_slash_behind_the_server_makes_no_other_server_of_it(path: Path) -> None:
    file = write(path, "[node]\nlogin-server = 'https://mesh.example/'\n")

    assert file.load().node.login_server == "https://mesh.example"


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_file_is_refused_with_the_value(path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=WRONG[text]):
        write(path, text).load()


def test_static_endpoints_are_read_and_the_port_is_mapped_by_default(path: Path) -> None:
    text = "[node]\nstatic-endpoints = ['203.0.113.7:41641', '[2001:db8::1]:5']\n"
    node = write(path, text).load().node

    assert [str(e) for e in node.own_endpoints()] == ["203.0.113.7:41641", "[2001:db8::1]:5"]
    assert node.port_mapping


def test_comments_and_order_survive_a_change(path: Path) -> None:
    text = '# mine\n[node]\nhostname = "a" # short\nlogin-server = "https://c"\n'
    write(path, text).change((Edit(table=("node",), values={"hostname": "b"}),))

    assert path.read_text() == text.replace('"a"', '"b"')


def test_a_table_that_was_not_there_is_made(path: Path) -> None:
    file = SettingsFile(path)
    networks = ["10.1.0.0/16"]
    file.change((
        Edit(table=("node",), values={"login-server": "https://c"}),
        Edit(table=("plugins", "subnet-router"), values={"enabled": True, "networks": networks}),
        Edit(table=("plugins", "mesh"), values={"accept-routes": True}),
    ))  # fmt: skip
    settings = SettingsFile(path).load()

    assert settings.node == NodeSettings(login_server="https://c")
    assert settings.enabled == {"magic-dns", "mesh", "packet-filter", "subnet-router"}
    assert settings.of("subnet-router") == {"networks": networks}
    assert settings.of("mesh") == {"accept-routes": True}


def test_a_change_that_is_refused_writes_nothing(path: Path) -> None:
    file = write(path, "[node]\nport = 1\n")

    def never(_settings: BoxSettings) -> None:
        raise SettingsError("no")

    with pytest.raises(SettingsError):
        file.change((Edit(table=("node",), values={"port": 2}),), never)
    with pytest.raises(SettingsError):
        file.change((Edit(table=("node",), values={"port": 70000}),))

    assert path.read_text() == "[node]\nport = 1\n"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_value_can_be_taken_back_to_its_default(path: Path) -> None:
    file = write(path, "[node]\nport = 5\n")

    assert file.change((Edit(table=("node",), values={"port": None}),)).node == NodeSettings()


def test_the_last_versions_are_kept(path: Path) -> None:
    file = write(path, "[node]\nport = 1\n")
    for port in range(2, VERSIONS + 5):
        file.change((Edit(table=("node",), values={"port": port}),))
    kept = sorted(path.with_name("settings.toml.versions").iterdir())

    assert len(kept) == VERSIONS
    assert f"port = {VERSIONS + 3}" in kept[-1].read_text()


def test_changing_nothing_keeps_no_version(path: Path) -> None:
    file = write(path, "[node]\nport = 1\n")
    file.change((Edit(table=("node",), values={"port": 1}),))

    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_what_is_usually_on_can_be_switched_off(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[plugins.magic-dns]\nenabled = false\n")

    assert SettingsFile(tmp_path / "missing.toml").load().enabled >= {"magic-dns"}
    assert "magic-dns" not in SettingsFile(path).load().enabled
