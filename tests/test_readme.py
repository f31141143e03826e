"""What the README promises is true: its plugin works and its commands exist."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import ModuleType

import click
import pytest

from gatepost.api import Advertise, Forward, Masquerade, NetMap, Sysctl
from gatepost.cli.main import cli
from gatepost.testing.check import check_plugin
from gatepost.testing.makers import make_node, make_observed

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
NAME = "one_host"


@pytest.fixture
def one_host() -> Iterator[ModuleType]:
    """Return the plugin that the README shows, as a module."""
    module = ModuleType(NAME)
    sys.modules[NAME] = module  # where typing looks names up
    (source,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(source, "README.md", "exec"), vars(module))  # noqa: S102  # our own text
    yield module
    del sys.modules[NAME]


def test_the_plugin_conforms(one_host: ModuleType) -> None:
    busy = one_host.Settings(host=ip_address("10.1.0.9"))

    assert check_plugin(one_host, busy=busy) == []
    assert check_plugin(one_host, busy=one_host.Settings(host=ip_address("fd0a::9"))) == []


def test_the_plugin_forwards_only_when_somebody_has_approved(one_host: ModuleType) -> None:
    host = ip_network("10.1.0.9/32")
    settings = one_host.Settings(host=host.network_address)
    asked, granted = (
        list(one_host.contribute(NetMap(me=me), settings, make_observed()))
        for me in (make_node(1), make_node(1, str(host)))
    )

    assert asked == [Advertise(host)]
    assert {type(item) for item in granted} == {Advertise, Forward, Masquerade, Sysctl}


def commands() -> list[str]:
    found = re.findall(r"(?:^|`|sudo )(gatepost(?: [a-z][a-z-]*)+)", README, re.MULTILINE)
    return sorted(set(found))


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_readme_exists(line: str) -> None:
    here: click.Command = cli
    context = click.Context(cli)
    for word in line.split()[1:]:
        if not isinstance(here, click.Group):
            break  # the rest are arguments
        found = here.get_command(context, word)
        assert found is not None, f"there is no command {word!r} in {line!r}"
        here = found


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\./(run|test)\b", README))))
def test_a_script_of_the_readme_can_be_run(name: str) -> None:
    assert (ROOT / name).stat().st_mode & 0o111


@pytest.mark.parametrize("name", sorted(set(re.findall(r"^\| `(\w[\w/]*)`", README, re.MULTILINE))))
def test_a_folder_of_the_readme_exists(name: str) -> None:
    assert (ROOT / name).is_dir()
