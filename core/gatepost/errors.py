"""The tree of errors: one class per thing that the caller can do about it.

GatepostError
├── SettingsError        the operator gave a wrong value: show the text, change nothing
├── WireError            the other side sent something wrong: drop the message or the connection
│   ├── Truncated        more bytes are needed than there are
│   ├── Malformed        the bytes contradict the format
│   └── Unauthentic      a signature, tag or key is not the right one
├── RefusedError         the other side understood and said no: show its reason
├── UnreachableError     nobody answered: try again later
└── StateError           what is stored is unusable: the text says which file and the way out
"""

from __future__ import annotations


class GatepostError(Exception):
    """The root of all errors that Gatepost raises on purpose."""


class SettingsError(GatepostError):
    """A value from the operator is wrong; the text names the value and the way out."""


class WireError(GatepostError):
    """Bytes from outside are not what the format asks for."""


class Truncated(WireError):  # noqa: N818  # named for what happened, as its siblings are
    """The bytes end before the value does."""


class Malformed(WireError):  # noqa: N818
    """The bytes contradict the format."""


class Unauthentic(WireError):  # noqa: N818
    """A tag, signature or key is not the right one."""


class RefusedError(GatepostError):
    """The other side understood the request and refused it; the text is its reason."""


class UnreachableError(GatepostError):
    """Nobody answered in time."""


class StateError(GatepostError):
    """Stored state cannot be used."""
