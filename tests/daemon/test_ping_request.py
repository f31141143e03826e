"""What the server may ask of the node."""

from __future__ import annotations

import base64
from ipaddress import ip_address

import pytest
from tests.daemon.fake_server import FakeServer

from gatepost.daemon.ping_request import answer_c2n, answer_ping
from gatepost.errors import Malformed
from gatepost.model.keys import MachinePrivate
from gatepost.model.netmap import IPAddress
from gatepost.wire.go_json import read_json
from gatepost.wire.netmap import PingRequest, PingResponse

ECHO = b"POST /echo HTTP/1.1\r\nHost: node\r\nContent-Length: 5\r\n\r\nhello"


ALIVE = ip_address("100.64.0.7")


async def tsmp_ping(address: IPAddress, _seconds: float) -> float | None:
    return 0.25 if address == ALIVE else None


async def asked(ping: PingRequest) -> list[tuple[str, str, bytes]]:
    server = FakeServer()
    await answer_ping(server.connect("", MachinePrivate(bytes(32))), ping, tsmp_ping)
    return [(method, path, body) for method, path, body, _ in server.requests]


async def test_a_sign_of_life_is_a_head_request_to_the_server_whatever_host_the_url_names() -> None:
    ping = PingRequest(url="https://elsewhere.test/machine/ping-response?id=7")

    assert await asked(ping) == [("HEAD", "/machine/ping-response?id=7", b"")]


async def test_an_echo_comes_back() -> None:
    ping = PingRequest(url="/c2n/1", types="c2n", payload=base64.b64encode(ECHO).decode())
    ((method, path, body),) = await asked(ping)

    assert (method, path) == ("POST", "/c2n/1")
    assert body == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


async def test_a_peer_that_answers_inside_the_tunnel_is_told_to_the_server() -> None:
    ping = PingRequest(url="/machine/ping/x", types="TSMP", ip=str(ALIVE))
    ((method, path, body),) = await asked(ping)

    assert (method, path) == ("POST", "/machine/ping/x")
    assert read_json(body, PingResponse) == PingResponse(
        type="TSMP", ip=str(ALIVE), latency_seconds=0.25
    )


async def test_a_peer_that_does_not_answer_is_not_told_of() -> None:
    assert await asked(PingRequest(url="/x", types="TSMP", ip="100.64.0.8")) == []


def test_an_unknown_path_is_not_found() -> None:
    assert answer_c2n(b"GET /debug/prefs HTTP/1.1\r\nHost: n\r\n\r\n").startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("length", range(len(ECHO)))
def test_every_truncation_of_a_request_is_malformed(length: int) -> None:
    with pytest.raises(Malformed):
        answer_c2n(ECHO[:length])


@pytest.mark.parametrize(
    "ping",
    [
        PingRequest(url="/x", types="c2n", payload="***"),
        PingRequest(url="/x", types="c2n", payload=base64.b64encode(b"\0nonsense").decode()),
        PingRequest(url="/x", types="TSMP,disco", ip="100.64.0.1"),
        PingRequest(url="/x", types="TSMP", ip="nowhere"),
    ],
    ids=["no base64", "no http", "other kinds", "no address"],
)
async def test_what_cannot_be_done_is_not_answered_and_harms_nobody(ping: PingRequest) -> None:
    assert await asked(ping) == []
