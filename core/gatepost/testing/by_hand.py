"""The same mesh without Gatepost: WireGuard set up with `wg` and `ip`, as a person would.

The benchmarks compare with it, and it proves that the ground of the lab
carries what it should. It needs boxes with public addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from gatepost.testing.lab_boxes import wait_for
from gatepost.testing.netns import Machine, patient
from gatepost.testing.topology import Site

DEVICE = "hand0"
PORT = 51820  # UDP
MTU = 1280  # octets, the same as Gatepost's: another value would compare packet sizes
START_TIMEOUT = 5.0  # seconds until wireguard-go listens on its socket


@dataclass(frozen=True, slots=True)
class _Keys:
    private: str
    public: str


def tunnel_v4(site: Site) -> IPv4Address:
    return IPv4Address(f"172.31.0.{site.number}")


def tunnel_v6(site: Site) -> IPv6Address:
    return IPv6Address(f"fd0b::{site.number:x}")


def connect_by_hand(sites: Sequence[Site], *, userspace: bool, outer: Literal[4, 6] = 4) -> None:
    """Connect all boxes with each other and route between their LANs.

    `userspace` takes wireguard-go, else the kernel's; `outer` is the IP version that the
    boxes reach each other by. Raises LabError.
    """
    keys = {site.name: _make_keys(site.box) for site in sites}
    for site in sites:
        _make_device(site.box, userspace=userspace)
        box = site.box
        box.run(
            *("wg", "set", DEVICE, "listen-port", str(PORT), "private-key", "/dev/stdin"),
            stdin=keys[site.name].private,
        )
        box.ip(
            f"address add {tunnel_v4(site)}/24 dev {DEVICE}",
            f"address add {tunnel_v6(site)}/64 dev {DEVICE}",
            f"link set {DEVICE} mtu {MTU} up",
        )
        box.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        for peer in sites:
            if peer is not site:
                _add_peer(box, peer, keys[peer.name].public, outer)


def _make_keys(box: Machine) -> _Keys:
    private = box.run("wg", "genkey")
    return _Keys(private, box.run("wg", "pubkey", stdin=private).strip())


def _make_device(box: Machine, *, userspace: bool) -> None:
    if not userspace:
        box.ip(f"link add {DEVICE} type wireguard")
        return
    # It goes to the background by itself. A session of its own, as a service has: the kernel
    # shares processors out by session, and the comparison would be one of shares.
    box.start("wireguard-go", DEVICE, environment={"LOG_LEVEL": "error"}).wait(
        timeout=patient(START_TIMEOUT)
    )
    wait_for(
        lambda: True if box.attempt("wg", "show", DEVICE).returncode == 0 else None,
        seconds=START_TIMEOUT,
        otherwise=lambda: f"wireguard-go does not answer in {box.name}",
    )


def _add_peer(box: Machine, peer: Site, public_key: str, outer: Literal[4, 6]) -> None:
    address = f"[{peer.public_v6}]" if outer == 6 else str(peer.public_v4)  # noqa: PLR2004  # IPv6
    allowed = f"{tunnel_v4(peer)},{tunnel_v6(peer)},{peer.lan_v4},{peer.lan_v6}"
    box.run(
        *("wg", "set", DEVICE, "peer", public_key, "allowed-ips", allowed),
        *("endpoint", f"{address}:{PORT}"),
    )
    box.ip(f"route add {peer.lan_v4} dev {DEVICE}", f"route add {peer.lan_v6} dev {DEVICE}")


def kernel_has_wireguard(machine: Machine) -> bool:
    """Return whether the kernel can make a WireGuard device."""
    name = "hand-probe"
    if machine.attempt("ip", "link", "add", name, "type", "wireguard").returncode:
        return False
    machine.ip(f"link delete {name}")
    return True
