"""A policy that comes from a file: taken when the server starts, if it can be.

A text that is refused leaves the policy of before in force, which is logged;
without one the server does not start, because the default lets everybody in.
"""

from __future__ import annotations

import logging
from pathlib import Path

from gatepost.coordination.database.store import Batch, Store
from gatepost.coordination.policy.versions import examine, put
from gatepost.coordination.records import Records
from gatepost.errors import SettingsError
from gatepost.policy.inventory import Inventory
from gatepost.policy.refusal import PolicyRefusedError

log = logging.getLogger(__name__)


def adopt(path: Path, store: Store, records: Records, inventory: Inventory, now: float) -> Records:
    """Bring the file's text into force and return the records with it.

    Raise `SettingsError` if there is no policy in force and the file has none either,
    `StateError` if it cannot be kept.
    """
    try:
        text = path.read_text("utf-8")
        examine(text, inventory)
    except (OSError, UnicodeDecodeError, PolicyRefusedError) as error:
        if records.policy is None:
            raise SettingsError(f"policy-file {path}: {error}") from error
        log.error(  # noqa: TRY400  # the text says all
            "policy-file %s is not taken, version %d stays in force: %s",
            path,
            records.policy.id,
            error,
        )
        return records
    decision = put(records, text, etag="", author=str(path), note="", now=now)
    if not decision.edits:
        return records
    records = records.after(decision.edits)
    batch = Batch()
    batch.add(decision.edits, records.counters)
    store.write(batch)
    return records
