"""What is refused before anything is stored or asked."""

from __future__ import annotations

import pytest

from gatepost.daemon.checks import check_exit, check_running, check_stay
from gatepost.daemon.settings_file import BoxSettings, NodeSettings
from gatepost.errors import GatepostError, NotFoundError, RefusedError, SettingsError
from gatepost.model.netmap import NetMap
from gatepost.model.status import UpRequest
from gatepost.testing.makers import make_netmap, make_node

HERE = BoxSettings(node=NodeSettings(login_server="https://here"))
MESH = make_netmap(others=(make_node(2, "0.0.0.0/0", "::/0"), make_node(3), make_node(4)))


@pytest.mark.parametrize("name", ["box2", "BOX2", "box2.mesh.example.", "100.64.0.2", ""])
def test_an_exit_node_is_known_by_name_and_address(name: str) -> None:
    check_exit(HERE, UpRequest(exit_node=name), MESH)


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("nosuch", NotFoundError, "'nosuch'"),
        ("100.64.0.99", NotFoundError, "'100.64.0.99'"),
        ("box3", SettingsError, "box3 is no exit node"),
        ("box1", SettingsError, "this box itself"),
    ],
)
def test_what_is_no_exit_node_is_named(name: str, kind: type[GatepostError], text: str) -> None:
    with pytest.raises(kind, match=text):
        check_exit(HERE, UpRequest(exit_node=name), MESH)


def test_two_nodes_of_one_name_are_told_apart_by_address() -> None:
    twins = make_netmap(others=(make_node(2), make_node(3, name="box2.mesh.example")))

    with pytest.raises(SettingsError, match="2 nodes are called 'box2': give an address"):
        check_exit(HERE, UpRequest(exit_node="box2"), twins)


@pytest.mark.parametrize(
    ("request_", "netmap"),
    [
        (UpRequest(exit_node="nosuch"), None),
        (UpRequest(exit_node="nosuch", login_server="https://there"), MESH),
        (UpRequest(accept_routes=True), MESH),
    ],
    ids=["no mesh yet", "another mesh", "no exit"],
)
def test_an_exit_node_of_a_mesh_that_is_not_known_is_taken(
    request_: UpRequest, netmap: NetMap | None
) -> None:
    check_exit(HERE, request_, netmap)


def test_a_setting_does_not_take_a_box_out_of_its_mesh() -> None:
    check_stay(HERE, UpRequest(login_server="https://here/", hostname="gate"))
    check_stay(HERE, UpRequest(hostname="gate"))

    with pytest.raises(RefusedError, match="https://here") as caught:
        check_stay(HERE, UpRequest(login_server="https://there"))
    assert caught.value.hint == "join the other one: gatepost up --login-server https://there"


@pytest.mark.parametrize(
    ("logged_in", "wanted", "netmap", "text"),
    [
        (False, True, None, "logged in nowhere"),
        (False, False, None, "logged in nowhere"),
        (True, False, MESH, "switched off"),
        (True, True, None, "has not said yet"),
    ],
)
def test_who_is_not_in_the_mesh_hears_why_at_once(
    *, logged_in: bool, wanted: bool, netmap: NetMap | None, text: str
) -> None:
    with pytest.raises(GatepostError, match=text) as caught:
        check_running(logged_in=logged_in, wanted=wanted, netmap=netmap)

    assert "gatepost" in caught.value.hint
    assert check_running(logged_in=True, wanted=True, netmap=MESH) is MESH
