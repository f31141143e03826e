"""What the local API can ask of this node; `localapi.protocol.NodeApi` says what each means."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Literal, Protocol

import msgspec

from gatepost import __version__
from gatepost.daemon.carriers import Carriers
from gatepost.daemon.checks import check_exit, check_ready, check_running, check_server, check_stay
from gatepost.daemon.control import Control
from gatepost.daemon.flags import MESH, edits, flags_of
from gatepost.daemon.guests import GuestDesk
from gatepost.daemon.in_force import InForce
from gatepost.daemon.inputs import Inputs
from gatepost.daemon.login import LoginRequest
from gatepost.daemon.ping import Means, PingQuestion, find_target, ping_peer
from gatepost.daemon.plugin_words import PluginWords, read_words
from gatepost.daemon.providers import Providers
from gatepost.daemon.reconciler import Reconciler
from gatepost.daemon.return_path import check_return_path, read_host
from gatepost.daemon.settings_file import Edit
from gatepost.daemon.status import Facts, Login, PeerNumbers, make_status
from gatepost.daemon.wake import wake
from gatepost.daemon.why import Witnesses, why_peer
from gatepost.daemon.wishes import Wishes, mesh_routes
from gatepost.engine.explain import Question, explain
from gatepost.engine.plan import plan_documents
from gatepost.engine.plugins import REQUIRED
from gatepost.engine.settings import Plain, field_documents
from gatepost.errors import SettingsError, UnreachableError
from gatepost.model.guest_documents import PlainWireGuardDocument
from gatepost.model.kernel import WireGuardDevice
from gatepost.model.keys import NodePublic
from gatepost.model.netmap import IPAddress, IPNetwork, NetMap, NetworkFacts
from gatepost.model.process import LocalNetworks, WatchLocalNetworks
from gatepost.model.resource import Level, Notice
from gatepost.model.status import (
    ChangeDocument,
    LanDocument,
    NetcheckDocument,
    PingDocument,
    PingKind,
    PluginDocument,
    PluginRequest,
    ProviderDocument,
    ProviderRequest,
    ReasonDocument,
    ReturnPathDocument,
    Status,
    UpRequest,
    VersionDocument,
    WhyDocument,
)
from gatepost.model.surroundings import SurroundingsDocument
from gatepost.model.wake import WakeDocument, WakeRequestDocument
from gatepost.net.control_client import CAPABILITY_VERSION
from gatepost.net.relay_server import RelayState
from gatepost.sessions.lan_routes import lans_of
from gatepost.sessions.relay_client_outputs import Outcome
from gatepost.sessions.why_evidence import ControlEvidence, DerpEvidence


class Tunnel(Protocol):
    """The WireGuard device; `linux.wireguard.WireGuard` is one."""

    device: str

    @property
    def backend(self) -> Literal["kernel", "wireguard-go"]: ...

    async def peers(self) -> Sequence[PeerNumbers]: ...


@dataclass(slots=True, kw_only=True)
class LocalNode:
    """What the local API sees of this node."""

    in_force: InForce
    inputs: Inputs
    control: Control
    reconciler: Reconciler
    wishes: Wishes
    carriers: Carriers
    wireguard: Tunnel
    port: int
    notices: Callable[[], tuple[Notice, ...]]
    network: Callable[[], NetworkFacts]
    now: Callable[[], float]  # seconds since 1970
    examine: Callable[[], Awaitable[NetcheckDocument]]
    routers: Callable[[], tuple[IPAddress, ...]] = tuple  # of the networks around
    exit_providers: Providers
    guests: GuestDesk
    look_around: Callable[[], Awaitable[SurroundingsDocument]]
    patience: float = 2.0  # seconds that a status waits for WireGuard
    relay: Callable[[], RelayState | None] = lambda: None
    relay_outcomes: Callable[[NodePublic], Mapping[NodePublic | None, Outcome]] = lambda _: {}
    _words: dict[str, PluginWords] = field(default_factory=dict[str, PluginWords])

    async def version(self) -> VersionDocument:
        return VersionDocument(
            version=__version__, capability=CAPABILITY_VERSION, python=platform.python_version()
        )

    # --- status -------------------------------------------------------------------
    async def status(self, *, peers: bool = True) -> Status:
        numbers: Sequence[PeerNumbers] = ()
        silent: tuple[Notice, ...] = ()
        try:
            if peers:
                async with asyncio.timeout(self.patience):
                    numbers = await self.wireguard.peers()
        except TimeoutError:
            # Who asks how things are must hear it most of all when something hangs.
            text = f"{self.wireguard.device} has not answered for {self.patience:g} s: no counters"
            silent = (Notice("wireguard-silent", text, Level.ERROR),)
        except OSError:
            pass  # a stranger's device of that name: the reconciler's notice says so
        return make_status(self._facts(numbers, silent), peers=peers)

    def status_text(self) -> str:
        """Return the status as JSON, without what only WireGuard knows."""
        return msgspec.json.encode(make_status(self._facts(()))).decode()

    def _facts(self, numbers: Sequence[PeerNumbers], more: tuple[Notice, ...] = ()) -> Facts:
        standing, box = self.control.standing, self.in_force.box
        device = self.wishes.lowered.resources.get((WireGuardDevice, self.wireguard.device))
        return Facts(
            login=Login(
                wanted=bool(self.inputs.wanted),
                logged_in=self.control.is_logged_in,
                server=box.node.login_server,
                auth_url=standing.auth_url,
                connected=standing.connected,
                heard=standing.heard,
                refused=bool(standing.refusal),
            ),
            netmap=self.inputs.netmap,
            netmap_stored=self.inputs.netmap_stored,
            applied=bool(self.reconciler.in_force and self.reconciler.in_force.resources),
            backend=self.wireguard.backend,
            device=self.wireguard.device,
            port=self.port,
            mtu=device.mtu if isinstance(device, WireGuardDevice) else 0,
            home=self.carriers.home,
            home_connected=self.carriers.is_home_connected,
            advertised=tuple(str(n) for n in self.wishes.advertised()),
            accept_routes=bool(box.of(MESH).get("accept-routes", False)),
            relay=self.relay(),
            paths=self.carriers.paths(),
            numbers=numbers,
            notices=(*self.notices(), *more),
        )

    # --- wishes of the operator ---------------------------------------------------
    async def up(self, request: UpRequest) -> Status:
        check_exit(self.in_force.box, request, self.inputs.netmap)
        wanted = Edit(table=("node",), values={"wanted": "up"})
        await self.in_force.change((*edits(request), wanted), check_ready)
        self.control.log_in(
            LoginRequest(auth_key=request.auth_key or "", fresh=request.force_reauth)
        )
        return await self.status(peers=False)

    async def down(self) -> Status:
        await self.in_force.change((Edit(table=("node",), values={"wanted": "down"}),))
        return await self.status(peers=False)

    async def logout(self) -> Status:
        await self.control.log_out()
        return await self.down()

    async def settings(self) -> UpRequest:
        return flags_of(self.in_force.box, self._values)

    def _values(self, plugin: str) -> dict[str, object]:
        settings = self.in_force.read(plugin, self.in_force.box)
        return {d.name: d.value for d in field_documents(type(settings), settings)}

    async def change_settings(self, request: UpRequest) -> UpRequest:
        if request.auth_key is not None or request.force_reauth:
            raise SettingsError("a login is no setting: use `gatepost up`")
        if self.control.is_logged_in:
            check_stay(self.in_force.box, request)
        check_exit(self.in_force.box, request, self.inputs.netmap)
        await self.in_force.change(edits(request), check_server)
        return await self.settings()

    # --- plan and explain -----------------------------------------------------------
    async def plan(self) -> tuple[ChangeDocument, ...]:
        desired = await self.wishes.desire()
        if desired is None:
            raise UnreachableError(
                "there is no netmap yet, so nothing is planned: the coordination server is away"
            )
        try:
            changes = await self.reconciler.changes(desired)
        except OSError as error:
            raise UnreachableError(f"the kernel cannot be read: {error}") from error
        return plan_documents(changes, desired.owners)

    async def explain(self, what: str) -> tuple[ReasonDocument, ...]:
        netmap = self.inputs.netmap
        if netmap is None:
            return ()
        question = Question(
            self.in_force.plugins, netmap, self.inputs.settings, self.inputs.observed
        )
        return explain(what, self.wishes.merged, question)

    # --- plugins --------------------------------------------------------------------
    async def plugins(self) -> tuple[PluginDocument, ...]:
        return tuple(self._plugin(name) for name in self.in_force.known())

    async def change_plugin(self, name: str, request: PluginRequest) -> PluginDocument:
        self.in_force.point(name)
        values: dict[str, Plain] = {}
        for setting, value in (request.settings or {}).items():
            values[setting] = str(value) if isinstance(value, float) else value
        if "enabled" in values:
            raise SettingsError("enabled is no setting of a plugin: switch it on or off")
        if request.enabled is not None:
            if not request.enabled and name in REQUIRED:
                raise SettingsError(f"{name} cannot be switched off: it is the data plane itself")
            values["enabled"] = request.enabled
        await self.in_force.change((Edit(table=("plugins", name), values=values),))
        return self._plugin(name)

    def _plugin(self, name: str) -> PluginDocument:
        """Describe a plugin; one that is off is not imported, only its text is read."""
        info = self.in_force.plugins.info().get(name)
        errors = [n.text for n in self.notices() if n.text.startswith(f"{name}: ")]
        if info is None:
            words = self._read_words(self.in_force.point(name))
            return PluginDocument(
                name=name,
                title=words.title or name.replace("-", " ").capitalize(),
                summary=words.summary,
                enabled=name in self.in_force.box.enabled,
                error="; ".join(errors),
            )
        current = self.inputs.settings.get(name)
        fields = field_documents(info.settings, current) if current is not None else ()
        return PluginDocument(
            name=name,
            title=info.title,
            summary=info.summary,
            enabled=True,
            required=name in REQUIRED,
            error="; ".join(errors),
            fields=fields,
        )

    def _read_words(self, point: EntryPoint) -> PluginWords:
        if point.value not in self._words:
            self._words[point.value] = read_words(point.module)
        return self._words[point.value]

    # --- the network ------------------------------------------------------------------
    async def ping(
        self, target: str, seconds: float, kind: PingKind = "disco", size: int = 0
    ) -> PingDocument:
        found = find_target(self._running_netmap(), target)
        question = PingQuestion(target=target, seconds=seconds, kind=kind, size=size)
        means = Means(
            path_ping=self.carriers.ping,
            tsmp_ping=self.carriers.tsmp_ping,
            path_of=lambda key: self.carriers.paths().get(key),
            region_name=self._derp().name,
        )
        return await ping_peer(question, found, means)

    async def why(self, target: str, seconds: float) -> WhyDocument:
        netmap = self._running_netmap()
        found = find_target(netmap, target)
        witnesses = Witnesses(
            report=self.carriers.report,
            path_ping=self.carriers.ping,
            handshake=self._handshake,
            survey=self.carriers.netcheck,
            network=self.network,
            seen=lambda: self.carriers.surveyed.seen if self.carriers.surveyed else (),
            control=self._control,
            derp=self._derp,
            now=self.now,
            relays=self.relay_outcomes,
        )
        return await why_peer(netmap, found, seconds, witnesses)

    def _running_netmap(self) -> NetMap:
        wanted, netmap = bool(self.inputs.wanted), self.inputs.netmap
        return check_running(logged_in=self.control.is_logged_in, wanted=wanted, netmap=netmap)

    async def _handshake(self, key: NodePublic) -> float | None:
        try:
            numbers = await self.wireguard.peers()
        except OSError:
            return None  # no device, or a stranger's: the reconciler's notice says so
        return next((n.last_handshake for n in numbers if n.public_key == key), None)

    def _control(self) -> ControlEvidence:
        standing, now = self.control.standing, self.now()
        return ControlEvidence(
            url=self.in_force.box.node.login_server,
            connected=standing.connected,
            heard=now - standing.heard if standing.heard is not None else None,
            skew=self.control.skew,
            trouble=standing.trouble,
        )

    def _derp(self) -> DerpEvidence:
        netmap = self.inputs.netmap
        return DerpEvidence(
            regions={r.id: r.code or r.name for r in (netmap.derp if netmap else ())},
            home=self.carriers.home,
            connected=self.carriers.is_home_connected,
        )

    async def netcheck(self) -> NetcheckDocument:
        return await self.examine()

    async def surroundings(self) -> SurroundingsDocument:
        return await self.look_around()

    async def lans(self) -> tuple[LanDocument, ...]:
        netmap = self.inputs.netmap
        found = lans_of(netmap.me.routes if netmap else (), self._local(), self._carried())
        return tuple(
            LanDocument(
                network=str(lan.network),
                via=str(lan.via),
                routes=tuple(map(str, lan.routes)),
                router=next((str(r) for r in self.routers() if r in lan.network), ""),
            )
            for lan in found
        )

    async def return_path(self, target: str, seconds: float) -> ReturnPathDocument:
        host = read_host(target)
        return await check_return_path(host, self._local(), self._carried(), seconds)

    def _local(self) -> LocalNetworks:
        return self.inputs.observed.get(WatchLocalNetworks(), LocalNetworks())

    def _carried(self) -> tuple[IPNetwork, ...]:
        return mesh_routes(self.wishes.lowered.resources.values())

    async def plain_wireguard(self) -> PlainWireGuardDocument:
        return await self.guests.document(self._carried())

    async def wake(self, request: WakeRequestDocument) -> WakeDocument:
        if request.site:
            self._running_netmap()
        resources = self.wishes.lowered.resources.values()
        return await wake(request.target, request.site, self.inputs.netmap, resources)

    # --- providers ----------------------------------------------------------------------
    async def providers(self) -> tuple[ProviderDocument, ...]:
        return await self.exit_providers.documents()

    async def import_provider(self, request: ProviderRequest) -> ProviderDocument:
        return await self.exit_providers.take(request)

    async def remove_provider(self, name: str) -> None:
        await self.exit_providers.remove(name)
