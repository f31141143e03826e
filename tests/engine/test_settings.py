"""From plain values to a `Settings` class and back."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.api import IPAddress, IPNetwork, about
from gatepost.engine.settings import field_documents, read_settings, write_settings
from gatepost.errors import SettingsError


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    networks: tuple[IPNetwork, ...] = ()
    masquerade: bool = True
    port: int = field(default=53, metadata=about("Port", "UDP", minimum=1, maximum=65535))
    names: tuple[str, ...] = ()
    inbox: Path | None = None
    mode: Literal["fast", "safe"] = "safe"
    color: Color = Color.RED
    server: IPAddress | None = None

    def __post_init__(self) -> None:
        if self.mode == "fast" and self.port == 1:
            raise ValueError("port 1 is not fast")


WRONG: dict[str, dict[str, object]] = {
    "10.1.0.0/33 in networks of r: prefix length 33 is over 32": {"networks": ["10.1.0.0/33"]},
    "10.1.0.1/16 in networks of r: it has bits behind the prefix; the network is 10.1.0.0/16": {
        "networks": "10.9.0.0/16, 10.1.0.1/16"
    },
    "x in networks of r: it is not a network such as 10.1.0.0/16 or fd00:1::/64": {"networks": "x"},
    "maybe in masquerade of r: it must be true or false": {"masquerade": "maybe"},
    "0 in port of r: the least that is allowed is 1": {"port": 0},
    "70000 in port of r: the most that is allowed is 65535": {"port": "70000"},
    "1.5 in port of r: it must be a whole number": {"port": 1.5},
    "True in port of r: it must be a whole number": {"port": True},
    "slow in mode of r: it must be one of fast, safe": {"mode": "slow"},
    "green in color of r: it must be one of red, blue": {"color": "green"},
    "7 in inbox of r: it must be text in quotes": {"inbox": 7},
    "fe80::zz in server of r: it is not an IP address such as 10.1.0.1 or fd00::1": {
        "server": "fe80::zz"
    },
    "netwroks is not a setting of r: did you mean networks?": {"netwroks": []},
    "settings of r: port 1 is not fast": {"port": 1, "mode": "fast"},
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_value_is_named_with_the_way_out(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(Settings, WRONG[text], "r")

    assert str(caught.value) == text


def test_nothing_given_is_all_defaults() -> None:
    assert read_settings(Settings, {}, "r") == Settings()
    assert write_settings(Settings()) == {}


def test_text_from_a_flag_or_a_form_is_as_good_as_a_typed_value() -> None:
    typed = {"networks": ["10.0.0.0/8", "::/0"], "masquerade": False, "port": 5, "mode": "fast"}
    text = {"networks": "10.0.0.0/8,::/0", "masquerade": "no", "port": "5", "mode": "fast"}

    assert read_settings(Settings, typed, "r") == read_settings(Settings, text, "r")


def test_a_form_can_be_drawn_from_the_class() -> None:
    current = Settings(networks=(ip_network("10.0.0.0/8"),))
    documents = {d.name: d for d in field_documents(Settings, current)}

    assert {n: d.kind for n, d in documents.items()} == {
        "networks": "list", "masquerade": "switch", "port": "number", "names": "list",
        "inbox": "text", "mode": "choice", "color": "choice", "server": "text",
    }  # fmt: skip
    assert documents["networks"].value == ("10.0.0.0/8",)
    assert documents["networks"].default == ()
    assert (documents["port"].title, documents["port"].help) == ("Port", "UDP")
    assert documents["color"].choices == ("red", "blue")


@given(
    st.builds(
        Settings,
        networks=st.lists(st.sampled_from([ip_network("10.0.0.0/8"), ip_network("fd00::/64")])).map(
            tuple
        ),
        masquerade=st.booleans(),
        port=st.integers(2, 65535),
        names=st.lists(st.text("abc", min_size=1)).map(tuple),
        inbox=st.none() | st.just(Path("/inbox")),
        mode=st.sampled_from(("fast", "safe")),
        color=st.sampled_from(Color),
        server=st.none() | st.just(ip_address("fd00::1")),
    )
)
def test_what_is_written_is_read_back_equal(settings: Settings) -> None:
    assert read_settings(Settings, write_settings(settings), "r") == settings
