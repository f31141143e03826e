"""Ranges of DHCP servers are found in their files; what is no such file is nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from gatepost.daemon.dhcp_configs import dnsmasq_leases, kea_leases, networkd_leases, read_leases
from gatepost.model.surroundings import Lease

DNSMASQ = """
interface=lan0
#dhcp-range=10.9.0.1,10.9.0.2
dhcp-range=set:guests,10.8.0.50,10.8.0.60,12h
dhcp-range=10.7.0.100,10.7.0.199,255.255.255.0,12h
dhcp-range=fd00:7::100,fd00:7::1ff,64
"""
NETWORKD = """
[Match]
Name=lan0
[Network]
Address=10.7.0.1/24
DHCPServer=yes
[DHCPServer]
PoolOffset=100
PoolSize=50
"""
KEA = """
{ "Dhcp4": {
  // of the office
  "subnet4": [
    { "subnet": "10.7.0.0/24", "pools": [ { "pool": "10.7.0.100 - 10.7.0.199" } ] }
  ]
} }
"""


def ranges(leases: Iterable[Lease]) -> list[str]:
    return [f"{lease.first}-{lease.last}" for lease in leases]


def test_dnsmasq_names_first_and_last() -> None:
    assert ranges(dnsmasq_leases(DNSMASQ)) == ["10.8.0.50-10.8.0.60", "10.7.0.100-10.7.0.199"]


def test_networkd_counts_from_the_start_of_the_network() -> None:
    assert ranges(networkd_leases(NETWORKD)) == ["10.7.0.100-10.7.0.149"]


def test_networkd_without_a_pool_gives_out_all_of_the_network() -> None:
    text = NETWORKD.partition("[DHCPServer]")[0]

    assert ranges(networkd_leases(text)) == ["10.7.0.1-10.7.0.254"]


def test_kea_names_pools() -> None:
    assert ranges(kea_leases(KEA)) == ["10.7.0.100-10.7.0.199"]


@pytest.mark.parametrize(
    "text",
    ["", "\0", "[Network]", "[Network]\nDHCPServer=yes", "{", "dhcp-range=10.7.0.9,10.7.0.1",
     "[Network]\nDHCPServer=yes\nAddress=10.7.0.1/24\n[DHCPServer]\nPoolOffset=300"],
)  # fmt: skip
def test_what_makes_no_sense_is_no_range(text: str) -> None:
    for read in (dnsmasq_leases, networkd_leases, kea_leases):
        assert ranges(read(text)) == []


def test_files_are_read_where_the_programs_have_them(tmp_path: Path) -> None:
    for name, text in (
        ("etc/dnsmasq.d/lan.conf", DNSMASQ),
        ("etc/systemd/network/lan.network", NETWORKD),
        ("etc/kea/kea-dhcp4.conf", KEA),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert {lease.program for lease in read_leases(tmp_path)} == {
        "dnsmasq", "systemd-networkd", "kea",
    }  # fmt: skip


def test_a_machine_without_them_has_no_ranges(tmp_path: Path) -> None:
    assert read_leases(tmp_path) == ()
