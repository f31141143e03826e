"""A node with the behaviour of one and no network: for tests of what talks to a node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from msgspec.structs import asdict, replace

from gatepost.errors import NotFoundError, RefusedError, SettingsError
from gatepost.model.guest_documents import PlainWireGuardDocument
from gatepost.model.status import (
    ChangeDocument,
    DerpDocument,
    FieldDocument,
    FindingDocument,
    LanDocument,
    NetcheckDocument,
    NoticeDocument,
    PeerDocument,
    PingDocument,
    PingKind,
    PluginDocument,
    PluginRequest,
    ProviderDocument,
    ProviderRequest,
    ReasonDocument,
    RegionDocument,
    RelayServerDocument,
    ReturnDocument,
    ReturnPathDocument,
    RoutesDocument,
    SelfDocument,
    State,
    Status,
    TryDocument,
    UpRequest,
    VersionDocument,
    WhyDocument,
    WireGuardDocument,
)
from gatepost.model.surroundings import SurroundingsDocument
from gatepost.model.wake import WakeDocument, WakeRequestDocument
from gatepost.testing.fake_around import AROUND
from gatepost.testing.fake_guests import PLAIN_WIREGUARD, fake_guests

GOOD_KEY = "good-key"
AUTH_URL = "https://mesh.example/register/abc123"

_ME = SelfDocument(
    id=1,
    name="gate.mesh.example",
    key="",  # a new one with every login
    addresses=("100.64.0.1", "fd7a:115c:a1e0::1"),
    user="alice",
)
_FAR = PeerDocument(
    id=2,
    name="far.mesh.example",
    key="nodekey:" + "22" * 32,
    addresses=("100.64.0.2", "fd7a:115c:a1e0::2"),
    routes=("10.9.0.0/16",),
    user="alice",
    operating_system="linux",
    online=True,
    path="direct",
    endpoint="192.0.2.7:41641",
    latency=0.0123,
    last_handshake=None,
    received=1536,
    sent=12,
)
_AWAY = PeerDocument(
    id=3,
    name="away.mesh.example",
    key="nodekey:" + "33" * 32,
    addresses=("100.64.0.3",),
    tags=("tag:server",),
    operating_system="linux",
    online=False,
    last_seen=1_700_000_000.0,
)


def _plugins() -> dict[str, PluginDocument]:
    networks = FieldDocument(
        name="networks",
        kind="list",
        default=(),
        value=(),
        title="Networks",
        help="Networks behind this box, like 10.1.0.0/16.",
    )
    masquerade = FieldDocument(
        name="masquerade", kind="switch", default=True, value=True, title="Masquerade"
    )
    metric = FieldDocument(name="metric", kind="number", default=0, value=0, title="Metric")
    mode = FieldDocument(
        name="mode", kind="choice", default="fast", value="fast", choices=("fast", "careful")
    )
    fields = (networks, masquerade, metric, mode)
    return {
        "mesh": PluginDocument(
            name="mesh",
            title="Mesh",
            summary="The WireGuard device and its peers.",
            enabled=True,
            required=True,
        ),
        "subnet-router": PluginDocument(
            name="subnet-router",
            title="Subnet router",
            summary="Let the mesh reach networks behind this box.",
            enabled=False,
            fields=fields,
        ),
        "plain-wireguard": PLAIN_WIREGUARD,
        "exit-provider": PluginDocument(
            name="exit-provider",
            title="Exit provider",
            summary="Offers a provider's tunnel to the mesh.",
            enabled=False,
            fields=(FieldDocument(name="use", kind="text", default="", value="", title="Use"),),
        ),
    }


@dataclass(slots=True)
class FakeNode:
    """A NodeApi in memory.

    `up` with GOOD_KEY runs at once, with another key it is refused; without a
    key the third look at the status finds that somebody has approved it. Pings
    of "far" go by DERP first and become direct with the second; "away" never
    answers.
    """

    state: State = "Stopped"
    auth_url: str = ""
    notices: tuple[NoticeDocument, ...] = ()
    options: UpRequest = field(
        default_factory=lambda: UpRequest(
            login_server="https://mesh.example",
            hostname="gate",
            accept_routes=False,
            advertise_routes=(),
            advertise_tags=(),
            snat_subnet_routes=True,
        )
    )
    peers: tuple[PeerDocument, ...] = (_FAR, _AWAY)
    installed: dict[str, PluginDocument] = field(default_factory=_plugins)
    approved: tuple[str, ...] = ()
    domain: str = "mesh.example"
    relay_server: RelayServerDocument | None = None
    down_server: str = ""  # what is said of a coordination server that does not answer
    around: SurroundingsDocument = AROUND
    looks: int = 0
    approved_at: int = 3  # at which look a sign-in is found approved
    pings: int = 0
    asked: tuple[PingKind, int] = ("disco", 0)  # by the last ping
    logins: int = 0
    imported: dict[str, ProviderDocument] = field(default_factory=dict[str, ProviderDocument])

    async def version(self) -> VersionDocument:
        return VersionDocument(version="0.1.0", capability=130, python="3.11")

    async def status(self, *, peers: bool = True) -> Status:
        self.looks += 1
        if self.auth_url and self.looks >= self.approved_at:
            self._run()
        known = self.state == "Running"
        return Status(
            version="0.1.0",
            relay_server=self.relay_server,
            state=self.state,
            login_server=self.options.login_server or "",
            auth_url=self.auth_url,
            control_connected=known,
            domain=self.domain if known else "",
            node=replace(_ME, key=f"nodekey:{self.logins:064x}") if known else None,
            wireguard=WireGuardDocument(
                backend="wireguard-go", device="gatepost0", port=41641, mtu=1280
            ),
            derp=DerpDocument(home=900, name="lab", connected=known),
            routes=RoutesDocument(
                advertised=self.options.advertise_routes or (), approved=self.approved
            ),
            peers=self.peers if known and peers else (),
            notices=self.notices,
        )

    async def up(self, request: UpRequest) -> Status:
        await self.change_settings(request)
        self.looks, self.notices = 0, ()
        if self.down_server:
            self.state = "Starting"
            self.notices = (NoticeDocument(code="server-unreachable", text=self.down_server),)
        elif request.force_reauth and request.auth_key is None:
            self.auth_url = AUTH_URL  # the node goes on with its old key until then
        elif request.auth_key == GOOD_KEY or (self.state == "Stopped" and self.approved):
            self._run()
        elif request.auth_key is not None:
            self.state = "NeedsLogin"
            text = f"the server refused the auth key {request.auth_key[:4]}…: it is not known"
            self.notices = (NoticeDocument(code="login-refused", text=text, level="error"),)
        elif self.state != "Running":
            self.state, self.auth_url = "NeedsLogin", AUTH_URL
        return await self.status(peers=False)

    def _run(self) -> None:
        self.logins += 1
        self.state, self.auth_url = "Running", ""

    async def down(self) -> Status:
        self.state = "Stopped"
        return await self.status(peers=False)

    async def logout(self) -> Status:
        self.state = "NeedsLogin"
        return await self.status(peers=False)

    async def settings(self) -> UpRequest:
        return self.options

    async def change_settings(self, request: UpRequest) -> UpRequest:
        if self.state == "Running" and request.exit_node:
            self._peer(request.exit_node.lower())
        given = {name: value for name, value in asdict(request).items() if value is not None}
        given |= {"auth_key": None, "force_reauth": False}
        self.options = replace(self.options, **given)
        return self.options

    async def plan(self) -> tuple[ChangeDocument, ...]:
        if self.state != "Running":
            return ()
        change = ChangeDocument(
            action="add", kind="Route", text="10.9.0.0/16 table 52", plugins=("mesh",)
        )
        return (change,)

    async def explain(self, what: str) -> tuple[ReasonDocument, ...]:
        if what != "10.9.0.0/16":
            return ()
        reason = ReasonDocument(
            kind="Route", text="10.9.0.0/16 table 52", plugins=("mesh",), source="the netmap"
        )
        return (reason,)

    async def plugins(self) -> tuple[PluginDocument, ...]:
        return tuple(self.installed.values())

    async def change_plugin(self, name: str, request: PluginRequest) -> PluginDocument:
        if name not in self.installed:
            raise NotFoundError(f"there is no plugin {name!r}")
        changed = self.installed[name]
        if changed.required and request.enabled is False:
            raise SettingsError(f"{name} is required and cannot be switched off")
        if request.enabled is not None:
            changed = replace(changed, enabled=request.enabled)
        values = request.settings or {}
        if any(network == "bad" for network in values.get("networks") or ()):  # type: ignore[union-attr]  # a list
            raise SettingsError("networks: 'bad' is no network; write it like 10.1.0.0/16")
        fields = tuple(_changed(each, values) for each in changed.fields)
        self.installed[name] = replace(changed, fields=fields)
        return self.installed[name]

    def _peer(self, target: str) -> PeerDocument:
        names = {name: p for p in self.peers for name in (p.name, p.name.split(".")[0])}
        if target not in names:
            raise NotFoundError(f"no peer is called {target!r}", hint="see: gatepost status")
        return names[target]

    async def ping(
        self, target: str, seconds: float, kind: PingKind = "disco", size: int = 0
    ) -> PingDocument:
        peer = self._peer(target)
        self.asked = kind, size
        self.pings += 1
        if peer.online is False:
            return PingDocument(
                target=target,
                address=peer.addresses[0],
                latency=None,
                error=f"no answer within {seconds:g} s",
            )
        direct = self.pings > 1
        return PingDocument(
            target=target,
            address=peer.addresses[0],
            latency=0.012,
            path="direct" if direct else "derp",
            via=peer.endpoint if direct else "lab",
        )

    async def why(self, target: str, seconds: float) -> WhyDocument:
        peer = self._peer(target)
        name, address = target.split(".", maxsplit=1)[0], peer.addresses[0]
        if peer.online is False:
            finding = FindingDocument(
                code="peer-offline", text=f"{name} is not there.", fix="Wait.", level="error"
            )
            return WhyDocument(
                target=name,
                address=address,
                summary=f"{name} does not answer.",
                answered=False,
                findings=(finding,),
            )
        tried = TryDocument(
            path="direct",
            via=peer.endpoint,
            origin="the coordination server",
            pings=2,
            answers=1,
            pinged=min(seconds, 1.0),
            answered=1.0,
            latency=peer.latency,
        )
        return WhyDocument(
            target=name,
            address=address,
            summary=f"{name} is reached directly at {peer.endpoint}.",
            answered=True,
            path="direct",
            via=peer.endpoint,
            latency=peer.latency,
            tries=(tried,),
        )

    async def netcheck(self) -> NetcheckDocument:
        lab = RegionDocument(id=900, code="lab", name="Lab", latency=0.004)
        return NetcheckDocument(udp=True, ipv4="192.0.2.1:4242", preferred_derp=900, regions=(lab,))

    async def providers(self) -> tuple[ProviderDocument, ...]:
        settings = {f.name: f.value for f in self.installed["exit-provider"].fields}
        used = settings["use"] if self.installed["exit-provider"].enabled else ""
        return tuple(replace(p, used=p.name == used) for p in self.imported.values())

    async def import_provider(self, request: ProviderRequest) -> ProviderDocument:
        if "PostUp" in request.text:
            raise SettingsError("line 3: PostUp: it would run a program as root: remove the line")
        self.imported[request.name] = ProviderDocument(
            name=request.name, server="de.example:51820", carries=("IPv4", "IPv6")
        )
        return self.imported[request.name]

    async def remove_provider(self, name: str) -> None:
        if any(p.used for p in await self.providers() if p.name == name):
            raise RefusedError(f"{name} is in use", hint="gatepost exit-provider off")
        if self.imported.pop(name, None) is None:
            raise NotFoundError(f"no provider was imported as {name!r}")

    async def surroundings(self) -> SurroundingsDocument:
        return self.around

    async def lans(self) -> tuple[LanDocument, ...]:
        if self.state != "Running":
            return ()
        lan = LanDocument(
            network="10.1.0.0/24", via="10.1.0.5", routes=("10.9.0.0/16",), router="10.1.0.1"
        )
        return (lan, LanDocument(network="fd00:1::/64", via="fd00:1::5", routes=("fd00:9::/64",)))

    async def plain_wireguard(self) -> PlainWireGuardDocument:
        """Say what the settings of plain-wireguard hold; without networks it is not ready."""
        fields = self.installed["plain-wireguard"].fields
        return fake_guests({field.name: field.value for field in fields})

    async def wake(self, request: WakeRequestDocument) -> WakeDocument:
        """Know "nas" here and at "far"; the others wake nobody."""
        if request.site and request.site != "far":
            raise RefusedError(f"{request.site} wakes nobody", hint="grant it")
        if request.target != "nas":
            raise SettingsError(f"no machine here is called {request.target!r}")
        return WakeDocument(site=request.site, mac="00:11:22:33:44:55", links=("lan0",))

    async def return_path(self, target: str, seconds: float) -> ReturnPathDocument:
        """Say that 10.1.0.20 sends answers back, 10.1.0.30 elsewhere, and nobody else is there."""
        answer: dict[str, Literal["host", "none"]] = {"10.1.0.20": "host", "10.1.0.30": "none"}
        found = answer.get(target, "none")
        result = ReturnDocument(
            network="10.9.0.0/16",
            source="10.9.255.254",
            answer=found,
            latency=min(seconds, 0.001) if found == "host" else None,
        )
        return ReturnPathDocument(
            target=target, via="10.1.0.5", alive=target in answer, results=(result,)
        )


def _changed(
    known: FieldDocument, values: dict[str, str | int | float | bool | list[str] | None]
) -> FieldDocument:
    if known.name not in values:
        return known
    value = values[known.name]
    chosen = known.default if value is None else tuple(value) if isinstance(value, list) else value
    return replace(known, value=chosen)
