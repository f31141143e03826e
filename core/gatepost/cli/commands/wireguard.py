"""`gatepost wireguard`: phones and others with the stock WireGuard app."""

from __future__ import annotations

import os
from ipaddress import ip_network
from pathlib import Path

import click
import segno

from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.errors import NotFoundError, SettingsError
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
    _change(session, (*known, guest))
    _hand_over(configuration(invitation), output, has_secret=not key)


def _hand_over(text: str, output: Path | None, *, has_secret: bool) -> None:
    if not has_secret:
        lines = text.splitlines(keepends=True)
        text = "".join(
            "# PrivateKey = the machine's own\n" if line.startswith("PrivateKey") else line
            for line in lines
        )
    if output is not None:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        click.echo(f"written to {output}, which nobody else may read")
        return
    click.echo(text)
    if has_secret:
        segno.make(text, error="l").terminal(compact=True)


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
