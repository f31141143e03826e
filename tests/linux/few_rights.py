"""What the service does with programs, for `test_bpf_pins.py`.

    python -m tests.linux.few_rights attach|detach   puts one on wan0, or takes it away
    python -m tests.linux.few_rights load            gives all to the verifier

The first prints the numbers of the maps, and whether an entry was there from before.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.linux.inside import apply
from tests.linux.relay_bed import programs

import gatepost.bpf
from gatepost.linux import bpf
from gatepost.linux.bpf_object import read_object_file
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


def load_all() -> None:
    for path in sorted(Path(gatepost.bpf.__file__).parent.glob("*.o")):
        content = read_object_file(path.read_bytes())
        for name in content.programs:
            loaded, maps = bpf.load_object(content, name)
            for each in (loaded, *maps.values()):
                each.close()
            print(path.stem, name)


if sys.argv[1] == "load":
    load_all()
else:
    asyncio.run(main(sys.argv[1]))
