"""The encrypted channel of the control protocol: Noise IK and its records.

Pattern `Noise_IK_25519_ChaChaPoly_BLAKE2s`; the prologue is the ASCII text
`Tailscale Control Protocol v<decimal version>`; both payloads are empty. All
lengths are big-endian and count what follows them.

Initiation, client to server, 101 bytes

     0  2  protocol version of the client; also in the prologue
     2  1  0x01
     3  2  96
     5 32  ephemeral public key
    37 48  machine public key, encrypted, with its tag
    85 16  tag of the empty payload

Response, server to client, 51 bytes

     0  1  0x02
     1  2  48
     3 32  ephemeral public key
    35 16  tag of the empty payload

Error instead of a response (not authenticated)

     0  1  0x03
     1  2  length n
     3  n  text

Record, both ways, at most 4096 bytes

     0  1  0x04
     1  2  length n, 16 to 4093
     3  n  ciphertext with its tag; the plaintexts form one stream of bytes

The nonce of record i is 4 zero bytes and i as 64 bits **big-endian**; the Noise
paper has it little-endian, so that only the first record would agree.

Sources: The Noise Protocol Framework, revision 34; protocol document 1.3.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from gatepost.errors import Malformed, RefusedError, Truncated, Unauthentic, WireError
from gatepost.model.keys import MachinePrivate, MachinePublic

PROTOCOL = b"Noise_IK_25519_ChaChaPoly_BLAKE2s"
INITIATION_LENGTH = 101  # bytes
RESPONSE_LENGTH = 51  # bytes
FRAME_LIMIT = 4096  # bytes of a whole record
PLAIN_LIMIT = FRAME_LIMIT - 3 - 16  # bytes of plaintext in one record

_INITIATION, _RESPONSE, _ERROR, _RECORD = 1, 2, 3, 4
_INITIATION_HEAD = struct.Struct(">HBH")
_HEAD = struct.Struct(">BH")
_NONCE = struct.Struct(">4xQ")
_FIRST_NONCE = bytes(12)
_LAST_COUNTER = 2**64 - 2  # the value above is reserved by Noise
_KEY = 32
_TAG = 16


class Transport:
    """Both directions after the handshake: bytes in, bytes out, in order.

    After any error the object is unusable: the connection must end.
    """

    __slots__ = ("_incoming", "_outgoing", "_received", "_sent", "_unread")

    def __init__(self, *, outgoing: bytes, incoming: bytes) -> None:
        """Take the two 32-byte keys of the split."""
        self._outgoing = ChaCha20Poly1305(outgoing)
        self._incoming = ChaCha20Poly1305(incoming)
        self._sent = 0
        self._received = 0
        self._unread = b""

    def seal(self, plain: bytes) -> bytes:
        """Return the records that carry `plain`: none for no bytes."""
        pieces: list[bytes] = []
        for start in range(0, len(plain), PLAIN_LIMIT):
            if self._sent > _LAST_COUNTER:
                raise WireError("the record counter is used up")
            piece = plain[start : start + PLAIN_LIMIT]
            sealed = self._outgoing.encrypt(_NONCE.pack(self._sent), piece, None)
            self._sent += 1
            pieces += (_HEAD.pack(_RECORD, len(sealed)), sealed)
        return b"".join(pieces)

    def open(self, arrived: bytes) -> bytes:
        """Return the plaintext of all records that are complete now; keep the rest.

        At most one incomplete record (4096 bytes) is kept. Raise `Malformed`
        for a wrong head, as soon as the head is there, and `Unauthentic` for a
        wrong tag.
        """
        buffer = self._unread + arrived if self._unread else arrived
        plain: list[bytes] = []
        start = 0
        while (length := _record_length(buffer, start)) is not None:
            end = start + _HEAD.size + length
            if end > len(buffer):
                break
            plain.append(self._open_one(buffer[start + _HEAD.size : end]))
            start = end
        self._unread = bytes(buffer[start:])
        return b"".join(plain)

    def _open_one(self, sealed: bytes) -> bytes:
        if self._received > _LAST_COUNTER:
            raise WireError("the record counter is used up")
        nonce = _NONCE.pack(self._received)
        self._received += 1
        try:
            return self._incoming.decrypt(nonce, sealed, None)
        except InvalidTag as error:
            raise Unauthentic(f"record {self._received - 1} has a wrong tag") from error


def _record_length(buffer: bytes, start: int) -> int | None:
    """Return the length behind the head at `start`, or None if the head is incomplete."""
    if len(buffer) <= start:
        return None
    if buffer[start] != _RECORD:
        raise Malformed(f"frame type {buffer[start]} is not a record ({_RECORD})")
    if len(buffer) < start + _HEAD.size:
        return None
    length: int = _HEAD.unpack_from(buffer, start)[1]
    if not _TAG <= length <= FRAME_LIMIT - _HEAD.size:
        raise Malformed(f"record length {length} is not {_TAG} to {FRAME_LIMIT - _HEAD.size}")
    return length


class Initiation:
    """The client's half of the handshake: `message` goes out, `finish` takes the answer."""

    __slots__ = ("_ephemeral", "_machine", "_state", "message")

    def __init__(
        self, machine: MachinePrivate, server: MachinePublic, version: int, ephemeral: bytes
    ) -> None:
        """Make the 101-byte `message`. `ephemeral` is 32 fresh random bytes."""
        self._machine = X25519PrivateKey.from_private_bytes(machine.raw)
        self._ephemeral = X25519PrivateKey.from_private_bytes(ephemeral)
        self._state = _Symmetric(version, server.raw)
        head = _INITIATION_HEAD.pack(version, _INITIATION, INITIATION_LENGTH - 5)
        own = self._state.mix_plain(self._ephemeral.public_key().public_bytes_raw())
        self._state.mix_shared(self._ephemeral, server.raw)
        sealed = self._state.seal(self._machine.public_key().public_bytes_raw())
        self._state.mix_shared(self._machine, server.raw)
        self.message = head + own + sealed + self._state.seal(b"")

    def finish(self, response: bytes) -> Transport:
        """Read the 51-byte response; call once.

        Raise `RefusedError` for the server's error message, `Malformed` and
        `Unauthentic` (a server without the expected key) for anything else.
        """
        if response[:1] == bytes([_ERROR]):
            raise RefusedError(_read_error(response))
        if len(response) != RESPONSE_LENGTH or _HEAD.unpack_from(response) != (
            _RESPONSE,
            RESPONSE_LENGTH - _HEAD.size,
        ):
            raise Malformed(f"{response[:3].hex()}… is not a handshake response")
        ephemeral = self._state.mix_plain(response[3 : 3 + _KEY])
        self._state.mix_shared(self._ephemeral, ephemeral)
        self._state.mix_shared(self._machine, ephemeral)
        self._state.open(response[3 + _KEY :])
        to_server, to_client = self._state.split()
        return Transport(outgoing=to_server, incoming=to_client)


def response_length(head: bytes) -> int:
    """Return how many bytes the server's first message has, from its first 3 bytes.

    Raise `Truncated` for fewer, `Malformed` if it is neither response nor error.
    """
    if len(head) < _HEAD.size:
        raise Truncated(f"{len(head)} of {_HEAD.size} bytes of the handshake response")
    kind, length = _HEAD.unpack_from(head)
    if kind == _ERROR or (kind == _RESPONSE and length == RESPONSE_LENGTH - _HEAD.size):
        return _HEAD.size + int(length)
    raise Malformed(f"{head[:3].hex()}… is not a handshake response")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The server's half, done: `response` (51 bytes) goes out before any record."""

    response: bytes
    transport: Transport
    machine: MachinePublic
    version: int


def initiation_version(message: bytes) -> int:
    """Return the version a client claims; raise `Malformed` if this is no initiation.

    The claim is authentic only once `respond` has accepted the message.
    """
    if len(message) != INITIATION_LENGTH:
        raise Malformed(f"a handshake initiation has {INITIATION_LENGTH} bytes, not {len(message)}")
    version, kind, length = _INITIATION_HEAD.unpack_from(message)
    if (kind, length) != (_INITIATION, INITIATION_LENGTH - 5):
        raise Malformed(f"{message[:5].hex()}… is not a handshake initiation")
    return int(version)


def respond(server: MachinePrivate, message: bytes, ephemeral: bytes) -> Accepted:
    """Answer an initiation of 101 bytes. `ephemeral` is 32 fresh random bytes.

    Raise `Malformed` for another layout and `Unauthentic` for a client that
    does not hold its key or does not know this server's.
    """
    version = initiation_version(message)
    static = X25519PrivateKey.from_private_bytes(server.raw)
    mine = X25519PrivateKey.from_private_bytes(ephemeral)
    state = _Symmetric(version, static.public_key().public_bytes_raw())
    theirs = state.mix_plain(message[5 : 5 + _KEY])
    state.mix_shared(static, theirs)
    machine = state.open(message[37:85])
    state.mix_shared(static, machine)
    state.open(message[85:])
    own = state.mix_plain(mine.public_key().public_bytes_raw())
    state.mix_shared(mine, theirs)
    state.mix_shared(mine, machine)
    response = _HEAD.pack(_RESPONSE, RESPONSE_LENGTH - _HEAD.size) + own + state.seal(b"")
    to_server, to_client = state.split()
    return Accepted(
        response=response,
        transport=Transport(outgoing=to_client, incoming=to_server),
        machine=MachinePublic(machine),
        version=version,
    )


def write_error(text: str) -> bytes:
    """Return the message that refuses a handshake. Never put the client's input into it."""
    raw = text.encode()[:0xFFFF]
    return _HEAD.pack(_ERROR, len(raw)) + raw


def _read_error(message: bytes) -> str:
    if len(message) < _HEAD.size:
        raise Truncated(f"{len(message)} of {_HEAD.size} bytes of the handshake error")
    length: int = _HEAD.unpack_from(message)[1]
    if len(message) != _HEAD.size + length:
        raise Malformed(f"the error text has {len(message) - _HEAD.size} bytes, not {length}")
    text = message[_HEAD.size :].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


class _Symmetric:
    """The running hash and chaining key of one handshake."""

    __slots__ = ("_chain", "_hash", "_key")

    def __init__(self, version: int, server: bytes) -> None:
        self._hash = hashlib.blake2s(PROTOCOL).digest()
        self._chain = self._hash
        self._key = b""
        self.mix_plain(b"Tailscale Control Protocol v%d" % version)
        self.mix_plain(server)

    def mix_plain(self, clear: bytes) -> bytes:
        """Bind what is sent in the clear; return it."""
        self._hash = hashlib.blake2s(self._hash + clear).digest()
        return clear

    def mix_shared(self, private: X25519PrivateKey, public: bytes) -> None:
        try:
            shared = private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError as error:  # a point of small order
            raise Unauthentic(f"the key {public.hex()} is of no use") from error
        self._chain, self._key = _derive(self._chain, shared)

    def seal(self, plain: bytes) -> bytes:
        sealed = ChaCha20Poly1305(self._key).encrypt(_FIRST_NONCE, plain, self._hash)
        return self.mix_plain(sealed)

    def open(self, sealed: bytes) -> bytes:
        try:
            plain = ChaCha20Poly1305(self._key).decrypt(_FIRST_NONCE, sealed, self._hash)
        except InvalidTag as error:
            raise Unauthentic("a handshake message has a wrong tag") from error
        self.mix_plain(sealed)
        return plain

    def split(self) -> tuple[bytes, bytes]:
        """Return the keys client to server and server to client, 32 bytes each."""
        return _derive(self._chain, b"")


def _derive(salt: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """HKDF with HMAC-BLAKE2s, two outputs (Noise, section 4.3)."""
    extracted = hmac.digest(salt, secret, "blake2s256")
    first = hmac.digest(extracted, b"\x01", "blake2s256")
    return first, hmac.digest(extracted, first + b"\x02", "blake2s256")
