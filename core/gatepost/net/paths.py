"""The path service: sockets, timers and the WireGuard device around the path session.

    P      WireGuard's own UDP port; the steering rules bring disco and STUN from it to
    P + 1  our socket, whose packets leave with P (`engine.steering`)
    P + 2  the loopback proxy: WireGuard's packets for peers that DERP carries, or a
           peer relay without the kernel's help

It decides nothing: `sessions.paths` does. It owns the endpoints of all
WireGuard peers and is the only one to set them, except for the first one of a
new peer, which the applier asks for with `initial_endpoint`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack

from gatepost.model.keys import DiscoPrivate, DiscoPublic, NodePublic
from gatepost.model.netmap import Endpoint, IPAddress, NetMap
from gatepost.model.owned import DEVICE, PROXY_PORT_OFFSET, WIREGUARD_PORT
from gatepost.model.status import NetcheckDocument
from gatepost.net.alarm import Alarm
from gatepost.net.netcheck import StunClient
from gatepost.net.netcheck_document import make_netcheck
from gatepost.net.path_ports import (
    Carrier,
    OwnEndpoint,
    PathInfo,
    PingResult,
    RelayLink,
    Tunnel,
)
from gatepost.net.paths_held import Held, HoldAddresses, hold_nothing
from gatepost.net.paths_info import make_info, make_ping_result, read_facts
from gatepost.net.paths_mover import Mover
from gatepost.net.paths_narrow import NarrowAddresses, Narrowed, narrow_nothing
from gatepost.net.paths_own import OwnAddresses
from gatepost.net.paths_proxy import ProxyAddresses, is_wireguard
from gatepost.net.paths_radio import Listener, Radio
from gatepost.net.paths_relays import RelayLinks
from gatepost.net.paths_survey import Survey
from gatepost.net.tsmp import Tsmp
from gatepost.sessions.netcheck import Report
from gatepost.sessions.paths import Paths
from gatepost.sessions.paths_outputs import (
    Answered,
    ByDerp,
    ByRelay,
    Carry,
    Hold,
    Moved,
    Narrow,
    Refresh,
    RelayPath,
    SeekRelay,
    Send,
    Way,
)
from gatepost.sessions.paths_report import PathReport
from gatepost.wire.disco import AnyMessage, Message, Ping, is_disco
from gatepost.wire.disco_relay import RelayMessage

log = logging.getLogger(__name__)

PING_AGAIN = 1.0  # seconds after which an asked-for ping is repeated


class PathService:
    """One node's paths. To be made and used on one running loop.

    `disco` is the one that the coordination server was told. `addresses` returns this machine's own
    addresses whenever it is asked. `on_change` is called when `endpoints` or `home` changed and the
    server should be told; it may not wait. `port` is WireGuard's. `hold` brings what comes
    to it from some addresses to us, `narrow` lets it send only short packets to some.
    """

    def __init__(  # noqa: PLR0913  # what it uses, by name
        self,
        *,
        node: NodePublic,
        disco: DiscoPrivate,
        tunnel: Tunnel,
        addresses: Callable[[], Iterable[IPAddress]],
        on_change: Callable[[], None],
        port: int = WIREGUARD_PORT,
        hold: HoldAddresses = hold_nothing,
        narrow: NarrowAddresses = narrow_nothing,
        clock: Callable[[], float] = time.monotonic,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._clock = clock
        self._on_change = on_change
        self._session = Paths(node, random_bytes)
        self._relays = RelayLinks(self._session)
        self._proxies = ProxyAddresses(port + PROXY_PORT_OFFSET)
        self._radio = Radio(
            disco,
            port,
            self._proxies,
            random_bytes=random_bytes,
            listener=Listener(
                is_known=self._relays.is_known,
                on_message=self._on_message,
                on_stun=lambda packet: self._stun.on_packet(packet),  # noqa: PLW0108  # made below
                on_outbound=self._on_outbound,
                on_relayed=self._on_relayed,
                on_straight=self._on_straight,
                outward=self._relays.outward,
                inward=self._relays.inward,
                on_batch=self._settle,
            ),
        )
        self._mover = Mover(
            tunnel,
            self._proxies,
            self._session,
            clock=clock,
            settle=self._settle,
            greet=lambda key: self._tsmp.advertise(key),  # noqa: PLW0108  # made below
        )
        self._tsmp = Tsmp(DEVICE, disco.public, on_key=self._on_disco_key, clock=clock)
        self._held, self._narrowed = Held(hold), Narrowed(narrow)
        self._own = OwnAddresses(addresses, port)
        self._stun = StunClient(self._radio.send_udp, clock, random_bytes)
        self._survey = Survey(
            self._own,
            self._stun,
            clock=clock,
            random_bytes=random_bytes,
            is_busy=lambda: self._session.is_busy(clock()),
            publish=lambda: self._publish(fresh=True),
        )
        self._derp: Carrier | None = None
        self._told: tuple[tuple[OwnEndpoint, ...], int, object] = ((), 0, None)
        self._alarm = Alarm(clock, self._on_timer)
        self._waiting: dict[bytes, asyncio.Future[Answered]] = {}

    # --- what the daemon says --------------------------------------------------------

    async def run(self, derp: Carrier) -> None:
        """Serve until cancelled. Raise `OSError` when a port is taken or a right is missing."""
        async with AsyncExitStack() as stack:
            self._radio.open(derp, stack)
            self._tsmp.open(stack)
            stack.callback(self._stop)
            self._derp = derp
            self._own.refresh_local()
            self._use_regions()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._mover.set_endpoints())
                group.create_task(self._mover.read_counters())
                group.create_task(self._survey.run())
                group.create_task(self._held.run())
                group.create_task(self._narrowed.run())

    def set_netmap(self, netmap: NetMap | None) -> None:
        """Take the peers and relays of a new netmap; None is nobody."""
        peers = netmap.peers if netmap else ()
        regions = netmap.derp if netmap else ()
        self._tsmp.set_peers(peers)
        self._narrowed.set_peers(peers)
        self._session.set_peers(map(read_facts, peers), self._clock())
        self._proxies.keep(p.key for p in peers)
        self._mover.adopt()
        if regions != self._survey.regions:
            self._survey.regions = regions
            self._use_regions()
        self._settle()

    def poke(self) -> None:
        """Look again at addresses and relays: the machine's network has changed."""
        if self._own.refresh_local():
            self._own.forget_seen()
            if self._derp:
                self._derp.reconnect()
        self._publish(fresh=False)
        self._survey.hurry()

    def set_mapped(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Tell others of addresses that a router forwards to us; none when that ended."""
        self._own.set_mapped(endpoints)
        self._publish(fresh=False)

    def set_static(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Tell others of addresses that the operator set."""
        self._own.set_static(endpoints)
        self._publish(fresh=False)

    def survey_again(self) -> None:
        """Forget what STUN servers saw and ask again: our packets leave from another port now."""
        self._own.forget_seen()
        self._survey.begin_again()

    def on_derp_packet(self, region: int, source: NodePublic, payload: bytes) -> None:
        """Take a packet from a relay: disco for us, or WireGuard's."""
        if is_disco(payload):
            self._radio.on_disco(payload, ByDerp(region, source))
        elif is_wireguard(payload):
            peer = self._session.on_derp_packet(region, source, payload, self._clock())
            if peer:
                self._radio.inject(source, payload, peer.path)
        self._settle()

    def on_derp_gone(self, region: int, peer: NodePublic, reason: int = 0) -> None:
        """Note that a relay does not have a peer; the reason makes no difference here."""
        log.debug("region %d does not have %s: %d", region, peer.short, reason)
        self._session.on_derp_gone(region, peer)

    # --- what relay clients and servers say ---------------------------------------------

    def attach(self, link: RelayLink) -> None:
        """Let a relay client or server hear of its messages and of the peers that need relays."""
        self._relays.attach(link)

    def relay_path_found(self, key: NodePublic, path: RelayPath) -> None:
        """Try a relay path whose end on our side is bound; said again for a new binding."""
        self._relays.found(path)
        self._session.relay_path_found(key, path, self._clock())
        self._settle()

    def relay_path_lost(self, key: NodePublic, path: RelayPath) -> None:
        """Use a relay path no longer."""
        self._relays.lost(path)
        self._session.relay_path_lost(key, path, self._clock())
        self._settle()

    def send_message(self, receiver: DiscoPublic, way: Way, message: Message) -> str:
        """Seal and send a message under our discovery key.

        Return what this machine had against it, "" if it went out.
        """
        return self._radio.send_message(Send(receiver, way, message))

    # --- what the daemon asks --------------------------------------------------------

    @property
    def home(self) -> int:
        """The DERP region at which this node is reached, 0 while none is chosen."""
        return self._own.home

    def endpoints(self) -> tuple[OwnEndpoint, ...]:
        """Return our addresses to tell the coordination server."""
        if not self._own.endpoints():
            self._own.refresh_local()
        return self._own.endpoints()

    def initial_endpoint(self, key: NodePublic) -> Endpoint | None:
        """Return where WireGuard shall send to a peer that it is about to learn of."""
        peer = self._session.peer(key)
        return (peer.wireguard if peer else None) or self._proxies.endpoint(key)

    def paths(self) -> Mapping[NodePublic, PathInfo]:
        """Return how every peer of the netmap is reached now."""
        now = self._clock()
        return {p.facts.key: make_info(p, now) for p in self._session.peers()}

    @property
    def surveyed(self) -> Report | None:
        """What the last check of the network found; None before the first one."""
        return self._own.report

    def report(self, key: NodePublic) -> PathReport | None:
        """Say how a peer is reached and what was tried; None for who is not in the netmap."""
        peer = self._session.peer(key)
        return peer.report(self._clock()) if peer else None

    async def ping(self, key: NodePublic, timeout: float, size: int = 0) -> PingResult:  # noqa: ASYNC109  # the operator's number
        """Ping a peer's path service by the path in use; a lost ping is repeated each second.

        `size` is octets of the whole packet, 0 the smallest.
        """
        end = self._clock() + timeout
        answer: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        sent: list[bytes] = []
        try:
            while (left := end - self._clock()) > 0:
                transaction = self._session.probe(key, self._clock(), size)
                if transaction is None:
                    break
                sent.append(transaction)
                self._waiting[transaction] = answer
                self._settle()
                await asyncio.wait((answer,), timeout=min(left, PING_AGAIN))
                if answer.done():
                    return make_ping_result(answer.result())
        finally:
            for transaction in sent:
                self._waiting.pop(transaction, None)
        return PingResult(None)

    async def tsmp_ping(self, address: IPAddress, timeout: float) -> float | None:  # noqa: ASYNC109  # the operator's number
        """Return the seconds until the node at a mesh address answered inside the tunnel."""
        return await self._tsmp.ping(address, timeout)

    async def netcheck(self) -> NetcheckDocument:
        """Look at everything anew, at most 9 seconds: STUN, HTTP where it fails, a portal."""
        report, portal = await self._survey.examine()
        own = self._own.local_addresses()
        return make_netcheck(report, self._survey.regions, home=self.home, portal=portal, own=own)

    # --- what happens ------------------------------------------------------------------

    def _on_message(self, sender: DiscoPublic, message: AnyMessage, way: Way) -> None:
        if isinstance(message, RelayMessage):
            self._relays.hear(sender, message, way)
        else:
            self._relays.heard(sender, way)
            self._session.on_disco(sender, message, way, self._clock())

    def _on_relayed(self, way: ByRelay, packet: bytes) -> None:
        key = self._session.owner_of_place(way)
        peer = self._session.on_relay_packet(key, packet, self._clock()) if key else None
        if key and peer:
            self._radio.inject(key, packet, peer.path)

    def _on_outbound(self, key: NodePublic, packet: bytes) -> None:
        self._session.on_outbound(key, packet, self._clock())

    def _on_straight(self, endpoint: Endpoint, packet: bytes) -> None:
        key = self._held.owner(endpoint)
        peer = self._session.on_held(key, endpoint, packet, self._clock()) if key else None
        if key and peer:
            self._radio.inject(key, packet, peer.path)

    def _on_disco_key(self, key: NodePublic, disco: DiscoPublic) -> None:
        self._session.on_disco_key(key, disco, self._clock())
        self._settle()

    def _on_timer(self) -> None:
        self._session.on_timer(self._clock())
        self._settle()

    def _settle(self) -> None:
        """Do what the session asks for and set its timer; after everything that happened."""
        for output in self._session.take():
            match output:
                case Send():
                    self._send(output)
                case Carry():
                    self._radio.send(output.way, output.packet)
                case Moved():
                    endpoint = self._mover.move(output.peer, output.path)
                    self._relays.on_moved(output.peer, endpoint)
                case Hold(peer, endpoint):
                    self._held.hold(peer, endpoint)
                case Narrow(peer, endpoint):
                    self._narrowed.narrow(peer, endpoint)
                case SeekRelay():
                    self._relays.seek(output)
                case Answered():
                    self._on_answered(output)
                case Refresh():
                    self._survey.hurry()
        self._alarm.set(self._session.next_timer() if self._radio.is_open else None)

    def _on_answered(self, answer: Answered) -> None:
        waiting = self._waiting.pop(answer.transaction, None)
        if waiting and not waiting.done():
            waiting.set_result(answer)

    def _send(self, sending: Send) -> None:
        """Send, and keep what went wrong; a probe of the path's size may well be too long."""
        trouble, message = self._radio.send_message(sending), sending.message
        if trouble and not (isinstance(message, Ping) and message.padding):
            self._session.on_not_sent(sending, trouble)

    def _stop(self) -> None:
        self._derp = None
        self._alarm.stop()

    # --- our own addresses -----------------------------------------------------------------

    def _use_regions(self) -> None:
        """Take the relays of the netmap; a single one is home at once, without measuring."""
        if self._derp is None:
            return
        self._derp.set_regions(self._survey.regions)
        if len(self._survey.regions) == 1 or self.home:
            self._own.choose(self._survey.regions)
        self._derp.set_home(self.home)
        self._publish(fresh=False)
        self._survey.hurry()

    def _publish(self, *, fresh: bool) -> None:
        """Tell the session, and the daemon if something is new; `fresh` after a STUN check."""
        told = self._own.endpoints(), self._own.home, self._own.found
        addresses = tuple(e.endpoint for e in told[0])
        self._session.set_own_endpoints(addresses, self._clock(), fresh=fresh)
        self._settle()
        if told == self._told:
            return
        if self._derp and told[1] != self._told[1]:
            self._derp.set_home(told[1])
        self._told = told
        self._on_change()
