"""Log records to the systemd journal with their fields, or to stderr where there is none.

Spoken natively (systemd's "Native Journal Protocol"): one datagram an entry, to
a socket. systemd-python would do the same, but has to be compiled on the box.

    text value:    NAME=value LF
    with a LF:     NAME LF  length (8 octets, little endian)  value LF
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

SOCKET = Path("/run/systemd/journal/socket")
_LONGEST = 32 << 10  # octets of one value; the socket takes about 200 KiB in all
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7  # syslog(3), as the numbers above


def set_up_logging(program: str, level: int, environment: Mapping[str, str] = os.environ) -> None:
    """Send the root logger's records where they belong; call once, at the start of a program.

    To the journal when stderr is connected to it (`$JOURNAL_STREAM` says so),
    with fields; to stderr else.
    """
    stream = environment.get("JOURNAL_STREAM")
    if stream and is_journal(stream, sys.stderr.fileno()):
        logging.basicConfig(level=level, handlers=[JournalHandler(program)])
        return
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")


def is_journal(stream: str, descriptor: int) -> bool:
    """Say whether a descriptor is the one that systemd made ("device:inode")."""
    found = os.fstat(descriptor)
    return stream == f"{found.st_dev}:{found.st_ino}"


class JournalHandler(logging.Handler):
    """Never waits: what the journal does not take at once is counted, and said with the next.

    A record's attribute `fields` (a mapping, from `extra={"fields": {...}}`)
    becomes fields named GATEPOST_*.
    """

    def __init__(self, program: str, path: Path = SOCKET) -> None:
        super().__init__()
        self._program = program
        self._path = str(path)
        self._lost = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        fields = dict(fields_of(record), SYSLOG_IDENTIFIER=self._program)
        if self._lost:
            fields["GATEPOST_LOST"] = str(self._lost)
        try:
            self._socket.sendto(encode(fields.items()), self._path)
        except OSError:
            self._lost += 1  # a log has nobody to tell but its next entry
        else:
            self._lost = 0

    def close(self) -> None:
        self._socket.close()
        super().close()


def fields_of(record: logging.LogRecord) -> dict[str, str]:
    """Return the journal's fields of a record (systemd.journal-fields(7))."""
    fields = {
        "MESSAGE": record.getMessage(),
        "PRIORITY": str(_priority(record.levelno)),
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


def encode(fields: Iterable[tuple[str, str]]) -> bytes:
    """Return one entry; values over 32 KiB are cut."""
    parts: list[bytes] = []
    for name, text in fields:
        value = text.encode("utf-8", "backslashreplace")[:_LONGEST]
        if b"\n" in value:
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n")
        else:
            parts.append(name.encode() + b"=" + value + b"\n")
    return b"".join(parts)


def _priority(level: int) -> int:
    return next((number for least, number in _PRIORITIES if level >= least), _DEBUG)


def _name(text: str) -> str:
    """Return a field name: A-Z, 0-9 and _ are allowed."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in text.upper())
