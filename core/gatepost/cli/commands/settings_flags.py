"""The flags that `up` and `set` share, and their values as a request.

A switch is written `--accept-routes` or `--accept-routes=false`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gatepost.cli.values import AddressPorts, HostName, Prefixes, RelayPort, ServerUrl, Tags
from gatepost.errors import SettingsError
from gatepost.model.status import UpRequest

F = TypeVar("F", bound=Callable[..., Any])  # Any: click calls with what the options say

_KEY_FILE_LIMIT = 4096  # octets


def _switch(name: str, text: str) -> Callable[[F], F]:
    return click.option(
        name,
        type=bool,
        default=None,
        is_flag=False,
        flag_value="true",
        metavar="[=BOOL]",
        help=text,
    )


_FLAGS: tuple[Callable[[Any], Any], ...] = (  # Any: decorators of whatever function
    click.option("--login-server", type=ServerUrl(), help="The coordination server to join."),
    click.option("--hostname", type=HostName(), help="This node's name, if not the machine's."),
    click.option(
        "--advertise-routes",
        type=Prefixes(),
        help='Networks behind this node for the others to use; "" for none.',
    ),
    _switch("--accept-routes", "Use the networks that other nodes advertise."),
    click.option(
        "--accept-routes-only",
        type=Prefixes(),
        help='Of these use only some, and narrower ones in them; "" for all.',
    ),
    click.option(
        "--accept-routes-except",
        type=Prefixes(),
        help='Of these use all but some; "" for all.',
    ),
    _switch("--accept-dns", "Let this machine itself use the mesh's names and resolvers."),
    _switch("--snat-subnet-routes", "Masquerade traffic to the advertised networks."),
    click.option("--advertise-tags", type=Tags(), help='Tags to ask for; "" for none.'),
    click.option(
        "--relay-server-port",
        type=RelayPort(),
        help='Relay between peers at this UDP port, 0 for any free one; "" for no relay.',
    ),
    click.option(
        "--relay-server-static-endpoints",
        type=AddressPorts(),
        help='Addresses with ports that lead to the relay too; "" for none.',
    ),
    _switch("--advertise-exit-node", "Let others go out to the internet through this node."),
    _switch("--advertise-connector", "Carry traffic to apps that the policy knows by name."),
    click.option("--exit-node", help='Go out through this node (name or address); "" for none.'),
    _switch("--exit-node-allow-lan-access", "Reach the local networks in spite of an exit node."),
)


def settings_flags(function: F) -> F:
    """Add the flags to a command; they arrive as the keyword arguments of `make_request`."""
    for flag in reversed(_FLAGS):
        function = flag(function)
    return function


def make_request(**values: Any) -> UpRequest:  # Any: each flag has its own type, checked by click
    """Return a request that changes only what was given."""
    return UpRequest(**values)


def read_auth_key(text: str | None) -> str | None:
    """Return the key itself: `file:PATH` names a file that holds it."""
    if text is None:
        return None
    if not text.startswith("file:"):
        return text.strip()
    path = Path(text.removeprefix("file:"))
    try:
        with path.open(encoding="ascii") as file:
            key = file.read(_KEY_FILE_LIMIT).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the auth key from {path}: {error}") from error
    if not key or len(key.split()) != 1:
        raise SettingsError(f"{path} does not hold one auth key on one line")
    return key
