"""The applier of `Address`: what our own devices are called by."""

from __future__ import annotations

import errno

from gatepost.linux import rtnetlink
from gatepost.linux.links import all_links
from gatepost.linux.netlink import Netlink
from gatepost.linux.netlink_message import Request
from gatepost.model.kernel import Address
from gatepost.model.owned import DEVICES
from gatepost.model.resource import Change, Resource

_GONE = frozenset({errno.EADDRNOTAVAIL, errno.ENODEV})


class Addresses:
    """Owns the host addresses (/32, /128) of our devices; other prefixes there are a stranger's.

    Link-local addresses are the kernel's own and left alone.
    """

    applies: type[Resource] = Address

    def __init__(self, netlink: Netlink, devices: frozenset[str] = DEVICES) -> None:
        self._netlink = netlink
        self._devices = devices

    async def read(self) -> frozenset[Resource]:
        ours = {
            index: link.name
            for index, link in (await all_links(self._netlink)).items()
            if link.name in self._devices
        }
        found: set[Resource] = set()
        for index, name in ours.items():
            for message in await self._netlink.ask(rtnetlink.get_addresses(index)):
                held = rtnetlink.read_interface_address(message)
                if (
                    held is not None
                    and held.index == index
                    and held.length == held.address.max_prefixlen
                    and not held.address.is_link_local
                ):
                    found.add(Address(name, held.address))
        return frozenset(found)

    async def write(self, changes: tuple[Change, ...]) -> None:
        index = {link.name: n for n, link in (await all_links(self._netlink)).items()}
        adding = list[Request]()
        removing = list[Request]()
        for change in changes:
            if isinstance(change.new, Address):
                self._check(change.new, index)
                device = index[change.new.device]
                adding.append(rtnetlink.write_address(change.new, device, new=True))
            elif isinstance(change.old, Address) and change.old.device in index:
                device = index[change.old.device]
                removing.append(rtnetlink.write_address(change.old, device, new=False))
        await self._netlink.write(adding)
        await self._netlink.write(removing, _GONE)

    def _check(self, address: Address, index: dict[str, int]) -> None:
        if address.device not in self._devices:
            owned = ", ".join(sorted(self._devices))
            raise OSError(
                errno.EPERM, f"address {address.address}: {address.device} is not ours ({owned} is)"
            )
        if address.device not in index:
            raise OSError(errno.ENODEV, f"address {address.address}: no device {address.device}")
