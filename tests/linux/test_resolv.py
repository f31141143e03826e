"""Whom this machine asks is set, and comes back exactly, whatever happens between."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest

from gatepost.linux.resolv import MOST_REWRITES, HostResolvers, why_not_ours
from gatepost.linux.resolv_file import KEPT
from gatepost.linux.resolv_programs import RECORD, Resolvconf, Resolved
from gatepost.linux.resolv_text import read_resolv_conf
from gatepost.model.names import plain_server
from gatepost.model.resolver import HostResolver
from gatepost.model.resource import Change

ROUTER, SERVICE = ip_address("192.168.1.1"), ip_address("100.100.100.100")
ORIGINAL = "# by hand\nnameserver 192.168.1.1\nsearch lan\noptions edns0 timeout:2\n"
OTHER = "nameserver 192.0.2.7\n"
WISH = HostResolver(servers=(SERVICE,), search=("mesh.example", "lan"), spare=(ROUTER,))


@dataclass
class Box:
    """A machine with a clock; `resolvers` is the daemon's applier, again after each start."""

    directory: Path
    time: float = 0.0
    resolvers: HostResolvers = field(init=False)

    def __post_init__(self) -> None:
        self.etc.mkdir()
        self.state.mkdir()
        self.start()

    @property
    def etc(self) -> Path:
        return self.directory / "etc"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def file(self) -> Path:
        return self.etc / "resolv.conf"

    def start(self) -> None:
        self.resolvers = HostResolvers(self.etc, self.state, lambda: self.time)

    async def take(self, wish: HostResolver = WISH) -> None:
        await self.resolvers.write((Change(wish.key, None, wish),))

    async def give_back(self) -> None:
        await self.resolvers.write((Change(WISH.key, WISH, None),))

    def left_over(self) -> list[str]:
        """Return the files beside resolv.conf, and those in our state."""
        found = [*self.etc.iterdir(), *self.state.iterdir()]
        return sorted(p.name for p in found if p != self.file)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = Box(tmp_path)
    made.file.write_text(ORIGINAL)
    return made


async def test_this_machine_asks_us_with_its_own_server_behind(box: Box) -> None:
    await box.take()
    found = read_resolv_conf(box.file.read_text())

    assert found.servers == (SERVICE, ROUTER)
    assert found.search == ("mesh.example", "lan")
    assert found.options == ("edns0", "timeout:2")
    assert await box.resolvers.read() == frozenset({WISH})


async def test_the_very_same_file_comes_back(box: Box) -> None:
    box.file.chmod(0o640)
    os.utime(box.file, ns=(5, 7))
    before = box.file.stat()
    await box.take()
    await box.give_back()
    after = box.file.stat()

    assert box.file.read_text() == ORIGINAL
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (
        before.st_ino, before.st_mode, before.st_mtime_ns,
    )  # fmt: skip
    assert box.left_over() == []


async def test_a_symbolic_link_comes_back_and_what_it_leads_to_is_not_touched(box: Box) -> None:
    elsewhere = box.directory / "run.conf"
    box.file.rename(elsewhere)
    box.file.symlink_to("../run.conf")
    await box.take()
    meanwhile = elsewhere.read_text()
    await box.give_back()

    assert meanwhile == ORIGINAL
    assert box.file.readlink() == Path("../run.conf")


@pytest.mark.parametrize("dangling", [False, True])
async def test_where_there_was_no_file_there_is_none_again(box: Box, dangling: bool) -> None:
    box.file.unlink()
    if dangling:
        box.file.symlink_to("nowhere/resolv.conf")
    await box.take()
    taken = read_resolv_conf(box.file.read_text()).servers
    await box.give_back()

    assert taken == (SERVICE, ROUTER)
    assert not box.file.exists()
    assert box.file.is_symlink() is dangling


async def test_what_a_killed_daemon_left_is_undone_by_the_next(box: Box) -> None:
    await box.take()
    box.start()
    observed = await box.resolvers.observe()
    await box.resolvers.clean_up()

    assert observed.servers == (plain_server(ROUTER),)
    assert box.file.read_text() == ORIGINAL
    assert box.left_over() == []


async def test_taking_again_never_takes_our_own_file_for_the_original(box: Box) -> None:
    await box.take()
    box.start()  # killed, and nobody cleaned up
    await box.take()
    box.file.write_text(box.file.read_text() + "# somebody edits it\n")
    again = HostResolver(servers=(SERVICE,))
    await box.take(again)
    await box.give_back()

    assert box.file.read_text() == ORIGINAL


async def test_cleaning_up_where_nothing_is_ours_changes_nothing(box: Box) -> None:
    before = box.file.stat()
    await box.resolvers.clean_up()

    assert box.file.stat() == before


async def test_what_another_program_writes_is_noticed_and_comes_back_later(box: Box) -> None:
    await box.take()
    box.file.unlink()
    box.file.write_text(OTHER)
    is_gone = await box.resolvers.read() == frozenset()
    observed = await box.resolvers.observe()
    await box.take()
    taken = read_resolv_conf(box.file.read_text()).servers
    await box.give_back()

    assert is_gone
    assert observed.servers == (plain_server(ip_address("192.0.2.7")),)
    assert taken[0] == SERVICE
    assert box.file.read_text() == OTHER
    assert box.left_over() == []


async def test_a_program_that_does_not_give_up_wins_and_the_operator_is_told(box: Box) -> None:
    for _ in range(MOST_REWRITES + 1):
        await box.take()
        box.file.write_text(OTHER)
        await box.resolvers.read()

    with pytest.raises(OSError, match="accept-dns=false"):
        await box.take()
    left = box.file.read_text()
    box.time += 601
    await box.take()

    assert left == OTHER
    assert await box.resolvers.read() == frozenset({WISH})


async def test_a_file_that_we_kept_and_somebody_deleted_leaves_a_machine_with_names(
    box: Box,
) -> None:
    await box.take()
    (box.etc / KEPT).unlink()
    await box.give_back()

    assert read_resolv_conf(box.file.read_text()).servers == (ROUTER,)


async def test_a_machine_that_is_not_ours_is_left_alone(box: Box) -> None:
    box.resolvers = HostResolvers(box.etc, box.state, lambda: 0.0, why_not=lambda: "not ours")
    with pytest.raises(OSError, match="not ours"):
        await box.take()
    observed = await box.resolvers.observe()
    await box.resolvers.clean_up()

    assert box.file.read_text() == ORIGINAL
    assert (observed.servers, observed.way, observed.reason) == (
        (plain_server(ROUTER),), "none", "not ours",
    )  # fmt: skip


def test_this_test_is_on_its_own_machine() -> None:
    assert why_not_ours(Path("/etc")) == ""


@pytest.mark.root
def test_in_a_network_namespace_the_files_around_it_are_not_ours() -> None:
    code = "from pathlib import Path; from gatepost.linux.resolv import why_not_ours as w; "
    code += "print(w(Path('/etc')))"
    python = shutil.which("python3", path=".venv/bin") or "python3"
    shown = subprocess.run(
        ["unshare", "--net", python, "-c", code], check=True, capture_output=True, text=True
    ).stdout

    assert "shared with the machine around" in shown


MOUNTED = """
set -e
mount --bind "$1/mine" "$1/etc/resolv.conf"
cat > "$1/go.py" <<'END'
import asyncio, sys, tests.linux.test_resolv as t
from pathlib import Path
async def go(box):
    await box.take(); print(t.read_resolv_conf(box.file.read_text()).servers)
    box.start(); await box.resolvers.clean_up()
    print(repr(box.file.read_text()), box.left_over())
box = object.__new__(t.Box); box.directory = Path(sys.argv[1]); box.time = 0.0; box.start()
asyncio.run(go(box))
END
"$2" "$1/go.py" "$1"
"""


@pytest.mark.root
def test_a_file_that_is_mounted_is_exchanged_in_its_place(box: Box) -> None:
    (box.directory / "mine").write_text(ORIGINAL)
    python = str(Path(".venv/bin/python").absolute())
    shown = subprocess.run(
        ["unshare", "--mount", "bash", "-c", MOUNTED, "bash", str(box.directory), python],
        check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."},
    ).stdout.splitlines()  # fmt: skip

    assert "100.100.100.100" in shown[0]
    assert shown[1] == f"{ORIGINAL!r} []"


def program(directory: Path, name: str, text: str) -> str:
    """Write a small program that stands for one of the system's."""
    path = directory / name
    path.write_text(f"#!/bin/bash\nset -eu\nbase={directory}\n{text}")
    path.chmod(0o755)
    return str(path)


RESOLVED = """
case $1 in
dns | domain) verb=$1; shift 2; [ $# -eq 0 ] || echo "$*" > "$base/$verb"
              echo "Link 7 (lo): $(cat "$base/$verb")" ;;
default-route) echo "$3" > "$base/default" ;;
revert) rm -f "$base/dns" "$base/domain" "$base/default" ;;
esac
"""


async def test_systemd_resolved_is_told_for_our_link_alone(tmp_path: Path) -> None:
    resolved = Resolved(program(tmp_path, "resolvectl", RESOLVED), device="lo")
    wish = HostResolver(
        servers=(SERVICE,), search=("mesh.example",), suffixes=("corp.example",), is_for_all=False
    )
    await resolved.take(wish)
    domains = (tmp_path / "domain").read_text().split()
    route = (tmp_path / "default").read_text().split()
    is_taken = await resolved.is_taken(wish)
    is_other = await resolved.is_taken(WISH)
    await resolved.give_back()

    assert (domains, route) == (["mesh.example", "~corp.example"], ["no"])
    assert (is_taken, is_other) == (True, False)
    assert not (tmp_path / "dns").exists()


async def test_a_link_that_is_gone_has_nothing_to_give_back(tmp_path: Path) -> None:
    resolved = Resolved(program(tmp_path, "resolvectl", "exit 1"), device="no-such-link")
    await resolved.give_back()

    assert await resolved.is_taken(WISH) is False


FAILS_ONCE = """
case $1 in
revert) [ -e "$base/tried" ] || { touch "$base/tried"; exit 1; } ;;
esac
"""


async def test_a_program_that_did_not_give_back_is_told_again(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = program(box.directory, "resolvectl", FAILS_ONCE + RESOLVED)
    monkeypatch.setenv("PATH", f"{box.directory}:{os.environ['PATH']}")
    box.file.write_text("nameserver 127.0.0.53\n")
    resolved = Resolved(path, device="lo")
    box.resolvers = HostResolvers(box.etc, box.state, lambda: 0.0, resolved=resolved)
    await box.take()
    with pytest.raises(OSError, match="resolvectl revert"):
        await box.give_back()
    is_still_seen = await box.resolvers.read() == frozenset({WISH})
    await box.give_back()

    assert is_still_seen
    assert not (box.directory / "dns").exists()
    assert await box.resolvers.read() == frozenset()


RESOLVCONF = """
mkdir -p "$base/records"
case $1 in
--version) exit 1 ;;
-a) cat > "$base/records/$2" ;;
-d) rm "$base/records/$2" ;;
esac
"""


async def test_resolvconf_gets_a_record_and_loses_it_again(tmp_path: Path) -> None:
    records = tmp_path / "records"
    path = program(tmp_path, "resolvconf", RESOLVCONF)
    resolvconf = Resolvconf(path, (records,))
    await resolvconf.take(WISH)
    text = (records / RECORD).read_text()
    is_taken = await resolvconf.is_taken(WISH)
    await resolvconf.give_back()
    await resolvconf.give_back()

    assert text == "nameserver 100.100.100.100\nsearch mesh.example lan\n"
    assert is_taken
    assert list(records.iterdir()) == []


async def test_a_program_that_fails_says_so_in_its_words(tmp_path: Path) -> None:
    broken = Resolved(program(tmp_path, "resolvectl", "echo no bus >&2; exit 1"), device="lo")
    with pytest.raises(OSError, match="no bus"):
        await broken.take(WISH)
