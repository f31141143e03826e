"""Providers' files: what is taken, what is refused, and that no key ever shows."""

from __future__ import annotations

import base64
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import SettingsError
from gatepost.model.keys import NodePublic, PresharedKey
from gatepost.wire.wg_quick import LONGEST, read_wg_quick

SECRET, PUBLIC, SHARED = (base64.b64encode(bytes([n] * 32)).decode() for n in (1, 2, 3))
FILE = f"""\
# From a provider
[Interface]
PrivateKey = {SECRET}
Address = 10.5.0.2/32, fd05::2/128   # two of them
DNS = 10.5.0.1, fd05::1, search.example
MTU = 1420
ListenPort = 4500

[Peer]
PublicKey = {PUBLIC}
PresharedKey = {SHARED}
Endpoint = DE-1.example.com:51820
AllowedIPs = 0.0.0.0/0
AllowedIPs = ::/0
PersistentKeepalive = 25
"""


def test_a_file_is_read_with_all_it_says() -> None:
    found = read_wg_quick(FILE)

    assert found.private_key.raw == bytes([1] * 32)
    assert (found.server, found.preshared) == (
        NodePublic(bytes([2] * 32)),
        PresharedKey(bytes([3] * 32)),
    )
    assert found.addresses == (ip_address("10.5.0.2"), ip_address("fd05::2"))
    assert found.dns == (ip_address("10.5.0.1"), ip_address("fd05::1"))
    assert found.search == ("search.example",)
    assert (found.mtu, found.port, found.keepalive) == (1420, 4500, 25)
    assert (found.host, found.host_port) == ("de-1.example.com", 51820)
    assert found.allowed == {ip_network("0.0.0.0/0"), ip_network("::/0")}


def test_names_are_read_in_any_case_and_what_is_optional_may_be_missing() -> None:
    small = FILE.lower().replace(SECRET.lower(), SECRET).replace(PUBLIC.lower(), PUBLIC)
    lines = [
        line
        for line in small.splitlines()
        if not line.startswith(("dns", "mtu", "listenport", "presharedkey", "persistent"))
    ]
    found = read_wg_quick("\r\n".join(lines))

    assert (found.dns, found.mtu, found.port, found.preshared, found.keepalive) == (
        (), None, None, None, 0,
    )  # fmt: skip


def test_an_ipv6_endpoint_stands_in_brackets() -> None:
    found = read_wg_quick(FILE.replace("DE-1.example.com:51820", "[2001:DB8::1]:443"))

    assert (found.host, found.host_port) == ("2001:db8::1", 443)


def test_a_preshared_key_of_zeros_is_none() -> None:
    zeros = base64.b64encode(bytes(32)).decode()

    assert read_wg_quick(FILE.replace(SHARED, zeros)).preshared is None


REFUSED = {
    "PostUp": (("MTU = 1420", "PostUp = iptables -A X"), r"line 6: PostUp: it would run a program"),
    "predown": (("MTU = 1420", "predown=x"), "line 6: predown: it would run a program"),
    "Table": (("MTU = 1420", "Table = off"), "line 6: Table: Gatepost has a routing table"),
    "FwMark": (("MTU = 1420", "FwMark = 1"), "line 6: FwMark: Gatepost marks"),
    "SaveConfig": (("MTU = 1420", "SaveConfig = true"), "line 6: SaveConfig"),
    "amnezia": (("MTU = 1420", "Jc = 4"), "line 6: Jc: this is AmneziaWG"),
    "unknown": (("MTU = 1420", "Colour = red"), r"line 6: colour is not known in \[Interface\]"),
    "no equals": (("MTU = 1420", "MTU 1420"), "line 6: this is not of the form NAME = VALUE"),
    "twice": (("MTU = 1420", "MTU = 1\nMTU = 2"), "line 7: MTU is there a second time"),
    "mtu": (("MTU = 1420", "MTU = 99999"), "line 6: MTU: '99999' is not a number from 576"),
    "zeros": (("MTU = 1420", "MTU = 0000099999"), "line 6: MTU: '0000099999' is not a number"),
    "long": (("MTU = 1420", f"MTU = {'9' * 40}"), "line 6: MTU: '9{20}' is not a number from"),
    "section": (("[Peer]", "[Server]"), "line 9: .*neither .Interface. nor .Peer."),
    "no peer": (("[Peer]", ""), "0 sections .Peer.: one is needed"),
    "two peers": (("[Peer]", "[Peer]\n[Peer]"), "2 sections .Peer.: one is needed"),
    "before": (("[Interface]", ""), "line 3: PrivateKey stands before"),
    "key": ((SECRET, "abc="), "line 3: PrivateKey: a key is 44 characters of base64.* 4 char"),
    "no key": ((f"PrivateKey = {SECRET}", ""), r"line 2: \[Interface\] has no PrivateKey"),
    "address": (("10.5.0.2/32", "10.5.0/99"), "line 4: Address: '10.5.0/99'"),
    "dns": (("10.5.0.1", "no resolver"), "line 5: DNS: 'no resolver' is neither"),
    "empty": (("10.5.0.1,", "10.5.0.1,,"), "line 5: DNS has an empty entry"),
    "port": ((":51820", ""), "line 12: Endpoint: .* is not of the form host:port"),
    "part": (("AllowedIPs = 0.0.0.0/0\nAllowedIPs = ::/0", "AllowedIPs = 10.0.0.0/8"),
             "line 13: AllowedIPs: they do not cover the internet"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_with_its_line_and_reason(name: str) -> None:
    (old, new), reason = REFUSED[name]
    assert old in FILE

    with pytest.raises(SettingsError, match=reason):
        read_wg_quick(FILE.replace(old, new, 1))


def test_a_file_whose_two_ends_share_no_version_of_ip_is_refused() -> None:
    text = FILE.replace("10.5.0.2/32, ", "").replace("AllowedIPs = ::/0", "")

    with pytest.raises(SettingsError, match="no version of IP in common"):
        read_wg_quick(text)


def test_the_halves_of_the_internet_are_the_internet() -> None:
    halves = FILE.replace("0.0.0.0/0", "0.0.0.0/1, 128.0.0.0/1").replace("AllowedIPs = ::/0", "")

    assert read_wg_quick(halves).allowed == {ip_network("0.0.0.0/1"), ip_network("128.0.0.0/1")}


def test_a_file_that_is_far_too_long_is_not_read() -> None:
    with pytest.raises(SettingsError, match=f"{LONGEST} are allowed"):
        read_wg_quick(FILE + "#" * LONGEST)


def refusal(text: str) -> str:
    """Return why a file is refused, "" if it is taken."""
    try:
        read_wg_quick(text)
    except SettingsError as error:
        return str(error)
    return ""


def is_silent(reason: str) -> bool:
    return not any(key.rstrip("=")[:20] in reason for key in (SECRET, SHARED))


@given(st.integers(0, len(FILE)))
def test_a_file_that_ends_early_is_refused_unless_the_internet_was_named(end: int) -> None:
    reason = refusal(FILE[:end])

    assert is_silent(reason)
    assert reason or end > FILE.index("AllowedIPs")


@given(st.integers(0, len(FILE) - 1), st.characters(codec="utf-8"))
def test_no_error_quotes_a_key_whatever_is_written_wrongly(where: int, letter: str) -> None:
    assert is_silent(refusal(FILE[:where] + letter + FILE[where + 1 :]))


PLACES = ("10.5.0.2/32", "10.5.0.1", "1420", "4500", "DE-1.example.com", "0.0.0.0/0", "25\n")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("key", [SECRET, base64.b64encode(b"\xfb\xff" * 16).decode()])
def test_a_key_in_a_wrong_place_is_refused_and_not_quoted(place: str, key: str) -> None:
    assert place in FILE
    reason = refusal(FILE.replace(place, key, 1))

    assert "looks like a key" in reason
    assert key[:20] not in reason


@given(st.text(max_size=300))
def test_any_text_is_refused_in_our_own_words(text: str) -> None:
    with pytest.raises(SettingsError):
        read_wg_quick(text)
