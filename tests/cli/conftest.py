"""The command line, run in this process against a node in memory."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cli.admin_server import Server

from gatepost.cli.main import main
from gatepost.localapi.listen import serve_local
from gatepost.localapi.router import Router
from gatepost.localapi.server import serve_node
from gatepost.testing.fake_node import FakeNode
from gatepost.testing.local_thread import served


@dataclass(frozen=True, slots=True)
class Said:
    """What one run printed, and its exit code."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run with the words given; nothing of the caller's environment counts."""
    for name in ("GATEPOST_AUTH_KEY", "NO_COLOR", "GATEPOST_WEB_STATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GATEPOST_SOCKET", str(tmp_path / "node.sock"))
    monkeypatch.setenv("GATEPOST_COORDINATION_SOCKET", str(tmp_path / "admin.sock"))

    def go(*words: str) -> Said:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, printed.out, printed.err)

    return go


@pytest.fixture
def daemon(node: FakeNode, tmp_path: Path) -> Generator[FakeNode]:
    """Serve the node where `run` looks for it."""
    with served(lambda: serve_node(node, tmp_path / "node.sock")):
        yield node


@pytest.fixture
def server(tmp_path: Path) -> Generator[Server]:
    memory = Server()
    router = Router(memory.routes(), lambda _peer: None)
    with served(lambda: serve_local(router, tmp_path / "admin.sock")):
        yield memory
