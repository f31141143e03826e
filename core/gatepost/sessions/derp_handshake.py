"""The server's part of a DERP greeting: the client proves that it holds its key.

    server                               client
      ServerKey          ───────────>
                         <───────────    ClientInfo, sealed for the server by the client's key
      (admission)
      ServerInfo         ───────────>    now the client counts as connected

Source: protocol document 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.errors import Malformed
from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.wire.box import SharedKeys
from gatepost.wire.derp import HEADER_LENGTH, VERSION, read_frame, read_header, write_frame
from gatepost.wire.derp_frames import (
    ClientGreeting,
    ClientInfo,
    ServerGreeting,
    ServerInfo,
    ServerKey,
)
from gatepost.wire.go_json import read_json, write_json

DEADLINE = 10.0  # seconds for the whole greeting
GREETING_LIMIT = 16 << 10  # bytes; official clients send 150


@dataclass(frozen=True, slots=True)
class Hello:
    """A client that has proved that it holds the private half of `key`."""

    key: NodePublic
    greeting: ClientGreeting


class ServerHandshake:
    """One server's side of all greetings; what one client sent so far is the caller's."""

    def __init__(self, private: NodePrivate) -> None:
        self._public = private.public
        self._boxes = SharedKeys(private)

    @property
    def public(self) -> NodePublic:
        return self._public

    def greeting(self) -> bytes:
        """Return the frame that the server begins with."""
        return write_frame(ServerKey(self._public))

    def read_hello(self, received: bytes) -> tuple[Hello, int] | None:
        """Return the client and the length of its greeting, None while it is not whole.

        Raise `WireError` for anything but a greeting that opens.
        """
        if len(received) < HEADER_LENGTH:
            return None
        kind, length = read_header(received)
        if length > GREETING_LIMIT:
            raise Malformed(f"a DERP greeting of {length} bytes is over {GREETING_LIMIT}")
        end = HEADER_LENGTH + length
        frame = read_frame(kind, received[HEADER_LENGTH:end]) if len(received) >= end else None
        if frame is None:
            return None
        if not isinstance(frame, ClientInfo):
            raise Malformed(f"DERP frame {kind:02x} before the greeting")
        greeting = read_json(self._boxes.open(frame.key, frame.sealed), ClientGreeting)
        if greeting.version < VERSION:
            raise Malformed(f"DERP version {greeting.version} is older than {VERSION}")
        return Hello(frame.key, greeting), end

    def welcome(self, client: NodePublic, nonce: bytes) -> bytes:
        """Return the frame that ends the greeting; `nonce` is 24 random bytes."""
        text = write_json(ServerGreeting(version=VERSION))
        return write_frame(ServerInfo(self._boxes.seal(client, text, nonce)))
