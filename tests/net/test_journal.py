"""Records to the journal: its format, its fields, and a journal that does not listen."""

from __future__ import annotations

import logging
import os
import socket
import struct
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gatepost.net.journal import JournalHandler, encode, is_journal


def decode(entry: bytes) -> dict[str, str]:
    """Read an entry as journald does."""
    fields: dict[str, str] = {}
    while entry:
        line, _, rest = entry.partition(b"\n")
        if b"=" in line:
            name, _, value = line.partition(b"=")
        else:
            (length,) = struct.unpack_from("<Q", rest)
            name, value, rest = line, rest[8 : 8 + length], rest[8 + length + 1 :]
        fields[name.decode()] = value.decode()
        entry = rest
    return fields


class Journal:
    """A socket that keeps what it was sent, and a logger that writes to it."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.handler = JournalHandler("gatepostd", path)
        self.log = logging.Logger("gatepost.test")  # noqa: LOG001  # not in the tree of loggers
        self.log.addHandler(self.handler)

    def read(self) -> dict[str, str]:
        return decode(self.socket.recv(1 << 20))


@pytest.fixture
def journal() -> Generator[Journal]:
    with tempfile.TemporaryDirectory() as directory:
        made = Journal(Path(directory) / "socket")
        yield made
        made.handler.close()
        made.socket.close()


def test_a_record_arrives_with_its_fields(journal: Journal) -> None:
    journal.log.warning("peer %s is away", "far", extra={"fields": {"peer id": 7}})
    entry = journal.read()

    assert entry["MESSAGE"] == "peer far is away"
    assert entry["PRIORITY"] == "4"
    assert entry["SYSLOG_IDENTIFIER"] == "gatepostd"
    assert entry["LOGGER"] == "gatepost.test"
    assert entry["GATEPOST_PEER_ID"] == "7"
    assert entry["CODE_FILE"] == __file__


@pytest.mark.parametrize(
    ("level", "priority"), [(10, "7"), (20, "6"), (30, "4"), (40, "3"), (50, "2"), (35, "4")]
)
def test_levels_become_syslog_priorities(journal: Journal, level: int, priority: str) -> None:
    journal.log.log(level, "text")

    assert journal.read()["PRIORITY"] == priority


def test_a_failure_arrives_with_its_traceback(journal: Journal) -> None:
    try:
        raise ValueError("no good")  # noqa: TRY301
    except ValueError:
        journal.log.exception("it failed")
    entry = journal.read()

    assert entry["EXCEPTION"] == "ValueError"
    assert entry["MESSAGE"].startswith("it failed\nTraceback")
    assert entry["TRACEBACK"].endswith("ValueError: no good")


def test_what_a_full_journal_did_not_take_is_counted(journal: Journal) -> None:
    for _ in range(20_000):
        journal.log.info("text")
    taken = 0
    while True:
        try:
            journal.read()
        except BlockingIOError:
            break
        taken += 1
    journal.log.info("again")

    assert taken + int(journal.read()["GATEPOST_LOST"]) == 20_000


def test_a_journal_that_is_away_is_no_failure(tmp_path: Path) -> None:
    handler = JournalHandler("gatepostd", tmp_path / "none")
    handler.handle(logging.LogRecord("x", 20, "file", 1, "text", None, None))
    handler.close()


@given(some.dictionaries(some.sampled_from(["A", "B_2"]), some.text()))
def test_any_text_makes_the_round_trip(fields: dict[str, str]) -> None:
    expected = {k: v.encode("utf-8", "backslashreplace").decode() for k, v in fields.items()}

    assert decode(encode(fields.items())) == expected


def test_a_huge_value_is_cut() -> None:
    assert len(encode([("MESSAGE", "x" * 1_000_000)])) < 33_000


def test_only_the_descriptor_that_systemd_made_is_the_journal() -> None:
    reading, writing = os.pipe()
    found = os.fstat(writing)

    assert is_journal(f"{found.st_dev}:{found.st_ino}", writing)
    assert not is_journal(f"{found.st_dev}:{found.st_ino + 1}", writing)
    assert not is_journal("", writing)
    os.close(reading)
    os.close(writing)
