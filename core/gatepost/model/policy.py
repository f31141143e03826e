"""The documents of the administration API that are about the policy.

Lines and columns count from 1. Times are seconds since 1970 (UTC). An `etag` is
the hash of a policy's text; who changes the policy names the one they have seen.
"""

from __future__ import annotations

import msgspec

from gatepost.model.status import Document


class ProblemDocument(Document, frozen=True, kw_only=True):
    """Why a policy is not taken."""

    message: str
    line: int
    column: int
    hint: str = ""


class WarningDocument(Document, frozen=True, kw_only=True):
    """What is allowed and yet hardly meant; `code` is stable."""

    code: str
    message: str
    line: int
    column: int


class PolicyDocument(Document, frozen=True, kw_only=True):
    """The policy in force. `version` 0: never set, so the text is the default one."""

    text: str  # HuJSON, byte for byte
    etag: str
    version: int = 0
    author: str = ""
    created: float | None = None
    note: str = ""
    warnings: tuple[WarningDocument, ...] = ()


class PolicyRequest(Document, frozen=True, kw_only=True):
    """Check, preview or set a policy. `etag` "": whatever is in force may be replaced."""

    text: str
    etag: str = ""
    note: str = ""


class UndoRequest(Document, frozen=True, kw_only=True):
    """Bring an older version back, as a new one; 0: the one before the current."""

    version: int = 0
    etag: str = ""


class CheckDocument(Document, frozen=True, kw_only=True):
    """Whether a policy would be taken; `tests` is how many of its own tests were run."""

    problems: tuple[ProblemDocument, ...] = ()
    warnings: tuple[WarningDocument, ...] = ()
    tests: int = 0


class PairDocument(Document, frozen=True, kw_only=True):
    """What a source may do at a destination: "tcp:22", "ssh as root", a capability."""

    source: str
    destination: str
    what: str


class PreviewDocument(Document, frozen=True, kw_only=True):
    """What another policy would change. `more_...` are not listed, because they are too many."""

    gained: tuple[PairDocument, ...] = ()
    lost: tuple[PairDocument, ...] = ()
    more_gained: int = 0
    more_lost: int = 0
    warnings: tuple[WarningDocument, ...] = ()


class PolicyVersionDocument(Document, frozen=True, kw_only=True):
    """One version. `diff` is against the version before it, in the unified format."""

    version: int
    etag: str
    author: str
    created: float
    note: str = ""
    diff: str = ""


class CanRequest(Document, frozen=True, kw_only=True):
    """Ask whether a source may send to a port, or sign in over SSH as a user of the machine.

    Ends are a node's name, an address, or what a policy may name (user, group, tag, host).
    """

    source: str
    destination: str
    port: int = 0
    protocol: str = ""  # "": TCP
    login: str = ""  # ask about SSH as this user instead


class MeaningDocument(Document, frozen=True, kw_only=True):
    """What a name in a rule stands for now."""

    name: str
    nodes: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


class RuleDocument(Document, frozen=True, kw_only=True):
    """A rule that says yes, and where it stands in the policy."""

    section: str
    number: int  # in its section, from 1
    line: int
    column: int
    action: str = "accept"  # SSH: or "check"
    meanings: tuple[MeaningDocument, ...] = ()


class EndsDocument(Document, frozen=True, kw_only=True):
    source: str
    destination: str
    allowed: bool


class CanDocument(Document, frozen=True, kw_only=True):
    """The answer. `pairs` are the ends that were asked about, with each one's answer."""

    allowed: bool
    reason: str
    pairs: tuple[EndsDocument, ...] = ()
    rules: tuple[RuleDocument, ...] = ()
    capabilities: dict[str, tuple[str, ...]] = msgspec.field(
        default_factory=dict[str, tuple[str, ...]]
    )  # with their values as JSON
