"""Where a program's log goes: to the systemd journal with fields, else to stderr as text.

systemd-python is compiled on the box (extra `appliance`); a checkout, the lab and
the tests do without it, and lose the fields, not the lines.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import cast

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7  # syslog(3), as the numbers above

Send = Callable[..., None]  # takes the fields of one entry, each b"NAME=value"


def set_up_logging(program: str, level: int, environment: Mapping[str, str] = os.environ) -> None:
    """Send the root logger's records where they belong; call once, at the start of a program.

    To the journal when stderr is connected to it (`$JOURNAL_STREAM` says so); to stderr else.
    """
    stream = environment.get("JOURNAL_STREAM")
    if stream and is_journal(stream, sys.stderr.fileno()):
        logging.basicConfig(level=level, handlers=[make_handler(program, load_send())])
        return
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")


def is_journal(stream: str, descriptor: int) -> bool:
    """Say whether a descriptor is the one that systemd made ("device:inode")."""
    found = os.fstat(descriptor)
    return stream == f"{found.st_dev}:{found.st_ino}"


def load_send() -> Send | None:
    """Return the library's function, or None where it is not installed."""
    try:
        journal = import_module("systemd.journal")  # by name: only a real box has it
    except ImportError:
        return None
    return cast("Send", journal.sendv)  # the library has no types


def make_handler(program: str, send: Send | None) -> logging.Handler:
    """Return what writes to the journal: through `send`, or without it through stderr."""
    if send is not None:
        return JournalHandler(program, send)
    handler = logging.StreamHandler()
    handler.setFormatter(PrefixFormatter("%(name)s: %(message)s"))
    return handler


class JournalHandler(logging.Handler):
    """Sends fields. A record's `fields` (`extra={"fields": {...}}`) become GATEPOST_* ones.

    It waits for a journal that is behind, as a line to stderr would.
    """

    def __init__(self, program: str, send: Send) -> None:
        super().__init__()
        self._program = program
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        fields = dict(fields_of(record), SYSLOG_IDENTIFIER=self._program)
        try:
            self._send(*lines_of(fields))
        except OSError:
            self.handleError(record)  # says so on stderr, which is all that is left


class PrefixFormatter(logging.Formatter):
    """Begins every line with its priority, "<4>": the journal takes that off (sd-daemon(3))."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{priority_of(record.levelno)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def fields_of(record: logging.LogRecord) -> dict[str, str]:
    """Return the journal's fields of a record (systemd.journal-fields(7))."""
    fields = {
        "MESSAGE": record.getMessage(),
        "PRIORITY": str(priority_of(record.levelno)),
        "LOGGER": record.name,
        "CODE_FILE": record.pathname,
        "CODE_LINE": str(record.lineno),
        "CODE_FUNC": record.funcName or "",
    }
    if record.exc_info and record.exc_info[0]:
        trace = logging.Formatter().formatException(record.exc_info)
        fields |= {"EXCEPTION": record.exc_info[0].__name__, "TRACEBACK": trace}
        fields["MESSAGE"] += f"\n{trace}"
    extra = getattr(record, "fields", None)
    if isinstance(extra, Mapping):
        more = cast("Mapping[object, object]", extra)  # whatever it holds has a text
        fields |= {f"GATEPOST_{_name(str(name))}": str(value) for name, value in more.items()}
    return fields


def lines_of(fields: Mapping[str, str]) -> Iterator[bytes]:
    """Yield NAME=value, as sd_journal_sendv(3) takes it: any octets but none that are no UTF-8."""
    for name, value in fields.items():
        yield f"{name}={value}".encode("utf-8", "backslashreplace")


def priority_of(level: int) -> int:
    """Return the syslog priority, 2 (critical) to 7 (debug), of a level of `logging`."""
    return next((number for least, number in _PRIORITIES if level >= least), _DEBUG)


def _name(text: str) -> str:
    """Return a field name: A-Z, 0-9 and _ are allowed."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in text.upper())
