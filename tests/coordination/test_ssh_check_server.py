"""A sign-in that needs a check, from the machine's question to the administrator's word."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.coordination.serving import RunningServer, box_of, get

from gatepost.errors import NotFoundError, RefusedError
from gatepost.model.policy import PolicyRequest

POLICY = """{"ssh": [
  {"action": "check", "src": ["pia@"], "dst": ["autogroup:self"], "users": ["root"]},
]}"""
ACTION = "/machine/ssh/action/"


@pytest.mark.parametrize(("verdict", "key"), [("approve", "accept"), ("deny", "reject")])
async def test_a_sign_in_waits_for_the_administrator(
    server: RunningServer, verdict: str, key: str
) -> None:
    admin = server.admin
    preauth = server.make_key("pia", reusable=True)
    admin.set_policy(PolicyRequest(text=POLICY))
    async with (
        box_of(server, f"laptop-{verdict}") as laptop,
        box_of(server, f"shop-{verdict}") as shop,
    ):
        await laptop.register(preauth)
        await shop.register(preauth)
        ids = {n.name: n.id for n in admin.nodes()}
        path = f"{ACTION}{ids[laptop.name]}/to/{ids[shop.name]}?local_user=root"

        refused, _ = await laptop.client.request("GET", path)
        first = json.loads((await shop.client.request("GET", path))[1])
        waiting = admin.ssh_checks()[-1]
        page = get(server, f"/ssh/{waiting.id}")
        following = ACTION + first["holdAndDelegate"].partition(ACTION)[2]
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(shop.client.request("GET", following))
            (admin.approve_ssh if verdict == "approve" else admin.deny_ssh)(waiting.id)
        status, body = asked.result()

    assert refused == 403
    assert f"/ssh/{waiting.id}" in first["message"]
    assert (waiting.source, waiting.destination, waiting.login) == (laptop.name, shop.name, "root")
    assert (page[0], waiting.id.encode() in page[1]) == (200, True)
    assert (status, json.loads(body)[key]) == (200, True)
    with pytest.raises(RefusedError, match="already"):
        admin.approve_ssh(waiting.id)


def test_a_check_that_nobody_waits_for_is_not_found(server: RunningServer) -> None:
    assert get(server, "/ssh/nothing")[0] == 404
    with pytest.raises(NotFoundError):
        server.admin.approve_ssh("nothing")
