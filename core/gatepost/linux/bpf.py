"""Loads BPF programs and reads and writes their maps, by bpf(2), without a library.

Everything the kernel holds lives as long as somebody refers to it: a descriptor
here, or the device that a program is attached to (`gatepost.linux.tc`). So there is
nothing to pin, and a program goes on when the daemon ends. Needs CAP_BPF and
CAP_NET_ADMIN. Sources: bpf(2), include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import TracebackType
from typing import Self

from gatepost.linux.bpf_object import INSTRUCTION, BpfObject, MapSpec, Program

_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361}  # of the system call
_MAP_CREATE, _LOOKUP, _UPDATE, _DELETE, _NEXT_KEY, _PROGRAM_LOAD = range(6)
_TEST_RUN = 10
_PROGRAM_BY_ID, _MAP_BY_ID, _INFO = 13, 14, 15
_LOOKUP_BATCH, _UPDATE_BATCH, _DELETE_BATCH = 24, 26, 27
_SCHED_CLS = 3  # program type: a classifier, which tc attaches
_ATTRIBUTES = 128  # bytes of union bpf_attr that are passed; what is not used is zero
_PSEUDO_MAP = 1  # source register of an instruction whose number is a map's descriptor
_LOG = 1 << 20  # bytes for the verifier's words
_LAST_WORDS = 1500  # characters of them that an error shows
_LONGEST_NAME = 15
_BATCH = 4096  # entries per call
_NO_SUCH_CALL = 524  # ENOTSUPP, which has no name outside the kernel
_MOST_MAPS = 64  # of one program

_MAP_INFO = struct.Struct("=IIIIII16s")
_PROGRAM_INFO = struct.Struct("=II8sIIQQQIIQ16s")


class Memory:
    """Bytes at an address that stays the same, for the kernel to read or write."""

    def __init__(self, content: bytes | int) -> None:
        size = content if isinstance(content, int) else len(content)
        self._buffer = ctypes.create_string_buffer(max(size, 1))
        self._size = size
        if isinstance(content, bytes):
            ctypes.memmove(self._buffer, content, size)

    @property
    def address(self) -> int:
        return ctypes.addressof(self._buffer)

    @property
    def content(self) -> bytes:
        return bytes(self._buffer.raw[: self._size])


def call(command: int, attributes: bytes) -> tuple[int, bytes]:
    """Do one bpf(2); return its result and the attributes, into which the kernel may have written.

    Raise `OSError`: ENOSYS when this kernel (or this machine's kind) has no BPF,
    EPERM when we may not.
    """
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"no BPF on {platform.machine()} machines")
    memory = Memory(attributes.ljust(_ATTRIBUTES, b"\0"))
    result = int(_libc().syscall(number, command, ctypes.c_void_p(memory.address), _ATTRIBUTES))
    if result < 0:
        code = ctypes.get_errno()
        if code == errno.ENOSYS:
            raise OSError(code, "this kernel has no BPF (CONFIG_BPF_SYSCALL)")
        raise OSError(code, f"bpf({command}): {os.strerror(code)}")
    return result, memory.content


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def why_unusable() -> str:
    """Return why no program can be loaded here; nothing if one can."""
    accept = bytes.fromhex("b700000000000000 9500000000000000")  # r0 = 0; exit
    try:
        load_program(Program("probe", accept, {}), {}, "GPL").close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


class Descriptor:
    """An open reference to something in the kernel; `close` it or use `with`."""

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        if self.number >= 0:
            number, self.number = self.number, -1
            os.close(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class BpfMap(Descriptor):
    """A map: fixed-size keys to fixed-size values, shared with the programs that use it.

    A call costs some 10 microseconds, an entry of a batch 2 to 5, nearly all of it
    Python's. Not for maps with a value per processor.
    """

    def __init__(self, number: int, spec: MapSpec, identity: int) -> None:
        super().__init__(number)
        self.spec = spec
        self.identity = identity  # the kernel's number for it, while it lives

    def get(self, key: bytes) -> bytes | None:
        """Return the value, None when there is none."""
        value = Memory(self.spec.value_size)
        try:
            self._one(_LOOKUP, key, value)
        except FileNotFoundError:
            return None
        return value.content

    def put(self, key: bytes, value: bytes) -> None:
        """Set one entry, in place; raise `OSError` (E2BIG: the map is full)."""
        self._one(_UPDATE, key, Memory(_sized(value, self.spec.value_size)))

    def drop(self, key: bytes) -> bool:
        """Remove one entry; say whether it was there."""
        try:
            self._one(_DELETE, key, None)
        except FileNotFoundError:
            return False
        return True

    def items(self) -> dict[bytes, bytes]:
        """Return all entries; those that come and go meanwhile may be among them or not."""
        try:
            return dict(self._batches())
        except OSError as error:
            if error.errno not in {errno.EINVAL, _NO_SUCH_CALL}:
                raise
        return {k: v for k in self._keys() if (v := self.get(k)) is not None}

    def update(self, entries: Mapping[bytes, bytes]) -> None:
        """Set many entries, 4096 a call."""
        keys = list(entries)
        for start in range(0, len(keys), _BATCH):
            part = keys[start : start + _BATCH]
            values = [_sized(entries[k], self.spec.value_size) for k in part]
            joined = b"".join(_sized(k, self.spec.key_size) for k in part)
            self._batch(_UPDATE_BATCH, Memory(joined), Memory(b"".join(values)), len(part))

    def drop_all(self, keys: Iterable[bytes]) -> None:
        """Remove entries; those that are not there do not matter."""
        for key in keys:
            self.drop(key)

    def _one(self, command: int, key: bytes, value: Memory | None) -> None:
        held = Memory(_sized(key, self.spec.key_size))
        at = value.address if value else 0
        call(command, struct.pack("=IIQQQ", self.number, 0, held.address, at, 0))

    def _batch(self, command: int, keys: Memory, values: Memory, count: int) -> None:
        form = struct.Struct("=QQQQIIQQ")
        call(command, form.pack(0, 0, keys.address, values.address, count, self.number, 0, 0))

    def _batches(self) -> Iterator[tuple[bytes, bytes]]:
        key_size, value_size = self.spec.key_size, self.spec.value_size
        keys, values = Memory(_BATCH * key_size), Memory(_BATCH * value_size)
        place = Memory(max(key_size, 8))
        form = struct.Struct("=QQQQIIQQ")
        first, more = 0, True
        while more:
            asked = form.pack(
                first, place.address, keys.address, values.address, _BATCH, self.number, 0, 0
            )
            count, more = self._batch_count(asked)
            found = keys.content, values.content
            for i in range(count):
                yield (
                    found[0][i * key_size : (i + 1) * key_size],
                    found[1][i * value_size : (i + 1) * value_size],
                )
            first = place.address

    def _batch_count(self, asked: bytes) -> tuple[int, bool]:
        """Return how many entries came and whether there may be more.

        The end is the error ENOENT, and the number of entries is written nevertheless,
        so the attributes must be kept in sight.
        """
        memory = Memory(asked.ljust(_ATTRIBUTES, b"\0"))
        number = _NUMBERS[platform.machine()]
        attributes = ctypes.c_void_p(memory.address)
        result = int(_libc().syscall(number, _LOOKUP_BATCH, attributes, _ATTRIBUTES))
        code = ctypes.get_errno() if result < 0 else 0
        if code not in {0, errno.ENOENT}:
            raise OSError(code, f"map {self.spec.name}: {os.strerror(code)}")
        (count,) = struct.unpack_from("=I", memory.content, 32)
        return count, code == 0

    def _keys(self) -> Iterator[bytes]:
        following = Memory(self.spec.key_size)
        before: Memory | None = None
        while True:
            start = before.address if before else 0
            try:
                call(_NEXT_KEY, struct.pack("=IIQQ", self.number, 0, start, following.address))
            except FileNotFoundError:
                return
            before = Memory(following.content)
            yield following.content


class LoadedProgram(Descriptor):
    """A program in the kernel. `map_ids` are the kernel's numbers of the maps it uses."""

    def __init__(self, number: int, identity: int, map_ids: tuple[int, ...]) -> None:
        super().__init__(number)
        self.identity = identity
        self.map_ids = map_ids

    def maps(self) -> dict[str, BpfMap]:
        """Open the maps it uses, by their names; the caller closes them."""
        opened = [open_map(each) for each in self.map_ids]
        return {each.spec.name: each for each in opened}

    def run(self, packet: bytes) -> tuple[int, bytes]:
        """Run it once on a packet; return its verdict and the packet as it is then."""
        given, taken = Memory(packet), Memory(len(packet) + 256)
        asked = struct.pack(
            "=IIIIQQII", self.number, 0, len(packet), len(packet) + 256, given.address,
            taken.address, 1, 0,
        )  # fmt: skip
        _, answered = call(_TEST_RUN, asked)
        verdict, _, size = struct.unpack_from("=iII", answered, 4)
        return verdict, taken.content[:size]


def create_map(spec: MapSpec) -> BpfMap:
    """Make an empty map; raise `OSError`."""
    name = spec.name.encode()[:_LONGEST_NAME]
    asked = struct.pack(
        "=IIIIIII16s", spec.kind, spec.key_size, spec.value_size, spec.entries, spec.flags, 0, 0,
        name,
    )  # fmt: skip
    number, _ = call(_MAP_CREATE, asked)
    return describe_map(number)


def open_map(identity: int) -> BpfMap:
    """Open a map by the kernel's number; raise `FileNotFoundError` when it is gone."""
    number, _ = call(_MAP_BY_ID, struct.pack("=III", identity, 0, 0))
    return describe_map(number)


def open_program(identity: int) -> LoadedProgram:
    """Open a program by the kernel's number; raise `FileNotFoundError` when it is gone."""
    number, _ = call(_PROGRAM_BY_ID, struct.pack("=III", identity, 0, 0))
    return _described_program(number)


def load_program(program: Program, maps: Mapping[str, BpfMap], license_text: str) -> LoadedProgram:
    """Give a program to the kernel, with these maps for the names it uses.

    Raise `OSError`; when the verifier refused it, with the end of its words.
    """
    code = Memory(_with_maps(program, maps))
    words = Memory(license_text.encode() + b"\0")
    name = program.name.encode()[:_LONGEST_NAME]
    count = len(program.code) // INSTRUCTION
    head = struct.pack("=IIQQ", _SCHED_CLS, count, code.address, words.address)
    try:
        number, _ = call(_PROGRAM_LOAD, head + struct.pack("=IIQII16s", 0, 0, 0, 0, 0, name))
        return _described_program(number)
    except OSError as error:
        if error.errno == errno.EPERM:  # it was not even looked at
            raise OSError(error.errno, "loading BPF programs takes CAP_BPF") from error
        if error.errno not in {errno.EACCES, errno.EINVAL}:
            raise
    # Again, with the verifier's words: they cost time, so only after a refusal.
    log = Memory(_LOG)
    tail = struct.pack("=IIQII16s", 1, _LOG, log.address, 0, 0, name)
    try:
        number, _ = call(_PROGRAM_LOAD, head + tail)
    except OSError as error:
        said = log.content.partition(b"\0")[0].decode("ascii", "replace")[-_LAST_WORDS:]
        text = f"the kernel refuses the program {program.name}: {said.strip() or error.strerror}"
        raise OSError(error.errno, text) from error
    return _described_program(number)


def load_object(
    content: BpfObject, name: str, shared: Mapping[str, BpfMap] | None = None
) -> tuple[LoadedProgram, dict[str, BpfMap]]:
    """Load one program of an object; return it and the maps it uses, all to be closed.

    Maps of `shared` with the same name and sizes are used, the others made; so a new
    version of a program goes on with what the old one knew.
    """
    program = content.programs[name]
    maps = dict[str, BpfMap]()
    try:
        for used in sorted(set(program.uses.values())):
            maps[used] = _fitting(content.maps[used], shared or {})
        return load_program(program, maps, content.license), maps
    except BaseException:
        for each in maps.values():
            each.close()
        raise


def _fitting(spec: MapSpec, shared: Mapping[str, BpfMap]) -> BpfMap:
    known = shared.get(spec.name)
    if known is None or known.spec != spec:
        return create_map(spec)
    return describe_map(os.dup(known.number))


def _with_maps(program: Program, maps: Mapping[str, BpfMap]) -> bytes:
    """Put the maps' descriptors into the instructions that load them."""
    code = bytearray(program.code)
    for offset, name in program.uses.items():
        code[offset + 1] = code[offset + 1] & 0x0F | _PSEUDO_MAP << 4
        struct.pack_into("=i", code, offset + 4, maps[name].number)
    return bytes(code)


def _info(number: int, size: int, given: bytes = b"") -> bytes:
    memory = Memory(given.ljust(size, b"\0"))
    call(_INFO, struct.pack("=IIQ", number, size, memory.address))
    return memory.content


def describe_map(number: int) -> BpfMap:
    """Return the map behind a descriptor, which it owns from now on."""
    kind, identity, key_size, value_size, entries, flags, name = _MAP_INFO.unpack(
        _info(number, _MAP_INFO.size)
    )
    spec = MapSpec(
        name=name.rstrip(b"\0").decode("ascii", "replace"),
        kind=kind,
        key_size=key_size,
        value_size=value_size,
        entries=entries,
        flags=flags,
    )
    return BpfMap(number, spec, identity)


def _described_program(number: int) -> LoadedProgram:
    ids = Memory(_MOST_MAPS * 4)
    asked = _PROGRAM_INFO.pack(0, 0, b"", 0, 0, 0, 0, 0, 0, _MOST_MAPS, ids.address, b"")
    found = _PROGRAM_INFO.unpack(_info(number, _PROGRAM_INFO.size, asked))
    identity, count = found[1], min(found[9], _MOST_MAPS)
    return LoadedProgram(number, identity, struct.unpack_from(f"={count}I", ids.content))


def _sized(content: bytes, size: int) -> bytes:
    if len(content) != size:
        raise OSError(errno.EINVAL, f"a key or value has {len(content)} bytes, not {size}")
    return content
