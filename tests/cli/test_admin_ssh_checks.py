"""`gatepost admin ssh-checks` against the server's own list of sign-ins."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.cli.conftest import Run
from tests.coordination.makers import NOW, make_node

from gatepost.coordination.ssh_api import SshCheckApi
from gatepost.coordination.ssh_checks import SshChecks
from gatepost.localapi.listen import serve_local
from gatepost.localapi.router import Router
from gatepost.testing.local_thread import served


@pytest.fixture
def checks(tmp_path: Path) -> Generator[SshChecks]:
    found = SshChecks(lambda: NOW, lambda: "abc")
    router = Router(SshCheckApi(found).routes(), lambda _peer: None)
    with served(lambda: serve_local(router, tmp_path / "admin.sock")):
        yield found


def test_who_waits_is_listed(run: Run, checks: SshChecks) -> None:
    assert "Nobody waits." in run("admin", "ssh-checks", "list").err
    checks.open(make_node(1), make_node(2), "root")

    words = run("admin", "ssh-checks", "list").out.splitlines()[1].split()
    document = json.loads(run("admin", "ssh-checks", "list", "--json").out)[0]

    assert words[:4] == ["abc", "box-1", "box-2", "root"]
    assert (document["id"], document["login"]) == ("abc", "root")


@pytest.mark.parametrize(("word", "verdict"), [("approve", "approved"), ("deny", "denied")])
def test_a_sign_in_is_decided_by_id_or_by_its_address(
    run: Run, checks: SshChecks, word: str, verdict: str
) -> None:
    check = checks.open(make_node(1), make_node(2), "root")

    assert run("admin", "ssh-checks", word, "https://mesh.example/ssh/abc").code == 0
    assert check.verdict == verdict
    assert run("admin", "ssh-checks", word, "abc").code == 1


@pytest.mark.usefixtures("checks")
def test_a_check_that_nobody_waits_for_is_named(run: Run) -> None:
    said = run("admin", "ssh-checks", "approve", "nothing")

    assert said.code == 1
    assert "'nothing'" in said.err
