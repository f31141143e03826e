"""A LAN with one gateway, in simulated seconds: it speaks what it is told to, well or badly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any, Generic, TypeVar
from typing import Protocol as Shape

from tests.sessions.paths_world import make_random

from gatepost.errors import WireError
from gatepost.model.gateway import AnyGateway, Gateway
from gatepost.model.netmap import Endpoint
from gatepost.sessions.portmap import PortMap
from gatepost.sessions.portmap_values import (
    Changed,
    Fetch,
    HttpReply,
    HttpRequest,
    Looked,
    Output,
    Protocol,
    SendTo,
)
from gatepost.wire import natpmp, pcp, upnp
from gatepost.wire.upnp import CONNECTIONS

US = Gateway(IPv4Address("192.168.1.1"), IPv4Address("192.168.1.2"), "eth0")
SERVICE = Endpoint(US.address, natpmp.PORT)
SEARCHED = Endpoint(US.address, upnp.SEARCH_PORT)
OUTSIDE = IPv4Address("198.18.0.9")
PORT = 41641
MAPPED = Endpoint(OUTSIDE, PORT)
PROTOCOLS = {"natpmp": Protocol.NAT_PMP, "pcp": Protocol.PCP, "upnp": Protocol.UPNP}
NONCE = b"n" * 12
FAULT = (
    "<Envelope><Body><Fault><detail><UPnPError><errorCode>{}</errorCode>"
    "<errorDescription>{}</errorDescription></UPnPError></detail></Fault></Body></Envelope>"
)
DESCRIPTION = (
    "<root><device><serviceList>{}</serviceList></device></root>",
    "<service><serviceType>{}</serviceType><controlURL>/c{}</controlURL></service>",
)


@dataclass
class FakeGateway:
    """A home router. `mapped` are the ports it sends on; its clock begins with it."""

    speaks: frozenset[str] = frozenset({"natpmp", "pcp", "upnp"})
    outside: IPv4Address = OUTSIDE
    lifetime: int | None = None  # what it grants, None is what was asked for
    result: int = 0  # what it refuses mappings with
    fault: int = 0  # the same by UPnP
    services: tuple[str, ...] = (CONNECTIONS[1],)
    mapped: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    taken: set[int] = field(default_factory=set[int])
    asked: list[str] = field(default_factory=list[str])
    began: float = 0.0
    is_down: bool = False
    epoch: Callable[[float], int] | None = None
    nonce: bytes | None = None  # that of another mapping
    page: HttpReply | None = None  # what it says to everything by HTTP
    has_page: bool = True  # or it says nothing at all
    http_port: int = 5000

    def seconds(self, now: float) -> int:
        return self.epoch(now) if self.epoch else int(now - self.began)

    def restart(self, now: float) -> None:
        """Forget everything."""
        self.mapped.clear()
        self.began = now

    def on_datagram(self, to: Endpoint, packet: bytes, now: float) -> list[tuple[bytes, Endpoint]]:
        """Return the answers and where they come from."""
        if self.is_down:
            return []
        if to == SERVICE:
            return [(answer, SERVICE) for answer in self._service(packet, now)]
        if "upnp" in self.speaks and upnp.GATEWAY_1.encode() in packet:
            location = f"LOCATION: http://{US.address}:{self.http_port}/root.xml\r\n\r\n"
            return [(f"HTTP/1.1 200 OK\r\nST: {upnp.GATEWAY_1}\r\n{location}".encode(), SEARCHED)]
        return []

    def _service(self, packet: bytes, now: float) -> list[bytes]:
        version = packet[0]
        if version == pcp.VERSION:
            return self._pcp(pcp.read_request(packet), now) if "pcp" in self.speaks else []
        return self._natpmp(natpmp.read_request(packet), now) if "natpmp" in self.speaks else []

    def _natpmp(self, request: natpmp.Request, now: float) -> list[bytes]:
        epoch = self.seconds(now)
        if isinstance(request, natpmp.AddressRequest):
            return [natpmp.write_answer(natpmp.AddressAnswer(epoch=epoch, address=self.outside))]
        self.asked.append("natpmp")
        if self.result:
            refusal = natpmp.Refusal(epoch=epoch, result=self.result, is_map=True)
            return [natpmp.write_answer(refusal)]
        mapped = natpmp.MapAnswer(
            epoch=epoch,
            internal=request.internal,
            external=self._map(request.external, request.internal, request.lifetime),
            lifetime=self._granted(request.lifetime),
        )
        return [natpmp.write_answer(mapped)]

    def _pcp(self, request: pcp.Request, now: float) -> list[bytes]:
        epoch = self.seconds(now)
        if isinstance(request, pcp.Announce):
            return [pcp.write_answer(pcp.Announced(epoch))]
        self.asked.append("pcp")
        external = 0
        if not self.result:
            external = self._map(request.external, request.internal, request.lifetime)
        mapped = pcp.Mapped(
            epoch=epoch,
            result=self.result,
            lifetime=self._granted(request.lifetime),
            nonce=self.nonce or request.nonce,
            internal=request.internal,
            external=external,
            address=self.outside,
        )
        return [pcp.write_answer(mapped)]

    def _granted(self, wished: int) -> int:
        return wished if self.lifetime is None else self.lifetime

    def _map(self, external: int, internal: int, lifetime: int) -> int:
        if lifetime == 0:
            for port in [p for p, (i, _) in self.mapped.items() if i == internal]:
                del self.mapped[port]
            return 0
        port = external
        while port in self.taken:
            port += 1
        self.mapped[port] = internal, lifetime
        return port

    def on_http(self, request: HttpRequest) -> HttpReply | None:
        """Return the reply to a description or a call."""
        if self.is_down or "upnp" not in self.speaks or not self.has_page:
            return None
        if request.address.port != self.http_port:
            return None
        if self.page is not None:
            return self.page
        if not request.action:
            whole, each = DESCRIPTION
            services = "".join(each.format(s, n) for n, s in enumerate(self.services))
            return HttpReply(200, whole.format(services).encode())
        action, arguments = upnp.read_call(request.body)
        self.asked.append(action)
        try:
            results = self._call(action, arguments)
        except LookupError as error:
            code, text = error.args
            return HttpReply(500, FAULT.format(code, text).encode())
        return HttpReply(200, upnp.write_call("urn:x", f"{action}Response", results)[1])

    def _call(self, action: str, arguments: Mapping[str, str]) -> Mapping[str, str]:
        port = int(arguments.get("NewExternalPort", "0"))
        match action:
            case "GetStatusInfo":
                return {"NewConnectionStatus": "Connected"}
            case "GetExternalIPAddress":
                return {"NewExternalIPAddress": str(self.outside)}
            case "GetSpecificPortMappingEntry" if port in self.mapped:
                return {
                    "NewInternalPort": str(self.mapped[port][0]),
                    "NewInternalClient": str(US.local),
                }
            case "DeletePortMapping" if port in self.mapped:
                del self.mapped[port]
                return {}
            case "AddPortMapping" | "AddAnyPortMapping":
                return self._add(action, arguments, port)
            case _:
                raise LookupError(714, "NoSuchEntryInArray")

    def _add(self, action: str, arguments: Mapping[str, str], port: int) -> Mapping[str, str]:
        lifetime = int(arguments["NewLeaseDuration"])
        if self.fault and not (self.fault == 725 and lifetime == 0):
            raise LookupError(self.fault, "refused")
        if port in self.taken and action == "AddPortMapping":
            raise LookupError(718, "ConflictInMappingEntry")
        port = self._map(port, int(arguments["NewInternalPort"]), lifetime or 1)
        return {"NewReservedPort": str(port)} if action == "AddAnyPortMapping" else {}


class Answering(Shape):
    """What a session can talk to."""

    def on_datagram(
        self, to: Endpoint, packet: bytes, now: float
    ) -> list[tuple[bytes, Endpoint]]: ...
    def on_http(self, request: HttpRequest) -> HttpReply | None: ...


Router = TypeVar("Router", bound=Answering)


@dataclass
class World(Generic[Router]):
    """A session and its gateway. `loss` says which packets to us are lost."""

    gateway: Router
    us: AnyGateway = US
    now: float = 1000.0
    loss: Callable[[bytes], bool] = lambda _: False
    upnp: bool = True
    changes: int = 0
    looks: int = 0
    sent: list[bytes] = field(default_factory=list[bytes])
    refused: list[str] = field(default_factory=list[str])
    slow: str = ""  # the action whose replies are still on their way
    waiting: list[Fetch] = field(default_factory=list[Fetch])

    def __post_init__(self) -> None:
        self.session = PortMap(
            self.us, PORT, nonce=NONCE, random_bytes=make_random(), now=self.now, upnp=self.upnp
        )
        self._deliver(self.session.take())

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.session.next_timer() <= end:
            self.now = max(self.now, self.session.next_timer())
            self.session.on_timer(self.now)
            self._deliver(self.session.take())
        self.now = end

    def hear(self, packet: bytes, source: Endpoint = SERVICE) -> None:
        """Let the session hear a packet; what it refuses is kept."""
        try:
            self.session.on_packet(packet, source, self.now)
        except WireError as error:
            self.refused.append(str(error))
        self._deliver(self.session.take())

    def announce(self, packet: bytes, source: Endpoint = SERVICE) -> None:
        """Let the session hear what was sent to all hosts."""
        try:
            self.session.on_announcement(packet, source, self.now)
        except WireError as error:
            self.refused.append(str(error))
        self._deliver(self.session.take())

    def do(self, outputs: list[Output]) -> None:
        """Do what a session asked for that is over."""
        for output in outputs:
            match output:
                case SendTo():
                    self.gateway.on_datagram(output.to, output.packet, self.now)
                case Fetch():
                    self.gateway.on_http(output.request)
                case Changed() | Looked():
                    pass

    @property
    def external(self) -> Endpoint | None:
        return self.session.external

    def _deliver(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case SendTo():
                    self.sent.append(output.packet)
                    for answer, source in self.gateway.on_datagram(
                        output.to, output.packet, self.now
                    ):
                        if not self.loss(answer):
                            self.hear(answer, source)
                case Fetch() if self.slow and self.slow in output.request.action:
                    self.waiting.append(output)
                case Fetch():
                    reply = self.gateway.on_http(output.request)
                    self.session.on_reply(output.number, reply, self.now)
                    self._deliver(self.session.take())
                case Changed():
                    self.changes += 1
                case Looked():
                    self.looks += 1


def make_world(*words: str, **traits: Any) -> World[FakeGateway]:  # whatever FakeGateway takes
    """Return a world two seconds after the session began; `words` are what the gateway speaks."""
    world = World(gateway=FakeGateway(speaks=frozenset(words), **traits))
    world.run(2.0)
    return world


def falling(now: float) -> int:
    """Return the seconds of a gateway whose clock runs backwards."""
    return int(1e6 - now)


def standing(_now: float) -> int:
    """Return the seconds of a gateway whose clock stands."""
    return 0
