"""`gatepost lan` shows what is around, and shares what is proposed."""

from __future__ import annotations

import json

import pytest
from tests.cli.conftest import Run

from gatepost.testing.fake_node import FakeNode


@pytest.mark.usefixtures("daemon")
def test_networks_are_shown_with_what_speaks_for_and_against(run: Run) -> None:
    said = run("lan")
    lines = said.out.splitlines()

    assert "proposed" in lines[1]
    assert "192.168.7.100 to 192.168.7.199 by dnsmasq" in lines[1]
    assert "not proposed" in lines[2]
    assert "another site has it too" in lines[2]
    assert lines[-1] == "NAT: one: this box has 192.168.0.7, the internet sees 203.0.113.7"


@pytest.mark.usefixtures("daemon")
def test_json_has_all_of_it(run: Run) -> None:
    document = json.loads(run("lan", "--json").out)

    assert document["networks"][1]["overlaps"] == ["10.9.0.0/16 at far"]


def test_what_is_proposed_is_shared_next_to_what_is_shared(run: Run, daemon: FakeNode) -> None:
    assert run("set", "--advertise-routes", "10.7.0.0/24").code == 0
    assert run("lan", "--share").code == 0
    assert daemon.options.advertise_routes == ("10.7.0.0/24", "192.168.7.0/24")
