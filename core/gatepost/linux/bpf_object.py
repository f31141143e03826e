"""Reads a compiled BPF object: an ELF file to programs and maps. No system calls.

What `gatepost/bpf/compile` makes, and no more of ELF than that (little-endian, 64
bits; sources: elf(5), Linux: Documentation/bpf/llvm_reloc.rst):

    section "tc/<name>"      instructions of 8 bytes; each is one program
    section ".reltc/<name>"  where a program names a map
    section "maps"           20 bytes a map: kind, key size, value size, entries, flags
    section "license"        text, ended by a zero

There is no debug information, hence none of libbpf's maps with types.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gatepost.errors import Malformed, Truncated

INSTRUCTION = 8  # bytes
_ELF = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQ")
_MAP = struct.Struct("<IIIII")
_IDENTITY = b"\x7fELF\x02\x01\x01"  # 64 bits, little-endian, version 1
_MACHINE = 247  # EM_BPF
_SYMBOLS, _REL = 2, 9  # section types
_R_BPF_64_64 = 1
_PROGRAM = "tc/"
_LOAD_WIDE = 0x18  # the instruction that takes an address, in two slots


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSpec:
    """A map as the kernel makes it. `name` has at most 15 letters; sizes are in bytes."""

    name: str
    kind: int
    key_size: int
    value_size: int
    entries: int
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    """Instructions; `uses` has the name of a map for the offset of each that loads one."""

    name: str
    code: bytes
    uses: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class BpfObject:
    """Programs and maps by their names."""

    programs: Mapping[str, Program]
    maps: Mapping[str, MapSpec]
    license: str


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    kind: int
    content: bytes
    info: int  # of relocations: the index of the section they are for


def read_object_file(content: bytes) -> BpfObject:
    """Read a whole file; raise `Truncated` or `Malformed`, naming what is wrong."""
    sections = _sections(content)
    by_name = {s.name: i for i, s in enumerate(sections)}
    symbols = list(_symbols(sections))
    maps_at = by_name.get("maps", -1)
    maps = {s.name: s for s in _maps(sections, symbols, maps_at)}
    programs = dict[str, Program]()
    for index, section in enumerate(sections):
        if section.name.startswith(_PROGRAM):
            if not section.content or len(section.content) % INSTRUCTION:
                raise Malformed(f"{section.name}: {len(section.content)} bytes of instructions")
            uses = dict(_uses(sections, index, symbols, maps_at))
            name = section.name.removeprefix(_PROGRAM)
            programs[name] = Program(name, section.content, uses)
    if not programs or "license" not in by_name:
        raise Malformed("the object has no program or no licence")
    words = sections[by_name["license"]].content.rstrip(b"\0")
    return BpfObject(programs, maps, words.decode("ascii", "replace"))


def _sections(content: bytes) -> list[_Section]:
    if content[: len(_IDENTITY)] != _IDENTITY:
        raise Malformed(f"not a little-endian 64-bit ELF file: {content[:8].hex()}")
    header = _unpack(_ELF, content, 0)
    machine, table, size, count, names_at = (header[i] for i in (2, 6, 11, 12, 13))
    if machine != _MACHINE or size != _SECTION.size:
        raise Malformed(f"an ELF file for machine {machine}, not for BPF")
    rows = [_unpack(_SECTION, content, table + i * size) for i in range(count)]
    if names_at >= count:
        raise Malformed(f"section {names_at} has the names, but there are {count}")
    names = _slice(content, rows[names_at][4], rows[names_at][5])
    return [
        _Section(_name(names, row[0]), row[1], _slice(content, row[4], row[5]), row[7])
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class _Symbol:
    name: str
    section: int
    value: int


def _symbols(sections: list[_Section]) -> Iterator[_Symbol]:
    names = next((s.content for s in sections if s.name == ".strtab"), b"")
    for table in (s for s in sections if s.kind == _SYMBOLS):
        for offset in range(0, len(table.content), _SYMBOL.size):
            name, _, _, section, value, _ = _unpack(_SYMBOL, table.content, offset)
            yield _Symbol(_name(names, name), section, value)


def _maps(sections: list[_Section], symbols: list[_Symbol], index: int) -> Iterator[MapSpec]:
    for symbol in symbols:
        if symbol.section == index and symbol.name:
            numbers = _unpack(_MAP, sections[index].content, symbol.value)
            kind, key_size, value_size, entries, flags = numbers
            yield MapSpec(
                name=symbol.name,
                kind=kind,
                key_size=key_size,
                value_size=value_size,
                entries=entries,
                flags=flags,
            )


def _uses(
    sections: list[_Section], program: int, symbols: list[_Symbol], maps: int
) -> Iterator[tuple[int, str]]:
    code = sections[program].content
    for table in sections:
        if table.kind != _REL or table.info != program:
            continue
        for at in range(0, len(table.content), _RELOCATION.size):
            offset, info = _unpack(_RELOCATION, table.content, at)
            number, kind = info >> 32, info & 0xFFFFFFFF
            if kind != _R_BPF_64_64 or number >= len(symbols) or symbols[number].section != maps:
                raise Malformed(f"relocation {kind} at {offset} is not one of a map")
            if offset % INSTRUCTION or code[offset : offset + 1] != bytes((_LOAD_WIDE,)):
                raise Malformed(f"the instruction at {offset} takes no map")
            yield offset, symbols[number].name


def _unpack(form: struct.Struct, content: bytes, offset: int) -> tuple[int, ...]:
    if offset < 0 or offset + form.size > len(content):
        raise Truncated(f"{len(content)} bytes end before offset {offset + form.size}")
    return form.unpack_from(content, offset)


def _slice(content: bytes, offset: int, size: int) -> bytes:
    if offset + size > len(content):
        return b""  # sections without content in the file say a size too
    return content[offset : offset + size]


def _name(names: bytes, offset: int) -> str:
    return names[offset:].partition(b"\0")[0].decode("ascii", "replace")
