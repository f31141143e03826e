"""Where the control client looks for its server."""

from __future__ import annotations

import pytest

from gatepost.errors import SettingsError
from gatepost.net.control_address import Way, parse_server


def http(host: str, port: int) -> Way:
    return Way(host, port, is_tls=False)


def https(host: str, port: int) -> Way:
    return Way(host, port, is_tls=True)


@pytest.mark.parametrize(
    ("url", "ways"),
    [
        ("https://h.example", (http("h.example", 80), https("h.example", 443))),
        ("https://h.example:8443/", (http("h.example", 80), https("h.example", 8443))),
        ("http://h.example", (http("h.example", 80), https("h.example", 443))),
        ("http://h.example:8080", (http("h.example", 8080), https("h.example", 443))),
        ("http://203.0.114.1:8080", (http("203.0.114.1", 8080), https("203.0.114.1", 443))),
        ("http://192.168.1.1:8080", (http("192.168.1.1", 8080),)),
        ("http://localhost", (http("localhost", 80),)),
        ("http://[::1]:99", (http("::1", 99),)),
    ],
)
def test_the_ways_to_a_server_are_those_of_the_official_client(
    url: str, ways: tuple[Way, ...]
) -> None:
    assert parse_server(url).ways == ways


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://h.example:443", "h.example"),
        ("http://h.example:443", "h.example:443"),
        ("http://[fd00::1]:8080", "[fd00::1]:8080"),
        ("http://[fd00::1]", "[fd00::1]"),
    ],
)
def test_the_usual_port_is_left_out_of_the_host(url: str, authority: str) -> None:
    assert parse_server(url).authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "",
        "box.example",
        "box.example:443",
        "ftp://box.example",
        "http://",
        "http://box.example:port",
        "http://box.example:70000",
        "https://box.example/vpn",
        "https://box.example?x",
        "https://user@box.example",
        "https://bücher.example",
        "http://[::1",
    ],
)
def test_a_url_that_names_no_server_is_refused_with_its_text_and_the_way_out(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_server(url)

    assert repr(url) in str(caught.value)
    assert "https://host" in str(caught.value)
