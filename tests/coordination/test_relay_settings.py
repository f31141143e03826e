"""The settings of relays: servers of one region, other regions, limits; wrong ones are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatepost.coordination.relay_file import parse_relay_file, read_relay_file
from gatepost.coordination.relay_map import relay_map
from gatepost.coordination.relay_settings import read_mesh_key
from gatepost.coordination.settings import Settings, parse_settings
from gatepost.errors import SettingsError

URL = 'server-url = "http://192.0.2.1"\n'
PIN = "sha256-raw:" + "ab" * 32
MESH = f"""{URL}[derp]
mesh-key-file = "/k"
client-rate = "20M"
clients = 77
[[derp.servers]]
host = "two.example"
port = 8443
ipv4 = "192.0.2.2"
[[derp.servers]]
host = "192.0.2.3"
certificate = "{PIN}"
stun-port = -1
[[derp.regions]]
id = 901
code = "ber"
servers = [{{ host = "ber.example" }}, {{ host = "stun.example", stun-only = true }}]
"""
OPEN = 'host = "relay.example"\nadmit = "anybody"\n'


def mapped(settings: Settings) -> dict[str, list[tuple[str, str, int]]]:
    derp_map = relay_map(settings.derp, "pin", plain_on_80=True)
    return {
        number: [(n.name, n.host_name, n.derp_port) for n in region.nodes or ()]
        for number, region in (derp_map.regions or {}).items()
        if region is not None
    }


def test_the_map_names_the_servers_of_our_region_and_the_other_regions() -> None:
    assert mapped(parse_settings(MESH)) == {
        "900": [
            ("900a", "192.0.2.1", 443),
            ("900b", "two.example", 8443),
            ("900c", "192.0.2.3", 443),
            ("900a-stun", "192.0.2.1", 443),
        ],
        "901": [("901a", "ber.example", 443), ("901b", "stun.example", 443)],
    }


def test_what_the_map_says_of_a_server_is_what_the_settings_say() -> None:
    derp_map = relay_map(parse_settings(MESH).derp, "pin", plain_on_80=False)
    region = (derp_map.regions or {})["900"]
    assert region is not None
    assert region.nodes is not None
    _, two, three, _ = region.nodes

    assert (two.ipv4, two.ipv6, two.cert_name, two.stun_port) == ("192.0.2.2", "", "", 3478)
    assert (three.ipv4, three.ipv6, three.cert_name) == ("192.0.2.3", "none", PIN)
    assert three.stun_port == -1


def test_limits_are_octets_where_settings_are_bits() -> None:
    derp = parse_settings(MESH).derp
    assert derp is not None
    limits = derp.relay.limits

    assert (limits.clients, limits.rate, limits.burst) == (77, 2_500_000, 625_000)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[derp]\nclients = 0\n", "clients 0"),
        ('[derp]\nclient-rate = "fast"\n', "client-rate 'fast'"),
        ('[derp]\nclient-rate = "63k"\n', "at least 64k"),
        ('[[derp.servers]]\nhost = "x"\n', "mesh-key-file"),
        ('[derp]\nmesh-key-file="/k"\n[[derp.servers]]\nhost = ""\n', "'' port 443"),
        ('[derp]\nmesh-key-file="/k"\n[[derp.servers]]\nhost="x"\nport=0\n', "'x' port 0"),
        ('[derp]\nmesh-key-file="/k"\n[[derp.servers]]\nhost="x"\nstun-port=0\n', "stun-port 0"),
        ('[derp]\nmesh-key-file="/k"\n[[derp.servers]]\nhost="x"\nipv4="::1"\n', "ipv4 '::1'"),
        ('[derp]\nmesh-key-file="/k"\n[[derp.servers]]\nhost="x"\nipv6="y"\n', "ipv6 'y'"),
        (
            '[derp]\nmesh-key-file="/k"\n[[derp.servers]]\nhost="x"\ncertificate="sha256-raw:1"\n',
            "sha256-raw:1",
        ),
        ('[derp]\nmesh-key-file="/k"\n[[derp.servers]]\nhost="x"\ncolour=1\n', "colour"),
        ("[[derp.regions]]\nid = 900\n", "id 900"),
        ("[[derp.regions]]\nid = 65536\n", "id 65536"),
        ("[[derp.regions]]\nid = 901\n", "901 has no servers"),
    ],
)
def test_a_wrong_value_is_named(text: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        parse_settings(URL + text)


def test_a_region_has_as_many_servers_as_letters() -> None:
    servers = '[[derp.servers]]\nhost = "x"\n' * 26

    with pytest.raises(SettingsError, match="over 26"):
        parse_settings(f'{URL}[derp]\nmesh-key-file = "/k"\n{servers}')


@pytest.mark.parametrize("text", ["", "ab", "AB" * 32, "00" * 32, "ab" * 33])
def test_a_mesh_key_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)

    with pytest.raises(SettingsError, match=f"mesh-key-file {tmp_path / 'key'}"):
        read_mesh_key(tmp_path / "key")


def test_a_mesh_key_may_end_with_a_line_and_a_missing_file_says_how_to_make_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "key").write_text("ab" * 32 + "\n")

    assert read_mesh_key(tmp_path / "key") == "ab" * 32
    with pytest.raises(SettingsError, match="openssl rand -hex 32"):
        read_mesh_key(tmp_path / "none")


def test_a_relay_by_itself_needs_a_host_and_whom_to_admit() -> None:
    settings = parse_relay_file(OPEN)

    assert settings.host == "relay.example"
    assert settings.verify is None
    assert [(str(a.address), a.port) for a in settings.listen_tls] == [("0.0.0.0", 443)]


def test_a_relay_by_itself_asks_a_url() -> None:
    url = "https://mesh.example:8443/verify?x=1"
    settings = parse_relay_file(
        f'host = "r"\nverify-url = "{url}"\nverify-fail-open = false\ncertificate = "/c"\n'
    )

    assert settings.verify is not None
    assert (settings.verify.host, settings.verify.port, settings.verify.target) == (
        "mesh.example",
        8443,
        "/verify?x=1",
    )
    assert settings.certificate == (Path("/c"), Path("/c"))
    assert not settings.verify_fail_open


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "host"),
        ('host = ""\nadmit = "anybody"\n', "host is empty"),
        ('host = "r"\n', "either verify-url"),
        ('host = "r"\nadmit = "anybody"\nverify-url = "http://x/"\n', "either verify-url"),
        ('host = "r"\nadmit = "friends"\n', "admit 'friends'"),
        ('host = "r"\nverify-url = "ftp://x/"\n', "verify-url 'ftp://x/'"),
        ('host = "r"\nverify-url = "http://x:99999/"\n', "99999"),
        (f"{OPEN}listen-tls = []\n", "listen-tls is empty"),
        (f'{OPEN}listen = ["x"]\n', "listen 'x'"),
        (f'{OPEN}certificate-key = "/k"\n', "certificate-key"),
        (f"{OPEN}colour = 1\n", "colour"),
        ("host = \n", "Invalid value"),
    ],
)
def test_a_wrong_value_of_a_relay_by_itself_is_named(text: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        parse_relay_file(text)


def test_a_missing_file_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="verify-url ="):
        read_relay_file(tmp_path / "none.toml")
