"""The settings file of `gatepost-derp` (TOML). Wrong values are named with the way out.

host = "relay.example.org"               # name or address that nodes connect to
listen-tls = ["0.0.0.0:443"]
listen = ["0.0.0.0:80"]                  # for captive portal checks; [] for none
stun = ["0.0.0.0:3478"]                  # UDP; [] for none
certificate = "/etc/ssl/relay.pem"       # with certificate-key; else a self-signed one is made
verify-url = "https://mesh.example.org/verify"   # whom to let in; or: admit = "anybody"
verify-fail-open = true                  # let nodes in while nobody answers there
                                         # more: gatepost.coordination.relay_settings
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gatepost.coordination.relay_settings import RelaySettings, RelayTable, relay_settings
from gatepost.coordination.settings import Listen, read_listen
from gatepost.errors import SettingsError
from gatepost.net.derp_admission import VerifyUrl, read_verify_url


class _Table(RelayTable, frozen=True, kw_only=True):
    host: str
    listen_tls: tuple[str, ...] = ("0.0.0.0:443",)
    listen: tuple[str, ...] = ("0.0.0.0:80",)
    stun: tuple[str, ...] = ("0.0.0.0:3478",)
    certificate: str = ""
    certificate_key: str = ""
    verify_url: str = ""
    verify_fail_open: bool = True
    admit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayFile:
    """Checked settings. `verify` None lets anybody in, which the operator asked for."""

    host: str
    listen_tls: tuple[Listen, ...]
    listen: tuple[Listen, ...]
    stun: tuple[Listen, ...]
    certificate: tuple[Path, Path] | None
    verify: VerifyUrl | None
    verify_fail_open: bool
    relay: RelaySettings


def read_relay_file(path: Path) -> RelayFile:
    """Read and check the file; raise `SettingsError` naming it, the value and the way out."""
    try:
        return parse_relay_file(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(
            f'{path} does not exist: create it with at least host = "<name or address>" and '
            'verify-url = "https://<coordination server>/verify"'
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def parse_relay_file(text: str) -> RelayFile:
    """Check a settings document; raise `SettingsError`."""
    try:
        table = msgspec.convert(tomllib.loads(text), _Table)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(f"{error}") from error
    if not table.host:
        raise SettingsError("host is empty: give the name or address that nodes connect to")
    if not table.listen_tls:
        raise SettingsError("listen-tls is empty: nodes speak to a relay over TLS only")
    return RelayFile(
        host=table.host,
        listen_tls=tuple(read_listen("listen-tls", t) for t in table.listen_tls),
        listen=tuple(read_listen("listen", t) for t in table.listen),
        stun=tuple(read_listen("stun", t) for t in table.stun),
        certificate=_certificate(table),
        verify=_verify(table),
        verify_fail_open=table.verify_fail_open,
        relay=relay_settings(table, 0),
    )


def _certificate(table: _Table) -> tuple[Path, Path] | None:
    if not table.certificate:
        if table.certificate_key:
            raise SettingsError("certificate-key is set but certificate is not: give both")
        return None
    return Path(table.certificate), Path(table.certificate_key or table.certificate)


def _verify(table: _Table) -> VerifyUrl | None:
    """Return whom to ask; a relay for anybody has to be asked for, it costs its owner's traffic."""
    if table.admit not in {"", "anybody"}:
        raise SettingsError(f'admit {table.admit!r} must be "anybody", or left out')
    if bool(table.verify_url) == bool(table.admit):
        raise SettingsError(
            'give either verify-url = "https://<coordination server>/verify" or admit = "anybody"'
        )
    return read_verify_url(table.verify_url) if table.verify_url else None
