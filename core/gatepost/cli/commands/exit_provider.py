"""`gatepost exit-provider`: WireGuard providers whose tunnel this box offers as a way out."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.errors import NotFoundError, SettingsError
from gatepost.localapi.words import ago
from gatepost.model.status import PluginRequest, ProviderDocument, ProviderRequest

PLUGIN = "exit-provider"
LONGEST = 65_536  # bytes read of a file


@click.group(name="exit-provider")
def exit_provider() -> None:
    """Offer the tunnel of a WireGuard provider to the mesh as an exit node."""


@exit_provider.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="What to call it.  [default: the file's name]")
@click.pass_obj
def import_(session: Session, *, file: Path, name: str | None) -> None:
    """Keep a provider's configuration FILE (.conf), sealed; "-" reads standard input."""
    text = _read(file)
    chosen = name or _name_of(file)
    found = session.node.import_provider(ProviderRequest(name=chosen, text=text))
    click.echo(f"{found.name}: {found.server} carries {' and '.join(found.carries)}")
    if not found.resolvers:
        click.echo(
            "It names no DNS server: names are asked of this box's own, beside it.", err=True
        )
    if not found.used:
        click.echo(f"offer it to the mesh: gatepost exit-provider use {found.name}")


@exit_provider.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(session: Session, *, as_json: bool) -> None:
    """List the imported providers; their secret keys are never shown."""
    found = session.node.providers()
    if as_json:
        say_json(found)
        return
    rows = [(p.name, p.server, " ".join(p.carries), _state(p, session.now())) for p in found]
    say_table(
        ("NAME", "SERVER", "CARRIES", "STATE"),
        rows,
        empty="no providers: gatepost exit-provider import FILE",
    )


@exit_provider.command()
@click.argument("name")
@click.pass_obj
def use(session: Session, *, name: str) -> None:
    """Send what exits through this box out by this provider, and by nothing else."""
    names = [p.name for p in session.node.providers()]
    if name not in names:
        known = ", ".join(names) or "none"
        raise NotFoundError(f"no provider was imported as {name!r}", hint=f"there is {known}")
    session.node.change_plugin(PLUGIN, PluginRequest(enabled=True, settings={"use": name}))
    click.echo("approve it on the coordination server, if it is new: gatepost admin routes")


@exit_provider.command()
@click.pass_obj
def off(session: Session) -> None:
    """Offer no provider any more; what was imported stays."""
    session.node.change_plugin(PLUGIN, PluginRequest(enabled=False, settings={"use": None}))


@exit_provider.command()
@click.argument("name")
@click.pass_obj
def remove(session: Session, *, name: str) -> None:
    """Forget an imported provider with its keys."""
    session.node.remove_provider(name)


def _read(file: Path) -> str:
    try:
        if str(file) == "-":
            raw = sys.stdin.buffer.read(LONGEST)
        else:
            with file.open("rb") as opened:
                raw = opened.read(LONGEST)
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    return raw.decode("utf-8", "replace")


def _name_of(file: Path) -> str:
    """Return a name made of the file's: "Rented DE_1.conf" is rented-de-1."""
    name = re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-")[:32]
    if not name:
        raise SettingsError(f"{file} makes no name: give one with --name")
    return name


def _state(provider: ProviderDocument, now: float) -> str:
    if provider.error:
        return provider.error
    if not provider.used:
        return "-"
    if provider.last_handshake is None:
        return "in use, its server has not answered yet"
    return f"in use, heard {ago(provider.last_handshake, now)}"
