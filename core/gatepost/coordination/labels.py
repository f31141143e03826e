"""Makes DNS labels out of what machines call themselves (RFC 1123, 63 octets)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container

from gatepost.errors import RefusedError

LONGEST = 63  # octets of one label, RFC 1035 2.3.4
FALLBACK = "node"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SUFFIXES = (".local", ".lan", ".home", ".localdomain", ".internal")


def label_of(hostname: str) -> str:
    """Return the label nearest to a host name; `node` if nothing of it can stay."""
    name = hostname.strip().lower()
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    kept = re.sub(r"[^a-z0-9-]+", "-", ascii_name.replace("'", ""))
    return kept.strip("-")[:LONGEST].strip("-") or FALLBACK


def unique_label(wanted: str, taken: Container[str]) -> str:
    """Return `wanted`, or with -1, -2, … behind it the first that is not taken."""
    if wanted not in taken:
        return wanted
    number = 1
    while True:
        suffix = f"-{number}"
        candidate = wanted[: LONGEST - len(suffix)].rstrip("-") + suffix
        if candidate not in taken:
            return candidate
        number += 1


def check_label(name: str) -> str:
    """Return a chosen name in lower case; raise `RefusedError` if it is no label."""
    lowered = name.lower()
    if not _LABEL.fullmatch(lowered):
        raise RefusedError(
            f"{name!r} cannot be a machine name: use 1 to {LONGEST} letters, digits and hyphens, "
            "with no hyphen at either end"
        )
    return lowered
