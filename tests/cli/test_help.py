"""Every command says what it is for, and every flag what it does."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from gatepost.cli.main import cli


def commands(
    command: click.Command, parent: click.Context | None = None
) -> Iterator[tuple[str, click.Command, click.Context]]:
    name = command.name if parent else "gatepost"
    context = click.Context(command, info_name=name, parent=parent)
    yield context.command_path, command, context
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            below = command.get_command(context, each)
            assert below is not None
            yield from commands(below, context)


ALL = {path: (command, context) for path, command, context in commands(cli)}


@pytest.mark.parametrize("path", ALL)
def test_every_command_and_every_flag_is_explained(path: str) -> None:
    command, context = ALL[path]
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]

    assert command.get_short_help_str(), path
    assert [option.opts for option in options if not option.help] == []
    assert "Usage: " in command.get_help(context)
