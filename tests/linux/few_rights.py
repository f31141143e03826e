"""Put a program on wan0, or take it away, as the service does: for `test_bpf_pins.py`.

    python -m tests.linux.few_rights attach|detach

Prints the numbers of the maps, and whether an entry was there from before.
"""

from __future__ import annotations

import asyncio
import sys

from tests.linux.inside import apply
from tests.linux.relay_bed import programs

from gatepost.linux.bpf_pins import may_ask
from gatepost.linux.netlink import Netlink
from gatepost.linux.tc import TrafficPrograms, open_maps

KEY, VALUE = bytes(16), bytes(32)


async def main(what: str) -> None:
    wanted = programs("wan0", "wan1") if what == "attach" else ()
    with Netlink() as netlink:
        applier = TrafficPrograms(netlink, lambda: wanted)
        await apply(applier, *wanted)
        assert set(await applier.read()) == set(wanted)
        maps = await open_maps(netlink, "peer_relay")
        found = maps["sessions4"].get(KEY) is not None if maps else False
        if maps:
            maps["sessions4"].put(KEY, VALUE)
        numbers = sorted(one.identity for one in maps.values())
        print("by number" if may_ask() else "by pin", numbers, found)


asyncio.run(main(sys.argv[1]))
