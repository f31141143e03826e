"""WireGuard configuration files as providers hand them out (`wg-quick` syntax). No I/O.

    [Interface]
    PrivateKey = <44 characters of base64>       Address = 10.5.0.2/32, fd00::2/128
    DNS = 10.5.0.1, search.example               MTU = 1420       ListenPort = 51820
    [Peer]
    PublicKey = <base64>      PresharedKey = <base64>      Endpoint = host:port
    AllowedIPs = 0.0.0.0/0, ::/0                           PersistentKeepalive = 25

Names are read in any case, `#` begins a comment, a list may go on in another line of the
same name. Read strictly: what would run programs, change routes by itself, or is not known,
is refused with its line and the reason. No error ever quotes a key. Source: wg-quick(8), wg(8).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import collapse_addresses, ip_address, ip_interface, ip_network
from typing import TypeVar

from gatepost.errors import SettingsError
from gatepost.model.exits import EVERYWHERE
from gatepost.model.keys import NodePrivate, NodePublic, PresharedKey
from gatepost.model.netmap import IPAddress, IPNetwork
from gatepost.model.provider import Provider

LONGEST = 16_384  # characters; providers' files have about 300
_COMMANDS = ("preup", "postup", "predown", "postdown")
_REFUSED = {
    **dict.fromkeys(
        _COMMANDS, "it would run a program as root, which Gatepost never does: remove the line"
    ),
    "table": "Gatepost has a routing table of its own for this: remove the line",
    "fwmark": "Gatepost marks the packets itself: remove the line",
    "saveconfig": "Gatepost never writes the file back: remove the line",
    **dict.fromkeys(
        ("jc", "jmin", "jmax", "s1", "s2", "h1", "h2", "h3", "h4"),
        "this is AmneziaWG, which plain WireGuard cannot speak: get the WireGuard file",
    ),
}
_HOST = re.compile(
    r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9-]{1,63}", re.IGNORECASE
)
_LIKE_A_KEY = re.compile(r"[A-Za-z0-9+/]{43}")
_DIGITS = re.compile(r"[0-9]{1,9}")  # int() refuses thousands of them in words of its own

T = TypeVar("T")


@dataclass(slots=True)
class _Section:
    """The values of one section by small name, each with the number of its line."""

    title: str
    line: int
    values: dict[str, list[tuple[int, str]]] = field(
        default_factory=dict[str, list[tuple[int, str]]]
    )


def read_wg_quick(text: str) -> Provider:
    """Return what the file says; raise `SettingsError` that names line, reason and way out."""
    if len(text) > LONGEST:
        raise SettingsError(f"the file has {len(text)} characters, and {LONGEST} are allowed")
    sections = _sections(text)
    interfaces = [s for s in sections if s.title == "interface"]
    peers = [s for s in sections if s.title == "peer"]
    if len(interfaces) != 1:
        raise SettingsError(f"the file has {len(interfaces)} sections [Interface]: one is needed")
    if len(peers) != 1:
        raise SettingsError(
            f"the file has {len(peers)} sections [Peer]: one is needed, the provider's server"
        )
    mine, server = _Reader(interfaces[0]), _Reader(peers[0])
    dns, search = mine.resolvers()
    host, port = server.one("endpoint", _endpoint)
    found = Provider(
        private_key=NodePrivate(mine.one("privatekey", _key)),
        addresses=mine.many("address", _own_address),
        dns=dns,
        search=search,
        mtu=mine.optional("mtu", lambda text: _number(text, 576, 65535)),
        port=mine.optional("listenport", lambda text: _number(text, 1, 65535)),
        server=NodePublic(server.one("publickey", _key)),
        preshared=server.optional("presharedkey", _preshared),
        host=host,
        host_port=port,
        keepalive=server.optional("persistentkeepalive", _keepalive) or 0,
        allowed=frozenset(server.many("allowedips", _network)),
    )
    mine.finish()
    server.finish()
    _check_whole(found, server)
    return found


def _check_whole(found: Provider, server: _Reader) -> None:
    whole = [w for w in EVERYWHERE if covers(found.allowed, w)]
    if not whole:
        raise server.wrong(
            "allowedips",
            "they do not cover the internet, so this is no exit: 0.0.0.0/0, ::/0 or both are "
            "needed",
        )
    versions = {a.version for a in found.addresses}
    if versions.isdisjoint(w.version for w in whole):
        raise SettingsError(
            "Address and AllowedIPs have no version of IP in common: nothing could be sent"
        )


def covers(networks: frozenset[IPNetwork], whole: IPNetwork) -> bool:
    """Say whether the networks together are all of `whole` (0.0.0.0/1 and 128.0.0.0/1 are)."""
    same = [n for n in networks if n.version == whole.version]
    joined = list(collapse_addresses(same))  # type: ignore[type-var]  # all of one version
    return joined == [whole]


def _sections(text: str) -> list[_Section]:
    sections: list[_Section] = []
    for number, raw in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        line = raw.partition("#")[0].strip()
        if not line:
            continue
        if line.startswith("["):
            title = line.strip("[]").lower()
            if line.lower() not in {"[interface]", "[peer]"}:
                raise SettingsError(f"line {number}: {line[:20]} is neither [Interface] nor [Peer]")
            sections.append(_Section(title, number))
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise SettingsError(f"line {number}: this is not of the form NAME = VALUE")
        if not sections:
            raise SettingsError(f"line {number}: {_quoted(name)} stands before [Interface]")
        small = name.strip().lower()
        if small in _REFUSED:
            raise SettingsError(f"line {number}: {name.strip()}: {_REFUSED[small]}")
        sections[-1].values.setdefault(small, []).append((number, value.strip()))
    return sections


class _Reader:
    """Takes values out of a section; what is left at the end is unknown."""

    def __init__(self, section: _Section) -> None:
        self._section = section
        self._left = dict(section.values)
        self._lines = {name: found[0][0] for name, found in section.values.items()}

    def one(self, name: str, read: Callable[[str], T]) -> T:
        value = self.optional(name, read)
        if value is None:
            title = self._section.title.capitalize()
            raise SettingsError(f"line {self._section.line}: [{title}] has no {_SHOWN[name]}")
        return value

    def optional(self, name: str, read: Callable[[str], T]) -> T | None:
        found = self._left.pop(name, [])
        if len(found) > 1:
            raise SettingsError(f"line {found[1][0]}: {_SHOWN[name]} is there a second time")
        return next((self._read(name, line, text, read) for line, text in found), None)

    def many(self, name: str, read: Callable[[str], T]) -> tuple[T, ...]:
        values = tuple(self._read(name, line, part, read) for line, part in self._parts(name))
        if not values:
            title = self._section.title.capitalize()
            raise SettingsError(f"line {self._section.line}: [{title}] has no {_SHOWN[name]}")
        return values

    def resolvers(self) -> tuple[tuple[IPAddress, ...], tuple[str, ...]]:
        """Return the servers and the search domains of `DNS`, which holds both."""
        servers, search = list[IPAddress](), list[str]()
        for line, part in self._parts("dns"):
            try:
                servers.append(ip_address(part))
            except ValueError:
                search.append(self._read("dns", line, part, _domain))
        return tuple(servers), tuple(search)

    def wrong(self, name: str, reason: str) -> SettingsError:
        line = self._lines.get(name, self._section.line)
        return SettingsError(f"line {line}: {_SHOWN[name]}: {reason}")

    def finish(self) -> None:
        for name, found in self._left.items():
            title = self._section.title.capitalize()
            known = ", ".join(_KNOWN[self._section.title])
            raise SettingsError(
                f"line {found[0][0]}: {_quoted(name)} is not known in [{title}], which has {known}"
            )

    def _parts(self, name: str) -> Iterator[tuple[int, str]]:
        for line, text in self._left.pop(name, []):
            for part in text.split(","):
                if not part.strip():
                    raise SettingsError(f"line {line}: {_SHOWN[name]} has an empty entry")
                yield line, part.strip()

    def _read(self, name: str, line: int, text: str, read: Callable[[str], T]) -> T:
        try:
            return read(text)
        except ValueError as error:
            is_stray_key = _LIKE_A_KEY.search(text) and not name.endswith("key")
            reason = "this looks like a key, which has no place here" if is_stray_key else error
            raise SettingsError(f"line {line}: {_SHOWN[name]}: {reason}") from None


_KNOWN = {
    "interface": ("PrivateKey", "Address", "DNS", "MTU", "ListenPort"),
    "peer": ("PublicKey", "PresharedKey", "Endpoint", "AllowedIPs", "PersistentKeepalive"),
}
_SHOWN = {name.lower(): name for names in _KNOWN.values() for name in names}


def _quoted(name: str) -> str:
    """Return a name for an error, unless it could be a key whose line was written wrongly."""
    return name.strip() if re.fullmatch(r"\w{1,20}", name.strip(), re.ASCII) else "this name"


def _key(text: str) -> bytes:
    """Return 32 bytes; the error never quotes what it was given."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:  # noqa: PLR2004  # every key of WireGuard
        raise ValueError(f"a key is 44 characters of base64, and this has {len(text)} characters")
    return raw


def _preshared(text: str) -> PresharedKey | None:
    """Return None for zeros, by which WireGuard means none (linux/wireguard.h)."""
    raw = _key(text)
    return PresharedKey(raw) if any(raw) else None


def _own_address(text: str) -> IPAddress:
    return ip_interface(text).ip


def _network(text: str) -> IPNetwork:
    return ip_network(text, strict=False)


def _domain(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError(f"{text[:60]!r} is neither an address nor a domain")
    return text.lower()


def _endpoint(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"{text[:60]!r} is not of the form host:port")
    if host.startswith("[") and host.endswith("]"):
        return str(ip_address(host[1:-1])), _number(port, 1, 65535)
    if not _HOST.fullmatch(host):
        raise ValueError(f"{host[:60]!r} is no host")
    return host.lower(), _number(port, 1, 65535)


def _keepalive(text: str) -> int:
    return 0 if text.lower() == "off" else _number(text, 0, 65535)


def _number(text: str, least: int, most: int) -> int:
    if not (_DIGITS.fullmatch(text) and least <= int(text) <= most):
        raise ValueError(f"{text[:20]!r} is not a number from {least} to {most}")
    return int(text)
