"""Who is woken, where, and for whom."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import msgspec
import pytest
from tests.linux.inside import PATIENCE, run_inside
from tests.net.inside import inside

from gatepost.api import Handler, Notice, SettingsError, WatchLinks
from gatepost.errors import Malformed
from gatepost.testing.makers import make_netmap, make_observed
from gatepost.testing.netns import Machine, connect, machines
from gatepost.wire.wake_on_lan import CAPABILITY, PATH, PORT, Woken, read_magic
from gatepost_plugins.wake_on_lan import Settings, contribute
from gatepost_plugins.wake_on_lan.waking import Waker

NAS = bytes.fromhex("001122334455")
MACHINES = ("NAS = 00-11-22-33-44-55",)


def body(target: str) -> bytes:
    return msgspec.json.encode({"target": target})


def test_peers_need_the_capability_and_the_operator_hears_when_nobody_has_it() -> None:
    observed = make_observed(answers={WatchLinks(): ("lan0",)})
    items = list(contribute(make_netmap(), Settings(machines=MACHINES), observed))

    (handler,) = (item for item in items if isinstance(item, Handler))
    assert (handler.surface, handler.path, handler.capability) == ("peer", PATH, CAPABILITY)
    assert any(item.code == "wake-unused" for item in items if isinstance(item, Notice))


@pytest.mark.parametrize(
    "line", ["", "nas", "nas=", "nas=00:11:22:33:44", "my nas=00:11:22:33:44:55",
             "nas=01:00:5e:00:00:01", "nas=00:11:22:33:44:5g"]
)  # fmt: skip
def test_a_machine_that_cannot_be_is_refused_with_the_settings(line: str) -> None:
    with pytest.raises((ValueError, Malformed), match=r"\S"):
        Settings(machines=(line,))


def test_two_machines_with_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="NAS"):
        Settings(machines=("nas=00:11:22:33:44:55", "NAS=00:11:22:33:44:66"))


@pytest.mark.parametrize(
    ("request_body", "said"),
    [
        (b"", "not what this path takes"),
        (b"[]", "not what this path takes"),
        (body("tv"), "no machine here is called 'tv'"),
        (body("01:00:5e:00:00:01"), "group"),
        (body("nas"), "no network device"),
    ],
)
async def test_what_names_nobody_is_refused_and_nothing_is_sent(
    request_body: bytes, said: str
) -> None:
    with pytest.raises((SettingsError, Malformed), match=said):
        await Waker((), MACHINES)(request_body)


@pytest.fixture
def lan() -> Iterator[tuple[Machine, Machine]]:
    with machines() as owner:
        box, host = owner.add("box", "host")
        connect(box, "lan0", host, "eth0")
        box.ip("address add 10.1.0.1/24 dev lan0")
        host.ip("address add 10.1.0.2/24 dev eth0")
        yield box, host


@pytest.mark.root
@pytest.mark.parametrize("target", ["nas", "00:11:22:33:44:55"])
def test_everybody_on_the_link_hears_the_packet(lan: tuple[Machine, Machine], target: str) -> None:
    box, host = lan

    def listen() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("", PORT))
        made.settimeout(5 * PATIENCE)
        return made

    async def work(_: object) -> bytes:
        return await Waker(("lan0", "gone0"), MACHINES)(body(target))

    with inside(host, listen) as hearing:
        woken = msgspec.json.decode(run_inside(box, work), type=Woken)
        heard = hearing.recv(200)

    assert woken == Woken("00:11:22:33:44:55", ("lan0",))
    assert read_magic(heard) == NAS
