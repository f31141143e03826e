"""Changes one value of a policy's text and keeps every other byte: comments, order, spacing.

A path leads from the outermost value inwards: `("groups", "group:eng", 0)`.
Values are given as JSON text and put in as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gatepost.errors import NotFoundError
from gatepost.policy.hujson import Items, Json, Members, kind_of, pack, parse
from gatepost.policy.refusal import refuse

Path = tuple[str | int, ...]

_GAP = re.compile(r"(?:[ \t\r\n]+|//[^\n]*(?:\n|\Z)|/\*.*?\*/)*", re.DOTALL)
_REST_OF_LINE = re.compile(r"[ \t]*(?:/\*(?:(?!\*/)[^\n])*\*/[ \t]*)*(?://[^\n]*)?(?=\r?\n)")
_INDENT = re.compile(r"^([ \t]+)\S", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Element:
    """One item or member: the text from `start` up to `end`, commas left out."""

    start: int
    end: int
    value: Json


def set_value(text: str, path: Path, value: str) -> str:
    """Put a value in the place of another; in an object, add the member if it is not there.

    Raises `NotFoundError` if the path leads nowhere, `PolicyRefusedError` if the text or the
    value cannot be read.
    """
    parse(value)
    outer = _follow(parse(text), path[:-1]) if path else None
    if isinstance(outer, Members) and isinstance(path[-1], str):
        element = _member(outer, path[-1])
        if element is None:
            return _added(text, outer, f'"{path[-1]}": {value}')
    found = _follow(parse(text), path)
    return _checked(text[: found.start] + value + text[found.end :])


def add_item(text: str, path: Path, value: str) -> str:
    """Add an item at the end of an array, in the way its other items are written."""
    parse(value)
    found = _follow(parse(text), path)
    if not isinstance(found, Items):
        raise refuse(f"an item needs an array, not {kind_of(found)}", found.place)
    return _added(text, found, value)


def holds(text: str, path: Path, value: str) -> bool:
    """Say whether an array has an item of this value, however either is spelt."""
    return _index_of(text, path, value) is not None


def remove_item(text: str, path: Path, value: str) -> str:
    """Take the first item of this value out of an array; `NotFoundError` if there is none."""
    index = _index_of(text, path, value)
    if index is None:
        raise NotFoundError(
            f"there is no {value} in the array at {_follow(parse(text), path).place}"
        )
    return remove(text, (*path, index))


def _index_of(text: str, path: Path, value: str) -> int | None:
    found, wanted = _follow(parse(text), path), pack(parse(value))
    if not isinstance(found, Items):
        raise NotFoundError(f"{kind_of(found)} at {found.place} has no items")
    return next((i for i, item in enumerate(found.items) if pack(item) == wanted), None)


def remove(text: str, path: Path) -> str:
    """Take an item or a member out; with its lines, if it has them for itself."""
    if not path:
        raise NotFoundError("the whole policy cannot be removed: name a part of it")
    outer = _follow(parse(text), path[:-1])
    elements = _elements(outer)
    index = next(i for i, e in enumerate(elements) if e.value is _step(outer, path[-1]))
    start, end = _with_comma(text, elements, index)
    first, last = _whole_lines(text, start, end)
    return _checked(text[:first] + text[last:])


def _follow(value: Json, path: Path) -> Json:
    for step in path:
        value = _step(value, step)
    return value


def _step(value: Json, step: str | int) -> Json:
    if isinstance(value, Members) and isinstance(step, str):
        element = _member(value, step)
        if element is not None:
            return element.value
    if isinstance(value, Items) and isinstance(step, int) and -1 < step < len(value.items):
        return value.items[step]
    name = f"item {step + 1}" if isinstance(step, int) else repr(step)
    hint = "`gatepost admin policy change` makes a new member; what is to be in it comes after"
    raise NotFoundError(f"there is no {name} in the value at {value.place}", hint=hint)


def _member(value: Members, name: str) -> _Element | None:
    for member in value.members:
        if member.name.text.lower() == name.lower():
            return _Element(member.name.start, member.value.end, member.value)
    return None


def _elements(value: Json) -> list[_Element]:
    if isinstance(value, Items):
        return [_Element(item.start, item.end, item) for item in value.items]
    if isinstance(value, Members):
        return [_Element(m.name.start, m.value.end, m.value) for m in value.members]
    raise NotFoundError(f"{kind_of(value)} has no parts ({value.place})")


def _comma_after(text: str, offset: int) -> int | None:
    """Return where the comma behind an element stands, if there is one."""
    gap = _GAP.match(text, offset)
    at = gap.end() if gap else offset
    return at if text.startswith(",", at) else None


def _with_comma(text: str, elements: list[_Element], index: int) -> tuple[int, int]:
    """Return what to cut: the element and its comma, or the comma before the last element."""
    element = elements[index]
    comma = _comma_after(text, element.end)
    if comma is not None:
        return element.start, comma + 1
    if index and "\n" not in text[elements[index - 1].end : element.start]:
        before = _comma_after(text, elements[index - 1].end)
        return (element.start if before is None else before), element.end
    return element.start, element.end


def _whole_lines(text: str, start: int, end: int) -> tuple[int, int]:
    """Widen a cut to whole lines if nothing else is on them, else to the space behind it."""
    line = text.rfind("\n", 0, start) + 1
    rest = _REST_OF_LINE.match(text, end)
    if not text[line:start].strip() and rest is not None:
        return line, text.index("\n", rest.end()) + 1
    while text[end : end + 1] in {" ", "\t"}:
        end += 1
    return start, end


def _added(text: str, outer: Items | Members, element: str) -> str:
    """Write an element behind the last one of an array or object."""
    elements = _elements(outer)
    if not elements:
        return _checked(_first(text, outer, element))
    last = elements[-1]
    comma = _comma_after(text, last.end)
    line = text.rfind("\n", 0, last.start) + 1
    indent = text[line : last.start]
    if indent.strip() or "\n" not in text[outer.start : last.start]:
        at = last.end if comma is None else comma + 1
        more = f", {element}" if comma is None else f" {element},"
        return _checked(text[:at] + more + text[at:])
    if comma is None:
        text = f"{text[: last.end]},{text[last.end :]}"
        comma = last.end
    rest = _REST_OF_LINE.match(text, comma + 1)
    at = rest.end() if rest else comma + 1
    return _checked(f"{text[:at]}\n{indent}{element},{text[at:]}")


def _first(text: str, outer: Items | Members, element: str) -> str:
    """Write the only element of an array or object, behind the comments it may have."""
    line = text.rfind("\n", 0, outer.start) + 1
    start = re.match(r"[ \t]*", text[line:])
    indent = start[0] if start else ""
    step = _INDENT.search(text)
    unit = step[1] if step and not indent else "  " if not indent.startswith("\t") else "\t"
    inside = text[outer.start + 1 : outer.end - 1].rstrip()
    return (
        f"{text[: outer.start + 1]}{inside}\n{indent}{unit}{element},\n{indent}"
        f"{text[outer.end - 1 :]}"
    )


def _checked(text: str) -> str:
    """Return the text if it can still be read; a comment could have swallowed something."""
    parse(text)
    return text
