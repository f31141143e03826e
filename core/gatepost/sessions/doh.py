"""DNS over HTTP/2 (RFC 8484) from the asker's side, without sockets.

Many questions share one connection, each on a stream of its own. The id in the messages is 0,
as the RFC asks, so that answers can be cached on the way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import h2.events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import H2Error

from gatepost.errors import Malformed, UnreachableError
from gatepost.sessions.doh_requests import LARGEST, MEDIA_TYPE

OK = 200


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of one stream; `problem` says why there is no body."""

    stream: int
    body: bytes = b""
    problem: str = ""


@dataclass(slots=True)
class _Answer:
    status: int = 0
    media_type: str = ""
    body: bytearray = field(default_factory=bytearray)


class DohSession:
    """One connection to one server. What `take` returns must be written to it."""

    def __init__(self, authority: str, path: str) -> None:
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._authority = authority
        self._path = path
        self._answers = dict[int, _Answer]()
        self.is_over = False
        self._h2.initiate_connection()

    def take(self) -> bytes:
        return self._h2.data_to_send()

    def ask(self, question: bytes) -> int:
        """Send a question and return its stream; raise `UnreachableError` if it takes no more."""
        head = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", self._authority),
            (":path", self._path),
            ("content-type", MEDIA_TYPE),
            ("accept", MEDIA_TYPE),
            ("content-length", str(len(question))),
        ]
        try:
            stream = self._h2.get_next_available_stream_id()
            self._h2.send_headers(stream, head)
            self._h2.send_data(stream, question, end_stream=True)
        except H2Error as error:
            raise UnreachableError(f"no more questions on this connection: {error}") from error
        self._answers[stream] = _Answer()
        return stream

    def forget(self, stream: int) -> None:
        """Nobody waits for this answer any more."""
        if self._answers.pop(stream, None) is not None and not self.is_over:
            try:
                self._h2.reset_stream(stream)
            except H2Error:  # it has ended meanwhile
                return

    def receive(self, arrived: bytes) -> list[Reply]:
        """Take bytes; raise `Malformed` when the connection is lost."""
        try:
            events = self._h2.receive_data(arrived)
        except H2Error as error:
            self.is_over = True
            raise Malformed(f"HTTP/2: {error}") from error
        return [reply for event in events if (reply := self._on(event)) is not None]

    def _on(self, event: h2.events.Event) -> Reply | None:
        match event:
            case h2.events.ResponseReceived():
                self._on_head(event)
            case h2.events.DataReceived():
                return self._on_data(event)
            case h2.events.StreamEnded():
                return self._end(event.stream_id or 0)
            case h2.events.StreamReset():
                stream = event.stream_id or 0
                if self._answers.pop(stream, None) is not None:
                    return Reply(stream, problem="the server gave the question up")
            case h2.events.ConnectionTerminated():
                self.is_over = True
            case _:
                pass
        return None

    def _on_head(self, event: h2.events.ResponseReceived) -> None:
        answer = self._answers.get(event.stream_id or 0)
        if answer is None:
            return
        fields = {_text(name): _text(value) for name, value in event.headers or []}
        status = fields.get(":status", "")
        answer.status = int(status) if status.isdecimal() else 0
        answer.media_type = fields.get("content-type", "").partition(";")[0].strip().lower()

    def _on_data(self, event: h2.events.DataReceived) -> Reply | None:
        stream, cost = event.stream_id or 0, event.flow_controlled_length or 0
        if cost:
            self._h2.acknowledge_received_data(cost, stream)
        answer = self._answers.get(stream)
        if answer is None:
            return None
        answer.body += event.data or b""
        if len(answer.body) > LARGEST:
            self.forget(stream)
            return Reply(stream, problem=f"the answer has over {LARGEST} bytes")
        return None

    def _end(self, stream: int) -> Reply | None:
        answer = self._answers.pop(stream, None)
        if answer is None:
            return None
        if problem := problem_with(answer.status, answer.media_type):
            return Reply(stream, problem=problem)
        return Reply(stream, bytes(answer.body))


def problem_with(status: int, media_type: str) -> str:
    """Say why an HTTP answer is none to a question; "" if it is one."""
    if status != OK:
        return f"the server answers with status {status}"
    if media_type != MEDIA_TYPE:
        return f"the server answers with {media_type or 'nothing'}, not {MEDIA_TYPE}"
    return ""


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
