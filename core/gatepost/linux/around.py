"""Reads this machine's network devices with their addresses, to tell people about them."""

from __future__ import annotations

from ipaddress import ip_interface

from gatepost.linux import rtnetlink
from gatepost.linux.links import all_links
from gatepost.linux.netlink import Netlink
from gatepost.model.owned import DEVICE
from gatepost.model.surroundings import InterfaceFacts

_RUNNING = 0x40  # IFF_RUNNING
_OURS = DEVICE.rstrip("0123456789")


async def read_interfaces(netlink: Netlink) -> tuple[InterfaceFacts, ...]:
    """Return every device but loopback and our own, in the kernel's order."""
    links = await all_links(netlink)
    messages = await netlink.ask(rtnetlink.get_addresses())
    held = [a for a in map(rtnetlink.read_interface_address, messages) if a is not None]
    return tuple(
        InterfaceFacts(
            name=link.name,
            kind=link.kind,
            is_plugged=link.is_up and bool(link.flags & _RUNNING),
            addresses=tuple(
                ip_interface(f"{a.address}/{a.length}") for a in held if a.index == index
            ),
        )
        for index, link in links.items()
        if not link.is_loopback and not link.name.startswith(_OURS)
    )
