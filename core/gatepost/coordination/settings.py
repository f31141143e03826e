"""The settings file of the coordination server (TOML). Wrong values are named with the way out.

server-url = "https://mesh.example.org"   # what nodes are given as --login-server
domain = "mesh.example"                   # suffix of all names
listen = ["0.0.0.0:80"]                   # plain HTTP; Noise protects all but /key
listen-tls = ["0.0.0.0:443"]
stun = ["0.0.0.0:3478", "0.0.0.0:3479"]   # UDP; the second port tells nodes of a hard NAT
certificate = "/etc/ssl/mesh.pem"         # with certificate-key; else a self-signed one is made
key-expiry = "180d"                       # "never"
ephemeral-timeout = "2m"
policy-file = "/etc/gatepost/policy.hujson"  # taken at each start; else set with the command
[derp]                                    # enabled = false: no relay of our own
host = "mesh.example.org"                 # name or address that nodes connect to
                                          # more: gatepost.coordination.relay_settings
[plugins.some-plugin]                     # those with something to tell nodes
enabled = true
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from gatepost.coordination.relay_settings import (
    RegionTable,
    RelaySettings,
    RelayTable,
    read_regions,
    relay_settings,
)
from gatepost.errors import SettingsError
from gatepost.model.netmap import DerpRegion

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}  # seconds
_DURATION = re.compile(r"(\d+)([smhd])")
_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PORTS = range(1, 65536)
_REGIONS = range(1, 65536)  # a region id fits 16 bits in clients


class _DerpTable(RelayTable, frozen=True, kw_only=True):
    enabled: bool = True
    region_id: int = 900
    region_code: str = "gatepost"
    region_name: str = "Gatepost"
    host: str = ""
    ipv4: str = ""
    ipv6: str = ""
    port: int = 0
    stun_port: int = 0
    second_stun_port: int = 0
    regions: tuple[RegionTable, ...] = ()


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    server_url: str
    domain: str = "mesh.internal"
    listen: tuple[str, ...] = ("0.0.0.0:80",)
    listen_tls: tuple[str, ...] = ("0.0.0.0:443",)
    stun: tuple[str, ...] = ("0.0.0.0:3478", "0.0.0.0:3479")
    certificate: str = ""
    certificate_key: str = ""
    key_expiry: str = "180d"
    ephemeral_timeout: str = "2m"
    policy_file: str = ""
    derp: _DerpTable = _DerpTable()
    plugins: dict[str, dict[str, object]] = msgspec.field(
        default_factory=dict[str, dict[str, object]]
    )


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen."""

    address: IPv4Address | IPv6Address
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DerpSettings:
    """Our relay in the DERP map, and others. `port`, `stun_port`: what nodes connect to.

    A second port is another destination: without one, and without other servers,
    nobody can tell whether a NAT is hard.
    """

    region_id: int
    region_code: str
    region_name: str
    host: str
    ipv4: IPv4Address | None
    ipv6: IPv6Address | None
    port: int
    stun_port: int  # -1: none
    second_stun_port: int  # -1: none
    relay: RelaySettings
    regions: tuple[DerpRegion, ...]  # other people's


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Checked settings. Durations are seconds; `key_expiry` None is never."""

    server_url: str  # without a slash at its end
    host: str  # of the server URL
    domain: str
    listen: tuple[Listen, ...]
    listen_tls: tuple[Listen, ...]
    stun: tuple[Listen, ...]
    certificate: tuple[Path, Path] | None
    key_expiry: float | None
    ephemeral_timeout: float
    policy_file: Path | None
    derp: DerpSettings | None
    plugins: Mapping[str, Mapping[str, object]]  # the enabled ones with their settings


def read_settings(path: Path) -> Settings:
    """Read and check the file; raise `SettingsError` naming it, the value and the way out."""
    try:
        return parse_settings(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(
            f'{path} does not exist: create it with at least server-url = "http://<address>"'
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def parse_settings(text: str) -> Settings:
    """Check a settings document; raise `SettingsError`."""
    try:
        table = msgspec.convert(tomllib.loads(text), _Table)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(f"{error}") from error
    host = _server_host(table.server_url)
    listen_tls = tuple(read_listen("listen-tls", t) for t in table.listen_tls)
    stun = tuple(read_listen("stun", t) for t in table.stun)
    return Settings(
        server_url=table.server_url.rstrip("/"),
        host=host,
        domain=_domain(table.domain),
        listen=tuple(read_listen("listen", t) for t in table.listen),
        listen_tls=listen_tls,
        stun=stun,
        certificate=_certificate(table),
        key_expiry=_expiry(table.key_expiry),
        ephemeral_timeout=_duration("ephemeral-timeout", table.ephemeral_timeout),
        policy_file=Path(table.policy_file) if table.policy_file else None,
        derp=_derp(table.derp, host, listen_tls, stun) if table.derp.enabled else None,
        plugins={n: _without_enabled(t) for n, t in table.plugins.items() if t.get("enabled")},
    )


def _without_enabled(table: Mapping[str, object]) -> Mapping[str, object]:
    return {name: value for name, value in table.items() if name != "enabled"}


def _server_host(url: str) -> str:
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(f"server-url {url!r} is not a URL: {error}") from error
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        raise SettingsError(f"server-url {url!r} must look like https://host or http://host:port")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise SettingsError(
            f"server-url {url!r} must not have a path: clients drop it; use a host name of its own"
        )
    return host


def _domain(text: str) -> str:
    domain = text.strip(".").lower()
    if not _DOMAIN.fullmatch(domain):
        raise SettingsError(f"domain {text!r} must be a DNS name with a dot, such as mesh.example")
    return domain


def read_listen(name: str, text: str) -> Listen:
    host, _, port = text.rpartition(":")
    try:
        address = ip_address(host.strip("[]"))
        number = int(port)
        if number not in _PORTS:
            raise ValueError(port)  # noqa: TRY301  # one message for every mistake
    except ValueError as error:
        raise SettingsError(
            f"{name} {text!r} must be an address and a port, such as 0.0.0.0:443 or [::]:443"
        ) from error
    return Listen(address, number)


def _expiry(text: str) -> float | None:
    return None if text == "never" else _duration("key-expiry", text, ', or "never"')


def _duration(name: str, text: str, more: str = "") -> float:
    match = _DURATION.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise SettingsError(f"{name} {text!r} must be a time such as 90s, 30m, 12h or 180d{more}")
    return int(match[1]) * _UNITS[match[2]]


def _certificate(table: _Table) -> tuple[Path, Path] | None:
    if not table.certificate and not table.certificate_key:
        return None
    if not table.certificate:
        raise SettingsError("certificate-key is set but certificate is not: give both")
    return Path(table.certificate), Path(table.certificate_key or table.certificate)


def _derp(
    table: _DerpTable, host: str, listen_tls: tuple[Listen, ...], stun: tuple[Listen, ...]
) -> DerpSettings:
    if not listen_tls:
        raise SettingsError("a relay needs listen-tls: add it, or set enabled = false in [derp]")
    if table.region_id not in _REGIONS:
        raise SettingsError(f"derp.region-id {table.region_id} must be 1 to 65535")
    port = table.port or listen_tls[0].port
    stun_port = table.stun_port or (stun[0].port if stun else -1)
    second = table.second_stun_port or _second_port(table, stun_port, stun)
    ports = (("port", port), ("stun-port", stun_port), ("second-stun-port", second))
    for name, number in ports:
        if number not in _PORTS and not (name != "port" and number == -1):
            raise SettingsError(f"derp.{name} {number} must be 1 to 65535")
    host = table.host or host
    ipv4 = _address(table.ipv4 or _literal(host, 4), "derp.ipv4", IPv4Address)
    ipv6 = _address(table.ipv6 or _literal(host, 6), "derp.ipv6", IPv6Address)
    return DerpSettings(
        region_id=table.region_id,
        region_code=table.region_code,
        region_name=table.region_name,
        host=host,
        ipv4=ipv4 if isinstance(ipv4, IPv4Address) else None,
        ipv6=ipv6 if isinstance(ipv6, IPv6Address) else None,
        port=port,
        stun_port=stun_port,
        second_stun_port=second,
        relay=relay_settings(table, table.region_id),
        regions=read_regions(table.regions, {table.region_id}),
    )


def _second_port(table: _DerpTable, first: int, stun: tuple[Listen, ...]) -> int:
    """Return another port that we listen on, -1 where `stun-port` says that nodes use others."""
    if table.stun_port:
        return -1
    return next((listen.port for listen in stun if listen.port != first), -1)


def _literal(host: str, version: int) -> str:
    """Return the host if it is an address of that version."""
    try:
        return host if ip_address(host).version == version else ""
    except ValueError:
        return ""


def _address(
    text: str, name: str, kind: type[IPv4Address | IPv6Address]
) -> IPv4Address | IPv6Address | None:
    if not text:
        return None
    try:
        return kind(text)
    except ValueError as error:
        raise SettingsError(f"{name} {text!r} is not such an address: {error}") from error
