"""JSON the way the official clients write and read it (Go's encoding/json).

Field names are Go names: `derp_region` is `DERPRegion`. A zero value is left
out. Unknown fields are ignored; a wrong type refuses the whole message, as it
does on the other side. Keys have their prefixed text form; the zero key reads
as a zero key. Times are RFC 3339 with a zone; Go's zero time reads as None.
Source: protocol document 1.14.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from gatepost.errors import Malformed
from gatepost.model.keys import Key

_ACRONYMS = {
    "acl", "arn", "api", "cpu", "derp", "dns", "fqdn", "hw", "id", "ip", "ipn", "ipp", "nl", "os",
    "pcp", "pmp", "sni", "ssh", "stun", "tcp", "tka", "tls", "tpm", "ttl", "tx", "udp", "uid",
    "uri", "url", "v4", "v6", "vip", "wol",
}  # fmt: skip
_SPELLINGS = {"ips": "IPs", "ids": "IDs", "ipv4": "IPv4", "ipv6": "IPv6", "upnp": "UPnP"}

ZERO_TIME = datetime(1, 1, 1, tzinfo=UTC)  # Go's zero time: "none", yet often written out

T = TypeVar("T")


def go_name(name: str) -> str:
    """Turn `home_derp` into `HomeDERP`."""
    return "".join(
        _SPELLINGS.get(word) or (word.upper() if word in _ACRONYMS else word.capitalize())
        for word in name.split("_")
    )


class Message(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename=go_name, gc=False
):
    """The base of every JSON message of the control protocol."""


def drop_zero_times(message: Message, *names: str) -> None:
    """Turn Go's zero time into None; for a `__post_init__`, which may still change the message."""
    for name in names:
        if getattr(message, name) == ZERO_TIME:
            msgspec.structs.force_setattr(message, name, None)


def _write_key(value: object) -> str:
    if isinstance(value, Key):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")


def _read_key(kind: type[Any], value: object) -> object:
    if issubclass(kind, Key) and isinstance(value, str):
        try:
            return kind.parse(value) if value else kind.zero()
        except Malformed as error:
            raise ValueError(str(error)) from error  # the decoder adds where it stands
    raise NotImplementedError(f"{kind.__name__} has no JSON form")


_encoder = msgspec.json.Encoder(enc_hook=_write_key)


def write_json(message: Any) -> bytes:  # anything that msgspec can write
    """Return compact UTF-8 JSON."""
    return _encoder.encode(message)


def read_json(raw: bytes, kind: type[T]) -> T:
    """Read one message; raise `Malformed` with the path of the wrong field."""
    try:
        return msgspec.json.decode(raw, type=kind, dec_hook=_read_key)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Malformed(f"not a {kind.__name__}: {error}") from error
