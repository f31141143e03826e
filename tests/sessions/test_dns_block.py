"""Lists of names are read in three forms, and what is no such list is refused whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed
from gatepost.sessions.dns_block import read_block_list

LIST = """\
# a remark
! another
[Adblock Plus 2.0]
127.0.0.1 localhost
::1 ip6-localhost ip6-loopback
0.0.0.0 Ads.Example  # and why
0.0.0.0 one.example two.example
:: six.example
plain.example.
||browser.example^
"""


def test_every_form_is_read() -> None:
    read = read_block_list(LIST)

    assert read.names == {
        "ads.example", "one.example", "two.example", "six.example", "plain.example",
        "browser.example",
    }  # fmt: skip
    assert read.wrong == 0


@pytest.mark.parametrize(
    "line",
    [
        "192.0.2.1 redirect.example", "a.example b.example", "||half.example", "com", "192.0.2.1",
        "||x.example^$third-party", "*.wild.example", "a..b.example", "-x.example",
        "x" * 64 + ".eu", "@@||allowed.example^", "<html>",
    ],
)  # fmt: skip
def test_a_line_of_another_form_is_left_out_and_told(line: str) -> None:
    read = read_block_list(LIST * 2 + "".join(f"n{n}.example\n" for n in range(20)) + line)

    assert read.wrong == 1
    assert read.example == line[:80]
    assert line not in read.names


@pytest.mark.parametrize("text", ["", "# nothing\n", "<!doctype html>\n<p>404 not found\n"])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="no name in the list"):
        read_block_list(text)


def test_a_list_with_much_that_is_no_name_is_refused() -> None:
    with pytest.raises(Malformed, match=r"3 lines are no names, such as 'a b'"):
        read_block_list("one.example\n" + "a b\n" * 3)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = read_block_list(text)
    except Malformed:
        return

    assert all("." in name for name in read.names)
