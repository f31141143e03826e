"""Which form of the steering rules a machine gets."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from gatepost.daemon.main import steering
from gatepost.engine.steering import steering_filter
from gatepost.model.observed import Observed, Watch
from gatepost.model.process import LocalNetworks, WatchFirewalls, WatchLocalNetworks

ADDRESSES = (ip_address("192.0.2.1"),)
LOCAL: dict[Watch[Any], object] = {WatchLocalNetworks(): LocalNetworks(addresses=ADDRESSES)}


def test_a_machine_with_no_firewall_but_ours_keeps_wireguard_out_of_conntrack() -> None:
    alone = Observed({**LOCAL, WatchFirewalls(): ()})

    assert steering(5000, alone) == steering_filter(5000, ADDRESSES)


def test_a_machine_with_a_firewall_of_its_own_lets_it_see_wireguard() -> None:
    guarded = Observed({**LOCAL, WatchFirewalls(): ("nftables chain inet fw input",)})

    assert steering(5000, guarded) == steering_filter(5000)


def test_while_nobody_knows_there_is_a_firewall() -> None:
    assert steering(5000, Observed(LOCAL)) == steering_filter(5000)
