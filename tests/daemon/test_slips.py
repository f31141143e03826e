"""What people type by mistake is refused: nothing is changed, and nothing waited for."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.daemon.test_local_api import JOIN, box, until

from gatepost.errors import NotFoundError, RefusedError
from gatepost.model.status import PluginRequest, UpRequest


async def test_a_box_that_is_in_no_mesh_asks_nobody(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        with pytest.raises(RefusedError, match="logged in nowhere"):
            await one.api.ping("box2", 60.0)
        await one.api.up(JOIN)
        await until(one, "Running")
        await one.api.down()
        with pytest.raises(RefusedError, match="switched off"):
            await one.api.ping("box2", 60.0)
        with pytest.raises(RefusedError, match="switched off"):
            await one.api.why("box2", 60.0)


async def test_a_misspelt_plugin_is_answered_with_the_right_one(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        with pytest.raises(NotFoundError, match="'lan_dns'") as caught:
            await one.api.change_plugin("lan_dns", PluginRequest(enabled=True))

    assert caught.value.hint == "did you mean lan-dns?"


async def test_a_mesh_is_not_left_and_no_way_out_lost_by_a_slip(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        await one.api.change_settings(UpRequest(login_server="http://elsewhere.test"))
        await one.api.up(JOIN)
        await until(one, "Running")
        before = one.settings.read_text()

        with pytest.raises(RefusedError, match="logged in at http"):
            await one.api.change_settings(UpRequest(login_server="http://nonsense"))
        for slip in (one.api.change_settings, one.api.up):
            with pytest.raises(NotFoundError, match="'nosuch'"):
                await slip(UpRequest(exit_node="nosuch"))
        assert one.settings.read_text() == before
