"""What nodes may ask inside Noise. Every handler compares machine key and node key.

Source: protocol document 1.6 to 1.9.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus

from gatepost.coordination.delta import Messages
from gatepost.coordination.labels import label_of, unique_label
from gatepost.coordination.ledger import Decision, Ledger
from gatepost.coordination.probes import PATH as PING
from gatepost.coordination.probes import Probes
from gatepost.coordination.records import NodeRecord, PutNode, Records
from gatepost.coordination.registrar import Caller, Registrar, TooManyError
from gatepost.coordination.registration import check_version
from gatepost.coordination.reports import updated
from gatepost.coordination.ssh_actions import PATH as SSH_ACTION
from gatepost.coordination.ssh_actions import SshActions
from gatepost.coordination.stream import Streams
from gatepost.errors import Malformed, RefusedError, StateError
from gatepost.net.control_server import ControlRequest, ControlResponse
from gatepost.wire.go_json import read_json, write_json
from gatepost.wire.map_frames import ZSTD
from gatepost.wire.netmap import MapRequest
from gatepost.wire.register import RegisterRequest

log = logging.getLogger(__name__)

_FAREWELL = 90.0  # seconds; a client gives up a silent stream after 120
_NOBODYS_ID = (1 << 53) - 1  # the largest that clients take; ids count up from 1
_PREFIXES = (PING, SSH_ACTION)  # what follows them is for the handler
_Handler = Callable[[ControlRequest], Awaitable[ControlResponse]]
# Known to clients and not offered; a client copes with "not implemented".
_LATER = ("/machine/set-dns", "/machine/id-token", "/machine/feature/query", "/machine/tka/",
          "/machine/webclient/", "/machine/set-device-attr", "/machine/ssh/")  # fmt: skip


class MachineApi:
    """The handler behind Noise."""

    def __init__(
        self,
        ledger: Ledger,
        registrar: Registrar,
        streams: Streams,
        messages: Messages,
        probes: Probes,
        ssh: SshActions,
    ) -> None:
        self._ledger = ledger
        self._registrar = registrar
        self._streams = streams
        self._messages = messages
        self._probes = probes
        self._handlers: dict[tuple[str, str], _Handler] = {
            ("POST", "/machine/register"): self._register,
            ("POST", "/machine/map"): self._map,
            ("POST", "/machine/audit-log"): self._audit,
            ("POST", "/machine/update-health"): self._health,
            ("POST", PING): self._ping,
            ("HEAD", PING): self._ping,
            ("GET", SSH_ACTION): ssh.answer,
        }

    async def handle(self, request: ControlRequest) -> ControlResponse:
        """Answer one request; errors of the asker become statuses here."""
        path = next((p for p in _PREFIXES if request.path.startswith(p)), request.path)
        handler = self._handlers.get((request.method, path))
        if handler is None:
            return _unknown(request)
        try:
            return await handler(request)
        except TooManyError as error:
            seconds = str(math.ceil(error.wait))
            return _text(HTTPStatus.TOO_MANY_REQUESTS, str(error), (("retry-after", seconds),))
        except Malformed as error:
            return _text(HTTPStatus.BAD_REQUEST, str(error))
        except RefusedError as error:
            return _text(HTTPStatus.FORBIDDEN, str(error))
        except StateError:
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, "the server cannot store anything now")

    async def _register(self, request: ControlRequest) -> ControlResponse:
        asked = read_json(request.body, RegisterRequest)
        caller = Caller(machine=request.machine, source=request.peer, closed=request.closed)
        answer = await self._registrar.register(asked, caller)
        return ControlResponse(body=write_json(answer))

    async def _map(self, request: ControlRequest) -> ControlResponse:
        asked = read_json(request.body, MapRequest)
        check_version(asked.version)
        if asked.compress not in {"", ZSTD}:
            raise Malformed(f"compression {asked.compress!r} is unknown: ask for {ZSTD!r}")
        record = self._ledger.world.records.node_by_key(asked.node_key)
        if record is None:
            return self._farewell(asked, request)
        if record.machine != request.machine:
            raise RefusedError(f"node key {asked.node_key.short} belongs to another machine")
        if asked.stream:
            return ControlResponse(stream=self._streams.open(record, asked.compress))
        if not asked.read_only:
            await self._update(record, asked)
            if record.id not in self._ledger.world.nodes:  # deleted while that was written
                return self._farewell(asked, request)
        if asked.omit_peers:
            return ControlResponse()
        return ControlResponse(body=self._streams.once(record.id, asked.compress))

    def _farewell(self, asked: MapRequest, request: ControlRequest) -> ControlResponse:
        """Answer a node key that is not (or no longer) ours.

        A client whose poll is refused only tries again, for ever. So a node that
        was deleted while it was away is told that its key has expired, which
        sends it to its login. Nothing else is said, and only about itself.
        """
        if not asked.stream:
            return _text(HTTPStatus.NOT_FOUND, "this node key is not known here: log in again")
        log.info("%s polls with a node key that is not known here", request.peer)
        frame = self._messages.eviction(
            asked.node_key, request.machine, _NOBODYS_ID, asked.compress
        )
        return ControlResponse(stream=_then_silence(frame, request.closed))

    async def _update(self, record: NodeRecord, asked: MapRequest) -> None:
        """Take what a node says about itself; what did not change costs nothing."""
        node = self._ledger.world.nodes[record.id]
        report = updated(node.report, asked, self._ledger.now)
        is_same = replace(report, last_seen=node.report.last_seen) == node.report
        if not is_same or not self._ledger.is_settled(record.id):
            await self._ledger.report(record.id, report)
        if asked.hostinfo is not None and not record.renamed:
            await self._relabel(record, asked.hostinfo.hostname)

    async def _relabel(self, record: NodeRecord, hostname: str) -> None:
        """Follow the machine's own name, until an administrator chooses one."""
        wanted = label_of(hostname)
        if not hostname or _is_form_of(record.label, wanted):
            return

        def decide(records: Records) -> Decision[None]:
            newest = records.nodes.get(record.id)
            if newest is None or newest.renamed:
                return Decision(None)
            label = unique_label(wanted, records.labels)
            return Decision(None, (PutNode(replace(newest, label=label)),))

        await self._ledger.change(decide)

    async def _audit(self, request: ControlRequest) -> ControlResponse:
        """Write a user's stated reason (for disconnecting, say) into the log."""
        record = self._node_of(request)
        log.info("audit: node %s: %s", record.label, request.body[:1000].decode(errors="replace"))
        return ControlResponse()

    async def _health(self, request: ControlRequest) -> ControlResponse:
        """Accept what clients before October 2025 send; nothing is made of it."""
        self._node_of(request)
        return ControlResponse()

    async def _ping(self, request: ControlRequest) -> ControlResponse:
        """Take the answer to a question of ours."""
        token = request.path.removeprefix(PING)
        is_ours = self._probes.answer(token, request.machine, request.body)
        return ControlResponse() if is_ours else _text(HTTPStatus.NOT_FOUND, "nobody asked that")

    def _node_of(self, request: ControlRequest) -> NodeRecord:
        """Return the node that a request names, if it is this machine's."""
        asked = read_json(request.body, MapRequest)  # of which only NodeKey is there
        record = self._ledger.world.records.node_by_key(asked.node_key)
        if record is None or record.machine != request.machine:
            raise RefusedError("this node key is not known here")
        return record


def _is_form_of(label: str, wanted: str) -> bool:
    """Say whether a label is the wanted one, perhaps with a number against duplicates."""
    head, _, number = label.rpartition("-")
    return label == wanted or (number.isdigit() and bool(head) and wanted.startswith(head))


async def _then_silence(frame: bytes, closed: asyncio.Event) -> AsyncGenerator[bytes]:
    """Yield one frame and keep the stream open.

    A client polls again the moment its stream ends, also when it has just been
    told to log in: an official one was seen doing that 80 times a second.
    """
    yield frame
    with suppress(TimeoutError):
        async with asyncio.timeout(_FAREWELL):
            await closed.wait()


def _unknown(request: ControlRequest) -> ControlResponse:
    log.debug("%s %s from %s is not offered", request.method, request.path, request.peer)
    is_later = request.path.startswith(_LATER)
    status = HTTPStatus.NOT_IMPLEMENTED if is_later else HTTPStatus.NOT_FOUND
    return _text(status, f"{request.method} {request.path} is not offered by this server")


def _text(
    status: HTTPStatus, text: str, headers: tuple[tuple[str, str], ...] = ()
) -> ControlResponse:
    return ControlResponse(status=status.value, body=text.encode() + b"\n", headers=headers)
