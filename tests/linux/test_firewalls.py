"""Firewalls and NATs beside ours are seen; what cannot matter is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.linux.inside import run_inside

from gatepost.engine.filter import FilterWishes, filter_text
from gatepost.engine.steering import steering_filter
from gatepost.linux.firewalls import PROC, other_firewalls
from gatepost.linux.netlink import Netlink
from gatepost.testing.netns import Machine

pytestmark = pytest.mark.root


def found(machine: Machine, proc: Path = PROC) -> tuple[str, ...]:
    async def work(netlink: Netlink) -> tuple[str, ...]:
        return await other_firewalls(netlink, proc)

    return run_inside(machine, work)


def test_our_own_tables_are_no_firewall_beside_ours(machine: Machine) -> None:
    machine.nft(f"define epoch = 0x10000\n{filter_text(FilterWishes())}")
    machine.nft(steering_filter().text)

    assert found(machine) == ()


@pytest.mark.parametrize(
    ("table", "chain", "words"),
    [
        ("inet fw", "type filter hook input priority 0; policy drop", "inet fw c"),
        ("ip fw", "type filter hook output priority 0", "ip fw c"),
        ("ip6 nat", "type nat hook postrouting priority 100", "ip6 nat c"),
        ("ip nat", "type nat hook prerouting priority -100", "ip nat c"),
        ("ip gatepost", "type filter hook prerouting priority raw", "ip gatepost c"),
    ],
)
def test_a_chain_that_meets_our_packets_is_seen(
    machine: Machine, table: str, chain: str, words: str
) -> None:
    machine.nft(f"table {table} {{ chain c {{ {chain}; }}; }}")

    assert found(machine) == (f"nftables chain {words}",)


@pytest.mark.parametrize(
    ("table", "chain"),
    [
        ("inet fw", "type filter hook forward priority 0; policy drop"),
        ("inet fw", ""),
        ("bridge fw", "type filter hook input priority 0"),
        ("netdev fw", "type filter hook ingress device lo priority 0"),
    ],
)
def test_a_chain_that_our_packets_do_not_meet_does_not_count(
    machine: Machine, table: str, chain: str
) -> None:
    machine.nft(f"table {table} {{ chain c {{ {chain + ';' if chain else ''} }}; }}")

    assert found(machine) == ()


def test_the_old_iptables_is_seen_by_its_tables(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "ip_tables_names").write_text("nat\nfilter\n")
    (tmp_path / "ip6_tables_names").write_text("")

    assert found(machine, tmp_path) == ("iptables table filter", "iptables table nat")
