"""What official clients really send, replayed. The recordings' README says where from."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from tests.coordination.serving import RunningServer

from gatepost.model.keys import MachinePrivate
from gatepost.net.control_client import ControlClient
from gatepost.wire.go_json import read_json
from gatepost.wire.netmap import MapRequest
from gatepost.wire.register import RegisterRequest, RegisterResponse

RECORDED = Path(__file__).parent / "recorded"
VERSIONS = {"1.90.9": 130, "1.103.0": 145}  # release to capability version
each_client = pytest.mark.parametrize("release", VERSIONS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path_factory.mktemp("server"))
    running.start()
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.log()


def recorded(release: str, what: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDED / f"{release}-{what}.json").read_bytes())
    return found


def as_bytes(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode()


@each_client
def test_every_field_we_act_on_is_read(release: str) -> None:
    register = read_json(as_bytes(recorded(release, "register")), RegisterRequest)
    lite = read_json(as_bytes(recorded(release, "map-lite")), MapRequest)

    assert register.version == lite.version == VERSIONS[release]
    assert register.auth is not None
    assert register.auth.auth_key.startswith("gpauth-")
    assert register.expiry is None
    assert lite.omit_peers
    assert lite.endpoints is not None
    assert len(lite.endpoints) == len(lite.endpoint_types or ())
    assert lite.hostinfo is not None
    assert [s.proto for s in lite.hostinfo.services or ()][:2] == ["peerapi4", "peerapi6"]


def test_the_newest_client_tells_its_derp_home() -> None:
    lite = read_json(as_bytes(recorded("1.103.0", "map-lite")), MapRequest)

    assert lite.hostinfo is not None
    assert lite.hostinfo.net_info is not None
    assert lite.hostinfo.net_info.preferred_derp == 900


def test_a_logout_is_told_by_an_expiry_in_the_past() -> None:
    logout = read_json(as_bytes(recorded("1.90.9", "logout")), RegisterRequest)

    assert logout.expiry is not None
    assert logout.expiry.year == 1970


@each_client
async def test_a_recorded_client_joins_again(server: RunningServer, release: str) -> None:
    register = recorded(release, "register")
    register["Auth"]["AuthKey"] = server.make_key(f"user-{release}")
    client = ControlClient(
        server.url, MachinePrivate(secrets.token_bytes(32)), version=VERSIONS[release]
    )
    try:
        status, body = await client.request("POST", "/machine/register", as_bytes(register))
        answer = read_json(body, RegisterResponse)
        assert (status, answer.error, answer.machine_authorized) == (200, "", True)
        lite, poll = (
            recorded(release, what) | {"NodeKey": register["NodeKey"]}
            for what in ("map-lite", "map-stream")
        )
        assert await client.request("POST", "/machine/map", as_bytes(lite)) == (200, b"")
        async with aclosing(client.map(read_json(as_bytes(poll), MapRequest))) as stream:
            first = await anext(stream)

        assert first.node is not None
        assert first.node.name.split(".")[0] == register["Hostinfo"]["Hostname"]
        assert first.node.machine_authorized
        assert first.derp_map is not None
        assert first.packet_filters is not None
    finally:
        await client.close()
