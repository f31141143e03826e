"""The compiled programs: what is checked in is what the sources say, and can be loaded."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gatepost.bpf
from gatepost.bpf import read_object
from gatepost.errors import NotFoundError, WireError
from gatepost.linux import bpf
from gatepost.linux.bpf_object import read_object_file

FOLDER = Path(gatepost.bpf.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.c"))
COMPILER = "clang-14"


def test_every_source_has_its_object_and_no_object_is_without_a_source() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.o")) == NAMES


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which(COMPILER) is None:
        pytest.skip(f"{COMPILER} is not installed: ./test brings it")
    folder = tmp_path_factory.mktemp("bpf")
    subprocess.run((FOLDER / "compile", folder), check=True, timeout=60)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_compiling_again_gives_the_same_instructions_and_maps(name: str, rebuilt: Path) -> None:
    checked_in = read_object_file(read_object(name))

    assert read_object_file((rebuilt / f"{name}.o").read_bytes()) == checked_in


@pytest.mark.root
@pytest.mark.parametrize("name", NAMES)
def test_the_verifier_accepts_every_program(name: str) -> None:
    content = read_object_file(read_object(name))

    for program in content.programs:
        loaded, maps = bpf.load_object(content, program)
        with loaded:
            assert {spec.name for spec in (m.spec for m in maps.values())} == set(maps)
        for each in maps.values():
            each.close()


def test_an_object_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFoundError, match="nonsense"):
        read_object("nonsense")


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_refused(name: str) -> None:
    whole = read_object(name)
    for length in range(0, len(whole), 7):
        with pytest.raises(WireError):
            read_object_file(whole[:length])


@given(st.data())
def test_a_damaged_object_is_refused_and_never_a_crash(data: st.DataObject) -> None:
    damaged = bytearray(read_object(NAMES[0]))
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    try:
        found = read_object_file(bytes(damaged))
    except WireError:
        return

    assert found.programs
