"""The applier of `TrafficProgram`: BPF programs on devices, by the classifier of tc.

A device gets the queueing discipline "clsact", which only gives programs a place,
and at it one filter per program ("direct action": what the program returns is
done). The filter's name says what it is, so that nothing has to be remembered:

    gatepost:<object>:<program>:<16 digits of the object's SHA-256>

The filter keeps the program and the program its maps, so all of it works on while the
daemon is away; how the maps are found again is in `gatepost.linux.bpf_pins`. "clsact"
stays when the last program goes, since other programs may stand on it; alone it costs
nothing.
Sources: Linux: include/uapi/linux/{rtnetlink,pkt_sched,pkt_cls}.h, net/sched/cls_bpf.c.
"""

from __future__ import annotations

import errno
import hashlib
import struct
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from gatepost.bpf import read_object
from gatepost.linux import bpf, bpf_pins
from gatepost.linux.bpf_object import read_object_file
from gatepost.linux.links import all_links
from gatepost.linux.netlink import Netlink
from gatepost.linux.netlink_message import (
    CREATE,
    DUMP,
    EXCLUSIVE,
    REPLACE,
    Message,
    Request,
    attribute,
    nested,
    read_attributes,
    read_integer,
    read_text,
    text,
    u32,
)
from gatepost.linux.rtnetlink import Link
from gatepost.model.kernel import MapEntry, TrafficProgram
from gatepost.model.owned import TC_PRIORITIES
from gatepost.model.resource import Change, Resource

Direction = Literal["in", "out"]

_NEW_QDISC, _GET_QDISC = 36, 38
_NEW_FILTER, _DELETE_FILTER, _GET_FILTER = 44, 45, 46
_HEADER = struct.Struct("=BBHiIII")  # family, padding, device, handle, parent, info
_KIND, _OPTIONS = 1, 2
_FD, _NAME, _FLAGS, _ID = 6, 7, 8, 11  # TCA_BPF_…
_DIRECT_ACTION = 1
_CLSACT = 0xFFFFFFF1
_PARENTS: Mapping[Direction, int] = {"in": 0xFFFFFFF2, "out": 0xFFFFFFF3}
_ALL_PROTOCOLS = 0x0300  # ETH_P_ALL in network order, as it stands in `info`
_OUR_HANDLE = 1
_OWNER = "gatepost"
_THERE = frozenset({errno.EEXIST})
_GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.EINVAL})
_ARRAYS = frozenset({2, 6})  # kinds of map whose elements cannot be removed


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A filter of ours as the kernel reports it; `program_id` is the kernel's number."""

    index: int  # of the device
    direction: Direction
    priority: int
    name: str
    program_id: int

    @property
    def object(self) -> str:
        return self.name.split(":")[1]

    @property
    def program(self) -> str:
        return self.name.split(":")[2]


class TrafficPrograms:
    """Owns the filters with our name, at our priorities, and nothing else.

    `wanted` are the programs that are wanted now: the maps that they mention are
    compared, other maps are not looked at.
    """

    applies: type[Resource] = TrafficProgram

    def __init__(self, netlink: Netlink, wanted: Callable[[], Iterable[TrafficProgram]]) -> None:
        self._netlink = netlink
        self._wanted = wanted

    async def read(self) -> frozenset[Resource]:
        links = await all_links(self._netlink)
        attached = await read_attached(self._netlink)
        goals = {p.key: p for p in self._wanted()}
        there = [(a, links[a.index]) for a in attached if a.index in links]
        # Large maps take their time to read, so not in the event loop.
        return await self._netlink.run(
            lambda: frozenset(_as_resource(each, link, goals) for each, link in there)
        )

    async def write(self, changes: tuple[Change, ...]) -> None:
        links = {link.name: link for link in (await all_links(self._netlink)).values()}
        removed = [c.old for c in changes if isinstance(c.old, TrafficProgram) and c.new is None]
        requests = [_delete_filter(links[p.device].index, p) for p in removed if p.device in links]
        await self._netlink.write(requests, _GONE)
        if removed:
            left = {a.object for a in await read_attached(self._netlink)}
            for gone in {p.object for p in removed} - left:
                bpf_pins.forget(gone)
        for change in changes:
            if isinstance(change.new, TrafficProgram):
                await self._attach(change.new, links)

    async def _attach(self, wanted: TrafficProgram, links: Mapping[str, Link]) -> None:
        if wanted.priority not in TC_PRIORITIES:
            raise OSError(errno.EPERM, f"{wanted}: the priority is not one of ours")
        link = links.get(wanted.device)
        if link is None:
            raise OSError(errno.ENODEV, f"{wanted.object}: there is no device {wanted.device}")
        attached = await read_attached(self._netlink)
        await self._netlink.run(lambda: self._put(wanted, link, attached))

    def _put(self, wanted: TrafficProgram, link: Link, attached: Iterable[Attached]) -> None:
        """Load, fill and attach; the verifier takes its time, so not in the event loop."""
        with ExitStack() as stack:
            program, maps = _obtain(wanted, link, attached, stack)
            fill(maps, wanted.entries)
            self._netlink.route.write([_add_clsact(link)], _THERE)
            self._netlink.route.write([_add_filter(link, wanted, program.number)])


def _obtain(
    wanted: TrafficProgram, link: Link, attached: Iterable[Attached], stack: ExitStack
) -> tuple[bpf.LoadedProgram, dict[str, bpf.BpfMap]]:
    """Take the program from another device that has it, else load it with the maps in use."""
    name = _filter_name(wanted, link)
    same_object = [a for a in attached if a.object == wanted.object]
    maps = dict[str, bpf.BpfMap]()
    for each in sorted(same_object, key=lambda a: a.name != name):
        try:
            program = bpf_pins.find_program(each.program_id)
            opened = bpf_pins.find_maps(each.program_id, wanted.object)
        except FileNotFoundError:
            continue  # detached meanwhile
        for one in (*opened.values(), *((program,) if program else ())):
            stack.callback(one.close)
        if program and each.name == name:
            return program, opened
        maps = {**opened, **maps}
    content = read_object_file(read_object(wanted.object))
    program, made = bpf.load_object(content, _program_for(wanted, link), maps)
    stack.callback(program.close)
    for one in made.values():
        stack.callback(one.close)
    bpf_pins.keep(wanted.object, made)
    return program, made


def fill(maps: Mapping[str, bpf.BpfMap], entries: Iterable[MapEntry]) -> None:
    """Make the maps that entries mention hold exactly those; raise `OSError`."""
    for name, wanted in _by_map(entries).items():
        if name not in maps:
            raise OSError(errno.EINVAL, f"the program has no map called {name}")
        there = maps[name].items()
        news = {k: v for k, v in wanted.items() if there.get(k) != v}
        maps[name].update(news)
        if maps[name].spec.kind not in _ARRAYS:
            maps[name].drop_all(k for k in there if k not in wanted)


async def read_attached(netlink: Netlink) -> list[Attached]:
    """Return every filter of ours on any device."""
    disciplines = await netlink.ask(Request(_GET_QDISC, DUMP, _HEADER.pack(0, 0, 0, 0, 0, 0, 0)))
    places = [i for m in disciplines if (i := _clsact_device(m)) is not None]
    found = list[Attached]()
    for index in places:
        for direction in _PARENTS:
            try:
                messages = await netlink.ask(_get_filters(index, direction))
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                continue  # the device went meanwhile
            found += [a for m in messages if (a := _read_filter(m, direction)) is not None]
    return found


async def open_maps(netlink: Netlink, name: str) -> dict[str, bpf.BpfMap]:
    """Open the maps of the object called `name` as it is attached now, nothing if it is not.

    The caller closes them. They stay usable, but nobody's, when the program goes; their
    `identity` tells whether they are still the same.
    """
    for each in await read_attached(netlink):
        if each.object == name:
            try:
                return bpf_pins.find_maps(each.program_id, name)
            except FileNotFoundError:
                continue
    return {}


# --- resources and filters ------------------------------------------------------------


def _as_resource(
    each: Attached, link: Link, goals: Mapping[Hashable, TrafficProgram]
) -> TrafficProgram:
    """Return a filter as the resource that it fulfils, or as one that nobody wants."""
    found = TrafficProgram(
        device=link.name,
        direction=each.direction,
        priority=each.priority,
        object=each.object,
        program=each.program,
    )
    goal = goals.get(found.key)
    if goal is None or each.name != _filter_name(goal, link):
        return replace(found, program=f"{each.program} ({each.name})")
    return replace(goal, entries=_entries_now(each, goal))


def _entries_now(each: Attached, goal: TrafficProgram) -> frozenset[MapEntry]:
    mentioned = _by_map(goal.entries)
    found = set[MapEntry]()
    with ExitStack() as stack:
        try:
            maps = bpf_pins.find_maps(each.program_id, each.object)
        except FileNotFoundError:
            return frozenset()  # detached meanwhile
        for one in maps.values():
            stack.callback(one.close)
        for name, wanted in mentioned.items():
            if name not in maps:
                return frozenset()  # its pin was removed: attach it anew
            is_array = maps[name].spec.kind in _ARRAYS
            there = maps[name].items()
            found |= {MapEntry(name, k, v) for k, v in there.items() if k in wanted or not is_array}
    return frozenset(found)


def _by_map(entries: Iterable[MapEntry]) -> dict[str, dict[bytes, bytes]]:
    found = dict[str, dict[bytes, bytes]]()
    for entry in entries:
        found.setdefault(entry.map, {})[entry.key] = entry.value
    return found


def _program_for(wanted: TrafficProgram, link: Link) -> str:
    return wanted.bare if wanted.bare and not link.has_ethernet else wanted.program


def _filter_name(wanted: TrafficProgram, link: Link) -> str:
    return f"{_OWNER}:{wanted.object}:{_program_for(wanted, link)}:{_digest(wanted.object)}"


@cache
def _digest(name: str) -> str:
    return hashlib.sha256(read_object(name)).hexdigest()[:16]


# --- messages -------------------------------------------------------------------------


def _add_clsact(link: Link) -> Request:
    head = _HEADER.pack(0, 0, 0, link.index, 0xFFFF0000, _CLSACT, 0)
    return Request(
        _NEW_QDISC, CREATE | EXCLUSIVE, head + text(_KIND, "clsact"), f"clsact on {link.name}"
    )


def _add_filter(link: Link, wanted: TrafficProgram, program: int) -> Request:
    """Put a program in place; one that is there at this priority is replaced in one step."""
    options = (
        attribute(_FD, struct.pack("=i", program)),
        text(_NAME, _filter_name(wanted, link)),
        u32(_FLAGS, _DIRECT_ACTION),
    )
    body = _filter_head(link.index, wanted) + text(_KIND, "bpf") + nested(_OPTIONS, options)
    about = f"{wanted.object} on {wanted.device}"
    return Request(_NEW_FILTER, CREATE | REPLACE, body, about)


def _delete_filter(index: int, program: TrafficProgram) -> Request:
    body = _filter_head(index, program) + text(_KIND, "bpf")
    return Request(_DELETE_FILTER, 0, body, f"{program.object} on {program.device}")


def _get_filters(index: int, direction: Direction) -> Request:
    head = _HEADER.pack(0, 0, 0, index, 0, _PARENTS[direction], 0)
    return Request(_GET_FILTER, DUMP, head)


def _filter_head(index: int, program: TrafficProgram) -> bytes:
    info = program.priority << 16 | _ALL_PROTOCOLS
    return _HEADER.pack(0, 0, 0, index, _OUR_HANDLE, _PARENTS[program.direction], info)


def _clsact_device(message: Message) -> int | None:
    index = int(_HEADER.unpack_from(message.body)[3])
    kinds = [v for k, v in read_attributes(message.body, _HEADER.size) if k == _KIND]
    return index if kinds and read_text(kinds[0]) == "clsact" else None


def _read_filter(message: Message, direction: Direction) -> Attached | None:
    """Return a filter of ours; None for a stranger's, and for the chain's own entry."""
    _, _, _, index, _, _, info = _HEADER.unpack_from(message.body)
    options = [v for k, v in read_attributes(message.body, _HEADER.size) if k == _OPTIONS]
    fields = dict[int, bytes](_flat(options))
    name = read_text(fields.get(_NAME, b""))
    if not name.startswith(_OWNER + ":") or name.count(":") != 3 or _ID not in fields:  # noqa: PLR2004  # as in the module's text
        return None
    return Attached(
        index=index,
        direction=direction,
        priority=info >> 16,
        name=name,
        program_id=read_integer(fields[_ID]),
    )


def _flat(options: list[bytes]) -> Iterator[tuple[int, bytes]]:
    for each in options:
        yield from read_attributes(each)
