"""`gatepost site-to-site`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from gatepost.localapi.server import serve_node
from gatepost.model.status import LanDocument
from gatepost.testing.fake_node import GOOD_KEY, FakeNode
from gatepost.testing.local_thread import served


@pytest.fixture
def running(run: Run, daemon: FakeNode) -> FakeNode:
    assert run("up", "--auth-key", GOOD_KEY).code == 0
    return daemon


@pytest.mark.usefixtures("running")
def test_the_routes_are_shown_as_a_router_takes_them(run: Run) -> None:
    said = run("site-to-site", "routes", "--for", "linux")

    assert said.out == (
        "ip route add 10.9.0.0/16 via 10.1.0.5\nip route add fd00:9::/64 via fd00:1::5\n"
    )
    assert "10.1.0.0/24" in said.err


@pytest.mark.usefixtures("running")
def test_a_dhcp_server_is_told_the_default_router_too(run: Run) -> None:
    """The box knows its own router; another may be named."""
    mine = run("site-to-site", "routes", "--for", "dnsmasq")
    other = run("site-to-site", "routes", "--for", "dnsmasq", "--router", "10.1.0.2")

    assert mine.out == "dhcp-option=121,10.9.0.0/16,10.1.0.5,0.0.0.0/0,10.1.0.1\n"
    assert other.out == "dhcp-option=121,10.9.0.0/16,10.1.0.5,0.0.0.0/0,10.1.0.2\n"


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("router", ["192.0.2.1", "nobody"])
def test_a_router_that_is_none_of_the_lan_is_refused(run: Run, router: str) -> None:
    said = run("site-to-site", "routes", "--for", "kea", "--router", router)

    assert said.code == 1
    assert "router" in said.err


@pytest.mark.usefixtures("daemon")
def test_without_a_shared_network_the_way_to_one_is_named(run: Run) -> None:
    said = run("site-to-site", "routes")

    assert said.code == 1
    assert "advertise-routes" in said.err


class NewNode(FakeNode):
    """Shares one network, which is IPv6."""

    async def lans(self) -> tuple[LanDocument, ...]:
        return (LanDocument(network="fd00:1::/64", via="fd00:1::5", routes=("fd00:9::/64",)),)


def test_a_dhcp_server_has_nothing_to_tell_where_all_is_ipv6(run: Run, tmp_path: Path) -> None:
    with served(lambda: serve_node(NewNode(), tmp_path / "node.sock")):
        said = run("site-to-site", "routes", "--for", "kea")

    assert said.code == 1
    assert "IPv6: fd00:1::/64" in said.err
    assert "announce-on" in said.err


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("host", "code", "words"),
    [
        ("10.1.0.20", 0, "come back"),
        ("10.1.0.30", 1, "10.9.0.0/16 via 10.1.0.5"),
        ("10.1.0.40", 1, "answers nobody"),
    ],
)
def test_the_check_says_where_answers_go_and_what_to_do(
    run: Run, host: str, code: int, words: str
) -> None:
    said = run("site-to-site", "check", host)

    assert said.code == code
    assert words in said.out


@pytest.mark.usefixtures("running")
def test_programs_get_the_same_as_json(run: Run) -> None:
    checked = json.loads(run("site-to-site", "check", "10.1.0.30", "--json").out)

    assert checked["results"][0]["answer"] == "none"
    assert json.loads(run("site-to-site", "routes", "--json").out)[0]["via"] == "10.1.0.5"
