"""nftables tables as wholes: loaded, recognised, repaired."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest
from tests.linux.inside import PATIENCE, apply, run_inside, settle

from gatepost.engine.filter import FilterWishes, filter_text
from gatepost.linux.filters import DELETE_CONNECTIONS, Filters
from gatepost.linux.netlink import NETFILTER, Netlink, NetlinkSocket
from gatepost.linux.netlink_message import Request
from gatepost.model.kernel import PacketFilter
from gatepost.model.netmap import FilterRule, PortRange
from gatepost.model.owned import ELSEWHERE, NFT_PATH_TABLE, NFT_TABLE
from gatepost.testing.makers import make_range, make_rule
from gatepost.testing.netns import Machine

pytestmark = pytest.mark.root

MAIN = PacketFilter(
    NFT_TABLE, filter_text(FilterWishes(admit=(make_rule("100.64.0.2/32", "0.0.0.0/0", 80, 80),)))
)
OTHER = PacketFilter(NFT_TABLE, filter_text(FilterWishes()))
PATHS = PacketFilter(
    NFT_PATH_TABLE,
    f"table inet {NFT_PATH_TABLE} {{\n\tchain steer {{\n"
    "\t\ttype filter hook prerouting priority raw; policy accept;\n"
    "\t\tudp dport 41642 counter drop\n\t}\n}\n",
)


def test_tables_are_loaded_and_the_second_round_writes_nothing(
    machine: Machine, tmp_path: Path
) -> None:
    async def work(netlink: Netlink) -> None:
        filters = Filters(netlink, tmp_path)
        await settle(filters, MAIN, PATHS)
        await settle(filters, OTHER, PATHS)
        await settle(filters, OTHER)
        await settle(filters)

    run_inside(machine, work)

    assert machine.run("nft", "list", "ruleset") == ""


def test_a_new_daemon_finds_what_the_killed_one_left_and_writes_nothing(
    machine: Machine, tmp_path: Path
) -> None:
    run_inside(machine, lambda netlink: apply(Filters(netlink, tmp_path), MAIN, PATHS))
    assert run_inside(machine, lambda n: apply(Filters(n, tmp_path), MAIN, PATHS)) == ()


def test_without_its_memory_the_daemon_loads_the_table_once_more(
    machine: Machine, tmp_path: Path
) -> None:
    run_inside(machine, lambda netlink: apply(Filters(netlink, tmp_path), MAIN))
    for file in tmp_path.iterdir():
        file.write_text("half a fi")

    assert len(run_inside(machine, lambda n: apply(Filters(n, tmp_path), MAIN))) == 1
    assert run_inside(machine, lambda n: apply(Filters(n, tmp_path), MAIN)) == ()


@pytest.mark.parametrize(
    "damage",
    [
        "delete table inet gatepost",
        "flush chain inet gatepost input",
        "add rule inet gatepost input accept",
        "insert rule inet gatepost from_mesh accept",
        "add element inet gatepost own4 { 100.64.0.9 }",
        "add chain inet gatepost more",
    ],
)
def test_a_table_changed_by_hand_is_put_right(
    machine: Machine, tmp_path: Path, damage: str
) -> None:
    async def work(netlink: Netlink) -> None:
        filters = Filters(netlink, tmp_path)
        await settle(filters, MAIN, PATHS)
        before = without_epoch(machine)
        machine.nft(damage)

        assert [c.new for c in await apply(filters, MAIN, PATHS)] == [MAIN]
        await settle(filters, MAIN, PATHS)
        assert without_epoch(machine) == before

    run_inside(machine, work)


_EPOCH = r"(?<=ct mark & )0x[0-9a-f]{8} (==|\|) 0x[0-9a-f]{8}"  # nft puts it into the mask, too


def without_epoch(machine: Machine) -> list[str]:
    """Return the lines of the ruleset; what a hole let in is judged again, so the epoch differs."""
    listing = machine.run("nft", "-s", "list", "ruleset")
    return sorted(re.sub(_EPOCH, "", listing).splitlines())


def test_no_connection_carries_an_epoch_that_comes_again(machine: Machine, tmp_path: Path) -> None:
    """There are 254; before one is used again, who still carries it is forgotten."""
    machine.nft(
        "table inet stranger { chain out { type filter hook output priority 0;"
        " udp dport 1 ct mark set 0x00010000; udp dport 2 ct mark set 0x00020007;"
        " udp dport 3 ct mark set 0x00000002; }; }"
    )
    for port in (1, 2, 3):
        machine.run("bash", "-c", f"echo > /dev/udp/127.0.0.1/{port}")

    async def work(netlink: Netlink) -> None:
        filters = Filters(netlink, tmp_path)
        for wanted, left in ((MAIN, "23"), (OTHER, "3")):
            await settle(filters, wanted)
            held = machine.run("cat", "/proc/net/nf_conntrack")
            assert [n for n in "123" if f"dport={n} " in held] == list(left)
        epochs = set[str]()
        for number in range(256):
            await apply(filters, OTHER if number % 2 else MAIN)
            epochs |= set(re.findall(r"ct mark & 0x00ff0000 == (0x[0-9a-f]+)", listing(machine)))
        assert len(epochs) == 254
        assert not epochs & {"0x00000000", f"0x{ELSEWHERE:08x}"}

    run_inside(machine, work)


class WithoutConnections(NetlinkSocket):
    """The kernel's answers when it was built without ctnetlink: no subsystem has that number."""

    def write(self, requests: Iterable[Request], harmless: frozenset[int] = frozenset()) -> None:
        asked = tuple(requests)
        unknown = (Request((63 << 8) | r.type & 0xFF, r.flags, r.body, r.about) for r in asked)
        super().write(unknown if asked[0].type == DELETE_CONNECTIONS else asked, harmless)


def test_a_kernel_that_cannot_forget_connections_gets_the_filter_and_a_notice(
    machine: Machine, tmp_path: Path
) -> None:
    async def work(netlink: Netlink) -> None:
        with closing(netlink.netfilter):
            netlink.netfilter = WithoutConnections(NETFILTER)
        filters = Filters(netlink, tmp_path)
        await settle(filters, MAIN)

        assert [n.code for n in filters.notices()] == ["filter-cannot-forget"]

    run_inside(machine, work)

    assert "chain from_mesh" in machine.run("nft", "list", "table", "inet", NFT_TABLE)


def listing(machine: Machine) -> str:
    return machine.run("nft", "list", "chain", "inet", NFT_TABLE, "from_mesh")


def test_counters_that_count_are_no_damage(machine: Machine, tmp_path: Path) -> None:
    async def work(netlink: Netlink) -> None:
        filters = Filters(netlink, tmp_path)
        await settle(filters, PATHS)
        machine.attempt("python3", "-c", _SEND_ONE)
        assert "packets 1" in machine.run("nft", "list", "table", "inet", NFT_PATH_TABLE)
        machine.nft("add table inet stranger")

        assert await apply(filters, PATHS) == ()

    run_inside(machine, work)


_SEND_ONE = """
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 41642))
"""


def test_a_strangers_table_stays(machine: Machine, tmp_path: Path) -> None:
    machine.nft("table inet stranger {\nchain c {\ncounter\n}\n}\ntable ip gatepost {\n}\n")

    async def work(netlink: Netlink) -> None:
        filters = Filters(netlink, tmp_path)
        await settle(filters, MAIN)
        await settle(filters)

    run_inside(machine, work)
    shown = machine.run("nft", "list", "tables")

    assert shown == "table inet stranger\ntable ip gatepost\n"


def test_what_nft_refuses_is_told_in_its_words_and_the_old_table_stays(
    machine: Machine, tmp_path: Path
) -> None:
    text = MAIN.text.replace("ct state invalid", "ct state wrong", 1)

    async def work(netlink: Netlink) -> None:
        filters = Filters(netlink, tmp_path)
        await settle(filters, MAIN)
        with pytest.raises(OSError, match=r"(?s)nft refused.*wrong.*\(line \d+: ct state wrong"):
            await apply(filters, PacketFilter(NFT_TABLE, text))
        assert await apply(filters, MAIN) == ()

    run_inside(machine, work)


@pytest.mark.parametrize(
    "wanted",
    [
        PacketFilter("filter", "table inet filter {\n}\n"),
        PacketFilter(NFT_TABLE, "table inet filter {\n}\n"),
        PacketFilter(NFT_TABLE, "flush ruleset\n"),
    ],
)
def test_a_text_about_another_table_is_refused(
    machine: Machine, tmp_path: Path, wanted: PacketFilter
) -> None:
    with pytest.raises(OSError, match=r"not ours|about something else"):
        run_inside(machine, lambda netlink: apply(Filters(netlink, tmp_path), wanted))
    assert machine.run("nft", "list", "ruleset") == ""


def test_without_nft_the_way_out_is_told(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="apt install nftables"):
        run_inside(
            machine, lambda netlink: apply(Filters(netlink, tmp_path, program="no-nft"), MAIN)
        )


def test_a_full_disk_is_told_once_and_the_table_is_not_loaded_again(
    machine: Machine, tmp_path: Path
) -> None:
    async def work(netlink: Netlink) -> None:
        filters = Filters(netlink, tmp_path / "missing")
        with pytest.raises(OSError, match="missing"):
            await apply(filters, MAIN)
        assert await apply(filters, MAIN) == ()

    run_inside(machine, work)


def test_ten_thousand_rules_load_in_seconds_and_are_checked_in_no_time(
    machine: Machine, tmp_path: Path
) -> None:
    ports = [PortRange(n, n) for n in range(1, 11)]
    target = make_range("10.1.0.0/16")
    rules = [
        FilterRule(
            sources=(make_range(f"100.64.{n // 250}.{n % 250}/32"),),
            destinations=((target, port),),
            protocols=(6,),
        )
        for n in range(1000)
        for port in ports
    ]
    start = time.process_time()
    wanted = PacketFilter(NFT_TABLE, filter_text(FilterWishes(admit=rules)))
    compiled = time.process_time() - start

    async def work(netlink: Netlink) -> float:
        filters = Filters(netlink, tmp_path)
        await settle(filters, wanted)
        start = time.monotonic()
        await filters.read()
        return time.monotonic() - start

    checked = run_inside(machine, work)
    print(f"compiled in {compiled * 1e3:.0f} ms, checked in {checked * 1e3:.1f} ms")

    assert compiled < 1.0 * PATIENCE
    assert checked < 0.1 * PATIENCE
