"""Nodes that register and tell their endpoints, then go: `simulated_nodes URL KEY COUNT [ROUTES]`.

With ROUTES each advertises so many networks of its own, out of 10.0.0.0/8.

Programs that need a large netmap run this against a server of their own.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Iterator

from gatepost.model.keys import DiscoPublic, MachinePrivate, NodePrivate
from gatepost.net.control_client import ControlClient
from gatepost.wire.hostinfo import Hostinfo, NetInfo
from gatepost.wire.netmap import MapRequest
from gatepost.wire.register import RegisterAuth, RegisterRequest

VERSION = 113  # the oldest capability version that the server supports
AT_ONCE = 32
REGION = 900


async def _join(
    url: str, key: str, number: int, routes: int, machine: MachinePrivate, node: NodePrivate
) -> None:
    client = ControlClient(url, machine)
    hostinfo = Hostinfo(
        hostname=f"site-{number}",
        os="linux",
        net_info=NetInfo(preferred_derp=REGION),
        routable_ips=tuple(_networks(number * routes, routes)) or None,
    )
    try:
        await client.register(
            RegisterRequest(
                version=VERSION,
                node_key=node.public,
                auth=RegisterAuth(auth_key=key),
                hostinfo=hostinfo,
            )
        )
        endpoint = f"192.0.2.{number % 250 + 1}:41641"
        await client.update(
            MapRequest(
                version=VERSION,
                node_key=node.public,
                disco_key=DiscoPublic(node.public.raw),
                hostinfo=hostinfo,
                endpoints=(endpoint,),
            )
        )
    finally:
        await client.close()


def _networks(first: int, count: int) -> Iterator[str]:
    """Yield networks from the `first` of 10.0.0.0/8, with a number left out between two.

    Otherwise they would not stand for 10,000 places, but for a few wide ones.
    """
    for number in range(2 * first, 2 * (first + count), 2):
        yield f"10.{number >> 8}.{number & 255}.0/24"


def _keys() -> tuple[MachinePrivate, NodePrivate]:
    return MachinePrivate(secrets.token_bytes(32)), NodePrivate(secrets.token_bytes(32))


async def _join_all(url: str, key: str, count: int, routes: int) -> None:
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with turns:
            await _join(url, key, number, routes, *_keys())

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))


def main() -> None:
    url, key, count, *routes = sys.argv[1:]
    asyncio.run(_join_all(url, key, int(count), int(routes[0]) if routes else 0))


if __name__ == "__main__":
    main()
