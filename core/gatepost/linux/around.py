"""Reads this machine's network devices with their addresses, to tell people about them."""

from __future__ import annotations

from ipaddress import ip_interface

from gatepost.linux import rtnetlink
from gatepost.linux.links import all_links
from gatepost.linux.netlink import Netlink
from gatepost.model.owned import DEVICES
from gatepost.model.surroundings import InterfaceFacts


async def read_interfaces(netlink: Netlink) -> tuple[InterfaceFacts, ...]:
    """Return every device but loopback and our own, in the kernel's order."""
    links = await all_links(netlink)
    messages = await netlink.ask(rtnetlink.get_addresses())
    held = [a for a in map(rtnetlink.read_interface_address, messages) if a is not None]
    return tuple(
        InterfaceFacts(
            name=link.name,
            kind=link.kind,
            is_plugged=link.is_plugged,
            addresses=tuple(
                ip_interface(f"{a.address}/{a.length}") for a in held if a.index == index
            ),
        )
        for index, link in links.items()
        if not link.is_loopback and link.name not in DEVICES
    )
