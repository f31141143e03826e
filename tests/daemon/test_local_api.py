"""What the operator can ask of a node, and what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Literal

import pytest
from tests.daemon.fake_server import URL, FakeServer, nobody_answers
from tests.net.waiting import eventually

from gatepost.daemon.carriers import Carriers, Pair
from gatepost.daemon.control import Control, Myself
from gatepost.daemon.guests import GuestDesk
from gatepost.daemon.hostinfo import Announcement, MachineFacts
from gatepost.daemon.in_force import InForce
from gatepost.daemon.inputs import Inputs
from gatepost.daemon.keeper import Keeper
from gatepost.daemon.local_api import LocalNode
from gatepost.daemon.observer import Observer
from gatepost.daemon.providers import Providers
from gatepost.daemon.reconciler import Reconciler
from gatepost.daemon.settings_file import SettingsFile
from gatepost.daemon.status import PeerNumbers
from gatepost.daemon.store import Store
from gatepost.daemon.wishes import Wishes
from gatepost.engine.plugins import Plugins
from gatepost.errors import NotFoundError, SettingsError, UnreachableError
from gatepost.model.kernel import Route, WireGuardDevice
from gatepost.model.keys import DiscoPrivate, NodePrivate
from gatepost.model.netmap import NetworkFacts
from gatepost.model.status import PluginRequest, UpRequest
from gatepost.model.surroundings import SurroundingsDocument
from gatepost.testing.fakes import FakeKernel

SERVER = "http://server.test"


def nobody_invited(in_force: InForce, wishes: Wishes) -> GuestDesk:
    """Return what speaks of plain WireGuard, on a box where nobody sees or shares anything."""
    return GuestDesk(
        device=NoTunnel(),
        box=lambda: in_force.box,
        wanted=lambda: wishes.merged.resources.values(),  # noqa: PLW0108  # replaced whole
        shared=tuple,
        seen=tuple,
    )


async def no_peer() -> None:
    """No provider is in use."""


@dataclass(slots=True)
class NoTunnel:
    """A device that is not there."""

    device: str = "gatepost0"

    @property
    def backend(self) -> Literal["kernel", "wireguard-go"]:
        return "kernel"

    async def peers(self) -> tuple[PeerNumbers, ...]:
        return ()


class SilentTunnel(NoTunnel):
    """A device whose program hangs."""

    async def peers(self) -> tuple[PeerNumbers, ...]:
        await asyncio.Event().wait()
        return ()


@dataclass(slots=True)
class Box:
    """A node without sockets, and what it stands on."""

    api: LocalNode
    server: FakeServer
    settings: Path
    kernel: FakeKernel


def no_pair(_key: NodePrivate) -> Pair:
    raise AssertionError("nothing here carries packets")


@contextlib.asynccontextmanager
async def box(tmp_path: Path, points: tuple[EntryPoint, ...] = ()) -> AsyncGenerator[Box]:
    store, server, path = (
        Store.open(tmp_path / "state"),
        FakeServer(keys={"key"}),
        tmp_path / "s.toml",
    )
    inputs, plugins, keeper = Inputs(), Plugins(), Keeper(store, store.load_identity())
    me = Myself(
        facts=MachineFacts("box", "6.1", "x86_64"),
        disco=DiscoPrivate(bytes(31) + b"1"),
        version=131,
        port=41641,
    )
    control = Control(
        inputs=inputs,
        keeper=keeper,
        connect=server.connect,
        announcement=lambda: Announcement(routes=wishes.advertised()),
        me=me,
        now=lambda: 1.0,
        tsmp_ping=nobody_answers,
    )
    known = (*entry_points(group="gatepost.plugins"), *points)
    in_force = InForce(SettingsFile(path), plugins, inputs, known, control.configure_box)
    await in_force.reload()
    observer = Observer(inputs, (), lambda: 0.0)
    wishes = Wishes(inputs, plugins, lambda _: (), lambda: not control.is_logged_in, observer.watch)
    kernel = FakeKernel(Route)
    reconciler = Reconciler([[FakeKernel(WireGuardDevice)], [kernel]], wishes.desire)
    inputs.on_change(reconciler.poke)
    carriers = Carriers(no_pair)
    api = LocalNode(
        in_force=in_force,
        inputs=inputs,
        control=control,
        reconciler=reconciler,
        wishes=wishes,
        carriers=carriers,
        wireguard=NoTunnel(),
        port=41641,
        notices=lambda: in_force.notices() + control.standing.notices() + wishes.merged.notices,
        network=NetworkFacts,
        now=lambda: 1_800_000_000.0,
        examine=carriers.netcheck,
        exit_providers=Providers(
            store=store, publish=inputs.answer_one, in_use=str, peer_now=no_peer
        ),
        guests=nobody_invited(in_force, wishes),
        look_around=nothing_around,
    )
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(control.run()), group.create_task(reconciler.run())]
            yield Box(api, server, path, kernel)
            for task in tasks:
                task.cancel()
    finally:
        await keeper.close()
        store.close()


async def nothing_around() -> SurroundingsDocument:
    return SurroundingsDocument()


JOIN = UpRequest(login_server=SERVER, auth_key="key", advertise_routes=("10.1.0.0/16",))


async def until(one: Box, state: str) -> None:
    async with asyncio.timeout(5):
        while (await one.api.status()).state != state:  # noqa: ASYNC110  # other tasks bring it
            await asyncio.sleep(0.005)


async def test_up_joins_and_stores_everything_but_the_auth_key(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        await one.api.up(JOIN)
        await until(one, "Running")
        status = await one.api.status()

        assert status.routes.advertised == ("10.1.0.0/16",)
        assert status.login_server == SERVER
        assert {n.code for n in status.notices} == {"names-off", "route-not-approved"}
        assert '"key"' not in one.settings.read_text()


async def test_the_states_that_people_know(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        assert (await one.api.status()).state == "NeedsLogin"
        await one.api.up(replace_request(JOIN, auth_key=None))
        await eventually(lambda: one.api.control.standing.auth_url == URL)
        assert (await one.api.status()).state == "NeedsLogin"
        one.server.approved.set()
        await until(one, "Running")
        await one.api.down()
        assert (await one.api.status()).state == "Stopped"
        await eventually(lambda: not one.kernel.held)
        await one.api.up(UpRequest())
        await until(one, "Running")
        await one.api.logout()
        assert (await one.api.status()).state == "Stopped"
        assert one.server.nodes == {}


def replace_request(request: UpRequest, *, auth_key: str | None) -> UpRequest:
    return UpRequest(
        login_server=request.login_server,
        advertise_routes=request.advertise_routes,
        auth_key=auth_key,
    )


async def test_status_answers_though_wireguard_does_not(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        one.api.wireguard, one.api.patience = SilentTunnel(), 0.01

        status = await one.api.status()

        assert status.state == "NeedsLogin"
        assert "wireguard-silent" in {n.code for n in status.notices}


async def test_up_without_a_server_says_what_to_do(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        with pytest.raises(SettingsError, match="no coordination server is set") as caught:
            await one.api.up(UpRequest())

    assert "--login-server" in caught.value.hint
    assert not one.settings.exists()


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (UpRequest(login_server="server.test"), "'server.test' is not the URL of a server"),
        (
            UpRequest(advertise_routes=("10.1.0.0/33",)),
            "10.1.0.0/33 in networks of subnet-router: prefix length 33 is over 32",
        ),
    ],
)
async def test_a_wrong_value_changes_nothing(
    tmp_path: Path, request_: UpRequest, text: str
) -> None:
    async with box(tmp_path) as one:
        before = await one.api.settings()
        with pytest.raises(SettingsError, match=text.replace("(", r"\(")):
            await one.api.change_settings(request_)

        assert await one.api.settings() == before
        assert not one.settings.exists()


async def test_settings_are_read_back_as_they_were_set(tmp_path: Path) -> None:
    wanted = UpRequest(
        login_server=SERVER,
        hostname="gate",
        accept_routes=True,
        accept_routes_only=("10.8.0.0/16",),
        accept_routes_except=("10.8.1.0/24",),
        accept_dns=True,
        advertise_routes=("10.1.0.0/16", "fd00:1::/64"),
        advertise_tags=("tag:site",),
        snat_subnet_routes=False,
        relay_server_port=7777,
        relay_server_static_endpoints=("203.0.113.5:7777", "[2001:db8::5]:7777"),
        advertise_exit_node=True,
        advertise_connector=True,
        exit_node="gate2",
        exit_node_allow_lan_access=False,
    )
    async with box(tmp_path) as one:
        assert await one.api.change_settings(wanted) == wanted
    async with box(tmp_path) as again:
        assert await again.api.settings() == wanted


async def test_a_relay_is_switched_on_by_its_port_and_off_by_none(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        await one.api.change_settings(UpRequest(relay_server_port=0))
        on = await one.api.settings()
        await one.api.change_settings(UpRequest(relay_server_port=-1))
        off = await one.api.settings()

    assert (on.relay_server_port, off.relay_server_port) == (0, None)


async def test_a_plugin_that_is_off_is_described_without_being_imported(tmp_path: Path) -> None:
    trap = EntryPoint("trap", "no_such_module_at_all", "gatepost.plugins")
    async with box(tmp_path, (trap,)) as one:
        found = {p.name: p for p in await one.api.plugins()}

    assert (found["trap"].enabled, found["trap"].error) == (False, "")
    assert found["subnet-router"].summary.startswith("Carries traffic between")
    assert (found["mesh"].required, found["mesh"].enabled) == (True, True)
    assert found["mesh"].fields[0].name == "accept-routes"


async def test_a_plugin_is_switched_and_configured(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        request = PluginRequest(
            enabled=True, settings={"networks": "10.1.0.0/16", "masquerade": "no"}
        )
        on = await one.api.change_plugin("subnet-router", request)
        off = await one.api.change_plugin("subnet-router", PluginRequest(enabled=False))

    assert on.enabled
    assert {f.name: f.value for f in on.fields} == {
        "networks": ("10.1.0.0/16",),
        "masquerade": False,
    }
    assert not off.enabled


async def test_what_cannot_be_done_to_plugins_is_said(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        with pytest.raises(SettingsError, match="mesh cannot be switched off"):
            await one.api.change_plugin("mesh", PluginRequest(enabled=False))
        with pytest.raises(NotFoundError, match="no plugin is called 'nat'; installed are mesh"):
            await one.api.change_plugin("nat", PluginRequest(enabled=True))
        with pytest.raises(SettingsError, match="mtu of mesh: the least that is allowed is 1280"):
            await one.api.change_plugin("mesh", PluginRequest(settings={"mtu": 100}))


async def test_a_plugin_that_cannot_be_loaded_shows_why(tmp_path: Path) -> None:
    broken = EntryPoint("broken", "no_such_module_at_all", "gatepost.plugins")
    (tmp_path / "s.toml").write_text("[plugins.broken]\nenabled = true\n")
    async with box(tmp_path, (broken,)) as one:
        (found,) = [p for p in await one.api.plugins() if p.name == "broken"]

    assert "ModuleNotFoundError" in found.error


async def test_a_plan_shows_drift_and_writes_nothing(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        await one.api.up(JOIN)
        await until(one, "Running")
        assert await one.api.plan() == ()
        one.kernel.held.clear()
        changes = await one.api.plan()

        assert {(c.action, c.kind, c.plugins) for c in changes} == {("add", "Route", ("mesh",))}
        assert one.kernel.held == {}


async def test_explain_names_the_plugin(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        assert await one.api.explain("10.1.0.0/16") == ()
        await one.api.up(JOIN)
        await until(one, "Running")
        (reason,) = await one.api.explain("10.1.0.0/16")

    assert (reason.kind, reason.plugins) == ("Advertise", ("subnet-router",))
    assert reason.source == "setting networks (subnet-router)"


async def test_a_hand_edited_file_that_is_wrong_leaves_everything_in_force(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        await one.api.up(JOIN)
        await until(one, "Running")
        one.settings.write_text("[node\n")
        await one.api.in_force.reload()
        status = await one.api.status()

    assert status.state == "Running"
    assert "settings-wrong" in {n.code for n in status.notices}


async def test_a_wrong_setting_of_one_plugin_leaves_that_plugin_as_it_was(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        await one.api.up(JOIN)
        await until(one, "Running")
        text = one.settings.read_text().replace("10.1.0.0/16", "10.1.0.0/99")
        one.settings.write_text(text)
        await one.api.in_force.reload()
        await asyncio.sleep(0.2)
        status = await one.api.status()

    assert status.routes.advertised == ("10.1.0.0/16",)
    assert any("prefix length 99 is over 32" in n.text for n in status.notices)


async def test_pinging_a_stranger_or_oneself_is_refused_by_name(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        await one.api.up(JOIN)
        await until(one, "Running")
        with pytest.raises(NotFoundError, match="no peer is called 'nobody'"):
            await one.api.ping("nobody", 1.0)
        with pytest.raises(NotFoundError, match="box1 is this box itself"):
            await one.api.ping("box1", 1.0)
        with pytest.raises(NotFoundError, match="no peer is called 'nobody'"):
            await one.api.why("nobody", 1.0)


async def test_a_netcheck_of_a_box_that_is_down_says_so(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        with pytest.raises(UnreachableError, match="the mesh is down"):
            await one.api.netcheck()
