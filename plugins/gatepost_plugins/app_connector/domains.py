"""The domains of apps: names, and `*.` with a name for all that is below it."""

from __future__ import annotations

import re

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_LONGEST = 253  # characters, RFC 1035 section 3.1 without the final dot
_WILD = "*."


def parse_domain(text: str) -> str:
    """Return a domain in small letters; raise `ValueError` with the way out."""
    name = text.strip().rstrip(".").lower()
    bare = name.removeprefix(_WILD)
    labels = bare.split(".")
    if len(bare) > _LONGEST or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{text!r} is not a domain such as wiki.example or *.wiki.example")
    if len(labels) == 1 and name != bare:
        raise ValueError(f"{text!r} would be a whole top-level domain: name what is below it")
    return name


def suffix_of(domain: str) -> str:
    """Return the suffix under which all names of a domain are."""
    return domain.removeprefix(_WILD)
