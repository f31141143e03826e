"""From inputs to a kernel made of sets: the first start, the second, and what goes wrong."""

from __future__ import annotations

from importlib.metadata import entry_points
from ipaddress import IPv4Address, ip_network
from typing import Any

import pytest
from tests.processor import seconds

from gatepost.api import (
    Address,
    LocalNetworks,
    NetMap,
    Observed,
    PacketFilter,
    Resource,
    Route,
    Rule,
    Sysctl,
    WatchFact,
    WatchLocalNetworks,
    WireGuardDevice,
    WireGuardPeer,
)
from gatepost.daemon.inputs import Inputs
from gatepost.daemon.observer import Observer
from gatepost.daemon.reconciler import Reconciler
from gatepost.daemon.wishes import Wishes
from gatepost.engine.plugins import Plugins
from gatepost.model.netmap import FilterRule
from gatepost.model.observed import Watch
from gatepost.testing.fakes import FakeKernel
from gatepost.testing.makers import make_netmap, make_node, make_private, make_rule

KINDS: tuple[type[Resource], ...] = (
    PacketFilter, WireGuardDevice, Sysctl, Address, WireGuardPeer, Route, Rule,
)  # fmt: skip


class Probe:
    """Answers one type of watch with what it is given; None fails."""

    def __init__(self, answers: type[Watch[Any]], value: object) -> None:
        self.answers = answers
        self.value = value

    async def ask(self, watch: Watch[Any]) -> object:
        if self.value is None:
            raise OSError(f"{watch} cannot be read")
        return self.value


class Machine:
    """Kernels that outlive daemons."""

    def __init__(self) -> None:
        self.turns: list[str] = []
        self.kernels = {kind: FakeKernel(kind, turns=self.turns) for kind in KINDS}


class Daemon:
    """One life of the daemon, without sockets."""

    def __init__(self, machine: Machine, settings: dict[str, Any]) -> None:
        self.inputs = Inputs()
        plugins = Plugins()
        points = entry_points(group="gatepost.plugins")
        assert plugins.load(points, points.names) == []
        self.local = Probe(WatchLocalNetworks, LocalNetworks())
        self.observer = Observer(self.inputs, (self.local, Probe(WatchFact, "")), lambda: 0.0)
        self.is_out = False
        self.wishes = Wishes(
            self.inputs, plugins, lambda _: (), lambda: self.is_out, self.observer.watch
        )
        stages = [[kernel] for kernel in machine.kernels.values()]
        self.reconciler = Reconciler(stages, self.wishes.desire)
        self.inputs.set_settings(settings)
        self.inputs.set_wanted(True)

    async def learn(self, netmap: NetMap, observed: Observed) -> None:
        self.inputs.answer(observed.answers)
        self.inputs.set_netmap(netmap, stored=False)
        await self.reconciler.once()


@pytest.fixture
def machine() -> Machine:
    return Machine()


async def test_a_second_start_writes_nothing(
    machine: Machine, settings: dict[str, Any], netmap: NetMap, observed: Observed
) -> None:
    await Daemon(machine, settings).learn(netmap, observed)
    first = len(machine.turns)
    await Daemon(machine, settings).learn(netmap, observed)

    assert first > 0
    assert machine.turns[first:] == []


async def test_nothing_is_written_before_there_is_a_netmap(
    machine: Machine, settings: dict[str, Any], netmap: NetMap, observed: Observed
) -> None:
    await Daemon(machine, settings).learn(netmap, observed)
    before = len(machine.turns)
    await Daemon(machine, settings).reconciler.once()

    assert machine.turns[before:] == []


async def test_settings_that_cannot_be_read_at_the_start_cut_nobody(
    machine: Machine, settings: dict[str, Any], netmap: NetMap, observed: Observed
) -> None:
    await Daemon(machine, settings).learn(netmap, observed)
    before = len(machine.turns)
    daemon = Daemon(machine, settings)
    daemon.inputs.wanted = None
    daemon.is_out = True
    await daemon.reconciler.once()

    assert machine.turns[before:] == []


async def test_a_box_that_is_not_wanted_up_holds_nothing_of_ours(
    machine: Machine, settings: dict[str, Any], netmap: NetMap, observed: Observed
) -> None:
    daemon = Daemon(machine, settings)
    await daemon.learn(netmap, observed)
    daemon.inputs.set_wanted(False)
    await daemon.reconciler.once()

    assert {k.__name__: len(v.held) for k, v in machine.kernels.items() if v.held} == {}


async def test_a_box_that_is_out_of_the_mesh_holds_nothing_of_ours(
    machine: Machine, settings: dict[str, Any], netmap: NetMap, observed: Observed
) -> None:
    daemon = Daemon(machine, settings)
    await daemon.learn(netmap, observed)
    daemon.inputs.set_netmap(None, stored=False)
    daemon.is_out = True
    await daemon.reconciler.once()

    assert not any(k.held for k in machine.kernels.values())


async def test_a_new_peer_costs_one_peer_and_nothing_else(
    machine: Machine, settings: dict[str, Any], netmap: NetMap, observed: Observed
) -> None:
    daemon = Daemon(machine, settings)
    daemon.local.value = observed.get(WatchLocalNetworks(), LocalNetworks())
    await daemon.learn(netmap, observed)
    before = len(machine.turns)
    more = make_netmap(me=netmap.me, others=(*netmap.peers, make_node(9)))
    await daemon.learn(more, observed)

    assert machine.turns[before:] == ["+WireGuardPeer"]


async def test_the_first_round_knows_what_the_machine_is_attached_to(
    machine: Machine, settings: dict[str, Any], netmap: NetMap, observed: Observed
) -> None:
    daemon = Daemon(machine, settings)
    local = observed.get(WatchLocalNetworks(), LocalNetworks())
    daemon.local.value = local
    rest = {w: a for w, a in observed.answers.items() if w != WatchLocalNetworks()}
    await daemon.learn(netmap, Observed(rest))

    assert daemon.reconciler.rounds == 1
    assert daemon.inputs.observed.get(WatchLocalNetworks(), LocalNetworks()) == local


async def test_a_question_without_an_answer_is_a_notice_and_not_the_end(
    machine: Machine, settings: dict[str, Any], netmap: NetMap, observed: Observed
) -> None:
    daemon = Daemon(machine, settings)
    daemon.local.value = None
    rest = {w: a for w, a in observed.answers.items() if w != WatchLocalNetworks()}
    await daemon.learn(netmap, Observed(rest))

    assert [n.code for n in daemon.observer.notices()] == ["no-answer"]
    assert machine.kernels[WireGuardDevice].held


async def test_advertised_routes_stay_advertised_while_there_is_no_netmap(
    machine: Machine, settings: dict[str, Any], netmap: NetMap, observed: Observed
) -> None:
    daemon = Daemon(machine, settings)
    await daemon.learn(netmap, observed)
    before = daemon.wishes.advertised()
    daemon.inputs.set_netmap(None, stored=False)

    assert ip_network("10.1.0.0/16") in before  # by the subnet router, others by others
    assert daemon.wishes.advertised() == before


async def test_a_thousand_peers_are_one_round_and_the_second_is_empty(
    machine: Machine, settings: dict[str, Any], observed: Observed
) -> None:
    me = make_node(1, key=make_private(1).public)
    netmap = make_netmap(me=me, others=tuple(make_node(n) for n in range(2, 1002)))
    daemon = Daemon(machine, settings)
    await daemon.learn(netmap, observed)
    written = len(machine.turns)
    await daemon.reconciler.once()

    assert len(machine.kernels[WireGuardPeer].held) == 1000
    assert len(machine.turns) == written


async def test_many_filter_rules_do_not_hold_the_event_loop(
    machine: Machine, settings: dict[str, Any], observed: Observed
) -> None:
    daemon = Daemon(machine, settings)
    in_loop, elsewhere = await seconds(daemon.learn(make_netmap(rules=rules(8000)), observed))

    assert elsewhere > in_loop / 5  # nearly nothing, if the rules were compiled in the loop


def rules(count: int) -> tuple[FilterRule, ...]:
    addresses = (IPv4Address("100.64.1.0") + n for n in range(count))
    return tuple(make_rule(f"{a}/32", "0.0.0.0/0", 80, 80) for a in addresses)
