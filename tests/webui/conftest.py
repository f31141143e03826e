"""The page against a node in memory, with clocks that the test moves."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gatepost.localapi.server import serve_node
from gatepost.testing.fake_node import FakeNode
from gatepost.testing.local_thread import served
from gatepost_webui.app import create_app
from gatepost_webui.config import WebConfig

PASSWORD = "correct horse"  # noqa: S105  # opens nothing
WRONG = "wrong password"  # opens nothing
_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


@dataclass(slots=True)
class Clock:
    at: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


@dataclass(slots=True)
class Page:
    """One browser without JavaScript: sends forms with the token of the page before."""

    app: Flask
    state: Path
    client: FlaskClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.app.test_client()

    def get(self, path: str) -> TestResponse:
        return self.client.get(path)

    def token(self, path: str) -> str:
        found = _TOKEN.search(self.get(path).text)
        assert found, f"{path} has no form"
        return found[1]

    def send(self, path: str, address: str = "127.0.0.1", **values: str) -> TestResponse:
        """Load the page at `path` and send its form from an address."""
        values["csrf_token"] = self.token("/" if path in {"/up", "/down", "/sign-out"} else path)
        return self.post(path, address, **values)

    def post(self, path: str, address: str = "127.0.0.1", **values: str) -> TestResponse:
        return self.client.post(path, data=values, environ_base={"REMOTE_ADDR": address})

    def code(self) -> str:
        return (self.state / "setup-code").read_text().strip()

    def set_up(self) -> TestResponse:
        return self.send("/setup", code=self.code(), password=PASSWORD, again=PASSWORD)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def node() -> FakeNode:
    return FakeNode(state="Running")


@pytest.fixture
def config(tmp_path: Path) -> WebConfig:
    state = tmp_path / "web"
    state.mkdir()
    return WebConfig(socket=tmp_path / "node.sock", state=state)


@pytest.fixture
def daemon(node: FakeNode, config: WebConfig) -> Generator[FakeNode]:
    with served(lambda: serve_node(node, config.socket)):
        yield node


@pytest.fixture
def browse(config: WebConfig, clock: Clock) -> Callable[[], Page]:
    """Start the program anew over the same directory, and open a fresh browser."""
    return lambda: Page(create_app(config, now=clock, ticks=clock), config.state)


@pytest.fixture
def page(browse: Callable[[], Page]) -> Page:
    return browse()


@pytest.fixture
def inside(page: Page, daemon: FakeNode) -> Page:
    """Be signed in, with a node behind the page."""
    assert daemon.state == "Running"
    assert page.set_up().status_code == 302
    return page
