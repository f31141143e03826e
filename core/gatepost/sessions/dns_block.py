"""Reads lists of names that shall have no addresses. Pure.

Three forms are understood, one name a line, and nothing else:

    0.0.0.0 ads.example       as in /etc/hosts, also with 127.0.0.1, :: and ::1
    ads.example               the name alone
    ||ads.example^            as in lists for browsers

What is behind "#" or begins with "!" is a remark. A name takes those under it with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gatepost.errors import Malformed

MOST_NAMES = 500_000  # of one list; each costs about 130 bytes
MOST_WRONG = 0.1  # part of a list's lines that may be of another form
_NOWHERE = frozenset({"0.0.0.0", "127.0.0.1", "::", "::1"})  # where such names lead to
_NAME = re.compile(
    r"(?=.{4,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]"
)
# Every hosts file has these, and they are nobody's to block.
_USUAL = frozenset({
    "localhost", "localhost.localdomain", "local", "broadcasthost", "0.0.0.0", "ip6-localhost",
    "ip6-loopback", "ip6-localnet", "ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters",
    "ip6-allhosts",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class BlockList:
    """The names of a list; `wrong` lines were left out, `example` is the first of them."""

    names: frozenset[str]
    wrong: int = 0
    example: str = ""


def read_block_list(text: str) -> BlockList:
    """Read a list; raise `Malformed` for what is none, or for one that is too long."""
    names, wrong, example = set[str](), 0, ""
    for line in text.splitlines():
        found = tuple(_names(line))
        names.update(n for n in found if n)
        if len(names) > MOST_NAMES:
            raise Malformed(f"the list has over {MOST_NAMES} names")
        if None in found:
            wrong, example = wrong + 1, example or line.strip()[:80]
    if not names:
        raise Malformed("there is no name in the list" + (f": {example!r}" if example else ""))
    if wrong > MOST_WRONG * (len(names) + wrong):
        raise Malformed(f"{wrong} lines are no names, such as {example!r}: this is no list of them")
    return BlockList(frozenset(names), wrong, example)


def _names(line: str) -> Iterator[str | None]:
    """Yield the names of a line, and None for what is none."""
    rest = line.partition("#")[0].strip().lower()
    if not rest or rest.startswith(("!", "[adblock")):
        return
    if rest.startswith("||") and rest.endswith("^"):
        rest = rest[2:-1]
    first, *others = rest.split()
    words = others if first in _NOWHERE and others else [first, *others][:2]
    if first not in _NOWHERE and others:  # two words that are no line of a hosts file
        yield None
        return
    for word in words:
        name = word.rstrip(".")
        if name not in _USUAL:
            yield name if _NAME.fullmatch(name) else None
