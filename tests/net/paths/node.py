"""A node as a process, without coordination: WireGuard, DERP and the path service.

Arguments: a Unix socket to listen on and a number. It takes one JSON object per
line and answers with one: {"do": "peers", ...}, "paths", "device", "endpoints",
"ping", "tsmp", "mtu", "check", "injected", "die".
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path
from typing import Any

from gatepost.engine.steering import steering_filter
from gatepost.linux.netlink import Netlink
from gatepost.linux.wireguard import Devices, Peers, WireGuard, open_wireguard
from gatepost.model.kernel import WireGuardDevice, WireGuardPeer
from gatepost.model.keys import DiscoPrivate, NodePrivate, NodePublic
from gatepost.model.netmap import DerpNode, DerpRegion, Endpoint, IPAddress, NetMap, Node
from gatepost.model.owned import DEVICE, MARK, MTU, WIREGUARD_PORT
from gatepost.model.resource import Change
from gatepost.net.derp_client import DerpClients
from gatepost.net.paths import PathService
from gatepost.net.paths_proxy import is_wireguard
from gatepost.testing.topology import INTERNET_V4, INTERNET_V6

log = logging.getLogger(__name__)
REGION = 900


def node_key(number: int) -> NodePrivate:
    return NodePrivate(bytes((0, number, *bytes(29), 0x40)))


def disco_key(number: int) -> DiscoPrivate:
    return DiscoPrivate(bytes((8, number, *bytes(29), 0x40)))


def mesh_address(number: int) -> IPv4Address:
    return IPv4Address("100.64.0.0") + number


def own_addresses() -> tuple[IPAddress, ...]:
    output = subprocess.run(
        ("ip", "-json", "address"), capture_output=True, text=True, check=True, timeout=5
    )
    links: list[dict[str, Any]] = json.loads(output.stdout)  # the shape is ip's own
    return tuple(ip_address(a["local"]) for link in links for a in link["addr_info"])


class TestNode:
    """One node; `answer` does what a line asks."""

    __test__ = False

    def __init__(self, number: int, wireguard: WireGuard) -> None:
        self._number = number
        self.injected = 0  # packets of WireGuard that came by DERP
        self._wireguard = wireguard
        self.paths = PathService(
            node=node_key(number).public,
            disco=disco_key(number),
            tunnel=wireguard,
            addresses=own_addresses,
            on_change=lambda: None,
        )
        self._peers = Peers(wireguard, self.paths.initial_endpoint)

    def on_derp_packet(self, region: int, source: NodePublic, payload: bytes) -> None:
        self.injected += is_wireguard(payload)
        self.paths.on_derp_packet(region, source, payload)

    async def set_up(self) -> None:
        device = WireGuardDevice(
            name=DEVICE,
            private_key=node_key(self._number),
            port=WIREGUARD_PORT,
            mark=MARK,
            mtu=MTU,
        )
        await Devices(self._wireguard).write((Change(device.key, None, device),))
        _run("ip", "address", "replace", f"{mesh_address(self._number)}/10", "dev", DEVICE)
        table = steering_filter()
        _run("nft", "-f", "-", stdin=f"add table inet {table.table}\n"
             f"delete table inet {table.table}\n{table.text}")  # fmt: skip

    async def answer(self, wish: dict[str, Any]) -> object:  # noqa: PLR0911  # one per wish
        key = node_key(int(wish.get("peer", 0))).public
        match wish["do"]:
            case "peers":
                await self._set_peers(wish["peers"], wish["pin"], stale=wish.get("stale", False))
            case "paths":
                info = self.paths.paths()[key]
                return [info.kind, str(info.endpoint or ""), info.latency]
            case "device":
                states = {s.public_key: s for s in await self._wireguard.peers()}
                return str(states[key].endpoint)
            case "endpoints":
                return [str(e.endpoint) for e in self.paths.endpoints()]
            case "injected":
                return self.injected
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "mtu":
                report = self.paths.report(key)
                return report.mtu if report else None
            case "tsmp":
                return await self.paths.tsmp_ping(mesh_address(int(wish["peer"])), 2.0)
            case "ping":
                result = await self.paths.ping(key, 3.0)
                return [result.latency, result.kind]
            case _:  # "check"
                seen = await self.paths.netcheck()
                return [seen.udp, seen.ipv4, seen.ipv6, seen.preferred_derp]
        return None

    async def _set_peers(self, peers: dict[str, list[str]], pin: str, *, stale: bool) -> None:
        relay = DerpNode(
            name="1", host=str(INTERNET_V4), address_v4=INTERNET_V4, address_v6=INTERNET_V6,
            certificate_name=pin,
        )  # fmt: skip
        nodes = tuple(_node(int(n), endpoints, stale=stale) for n, endpoints in peers.items())
        region = DerpRegion(id=REGION, code="test", name="Test", nodes=(relay,))
        self.paths.set_netmap(NetMap(me=_node(self._number, []), peers=nodes, derp=(region,)))
        held = await self._peers.read()
        wanted = [_wireguard_peer(n) for n in nodes]
        await self._peers.write(tuple(Change(p.key, None, p) for p in wanted if p not in held))


def _node(number: int, endpoints: list[str], *, stale: bool = False) -> Node:
    """Return a node; `stale` with the discovery key that it had before."""
    found = (e.rpartition(":") for e in endpoints)
    return Node(
        id=number,
        key=node_key(number).public,
        name=f"node{number}",
        addresses=(mesh_address(number),),
        disco=disco_key(number + 100 if stale else number).public,
        endpoints=tuple(Endpoint(ip_address(a.strip("[]")), int(p)) for a, _, p in found),
        home_derp=REGION,
    )


def _wireguard_peer(node: Node) -> WireGuardPeer:
    allowed = frozenset(ip_network(a) for a in node.addresses)
    return WireGuardPeer(device=DEVICE, public_key=node.key, allowed=allowed)


def _run(*command: str, stdin: str = "") -> None:
    subprocess.run(command, input=stdin, text=True, check=True, timeout=10)


async def _main(path: Path, number: int) -> None:
    wireguard = await open_wireguard(Netlink(), log=path.with_suffix(".wireguard"))
    node = TestNode(number, wireguard)
    await node.set_up()
    derp = DerpClients(
        node_key(number), node.on_derp_packet, on_peer_gone=node.paths.on_derp_gone, mark=MARK
    )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await node.answer(json.loads(line))).encode() + b"\n")
                await writer.drain()
        except Exception:
            log.exception("no answer")  # what the test waits for in vain is in the log
            raise
        finally:
            writer.close()

    async with asyncio.TaskGroup() as group:
        group.create_task(derp.run())
        group.create_task(node.paths.run(derp))
        await asyncio.start_unix_server(serve, path)


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG, format="%(relativeCreated)d %(name)s %(message)s")
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2])))
