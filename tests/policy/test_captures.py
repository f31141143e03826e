"""What our policy engine answers is what Tailscale's control plane answered."""

from __future__ import annotations

import json
import random  # noqa: TID251  # dice that Hypothesis throws
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import captures
from tests.policy.plain import Plain

FOLDER = Path(__file__).parent / "captures"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.jsonl")), ids=lambda f: f.stem)
def test_every_capture_is_answered_the_same(file: Path) -> None:
    mismatches = [f"{c.name}: {m}" for c in captures.cases([file]) for m in captures.compare(c)]

    assert mismatches == []


def test_a_difference_is_told_and_fails_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capture = json.loads((FOLDER / "acl.jsonl").read_text().splitlines()[0])
    capture["expect"]["nodes"]["beedrill"]["packet_filter"][0]["SrcIPs"].append("192.0.2.1")
    (tmp_path / "one.jsonl").write_text(json.dumps(capture) + "\n")

    assert captures.main([str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "192.0.2.1" in lines[0]
    assert lines[-1] == "matched 0 of 1"


def test_a_refusal_that_we_do_not_share_is_told(tmp_path: Path) -> None:
    capture = json.loads((FOLDER / "acl.jsonl").read_text().splitlines()[0])
    capture["expect"] |= {"status": 400, "body": {"message": "no"}}
    (tmp_path / "one.jsonl").write_text(json.dumps(capture) + "\n")

    assert captures.main([str(tmp_path)]) == 1


def test_nothing_to_compare_is_no_success(tmp_path: Path) -> None:
    assert captures.main([str(tmp_path)]) == 1


def test_a_case_on_which_we_stumble_does_not_hide_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = (FOLDER / "acl.jsonl").read_text().splitlines()[0]
    bad = json.loads(good)
    del bad["expect"]["nodes"]["beedrill"]["peers"]
    (tmp_path / "two.jsonl").write_text(f"{json.dumps(bad)}\n{good}\n")

    assert captures.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "matched 1 of 2"


@pytest.mark.parametrize("line", ["{", "[]", "null", "{}", '{"id": "x", "expect": 7}', "[" * 5000])
def test_what_is_no_capture_never_matches_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    good = (FOLDER / "acl.jsonl").read_text().splitlines()[0]
    (tmp_path / "two.jsonl").write_text(f"{line}\n{good}\n")

    assert captures.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "matched 1 of 2"


JUNK: tuple[Plain, ...] = (None, True, -1, 1.5, "", "tag:x", "10.0.0.0/99", "é\0", [], {}, [[]])
CASES = [line for file in sorted(FOLDER.glob("*.jsonl")) for line in file.read_text().splitlines()]


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(CASES), st.sampled_from(JUNK), st.randoms(use_true_random=False))
def test_a_capture_with_anything_anywhere_is_answered(
    line: str, junk: Plain, dice: random.Random
) -> None:
    case = json.loads(line)
    holder, key = dice.choice(list(places(case)))
    holder[key] = junk

    assert isinstance(captures.answer(captures.Case(case)), list)


def places(value: object) -> Iterator[tuple[Any, Any]]:  # Any: JSON of any shape
    """Yield every place in a JSON value: what holds it, and the key or index."""
    inside: Iterable[tuple[Any, object]] = ()
    if isinstance(value, dict):
        inside = cast(dict[str, object], value).items()
    elif isinstance(value, list):
        inside = enumerate(cast(list[object], value))
    for key, part in inside:
        yield value, key
        yield from places(part)
