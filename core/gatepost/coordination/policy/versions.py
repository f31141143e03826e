"""What may become the policy, and how one version follows another. Pure.

A text is taken only if it can be read, fits the tailnet, and passes its own
tests; `examine` says so, and may take seconds. Whoever changes the policy names
the text they have seen (`etag`), so that two administrators at once lose nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from difflib import unified_diff

from gatepost.coordination.ledger import Decision
from gatepost.coordination.records import PolicyVersion, PutPolicy, Records
from gatepost.errors import NotFoundError, RefusedError, SettingsError
from gatepost.policy.compiled import Compiled
from gatepost.policy.default import DEFAULT_POLICY
from gatepost.policy.domains import check_domains
from gatepost.policy.inventory import Inventory, Role
from gatepost.policy.read import read
from gatepost.policy.relays import check_relays
from gatepost.policy.trial import prove

LONGEST_NOTE = 500  # characters
_ETAG_LENGTH = 32  # hexadecimal characters of SHA-256


def etag_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_ETAG_LENGTH]


def text_of(records: Records) -> str:
    """Return the policy in force; the default one if none was ever set."""
    return DEFAULT_POLICY if records.policy is None else records.policy.text


def examine(text: str, inventory: Inventory) -> Compiled:
    """Return a policy compiled; raise `PolicyRefusedError` with every reason why not."""
    policy = read(text)
    check_domains(policy, domains_of(inventory)).settle()
    check_relays(policy)
    prove(policy, inventory)
    return Compiled.of(policy, inventory)


def domains_of(inventory: Inventory) -> frozenset[str]:
    """Return the domains that belong to the tailnet: those of its owners, or else of everybody."""
    members = inventory.members.values()
    owners = {m.domain.casefold() for m in members if m.role is Role.OWNER} - {""}
    return frozenset(owners or ({m.domain.casefold() for m in members} - {""}))


def put(
    records: Records, text: str, *, etag: str, author: str, note: str, now: float
) -> Decision[int]:
    """Decide on a text that was examined. The answer is the number of the version in force."""
    _check_etag(records, etag)
    if len(note) > LONGEST_NOTE or not note.isprintable():
        raise SettingsError(f"a note has up to {LONGEST_NOTE} printable characters")
    if records.policy is not None and records.policy.text == text:
        return Decision(records.policy.id)
    version = PolicyVersion(
        id=records.counters.policy, text=text, author=author, created=now, note=note
    )
    return Decision(version.id, (PutPolicy(version),))


def _check_etag(records: Records, etag: str) -> None:
    if etag and etag != etag_of(text_of(records)):
        current = records.policy
        who = f"version {current.id} by {current.author}" if current else "the default policy"
        raise RefusedError(
            f"the policy has changed since: {who} is in force now",
            hint="get it again, and make your change there",
        )


def earlier(versions: Iterable[PolicyVersion], wanted: int) -> PolicyVersion:
    """Return the version with this number; 0 is the one before the newest.

    Before the first there was the default policy, which has the number 0 everywhere.
    """
    ordered = sorted(versions, key=lambda v: v.id)
    if not wanted:
        if not ordered:
            raise NotFoundError("there is no earlier version of the policy: it was never set")
        built_in = PolicyVersion(id=0, text=DEFAULT_POLICY, author="", created=0.0, note="")
        return (built_in, *ordered)[-2]
    for version in ordered:
        if version.id == wanted:
            return version
    raise NotFoundError(
        f"there is no version {wanted} of the policy",
        hint="`gatepost admin policy history` lists them",
    )


def difference(before: str, after: str, *, old: str, new: str) -> str:
    """Return a unified diff; "" if the texts are the same."""
    lines = unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), old, new
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
