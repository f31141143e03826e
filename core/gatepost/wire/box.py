"""The NaCl box that closes disco messages and the DERP greeting.

    offset  size  meaning
    0       24    nonce, random, never used twice with the same pair of keys
    24      16    Poly1305 tag
    40      n     text, encrypted with XSalsa20

X25519 gives both sides one shared key per pair. It costs about 40 µs, the
sealing itself 2 µs, so `SharedKeys` remembers it. Not to be confused with
Noise and WireGuard, whose cipher is ChaCha20. Source: NaCl `crypto_box`;
protocol document 2.1 and 3.2.
"""

from __future__ import annotations

from collections import OrderedDict

from nacl.bindings import crypto_box_afternm, crypto_box_beforenm, crypto_box_open_afternm
from nacl.exceptions import CryptoError

from gatepost.errors import Malformed, Truncated, Unauthentic
from gatepost.model.keys import Key, PrivateKey

NONCE_LENGTH = 24  # bytes
TAG_LENGTH = 16  # bytes
OVERHEAD = NONCE_LENGTH + TAG_LENGTH


class SharedKeys:
    """One private key, and the shared keys with those it talked to last.

    `limit` bounds the memory: the pair unused for longest is forgotten, and
    computed again when it comes back.
    """

    __slots__ = ("_known", "_limit", "_private")

    def __init__(self, private: PrivateKey, *, limit: int = 1024) -> None:
        self._private = private
        self._limit = limit
        self._known: OrderedDict[bytes, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def seal(self, peer: Key, text: bytes, nonce: bytes) -> bytes:
        """Return nonce, tag and encrypted text: `OVERHEAD` bytes longer than `text`.

        Raise `Unauthentic` for a public key that can share no secret (all zero,
        for one), and `Malformed` for a nonce that has not 24 bytes.
        """
        if len(nonce) != NONCE_LENGTH:
            raise Malformed(f"a box nonce has {NONCE_LENGTH} bytes, not {len(nonce)}")
        return nonce + crypto_box_afternm(text, nonce, self._shared(peer))

    def open(self, peer: Key, sealed: bytes) -> bytes:
        """Return the text; raise `Truncated` under 40 bytes, `Unauthentic` when it was altered."""
        if len(sealed) < OVERHEAD:
            raise Truncated(f"a box has at least {OVERHEAD} bytes, not {len(sealed)}")
        shared = self._shared(peer)
        try:
            return crypto_box_open_afternm(sealed[NONCE_LENGTH:], sealed[:NONCE_LENGTH], shared)
        except CryptoError as error:
            raise Unauthentic(f"the box from {peer.short} does not open") from error

    def _shared(self, peer: Key) -> bytes:
        known = self._known.get(peer.raw)
        if known is not None:
            self._known.move_to_end(peer.raw)
            return known
        try:
            shared = crypto_box_beforenm(peer.raw, self._private.raw)
        except CryptoError as error:
            raise Unauthentic(f"{peer.short} is not a usable public key") from error
        self._known[peer.raw] = shared
        if len(self._known) > self._limit:
            self._known.popitem(last=False)
        return shared
