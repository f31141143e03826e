"""`gatepost admin policy` against a server in memory that decides as the real one does."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.cli.conftest import Run
from tests.policy.small_mesh import MESH

from gatepost.coordination.policy.answers import answer
from gatepost.coordination.policy.documents import (
    check_document,
    history_documents,
    policy_document,
    preview_document,
    refusal_document,
    version_document,
)
from gatepost.coordination.policy.versions import earlier, examine, put, text_of
from gatepost.coordination.records import PolicyVersion, Records
from gatepost.localapi.listen import serve_local
from gatepost.localapi.router import Answer, Call, Route, Router
from gatepost.model.policy import CanRequest, PolicyRequest, UndoRequest
from gatepost.policy.preview import changes
from gatepost.policy.refusal import PolicyRefusedError
from gatepost.testing.local_thread import served

NOW = 1_800_000_000.0
POLICY = """{
  "tagOwners": {"tag:web": [], "tag:router": []},
  "acls": [
    {"action": "accept", "src": ["alice@example.com"], "dst": ["tag:web:80"]},
  ],
  "ssh": [
    {"action": "check", "src": ["alice@example.com"], "dst": ["tag:web"], "users": ["root"]},
  ],
  "tests": [{"src": "alice@example.com", "accept": ["tag:web:80"]}],
}
"""


class Server:
    """Versions in a list; decisions are the server's own."""

    def __init__(self) -> None:
        self.records = Records()
        self.versions: list[PolicyVersion] = []

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/v1/policy", self.on_get),
            Route("PUT", "/v1/policy", self.on_set),
            Route("POST", "/v1/policy/check", self.on_check),
            Route("POST", "/v1/policy/preview", self.on_preview),
            Route("POST", "/v1/policy/can", self.on_can),
            Route("GET", "/v1/policy/history", self.on_history),
            Route("GET", "/v1/policy/history/{version}", self.on_version),
            Route("POST", "/v1/policy/undo", self.on_undo),
        )

    async def on_get(self, _call: Call) -> Answer:
        return policy_document(self.records, examine(text_of(self.records), MESH))

    async def on_set(self, call: Call) -> Answer:
        wish = call.body(PolicyRequest)
        self.save(wish.text, wish.etag, wish.note)
        return await self.on_get(call)

    def save(self, text: str, etag: str, note: str) -> None:
        examine(text, MESH)
        decision = put(self.records, text, etag=etag, author="root", note=note, now=NOW)
        self.records = self.records.after(decision.edits)
        if decision.edits and self.records.policy is not None:
            self.versions.append(self.records.policy)

    async def on_check(self, call: Call) -> Answer:
        try:
            return check_document(examine(call.body(PolicyRequest).text, MESH))
        except PolicyRefusedError as refusal:
            return refusal_document(refusal)

    async def on_preview(self, call: Call) -> Answer:
        before = examine(text_of(self.records), MESH)
        after = examine(call.body(PolicyRequest).text, MESH)
        return preview_document(changes(before, after), after)

    async def on_can(self, call: Call) -> Answer:
        return answer(examine(text_of(self.records), MESH), call.body(CanRequest))

    async def on_history(self, _call: Call) -> Answer:
        return history_documents(self.versions)

    async def on_version(self, call: Call) -> Answer:
        return version_document(earlier(self.versions, int(call.values["version"])))

    async def on_undo(self, call: Call) -> Answer:
        wish = call.body(UndoRequest)
        old = earlier(self.versions, wish.version)
        self.save(old.text, wish.etag, f"version {old.id} again")
        return await self.on_get(call)


@pytest.fixture
def server(tmp_path: Path) -> Generator[Server]:
    memory = Server()
    router = Router(memory.routes(), lambda _peer: None)
    with served(lambda: serve_local(router, tmp_path / "admin.sock")):
        yield memory


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.hujson"
    path.write_text(POLICY)
    return path


def test_a_policy_goes_in_and_comes_out_byte_for_byte(run: Run, server: Server, file: Path) -> None:
    file.write_text(POLICY + "// no line end")

    assert run("admin", "policy", "set", str(file), "--note", "first").code == 0
    said = run("admin", "policy", "get", "--json")

    assert json.loads(said.out)["text"] == POLICY + "// no line end"
    assert server.versions[0].note == "first"


@pytest.mark.usefixtures("server")
def test_a_refused_policy_is_said_as_compilers_say_it(run: Run, file: Path) -> None:
    file.write_text(POLICY.replace("tag:web:80", "tag:shop:80", 1))

    said = run("admin", "policy", "check", str(file))

    assert said.code == 1
    assert f'{file}:4:64: dst="tag:shop": tag not found: "tag:shop"' in said.err


@pytest.mark.usefixtures("server")
def test_failed_tests_keep_a_policy_from_being_set(run: Run, file: Path) -> None:
    file.write_text(POLICY.replace('"accept": ["tag:web:80"]', '"deny": ["tag:web:80"]'))

    assert "want: Drop, got: Accept" in run("admin", "policy", "test", str(file)).err
    assert run("admin", "policy", "set", str(file)).code == 1
    assert "1 tests passed" not in run("admin", "policy", "test").err


@pytest.mark.usefixtures("server")
def test_a_preview_lists_who_gains_and_who_loses(run: Run, file: Path) -> None:
    said = run("admin", "policy", "preview", str(file))

    assert said.code == 0
    lines = [line.split() for line in said.out.splitlines()]
    assert ["-", "m2", "m1", "*"] in lines
    assert ["+", "m1", "m3", "ssh", "as", "root", "after", "a", "check"] in lines


@pytest.mark.usefixtures("server")
def test_who_saw_an_older_policy_does_not_overwrite(run: Run, file: Path) -> None:
    etag = json.loads(run("admin", "policy", "get", "--json").out)["etag"]
    assert run("admin", "policy", "set", str(file), "--etag", etag).code == 0

    said = run("admin", "policy", "set", str(file), "--etag", etag)

    assert said.code == 1
    assert "the policy has changed since" in said.err


def test_undo_brings_the_version_before_back(run: Run, server: Server, file: Path) -> None:
    run("admin", "policy", "set", str(file))
    file.write_text(POLICY + "// two\n")
    run("admin", "policy", "set", str(file))

    assert run("admin", "policy", "undo").code == 0
    said = run("admin", "policy", "history", "--diff")

    assert server.versions[-1].text == POLICY
    assert "version 3 by root" in said.out
    assert "-// two" in said.out
    assert run("admin", "policy", "get", "--version", "2").out.endswith("// two\n")


@pytest.mark.usefixtures("server")
def test_can_says_yes_with_the_rule_and_what_names_mean(run: Run, file: Path) -> None:
    run("admin", "policy", "set", str(file))

    said = run("admin", "policy", "can", "m1", "tag:web:80")

    assert said.code == 0
    assert said.out.splitlines() == [
        "yes: a rule allows it",
        "acls rule 1 (line 4, column 5): accept",
        "  alice@example.com = m1, m5",
        "  tag:web = m3",
    ]


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("words", "code", "first"),
    [
        (("m2", "m3:80"), 1, "no: no rule allows it"),
        (("m1", "m3:80", "--proto", "gre"), 1, "no: no rule allows it"),
        (("100.64.0.1", "[fd7a:115c:a1e0::3]:80"), 0, "yes: a rule allows it"),
        (("autogroup:member", "m3:80"), 1, "no: rules allow it for 2 of 3 pairs"),
        (("m1", "m3", "--as", "root"), 0, "yes: a rule allows it after a check"),
        (("m1", "m3", "--as", "bin"), 1, "no: no SSH rule allows 'bin'"),
    ],
)
def test_the_exit_code_of_can_is_its_answer(
    run: Run, file: Path, words: tuple[str, ...], code: int, first: str
) -> None:
    run("admin", "policy", "set", str(file))

    said = run("admin", "policy", "can", *words)

    assert (said.code, said.out.splitlines()[0]) == (code, first)


@pytest.mark.usefixtures("server")
def test_a_target_without_a_port_is_asked_for_one(run: Run) -> None:
    said = run("admin", "policy", "can", "m1", "m3")

    assert said.code != 0
    assert "write HOST:PORT" in said.err


@pytest.mark.usefixtures("server")
def test_a_missing_file_is_named(run: Run, tmp_path: Path) -> None:
    said = run("admin", "policy", "check", str(tmp_path / "none"))

    assert said.code == 1
    assert "none does not exist" in said.err


COMMENTED = POLICY.replace(
    '"acls": [', '"groups": {"group:eng": ["alice@example.com"]}, // us\n  "acls": ['
)


def test_one_value_is_changed_and_every_other_byte_stays(run: Run, server: Server) -> None:
    server.save(COMMENTED, "", "")
    for words in (
        ("add", "groups/group:eng", "bob@example.com"),
        ("change", "hosts", "{}"),
        ("change", "hosts/web", "100.64.0.9"),
        ("add", "acls", '{"action": "accept", "src": ["group:eng"], "dst": ["web:443"]}'),
        ("remove", "ssh/1"),
        ("remove", "groups/group:eng", "alice@example.com"),
    ):
        assert run("admin", "policy", *words, "--note", words[1]).code == 0

    rule = '    {"action": "accept", "src": ["group:eng"], "dst": ["web:443"]},\n'
    first = '"dst": ["tag:web:80"]},\n'
    ssh = next(line for line in COMMENTED.splitlines(keepends=True) if "check" in line)
    wanted = COMMENTED.replace('["alice@example.com"]}, // us', '["bob@example.com"]}, // us')
    wanted = wanted.replace(first, first + rule).replace(ssh, "")
    assert without_hosts(text_of(server.records)) == wanted
    assert [v.note for v in server.versions[1:]][:2] == ["groups/group:eng", "hosts"]


def without_hosts(text: str) -> str:
    start = text.index('  "hosts"')
    return text[:start] + text[text.index("},\n", start) + 3 :]


def test_a_dry_run_shows_who_would_gain_and_saves_nothing(run: Run, server: Server) -> None:
    server.save(POLICY, "", "")
    rule = '{"action": "accept", "src": ["bob@example.com"], "dst": ["tag:web:443"]}'
    said = run("admin", "policy", "add", "acls", rule, "--dry-run")

    assert said.code == 0
    assert f"+    {rule},\n" in said.out
    assert any(line.split()[:1] == ["+"] and "443" in line for line in said.out.splitlines())
    assert text_of(server.records) == POLICY


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("add", "groups/group:none", "x@y.z"), "there is no 'groups'"),
        (("remove", "acls/7"), "there is no item 7"),
        (("remove", "acls/0"), "count from 1"),
        (("remove", "tests/1/accept", "tag:web:81"), "there is no"),
        (("change", "hosts", "{"), "line 1"),
        (("add", "acls", "bob"), "line"),
    ],
)
def test_what_cannot_be_edited_is_said_and_changes_nothing(
    run: Run, server: Server, words: tuple[str, ...], complaint: str
) -> None:
    server.save(POLICY, "", "")
    said = run("admin", "policy", *words)

    assert said.code != 0
    assert complaint in said.err
    assert text_of(server.records) == POLICY


def test_what_is_there_already_makes_no_version(run: Run, server: Server) -> None:
    server.save(COMMENTED, "", "")
    said = run("admin", "policy", "add", "groups/group:eng", "alice@example.com")

    assert (said.code, len(server.versions)) == (0, 1)
    assert "says so already" in said.err
