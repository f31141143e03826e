"""The text protocol of user-space WireGuard (cross-platform UAPI): text to values, no sockets.

    get=1 LF LF                        ->  key=value LF … errno=0 LF LF
    set=1 LF key=value LF … LF         ->  errno=0 LF LF

Keys are hexadecimal, times in seconds since 1970. `public_key` begins a peer; what
follows is about that peer. Source: wireguard.com/xplatform, read strictly: an
unknown key, a value out of range or a missing errno is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from gatepost.errors import Malformed
from gatepost.linux.wireguard_state import DeviceState, DeviceUpdate, PeerState, PeerUpdate
from gatepost.model.keys import NodePrivate, NodePublic, PresharedKey
from gatepost.model.netmap import Endpoint, IPNetwork

GET = b"get=1\n\n"
END = b"\n\n"
NO_KEY = "0" * 64


def write_set(update: DeviceUpdate, peers: Sequence[PeerUpdate]) -> bytes:
    """Return one transaction with everything in it, in order."""
    lines = ["set=1", *_device_lines(update)]
    for peer in peers:
        lines.extend(_peer_lines(peer))
    return ("\n".join(lines) + "\n\n").encode("ascii")


def _device_lines(update: DeviceUpdate) -> Iterator[str]:
    if update.private_key is not None:
        yield f"private_key={update.private_key.raw.hex()}"
    if update.port is not None:
        yield f"listen_port={update.port}"
    if update.mark is not None:
        yield f"fwmark={update.mark}"


def _peer_lines(peer: PeerUpdate) -> Iterator[str]:
    yield f"public_key={peer.public_key.raw.hex()}"
    if peer.remove:
        yield "remove=true"
        return
    if peer.create:
        yield f"preshared_key={peer.preshared.raw.hex() if peer.preshared else NO_KEY}"
        yield f"persistent_keepalive_interval={peer.keepalive}"
    else:
        yield "update_only=true"
    if peer.endpoint is not None:
        yield f"endpoint={peer.endpoint}"
    if peer.replace:
        yield "replace_allowed_ips=true"
    for prefix in peer.allowed:
        yield f"allowed_ip={prefix}"


@dataclass(slots=True)
class _Peer:
    """A peer while its lines are being read."""

    public_key: NodePublic
    endpoint: Endpoint | None = None
    handshake: float = 0.0
    received: int = 0
    sent: int = 0
    allowed: list[IPNetwork] = field(default_factory=list[IPNetwork])
    preshared: PresharedKey | None = None
    keepalive: int = 0

    def done(self) -> PeerState:
        return PeerState(
            public_key=self.public_key,
            endpoint=self.endpoint,
            last_handshake=self.handshake or None,
            received=self.received,
            sent=self.sent,
            allowed=frozenset(self.allowed),
            preshared=self.preshared,
            keepalive=self.keepalive,
        )


class Reading:
    """Reads the lines of one answer; `errno` is None until the answer said it."""

    def __init__(self) -> None:
        self.errno: int | None = None
        self._private: NodePrivate | None = None
        self._port = 0
        self._mark = 0
        self._peers: list[_Peer] = []

    def line(self, line: str) -> None:
        key, equals, value = line.partition("=")
        if not equals or self.errno is not None:
            raise Malformed(f"WireGuard said {line[:40]!r}, which is not key=value")
        try:
            if key in _DEVICE_KEYS:
                _DEVICE_KEYS[key](self, value)
            elif key in _PEER_KEYS and self._peers:
                _PEER_KEYS[key](self._peers[-1], value)
            else:
                raise Malformed(f"WireGuard said {key[:40]!r}, which is unknown or out of place")
        except ValueError as error:
            raise Malformed(f"WireGuard said {key}={value[:60]!r}: {error}") from error

    def device(self) -> DeviceState:
        return DeviceState(
            private_key=self._private,
            port=self._port,
            mark=self._mark,
            peers=tuple(p.done() for p in self._peers),
        )

    def on_private_key(self, value: str) -> None:
        self._private = NodePrivate(_key(value)) if value != NO_KEY else None

    def on_port(self, value: str) -> None:
        self._port = _number(value, 0xFFFF)

    def on_mark(self, value: str) -> None:
        self._mark = _number(value, 0xFFFFFFFF)

    def on_errno(self, value: str) -> None:
        self.errno = _number(value.removeprefix("-"), 0xFFFF)

    def on_peer(self, value: str) -> None:
        self._peers.append(_Peer(NodePublic(_key(value))))


def _on_preshared(peer: _Peer, value: str) -> None:
    peer.preshared = PresharedKey(_key(value)) if value != NO_KEY else None


def _on_keepalive(peer: _Peer, value: str) -> None:
    peer.keepalive = _number(value, 0xFFFF)


def _on_endpoint(peer: _Peer, value: str) -> None:
    host, _, port = value.rpartition(":")
    peer.endpoint = Endpoint(ip_address(host.strip("[]")), _number(port, 0xFFFF))


def _on_seconds(peer: _Peer, value: str) -> None:
    peer.handshake += _number(value, 1 << 40)


def _on_nanoseconds(peer: _Peer, value: str) -> None:
    peer.handshake += _number(value, 10**9) / 1e9


def _on_received(peer: _Peer, value: str) -> None:
    peer.received = _number(value, 1 << 64)


def _on_sent(peer: _Peer, value: str) -> None:
    peer.sent = _number(value, 1 << 64)


def _on_allowed(peer: _Peer, value: str) -> None:
    peer.allowed.append(ip_network(value))


def _on_version(_: _Peer, value: str) -> None:
    _number(value, 0xFFFFFFFF)


_DEVICE_KEYS: dict[str, Callable[[Reading, str], None]] = {
    "private_key": Reading.on_private_key,
    "listen_port": Reading.on_port,
    "fwmark": Reading.on_mark,
    "errno": Reading.on_errno,
    "public_key": Reading.on_peer,
}
_PEER_KEYS: dict[str, Callable[[_Peer, str], None]] = {
    "preshared_key": _on_preshared,
    "persistent_keepalive_interval": _on_keepalive,
    "endpoint": _on_endpoint,
    "last_handshake_time_sec": _on_seconds,
    "last_handshake_time_nsec": _on_nanoseconds,
    "rx_bytes": _on_received,
    "tx_bytes": _on_sent,
    "allowed_ip": _on_allowed,
    "protocol_version": _on_version,
}


def read_answer(answer: bytes) -> tuple[int, DeviceState]:
    """Read a whole answer; return its errno (0 is success) and the device; raise `Malformed`."""
    if not answer.endswith(END):
        raise Malformed("WireGuard's answer does not end")
    reading = Reading()
    try:
        lines = answer[: -len(END)].decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise Malformed("WireGuard's answer is not ASCII") from error
    for line in lines:
        reading.line(line)
    if reading.errno is None:
        raise Malformed("WireGuard's answer has no errno")
    return reading.errno, reading.device()


def _key(value: str) -> bytes:
    raw = bytes.fromhex(value)
    if len(raw) != 32:  # noqa: PLR2004  # every key
        raise ValueError(f"a key has 32 bytes, not {len(raw)}")
    return raw


def _number(value: str, limit: int) -> int:
    if not value.isascii() or not value.isdigit() or int(value) > limit:
        raise ValueError(f"not a number up to {limit}")
    return int(value)
