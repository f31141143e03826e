"""`gatepost admin policy add|change|remove`: one value, every other byte stays."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import unified_diff

import click
import msgspec

from gatepost.cli.admin.policy import say_preview, say_warnings
from gatepost.cli.session import Session
from gatepost.errors import SettingsError
from gatepost.model.policy import PolicyRequest
from gatepost.policy.edit import Path, add_item, holds, remove_item, set_value
from gatepost.policy.edit import remove as remove_at
from gatepost.policy.hujson import parse

_PATH = click.argument("path")
_NOTE = click.option("--note", default="", help="Why; shown in the history.")
_DRY_RUN = click.option(
    "--dry-run", is_flag=True, help="Show who would gain and who would lose access; save nothing."
)
_JSON_START = re.compile(r'["\[{]|-?\d+(\.\d+)?$|(true|false|null)$')
_ABOUT_PATH = (
    "PATH names it from the outside in: groups/group:eng, acls, acls/2 (rules count from 1), "
    "autoApprovers/routes/10.0.0.0~18 (~1 stands for a slash)."
)
_ABOUT_VALUE = "VALUE is JSON, or a word that is taken as a string."


@click.command(help=f"Add VALUE at the end of an array. {_ABOUT_PATH} {_ABOUT_VALUE}")
@_PATH
@click.argument("value")
@_NOTE
@_DRY_RUN
@click.pass_obj
def add(session: Session, *, path: str, value: str, note: str, dry_run: bool) -> None:
    where, what = _path(path), _value(value)

    def edit(text: str) -> str:
        return text if holds(text, where, what) else add_item(text, where, what)

    _change(session, edit, note=note, dry_run=dry_run)


@click.command(
    help=f"Put VALUE in the place of another, or make it a new member of an object. "
    f"{_ABOUT_PATH} {_ABOUT_VALUE}"
)
@_PATH
@click.argument("value")
@_NOTE
@_DRY_RUN
@click.pass_obj
def change(session: Session, *, path: str, value: str, note: str, dry_run: bool) -> None:
    where, what = _path(path), _value(value)
    _change(session, lambda text: set_value(text, where, what), note=note, dry_run=dry_run)


@click.command(help=f"Remove what is at PATH, or VALUE from the array there. {_ABOUT_PATH}")
@_PATH
@click.argument("value", required=False)
@_NOTE
@_DRY_RUN
@click.pass_obj
def remove(session: Session, *, path: str, value: str | None, note: str, dry_run: bool) -> None:
    where = _path(path)

    def edit(text: str) -> str:
        return remove_at(text, where) if value is None else remove_item(text, where, _value(value))

    _change(session, edit, note=note, dry_run=dry_run)


def _change(session: Session, edit: Callable[[str], str], *, note: str, dry_run: bool) -> None:
    """Edit the policy in force; who has changed it in the meantime is not overwritten."""
    before = session.server.policy()
    text = edit(before.text)
    if text == before.text:
        click.echo("the policy says so already", err=True)
        return
    click.echo(_difference(before.text, text), nl=False)
    wish = PolicyRequest(text=text, etag=before.etag, note=note)
    if dry_run:
        preview = session.server.preview_policy(wish)
        say_warnings(preview.warnings)
        say_preview(preview)
        return
    saved = session.server.set_policy(wish)
    say_warnings(saved.warnings)
    click.echo(f"version {saved.version} is in force (etag {saved.etag})", err=True)


def _difference(before: str, after: str) -> str:
    """Return what changes, without lines around it."""
    lines = unified_diff(before.splitlines(), after.splitlines(), "in force", "new", n=0)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _path(words: str) -> Path:
    """Read a path; steps are as in a JSON pointer, but numbers count from 1."""
    return tuple(map(_step, words.strip("/").split("/")))


def _step(word: str) -> str | int:
    if not (word.isascii() and word.isdigit()):
        return word.replace("~1", "/").replace("~0", "~")
    if int(word) < 1:
        raise SettingsError(f"{word} is no place in an array: they count from 1")
    return int(word) - 1


def _value(words: str) -> str:
    """Return JSON as it was given, a word as a JSON string; raise for JSON that is none."""
    if _JSON_START.match(words):
        parse(words)
        return words
    return msgspec.json.encode(words).decode()
