"""Small XML from strangers: what is read, and what is refused before it can grow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed
from gatepost.wire.xml_tree import DEEPEST, LONGEST, MOST, read_xml


def test_names_lose_their_prefix_and_texts_their_spaces() -> None:
    root = read_xml(b'<a:x xmlns:a="urn:y"><b>  one &amp; two </b><c q="1"/></a:x>')

    assert root.name == "x"
    assert [(c.name, c.text) for c in root.children] == [("b", "one & two"), ("c", "")]


def test_elements_are_found_at_any_depth_and_children_only_directly() -> None:
    root = read_xml(b"<r><s><n>1</n></s><s><n>2</n></s></r>")

    assert [e.text for e in root.all("n")] == ["1", "2"]
    assert root.first("n") is not None
    assert root.first("m") is None
    assert root.child("n") == ""


@pytest.mark.parametrize(
    "document",
    [
        b'<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><r>&b;</r>',
        b'<!DOCTYPE r SYSTEM "http://192.0.2.1/x.dtd"><r/>',
        b'<!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/passwd">]><r>&f;</r>',
    ],
)
def test_a_document_type_is_refused(document: bytes) -> None:
    with pytest.raises(Malformed, match="document type"):
        read_xml(document)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<r>",
        b"<r></s>",
        b"<r/><r/>",
        b"<r>&nothing;</r>",
        b'<?xml version="1.0" encoding="nonsense"?><r/>',
        b"<r>\xff</r>",
        b"\0",
    ],
)
def test_what_is_not_xml_is_refused(document: bytes) -> None:
    with pytest.raises(Malformed):
        read_xml(document)


def test_a_document_has_limits() -> None:
    deep = b"<d>" * (DEEPEST + 1) + b"</d>" * (DEEPEST + 1)
    many = b"<r>" + b"<d/>" * MOST + b"</r>"
    for document in (deep, many, b"<r>" + b" " * LONGEST + b"</r>"):
        with pytest.raises(Malformed):
            read_xml(document)


def test_a_document_within_the_limits_is_read() -> None:
    read_xml(b"<d>" * DEEPEST + b"</d>" * DEEPEST)
    assert len(read_xml(b"<r>" + b"<d/>" * (MOST - 1) + b"</r>").children) == MOST - 1


@given(document=st.binary(max_size=200))
def test_noise_is_refused(document: bytes) -> None:
    with pytest.raises(Malformed):
        read_xml(b"<" + document)
