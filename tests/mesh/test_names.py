"""The names of the mesh, asked of a running box with dig, as a person would."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from gatepost.model.status import PluginRequest, UpRequest
from gatepost.testing.lab_boxes import PROGRAMS, Box, wait_for
from gatepost.testing.lab_mesh import Lab
from gatepost.testing.netns import Machine

pytestmark = [pytest.mark.root, pytest.mark.mesh]

V4, V6 = "100.100.100.100", "fd7a:115c:a1e0::53"
# Answers every question with 192.0.2.1 and says what was asked.
SERVER = r"""
import socket, sys
s = socket.socket(type=socket.SOCK_DGRAM); s.bind((sys.argv[1], 53)); print("up", flush=True)
while True:
    q, source = s.recvfrom(4096)
    end = q.index(0, 12) + 5
    print(q[13:end - 5].lower().replace(b"\7", b".").replace(b"\3", b"."), flush=True)
    head = q[:2] + bytes.fromhex("818000010001000000000000")[:10]
    s.sendto(head + q[12:end] + bytes.fromhex("c00c000100010000003c0004c0000201"), source)
"""


@dataclass(frozen=True)
class Bed:
    """Box a answers for names; the host behind box c is asked for those outside the mesh."""

    lab: Lab
    box: Box
    upstream: subprocess.Popen[str]


def dig(machine: Machine, *words: str) -> str:
    """Return the header and the answer as dig prints them; neither when nobody answers."""
    shown = ("+time=3", "+tries=1", "+noall", "+comments", "+answer")
    return machine.attempt("dig", *shown, *words).stdout


@pytest.fixture(scope="module")
def bed(lab: Lab) -> Iterator[Bed]:
    box, far = lab.boxes["a"], lab.boxes["c"].site
    upstream = far.host.start(
        "/usr/bin/python3", "-c", SERVER, str(far.host_v4), output=subprocess.PIPE
    )
    assert upstream.stdout
    assert upstream.stdout.readline() == "up\n"
    resolvers = PluginRequest(enabled=True, settings={"resolvers": [str(far.host_v4)]})
    box.client.change_plugin("magic-dns", resolvers)
    wait_for(
        lambda: "status:" in dig(box.site.box, f"@{V4}", "mesh.invalid") or None,
        seconds=15,
        otherwise=box.daemon.tail,
    )
    yield Bed(lab, box, upstream)
    box.client.change_plugin("magic-dns", PluginRequest(settings={"resolvers": None}))
    upstream.kill()
    upstream.wait(timeout=5)
    upstream.stdout.close()


def asked(box: Box) -> str:
    """Return the file that says whom the machine of the box asks."""
    return (box.directory / "etc/resolv.conf").read_text()


def await_file(box: Box, wanted: Callable[[str], bool]) -> str:
    return wait_for(
        lambda: text if wanted(text := asked(box)) else None,
        seconds=15,
        otherwise=lambda: f"{asked(box)}\n{box.daemon.tail()}",
    )


def peer(bed: Bed) -> tuple[str, tuple[str, ...]]:
    """Return the full name of a peer and its addresses."""
    found = bed.box.client.status().peers[0]
    return found.name, tuple(str(a) for a in found.addresses)


@pytest.mark.parametrize("server", [V4, V6])
@pytest.mark.parametrize("way", ["+notcp", "+tcp"])
def test_a_peer_is_found_by_name_and_by_address(bed: Bed, server: str, way: str) -> None:
    name, addresses = peer(bed)
    machine = bed.box.site.box
    for address in addresses:
        kind = {4: "A", 6: "AAAA"}[ip_address(address).version]
        there = dig(machine, f"@{server}", way, name, kind)
        back = dig(machine, f"@{server}", way, "-x", address)

        assert re.search(rf"\s{kind}\s+{re.escape(address)}\n", there)
        assert re.search(rf"\sPTR\s+{re.escape(name)}\.\n", back)


def test_an_unknown_name_of_the_mesh_stays_here_and_others_go_through_the_mesh(bed: Bed) -> None:
    suffix = peer(bed)[0].partition(".")[2]
    machine = bed.box.site.box
    missing = dig(machine, f"@{V4}", f"nobody.{suffix}")
    outside = dig(machine, f"@{V4}", "www.example.org")

    assert "NXDOMAIN" in missing
    assert "192.0.2.1" in outside
    assert bed.upstream.stdout
    heard = list(iter(bed.upstream.stdout.readline, "b'www.example.org'\n"))
    assert [h for h in heard if "nobody" in h] == []


def test_nobody_else_can_ask(bed: Bed) -> None:
    site = bed.box.site
    neighbour = site.host
    neighbour.run("ip", "route", "replace", V4, "via", str(site.lan_v4[1]))
    try:
        assert "status:" in dig(site.box, f"@{V4}", peer(bed)[0])
        assert neighbour.attempt("ping", "-c1", "-W2", V4).returncode == 0  # it is not the way
        assert "status:" not in dig(neighbour, f"@{V4}", peer(bed)[0])
    finally:
        neighbour.run("ip", "route", "del", V4)


def test_names_are_there_again_after_the_daemon_was_killed(bed: Bed) -> None:
    name, addresses = peer(bed)
    bed.box.daemon.signal("KILL")
    bed.box.daemon.start()
    bed.box.await_answer()

    wait_for(
        lambda: addresses[0] in dig(bed.box.site.box, f"@{V4}", name, "ANY", "+tcp") or None,
        seconds=15,
        otherwise=bed.box.daemon.tail,
    )


def test_the_machine_itself_asks_here_while_it_wants_to(bed: Bed) -> None:
    box = bed.box
    taken = await_file(box, lambda text: f"nameserver {V4}\nsearch mesh.example" in text)
    box.client.change_settings(UpRequest(accept_dns=False))
    given_back = await_file(box, lambda text: V4 not in text)
    box.client.change_settings(UpRequest(accept_dns=True))
    again = await_file(box, lambda text: V4 in text)

    assert taken == again
    assert "nobody to ask" in given_back
    assert not (box.directory / "etc/resolv.conf.before-gatepost").is_symlink()


def test_what_the_machine_asked_before_comes_back_when_the_daemon_dies(bed: Bed) -> None:
    box = bed.box
    await_file(box, lambda text: V4 in text)
    box.daemon.signal("KILL")
    left = asked(box)
    box.site.box.run(*box.daemon.starter, str(PROGRAMS / "gatepostd"), *box.daemon.arguments,
                     "--give-back-names")  # fmt: skip
    given_back = asked(box)
    box.daemon.start()
    box.await_answer()
    await_file(box, lambda text: V4 in text)
    box.daemon.signal("TERM")
    ended = asked(box)
    box.daemon.start()
    box.await_answer()

    assert V4 in left
    assert "nobody to ask" in given_back
    assert ended == given_back
    await_file(box, lambda text: V4 in text)


def test_a_file_that_somebody_else_writes_is_taken_again_and_theirs_comes_back(bed: Bed) -> None:
    box = bed.box
    file = box.directory / "etc/resolv.conf"
    before = asked(box)
    file.unlink()
    file.write_text("nameserver 192.0.2.77\n")
    await_file(box, lambda text: V4 in text)
    box.client.down()
    theirs = await_file(box, lambda text: V4 not in text)
    file.write_text("# There is nobody to ask on the internet of the lab.\n")
    box.client.up(UpRequest())

    assert theirs == "nameserver 192.0.2.77\n"
    assert await_file(box, lambda text: V4 in text) == before


def test_a_host_of_the_lan_may_ask_where_the_box_lets_it_and_nobody_else(bed: Bed) -> None:
    box, site, other = bed.box, bed.box.site, bed.lab.boxes["b"].site
    blocked = box.directory / "blocked"
    blocked.write_text("0.0.0.0 ads.example\n")
    here = str(site.lan_v4[1])
    name, addresses = peer(bed)
    before = dig(site.host, f"@{here}", name)
    settings: dict[str, str | int | float | bool | list[str] | None] = {
        "block-lists": [str(blocked)]
    }
    box.client.change_plugin("lan-dns", PluginRequest(enabled=True, settings=settings))
    found = wait_for(
        lambda: text if "status:" in (text := dig(site.host, f"@{here}", name)) else None,
        seconds=15,
        otherwise=box.daemon.tail,
    )
    wait_for(
        lambda: "192.0.2.1" not in dig(site.host, f"@{here}", "www.ads.example") or None,
        seconds=15,
        otherwise=box.daemon.tail,
    )
    outside = dig(site.host, f"@{here}", "www.example.org", "+tcp")
    far = dig(other.host, f"@{here}", name)
    wait_for(  # it is not the way
        lambda: other.host.attempt("ping", "-c1", "-W2", here).returncode == 0 or None,
        seconds=15,
        otherwise=box.daemon.tail,
    )
    box.client.change_plugin("lan-dns", PluginRequest(enabled=False))

    assert "status:" not in before
    assert addresses[0] in found
    assert "192.0.2.1" in outside
    assert "status:" not in far
