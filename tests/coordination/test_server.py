"""The whole server, spoken to as nodes, people and administrators do."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import secrets
import subprocess
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from tests.coordination.serving import VERSION, Box, RunningServer, box_of

from gatepost.errors import NotFoundError, RefusedError, UnreachableError
from gatepost.model.admin import ApproveRequest, NodeRequest, UserRequest
from gatepost.model.keys import MachinePrivate, NodePrivate
from gatepost.sessions.netmap import MapState
from gatepost.wire.go_json import write_json
from gatepost.wire.hostinfo import Hostinfo
from gatepost.wire.netmap import MapRequest, MapResponse


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests of this file; each test brings its own users and machines."""
    running = RunningServer(tmp_path_factory.mktemp("server"))
    running.start()
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.log()


async def take(stream: AsyncGenerator[MapResponse], limit: float = 5.0) -> MapResponse:
    return await asyncio.wait_for(anext(stream), limit)


async def hear(stream: AsyncGenerator[MapResponse], text: str, limit: float = 1.0) -> MapResponse:
    """Wait for the message in which this text occurs."""
    async with asyncio.timeout(limit):
        async for message in stream:
            if text in write_json(message).decode():
                return message
    raise AssertionError(f"the stream ended without {text}")


def get(server: RunningServer, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


# --- nodes -----------------------------------------------------------------------
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


# --- people --------------------------------------------------------------------------
async def login(box: Box) -> str:
    """Ask to join without a key; return the address to show."""
    answer = await box.register()
    assert answer.auth_url
    return answer.auth_url


async def test_an_approved_login_lets_the_waiting_machine_in(server: RunningServer) -> None:
    server.make_key("person")
    async with box_of(server, "laptop") as box, asyncio.TaskGroup() as group:
        url = await login(box)
        waiting = group.create_task(box.register(followup=url))
        login_id = url.rpartition("/")[2]
        assert url == f"{server.url}/register/{login_id}"
        assert login_id in {r.id for r in server.admin.registrations()}
        status, page = get(server, f"/register/{login_id}")
        assert (status, login_id in page.decode()) == (200, True)

        await asyncio.to_thread(server.admin.approve, login_id, ApproveRequest(user="person"))

        answer = await waiting
    assert answer.machine_authorized
    assert answer.login.login_name == "person"
    assert "Approved" in get(server, f"/register/{login_id}")[1].decode()
    with pytest.raises(RefusedError, match="approved already"):
        server.admin.approve(login_id, ApproveRequest(user="person"))


async def test_a_denied_login_is_told_so(server: RunningServer) -> None:
    async with box_of(server, "stranger") as box, asyncio.TaskGroup() as group:
        url = await login(box)
        waiting = group.create_task(_refusal(box, url))
        await asyncio.sleep(0.1)

        await asyncio.to_thread(server.admin.deny, url.rpartition("/")[2])

        assert "denied" in await waiting


async def _refusal(box: Box, url: str) -> str:
    with pytest.raises(RefusedError) as caught:
        await box.register(followup=url)
    return str(caught.value)


async def test_a_login_that_the_server_does_not_know_gets_a_new_address(
    server: RunningServer,
) -> None:
    async with box_of(server) as box:
        answer = await box.register(followup=f"{server.url}/register/forgotten")

    assert answer.auth_url.startswith(f"{server.url}/register/")
    assert not answer.auth_url.endswith("forgotten")


async def test_a_machine_that_stops_waiting_is_forgotten_at_once(server: RunningServer) -> None:
    async with box_of(server, "impatient") as box:
        url = await login(box)
        waiting = asyncio.gather(box.register(followup=url))
        await asyncio.sleep(0.1)
        await box.client.close()
        with pytest.raises(UnreachableError):
            await waiting
        async with box_of(server, "impatient", machine=box.machine, node=box.node) as again:
            assert (await again.register()).auth_url == url


# --- administrators ----------------------------------------------------------------------
async def test_a_deleted_node_is_sent_to_its_login_and_forgotten_by_others(
    server: RunningServer,
) -> None:
    key = server.make_key("delete", reusable=True)
    async with box_of(server, "leaver") as leaver, box_of(server, "stayer") as stayer:
        await leaver.register(key)
        await stayer.register(key)
        async with aclosing(leaver.poll()) as gone, aclosing(stayer.poll()) as witness:
            first = await take(gone)
            assert first.node is not None
            known = MapState()
            known.apply(await take(witness))

            await asyncio.to_thread(server.admin.delete_node, "leaver")

            told = await hear(gone, '"Expired":true', 2)
            assert told.node is not None
            assert told.node.key == leaver.node.public
            await hear(witness, '"PeersRemoved"', 2)


async def test_a_renamed_node_keeps_its_name_whatever_the_machine_says(
    server: RunningServer,
) -> None:
    async with box_of(server, "before") as box:
        await box.register(server.make_key("rename"))
        await asyncio.to_thread(server.admin.change_node, "before", NodeRequest(name="chosen"))
        box.name = "after"

        await box.update("198.51.100.1:1")

        assert server.admin.change_node("chosen", NodeRequest()).name == "chosen"


async def test_a_name_that_nobody_chose_follows_the_machine(server: RunningServer) -> None:
    async with box_of(server, "first-name") as box:
        await box.register(server.make_key("follow"))
        box.name = "second-name"

        await box.update("198.51.100.1:1")

        (node,) = [n for n in server.admin.nodes() if n.node_key == str(box.node.public)]
        assert (node.name, node.fqdn) == ("second-name", "second-name.mesh.example")


async def test_an_approved_route_leads_to_its_announcer(server: RunningServer) -> None:
    key = server.make_key("routes", reusable=True)
    async with box_of(server, "router") as router, box_of(server, "user") as user:
        await router.register(key)
        await user.register(key)
        hostinfo = Hostinfo(hostname="router", os="linux", routable_ips=("10.77.0.0/16",))
        await router.client.update(
            MapRequest(version=VERSION, node_key=router.node.public, hostinfo=hostinfo)
        )
        async with aclosing(user.poll()) as stream:
            await take(stream)

            document = await asyncio.to_thread(
                server.admin.change_node, "router", NodeRequest(approved_routes=("10.77.0.0/16",))
            )

            told = await hear(stream, "10.77.0.0/16", 2)
    assert document.announced_routes == document.approved_routes == ("10.77.0.0/16",)
    assert told.packet_filters is not None


def test_an_unknown_thing_is_named_with_the_way_out(server: RunningServer) -> None:
    with pytest.raises(NotFoundError, match=r"no node 'nowhere'.*nodes list"):
        server.admin.delete_node("nowhere")
    with pytest.raises(NotFoundError, match="no user 'nobody'"):
        server.admin.change_user("nobody", UserRequest(display_name="x"))


def test_the_admin_socket_is_for_root_and_the_group_only(server: RunningServer) -> None:
    mode = (server.directory / "admin.sock").stat().st_mode & 0o777
    assert mode == 0o660
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    script = "import socket,sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    result = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c",
         script, str(server.directory / "admin.sock")],
        capture_output=True, check=False,
    )  # fmt: skip
    assert b"PermissionError" in result.stderr


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
