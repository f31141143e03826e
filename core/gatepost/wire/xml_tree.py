"""Read the small XML documents of strangers in the LAN: a tree of names and texts, with limits.

A document type is refused outright, and with it every entity that could be
defined, so nothing can grow while it is read and nothing is ever fetched.
Attributes are dropped, and of a qualified name only what follows the colon
counts: gateways are careless with both. Not for large documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers.expat import ExpatError, ParserCreate

from gatepost.errors import Malformed

LONGEST = 64 << 10  # bytes; real descriptions of gateways have 2 to 10 KiB
DEEPEST = 32  # elements inside each other
MOST = 2000  # elements


@dataclass(slots=True)
class Element:
    """One element. `text` is what stands directly in it, without spaces around it."""

    name: str
    text: str = ""
    children: list[Element] = field(default_factory=list["Element"])

    def all(self, name: str) -> Iterator[Element]:
        """Return every element of that name below this one, in order."""
        for child in self.children:
            if child.name == name:
                yield child
            yield from child.all(name)

    def first(self, name: str) -> Element | None:
        """Return the first element of that name below this one."""
        return next(self.all(name), None)

    def child(self, name: str) -> str:
        """Return the text of the first direct child of that name, "" without one."""
        return next((c.text for c in self.children if c.name == name), "")


def read_xml(document: bytes) -> Element:
    """Return the outermost element; raise `Malformed` for what is not small, plain XML."""
    if len(document) > LONGEST:
        raise Malformed(f"an XML document of {len(document)} bytes is over {LONGEST}")
    builder = _Builder()
    parser = ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    parser.StartDoctypeDeclHandler = builder.doctype
    try:
        parser.Parse(document, True)
    except (ExpatError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        raise Malformed(f"not XML: {error}") from error
    assert builder.root is not None  # noqa: S101  # expat refuses a document without elements
    return builder.root


class _Builder:
    """Collects what the parser finds."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._count = 0

    def start(self, name: str, _attributes: object) -> None:
        self._count += 1
        if self._count > MOST or len(self._open) >= DEEPEST:
            raise Malformed(f"XML with over {MOST} elements, or {DEEPEST} inside each other")
        element = Element(name.rpartition(":")[2])
        if self._open:
            self._open[-1].children.append(element)
        self.root = self.root or element
        self._open.append(element)

    def end(self, _name: str) -> None:
        element = self._open.pop()
        element.text = element.text.strip()

    def characters(self, text: str) -> None:
        self._open[-1].text += text

    def doctype(self, name: str, *_rest: object) -> None:
        raise Malformed(f"XML with a document type ({name[:40]}) is refused")
