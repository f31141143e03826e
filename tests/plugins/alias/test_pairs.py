"""Pairs of networks: what is accepted, and what the refusal of the others says."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from gatepost.engine.settings import read_settings
from gatepost.errors import SettingsError
from gatepost_plugins.alias import Settings
from gatepost_plugins.alias.pairs import read_pair, read_pairs

PAIR = "10.201.7.0/24=192.168.1.0/24"


def test_a_pair_keeps_the_last_bits_of_each_host() -> None:
    pair = read_pair(PAIR)

    assert (pair.outside, pair.inside) == (
        IPv4Network("10.201.7.0/24"),
        IPv4Network("192.168.1.0/24"),
    )
    assert pair.outer(IPv4Address("192.168.1.42")) == IPv4Address("10.201.7.42")
    assert pair.outer(IPv4Address("192.168.2.42")) is None


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (("192.168.1.0/24",), "no pair of networks such as 10.201.7.0/24=192.168.1.0/24"),
        (("10.201.7.1/24=192.168.1.0/24",), "has host bits set"),
        (("fd00::/120=192.168.1.0/24",), "write it like"),
        (("10.201.7.0/24=192.168.1.0/25",), "both need the same length, /24 is not /25"),
        ((PAIR, "10.201.8.0/24=192.168.1.0/24"), "192.168.1.0/24 and 192.168.1.0/24 overlap"),
        ((PAIR, "10.201.7.0/25=10.0.0.0/25"), "10.201.7.0/24 and 10.201.7.0/25 overlap"),
        (("192.168.1.0/24=192.168.1.0/24",), "which is a network here"),
        ((PAIR, "192.168.1.0/24=10.5.5.0/24"), "192.168.1.0/24 overlaps 192.168.1.0/24"),
    ],
)
def test_a_pair_that_cannot_work_is_refused_with_the_reason(
    texts: tuple[str, ...], told: str
) -> None:
    with pytest.raises(SettingsError, match=told.replace("(", "\\(")):
        read_settings(Settings, {"networks": list(texts)}, "alias")
    with pytest.raises(ValueError, match=told):
        read_pairs(texts)
