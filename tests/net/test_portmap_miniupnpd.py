"""Port mapping against Debian's miniupnpd on a router, and against routers that are worse."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gatepost.sessions.portmap import CHECK
from gatepost.testing.miniupnpd import EVERYTHING, Miniupnpd, Speaks, install_miniupnpd
from gatepost.testing.netns import Machine, Machines, machines, patient
from gatepost.testing.topology import Nat, Site, Topology, build

pytestmark = [pytest.mark.root, pytest.mark.timeout(patient(120))]
FOLDER = Path(__file__).parent / "portmap"
PORT = 41641
NAMES = {"nat-pmp": "NAT-PMP", "pcp": "PCP", "upnp": "UPnP"}
each_protocol = pytest.mark.parametrize("speaks", EVERYTHING)
PCP: tuple[Speaks, ...] = ("pcp",)
UPNP: tuple[Speaks, ...] = ("upnp",)

# Sends a word to an address and a port, and prints what comes back within a second.
ASK = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(1)
    s.sendto(b"knock", (sys.argv[1], int(sys.argv[2])))
    try:
        print(s.recv(100).decode())
    except TimeoutError:
        print("silence")
"""


class Box:
    """A box process and the line to it."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self._path = folder / "box"
        self._log = folder / "box.log"
        self.start()

    def start(self) -> None:
        self._path.unlink(missing_ok=True)
        with self._log.open("a") as log:
            self.process = self.machine.start(
                sys.executable, str(FOLDER / "box.py"), str(self._path),
                output=log, environment={"PYTHONPATH": str(Path.cwd())},
            )  # fmt: skip
        until(self._listens)

    def _listens(self) -> bool:
        try:
            return self.ask("state") is not None
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def ask(self, word: str) -> Any:  # JSON
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(patient(10))
            line.connect(str(self._path))
            line.sendall(word.encode() + b"\n")
            answer = line.makefile().readline()
        return json.loads(answer) if answer else None

    def mapped(self) -> list[list[str]]:
        return list(self.ask("state")["mapped"])


def until(condition: Callable[[], object], seconds: float = 15.0) -> float:
    """Wait for something; return how long it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < patient(seconds), "waited too long"
        time.sleep(0.02)
    return time.monotonic() - start


@pytest.fixture
def owner() -> Iterator[Machines]:
    with machines() as owned:
        yield owned


@pytest.fixture
def home(owner: Machines) -> Topology:
    return build(owner, {"home": Nat.SYMMETRIC})


@pytest.fixture
def site(home: Topology) -> Site:
    return home.site("home")


def knock(home: Topology, daemon: Miniupnpd, port: int = PORT) -> str:
    """Send a packet from the internet to the public port; return what comes back."""
    return home.internet.run("python3", "-c", ASK, str(daemon.public), str(port)).strip()


@each_protocol
def test_each_protocol_alone_opens_the_port_and_gives_it_back(
    home: Topology, site: Site, tmp_path: Path, speaks: Speaks
) -> None:
    daemon = install_miniupnpd(home, site, {speaks})
    assert knock(home, daemon) == "silence"
    box = Box(site.box, tmp_path)
    took = until(box.mapped)

    assert took < patient(3.0)
    assert box.mapped() == [[NAMES[speaks], f"{daemon.public}:{PORT}"]]
    assert box.ask("state")["seen"] == [speaks == s for s in EVERYTHING]
    assert knock(home, daemon) == "knock"

    box.ask("off")
    until(lambda: str(PORT) not in daemon.mapped())

    assert box.mapped() == []
    assert knock(home, daemon) == "silence"


def test_a_box_that_is_killed_finds_its_mapping_again(
    home: Topology, site: Site, tmp_path: Path
) -> None:
    daemon = install_miniupnpd(home, site, PCP)
    box = Box(site.box, tmp_path)
    until(box.mapped)
    before = box.mapped()
    box.ask("die")
    box.process.wait(timeout=patient(10))
    box.start()
    until(box.mapped)

    assert box.mapped() == before
    assert knock(home, daemon) == "knock"


def test_a_box_that_ends_leaves_the_mapping_to_its_tunnels(
    home: Topology, site: Site, tmp_path: Path
) -> None:
    daemon = install_miniupnpd(home, site)
    box = Box(site.box, tmp_path)
    until(box.mapped)
    box.ask("end")
    box.process.wait(timeout=patient(10))

    assert str(PORT) in daemon.mapped()


def test_a_router_that_restarts_and_forgets_is_asked_again_at_once(
    home: Topology, site: Site, tmp_path: Path
) -> None:
    daemon = install_miniupnpd(home, site)
    box = Box(site.box, tmp_path)
    until(box.mapped)
    daemon.end("KILL")
    daemon.forget()
    assert str(PORT) not in daemon.mapped()
    daemon.start()
    took = until(lambda: str(PORT) in daemon.mapped(), 20.0)

    assert took < patient(10.0)
    assert knock(home, daemon) == "knock"
    assert box.ask("state")["changes"] == 1


def test_a_router_that_only_speaks_upnp_and_forgets_is_noticed_by_looking(
    home: Topology, site: Site, tmp_path: Path
) -> None:
    daemon = install_miniupnpd(home, site, UPNP)
    box = Box(site.box, tmp_path)
    until(box.mapped)
    daemon.end("KILL")
    daemon.forget()
    daemon.start()
    until(lambda: str(PORT) in daemon.mapped(), CHECK + 15)

    assert knock(home, daemon) == "knock"


def test_a_router_without_the_service_gets_it_and_is_found(
    home: Topology, site: Site, tmp_path: Path
) -> None:
    box = Box(site.box, tmp_path)
    assert box.ask("look")["seen"] == [False, False, False]
    daemon = install_miniupnpd(home, site)

    assert until(box.mapped, 20.0) < patient(12.0)
    assert knock(home, daemon) == "knock"


def test_a_port_that_somebody_else_has_is_replaced_by_another(
    home: Topology, site: Site, tmp_path: Path
) -> None:
    daemon = install_miniupnpd(home, site, UPNP)
    site.box.ip("address add 192.168.1.77/24 dev wan0")
    other = "urn:schemas-upnp-org:service:WANIPConnection:1#AddPortMapping"
    body = (
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">'
        '<s:Body><u:AddPortMapping xmlns:u="urn:schemas-upnp-org:service:WANIPConnection:1">'
        f"<NewRemoteHost></NewRemoteHost><NewExternalPort>{PORT}</NewExternalPort>"
        "<NewProtocol>UDP</NewProtocol><NewInternalPort>7</NewInternalPort>"
        "<NewInternalClient>192.168.1.77</NewInternalClient><NewEnabled>1</NewEnabled>"
        "<NewPortMappingDescription>other</NewPortMappingDescription>"
        "<NewLeaseDuration>0</NewLeaseDuration></u:AddPortMapping></s:Body></s:Envelope>"
    )
    site.box.run(
        "python3", "-c",
        "import http.client, sys\n"
        "c = http.client.HTTPConnection('192.168.1.1', 5555, source_address=('192.168.1.77', 0))\n"
        "c.request('POST', '/ctl/IPConn', sys.argv[2],"
        " {'SOAPAction': sys.argv[1], 'Content-Type': 'text/xml'})\n"
        "assert c.getresponse().status == 200",
        f'"{other}"', body,
    )  # fmt: skip
    box = Box(site.box, tmp_path)
    until(box.mapped)
    port = int(box.mapped()[0][1].rpartition(":")[2])

    assert port != PORT
    assert knock(home, daemon, port) == "knock"


def test_a_line_that_goes_and_comes_is_noticed(home: Topology, site: Site, tmp_path: Path) -> None:
    install_miniupnpd(home, site)
    box = Box(site.box, tmp_path)
    until(box.mapped)
    site.box.ip("route del default via 192.168.1.1")
    state = box.ask("on")

    assert state["gateways"] == []
    assert state["mapped"] == []

    site.box.ip("route add default via 192.168.1.1")
    box.ask("on")
    until(box.mapped)


def test_a_box_with_two_lines_has_an_endpoint_on_each(
    home: Topology, site: Site, tmp_path: Path
) -> None:
    daemon = install_miniupnpd(home, site)
    site.box.ip("route add default via 10.1.0.2 dev lan0 metric 500")
    site.host.start(
        sys.executable, str(FOLDER / "liar.py"), "10.1.0.2", "nothing",
        environment={"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    until(lambda: site.host.attempt("ss", "-Hlnu", "sport = :5351").stdout)
    box = Box(site.box, tmp_path)
    until(lambda: len(box.mapped()) == 2)

    assert {e for _, e in box.mapped()} == {f"{daemon.public}:{PORT}", f"45.0.0.99:{PORT}"}
    assert box.ask("state")["gateways"] == ["192.168.1.1", "10.1.0.2"]


@pytest.mark.parametrize("fault", ["garbage", "elsewhere"])
def test_a_router_that_lies_opens_nothing_and_does_not_tire_us(
    site: Site, tmp_path: Path, fault: str
) -> None:
    liar(site, fault)
    box = Box(site.box, tmp_path)
    state = box.ask("look")

    assert state["mapped"] == []
    assert state["seen"] == [fault == "elsewhere", False, False]


def test_a_flood_of_announcements_costs_little(site: Site, tmp_path: Path) -> None:
    liar(site, "flood")
    box = Box(site.box, tmp_path)
    until(box.mapped)
    used = cpu_seconds(box)
    time.sleep(2.0)

    assert cpu_seconds(box) - used < patient(1.0)
    assert box.mapped()


def liar(site: Site, fault: str) -> None:
    assert site.router is not None
    site.router.start(
        sys.executable, str(FOLDER / "liar.py"), "192.168.1.1", fault,
        environment={"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    until(lambda: site.router and site.router.attempt("ss", "-Hlnu", "sport = :5351").stdout)


def cpu_seconds(box: Box) -> float:
    """Return what the box has used of the processor: fields 14 and 15 of proc(5) stat."""
    text = box.machine.run("sh", "-c", "cat /proc/$(pgrep -f portmap/box.py | head -1)/stat")
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def knock_v6(home: Topology, site: Site) -> str:
    """Send a packet from the internet to the box by IPv6; return what comes back."""
    ask = ASK.replace("AF_INET", "AF_INET6")
    return home.internet.run("python3", "-c", ask, str(site.public_v6), str(PORT)).strip()


def by_link_local(site: Site) -> None:
    """Let the box know its router as router advertisements tell it: by a link-local address."""
    assert site.router is not None
    held = site.router.run("ip", "-6", "-o", "address", "show", "dev", "inside0", "scope", "link")
    address = held.split("inet6 ")[1].split("/")[0]
    site.box.ip(
        f"route delete default via {site.inside_v6[1]}",
        f"route add default via {address} dev wan0",
    )


@pytest.mark.parametrize("is_link_local", [True, False], ids=["link-local", "global"])
@pytest.mark.parametrize("speaks", [PCP, UPNP], ids=["pcp", "upnp"])
def test_the_firewall_for_ipv6_is_opened_and_closed(
    home: Topology, site: Site, tmp_path: Path, speaks: tuple[Speaks, ...], *, is_link_local: bool
) -> None:
    if is_link_local:
        by_link_local(site)
    daemon = install_miniupnpd(home, site, speaks)
    assert knock_v6(home, site) == "silence"
    box = Box(site.box, tmp_path)
    until(lambda: box.ask("state")["opened"])

    assert box.ask("state")["opened"] == [[NAMES[speaks[0]], f"[{site.public_v6}]:{PORT}"]]
    assert knock_v6(home, site) == "knock"

    box.ask("off")
    until(lambda: str(PORT) not in daemon.opened())

    assert knock_v6(home, site) == "silence"


def test_a_router_that_forgets_its_pinholes_is_asked_again(
    home: Topology, site: Site, tmp_path: Path
) -> None:
    daemon = install_miniupnpd(home, site, PCP)
    box = Box(site.box, tmp_path)
    until(lambda: box.ask("state")["opened"])
    daemon.end("KILL")
    daemon.forget()
    daemon.start()
    until(lambda: str(PORT) in daemon.opened(), 20.0)

    assert knock_v6(home, site) == "knock"
