"""`gatepost admin dns`: how the nodes of the mesh resolve names."""

from __future__ import annotations

import click

from gatepost.cli.output import say_json, say_table
from gatepost.cli.session import Session
from gatepost.model.admin_names import NamesDocument, NamesRequest

_SERVERS = "SERVER is like 192.0.2.53, 192.0.2.53:5353 or https://dns.example/dns-query."


class _Words(click.ParamType[tuple[str, ...]]):
    name = "list"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,  # noqa: ARG002  # click's signature
        ctx: click.Context | None,  # noqa: ARG002  # click's signature
    ) -> tuple[str, ...]:
        return tuple(w for w in (part.strip() for part in str(value).split(",")) if w)


@click.group(help=f"Names of the mesh, and whom nodes ask for others. {_SERVERS}")
def dns() -> None: ...


@dns.command(help="Show what nodes are told about names.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(session: Session, *, as_json: bool) -> None:
    names = session.server.names()
    if as_json:
        say_json(names)
        return
    say_table((), _facts(names))


@dns.command("set", help="Change what is given, and nothing else.")
@click.option("--magic-dns", type=bool, help="Whether nodes have names.")
@click.option("--nameservers", type=_Words(), help='Who is asked for every name; "" for nobody.')
@click.option(
    "--override-local",
    type=bool,
    help="Whether nodes ask them even if they have servers of their own.",
)
@click.option("--search", type=_Words(), help='Suffixes to try for short names; "" for none.')
@click.pass_obj
def change(
    session: Session,
    *,
    magic_dns: bool | None,
    nameservers: tuple[str, ...] | None,
    override_local: bool | None,
    search: tuple[str, ...] | None,
) -> None:
    if all(v is None for v in (magic_dns, nameservers, override_local, search)):
        raise click.UsageError("nothing to change: see gatepost admin dns set --help")
    _warn(nameservers or ())
    request = NamesRequest(
        magic_dns=magic_dns,
        nameservers=nameservers,
        override_local=override_local,
        search=search,
    )
    session.server.change_names(request)


@dns.command(help="Ask SERVERs for names under SUFFIX; without one the mesh alone answers.")
@click.argument("suffix")
@click.argument("servers", nargs=-1)
@click.option("--remove", is_flag=True, help="Ask whoever is asked for every name again.")
@click.pass_obj
def split(session: Session, *, suffix: str, servers: tuple[str, ...], remove: bool) -> None:
    if remove and servers:
        raise click.UsageError("--remove takes a suffix alone")
    _warn(servers)
    session.server.change_names(NamesRequest(routes={suffix: None if remove else servers}))


@dns.command(help="Let NAME lead to ADDRESSES, for all nodes.")
@click.argument("name")
@click.argument("addresses", nargs=-1)
@click.option("--remove", is_flag=True, help="Forget the name.")
@click.pass_obj
def record(session: Session, *, name: str, addresses: tuple[str, ...], remove: bool) -> None:
    if remove == bool(addresses):
        raise click.UsageError("give addresses, or --remove")
    session.server.change_names(NamesRequest(records={name: None if remove else addresses}))


def _warn(servers: tuple[str, ...]) -> None:
    for server in servers:
        if server.startswith("tls://"):
            click.echo(f"{server}: Gatepost boxes ask it; other clients leave it out", err=True)


def _facts(names: NamesDocument) -> list[tuple[str, str]]:
    servers = ", ".join(names.nameservers) or "none: nodes ask whom they asked before"
    when = "" if names.override_local or not names.nameservers else " (where a node has none)"
    return [
        ("Names of nodes", "on" if names.magic_dns else "off"),
        ("Every name", servers + when),
        *((f"*.{suffix}", _asked(servers)) for suffix, servers in names.routes.items()),
        *(("Search", suffix) for suffix in names.search),
        *((name, ", ".join(addresses)) for name, addresses in names.records.items()),
    ]


def _asked(servers: tuple[str, ...]) -> str:
    return ", ".join(servers) or "the mesh alone"
