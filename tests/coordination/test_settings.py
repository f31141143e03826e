"""Wrong settings are named with the value and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatepost.coordination.settings import parse_settings, read_settings
from gatepost.errors import SettingsError

URL = 'server-url = "http://192.0.2.1"\n'


def test_only_the_url_is_needed() -> None:
    settings = parse_settings(URL)

    assert (settings.server_url, settings.host, settings.domain) == (
        "http://192.0.2.1",
        "192.0.2.1",
        "mesh.internal",
    )
    assert settings.key_expiry == 180 * 86400
    assert settings.derp is not None
    assert (str(settings.derp.ipv4), settings.derp.port, settings.derp.stun_port) == (
        "192.0.2.1",
        443,
        3478,
    )


@pytest.mark.parametrize(
    ("more", "ports"),
    [
        ("", (3478, 3479)),
        ('stun = ["0.0.0.0:5000"]', (5000, -1)),
        ('stun = ["0.0.0.0:5000", "[::]:5000", "0.0.0.0:5001"]', (5000, 5001)),
        ("stun = []", (-1, -1)),
        ("[derp]\nstun-port = 7000", (7000, -1)),
        ("[derp]\nstun-port = 7000\nsecond-stun-port = 7001", (7000, 7001)),
        ("[derp]\nsecond-stun-port = -1", (3478, -1)),
    ],
)
def test_nodes_ask_two_ports_where_both_are_known(more: str, ports: tuple[int, int]) -> None:
    derp = parse_settings(URL + more).derp

    assert derp
    assert (derp.stun_port, derp.second_stun_port) == ports


def test_everything_can_be_said() -> None:
    settings = parse_settings(
        'server-url = "https://mesh.example.org:8443/"\ndomain = "Mesh.Example."\n'
        'listen = []\nlisten-tls = ["[::]:8443", "0.0.0.0:8443"]\nstun = []\n'
        'certificate = "/c.pem"\ncertificate-key = "/k.pem"\nkey-expiry = "never"\n'
        'ephemeral-timeout = "90s"\n[derp]\nhost = "relay.example.org"\nregion-id = 901\n'
        'ipv6 = "2001:db8::1"\n[plugins.x]\nenabled = true\na = 1\n[plugins.y]\nenabled = false\n'
    )

    assert settings.server_url == "https://mesh.example.org:8443"
    assert settings.domain == "mesh.example"
    assert (settings.key_expiry, settings.ephemeral_timeout) == (None, 90)
    assert settings.certificate == (Path("/c.pem"), Path("/k.pem"))
    assert settings.derp is not None
    assert (settings.derp.host, settings.derp.port, settings.derp.stun_port) == (
        "relay.example.org",
        8443,
        -1,
    )
    assert (settings.derp.ipv4, str(settings.derp.ipv6)) == (None, "2001:db8::1")
    assert settings.plugins == {"x": {"a": 1}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "server-url"),
        ('server-url = "ftp://x"', "ftp://x.*must look like"),
        ('server-url = "http://x/vpn"', "path"),
        ('server-url = "http://x:99999"', "99999"),
        (URL + "banana = 1", "banana"),
        (URL + 'domain = "local"', "local.*dot"),
        (URL + 'domain = "a b.c"', "a b.c"),
        (URL + 'listen = ["80"]', "'80'.*0.0.0.0:443"),
        (URL + 'listen = ["0.0.0.0:0"]', "0.0.0.0:0"),
        (URL + 'listen = ["nowhere:80"]', "nowhere"),
        (URL + 'stun = ["0.0.0.0:70000"]', "70000"),
        (URL + "listen = 80", "listen"),
        (URL + 'key-expiry = "180"', '180.*or "never"'),
        (URL + 'key-expiry = "0d"', "0d"),
        (URL + 'ephemeral-timeout = "soon"', "soon.*30m"),
        (URL + 'certificate-key = "/k"', "give both"),
        (URL + "listen-tls = []", "enabled = false"),
        (URL + "[derp]\nregion-id = 70000", "70000"),
        (URL + "[derp]\nport = 70000", "70000"),
        (URL + "[derp]\nsecond-stun-port = 70000", "second-stun-port 70000"),
        (URL + '[derp]\nipv4 = "::1"', "::1"),
        (URL + '[derp]\nipv6 = "x"', "derp.ipv6"),
        ("server-url = ", "value"),
    ],
)
def test_a_wrong_value_is_named(text: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=f"(?is){reason}"):
        parse_settings(text)


def test_a_server_may_do_without_a_relay() -> None:
    assert parse_settings(URL + "listen-tls = []\n[derp]\nenabled = false").derp is None


def test_a_missing_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing\.toml does not exist: create it"):
        read_settings(tmp_path / "nothing.toml")


def test_the_file_is_named_with_the_value(tmp_path: Path) -> None:
    path = tmp_path / "coordination.toml"
    path.write_text("banana = 1")

    with pytest.raises(SettingsError, match=r"coordination\.toml: .*banana"):
        read_settings(path)
