"""HuJSON: JSON with // and /* */ comments and trailing commas, as a tree that knows its places.

Offsets count characters of the text, so a tool can replace one value and keep
every other byte (`gatepost.policy.edit`). A name twice in one object is refused:
readers disagree about which one counts. Source: RFC 8259, github.com/tailscale/hujson.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

import msgspec

from gatepost.policy.refusal import PolicyRefusedError, refuse
from gatepost.policy.selectors import Place

LONGEST_TEXT = 4 << 20  # characters
DEEPEST = 64  # arrays and objects inside each other

_SPACE = re.compile(r"(?:[ \t\r\n]+|//[^\n]*(?:\n|\Z)|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"true|false|null")


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What all values have: the text from `start` up to, not including, `end`."""

    start: int
    end: int
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Value):
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(Value):
    literal: str  # as written: 1e3 is not 1000 to everybody


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth(Value):
    truth: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing(Value):
    """`null`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Items(Value):
    items: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    name: Text
    value: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Members(Value):
    members: tuple[Member, ...] = ()


Json = Text | Number | Truth | Nothing | Items | Members
_KINDS = {
    Text: "a string", Number: "a number", Truth: "true or false", Nothing: "null",
    Items: "an array", Members: "an object",
}  # fmt: skip


def kind_of(value: Json) -> str:
    """Return "an array", "a string" and so on, for messages."""
    return _KINDS[type(value)]


def parse(text: str) -> Json:
    """Read a whole document; raise `PolicyRefusedError` with the first place that is wrong."""
    if len(text) > LONGEST_TEXT:
        message = f"the policy has {len(text):,} characters; at most {LONGEST_TEXT:,} are read"
        raise refuse(message, Place())
    return _Parser(text).document()


def pack(value: Json) -> str:
    """Return a value as compact JSON, its numbers as written."""
    match value:
        case Text():
            return msgspec.json.encode(value.text).decode()
        case Number():
            return value.literal
        case Truth():
            return "true" if value.truth else "false"
        case Nothing():
            return "null"
        case Items():
            return f"[{','.join(map(pack, value.items))}]"
        case Members():
            pairs = (f"{pack(m.name)}:{pack(m.value)}" for m in value.members)
            return f"{{{','.join(pairs)}}}"


class _Parser:
    """One pass over the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 1 if text.startswith("\ufeff") else 0
        self._depth = 0
        self._lines = [0, *(m.end() for m in re.finditer("\n", text))]

    def document(self) -> Json:
        self._skip_space()
        value = self._value()
        self._skip_space()
        if self._at < len(self._text):
            raise self._wrong("there is something after the end of the policy", "remove it")
        return value

    def _value(self) -> Json:
        start, place = self._at, self._place(self._at)
        match self._text[start : start + 1]:
            case "{":
                return self._object(start, place)
            case "[":
                return self._array(start, place)
            case '"':
                return self._string()
            case _:
                return self._scalar(start, place)

    def _scalar(self, start: int, place: Place) -> Json:
        if found := _NUMBER.match(self._text, start):
            self._at = found.end()
            return Number(start=start, end=self._at, place=place, literal=found[0])
        if found := _WORD.match(self._text, start):
            self._at = found.end()
            if found[0] == "null":
                return Nothing(start=start, end=self._at, place=place)
            return Truth(start=start, end=self._at, place=place, truth=found[0] == "true")
        if start >= len(self._text):
            raise self._wrong("the policy ends too early", "is a bracket or brace missing?")
        raise self._wrong(f"a value cannot begin with {self._text[start]!r}", "quote strings")

    def _string(self) -> Text:
        start, place = self._at, self._place(self._at)
        found = _STRING.match(self._text, start)
        if found is None:
            raise self._wrong(
                "a string is not closed, or has a wrong escape", 'end it with " on the same line'
            )
        try:
            text = msgspec.json.decode(found[0], type=str)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise self._wrong("half of a surrogate pair stands alone", "write both") from error
        self._at = found.end()
        return Text(start=start, end=self._at, place=place, text=text)

    def _array(self, start: int, place: Place) -> Items:
        items: list[Json] = []
        self._enter()
        while not self._closes("]"):
            items.append(self._value())
            self._comma("]")
        return Items(start=start, end=self._at, place=place, items=tuple(items))

    def _object(self, start: int, place: Place) -> Members:
        members: dict[str, Member] = {}
        self._enter()
        while not self._closes("}"):
            if self._text[self._at : self._at + 1] != '"':
                raise self._wrong("a name in quotes must stand here", 'write "name": value')
            name = self._string()
            if name.text in members:
                first = members[name.text].name.place
                raise refuse(
                    f"duplicate key {name.text!r}", name.place, f"it is there already in {first}"
                )
            self._skip_space()
            if self._text[self._at : self._at + 1] != ":":
                raise self._wrong(f"a colon must follow {name.text!r}", 'write "name": value')
            self._at += 1
            self._skip_space()
            members[name.text] = Member(name=name, value=self._value())
            self._comma("}")
        return Members(start=start, end=self._at, place=place, members=tuple(members.values()))

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._wrong(f"brackets are nested over {DEEPEST} deep", "flatten this")
        self._at += 1

    def _closes(self, closing: str) -> bool:
        self._skip_space()
        if self._text[self._at : self._at + 1] != closing:
            return False
        self._at += 1
        self._depth -= 1
        return True

    def _comma(self, closing: str) -> None:
        """Take the comma behind an element, which may be missing before the closing bracket."""
        self._skip_space()
        following = self._text[self._at : self._at + 1]
        if following == ",":
            self._at += 1
        elif following != closing:
            what = repr(following) if following else "the end"
            raise self._wrong(f"a comma or {closing!r} must stand before {what}", "add it")

    def _skip_space(self) -> None:
        found = _SPACE.match(self._text, self._at)
        if found is not None:  # it matches nothing, too
            self._at = found.end()
        if self._text.startswith("/*", self._at):
            raise self._wrong("a comment is not closed", "end it with */")

    def _place(self, offset: int) -> Place:
        line = bisect_right(self._lines, offset)
        return Place(line, offset - self._lines[line - 1] + 1)

    def _wrong(self, message: str, hint: str) -> PolicyRefusedError:
        return refuse(message, self._place(self._at), hint)
