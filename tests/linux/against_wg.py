"""The same peers written by our applier and by `wg`, in turns, on the same kind of device.

Seconds say little: they depend on the machine, and most of each is WireGuard's own
arithmetic. `wg` pays for the same arithmetic in the same minute, so the ratio is ours.
Emptying the device between the turns is not counted, and is what takes long with the
kernel's: it waits for all processors once per peer, 19 ms in an emulated machine.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tests.linux.peers import ENDPOINT, NAME, make_device, make_peer, many_peers, open_it

from gatepost.linux.netlink import Netlink
from gatepost.linux.wireguard import Devices, Peers, WireGuard
from gatepost.model.kernel import WireGuardPeer
from gatepost.model.resource import Change

SINGLES = 10  # peers that are added one by one in each turn

Write = Callable[[], Awaitable[object]]
Prepare = Callable[[Sequence[WireGuardPeer]], Write]  # what is not to be measured happens here


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Seconds, one pair (ours, wg's) per turn."""

    backend: str
    many: tuple[tuple[float, float], ...]  # all peers, onto an empty device
    one: tuple[tuple[float, float], ...]  # one more peer


def ratio(turns: Sequence[tuple[float, float]]) -> float:
    """Return ours / wg's, the median of the turns."""
    return statistics.median(ours / theirs for ours, theirs in turns)


async def compare(netlink: Netlink, count: int, turns: int) -> Comparison:
    """Measure; needs to run in a network namespace of its own, and leaves no device there."""
    wireguard = await open_it(netlink)
    peers = many_peers(count)
    more = [make_peer(10 * count + n, f"10.0.{n}.0/24") for n in range(SINGLES)]
    many, one = list[tuple[float, float]](), list[tuple[float, float]]()
    writers = _ours(wireguard), _by_wg(netlink)
    for turn in range(turns):
        found: dict[Prepare, tuple[float, float]] = {}
        for writer in writers if turn % 2 else reversed(writers):
            found[writer] = await _fill(wireguard, writer, peers, more)
        (ours_many, ours_one), (theirs_many, theirs_one) = (found[w] for w in writers)
        many.append((ours_many, theirs_many))
        one.append((ours_one, theirs_one))
    return Comparison(backend=wireguard.backend, many=tuple(many), one=tuple(one))


async def _fill(
    wireguard: WireGuard,
    prepare: Prepare,
    peers: Sequence[WireGuardPeer],
    more: Sequence[WireGuardPeer],
) -> tuple[float, float]:
    """Return the seconds for all peers and, the median, for one more."""
    device = make_device()
    await Devices(wireguard).write((Change(device.key, None, device),))
    try:
        many = await _clock(prepare(peers))
        one = statistics.median([await _clock(prepare((peer,))) for peer in more])
        there = {p.public_key: p.allowed for p in await wireguard.peers()}
        assert there == {p.public_key: p.allowed for p in (*peers, *more)}
    finally:
        await wireguard.remove()
    return many, one


async def _clock(write: Write) -> float:
    start = time.perf_counter()
    await write()
    return time.perf_counter() - start


def _ours(wireguard: WireGuard) -> Prepare:
    applier = Peers(wireguard, lambda _: ENDPOINT)

    def prepare(peers: Sequence[WireGuardPeer]) -> Write:
        changes = tuple(Change(p.key, None, p) for p in peers)
        return lambda: applier.write(changes)

    return prepare


def _by_wg(netlink: Netlink) -> Prepare:
    command = ("wg", "addconf", NAME, "/dev/stdin")

    def prepare(peers: Sequence[WireGuardPeer]) -> Write:
        text = "".join(map(_section, peers))

        def add() -> None:
            subprocess.run(command, input=text, text=True, check=True, timeout=60)

        # In netlink's thread, which is in the right network namespace.
        return lambda: netlink.run(add)

    return prepare


def _section(peer: WireGuardPeer) -> str:
    allowed = ", ".join(str(prefix) for prefix in peer.allowed)
    return (
        f"[Peer]\nPublicKey = {peer.public_key.base64}\n"
        f"Endpoint = {ENDPOINT}\nAllowedIPs = {allowed}\n"
    )
