"""The whole server, spoken to as nodes and other relays do."""

from __future__ import annotations

import http.client
import json
import secrets
import subprocess
import time
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from tests.coordination.serving import VERSION, RunningServer, box_of, get, hear, take

from gatepost.errors import RefusedError
from gatepost.model.keys import MachinePrivate, NodePrivate
from gatepost.wire.go_json import write_json
from gatepost.wire.hostinfo import Hostinfo
from gatepost.wire.netmap import MapRequest


async def test_two_machines_join_see_each_other_and_hear_of_changes(server: RunningServer) -> None:
    key = server.make_key("two", reusable=True)
    async with box_of(server, "one") as one, box_of(server, "two") as two:
        await one.register(key)
        async with aclosing(one.poll()) as stream:
            first = await take(stream)
            assert first.node is not None
            await two.register(key)
            await two.update("198.51.100.2:2")
            full = await hear(stream, "198.51.100.2:2", 2)
            (peer,) = [p for p in full.peers_changed or () if p.endpoints]
            assert (peer.home_derp, peer.cap) == (900, VERSION)
            began = time.monotonic()
            await two.update("198.51.100.2:3")

            patch = await hear(stream, "198.51.100.2:3")

            assert time.monotonic() - began < 1.0
            assert patch.peers_changed is None


async def test_a_restarted_node_needs_no_key(server: RunningServer) -> None:
    key = server.make_key("restart")
    async with box_of(server) as box:
        before = await box.register(key)
        async with box_of(server, machine=box.machine, node=box.node) as again:
            assert await again.register() == before
            assert await again.register(key) == before


async def test_a_renewed_key_keeps_addresses_and_name(server: RunningServer) -> None:
    key = server.make_key("renew", reusable=True)
    async with box_of(server, "renewing") as box:
        await box.register(key)
        async with aclosing(box.poll()) as old:
            before = (await take(old)).node
            renewed = replace(box, node=NodePrivate(secrets.token_bytes(32)))
            await renewed.register(key)
            async with aclosing(renewed.poll()) as stream:
                after = (await take(stream)).node

    assert before is not None
    assert after is not None
    assert after.key == renewed.node.public
    assert (after.id, after.name, after.addresses) == (before.id, before.name, before.addresses)


async def test_a_logout_ends_the_node_key(server: RunningServer) -> None:
    key = server.make_key("logout", reusable=True)
    async with box_of(server) as box:
        await box.register(key)
        leave = msgspec.structs.replace(box.request(key), expiry=datetime.fromtimestamp(123, UTC))

        assert (await box.client.register(leave)).node_key_expired
        assert (await box.register(key)).node_key_expired


async def test_a_node_key_works_only_with_its_own_machine_key(server: RunningServer) -> None:
    async with box_of(server) as box, box_of(server, node=box.node) as thief:
        await box.register(server.make_key("owner"))

        with pytest.raises(RefusedError, match="another machine"):
            await thief.register()
        with pytest.raises(RefusedError, match=r"403.*another machine"):
            await take(thief.poll())
        with pytest.raises(RefusedError, match="403"):
            await thief.update("198.51.100.2:2")
        body = write_json(MapRequest(node_key=box.node.public))
        for path in ("/machine/audit-log", "/machine/update-health"):
            assert (await thief.client.request("POST", path, body))[0] == 403
            assert (await box.client.request("POST", path, body))[0] == 200


async def test_an_unknown_node_key_is_sent_to_its_login(server: RunningServer) -> None:
    async with box_of(server) as box, aclosing(box.poll()) as stream:
        told = await take(stream)

        assert told.node is not None
        assert told.node.expired
        assert told.peers is None
        with pytest.raises(TimeoutError):  # it would poll again at once if the stream ended
            await take(stream, 0.3)
        with pytest.raises(RefusedError, match="404"):
            await box.update()


async def test_a_one_shot_map_has_everything_and_ends(server: RunningServer) -> None:
    async with box_of(server) as box:
        await box.register(server.make_key("once"))
        request = MapRequest(version=VERSION, node_key=box.node.public, compress="zstd")
        async with aclosing(box.client.map(request)) as stream:
            told = [m async for m in stream]

    assert len(told) == 1
    assert told[0].node is not None
    assert told[0].derp_map is not None


async def test_what_a_stream_request_says_of_the_node_is_not_taken(server: RunningServer) -> None:
    async with box_of(server, "steady") as box:
        await box.register(server.make_key("steady"))
        await box.update("198.51.100.9:9")
        request = MapRequest(
            version=VERSION, node_key=box.node.public, stream=True, hostinfo=Hostinfo(hostname="x"),
            endpoints=(),
        )  # fmt: skip
        async with aclosing(box.client.map(request)) as stream:
            await take(stream)
            (node,) = [n for n in server.admin.nodes() if n.node_key == str(box.node.public)]

            assert node.name == "steady"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/machine/nothing", 404),
        ("POST", "/machine/set-dns", 501),
        ("GET", "/machine/tka/bootstrap", 501),
        ("PATCH", "/machine/set-device-attr", 501),
        ("POST", "/machine/map", 400),
        ("POST", "/machine/register", 400),
    ],
)
async def test_what_is_not_offered_or_not_json_is_answered_honestly(
    server: RunningServer, method: str, path: str, status: int
) -> None:
    async with box_of(server) as box:
        assert (await box.client.request(method, path, b"not json"))[0] == status


async def test_a_wrong_endpoint_or_route_is_refused_by_name(server: RunningServer) -> None:
    async with box_of(server) as box:
        await box.register(server.make_key("wrong"))
        with pytest.raises(RefusedError, match=r"400.*300\.1\.1\.1"):
            await box.update("300.1.1.1:5")
        bad = Hostinfo(hostname="box", routable_ips=("10.0.0.1/8",))
        with pytest.raises(RefusedError, match=r"400.*10\.0\.0\.1/8"):
            await box.client.update(
                MapRequest(version=VERSION, node_key=box.node.public, hostinfo=bad)
            )


# --- outside Noise ----------------------------------------------------------------------------
def test_the_public_pages_answer(server: RunningServer) -> None:
    assert get(server, "/health") == (200, b'{"status":"pass"}')
    assert json.loads(get(server, "/version")[1])["version"]
    status, body = get(server, "/key?v=131")
    assert (status, json.loads(body)["publicKey"][:5]) == (200, "mkey:")
    assert get(server, "/key")[0] == 400
    assert get(server, "/generate_204")[0] == 204
    assert get(server, "/derp/probe")[0] == 200
    assert get(server, "/nothing")[0] == 404
    assert get(server, "/register/nothing")[0] == 404
    assert get(server, "/ts2021")[0] == 400


async def test_a_relay_may_ask_whom_to_admit(server: RunningServer) -> None:
    def verify(key: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        connection.request(
            "POST", "/verify", json.dumps({"NodePublic": key, "Source": "192.0.2.1"})
        )
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    async with box_of(server) as box:
        assert verify(str(box.node.public)) == (200, b'{"Allow":false}')
        await box.register(server.make_key("verify"))
        assert verify(str(box.node.public)) == (200, b'{"Allow":true}')
    assert verify("nodekey:zz")[0] == 400


def test_a_second_server_on_the_same_state_is_refused(server: RunningServer) -> None:
    result = subprocess.run(server.command(), capture_output=True, check=False, timeout=30)

    assert result.returncode == 1
    assert b"in use by another coordination server" in result.stderr


def test_a_taken_port_is_named(server: RunningServer, tmp_path: Path) -> None:
    other = RunningServer(tmp_path)
    other.settings.write_text(server.settings.read_text())

    result = subprocess.run(other.command(), capture_output=True, check=False, timeout=30)

    assert result.returncode == 1
    assert f"port {server.port}: Address already in use".encode() in result.stderr


def test_the_servers_private_keys_are_for_its_owner_only(server: RunningServer) -> None:
    for name in ("noise.key", "derp.key"):
        assert (server.state / name).stat().st_mode & 0o777 == 0o600
    private = MachinePrivate.parse((server.state / "noise.key").read_text().strip())
    assert str(private.public) == server.admin.server().public_key
