"""`gatepostd`: builds the node and runs it until it is told to stop.

Stopping leaves the data plane as it is: the WireGuard device, routes, rules
and the packet filter stay, and the next start finds them right.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path

from gatepost.daemon.carriers import Carriers, Pair
from gatepost.daemon.control import Control, Myself
from gatepost.daemon.guests import TunnelKeyProbe, make_guests
from gatepost.daemon.host_names import make_resolvers
from gatepost.daemon.hostinfo import Announcement, read_machine_facts
from gatepost.daemon.in_force import InForce
from gatepost.daemon.inputs import Inputs
from gatepost.daemon.keeper import Keeper
from gatepost.daemon.local_api import LocalNode
from gatepost.daemon.look_around import LookAround
from gatepost.daemon.names import BoxNames
from gatepost.daemon.netcheck import check_network
from gatepost.daemon.node import Node
from gatepost.daemon.observer import Observer
from gatepost.daemon.options import Options, read_options
from gatepost.daemon.peer_api import PeerApiService, make_peer_api
from gatepost.daemon.ping_request import TsmpPing
from gatepost.daemon.probes import FACTS, FactsProbe, OneQuestionProbe, Surroundings
from gatepost.daemon.providers import Providers, make_providers, provider_probes
from gatepost.daemon.reconciler import Reconciler
from gatepost.daemon.relay_mapping import RelayMapping
from gatepost.daemon.relay_use import RelayUse
from gatepost.daemon.relaying import Relaying
from gatepost.daemon.services import Services
from gatepost.daemon.settings_file import NodeSettings, SettingsFile
from gatepost.daemon.store import Store
from gatepost.daemon.wishes import Wishes
from gatepost.engine.plugins import Plugins
from gatepost.engine.steering import steering_filter
from gatepost.errors import GatepostError, SettingsError, StateError
from gatepost.hookspecs import Applier, Probe
from gatepost.linux.addresses import Addresses
from gatepost.linux.filters import Filters
from gatepost.linux.firewalls import other_firewalls
from gatepost.linux.frr_wanted import RoutingDaemons, read_routing
from gatepost.linux.held import HeldAddresses
from gatepost.linux.interfaces import read_attachment
from gatepost.linux.memory import keep_little_free
from gatepost.linux.narrow_paths import NarrowPaths
from gatepost.linux.netlink import Netlink
from gatepost.linux.relay_forwarder import KernelForwarder
from gatepost.linux.routes import Routes
from gatepost.linux.rules import Rules
from gatepost.linux.stand_ins import StandIns
from gatepost.linux.sysctls import Sysctls
from gatepost.linux.tc import TrafficPrograms
from gatepost.linux.tunnels import Tunnels
from gatepost.linux.wireguard import Devices, Peers, WireGuard, open_wireguard
from gatepost.localapi.listen import refuse_second
from gatepost.localapi.server import serve_node
from gatepost.model.kernel import PacketFilter
from gatepost.model.keys import DiscoPrivate, MachinePrivate, NodePrivate
from gatepost.model.observed import Observed
from gatepost.model.owned import MARK
from gatepost.model.process import LocalNetworks, WatchFirewalls, WatchLinks, WatchLocalNetworks
from gatepost.model.resolver import HostServers, WatchHostServers
from gatepost.model.routing import WatchRouting
from gatepost.net.control_client import CAPABILITY_VERSION, ControlClient
from gatepost.net.derp_client import DerpClients
from gatepost.net.journal import set_up_logging
from gatepost.net.notify import Notifier
from gatepost.net.paths import PathService
from gatepost.net.portmap import PortMapping

GROUP = "gatepost.plugins"  # the entry points of plugins


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status: 0 told to stop, 1 could not start or go on."""
    options = read_options(arguments)
    keep_little_free()
    level = logging.DEBUG if options.verbose else logging.INFO
    set_up_logging("gatepostd", level)
    for noisy in ("asyncio", "hpack"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        asyncio.run(give_back_names(options) if options.only_give_back else run(options))
    except GatepostError as error:
        print(f"gatepostd: {error}", file=sys.stderr)  # noqa: T201  # for the operator
        return 1
    except PermissionError as error:
        text = f"gatepostd: {error}: it needs root, or the capabilities that its unit gives it"
        print(text, file=sys.stderr)  # noqa: T201  # for the operator
        return 1
    return 0


async def run(options: Options) -> None:
    """Build the node, serve until SIGTERM or SIGINT, and end in good order."""
    refuse_second(options.socket)  # before anything of the one that runs is touched
    async with AsyncExitStack() as stack:
        node, api = await build(options, stack)
        server = await serve_node(api, options.socket)
        stack.push_async_callback(server.close)
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        loop.add_signal_handler(signal.SIGHUP, node.reload)
        await node.run(stopped, Notifier())


async def build(options: Options, stack: AsyncExitStack) -> tuple[Node, LocalNode]:
    """Put all parts together. Nothing is built anywhere else."""
    node: Node
    api: LocalNode
    control: Control  # all three are named in lambdas before they are made
    store = Store.open(options.state_directory)
    stack.callback(store.close)
    keeper = Keeper(store, store.load_identity())
    stack.push_async_callback(keeper.close)
    file = SettingsFile(options.settings)
    me = myself(wireguard_port(file), store.load_disco())
    netlink = Netlink()
    stack.callback(netlink.close)
    wireguard = await find_wireguard(netlink, options.state_directory)
    inputs, plugins = Inputs(), Plugins()
    surroundings = Surroundings(lambda: read_attachment(netlink))
    relaying = make_relaying(netlink, me, surroundings, inputs)
    stack.push_async_callback(relaying.close)
    relay_use = await make_relay_use(netlink, me, relaying, inputs)
    stack.push_async_callback(relay_use.close)
    tell = lambda: control.announce()  # noqa: PLW0108, E731  # not made yet
    carriers = Carriers(
        lambda key: make_pair(
            netlink, key, me, wireguard, surroundings, tell, relaying.attach_to, relay_use.attach_to
        )
    )
    stack.push_async_callback(carriers.close)
    control = make_control(inputs, keeper, me, lambda: node.announcement(), carriers.tsmp_ping)  # noqa: PLW0108
    in_force = InForce(file, plugins, inputs, entry_points(group=GROUP), control.configure_box)
    await in_force.reload()
    names, peer_api = await make_names(options, store, inputs, tell, stack)
    providers = make_providers(store, wireguard, inputs, lambda: in_force.box)
    probes = (
        *own_probes(netlink, surroundings), *provider_probes(providers), TunnelKeyProbe(store),
        OneQuestionProbe(WatchHostServers, names.host.observe), *plugins.probes()
    )  # fmt: skip
    observer = Observer(inputs, probes, time.monotonic)
    wishes = Wishes(
        inputs, plugins, is_out=lambda: not control.is_logged_in, watch=observer.watch,
        own=lambda seen: (steering(me.port, seen), *relay_use.resources(surroundings.latest.links)),
    )  # fmt: skip
    stages = own_appliers(netlink, wireguard, carriers, wishes, options.state_directory, names)
    after = lambda: node.after_round()  # noqa: PLW0108, E731  # not made yet
    reconciler = Reconciler((*stages, plugins.appliers()), wishes.desire, after)
    port_mapping = make_port_mapping(
        me, surroundings, me.port, lambda: node.tell_endpoints()  # noqa: PLW0108  # not made yet
    )  # fmt: skip
    stack.push_async_callback(port_mapping.close)
    surroundings.on_gateways(lambda: node.map_port())  # noqa: PLW0108
    services = Services(inputs.answer_one, lambda: api.status_text(), names.resolver)  # noqa: PLW0108
    stack.push_async_callback(services.close)
    node = Node(
        inputs=inputs, in_force=in_force, keeper=keeper, control=control, observer=observer,
        wishes=wishes, reconciler=reconciler, carriers=carriers, port_mapping=port_mapping,
        services=services, relaying=relaying, relay_use=relay_use,
        names=names, peer_api=peer_api, route_writer=netlink.route.port,
    )  # fmt: skip
    api = make_local_node(node, providers, netlink, wireguard, surroundings, me)
    return node, api


def make_local_node(
    node: Node, providers: Providers, netlink: Netlink, wireguard: WireGuard,
    surroundings: Surroundings, me: Myself,
) -> LocalNode:  # fmt: skip
    """Make what the local API sees of the node."""
    return LocalNode(
        in_force=node.in_force, inputs=node.inputs, control=node.control,
        reconciler=node.reconciler, wishes=node.wishes,
        carriers=node.carriers, wireguard=wireguard, port=me.port, notices=node.notices,
        network=node.network, now=wall_clock, relay=node.relaying.state,
        examine=lambda: check_network(node.carriers, node.port_mapping, wall_clock),
        relay_outcomes=node.relay_use.outcomes, exit_providers=providers,
        look_around=LookAround(
            netlink=netlink, surroundings=surroundings, carriers=node.carriers,
            port_mapping=node.port_mapping, inputs=node.inputs, wishes=node.wishes,
        ),
        routers=lambda: tuple(g.address for g in surroundings.gateways()),
        guests=make_guests(
            wireguard, node.inputs, node.wishes, lambda: node.in_force.box,
            lambda: node.carriers.surveyed,
        ),
    )  # fmt: skip


def make_control(
    inputs: Inputs,
    keeper: Keeper,
    me: Myself,
    announcement: Callable[[], Announcement],
    tsmp_ping: TsmpPing,
) -> Control:
    return Control(
        inputs=inputs,
        keeper=keeper,
        connect=connect,
        announcement=announcement,
        me=me,
        now=wall_clock,
        tsmp_ping=tsmp_ping,
    )


def own_appliers(
    netlink: Netlink, wireguard: WireGuard, carriers: Carriers, wishes: Wishes, directory: Path,
    names: BoxNames,
) -> tuple[tuple[Applier, ...], ...]:  # fmt: skip
    """Return the appliers in the order in which things stand on each other.

    A device without peers passes nothing, so it can be made while the packet
    filter is loaded; the peers come when both are there.
    """
    return (
        (Filters(netlink, directory), Devices(wireguard), Tunnels(wireguard.beside)),
        (Sysctls(wishes.switches), Addresses(netlink), Peers(wireguard, carriers.initial_endpoint)),
        (Routes(netlink), Rules(netlink), TrafficPrograms(netlink, wishes.programs)),
        (names.host, RoutingDaemons()),
    )


def own_probes(netlink: Netlink, surroundings: Surroundings) -> tuple[Probe, ...]:
    return (
        OneQuestionProbe(WatchLocalNetworks, surroundings.look_at_networks),
        OneQuestionProbe(WatchLinks, surroundings.look_at_links),
        OneQuestionProbe(WatchFirewalls, lambda: other_firewalls(netlink)),
        OneQuestionProbe(WatchRouting, lambda: asyncio.to_thread(read_routing, time.monotonic())),
        FactsProbe(FACTS),
    )


def steering(port: int, observed: Observed) -> PacketFilter:
    """Choose the form of the steering rules; what is not known yet counts as a firewall."""
    if observed.get(WatchFirewalls(), None) != ():
        return steering_filter(port)
    return steering_filter(port, observed.get(WatchLocalNetworks(), LocalNetworks()).addresses)


def myself(port: int, disco: DiscoPrivate) -> Myself:
    """Say what this daemon is."""
    facts = read_machine_facts()
    return Myself(facts=facts, disco=disco, version=CAPABILITY_VERSION, port=port)


async def make_names(
    options: Options, store: Store, inputs: Inputs, announce: Callable[[], None],
    stack: AsyncExitStack,
) -> tuple[BoxNames, PeerApiService]:  # fmt: skip
    """Make the box's resolver, what lets peers ask it, and what lets this machine do so."""
    names = BoxNames(
        time.monotonic,
        lambda: inputs.observed.get(WatchHostServers(), HostServers()),
        make_resolvers(options.etc, options.state_directory, time.monotonic),
    )
    stack.push_async_callback(names.close)
    await names.give_back()  # a daemon that was killed could not
    peer_api = make_peer_api(
        store=store, inputs=inputs, desk=names.desk, announce=announce, now=wall_clock
    )
    stack.push_async_callback(peer_api.close)
    return names, peer_api


async def give_back_names(options: Options) -> None:
    """Let this machine ask whom it asked before, where a daemon ended without doing so."""
    resolvers = make_resolvers(options.etc, options.state_directory, time.monotonic)
    try:
        await resolvers.clean_up()
    except OSError as error:
        raise StateError(f"the names of this machine: {error}") from error


def make_port_mapping(
    me: Myself, surroundings: Surroundings, port: int, on_change: Callable[[], None]
) -> PortMapping:
    """Make what asks the router to forward a port of ours."""
    return PortMapping(
        port=port,
        secret=me.disco.raw,
        gateways=surroundings.all_gateways,
        on_change=on_change,
        random_bytes=secrets.token_bytes,
        mark=MARK,
    )


def make_relaying(
    netlink: Netlink, me: Myself, surroundings: Surroundings, inputs: Inputs
) -> Relaying:
    """Make what runs a relay for others when a plugin asks for one."""
    return Relaying(
        own_addresses=surroundings.endpoints,
        forwarder=KernelForwarder(netlink),
        publish=inputs.answer_one,
        mapping=RelayMapping(
            lambda port, on_change: make_port_mapping(me, surroundings, port, on_change)
        ),
    )


async def make_relay_use(
    netlink: Netlink, me: Myself, relaying: Relaying, inputs: Inputs
) -> RelayUse:
    """Make what lets this node use relays, its own too."""
    stand_ins = StandIns(netlink, inputs.touch)
    await stand_ins.start()
    return RelayUse(
        disco=me.disco.public, stand_ins=stand_ins, ask_ourselves=relaying.allocate_here
    )


def make_pair(
    netlink: Netlink,
    key: NodePrivate,
    me: Myself,
    wireguard: WireGuard,
    surroundings: Surroundings,
    on_change: Callable[[], None],
    *attach: Callable[[PathService], None],
) -> Pair:
    """Make path discovery and DERP for one node key; they need each other.

    `attach` are told of the paths: relays, and clients of relays.
    """
    paths = PathService(
        node=key.public,
        disco=me.disco,
        tunnel=wireguard,
        addresses=surroundings.endpoints,
        on_change=on_change,
        port=me.port,
        hold=HeldAddresses(me.port).hold,
        narrow=NarrowPaths(netlink).apply,
    )
    for each in attach:
        each(paths)
    return Pair(
        paths, DerpClients(key, paths.on_derp_packet, on_peer_gone=paths.on_derp_gone, mark=MARK)
    )


def wall_clock() -> float:
    """Return seconds since 1970."""
    return datetime.now(UTC).timestamp()


def connect(server: str, machine: MachinePrivate) -> ControlClient:
    return ControlClient(server, machine, mark=MARK)


async def find_wireguard(netlink: Netlink, directory: Path) -> WireGuard:
    """Take the kernel's WireGuard or wireguard-go; raise `StateError` when there is neither."""
    try:
        return await open_wireguard(netlink, log=directory / "wireguard-go.log")
    except OSError as error:
        raise StateError(f"no WireGuard here: {error}: install wireguard-go") from error


def wireguard_port(file: SettingsFile) -> int:
    """Return the UDP port to use; wrong settings are told later, by a notice."""
    try:
        return file.load().node.port
    except SettingsError:
        return NodeSettings().port
