"""BPF programs on devices: attached, repaired, shared, replaced, and gone again."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from tests.linux.inside import apply, run_inside, settle

from gatepost.linux.netlink import Netlink
from gatepost.linux.tc import TrafficPrograms, open_maps
from gatepost.model.kernel import MapEntry, TrafficProgram
from gatepost.model.owned import RELAY_PRIORITY
from gatepost.testing.netns import Machine

pytestmark = pytest.mark.root

SETTINGS = MapEntry("settings", bytes(4), bytes.fromhex("1e61000000000800"))


def relay(device: str, *entries: MapEntry, priority: int = RELAY_PRIORITY) -> TrafficProgram:
    return TrafficProgram(
        device=device,
        direction="in",
        priority=priority,
        object="peer_relay",
        program="ethernet",
        bare="bare",
        entries=frozenset(entries or (SETTINGS,)),
    )


@pytest.fixture
def box(machine: Machine) -> Machine:
    machine.ip(
        "link add wan0 type veth peer name wan1",
        "tuntap add dev ppp0 mode tun",
        *(f"link set {name} up" for name in ("wan0", "wan1", "ppp0")),
    )
    return machine


def on(*wanted: TrafficProgram) -> Callable[[Netlink], Awaitable[None]]:
    async def work(netlink: Netlink) -> None:
        await settle(TrafficPrograms(netlink, lambda: wanted), *wanted)

    return work


def filters(box: Machine, device: str) -> list[str]:
    shown = json.loads(box.run("tc", "-json", "filter", "show", "dev", device, "ingress"))
    return [f["options"]["bpf_name"] for f in shown if "options" in f]


def test_programs_reach_the_goal_and_the_second_round_writes_nothing(box: Machine) -> None:
    run_inside(box, on(relay("wan0"), relay("wan1")))

    (name,) = filters(box, "wan0")
    assert name.startswith("gatepost:peer_relay:ethernet:")


def test_a_device_without_ethernet_gets_the_program_for_it(box: Machine) -> None:
    run_inside(box, on(relay("ppp0")))

    (name,) = filters(box, "ppp0")
    assert name.startswith("gatepost:peer_relay:bare:")


def test_all_devices_share_one_set_of_maps(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        await settle(TrafficPrograms(netlink, lambda: wanted), *wanted)
        maps = await open_maps(netlink, "peer_relay")
        maps["sessions4"].put(bytes(16), bytes(32))
        await apply(TrafficPrograms(netlink, lambda: wanted), relay("wan1"))
        again = await open_maps(netlink, "peer_relay")

        assert maps["sessions4"].identity == again["sessions4"].identity
        assert list(again["sessions4"].items()) == [bytes(16)]
        for each in (*maps.values(), *again.values()):
            each.close()

    wanted = (relay("wan0"), relay("wan1"), relay("ppp0"))
    run_inside(box, work)


def test_a_filter_deleted_by_hand_comes_back(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        programs = TrafficPrograms(netlink, lambda: (relay("wan0"),))
        await settle(programs, relay("wan0"))
        box.run("tc", "filter", "delete", "dev", "wan0", "ingress")
        assert await programs.read() == frozenset()
        await settle(programs, relay("wan0"))

    run_inside(box, work)
    assert len(filters(box, "wan0")) == 1


def test_an_entry_that_somebody_changed_is_put_right(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        programs = TrafficPrograms(netlink, lambda: (relay("wan0"),))
        await settle(programs, relay("wan0"))
        maps = await open_maps(netlink, "peer_relay")
        maps["settings"].put(bytes(4), bytes(8))
        assert await programs.read() != frozenset((relay("wan0"),))
        await settle(programs, relay("wan0"))

        assert maps["settings"].get(bytes(4)) == SETTINGS.value
        for each in maps.values():
            each.close()

    run_inside(box, work)


def test_a_map_that_is_mentioned_holds_no_other_entries(box: Machine) -> None:
    mine = MapEntry("sessions4", bytes(16), bytes(32))

    async def work(netlink: Netlink) -> None:
        wanted = relay("wan0", SETTINGS, mine)
        programs = TrafficPrograms(netlink, lambda: (wanted,))
        await settle(programs, wanted)
        maps = await open_maps(netlink, "peer_relay")
        maps["sessions4"].put(b"strange key bits", bytes(32))
        await settle(programs, wanted)

        assert list(maps["sessions4"].items()) == [mine.key]
        for each in maps.values():
            each.close()

    run_inside(box, work)


def test_a_strangers_filter_stays_when_ours_goes(box: Machine) -> None:
    box.run("tc", "qdisc", "add", "dev", "wan0", "clsact")
    box.run(
        *("tc", "filter", "add", "dev", "wan0", "ingress", "prio", "7", "u32"),
        *("match", "u32", "0", "0", "flowid", "1:1"),
    )
    run_inside(box, on(relay("wan0")))
    run_inside(box, on())

    shown = json.loads(box.run("tc", "-json", "filter", "show", "dev", "wan0", "ingress"))
    assert {f["kind"] for f in shown} == {"u32"}


def test_a_newer_program_takes_over_the_maps_of_the_one_before(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        programs = TrafficPrograms(netlink, lambda: (relay("wan0"),))
        await settle(programs, relay("wan0"))
        before = await open_maps(netlink, "peer_relay")
        other = replace(relay("wan0"), program="bare")  # stands for another version
        await apply(TrafficPrograms(netlink, lambda: (other,)), other)
        assert await programs.read() != frozenset((relay("wan0"),))
        await settle(programs, relay("wan0"))
        after = await open_maps(netlink, "peer_relay")

        assert {n: m.identity for n, m in before.items()} == {
            n: m.identity for n, m in after.items()
        }
        for each in (*before.values(), *after.values()):
            each.close()

    run_inside(box, work)


def test_a_priority_of_others_is_refused(box: Machine) -> None:
    with pytest.raises(OSError, match="not one of ours"):
        run_inside(box, on(relay("wan0", priority=1)))


def test_a_device_that_is_gone_is_named(box: Machine) -> None:
    with pytest.raises(OSError, match="no device nowhere"):
        run_inside(box, on(relay("nowhere")))


def test_maps_of_an_object_that_is_nowhere_are_none(box: Machine) -> None:
    async def work(netlink: Netlink) -> None:
        assert await open_maps(netlink, "peer_relay") == {}

    run_inside(box, work)
