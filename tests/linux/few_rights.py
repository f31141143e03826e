"""What the service does with programs, for `test_bpf_pins.py`.

    python -m tests.linux.few_rights attach|detach   puts one on wan0, or takes it away
    python -m tests.linux.few_rights load            gives all to the verifier
    python -m tests.linux.few_rights stand-in        opens one whose pins are removed then

The first prints the numbers of the maps, and whether an entry was there from before;
the last whether the stand-in works: with pins, without one, and newly without any.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from ipaddress import ip_address
from pathlib import Path

from tests.linux.inside import apply
from tests.linux.relay_bed import programs
from tests.linux.test_stand_ins import Here

import gatepost.bpf
from gatepost.linux import bpf
from gatepost.linux.bpf_object import read_object_file
from gatepost.linux.bpf_pins import FOLDER, ROOT, may_ask
from gatepost.linux.netlink import Netlink
from gatepost.linux.tc import TrafficPrograms, open_maps
from gatepost.model.netmap import Endpoint

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


async def lose_pins() -> None:
    """Remove pins while a stand-in is open, which leads by wan0 to 10.9.0.9."""
    server, folder = Endpoint(ip_address("10.9.0.9"), 7777), ROOT / FOLDER / "relay_client"
    with Netlink() as netlink:
        here = Here(netlink)
        await here.open(server)
        said = [not await here.stand_ins.check()]
        (folder / "places").unlink()
        said.append(not await here.stand_ins.check())
        shutil.rmtree(folder)
        said.append(await Here(netlink).stand_ins.open(server, 1) is not None)
        print(*said)


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
elif sys.argv[1] == "stand-in":
    asyncio.run(lose_pins())
else:
    asyncio.run(main(sys.argv[1]))
