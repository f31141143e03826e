"""HuJSON is read with its places, and anything else is refused with the place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.plain import Plain

from gatepost.policy.hujson import DEEPEST, Items, Json, Members, Text, pack, parse
from gatepost.policy.refusal import PolicyRefusedError
from gatepost.policy.selectors import Place

VALUES: st.SearchStrategy[Plain] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)
GAPS = st.sampled_from(["", " ", "\n", "\t", "// note\n", "/* a, [b] */", " /*1*/\n//2\n "])


@st.composite
def spelt(draw: st.DrawFn, value: Plain) -> str:
    """Write a value with comments and trailing commas in between."""
    match value:
        case list():
            parts = [draw(spelt(item)) for item in value]
            return _joined(draw, "[", parts, "]")
        case dict():
            parts = [
                f"{json.dumps(name)}{draw(GAPS)}:{draw(GAPS)}{draw(spelt(inner))}"
                for name, inner in value.items()
            ]
            return _joined(draw, "{", parts, "}")
        case _:
            return json.dumps(value)


def _joined(draw: st.DrawFn, opening: str, parts: list[str], closing: str) -> str:
    inside = ",".join(f"{draw(GAPS)}{part}{draw(GAPS)}" for part in parts)
    is_trailing = draw(st.booleans())
    trailing = "," if parts and is_trailing else ""
    return f"{opening}{inside}{trailing}{draw(GAPS)}{closing}"


@settings(deadline=None)
@given(VALUES.flatmap(lambda value: st.tuples(st.just(value), spelt(value))))
def test_comments_and_trailing_commas_change_nothing(pair: tuple[Plain, str]) -> None:
    value, text = pair

    assert json.loads(pack(parse(text))) == value


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    place = Place()
    try:
        json.loads(pack(parse(text)))
    except PolicyRefusedError as refusal:
        place = refusal.problems[0].place

    assert place >= Place(1, 1)


@settings(deadline=None)
@given(VALUES.flatmap(spelt), st.data())
def test_a_truncated_text_is_refused_or_complete(text: str, data: st.DataObject) -> None:
    cut = text[: data.draw(st.integers(0, max(0, len(text) - 1)))]
    try:
        value = parse(cut)
    except PolicyRefusedError:
        return
    assert cut[value.start : value.end].strip()


def test_values_know_their_place_and_offsets() -> None:
    text = '// é\n{\n  "a": [1,\n    "b"], /* x */ "c": null,\n}\n'

    value = parse(text)

    assert isinstance(value, Members)
    items = value.members[0].value
    assert isinstance(items, Items)
    assert items.place == Place(3, 8)
    assert items.items[1].place == Place(4, 5)
    assert value.members[1].name.place == Place(4, 19)
    assert text[items.start : items.end] == '[1,\n    "b"]'


def test_numbers_and_escapes_are_kept_as_written() -> None:
    value = parse(r'[1e3, -0.50, "\u00e9\n\ud83d\ude00"]')

    assert pack(value) == r'[1e3,-0.50,"é\n😀"]'


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("", 1, 1, "ends too early"),
        ('{"a": 1\n "b": 2}', 2, 2, "a comma or"),
        ('{"a": 1,\n "a": 2}', 2, 2, "duplicate key 'a'"),
        ("[1, 2", 1, 6, "a comma or"),
        ("[,]", 1, 2, "cannot begin with ','"),
        ("[1,,2]", 1, 4, "cannot begin with ','"),
        ('{"a" 1}', 1, 6, "a colon must follow 'a'"),
        ("{a: 1}", 1, 2, "a name in quotes"),
        ('"abc', 1, 1, "not closed"),
        ('"a\nb"', 1, 1, "not closed"),
        (r'"\x41"', 1, 1, "wrong escape"),
        (r'"\ud800"', 1, 1, "surrogate"),
        ("/* x", 1, 1, "a comment is not closed"),
        ("[01]", 1, 3, "a comma or"),
        ("{} {}", 1, 4, "after the end"),
        ("'a'", 1, 1, "cannot begin with"),
        ("[" * (DEEPEST + 1), 1, DEEPEST + 1, "nested"),
    ],
)
def test_what_is_no_hujson_is_refused_where_it_goes_wrong(
    text: str, line: int, column: int, message: str
) -> None:
    with pytest.raises(PolicyRefusedError, match=message) as caught:
        parse(text)

    assert (caught.value.line, caught.value.column) == (line, column)


def test_a_byte_order_mark_is_skipped() -> None:
    assert isinstance(parse("\ufeff{}"), Members)


def test_strings_with_comment_signs_are_strings() -> None:
    value: Json = parse('["// no", "/* no */", "a,]"]')

    assert isinstance(value, Items)
    assert [item.text for item in value.items if isinstance(item, Text)] == [
        "// no",
        "/* no */",
        "a,]",
    ]
