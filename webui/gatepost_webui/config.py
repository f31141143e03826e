"""Where the web page finds things, read from the environment of its unit.

GATEPOST_SOCKET           the node's local socket  [/run/gatepost/gatepostd.sock]
GATEPOST_WEB_STATE        its own directory        [/var/lib/gatepost-web]
GATEPOST_WEB_BIND         addresses to listen on   [127.0.0.1:8088]
GATEPOST_WEB_CERTIFICATE  PEM file; with GATEPOST_WEB_KEY it serves TLS
GATEPOST_WEB_KEY          PEM file
GATEPOST_WEB_PUBLIC       "yes" allows addresses that the internet may reach
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from gatepost.errors import SettingsError
from gatepost.localapi.client import DEFAULT_SOCKET

_MESH = ip_network("100.64.0.0/10")  # RFC 6598; ip_address.is_private does not count it


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """`bind` is "address:port" as gunicorn takes it, IPv6 in brackets."""

    socket: Path
    state: Path
    bind: tuple[str, ...] = ("127.0.0.1:8088",)
    certificate: Path | None = None
    key: Path | None = None

    @property
    def secure(self) -> bool:
        return self.certificate is not None


def read_config(environment: Mapping[str, str]) -> WebConfig:
    """Return the configuration; raise SettingsError for what cannot or should not be."""
    words = environment.get("GATEPOST_WEB_BIND", "127.0.0.1:8088").replace(",", " ").split()
    if not words:
        raise SettingsError("GATEPOST_WEB_BIND is empty; give addresses like 192.168.1.1:8088")
    public = environment.get("GATEPOST_WEB_PUBLIC", "no") == "yes"
    certificate, key = (environment.get(f"GATEPOST_WEB_{n}") for n in ("CERTIFICATE", "KEY"))
    if bool(certificate) != bool(key):
        raise SettingsError("GATEPOST_WEB_CERTIFICATE and GATEPOST_WEB_KEY belong together")
    return WebConfig(
        socket=Path(environment.get("GATEPOST_SOCKET", str(DEFAULT_SOCKET))),
        state=Path(environment.get("GATEPOST_WEB_STATE", "/var/lib/gatepost-web")),
        bind=tuple(_bind(word, public=public) for word in words),
        certificate=Path(certificate) if certificate else None,
        key=Path(key) if key else None,
    )


def _bind(word: str, *, public: bool) -> str:
    try:
        parts = urlsplit(f"//{word}")
        address, port = ip_address(parts.hostname or ""), parts.port
    except ValueError as error:
        raise SettingsError(
            f"GATEPOST_WEB_BIND: {word!r} is no address and port; write it like 192.168.1.1:8088"
        ) from error
    if port is None or not parts.netloc == word:
        raise SettingsError(f"GATEPOST_WEB_BIND: {word!r} has no port; add one like :8088")
    if not public and not _is_inside(address):
        raise SettingsError(
            f"GATEPOST_WEB_BIND: the internet may reach {word}; bind the address of a LAN or of"
            " the mesh, or set GATEPOST_WEB_PUBLIC=yes if that is meant"
        )
    return word


def _is_inside(address: IPv4Address | IPv6Address) -> bool:
    """Say whether packets from the internet cannot have this destination."""
    if address.is_unspecified:
        return False
    return address.is_private or address.is_loopback or address.is_link_local or address in _MESH
