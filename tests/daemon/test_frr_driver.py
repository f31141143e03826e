"""`gatepost-frr` where FRR cannot run, and the passwords that it reads."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import pytest

from gatepost.daemon.frr_driver import Driver, read_passwords
from gatepost.errors import SettingsError
from gatepost.linux.frr_daemons import KEPT, Daemons, Places
from gatepost.model.routing import (
    STATE,
    WANTED,
    BgpNeighbour,
    BgpSpeaker,
    LearnedRoute,
    OspfSpeaker,
    RoutingDaemon,
    RoutingState,
)
from gatepost.wire.routing_files import read_state, write_wanted


def wish(bgp: Path | None = None, ospf: Path | None = None) -> RoutingDaemon:
    neighbour = BgpNeighbour(address=ip_address("10.1.0.9"), number=65002, password_file=bgp)
    return RoutingDaemon(
        router_id=IPv4Address("100.64.0.1"),
        bgp=BgpSpeaker(number=65001, neighbours=(neighbour,)),
        ospf=OspfSpeaker(area=IPv4Address(0), links=("lan0",), password_file=ospf),
    )


async def test_a_machine_without_frr_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / WANTED).write_bytes(write_wanted(wish()))
    places = Places(programs=tmp_path / "none", run=tmp_path / "run")
    driver = Driver(tmp_path, Daemons(lambda: 7.0, places), lambda: 7.0)

    assert await driver.look()
    state, at = read_state((tmp_path / STATE).read_bytes())
    assert "apt install frr" in state.problem
    assert at == 7.0
    (tmp_path / WANTED).unlink()
    assert not await driver.look()
    assert not (tmp_path / STATE).exists()


def test_what_was_learnt_outlives_a_program_that_is_started_again(tmp_path: Path) -> None:
    clock = [100.0]
    driver = Driver(tmp_path, Daemons(lambda: clock[0]), lambda: clock[0])
    learned = (LearnedRoute(network=ip_network("10.9.0.0/16"), protocol="bgp"),)
    broken = RoutingState(problem="zebra ended with -9")
    driver.vouch(RoutingState(learned=learned))

    clock[0] += KEPT - 1
    assert driver.vouch(broken) == replace(broken, learned=learned)
    clock[0] += 1
    assert driver.vouch(broken) == broken
    assert driver.vouch(RoutingState()).learned == ()


def test_a_password_is_the_line_of_its_file(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("s3cret!#\n")
    other.write_text("x" * 16)

    assert read_passwords(wish(one, other)) == {one: "s3cret!#", other: "x" * 16}
    assert read_passwords(wish()) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 characters"),
        ("two words", "without spaces"),
        ("two\nlines", "without spaces"),
        ("schlüssel", "ASCII"),
        ("longer than 16 characters"[:17].replace(" ", "-"), "17 characters"),
    ],
)
def test_what_is_no_password_is_refused_and_not_shown(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "secret"
    file.write_text(text)

    with pytest.raises(SettingsError, match=said) as told:
        read_passwords(wish(ospf=file))
    assert str(file) in str(told.value)
    assert not text or text not in str(told.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        read_passwords(wish(bgp=tmp_path / "none"))
