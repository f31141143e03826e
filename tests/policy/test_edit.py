"""A tool changes one value, and every other byte of the text stays."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.policy.plain import Plain
from tests.policy.test_hujson import VALUES, spelt

from gatepost.errors import NotFoundError
from gatepost.policy.edit import Path, add_item, remove, set_value
from gatepost.policy.hujson import pack, parse
from gatepost.policy.refusal import PolicyRefusedError

TEXT = """// top
{
  // groups
  "groups": {
    "group:eng": ["a@x.com", "b@x.com"], // eng
    "group:empty": [],
  },
  "acls": [
    {"action": "accept", "src": ["*"], "dst": ["*:*"]}, // all
    {"action": "accept", "src": ["a@x.com"], "dst": ["*:*"]} // last
  ],
  "hosts": {"a": "1.1.1.1", /*b*/ "b": "1.1.1.2"},
}
"""


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    old, new = before.splitlines(), after.splitlines()
    return [x for x in old if x not in new], [x for x in new if x not in old]


@pytest.mark.parametrize(
    ("path", "value", "gone", "come"),
    [
        (
            ("groups", "group:eng", 0),
            '"z@x.com"',
            ['    "group:eng": ["a@x.com", "b@x.com"], // eng'],
            ['    "group:eng": ["z@x.com", "b@x.com"], // eng'],
        ),
        (("groups", "group:new"), '["z@x.com"]', [], ['    "group:new": ["z@x.com"],']),
        (
            ("Hosts", "c"),
            '"1.1.1.3"',
            ['  "hosts": {"a": "1.1.1.1", /*b*/ "b": "1.1.1.2"},'],
            ['  "hosts": {"a": "1.1.1.1", /*b*/ "b": "1.1.1.2", "c": "1.1.1.3"},'],
        ),
        (("randomizeClientPort",), "true", [], ['  "randomizeClientPort": true,']),
    ],
)
def test_setting_a_value_changes_its_line_only(
    path: Path, value: str, gone: list[str], come: list[str]
) -> None:
    assert changed_lines(TEXT, set_value(TEXT, path, value)) == (gone, come)


def test_an_item_is_added_as_the_others_are_written() -> None:
    rule = '{"action": "accept", "src": ["b@x.com"], "dst": ["*:*"]}'

    gone, come = changed_lines(TEXT, add_item(TEXT, ("acls",), rule))

    assert gone == ['    {"action": "accept", "src": ["a@x.com"], "dst": ["*:*"]} // last']
    assert come == [
        '    {"action": "accept", "src": ["a@x.com"], "dst": ["*:*"]}, // last',
        f"    {rule},",
    ]


def test_the_first_item_gets_a_line_of_its_own() -> None:
    changed = add_item(TEXT, ("groups", "group:empty"), '"z@x.com"')

    assert '    "group:empty": [\n      "z@x.com",\n    ],\n' in changed


@pytest.mark.parametrize(
    ("path", "gone", "come"),
    [
        (("acls", 0), ['    {"action": "accept", "src": ["*"], "dst": ["*:*"]}, // all'], []),
        (
            ("hosts", "a"),
            ['  "hosts": {"a": "1.1.1.1", /*b*/ "b": "1.1.1.2"},'],
            ['  "hosts": {/*b*/ "b": "1.1.1.2"},'],
        ),
        (
            ("groups", "group:eng", 1),
            ['    "group:eng": ["a@x.com", "b@x.com"], // eng'],
            ['    "group:eng": ["a@x.com"], // eng'],
        ),
    ],
)
def test_what_is_removed_takes_its_line_and_its_comma(
    path: Path, gone: list[str], come: list[str]
) -> None:
    assert changed_lines(TEXT, remove(TEXT, path)) == (gone, come)


@pytest.mark.parametrize("path", [("nets", "x"), ("acls", 7), ("acls", "x"), ("hosts", "b", 0), ()])
def test_a_path_to_nothing_is_said(path: Path) -> None:
    with pytest.raises((NotFoundError, PolicyRefusedError)):
        remove(TEXT, path)


def test_an_unreadable_value_is_not_put_in() -> None:
    with pytest.raises(PolicyRefusedError):
        set_value(TEXT, ("hosts", "a"), '"1.1.1.1')


def _paths(value: Plain, path: Path = ()) -> list[Path]:
    inner: list[tuple[str | int, Plain]] = []
    if isinstance(value, Mapping):
        inner = list(value.items())
    if isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(p for step, v in inner for p in _paths(v, (*path, step)))]


def _distinct(value: Plain) -> bool:
    """Say whether no object has two names that differ in case only."""
    if isinstance(value, Mapping):
        return len({n.lower() for n in value}) == len(value) and all(map(_distinct, value.values()))
    return not isinstance(value, list) or all(map(_distinct, value))


Document = tuple[Plain, str]
DOCUMENTS: st.SearchStrategy[Document] = VALUES.filter(_distinct).flatmap(
    lambda value: st.tuples(st.just(value), spelt(value))
)


@settings(deadline=None)
@given(DOCUMENTS, st.data())
def test_a_set_value_is_the_only_difference(pair: Document, data: st.DataObject) -> None:
    value, text = pair
    path = data.draw(st.sampled_from(_paths(value)))

    changed = set_value(text, path, '"new"')

    assert json.loads(pack(parse(changed))) == _with(value, path, "new")


def test_what_stands_between_two_comments_is_no_comment() -> None:
    assert remove("[\n1,/* a */2 /* b */\n]", (0,)) == "[\n/* a */2 /* b */\n]"


@settings(deadline=None)
@given(DOCUMENTS, st.data())
def test_a_removed_value_is_the_only_difference(pair: Document, data: st.DataObject) -> None:
    value, text = pair
    paths = [p for p in _paths(value) if p]
    assume(paths)
    path = data.draw(st.sampled_from(paths))

    changed = remove(text, path)

    assert json.loads(pack(parse(changed))) == _without(value, path)


@settings(deadline=None)
@given(DOCUMENTS, st.data())
def test_an_added_item_is_the_only_difference(pair: Document, data: st.DataObject) -> None:
    value, text = pair
    lists = {p: _at(value, p) for p in _paths(value)}
    paths = [p for p, old in lists.items() if isinstance(old, list)]
    assume(paths)
    path = data.draw(st.sampled_from(paths))
    old = lists[path]
    assert isinstance(old, list)

    changed = add_item(text, path, "7")

    assert json.loads(pack(parse(changed))) == _with(value, path, [*old, 7])


def _at(value: Plain, path: Path) -> Plain:
    for step in path:
        if isinstance(value, Mapping) and isinstance(step, str):
            value = value[step]
        if isinstance(value, list) and isinstance(step, int):
            value = value[step]
    return value


def _with(value: Plain, path: Path, new: Plain) -> Plain:
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(value, Mapping):
        return {k: _with(v, rest, new) if k == step else v for k, v in value.items()}
    assert isinstance(value, list)
    return [_with(v, rest, new) if i == step else v for i, v in enumerate(value)]


def _without(value: Plain, path: Path) -> Plain:
    step = path[0]
    if len(path) > 1:
        return _with(value, path[:1], _without(_at(value, path[:1]), path[1:]))
    if isinstance(value, Mapping):
        return {k: v for k, v in value.items() if k != step}
    assert isinstance(value, list)
    return [v for i, v in enumerate(value) if i != step]
