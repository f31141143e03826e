"""The tree of errors: one class per thing that the caller can do about it.

GatepostError
├── SettingsError        the operator gave a wrong value: show the text, change nothing
│   └── NotFoundError    the operator named something that does not exist
├── WireError            the other side sent something wrong: drop the message or the connection
│   ├── Truncated        more bytes are needed than there are
│   ├── Malformed        the bytes contradict the format
│   └── Unauthentic      a signature, tag or key is not the right one
├── RefusedError         the other side understood and said no: show its reason
│   └── DeniedError      whoever asks may not: show how they could be allowed
├── UnreachableError     nobody answered: try again later
└── StateError           what is stored is unusable: the text says which file and the way out
"""

from __future__ import annotations


class GatepostError(Exception):
    """The root of all errors that Gatepost raises on purpose; `hint` is the way out, if any."""

    def __init__(self, *values: object, hint: str = "") -> None:
        super().__init__(*values)
        self.hint = hint


class SettingsError(GatepostError):
    """A value from the operator is wrong; the text names the value and the way out."""


class NotFoundError(SettingsError):
    """The operator named something that does not exist."""


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


class DeniedError(RefusedError):
    """Whoever asks may not do this."""


class UnreachableError(GatepostError):
    """Nobody answered in time."""


class StateError(GatepostError):
    """Stored state cannot be used."""
