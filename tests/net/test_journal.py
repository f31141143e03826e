"""The log with and without systemd's library; the journal itself is in tests/systemd."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from contextlib import redirect_stderr

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gatepost.net.journal import (
    JournalHandler,
    PrefixFormatter,
    fields_of,
    is_journal,
    lines_of,
    make_handler,
    priority_of,
)


class Journal:
    """Takes entries as the library does, and keeps them; a broken one takes none."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.entries: list[dict[str, str]] = []

    def send(self, *lines: bytes) -> None:
        if self.broken:
            raise OSError("no journal")
        pairs = (line.decode().partition("=") for line in lines)
        self.entries.append({name: value for name, _, value in pairs})


def logger_to(handler: logging.Handler) -> logging.Logger:
    log = logging.Logger("gatepost.test")  # noqa: LOG001  # not in the tree of loggers
    log.addHandler(handler)
    return log


def record(level: int = logging.INFO, text: str = "text") -> logging.LogRecord:
    return logging.LogRecord("gatepost.test", level, "file.py", 7, text, None, None, "work")


def test_a_record_arrives_with_its_fields() -> None:
    journal = Journal()
    log = logger_to(JournalHandler("gatepostd", journal.send))
    log.warning("peer %s is away", "far", extra={"fields": {"peer id": 7}})
    (entry,) = journal.entries

    assert entry["MESSAGE"] == "peer far is away"
    assert entry["PRIORITY"] == "4"
    assert entry["SYSLOG_IDENTIFIER"] == "gatepostd"
    assert entry["LOGGER"] == "gatepost.test"
    assert entry["GATEPOST_PEER_ID"] == "7"
    assert entry["CODE_FILE"] == __file__


def test_a_record_says_where_it_was_written() -> None:
    assert fields_of(record()) == {
        "MESSAGE": "text",
        "PRIORITY": "6",
        "LOGGER": "gatepost.test",
        "CODE_FILE": "file.py",
        "CODE_LINE": "7",
        "CODE_FUNC": "work",
    }


@pytest.mark.parametrize(
    ("level", "priority"), [(10, 7), (20, 6), (30, 4), (40, 3), (50, 2), (35, 4), (5, 7), (60, 2)]
)
def test_levels_become_syslog_priorities(level: int, priority: int) -> None:
    assert priority_of(level) == priority


def test_a_failure_arrives_with_its_traceback() -> None:
    journal = Journal()
    try:
        raise ValueError("no good")  # noqa: TRY301  # only to be caught
    except ValueError:
        logger_to(JournalHandler("gatepostd", journal.send)).exception("it failed")
    (entry,) = journal.entries

    assert entry["EXCEPTION"] == "ValueError"
    assert entry["MESSAGE"].startswith("it failed\nTraceback")
    assert entry["TRACEBACK"].endswith("ValueError: no good")


def test_a_journal_that_takes_nothing_is_said_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logger_to(JournalHandler("gatepostd", Journal(broken=True).send)).warning("peer is away")
    said = capsys.readouterr().err

    assert "no journal" in said
    assert "peer is away" in said


@given(some.dictionaries(some.sampled_from(["A", "B_2"]), some.text(some.characters())))
def test_any_text_can_be_sent(fields: dict[str, str]) -> None:
    expected = {k: v.encode("utf-8", "backslashreplace").decode() for k, v in fields.items()}
    journal = Journal()
    journal.send(*lines_of(fields))

    assert journal.entries == [expected]


def test_half_a_surrogate_is_written_out() -> None:
    assert list(lines_of({"MESSAGE": "\udcff"})) == [b"MESSAGE=\\udcff"]


def test_without_the_library_every_line_has_its_priority() -> None:
    with redirect_stderr(io.StringIO()) as said:
        log = logger_to(make_handler("gatepostd", None))
        log.warning("first\nsecond")
        log.debug("third")

    assert said.getvalue() == ("<4>gatepost.test: first\n<4>second\n<7>gatepost.test: third\n")


def test_without_the_library_a_traceback_keeps_its_priority() -> None:
    try:
        raise ValueError("no good")  # noqa: TRY301  # the trace is what the test is about
    except ValueError:
        failed = record(logging.ERROR)
        failed.exc_info = sys.exc_info()
    lines = PrefixFormatter().format(failed).splitlines()

    assert len(lines) > 3
    assert {line[:3] for line in lines} == {"<3>"}
    assert lines[-1] == "<3>ValueError: no good"


_PROGRAM = """
import logging, os, sys
found = os.fstat(2)
environment = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"} if sys.argv[1] == "yes" else {}
sys.modules["systemd"] = None  # nothing of that name can be imported
from gatepost.net.journal import set_up_logging
set_up_logging("gatepostd", logging.INFO, environment)
logging.getLogger("gatepost.test").warning("text")
"""


@pytest.mark.parametrize(
    ("journal", "said"),
    [("yes", "<4>gatepost.test: text\n"), ("no", "WARNING gatepost.test: text\n")],
)
def test_only_a_stderr_that_is_the_journal_gets_prefixes(journal: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, journal],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )

    assert done.stderr == said


def test_only_the_descriptor_that_systemd_made_is_the_journal() -> None:
    reading, writing = os.pipe()
    found = os.fstat(writing)

    assert is_journal(f"{found.st_dev}:{found.st_ino}", writing)
    assert not is_journal(f"{found.st_dev}:{found.st_ino + 1}", writing)
    assert not is_journal("", writing)
    os.close(reading)
    os.close(writing)
