"""Values of flags, and numbers for people."""

from __future__ import annotations

from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as some

from gatepost.cli.values import Duration, ServerUrl
from gatepost.localapi.words import age, ago, milliseconds, size, until


def refusal(kind: click.ParamType[Any], text: str) -> str | None:  # Any: of whatever
    try:
        kind.convert(text, None, None)
    except click.BadParameter as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("30s", 30.0),
        ("250ms", 0.25),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("90d", 7776000.0),
        ("2w", 1209600.0),
    ],
)
def test_durations_read_as_people_write_them(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@given(some.text(max_size=8))
def test_a_duration_is_read_or_refused_by_name(text: str) -> None:
    complaint = refusal(Duration(), text)

    assert complaint is None or repr(text) in complaint


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("mesh.example", "https://mesh.example"),
        ("https://mesh.example/", "https://mesh.example"),
        ("http://192.0.2.1:8080", "http://192.0.2.1:8080"),
        ("http://[fd00::1]:80", "http://[fd00::1]:80"),
    ],
)
def test_a_server_address_gets_its_scheme(text: str, url: str) -> None:
    assert ServerUrl().convert(text, None, None) == url


@given(some.text(max_size=12))
def test_any_server_address_is_read_or_refused(text: str) -> None:
    complaint = refusal(ServerUrl(), text)

    assert complaint is None or repr(text) in complaint


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1 MiB"),
        (5 * 1024**3, "5 GiB"),
        (3000 * 1024**4, "3e+03 TiB"),
    ],
)
def test_sizes_are_short(octets: int, text: str) -> None:
    assert size(octets) == text


def test_times_are_in_one_unit() -> None:
    assert [age(s) for s in (-1, 0, 59, 60, 3599, 3600, 86400, 900000)] == [
        *("0s", "0s", "59s", "1m", "59m", "1h", "1d", "10d")
    ]
    assert (ago(None, 5.0), ago(0.0, 5.0)) == ("never", "5s ago")
    assert (until(None, 5.0), until(9.0, 5.0), until(1.0, 5.0)) == ("never", "in 4s", "4s ago")
    assert (milliseconds(None), milliseconds(0.01234)) == ("-", "12.3 ms")
