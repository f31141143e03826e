"""Maps and programs in the kernel."""

from __future__ import annotations

import pytest

from gatepost.linux import bpf
from gatepost.linux.bpf_object import MapSpec, Program

pytestmark = pytest.mark.root

HASH = MapSpec(name="try", kind=1, key_size=4, value_size=8, entries=20_000, flags=1)
ARRAY = MapSpec(name="row", kind=2, key_size=4, value_size=8, entries=3)


def entry(number: int) -> tuple[bytes, bytes]:
    return number.to_bytes(4, "big"), (number * 3).to_bytes(8, "big")


def test_a_map_gives_back_what_was_put_and_forgets_what_was_dropped() -> None:
    with bpf.create_map(HASH) as one:
        one.put(*entry(1))
        one.put(entry(1)[0], bytes(8))
        one.put(*entry(2))

        assert one.get(entry(1)[0]) == bytes(8)
        assert one.drop(entry(1)[0])
        assert not one.drop(entry(1)[0])
        assert one.get(entry(1)[0]) is None
        assert one.items() == dict([entry(2)])


def test_ten_thousand_entries_go_in_and_come_out_in_batches() -> None:
    wanted = dict(entry(i) for i in range(10_000))
    with bpf.create_map(HASH) as one:
        one.update(wanted)

        assert one.items() == wanted


def test_an_array_has_all_its_elements_from_the_start() -> None:
    with bpf.create_map(ARRAY) as one:
        assert sorted(one.items().values()) == [bytes(8)] * 3


def test_a_map_opened_again_by_its_number_is_the_same_map() -> None:
    with bpf.create_map(HASH) as one, bpf.open_map(one.identity) as again:
        one.put(*entry(7))

        assert again.spec == HASH
        assert again.items() == dict([entry(7)])


def test_a_wrong_size_is_refused_before_the_kernel_reads_beyond_it() -> None:
    with bpf.create_map(HASH) as one, pytest.raises(OSError, match="3 bytes, not 4"):
        one.put(b"abc", bytes(8))


def test_a_full_map_says_so() -> None:
    with bpf.create_map(MapSpec(name="one", kind=1, key_size=4, value_size=8, entries=1)) as one:
        one.put(*entry(1))
        with pytest.raises(OSError, match="bpf"):
            one.put(*entry(2))


def test_a_program_that_the_verifier_refuses_is_an_error_with_its_words() -> None:
    returns_what_nobody_set = bytes.fromhex("bf90000000000000 9500000000000000")
    with pytest.raises(OSError, match=r"(?s)refuses the program blind: .*R9 !read_ok"):
        bpf.load_program(Program("blind", returns_what_nobody_set, {}), {}, "GPL")


def test_a_program_runs_on_a_packet() -> None:
    drop = bytes.fromhex("b700000002000000 9500000000000000")  # r0 = 2; exit
    with bpf.load_program(Program("drop", drop, {}), {}, "GPL") as loaded:
        verdict, packet = loaded.run(bytes(60))

    assert (verdict, packet) == (2, bytes(60))


def test_a_machine_that_can_load_programs_says_nothing_against_it() -> None:
    assert bpf.why_unusable() == ""
