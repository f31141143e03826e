"""The socket: who gets in, and what becomes of one that was left behind."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gatepost.errors import DeniedError, StateError
from gatepost.localapi.listen import bind, only_members, serve_local
from gatepost.localapi.router import Router
from gatepost.net.http_server import Peer

EMPTY = Router((), lambda _peer: None)


async def test_a_socket_left_behind_by_a_crash_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "node.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = await serve_local(EMPTY, path)

    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
    await server.close()


async def test_a_socket_that_is_answered_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "node.sock"
    server = await serve_local(EMPTY, path)
    before = path.stat().st_ino

    with pytest.raises(StateError, match="another process answers"):
        await serve_local(EMPTY, path)
    assert path.stat().st_ino == before
    await server.close()


async def test_closing_removes_the_socket_file(tmp_path: Path) -> None:
    path = tmp_path / "node.sock"
    server = await serve_local(EMPTY, path)
    await server.close()

    assert not path.exists()


async def test_closing_leaves_the_socket_of_a_successor(tmp_path: Path) -> None:
    path = tmp_path / "node.sock"
    server = await serve_local(EMPTY, path)
    path.unlink()
    path.touch()
    await server.close()

    assert path.exists()


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("text")

    with pytest.raises(StateError, match="is no socket"):
        bind(path, 0o666)
    assert path.read_text() == "text"


def test_a_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="shorten it"):
        bind(tmp_path / ("x" * 120), 0o666)


def test_a_missing_directory_is_made_and_the_mode_is_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "run" / "node.sock"
    listening, _ = bind(path, 0o660)
    listening.close()

    assert path.stat().st_mode & 0o777 == 0o660


def test_root_the_owner_and_members_may_write() -> None:
    guard = only_members(1000, "root")  # the group with id 0

    guard(Peer(user_id=0, group_id=5))
    guard(Peer(user_id=1000, group_id=5))
    guard(Peer(user_id=7, group_id=0))
    guard(Peer(user_id=7, group_id=5, groups=(4, 0)))


def test_everybody_else_is_told_how_to_be_allowed() -> None:
    with pytest.raises(DeniedError) as caught:
        only_members(1000, "root")(Peer(user_id=7, group_id=5, groups=(4,)))

    assert "sudo adduser USER root" in caught.value.hint


def test_without_the_group_only_root_writes() -> None:
    with pytest.raises(DeniedError):
        only_members(0, "no-such-group")(Peer(user_id=7, group_id=0))
