"""The 32-byte keys of the mesh and their text forms.

Every key is an X25519 key. The text form is a prefix that names the role and
64 lower-case hexadecimal digits, as the official clients write it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import ClassVar, Self

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from gatepost.errors import Malformed

LENGTH = 32  # bytes


class Key:
    """A public key: `raw` is 32 bytes. Immutable; equal when role and bytes are equal.

    Not a dataclass, because the JSON codec would then write it as an object.
    """

    __slots__ = ("_raw",)
    prefix: ClassVar[str]

    def __init__(self, raw: bytes) -> None:
        if len(raw) != LENGTH:
            raise Malformed(f"a key has {LENGTH} bytes, not {len(raw)}")
        self._raw = raw

    @property
    def raw(self) -> bytes:
        return self._raw

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and type(self) is type(other) and self._raw == other._raw

    def __hash__(self) -> int:
        return hash(self._raw)

    def __lt__(self, other: Self) -> bool:
        return self._raw < other._raw

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._raw.hex()})"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form; raise `Malformed` for another prefix, length or digit."""
        head, _, digits = text.partition(":")
        if head != cls.prefix or len(digits) != 2 * LENGTH:
            raise Malformed(f"{text[:16]!r}… is not a key of the form {cls.prefix}:<64 hex digits>")
        try:
            return cls(bytes.fromhex(digits))
        except ValueError as error:
            raise Malformed(f"{text[:16]!r}… has a digit that is not hexadecimal") from error

    @classmethod
    def zero(cls) -> Self:
        """Return the key that stands for "none" on the wire."""
        return cls(bytes(LENGTH))

    @property
    def is_zero(self) -> bool:
        return self.raw == bytes(LENGTH)

    @property
    def base64(self) -> str:
        """The form that `wg` prints."""
        return base64.b64encode(self.raw).decode("ascii")

    def __str__(self) -> str:
        return f"{self.prefix}:{self.raw.hex()}"

    @property
    def short(self) -> str:
        """The first five characters of the base64 form in brackets, as logs show keys."""
        return f"[{self.base64[:5]}]"


class NodePublic(Key):
    """Names a node in the mesh; also its WireGuard key and its DERP address."""

    __slots__ = ()
    prefix = "nodekey"


class MachinePublic(Key):
    """Names a machine towards the coordination server (Noise static key)."""

    __slots__ = ()
    prefix = "mkey"


class DiscoPublic(Key):
    """Names a node's path discovery. Our node keeps it over a restart; official ones do not."""

    __slots__ = ()
    prefix = "discokey"


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private key; printing it never shows it. `raw` is 32 bytes."""

    prefix: ClassVar[str] = "privkey"
    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != LENGTH:
            raise Malformed(f"a key has {LENGTH} bytes, not {len(self.raw)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `privkey:<64 hex digits>`; the error never quotes the key."""
        head, _, digits = text.partition(":")
        try:
            if head != cls.prefix:
                raise ValueError(head)  # noqa: TRY301  # one message for both mistakes
            return cls(bytes.fromhex(digits))
        except ValueError as error:
            raise Malformed(
                f"not a private key of the form {cls.prefix}:<64 hex digits>"
            ) from error

    @property
    def public_raw(self) -> bytes:
        """The 32-byte public half."""
        return X25519PrivateKey.from_private_bytes(self.raw).public_key().public_bytes_raw()

    def reveal(self) -> str:
        """Return the text form for storage; nothing else may show it."""
        return f"{self.prefix}:{self.raw.hex()}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(hidden)"

    __str__ = __repr__


class NodePrivate(PrivateKey):
    __slots__ = ()

    @property
    def public(self) -> NodePublic:
        return NodePublic(self.public_raw)


class MachinePrivate(PrivateKey):
    __slots__ = ()

    @property
    def public(self) -> MachinePublic:
        return MachinePublic(self.public_raw)


class DiscoPrivate(PrivateKey):
    __slots__ = ()

    @property
    def public(self) -> DiscoPublic:
        return DiscoPublic(self.public_raw)


class PresharedKey(PrivateKey):
    """A secret that both ends of a WireGuard tunnel know, beside their keys."""

    __slots__ = ()
    prefix: ClassVar[str] = "psk"
