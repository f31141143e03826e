"""The client's side of one DERP connection, without sockets.

    state      waits for                 then
    UPGRADING  HTTP 101                  GREETING; with fast start nothing is waited for
    GREETING   ServerKey                 sends ClientInfo, WELCOME
    WELCOME    ServerInfo                READY: only now the region counts as connected
    READY      anything that a server sends

Packets are handed to `on_packet` one by one, everything else is an event.
Pings are answered here. Source: protocol document 3.1 and 3.2.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

import h11

from gatepost.errors import Malformed, RefusedError, Truncated
from gatepost.model.keys import LENGTH as KEY_LENGTH
from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.wire.box import SharedKeys
from gatepost.wire.derp import (
    HEADER_LENGTH,
    VERSION,
    read_frame,
    read_header,
    write_frame,
)
from gatepost.wire.derp_batch import PACKET_HEADER_LENGTH
from gatepost.wire.derp_frames import (
    ClientGreeting,
    ClientInfo,
    Frame,
    Health,
    Kind,
    PeerGone,
    PeerPresent,
    Ping,
    Pong,
    Restarting,
    ServerGreeting,
    ServerInfo,
    ServerKey,
)
from gatepost.wire.go_json import read_json, write_json

READ_TIMEOUT = 120.0  # seconds without a byte; a server sends a keep-alive every 60
_SWITCHING = 101  # HTTP status
_KNOWN_SOURCES = 4096
_HEAD_LIMIT = 16 << 10  # octets of HTTP answer


class State(enum.Enum):
    UPGRADING = enum.auto()
    GREETING = enum.auto()
    WELCOME = enum.auto()
    READY = enum.auto()


@dataclass(frozen=True, slots=True)
class Ready:
    """The server has accepted us: packets may flow."""

    server: NodePublic


Event = Ready | PeerGone | PeerPresent | Health | Restarting
OnPacket = Callable[[NodePublic, bytes], None]


class DerpSession:
    """One connection. `nonce` is 24 random bytes, `host` the name in the request.

    `mesh_key` is 64 hexadecimal digits if we are a server ourselves; `ideal` names
    the node of the region that we would rather have reached, if this is another.
    """

    def __init__(
        self,
        private: NodePrivate,
        *,
        host: str,
        nonce: bytes,
        on_packet: OnPacket,
        mesh_key: str = "",
        ideal: str = "",
    ) -> None:
        self._private = private
        self._mesh_key = mesh_key
        self._ideal = ideal
        self._boxes = SharedKeys(private, limit=1)
        self._nonce = nonce
        self._host = host
        self._on_packet = on_packet
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT)
        self._server = NodePublic.zero()
        self._rest = b""
        self._sources: dict[bytes, NodePublic] = {}
        self._events: list[Event] = []
        self._answers: list[bytes] = []
        self._fast = False  # nothing has come since a fast start
        self.state = State.UPGRADING

    def begin(self, *, fast: bool = False) -> bytes:
        """Return the request that opens the connection.

        `fast` asks for no HTTP answer: only for a server whose certificates say
        that it can do without, over TLS 1.3.
        """
        headers = [("Host", self._host), ("Upgrade", "DERP"), ("Connection", "Upgrade")]
        if self._ideal:
            headers.append(("Ideal-Node", self._ideal))
        if fast:
            headers.append(("Derp-Fast-Start", "1"))
            self._fast, self.state = True, State.GREETING
        request = h11.Request(method="GET", target="/derp", headers=headers)
        return self._http.send(request) + self._http.send(h11.EndOfMessage())

    def receive(self, data: bytes) -> tuple[list[Event], bytes]:
        """Take what the server sent; return what happened and what to answer at once.

        Raise `RefusedError` when the server does not speak DERP here, `WireError`
        when it speaks it wrongly: the connection is then over.
        """
        if self._fast and data[:1] == b"H":  # an answer all the same: a refusal, usually
            self.state = State.UPGRADING
        self._fast = False
        if self.state is State.UPGRADING:
            data = self._upgrade(data)
        buffer = self._rest + data if self._rest else data
        offset = self._read(buffer)
        self._rest = buffer[offset:]
        events, self._events = self._events, []
        answers, self._answers = self._answers, []
        return events, b"".join(answers)

    def _upgrade(self, data: bytes) -> bytes:
        self._http.receive_data(data)
        try:
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise Malformed(f"not an HTTP answer: {error}") from error
        if event is h11.NEED_DATA:
            return b""
        if isinstance(event, h11.ConnectionClosed):
            raise Truncated("the connection ended before the HTTP answer")
        if not isinstance(event, h11.InformationalResponse) or event.status_code != _SWITCHING:
            status = getattr(event, "status_code", "no status")
            raise RefusedError(f"{self._host} answers {status} to GET /derp: no relay is there")
        self.state = State.GREETING
        return bytes(self._http.trailing_data[0])

    def _read(self, buffer: bytes) -> int:
        offset, end = 0, len(buffer)
        while end - offset >= HEADER_LENGTH:
            kind, length = read_header(buffer, offset)
            stop = offset + HEADER_LENGTH + length
            if stop > end:
                break
            if kind == Kind.RECEIVE_PACKET and self.state is State.READY:
                if length < KEY_LENGTH:
                    raise Truncated(f"a DERP packet has at least {KEY_LENGTH} bytes, not {length}")
                source = buffer[offset + HEADER_LENGTH : offset + PACKET_HEADER_LENGTH]
                known = self._sources.get(source) or self._learn(source)
                self._on_packet(known, buffer[offset + PACKET_HEADER_LENGTH : stop])
            else:
                self._on_frame(read_frame(kind, buffer[offset + HEADER_LENGTH : stop]))
            offset = stop
        return offset

    def _learn(self, source: bytes) -> NodePublic:
        if len(self._sources) >= _KNOWN_SOURCES:
            self._sources.clear()
        return self._sources.setdefault(source, NodePublic(source))

    def _on_frame(self, frame: Frame) -> None:
        match self.state:
            case State.GREETING:
                self._on_greeting(frame)
            case State.WELCOME:
                self._on_welcome(frame)
            case State.READY | State.UPGRADING:
                self._on_notice(frame)

    def _on_greeting(self, frame: Frame) -> None:
        if not isinstance(frame, ServerKey):
            raise Malformed(f"a DERP server begins with its key, not with {type(frame).__name__}")
        self._server = frame.key
        greeting = ClientGreeting(version=VERSION, can_ack_pings=True, mesh_key=self._mesh_key)
        text = write_json(greeting)
        sealed = self._boxes.seal(self._server, text, self._nonce)
        self._answers.append(write_frame(ClientInfo(self._private.public, sealed)))
        self.state = State.WELCOME

    def _on_welcome(self, frame: Frame) -> None:
        if isinstance(frame, ServerInfo):
            read_json(self._boxes.open(self._server, frame.sealed), ServerGreeting)
            self.state = State.READY
            self._events.append(Ready(self._server))
            return
        self._on_notice(frame)

    def _on_notice(self, frame: Frame) -> None:
        match frame:
            case PeerGone() | PeerPresent() | Health() | Restarting():
                self._events.append(frame)
            case Ping(token):
                self._answers.append(write_frame(Pong(token)))
            case _:
                pass  # a keep-alive, or of a later version
