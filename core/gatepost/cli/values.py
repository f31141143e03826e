"""The kinds of values that flags take: each refuses with the value and the way out."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_interface, ip_network
from typing import NoReturn
from urllib.parse import urlsplit

import click

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_TAG = re.compile(r"tag:[a-z][a-z0-9-]*")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w|y)")
_SECONDS = {
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 7 * 86400.0,
    "y": 365 * 86400.0,
}
_HIGHEST_PORT = 65535
_SCHEMES = {"http", "https"}


class Prefixes(click.ParamType[tuple[str, ...]]):
    """Networks with commas between; the empty text is none."""

    name = "CIDR,..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        words = [word.strip() for word in str(value).split(",") if word.strip()]
        return tuple(self._one(word, param, ctx) for word in words)

    def _one(self, word: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            loose = ip_network(word, strict=False)
        except ValueError:
            example = "192.168.1.0/24 or fd00::/64"
            self.fail(f"{word!r} is no network; write it like {example}", param, ctx)
        if str(loose.network_address) != str(ip_interface(word).ip):
            self.fail(f"{word!r} has bits behind its length; did you mean {loose}?", param, ctx)
        return str(loose)


class Tags(click.ParamType[tuple[str, ...]]):
    """Tags with commas between; the empty text is none."""

    name = "TAG,..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        words = tuple(word.strip() for word in str(value).split(",") if word.strip())
        for word in words:
            if not _TAG.fullmatch(word):
                self.fail(f"{word!r} is no tag; write it like tag:server (a-z, 0-9, -)", param, ctx)
        return words


class RelayPort(click.ParamType[int]):
    """A UDP port, 0 for any; the empty text is -1, which is no relay."""

    name = "PORT"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        text = str(value).strip()
        if not text:
            return -1
        if not text.isascii() or not text.isdigit() or int(text) > _HIGHEST_PORT:
            self.fail(f'{text!r} is no port; write 0 to 65535, or "" for no relay', param, ctx)
        return int(text)


class AddressPorts(click.ParamType[tuple[str, ...]]):
    """Addresses with ports, with commas between; the empty text is none."""

    name = "ADDRESS:PORT,..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        words = tuple(word.strip() for word in str(value).split(",") if word.strip())
        for word in words:
            host, _, port = word.rpartition(":")
            try:
                ip_address(host.removeprefix("[").removesuffix("]"))
            except ValueError:
                self._refuse(word, param, ctx)
            if not port.isascii() or not port.isdigit() or not 0 < int(port) <= _HIGHEST_PORT:
                self._refuse(word, param, ctx)
        return words

    def _refuse(
        self, word: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> NoReturn:
        example = "203.0.113.5:41650 or [2001:db8::5]:41650"
        self.fail(f"{word!r} is no address with a port; write it like {example}", param, ctx)


class HostName(click.ParamType[str]):
    """One DNS label, or the empty text for the machine's own name."""

    name = "NAME"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        text = str(value)
        if text and not _LABEL.fullmatch(text):
            hint = "use 1 to 63 letters, digits and hyphens, no dot, no hyphen at either end"
            self.fail(f"{text!r} is no host name; {hint}", param, ctx)
        return text.lower()


class Duration(click.ParamType[float]):
    """A length of time, as seconds: "30s", "1h30m", "90d"; "0" is none."""

    name = "DURATION"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return float(value)
        text = str(value)
        if text in {"0", "0s"}:
            return 0.0
        if not re.fullmatch(f"({_DURATION.pattern})+", text):
            self.fail(f"{text!r} is no duration; write it like 30s, 1h30m or 90d", param, ctx)
        return sum(float(n) * _SECONDS[unit] for n, unit in _DURATION.findall(text))


class ServerUrl(click.ParamType[str]):
    """The address of a coordination server; https:// is added when no scheme is given."""

    name = "URL"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        text = str(value).rstrip("/")
        if "://" not in text:
            self._refuse_word(str(value), param, ctx)
            text = f"https://{text}"
        try:
            parts = urlsplit(text)
            _ = parts.port  # raises ValueError when it is no port number
        except ValueError as error:
            self._refuse(str(value), f" ({error})", param, ctx)
        if parts.scheme not in _SCHEMES or not parts.hostname or parts.path or parts.query:
            self._refuse(str(value), "", param, ctx)
        return text

    def _refuse_word(
        self, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> None:
        """Refuse a name without a dot: it is a slip more often than a server."""
        if text.partition(":")[0] in {"", "localhost"} or "." in text or text.startswith("["):
            return
        meant = f"if it is a server's whole name, write https://{text.rstrip('/')}"
        self.fail(f"{text!r} is no server address; {meant}", param, ctx)

    def _refuse(
        self, text: str, why: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> NoReturn:
        example = "https://mesh.example.org or http://192.0.2.1:8080"
        self.fail(f"{text!r} is no server address{why}; write it like {example}", param, ctx)
