"""`gatepost wireguard`: phones and others with the stock WireGuard app."""

from __future__ import annotations

import os
from ipaddress import ip_network
from pathlib import Path

import click
import segno

from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.errors import GatepostError, NotFoundError, SettingsError
from gatepost.localapi.words import ago, size
from gatepost.model.guest_documents import GuestDocument, PlainWireGuardDocument
from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.model.status import PluginRequest
from gatepost.sessions.guests import (
    Guest,
    Invitation,
    configuration,
    free_number,
    read_guest,
    read_name,
)

PLUGIN = "plain-wireguard"


@click.group()
def wireguard() -> None:
    """Let machines with the stock WireGuard app into the mesh through this box."""


@wireguard.command()
@click.argument("name")
@click.option(
    "--key", metavar="BASE64", help="The machine's own public key; then it alone has the secret."
)
@click.option("--host", help="The box's name or address for it.  [default: as the plugin says]")
@click.option("--output", type=click.Path(path_type=Path), help="Write the file here, no QR code.")
@click.pass_obj
def add(
    session: Session, *, name: str, key: str | None, host: str | None, output: Path | None
) -> None:
    """Invite a machine: show its configuration and a QR code for the app, once.

    Its secret key is made here and kept nowhere. Who invites it again removes it first.
    """
    found = _ready(session.node.plain_wireguard())
    networks = tuple(map(ip_network, found.networks))
    known = tuple(map(_guest, found.guests))
    private = NodePrivate(os.urandom(32))
    try:
        number = free_number(known, networks)
        public = _public(name, key) if key else private.public
        guest = Guest(name=read_name(name), number=number, key=public)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    if any(other.name == name for other in known):
        raise SettingsError(f"{name} is there already", hint=f"gatepost wireguard remove {name}")
    place = host or found.host
    if not place:
        raise SettingsError(
            "nobody knows where the internet finds this box",
            hint="--host vpn.example.org, or gatepost plugin set plain-wireguard host=…",
        )
    invitation = Invitation(
        key=private,
        addresses=guest.addresses(networks),
        box=_public("box", found.key),
        host=place,
        port=found.port,
        reach=tuple(map(ip_network, found.reach)),
        mtu=found.mtu,
    )
    text = configuration(invitation)
    _invite(session, (*known, guest), _without_secret(text) if key else text, output)
    if output is None and not key:
        segno.make(text, error="l").terminal(compact=True)


def _invite(session: Session, guests: tuple[Guest, ...], text: str, output: Path | None) -> None:
    """Let the machine in and hand its configuration over; without a file nobody is let in."""
    if output is None:
        _change(session, guests)
        click.echo(text)
        return
    _write_new(output, text)  # first: the secret in it is kept nowhere else
    try:
        _change(session, guests)
    except GatepostError:
        output.unlink(missing_ok=True)
        raise
    click.echo(f"written to {output}, which nobody else may read")


def _write_new(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror}", hint="name a file that is not there yet"
        ) from error


def _without_secret(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(
        "# PrivateKey = the machine's own\n" if line.startswith("PrivateKey") else line
        for line in lines
    )


@wireguard.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(session: Session, *, as_json: bool) -> None:
    """List the machines, and when each was heard last."""
    found = session.node.plain_wireguard()
    if as_json:
        say_json(found)
        return
    rows = [
        (
            guest.name,
            " ".join(guest.addresses),
            ago(guest.last_handshake, session.now()),
            f"{size(guest.received)} in, {size(guest.sent)} out",
            guest.endpoint,
        )
        for guest in found.guests
    ]
    say_table(
        ("NAME", "ADDRESS", "HEARD", "TRAFFIC", "FROM"),
        rows,
        empty="no machines: gatepost wireguard add NAME",
    )


@wireguard.command()
@click.argument("name")
@click.pass_obj
def remove(session: Session, *, name: str) -> None:
    """Take a machine out; its key opens nothing any more."""
    known = tuple(map(_guest, session.node.plain_wireguard().guests))
    kept = tuple(guest for guest in known if guest.name != name)
    if len(kept) == len(known):
        names = ", ".join(guest.name for guest in known) or "none"
        raise NotFoundError(f"no machine is called {name!r}", hint=f"there are: {names}")
    _change(session, kept)


def _change(session: Session, guests: tuple[Guest, ...]) -> None:
    lines = [str(guest) for guest in guests]
    session.node.change_plugin(PLUGIN, PluginRequest(settings={"peers": lines}))


def _ready(found: PlainWireGuardDocument) -> PlainWireGuardDocument:
    if not found.key:
        raise SettingsError(
            "plain WireGuard is off, or has no networks",
            hint="gatepost plugin enable plain-wireguard; "
            "gatepost plugin set plain-wireguard networks=10.77.1.0/24",
        )
    return found


def _guest(document: GuestDocument) -> Guest:
    return read_guest(f"{document.name} {document.number} {document.key}")


def _public(name: str, key: str) -> NodePublic:
    return read_guest(f"{name} 2 {key}").key
