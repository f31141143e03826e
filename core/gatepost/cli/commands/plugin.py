"""`gatepost plugin`: list, switch and configure plugins."""

from __future__ import annotations

from difflib import get_close_matches

import click

from gatepost.cli import complete
from gatepost.cli.commands.plugin_values import parse_assignments
from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.errors import NotFoundError
from gatepost.model.status import PluginDocument, PluginRequest


@click.group(help="List, switch and configure plugins.")
def plugin() -> None: ...


@plugin.command("list", help="List all plugins.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with their settings.")
@click.pass_obj
def list_(session: Session, *, as_json: bool) -> None:
    documents = session.node.plugins()
    if as_json:
        say_json(documents)
        return
    rows = [(each.name, _state(each), each.summary) for each in documents]
    say_table(("NAME", "STATE", "SUMMARY"), rows)


@plugin.command(help="Show the settings of a plugin.")
@click.argument("name", shell_complete=complete.plugins)
@click.pass_obj
def show(session: Session, *, name: str) -> None:
    found = find(session.node.plugins(), name)
    fields = found.fields
    rows = [(field.name, _text(field.value), field.help) for field in fields]
    say_table(("SETTING", "VALUE", "HELP"), rows, empty=_no_settings(found))


@plugin.command(help="Switch a plugin on.")
@click.argument("name", shell_complete=complete.plugins)
@click.pass_obj
def enable(session: Session, *, name: str) -> None:
    session.node.change_plugin(name, PluginRequest(enabled=True))


@plugin.command(help="Switch a plugin off.")
@click.argument("name", shell_complete=complete.plugins)
@click.pass_obj
def disable(session: Session, *, name: str) -> None:
    session.node.change_plugin(name, PluginRequest(enabled=False))


@plugin.command("set", help="Change settings; KEY= (nothing behind it) is the default again.")
@click.argument("name", shell_complete=complete.plugins)
@click.argument(
    "assignments",
    metavar="KEY=VALUE...",
    nargs=-1,
    required=True,
    shell_complete=complete.settings,
)
@click.pass_obj
def set_(session: Session, *, name: str, assignments: tuple[str, ...]) -> None:
    settings = parse_assignments(find(session.node.plugins(), name), assignments)
    session.node.change_plugin(name, PluginRequest(settings=settings))


def find(documents: tuple[PluginDocument, ...], name: str) -> PluginDocument:
    known = {each.name: each for each in documents}
    if name in known:
        return known[name]
    if near := get_close_matches(name, known, n=1):
        raise NotFoundError(f"there is no plugin {name!r}", hint=f"did you mean {near[0]}?")
    names = ", ".join(known) or "none"
    raise NotFoundError(f"there is no plugin {name!r}", hint=f"there are: {names}")


def _state(document: PluginDocument) -> str:
    if document.error:
        return click.style(f"failed: {document.error}", fg="red")
    if document.enabled:
        return click.style("required" if document.required else "on", fg="green")
    return click.style("off", dim=True)


def _no_settings(document: PluginDocument) -> str:
    if document.enabled:
        return f"{document.name} has no settings."
    return f"{document.name} is off; its settings are known when it is on."


def _text(value: str | float | bool | tuple[str, ...] | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, tuple) else str("" if value is None else value)
