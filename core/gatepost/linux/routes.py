"""The applier of `Route`: routes with our protocol number in our table."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection

from gatepost.linux import rtnetlink
from gatepost.linux.links import all_links
from gatepost.linux.netlink import Netlink
from gatepost.linux.netlink_message import Message, Request
from gatepost.model.kernel import Route
from gatepost.model.owned import EXIT_TABLE, PROVIDER_TABLE, ROUTE_TABLE
from gatepost.model.resource import Change, Resource

_GONE = frozenset({errno.ESRCH, errno.ENOENT, errno.ENODEV})


class Routes:
    """Owns what carries protocol 152 in our tables.

    A stranger's route there stays, unless it has the same destination: then ours replaces it.
    """

    applies: type[Resource] = Route

    def __init__(
        self,
        netlink: Netlink,
        tables: tuple[int, ...] = (ROUTE_TABLE, EXIT_TABLE, PROVIDER_TABLE),
    ) -> None:
        self._netlink = netlink
        self._tables = tables
        self._names: dict[int, str] = {}
        self._known: dict[bytes, Route | None] = {}

    async def read(self) -> frozenset[Resource]:
        names = {n: link.name for n, link in (await all_links(self._netlink)).items()}
        messages = [
            message
            for table in self._tables
            for family in (socket.AF_INET, socket.AF_INET6)
            for message in await self._dump(family, table)
        ]

        def parse() -> frozenset[Resource]:
            routes = self._parse(messages, names)
            return frozenset(r for r in routes if r is not None and r.table in self._tables)

        return await self._netlink.run(parse)  # 10,000 new routes take half a second

    def _parse(self, messages: list[Message], names: dict[int, str]) -> Collection[Route | None]:
        """Read the messages; one that the last reading had too is not read again.

        In that way 10,000 routes cost 0.03 s every minute and not 0.4 s.
        """
        known = self._known if names == self._names else {}
        self._names = names
        self._known = {
            m.body: known[m.body] if m.body in known else rtnetlink.read_route(m, names)
            for m in messages
        }
        return self._known.values()

    async def _dump(self, family: int, table: int) -> list[Message]:
        try:
            return await self._netlink.ask(rtnetlink.get_routes(family, table))
        except FileNotFoundError:
            return []  # nobody ever put a route into this table

    async def write(self, changes: tuple[Change, ...]) -> None:
        index = {link.name: n for n, link in (await all_links(self._netlink)).items()}

        def build() -> tuple[list[Request], list[Request]]:
            add, remove = list[Request](), list[Request]()
            for change in changes:
                if isinstance(change.new, Route):
                    device = self._device(change.new, index)
                    add.append(rtnetlink.write_route(change.new, device, new=True))
                elif isinstance(change.old, Route):
                    remove.append(rtnetlink.write_route(change.old, 0, new=False))
            return add, remove

        add, remove = await self._netlink.run(build)
        await self._netlink.write(add)
        await self._netlink.write(remove, _GONE)

    def _device(self, route: Route, index: dict[str, int]) -> int:
        if route.table not in self._tables:
            raise OSError(
                errno.EPERM, f"route {route.destination}: table {route.table} is not ours"
            )
        if route.device is None:
            if route.kind == "unicast" and route.gateway is None:
                raise OSError(errno.EINVAL, f"route {route.destination}: names no device")
            return 0
        if route.device not in index:
            raise OSError(errno.ENODEV, f"route {route.destination}: no device {route.device}")
        return index[route.device]
