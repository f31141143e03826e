"""The service: answers with the box's resolver, and reads the block lists again each day."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from gatepost.api import IPNetwork, NameView, ServiceContext, Watch
from gatepost.errors import GatepostError
from gatepost_plugins.lan_dns.lists import Lists

log = logging.getLogger(__name__)

AGAIN = 86400.0  # seconds until lists are read again
FIRST_AGAIN, LAST_AGAIN = 5.0, 600.0  # seconds, doubling, until one that failed is tried again


@dataclass(frozen=True, slots=True)
class WatchLists(Watch[tuple[str, ...]]):
    """What is wrong with the block lists, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Who is answered, and the lists: paths, or https:// addresses."""

    sources: tuple[IPNetwork, ...]
    lists: tuple[str, ...] = ()
    reader: Lists = field(default_factory=Lists)

    def __str__(self) -> str:
        return f"answers {', '.join(map(str, self.sources))}, {len(self.lists)} block lists"


async def serve(context: ServiceContext, parameters: Parameters) -> None:
    """Answer until cancelled. A list that cannot be read blocks what it blocked before."""
    if not parameters.lists:
        await context.answer_names(NameView(sources=parameters.sources))
        return
    known = dict[str, frozenset[str]]()
    # Hosts shall not wait for a list that comes slowly, or from a name that they would ask us for.
    problems = await _answer_while(context, parameters, known)
    failures = 0
    while True:
        failures = failures + 1 if problems else 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_after(failures)):
                await context.answer_names(_view(parameters, known))
        problems = await _answer_while(context, parameters, known)


def pause_after(failures: int) -> float:
    """Return the seconds until lists are read again, after so many failures in a row.

    After a start the way to the internet may not be open yet: soon, and then seldom.
    """
    if not failures:
        return AGAIN
    return min(FIRST_AGAIN * 2.0 ** min(failures - 1, 10), LAST_AGAIN)


def _view(parameters: Parameters, known: Mapping[str, frozenset[str]]) -> NameView:
    blocked = frozenset[str]().union(*known.values())
    return NameView(sources=parameters.sources, blocked=blocked)


async def _answer_while(
    context: ServiceContext, parameters: Parameters, known: dict[str, frozenset[str]]
) -> tuple[str, ...]:
    """Read the lists, all at once, and go on answering; return what is wrong with them."""
    async with asyncio.TaskGroup() as group:
        answering = group.create_task(
            context.answer_names(_view(parameters, known)), name="lan-dns"
        )
        reading = [_read(parameters.reader, name, known) for name in parameters.lists]
        found = await asyncio.gather(*reading)
        answering.cancel()
    problems = tuple(filter(None, found))
    await context.answer(WatchLists(), problems)
    return problems


async def _read(reader: Lists, name: str, known: dict[str, frozenset[str]]) -> str:
    """Read one list into `known`; return what is wrong with it, or ""."""
    try:
        known[name] = await reader.read(name)
    except (OSError, ValueError, GatepostError) as error:
        return f"{name}: {error}"
    log.info("block list %s: %d names", name, len(known[name]))
    return ""
