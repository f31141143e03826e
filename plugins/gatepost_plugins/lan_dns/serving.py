"""The service: answers with the box's resolver, and reads the block lists again each day."""

from __future__ import annotations

import asyncio
import logging
import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

from gatepost.api import IPNetwork, NameView, ServiceContext, Watch
from gatepost.errors import Malformed
from gatepost.sessions.dns_block import read_block_list

log = logging.getLogger(__name__)

AGAIN = 86400.0  # seconds until lists are read again
SOON = 600.0  # seconds until a list is tried again that could not be read
PATIENCE = 30.0  # seconds without anything of a list coming
LARGEST = 16 << 20  # bytes of a list


@dataclass(frozen=True, slots=True)
class WatchLists(Watch[tuple[str, ...]]):
    """What is wrong with the block lists, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Who is answered, and the lists: paths, or https:// addresses."""

    sources: tuple[IPNetwork, ...]
    lists: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"answers {', '.join(map(str, self.sources))}, {len(self.lists)} block lists"


def check_list(text: str) -> None:
    """Raise `ValueError` for what is neither a path nor an address of a list."""
    if "://" in text:
        parts = urlsplit(text)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError(f"{text!r} is not the address of a list: write https://…")
    elif not text.startswith("/"):
        raise ValueError(f"{text!r} is not a list: write the whole path of a file, or https://…")


async def serve(context: ServiceContext, parameters: Parameters) -> None:
    """Answer until cancelled. A list that cannot be read blocks what it blocked before."""
    known = dict[str, frozenset[str]]()
    if not parameters.lists:
        await context.answer_names(NameView(sources=parameters.sources))
        return
    # Hosts shall not wait for a list that comes slowly, or from a name that they would ask us for.
    pause = await _answer_while(context, parameters, frozenset(), known)
    while True:
        blocked = frozenset[str]().union(*known.values())
        view = NameView(sources=parameters.sources, blocked=blocked)
        try:
            async with asyncio.timeout(pause):
                await context.answer_names(view)
        except TimeoutError:
            pause = await _answer_while(context, parameters, blocked, known)


async def _answer_while(
    context: ServiceContext,
    parameters: Parameters,
    blocked: frozenset[str],
    known: dict[str, frozenset[str]],
) -> float:
    """Read the lists and go on answering; return the seconds until they are to be read again."""
    view = NameView(sources=parameters.sources, blocked=blocked)
    problems = list[str]()
    async with asyncio.TaskGroup() as group:
        answering = group.create_task(context.answer_names(view), name="lan-dns")
        for name in parameters.lists:
            try:
                known[name] = await asyncio.to_thread(_read, name)
                log.info("block list %s: %d names", name, len(known[name]))
            except (OSError, URLError, Malformed, ValueError) as error:
                problems.append(f"{name}: {error}")
        answering.cancel()
    await context.answer(WatchLists(), tuple(problems))
    return SOON if problems else AGAIN


def _read(name: str) -> frozenset[str]:
    """Read one list. Blocks."""
    if name.startswith("https://"):
        context = ssl.create_default_context()
        with urllib.request.urlopen(name, timeout=PATIENCE, context=context) as reply:  # noqa: S310  # https alone
            raw: bytes = reply.read(LARGEST + 1)
    else:
        with Path(name).open("rb") as file:
            raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise Malformed(f"it has over {LARGEST >> 20} MiB")
    return read_block_list(raw.decode("utf-8", "replace")).names
