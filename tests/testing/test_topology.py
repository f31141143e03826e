"""The ground that the lab stands on behaves like the networks it stands for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatepost.testing.netns import Machine, machines
from gatepost.testing.topology import INTERNET_V4, INTERNET_V6, Nat, Topology, build

pytestmark = pytest.mark.root

NATS = {
    "open": Nat.NONE,
    "cone": Nat.ENDPOINT_INDEPENDENT,
    "home": Nat.PORT_RESTRICTED,
    "hard": Nat.SYMMETRIC,
}
# Answers a datagram with the address that it came from.
ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2]))); print("up", flush=True)
while True:
    text, source = s.recvfrom(99)
    s.sendto(f"{source[0]}:{source[1]}".encode(), source)
"""
ASK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 5000)); s.settimeout(2)
for server in sys.argv[2:]:
    s.sendto(b"?", (server, int(sys.argv[1]))); print(s.recv(99).decode())
"""


@pytest.fixture(scope="module")
def ground() -> Iterator[Topology]:
    with machines() as owner:
        yield build(owner, NATS)


def start_echo(machine: Machine, address: str, port: int) -> None:
    process = machine.start("python3", "-c", ECHO, address, str(port), output=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == "up\n"


@pytest.fixture(scope="module")
def echo(ground: Topology) -> tuple[str, str]:
    """Return two addresses of the internet that tell who is asking, on port 7."""
    addresses = str(INTERNET_V4), str(ground.site("open").public_v4)
    start_echo(ground.internet, addresses[0], 7)
    start_echo(ground.site("open").box, addresses[1], 7)
    return addresses


def ask(machine: Machine, port: int, *servers: str) -> list[str]:
    """Return who the servers say is asking; fewer answers than servers when one is silent."""
    return machine.attempt("python3", "-c", ASK, str(port), *servers).stdout.split()


@pytest.mark.parametrize("name", NATS)
def test_a_box_reaches_the_internet(ground: Topology, name: str) -> None:
    box = ground.site(name).box

    assert box.attempt("ping", "-c1", "-W2", str(INTERNET_V4)).returncode == 0
    assert box.attempt("ping", "-c1", "-W2", str(INTERNET_V6)).returncode == 0


def test_a_site_does_not_reach_the_lan_of_another(ground: Topology) -> None:
    host, far = ground.site("open").host, ground.site("cone")

    assert host.attempt("ping", "-c1", "-W1", str(far.host_v4)).returncode != 0
    assert host.attempt("ping", "-c1", "-W1", str(far.host_v6)).returncode != 0


def test_blocked_udp_leaves_ping_alone(ground: Topology, echo: tuple[str, str]) -> None:
    box, far = ground.site("home").box, echo[1]
    ground.block_udp()
    try:
        assert ask(box, 7, far) == []
        assert box.attempt("ping", "-c1", "-W2", far).returncode == 0
    finally:
        ground.allow_udp()
    assert ask(box, 7, far) != []


def test_nothing_is_left_when_the_program_is_killed(tmp_path: Path) -> None:
    """Not even `kill -9` leaves a process of the machines behind."""
    script = (
        "import sys, time; from gatepost.testing.netns import Machines;"
        "m = Machines().add('one')[0]; m.start('sleep', sys.argv[1]);"
        "m.start('setsid', '-f', 'sleep', sys.argv[1]).wait();"
        "print(m.process_id, flush=True); time.sleep(60)"
    )
    mark = f"60.{os.getpid()}"
    with subprocess.Popen(
        (sys.executable, "-c", script, mark), stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as program:
        assert program.stdout
        keeper = program.stdout.readline().strip()
        assert len(sleepers(mark)) >= 2
        program.kill()
    deadline = time.monotonic() + 5
    while (left := sleepers(mark)) or Path("/proc", keeper).exists():
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def sleepers(mark: str) -> list[str]:
    """Return the processes that `sleep` as long as `mark` says."""
    found = subprocess.run(
        ("pgrep", "-f", f"^sleep {mark}"), capture_output=True, text=True, check=False
    )
    return found.stdout.split()
