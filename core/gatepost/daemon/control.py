"""The node's side of the control protocol, for as long as the daemon runs.

Registers when somebody asked for it, follows the map, tells the server what
changed here, and tries again when the server is away: meanwhile the last
netmap stays in force. Source: protocol document 1.7 to 1.13, 8.2.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial

from gatepost.daemon.follower import Follower, Server
from gatepost.daemon.hostinfo import Announcement, MachineFacts, make_hostinfo
from gatepost.daemon.inputs import Inputs
from gatepost.daemon.keeper import Keeper
from gatepost.daemon.login import Login, LoginRequest, log_out
from gatepost.daemon.ping_request import TsmpPing
from gatepost.daemon.settings_file import BoxSettings
from gatepost.errors import GatepostError, RefusedError, UnreachableError, WireError
from gatepost.model.keys import DiscoPrivate, MachinePrivate, NodePublic
from gatepost.model.netmap import NetMap
from gatepost.model.process import NodeFacts, WatchNodeFacts
from gatepost.model.resource import Level, Notice
from gatepost.net.tasks import Tasks
from gatepost.sessions.netmap import MapState
from gatepost.wire.netmap import MapRequest, MapResponse

log = logging.getLogger(__name__)

FIRST_RETRY, LAST_RETRY = 0.25, 30.0  # seconds between tries, doubling
LONGEST_TIMER = 86400.0  # seconds; an expiry further away is looked at again then


Connect = Callable[[str, MachinePrivate], Server]


@dataclass(slots=True)
class Standing:
    """How things are with the coordination server; read by status."""

    connected: bool = False
    auth_url: str = ""
    refusal: str = ""  # why the server did not let us in
    trouble: str = ""  # why it cannot be reached
    heard: float | None = None  # when the last netmap came, seconds since 1970
    expired: bool = False
    problems: tuple[str, ...] = ()

    def notices(self) -> tuple[Notice, ...]:
        found = list[Notice]()
        if self.refusal:
            found.append(Notice("login-refused", self.refusal, Level.ERROR))
        if self.expired:
            text = "this node's key has expired or was removed: `gatepost up` logs in again"
            found.append(Notice("key-expired", text, Level.ERROR))
        if self.trouble and not self.connected:
            text = f"the coordination server does not answer: {self.trouble}"
            found.append(Notice("server-unreachable", text))
        found += [Notice("netmap-problem", text) for text in self.problems]
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Myself:
    """What this daemon is: `version` is its capability version, `port` the UDP port peers see."""

    facts: MachineFacts
    disco: DiscoPrivate
    version: int
    port: int


class Control:
    """One task runs `run`; the others are called by the local API and by the inputs."""

    def __init__(
        self,
        *,
        inputs: Inputs,
        keeper: Keeper,
        connect: Connect,
        announcement: Callable[[], Announcement],
        me: Myself,
        now: Callable[[], float],
        tsmp_ping: TsmpPing,
    ) -> None:
        self._inputs = inputs
        self._keeper = keeper
        self._connect = connect
        self._announcement = announcement
        self._me = me
        self._now = now
        self._tsmp_ping = tsmp_ping
        self.standing = Standing()
        self._server_url = ""
        self._wanted = False
        self._login: LoginRequest | None = None
        self._registered = False  # in this run of the daemon, with this server
        self._changed = asyncio.Event()
        self._follower: Follower | None = None
        self._retry = FIRST_RETRY
        self._skew = 0.0  # seconds that the server's clock is ahead of ours
        self._expiry: asyncio.TimerHandle | None = None
        self._tasks = Tasks()

    # --- what others ask for ----------------------------------------------------
    @property
    def skew(self) -> float:
        """Seconds that the server's clock is ahead of ours, as it last said."""
        return self._skew

    def configure_box(self, box: BoxSettings) -> None:
        self.configure(box.node.login_server, wanted=box.node.wanted == "up")

    def configure(self, server_url: str, *, wanted: bool) -> None:
        """Say which server, and whether to be there at all."""
        if (server_url, wanted) == (self._server_url, self._wanted):
            return
        if server_url != self._server_url:
            self._registered = False
            self.standing.refusal = self.standing.trouble = ""
            if self._keeper.identity.login_server != server_url:
                self.standing.expired = False
                self._inputs.set_netmap(None, stored=False)  # of another mesh
        self._server_url, self._wanted = server_url, wanted
        self._changed.set()

    def log_in(self, asked: LoginRequest) -> None:
        """Log in when that is needed, or when the operator asks for something new."""
        if asked.auth_key or asked.fresh or not self.is_logged_in:
            self._login = asked
            self._registered = False
            self.standing.refusal = ""
            self._changed.set()

    def announce(self) -> None:
        """Something that the others should know may have changed. Never waits."""
        if self._follower is not None:
            self._follower.announce()

    async def log_out(self) -> None:
        """Give the node's key back and forget it, whether or not the server can be told."""
        identity, self._login, self._registered = self._keeper.identity, None, False
        self._wanted = False
        self._changed.set()
        if identity.node is not None and identity.login_server:
            server = self._connect(identity.login_server, identity.machine)
            try:
                await log_out(server, identity.node, self._me.version)
            except GatepostError as error:
                log.warning("the server could not be told about the logout: %s", error)
            finally:
                await server.close()
        left = replace(identity, node=None, candidate=None)
        await self._keeper.keep_identity(left.at(self._server_url or identity.login_server))
        self._inputs.set_netmap(None, stored=False)
        await self._keeper.forget_netmap()
        self.standing.expired = False

    @property
    def is_logged_in(self) -> bool:
        identity = self._keeper.identity
        return (
            identity.node is not None
            and identity.login_server == self._server_url
            and not self.standing.expired
        )

    # --- the loop -----------------------------------------------------------------
    async def start(self) -> None:
        """Begin with the netmap of last time, so that nothing waits for the server."""
        await self._be_who_we_are_there()
        netmap = await self._keeper.load_netmap() if self._server_url else None
        if netmap is not None and self._accept(netmap, stored=True):
            log.info("running on the netmap of last time: %d peers", len(netmap.peers))

    async def run(self) -> None:
        """Be at the server while wanted; end only by being cancelled."""
        try:
            while True:
                self._changed.clear()
                if self._keeper.identity.login_server != self._server_url:
                    await self.start()
                if not self._may_connect():
                    self.standing.trouble = ""  # nobody asks it now
                    await self._changed.wait()
                    continue
                try:
                    await self._unless_changed(self._visit())
                except RefusedError as error:
                    await self._refused(error)
                except (UnreachableError, WireError) as error:
                    await self._wait_for_server(error)
                finally:
                    self.standing.connected = False
        finally:
            await self._tasks.close()

    async def _be_who_we_are_there(self) -> None:
        """Use the keys that this server knows us by, and keep those of the one before."""
        identity = self._keeper.identity
        if self._server_url not in {"", identity.login_server}:
            await self._keeper.keep_identity(identity.at(self._server_url))

    def _may_connect(self) -> bool:
        return bool(self._wanted and self._server_url and (self.is_logged_in or self._login))

    async def _unless_changed(self, work: Coroutine[None, None, None]) -> None:
        """Do `work`, but give it up when what it stands on has changed."""
        loop = asyncio.get_running_loop()
        changed = loop.create_task(self._changed.wait(), name="control changed")
        task = loop.create_task(work, name="control visit")
        try:
            await asyncio.wait({changed, task}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
        finally:
            for each in (changed, task):
                each.cancel()
            await asyncio.gather(changed, task, return_exceptions=True)

    async def _visit(self) -> None:
        """One connection: register if that is due, then follow the map until it ends."""
        server = self._connect(self._server_url, self._keeper.identity.machine)
        try:
            if not self._registered:
                await self._register(server)
            self._follower = Follower(
                server, self._map_request, self._announcement, self._tsmp_ping
            )
            await self._follower.run(self._on_message)
        finally:
            self._follower = None
            await server.close()

    async def _register(self, server: Server) -> None:
        asked = self._login or LoginRequest()
        if self.standing.expired:
            asked = replace(asked, fresh=True)
        login = Login(self._keeper, self._me.version, self._on_url)
        await login.run(server, asked, make_hostinfo(self._me.facts, self._announcement()))
        self._login, self._registered = None, True
        self.standing.refusal, self.standing.expired = "", False

    def _on_url(self, url: str) -> None:
        """Show where to log in; a node that the server knew before is then one no more."""
        self.standing.auth_url = url
        self.standing.connected, self.standing.trouble = bool(url), ""
        if url and self._keeper.identity.node is not None and not self._is_renewal():
            self._end_of_key()

    def _is_renewal(self) -> bool:
        """Say whether a new key is on its way while the old one still carries the mesh."""
        return self._keeper.identity.candidate is not None and not self.standing.expired

    # --- what comes from the server ---------------------------------------------
    def _map_request(self, said: Announcement) -> MapRequest:
        node = self._keeper.identity.node
        return MapRequest(
            version=self._me.version,
            compress="zstd",
            keep_alive=True,
            stream=True,
            node_key=node.public if node else NodePublic.zero(),
            disco_key=self._me.disco.public,
            hostinfo=make_hostinfo(self._me.facts, said),
            endpoints=tuple(str(e.endpoint) for e in said.endpoints),
            endpoint_types=tuple(e.wire_type for e in said.endpoints),
        )

    def _on_message(self, state: MapState, message: MapResponse) -> None:
        self.standing.connected, self.standing.trouble = True, ""
        self._retry = FIRST_RETRY
        if message.control_time is not None:
            self._skew = message.control_time.timestamp() - self._now()
        netmap = state.netmap()
        if message.keep_alive or netmap is None:
            return
        self.standing.heard = self._now()
        self.standing.problems = state.problems
        if self._accept(netmap, stored=False):
            self._keeper.keep_netmap(netmap, state.dump)

    def _accept(self, netmap: NetMap, *, stored: bool) -> bool:
        """Put a netmap in force, unless it says that this node's key is no good any more."""
        identity = self._keeper.identity
        node = identity.node
        if node is None or identity.login_server != self._server_url:
            return False
        if netmap.me.key != node.public:
            return False
        if netmap.me.expired or self._seconds_left(netmap) <= 0:
            self._end_of_key()
            return False
        self._inputs.answer({WatchNodeFacts(): NodeFacts(node, self._me.port)})
        self._inputs.set_netmap(netmap, stored=stored)
        self._watch_expiry(netmap)
        return True

    def _seconds_left(self, netmap: NetMap) -> float:
        """Return how long our key is good, by the server's clock."""
        if netmap.me.key_expiry is None:
            return float("inf")
        return netmap.me.key_expiry.timestamp() - self._now() - self._skew

    def _watch_expiry(self, netmap: NetMap) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        left = self._seconds_left(netmap)
        delay = min(max(left, 0.0), LONGEST_TIMER)
        stored = self._inputs.netmap_stored
        again = partial(self._accept, netmap, stored=stored)
        self._expiry = asyncio.get_running_loop().call_later(delay, again)

    def _end_of_key(self) -> None:
        """Take the tunnel down; only a new login brings it back."""
        if not self.standing.expired:
            log.error("this node's key has expired or was removed from the mesh")
        self.standing.expired = True
        self._inputs.set_netmap(None, stored=False)
        self._tasks.spawn(self._keeper.forget_netmap(), "forget the netmap")
        if self._login is None:
            self._changed.set()

    # --- when things go wrong -----------------------------------------------------
    async def _refused(self, error: RefusedError) -> None:
        self.standing.trouble = ""  # it does answer
        if self._registered:  # the server does not know us on the map: ask what we are to it
            log.warning("the server refuses the map: %s", error)
            self._registered = False
        else:
            self.standing.refusal = str(error)
            log.error("the server refuses the login: %s", error)
            if self._login is not None:  # trying the same again would bring the same answer
                self._login = None
                if not self.is_logged_in:
                    return
        await self._pause()

    async def _wait_for_server(self, error: GatepostError) -> None:
        if not self.standing.trouble:
            log.warning("the coordination server cannot be reached: %s", error)
        self.standing.trouble = str(error)
        if not self.is_logged_in and (known := ", ".join(self._keeper.identity.elsewhere)):
            self.standing.trouble += f" (this box is still known at {known})"
        await self._pause()

    async def _pause(self) -> None:
        """Wait before the next try, with jitter so that a mesh does not come back as one."""
        jitter = 0.75 + secrets.randbelow(500) / 1000
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._retry * jitter):
                await self._changed.wait()
        self._retry = min(self._retry * 2, LAST_RETRY)
