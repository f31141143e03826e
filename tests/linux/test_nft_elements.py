"""One network more or less is an element of some sets, and never another table."""

from __future__ import annotations

import json
from ipaddress import IPv4Network, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.linux.inside import apply, run_inside, settle

from gatepost.engine.filter import FilterWishes, filter_text
from gatepost.engine.guard import guard_text
from gatepost.linux.filters import Filters
from gatepost.linux.netlink import Netlink
from gatepost.linux.nft_elements import Element, changed_elements, epoch_script
from gatepost.model.kernel import OnlyThroughMesh, PacketFilter
from gatepost.model.netmap import AddressRange, FilterRule, PortRange
from gatepost.model.owned import NFT_GUARD_TABLE, NFT_TABLE
from gatepost.testing.makers import make_range
from gatepost.testing.netns import Machine

BASE = int(ip_network("10.0.0.0/8")[0])
networks = st.sets(st.integers(0, 40), min_size=1).map(
    lambda numbers: tuple(IPv4Network((BASE + (n << 8), 24)) for n in sorted(numbers))
)


ALWAYS = IPv4Network("10.200.0.0/24")  # a site with no network has other rules


def text_for(carried: tuple[IPv4Network, ...], last: str = "10.0.0.9") -> str:
    carried = (*carried, ALWAYS)
    sources = tuple(AddressRange(n[0], n[-1]) for n in carried)
    rule = FilterRule(
        sources=(*sources, make_range("fd7a::/16")),
        destinations=((make_range(f"{last}/32"), PortRange()),),
    )
    return filter_text(FilterWishes(carried=carried, admit=(rule,)))


@given(networks, networks)
def test_the_steps_lead_from_one_set_of_networks_to_the_other(
    one: tuple[IPv4Network, ...], other: tuple[IPv4Network, ...]
) -> None:
    changes = changed_elements(text_for(one), text_for(other))
    assert changes is not None
    for change in changes:
        assert change.name in {"carried4", "sources4"}
        held = {n for e in elements_of(text_for(one), change.name) for n in numbers(e)}
        held -= {n for e in change.removed for n in numbers(e)}
        held |= {n for e in change.added for n in numbers(e)}

        wanted = {n for e in elements_of(text_for(other), change.name) for n in numbers(e)}
        assert held == wanted


def elements_of(text: str, name: str) -> tuple[Element, ...]:
    empty = text_for(())
    found = [c for c in changed_elements(empty, text) or () if c.name == name]
    return tuple(e for c in found for e in c.added)


def numbers(element: Element) -> range:
    """Return the networks of 256 addresses from 10.0.0.0 on that are in it."""
    return range((element.first - BASE) >> 8, ((element.last - BASE) >> 8) + 1)


def test_another_rule_is_no_step() -> None:
    some = (IPv4Network("10.1.0.0/24"),)

    assert changed_elements(text_for(some), text_for(some, last="10.0.0.8")) is None


def test_many_networks_and_those_at_either_end_are_loaded() -> None:
    many = tuple(IPv4Network((BASE + (n << 9), 24)) for n in range(210))
    for carried in (many, (IPv4Network("0.0.0.0/8"),), (IPv4Network("255.255.255.0/24"),)):
        assert changed_elements(text_for(()), text_for(carried)) is None


def test_the_rules_that_know_the_epoch_are_written_anew_and_no_others() -> None:
    script = epoch_script(NFT_TABLE, text_for(()))

    assert "flush chain inet gatepost from_mesh\n" in script
    assert script.count("$epoch") == text_for(()).count("$epoch")
    assert "chain senders" not in script


def listing(machine: Machine) -> str:
    return machine.run("nft", "-s", "list", "table", "inet", NFT_TABLE)


ONE = tuple(IPv4Network(f"10.{n}.0.0/24") for n in range(0, 20, 2))
OTHERS = (
    (*ONE, IPv4Network("172.31.7.0/24")),
    ONE[1:],
    (*ONE, IPv4Network("10.2.1.0/24")),  # beside another one: both become a wider one
    ONE,
)


@pytest.mark.root
@pytest.mark.parametrize("other", OTHERS)
def test_steps_leave_what_a_load_leaves_and_the_second_round_writes_nothing(
    machine: Machine, tmp_path: Path, other: tuple[IPv4Network, ...]
) -> None:
    async def work(netlink: Netlink) -> None:
        filters = Filters(netlink, tmp_path)
        await settle(filters, PacketFilter(NFT_TABLE, text_for(ONE)))
        await settle(filters, PacketFilter(NFT_TABLE, text_for(other)))
        stepped = listing(machine)
        machine.nft(f"delete table inet {NFT_TABLE}")
        await settle(filters, PacketFilter(NFT_TABLE, text_for(other)))
        loaded = listing(machine)

        assert without_epoch(stepped) == without_epoch(loaded)
        if other != ONE:
            assert stepped != loaded

    run_inside(machine, work)


def without_epoch(text: str) -> list[str]:
    return [line for line in text.splitlines() if "ct mark" not in line]


def handle(machine: Machine) -> int:
    """Return the kernel's number of the table; one that is loaded gets another."""
    found = json.loads(machine.run("nft", "-j", "list", "tables"))["nftables"]
    return next(int(f["table"]["handle"]) for f in found if "table" in f)


@pytest.mark.root
def test_another_network_leaves_the_table_where_it_is(machine: Machine, tmp_path: Path) -> None:
    async def work(netlink: Netlink) -> None:
        filters = Filters(netlink, tmp_path)
        await settle(filters, PacketFilter(NFT_TABLE, text_for(ONE)))
        first = handle(machine)
        for other in OTHERS:
            await settle(filters, PacketFilter(NFT_TABLE, text_for(other)))
            assert handle(machine) == first

    run_inside(machine, work)


@pytest.mark.root
@pytest.mark.parametrize(("calm", "loads"), [(0.0, 0), (3600.0, 1)])
def test_who_comes_after_a_daemon_that_was_killed_loads_once_if_it_was_not_calm_yet(
    machine: Machine, tmp_path: Path, calm: float, loads: int
) -> None:
    wanted = PacketFilter(NFT_TABLE, text_for(OTHERS[0]))

    async def work(netlink: Netlink) -> None:
        killed, after = Filters(netlink, tmp_path, calm=calm), Filters(netlink, tmp_path)
        await settle(killed, PacketFilter(NFT_TABLE, text_for(ONE)))
        await settle(killed, wanted)

        assert len(await apply(after, wanted)) == loads
        assert await apply(after, wanted) == ()

    run_inside(machine, work)


@pytest.mark.root
def test_a_change_by_hand_after_a_step_is_put_right(machine: Machine, tmp_path: Path) -> None:
    wanted = PacketFilter(NFT_TABLE, text_for(OTHERS[0]))

    async def work(netlink: Netlink) -> None:
        filters = Filters(netlink, tmp_path)
        await settle(filters, PacketFilter(NFT_TABLE, text_for(ONE)))
        await settle(filters, wanted)
        before = without_epoch(listing(machine))
        machine.nft(f"add rule inet {NFT_TABLE} input accept")

        assert [c.new for c in await apply(filters, wanted)] == [wanted]
        assert without_epoch(listing(machine)) == before

    run_inside(machine, work)


@pytest.mark.root
def test_what_is_not_there_to_be_taken_away_is_loaded(machine: Machine, tmp_path: Path) -> None:
    """The kernel refuses such a step as a whole; that it comes to this is somebody's hand."""

    async def work(netlink: Netlink) -> None:
        filters = Filters(netlink, tmp_path)
        await settle(filters, PacketFilter(NFT_TABLE, text_for(ONE)))
        machine.nft(f"delete element inet {NFT_TABLE} carried4 {{ 10.0.0.0/24 }}")
        await settle(filters, PacketFilter(NFT_TABLE, text_for(ONE[1:])))
        assert "10.0.0.0/24" not in listing(machine)

    run_inside(machine, work)


@pytest.mark.root
def test_the_guard_is_loaded_as_a_whole_and_its_file_has_it_at_once(
    machine: Machine, tmp_path: Path
) -> None:
    """At boot the file is all there is."""
    texts = [
        guard_text(OnlyThroughMesh(device="gatepost0", spared=frozenset(spared)))
        for spared in (ONE, ONE[1:])
    ]

    async def work(netlink: Netlink) -> None:
        filters = Filters(netlink, tmp_path)
        for text in texts:
            await settle(filters, PacketFilter(NFT_GUARD_TABLE, text))

    run_inside(machine, work)

    assert (tmp_path / f"nftables-{NFT_GUARD_TABLE}.loaded").read_text().endswith(texts[-1])
