"""What machines ask behind Noise, while administrators change what they are."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.coordination.makers import ALICE, MESH, NOW, make_node, make_report, running_ledger

from gatepost.coordination.delta import Messages
from gatepost.coordination.ledger import Decision
from gatepost.coordination.logins import Logins
from gatepost.coordination.machine import MachineApi
from gatepost.coordination.presence import Presences
from gatepost.coordination.probes import Probes
from gatepost.coordination.records import DropNode, PutNode, PutUser
from gatepost.coordination.registrar import Registrar
from gatepost.coordination.ssh_actions import SshActions
from gatepost.coordination.ssh_checks import SshChecks
from gatepost.coordination.stream import Streams
from gatepost.net.control_server import ControlRequest
from gatepost.wire.go_json import write_json
from gatepost.wire.netmap import MapRequest


async def test_a_node_that_is_deleted_while_it_reports_is_told_so(tmp_path: Path) -> None:
    async with running_ledger(tmp_path / "db.sqlite") as ledger:
        node = make_node(1)
        await ledger.change(
            lambda _: Decision(None, (PutUser(ALICE), PutNode(node, make_report(1))))
        )
        presences = Presences(ledger, lambda: NOW, 60.0)
        messages = Messages(MESH, lambda _world, _node: ())
        streams = Streams(ledger, messages, presences, lambda: NOW, lambda: 0.5)
        logins = Logins(lambda: NOW, lambda: "id")
        registrar = Registrar(ledger, logins, presences, key_expiry=None, login_url=str)
        probes = Probes(ledger, streams, server_url="", clock=lambda: NOW, token=lambda: "")
        ssh = SshActions(ledger, SshChecks(lambda: NOW, lambda: ""), str)
        api = MachineApi(ledger, registrar, streams, messages, probes, ssh)
        asked = MapRequest(version=131, node_key=node.key, endpoints=("192.0.2.9:9",))
        request = ControlRequest(
            method="POST", path="/machine/map", query={}, headers={}, body=write_json(asked),
            machine=node.machine, version=131, peer="192.0.2.1",
        )  # fmt: skip

        answer, _ = await asyncio.gather(
            api.handle(request), ledger.change(lambda _: Decision(None, (DropNode(1),)))
        )

    assert answer.status == 404
    assert b"not known here" in answer.body
