"""Who answers DNS queries, and how they are asked.

The text forms, in settings and on the wire alike:

    192.0.2.53            UDP to port 53, TCP for what is cut
    [2001:db8::1]:5353    the same at another port
    tls://dns.example     DNS over TLS (RFC 7858), port 853
    https://dns.example/dns-query     DNS over HTTPS (RFC 8484)
    http://100.64.0.9:4000/dns-query  DNS over HTTP: a peer, inside the mesh

In settings `@address` at the end says where a host is, so that nobody must be asked first:
`tls://dns.example@192.0.2.53`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal, cast, get_args
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Transport = Literal["plain", "tls", "https", "http"]

PORTS: dict[Transport, int] = {"plain": 53, "tls": 853, "https": 443, "http": 80}
DNS_PATH = "/dns-query"  # RFC 8484 section 4.1.1 names it in its examples, and all use it
_LONGEST_NAME = 253  # characters, RFC 1035 section 3.1 without the final dot
_LONGEST_LABEL = 63  # characters, RFC 1035 section 2.3.4
_HOST = re.compile(r"([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PATH = re.compile(r"/[!-~]{0,500}")
_PORT_LIMIT = 1 << 16
# Only in a mesh may questions travel in the clear over HTTP: the tunnel hides them.
_MESH = (IPv4Network("100.64.0.0/10"), IPv6Network("fd7a:115c:a1e0::/48"))
_FORMS = "192.0.2.53, 192.0.2.53:5353, tls://dns.example or https://dns.example/dns-query"


def read_name(text: str) -> str:
    """Return a name in small letters without dots at its ends; raise ValueError for what is none.

    Looser than a host's name: names of the mesh and of services have underscores, too.
    """
    name = text.strip(".").lower()
    if not name.isascii() or len(name) > _LONGEST_NAME:
        raise ValueError(f"{text!r} is not a name of at most {_LONGEST_NAME} ASCII characters")
    labels = name.split(".")
    if not all(0 < len(label) <= _LONGEST_LABEL for label in labels) or set(name) & set(" \\/"):
        raise ValueError(f"{text!r} is not a name: each label has 1 to {_LONGEST_LABEL} characters")
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class NameServer:
    """Somebody who answers DNS queries.

    `addresses` are where it is, in the order to try them; without any, `host` is looked
    up first. `host` is what the certificate must bear; "" for `plain`. `path` is of the
    URL, and may have a query without variables. `beside_exit`: asked directly, even
    while everything else goes out through an exit node. `device`: asked through that
    device or not at all (`plain` only).
    """

    transport: Transport = "plain"
    addresses: tuple[Address, ...] = ()
    port: int = 53
    host: str = ""
    path: str = ""
    beside_exit: bool = False
    device: str = ""

    def __str__(self) -> str:
        literal = str(self.addresses[0]) if self.addresses else ""
        host = self.host or literal
        host = f"[{host}]" if ":" in host else host
        if self.transport == "plain":
            return literal if self.port == PORTS["plain"] else f"{host}:{self.port}"
        port = "" if self.port == PORTS[self.transport] else f":{self.port}"
        return f"{self.transport}://{host}{port}{self.path}"


def plain_server(address: Address, port: int = PORTS["plain"]) -> NameServer:
    """Return a server that is asked by UDP."""
    return NameServer(addresses=(address,), port=port)


def parse_name_server(
    text: str, addresses: tuple[Address, ...] = (), *, beside_exit: bool = False
) -> NameServer:
    """Read one of the text forms; raise `ValueError` with the text and the way out.

    `addresses` say where the host of a URL is, if the text itself does not.
    """
    scheme, is_url, _ = text.partition("://")
    if not is_url:
        address, number = _plain(text)
        return NameServer(addresses=(address,), port=number, beside_exit=beside_exit)
    if scheme not in get_args(Transport) or scheme == "plain":
        raise ValueError(f"{text!r} is not a name server: write {_FORMS}")
    url, _, where = text.partition("@")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
        found = (ip_address(where),) if where else addresses
    except ValueError as error:
        raise ValueError(f"{text!r} is not a name server: {error}") from error
    transport = cast(Transport, scheme)  # checked above; it cannot be told to a type checker
    literal = _literal(host)
    if literal is None and not _HOST.fullmatch(host):
        raise ValueError(f"{text!r} has no host name: write {_FORMS}")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    _check_path(text, transport, path)
    server = NameServer(
        transport=transport,
        addresses=(literal,) if literal else found,
        port=PORTS[transport] if port is None else port,
        host=host,
        path=(path or DNS_PATH) if transport != "tls" else "",
        beside_exit=beside_exit,
    )
    _check(text, server)
    return server


def _check_path(text: str, transport: Transport, path: str) -> None:
    if transport == "tls" and path not in {"", "/"}:
        raise ValueError(f"{text!r} has the path {path!r}: DNS over TLS has none")
    if path and not _PATH.fullmatch(path):
        raise ValueError(f"{text!r} has a path that is not one of a URL")


def _check(text: str, server: NameServer) -> None:
    if server.port == 0:
        raise ValueError(f"{text!r} has no port from 1 to 65535")
    is_inside = server.addresses and all(any(a in n for n in _MESH) for a in server.addresses)
    if server.transport == "http" and not is_inside:
        raise ValueError(
            f"{text!r} would send questions in the clear: write https://, "
            "http is for addresses of the mesh alone"
        )


def _plain(text: str) -> tuple[Address, int]:
    literal = _literal(text.removeprefix("[").removesuffix("]"))
    if literal is not None and text.startswith("[") == text.endswith("]"):
        return literal, PORTS["plain"]
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    literal = _literal(host[1:-1] if is_bracketed else host)
    is_number = port.isascii() and port.isdecimal() and 0 < int(port) < _PORT_LIMIT
    if literal is None or not colon or not is_number or is_bracketed != (literal.version == 6):  # noqa: PLR2004  # the version of IP
        raise ValueError(f"{text!r} is not a name server: write {_FORMS}")
    return literal, int(port)


def _literal(text: str) -> Address | None:
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None
