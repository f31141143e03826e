"""A device's packets are taken in by all processors."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatepost.linux.receive_queues import bitmap, spread_receiving


@pytest.mark.parametrize(
    ("processors", "text"),
    [(1, "1"), (2, "3"), (4, "f"), (32, "ffffffff"), (33, "1,ffffffff"), (64, "ffffffff,ffffffff")],
)
def test_the_bitmap_is_written_as_the_kernel_writes_it(processors: int, text: str) -> None:
    assert bitmap(processors) == text


def test_one_processor_is_left_alone(tmp_path: Path) -> None:
    assert not spread_receiving("gone", 1, tmp_path)


def test_every_queue_is_written(tmp_path: Path) -> None:
    queues = [tmp_path / "mesh" / "queues" / f"rx-{n}" for n in range(2)]
    for queue in queues:
        queue.mkdir(parents=True)

    assert spread_receiving("mesh", 4, tmp_path)
    assert [(queue / "rps_cpus").read_text() for queue in queues] == ["f\n", "f\n"]


def test_a_device_without_queues_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        spread_receiving("gone", 4, tmp_path)
