"""Values of the policy as documents of the administration API. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gatepost.coordination.policy.versions import difference, etag_of, text_of
from gatepost.coordination.records import PolicyVersion, Records
from gatepost.model.policy import (
    CheckDocument,
    PairDocument,
    PolicyDocument,
    PolicyVersionDocument,
    PreviewDocument,
    ProblemDocument,
    WarningDocument,
)
from gatepost.policy.compiled import Compiled
from gatepost.policy.default import DEFAULT_POLICY
from gatepost.policy.preview import Changes, Pair
from gatepost.policy.refusal import PolicyRefusedError, Warned
from gatepost.policy.warnings import warnings


def policy_document(records: Records, compiled: Compiled) -> PolicyDocument:
    """Return the policy in force with its warnings."""
    warned = warning_documents(warnings(compiled))
    if records.policy is None:
        text = text_of(records)
        return PolicyDocument(text=text, etag=etag_of(text), warnings=warned)
    return version_document(records.policy, warned)


def version_document(
    version: PolicyVersion, warned: tuple[WarningDocument, ...] = ()
) -> PolicyDocument:
    return PolicyDocument(
        text=version.text,
        etag=etag_of(version.text),
        version=version.id,
        author=version.author,
        created=version.created,
        note=version.note,
        warnings=warned,
    )


def check_document(compiled: Compiled) -> CheckDocument:
    policy = compiled.policy
    return CheckDocument(
        warnings=warning_documents(warnings(compiled)),
        tests=len(policy.tests) + len(policy.ssh_tests),
    )


def refusal_document(refusal: PolicyRefusedError) -> CheckDocument:
    problems = (
        ProblemDocument(message=p.message, line=p.place.line, column=p.place.column, hint=p.hint)
        for p in refusal.problems
    )
    return CheckDocument(problems=tuple(problems))


def warning_documents(warned: Iterable[Warned]) -> tuple[WarningDocument, ...]:
    return tuple(
        WarningDocument(code=w.code, message=w.message, line=w.place.line, column=w.place.column)
        for w in warned
    )


def preview_document(found: Changes, compiled: Compiled) -> PreviewDocument:
    return PreviewDocument(
        gained=_pairs(found.gained),
        lost=_pairs(found.lost),
        more_gained=found.more_gained,
        more_lost=found.more_lost,
        warnings=warning_documents(warnings(compiled)),
    )


def _pairs(pairs: Iterable[Pair]) -> tuple[PairDocument, ...]:
    return tuple(
        PairDocument(source=p.source, destination=p.destination, what=p.what) for p in pairs
    )


def history_documents(versions: Sequence[PolicyVersion]) -> list[PolicyVersionDocument]:
    """Return every version with what it changed, the newest first."""
    before = DEFAULT_POLICY
    documents: list[PolicyVersionDocument] = []
    for version in versions:
        old, new = f"version {version.id - 1}", f"version {version.id}"
        document = PolicyVersionDocument(
            version=version.id,
            etag=etag_of(version.text),
            author=version.author,
            created=version.created,
            note=version.note,
            diff=difference(before, version.text, old=old, new=new),
        )
        documents.append(document)
        before = version.text
    return documents[::-1]
