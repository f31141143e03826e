"""`gatepost admin dns` against the rules of the real server, in memory."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from gatepost.coordination.name_settings import change_names
from gatepost.coordination.records import Records
from gatepost.localapi.listen import serve_local
from gatepost.localapi.router import Answer, Call, Route, Router
from gatepost.model.admin_names import NamesRequest
from gatepost.testing.local_thread import served


class Server:
    """What was said about names, and nothing else."""

    def __init__(self) -> None:
        self.records = Records()

    def routes(self) -> tuple[Route, ...]:
        return (Route("GET", "/v1/dns", self.on_show), Route("PATCH", "/v1/dns", self.on_change))

    async def on_show(self, _call: Call) -> Answer:
        return self.records.names

    async def on_change(self, call: Call) -> Answer:
        decision = change_names(self.records, call.body(NamesRequest), "mesh.example")
        self.records = self.records.after(decision.edits)
        return decision.answer


@pytest.fixture(autouse=True)
def server(tmp_path: Path) -> Generator[Server]:
    memory = Server()
    router = Router(memory.routes(), lambda _peer: None)
    with served(lambda: serve_local(router, tmp_path / "admin.sock")):
        yield memory


def test_what_is_set_is_shown(run: Run) -> None:
    before = run("admin", "dns", "show").out
    run("admin", "dns", "set", "--nameservers", "192.0.2.53, 192.0.2.54", "--search", "lan")
    run("admin", "dns", "split", "corp.example", "10.0.0.53")
    run("admin", "dns", "split", "own.example")
    run("admin", "dns", "record", "printer.mesh.example", "10.0.0.9")
    shown = run("admin", "dns", "show").out

    assert "none: nodes ask whom they asked before" in before
    for words in (
        "192.0.2.53, 192.0.2.54", "*.corp.example", "10.0.0.53", "the mesh alone", "lan",
        "printer.mesh.example", "10.0.0.9",
    ):  # fmt: skip
        assert words in shown


def test_what_is_not_given_stays_and_what_is_removed_goes(run: Run) -> None:
    run("admin", "dns", "set", "--nameservers", "192.0.2.53", "--override-local", "false")
    run("admin", "dns", "split", "corp.example", "10.0.0.53")
    run("admin", "dns", "set", "--magic-dns", "false")
    run("admin", "dns", "split", "corp.example", "--remove")
    shown = json.loads(run("admin", "dns", "show", "--json").out)

    assert (shown["magic_dns"], shown["override_local"]) == (False, False)
    assert (shown["nameservers"], shown["routes"]) == (["192.0.2.53"], {})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("set",), "nothing to change"),
        (("set", "--nameservers", "nowhere"), "'nowhere' is not a name server"),
        (("split", "corp.example", "192.0.2.1", "--remove"), "--remove takes a suffix alone"),
        (("split", "corp.example", "--remove"), "there is no route for corp.example"),
        (("record", "p.example"), "give addresses, or --remove"),
        (("record", "p.example", "nowhere"), "'nowhere' is not an address"),
    ],
)
def test_a_mistake_is_named_and_changes_nothing(
    run: Run, server: Server, words: tuple[str, ...], told: str
) -> None:
    before = server.records
    said = run("admin", "dns", *words)

    assert said.code != 0
    assert told in said.err
    assert server.records is before


def test_a_server_that_official_clients_cannot_ask_is_taken_with_a_warning(run: Run) -> None:
    said = run("admin", "dns", "set", "--nameservers", "tls://dns.example@192.0.2.53")

    assert (said.code, "other clients leave it out" in said.err) == (0, True)
