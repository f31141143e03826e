"""What our policy engine answers is what Tailscale's control plane answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests import captures

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
