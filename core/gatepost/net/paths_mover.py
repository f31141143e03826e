"""The WireGuard device's side of the paths: set endpoints, read counters."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from gatepost.model.keys import NodePublic
from gatepost.model.netmap import Endpoint
from gatepost.net.path_ports import PeerCounters, Tunnel
from gatepost.net.paths_proxy import ProxyAddresses
from gatepost.sessions.paths import Paths
from gatepost.sessions.paths_candidates import is_place
from gatepost.sessions.paths_outputs import ByUdp, Counters, RelayPath

log = logging.getLogger(__name__)

TICK = 1.0  # seconds between looks whether a reading is due
RETRY = 1.0  # seconds until a device that refused is asked again


class Mover:
    """One writer of endpoints and one reader of counters; `settle` follows every reading.

    `greet` sends something through the tunnel: to peers with a new WireGuard session, some seconds
    later, and to those that need one and do not know it.
    """

    def __init__(
        self,
        tunnel: Tunnel,
        proxies: ProxyAddresses,
        session: Paths,
        *,
        clock: Callable[[], float],
        settle: Callable[[], None],
        greet: Callable[[NodePublic], None],
    ) -> None:
        self._tunnel = tunnel
        self._proxies = proxies
        self._session = session
        self._clock = clock
        self._settle = settle
        self._greet = greet
        self._handshakes: dict[NodePublic, float] = {}
        self._wanted: dict[NodePublic, Endpoint] = {}
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        # Peers whose endpoint an earlier daemon left direct; None before the first reading.
        self._left: set[NodePublic] | None = None

    def move(self, key: NodePublic, path: ByUdp | RelayPath | None) -> Endpoint:
        """Send to the peer by `path` from now on, None is DERP; return WireGuard's endpoint.

        It is the proxy for DERP, and for a relay that user space writes to.
        """
        endpoint = path.endpoint if path else None
        self._wanted[key] = endpoint or self._proxies.endpoint(key)
        self._wake.set()
        return self._wanted[key]

    async def set_endpoints(self) -> None:
        """Carry moves out, all that are waiting in one go, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            moves, self._wanted = self._wanted, {}
            try:
                await self._tunnel.set_endpoints(moves)
            except OSError as error:
                log.warning("could not move %d peers: %s", len(moves), error)
                self._wanted = {**moves, **self._wanted}
                await asyncio.sleep(RETRY)
                self._wake.set()

    def adopt(self) -> None:
        """Read the device soon if what an earlier daemon left there is not taken over yet."""
        if self._left is None or self._left:
            self._hurry.set()

    async def read_counters(self) -> None:
        """Read the device as often as the session wants, until cancelled."""
        last = float("-inf")
        while True:
            now = self._clock()
            if self._hurry.is_set() or now - last >= self._session.poll_interval(now):
                last = now
                self._hurry.clear()
                await self._read()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._hurry.wait()

    async def _read(self) -> None:
        try:
            states = await self._tunnel.peers()
        except OSError as error:
            log.debug("no counters: %s", error)  # the applier of the device says it louder
            return
        self._adopt(states)
        self._session.on_counters([self._counters(s) for s in states], self._clock())
        now = self._clock()
        for state in states:
            peer = self._session.peer(state.public_key)
            if state.endpoint is None or self._is_wrong_proxy(state.public_key, state.endpoint):
                self.move(state.public_key, peer.path if peer else None)
            if peer and peer.is_unheard(now):
                self._greet(state.public_key)
        self._settle()
        self._notice_handshakes(states)

    def _notice_handshakes(self, states: Sequence[PeerCounters]) -> None:
        latest = {s.public_key: s.last_handshake for s in states if s.last_handshake}
        before, self._handshakes = self._handshakes, latest
        for key, at in latest.items():
            if at != before.get(key):
                self._greet(key)

    def _adopt(self, states: Sequence[PeerCounters]) -> None:
        """Take over what an earlier daemon left in use, as soon as the netmap knows the peer.

        An endpoint that WireGuard roamed to since then proves nothing about the other direction.
        """
        in_use = {
            s.public_key: s.endpoint
            for s in states
            if s.endpoint and not self._proxies.is_proxy(s.endpoint) and not is_place(s.endpoint)
        }
        if self._left is None:
            self._left = set(in_use)
        known = {k for k in self._left if self._session.peer(k)}
        self._session.adopt({k: in_use[k] for k in known & in_use.keys()}, self._clock())
        self._left -= known

    def _counters(self, state: PeerCounters) -> Counters:
        endpoint = state.endpoint
        if endpoint is not None and self._proxies.is_proxy(endpoint):
            endpoint = None
        return Counters(
            key=state.public_key, endpoint=endpoint, received=state.received, sent=state.sent
        )

    def _is_wrong_proxy(self, key: NodePublic, endpoint: Endpoint) -> bool:
        return self._proxies.is_proxy(endpoint) and endpoint != self._proxies.endpoint(key)
