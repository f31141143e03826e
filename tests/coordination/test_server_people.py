"""The whole server, as people who log in and administrators use it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import aclosing

import pytest
from tests.coordination.serving import VERSION, Box, RunningServer, box_of, get, hear, take

from gatepost.errors import NotFoundError, RefusedError, UnreachableError
from gatepost.model.admin import ApproveRequest, NodeRequest, UserRequest
from gatepost.sessions.netmap import MapState
from gatepost.wire.hostinfo import Hostinfo
from gatepost.wire.netmap import MapRequest


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

            told = await hear(stream, "PacketFilters", 2)
    assert document.announced_routes == document.approved_routes == ("10.77.0.0/16",)
    assert told.peers_changed is not None
    assert "10.77.0.0/16" in (told.peers_changed[0].allowed_ips or ())


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
