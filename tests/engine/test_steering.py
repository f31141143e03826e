"""The packet rules as text; what they do to packets is in tests/net/test_steering_rules.py."""

from __future__ import annotations

import pytest

from gatepost.engine.steering import steering_filter
from gatepost.model.owned import NFT_PATH_TABLE


@pytest.mark.parametrize("conntrack", [False, True])
def test_the_same_wish_always_gives_the_same_text(conntrack: bool) -> None:
    assert steering_filter(conntrack=conntrack) == steering_filter(conntrack=conntrack)


@pytest.mark.parametrize("conntrack", [False, True])
def test_every_rewrite_of_a_port_has_a_twin_for_packets_without_checksum(conntrack: bool) -> None:
    lines = steering_filter(conntrack=conntrack).text.splitlines()
    plain = [s for s in lines if " set 4164" in s and "checksum" not in s]
    twins = [s for s in lines if " set 4164" in s and "udp checksum set 0" in s]

    assert len(plain) == len(twins) == 2


def test_the_port_is_the_one_that_was_asked_for() -> None:
    wish = steering_filter(5000)

    assert wish.table == NFT_PATH_TABLE
    assert "4164" not in wish.text
    assert "udp dport 5000 " in wish.text
    assert "udp dport set 5001 " in wish.text


def test_conntrack_is_left_or_kept_as_asked() -> None:
    assert "udp sport 41641 notrack" in steering_filter(conntrack=False).text
    assert "41641 notrack" not in steering_filter().text
    assert "priority -90" in steering_filter().text
