"""Looks up network devices by name and index."""

from __future__ import annotations

import errno

from gatepost.linux import rtnetlink
from gatepost.linux.netlink import Netlink
from gatepost.linux.rtnetlink import Link


async def find_link(netlink: Netlink, name: str) -> Link | None:
    """Return the device called `name`, or None when there is none."""
    try:
        messages = await netlink.ask(rtnetlink.get_link(name))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    return rtnetlink.read_link(messages[0])


async def all_links(netlink: Netlink) -> dict[int, Link]:
    """Return every device by its index."""
    messages = await netlink.ask(rtnetlink.get_links())
    links = (rtnetlink.read_link(m) for m in messages)
    return {link.index: link for link in links}
