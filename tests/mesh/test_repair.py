"""What somebody breaks by hand is whole again within a round."""

from __future__ import annotations

import re

import pytest

from gatepost.model import owned
from gatepost.testing.lab_boxes import Box, wait_for
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.lab_proof import await_pairs

pytestmark = [pytest.mark.root, pytest.mark.mesh]

ROUND = 5.0  # seconds from the damage to the repair
TABLE = str(owned.ROUTE_TABLE)
DAMAGE = {
    "the WireGuard interface": ("ip", "link", "delete", owned.DEVICE),
    "an address": ("ip", "-4", "address", "flush", "dev", owned.DEVICE),
    "an IPv6 address": ("ip", "-6", "address", "flush", "dev", owned.DEVICE, "scope", "global"),
    "the routes": ("ip", "route", "flush", "table", TABLE),
    "the IPv6 routes": ("ip", "-6", "route", "flush", "table", TABLE),
    "a rule": ("ip", "rule", "delete", "priority", str(owned.MESH_PRIORITY)),
    "the packet filter": ("nft", "delete", "table", "inet", owned.NFT_TABLE),
    "the steering": ("nft", "delete", "table", "inet", owned.NFT_PATH_TABLE),
    "all of nftables": ("nft", "flush", "ruleset"),
    "forwarding": ("sysctl", "-qw", "net.ipv4.ip_forward=0"),
    "a link that is down": ("ip", "link", "set", owned.DEVICE, "down"),
}
_VARYING = re.compile(r"^\d+: +|(?<=ct mark & )0x[0-9a-f]{8} (?:==|\|) 0x[0-9a-f]{8}", re.MULTILINE)
STORM = """
for i in $(seq 400); do
  echo "address add 172.20.$((i / 250)).$((i % 250 + 1))/32 dev lo"
  echo "route add blackhole 172.21.$((i / 250)).$((i % 250 + 1))/32 table 99"
done | ip -batch -
ip route flush table 99
ip -batch - <<< "address flush dev lo to 172.20.0.0/16"
"""


def state(box: Box) -> dict[str, str]:
    """Return what the kernel holds of ours, without handles, counters, indexes and epochs.

    A filter that is loaded again has another epoch: what came through the hole is judged anew.
    """
    machine = box.site.box
    commands = (
        ("ip", "-o", "address", "show", "dev", owned.DEVICE, "scope", "global"),
        ("ip", "route", "show", "table", TABLE),
        ("ip", "-6", "route", "show", "table", TABLE),
        ("ip", "rule"),
        ("nft", "-s", "list", "table", "inet", owned.NFT_TABLE),
        ("nft", "-s", "list", "table", "inet", owned.NFT_PATH_TABLE),
        ("sysctl", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"),
    )
    outputs = {" ".join(command): machine.attempt(*command).stdout for command in commands}
    return {name: _VARYING.sub("", text) for name, text in outputs.items()}


def difference(before: dict[str, str], after: dict[str, str]) -> str:
    return "\n".join(
        f"{name}: {before[name]!r} is not {after[name]!r}"
        for name in before
        if before[name] != after[name]
    )


@pytest.mark.parametrize("what", DAMAGE)
def test_it_is_restored(lab: Lab, what: str) -> None:
    box = lab.boxes["b"]
    before = state(box)
    box.site.box.run(*DAMAGE[what])

    wait_for(
        lambda: True if state(box) == before else None,
        seconds=ROUND,
        otherwise=lambda: f"{difference(before, state(box))}\n{box.daemon.tail()}",
    )
    await_pairs(lab.sites)


def test_a_netlink_storm_is_survived(lab: Lab) -> None:
    box = lab.boxes["b"]
    before = state(box)
    for _ in range(5):
        box.site.box.run("bash", "-c", STORM)

    assert box.client.status().state == "Running"
    assert state(box) == before
    await_pairs(lab.sites)
