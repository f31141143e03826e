"""The packet rules as text; what they do to packets is in tests/net/test_steering_rules.py."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from gatepost.engine.steering import steering_filter
from gatepost.model.netmap import IPAddress
from gatepost.model.owned import NFT_PATH_TABLE

HERE = (ip_address("192.0.2.7"), ip_address("2001:db8::7"), ip_address("10.0.0.1"))
FORMS = pytest.mark.parametrize("here", [None, HERE], ids=["tracked", "untracked"])


@FORMS
def test_the_same_wish_always_gives_the_same_text(here: Sequence[IPAddress] | None) -> None:
    again = here and (*reversed(here), here[0])

    assert steering_filter(here=here) == steering_filter(here=again)


@FORMS
def test_every_rewrite_of_a_port_has_a_twin_for_packets_without_checksum(
    here: Sequence[IPAddress] | None,
) -> None:
    lines = steering_filter(here=here).text.splitlines()
    plain = [s for s in lines if " set 4164" in s and "checksum" not in s]
    twins = [s for s in lines if " set 4164" in s and "udp checksum set 0" in s]

    assert len(plain) == len(twins) == 2


def test_the_port_is_the_one_that_was_asked_for() -> None:
    wish = steering_filter(5000)

    assert wish.table == NFT_PATH_TABLE
    assert "4164" not in wish.text
    assert "udp dport 5000 " in wish.text
    assert "udp dport set 5001 " in wish.text


def test_with_the_machines_addresses_wireguard_leaves_conntrack() -> None:
    text = steering_filter(here=HERE).text

    assert "udp sport 41641 notrack" in text
    assert "elements = { 10.0.0.1, 192.0.2.7 }" in text
    assert "elements = { 2001:db8::7 }" in text


def test_without_them_conntrack_and_nat_see_one_port() -> None:
    text = steering_filter().text

    assert "41641 notrack" not in text
    assert "priority -90" in text


def test_a_machine_without_addresses_yet_gets_rules_that_load() -> None:
    assert "elements" not in steering_filter(here=()).text
