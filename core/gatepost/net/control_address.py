"""Where a coordination server can be reached, from the URL that people type.

Source: protocol document 1.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from gatepost.errors import SettingsError

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Way:
    """One address to try. `is_tls` says whether what is asked there goes inside TLS."""

    host: str
    port: int
    is_tls: bool

    def __str__(self) -> str:
        return f"{'https' if self.is_tls else 'http'}://{_bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class Server:
    """A server's URL, read. `way` is where its key is asked for."""

    way: Way

    @property
    def authority(self) -> str:
        """The host as HTTP's `Host` has it: the usual port is left out."""
        usual = _PORTS["https" if self.way.is_tls else "http"]
        host = _bracketed(self.way.host)
        return host if self.way.port == usual else f"{host}:{self.way.port}"

    @property
    def ways(self) -> tuple[Way, ...]:
        """The ways to the Noise upgrade, in the order in which they are tried."""
        host = self.way.host
        if self.way.is_tls:
            return Way(host, 80, is_tls=False), self.way
        if _is_near(host):
            return (self.way,)
        return self.way, Way(host, _PORTS["https"], is_tls=True)


def parse_server(url: str) -> Server:
    """Read `http://host[:port]` or `https://…`; raise `SettingsError` for anything else."""
    hint = "give it as https://host, https://host:port or http://host:port"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"login server {url!r}: {error}; {hint}") from error
    if parts.scheme not in _PORTS or not parts.hostname or not parts.hostname.isascii():
        raise SettingsError(f"login server {url!r} is not the URL of a server; {hint}")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or parts.username:
        raise SettingsError(f"login server {url!r} has more than a host and a port; {hint}")
    is_tls = parts.scheme == "https"
    return Server(Way(parts.hostname, port or _PORTS[parts.scheme], is_tls))


def _is_near(host: str) -> bool:
    """Say whether a name means this machine or a private network: no second way there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_private
    except ValueError:
        return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
