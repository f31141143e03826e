"""From a plugin's `Settings` class to the file, the form and the flag, and back. No I/O.

Names in the file are the field's name with "-" for "_". Text is accepted for
every type, because flags and forms have nothing else.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import Field
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from gatepost.errors import SettingsError
from gatepost.model.netmap import IPAddress, IPNetwork
from gatepost.model.settings import HELP, MAXIMUM, MINIMUM, TITLE
from gatepost.model.status import FieldDocument

T = TypeVar("T")
Plain = str | int | bool | list[str] | None  # what a TOML file, JSON and a form can hold
Reader = Callable[[object], object]
Kind = Literal["text", "number", "switch", "choice", "list"]

TRUE, FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


def setting_name(field_name: str) -> str:
    """Turn `accept_routes` into `accept-routes`."""
    return field_name.replace("_", "-")


def read_settings(kind: type[T], values: Mapping[str, object], owner: str) -> T:
    """Make `Settings` of plain values; what is not given has its default.

    Raises `SettingsError` that names the value, the setting, `owner` (the
    plugin) and the way out.
    """
    known = {setting_name(f.name): f for f in _fields(kind)}
    for name in values:
        if name not in known:
            raise SettingsError(_unknown(name, tuple(known), owner))
    given: dict[str, object] = {}
    for name, value in values.items():
        if value is None:
            continue
        field = known[name]
        try:
            given[field.name] = _checked(field, _hints(kind)[field.name], value)
        except (ValueError, TypeError) as error:
            raise SettingsError(f"{_shown(value, error)} in {name} of {owner}: {error}") from error
    try:
        return kind(**given)
    except (ValueError, TypeError) as error:  # what the class itself checks
        raise SettingsError(f"settings of {owner}: {error}") from error


def write_settings(settings: object) -> dict[str, Plain]:
    """Return plain values; what has its default is left out."""
    return {
        setting_name(f.name): plain(getattr(settings, f.name))
        for f in _fields(type(settings))
        if getattr(settings, f.name) != _default(f)
    }


def field_documents(kind: type[Any], current: object) -> tuple[FieldDocument, ...]:
    """Describe every setting of a class; `current` is the value in force."""
    return tuple(
        _document(f, _hints(kind)[f.name], getattr(current, f.name)) for f in _fields(kind)
    )


def plain(value: object) -> Plain:
    """Turn one value of a setting into what a file can hold."""
    match value:
        case None | bool() | int():
            return value
        case enum.Enum():
            return str(value.value)
        case tuple():
            return [str(plain(v)) for v in cast(tuple[object, ...], value)]
        case _:
            return str(value)


def _document(field: Field[Any], hint: object, current: object) -> FieldDocument:
    return FieldDocument(
        name=setting_name(field.name),
        kind=_kind(_inner(hint)),
        default=_fixed(plain(_default(field))),
        value=_fixed(plain(current)),
        title=str(field.metadata.get(TITLE, setting_name(field.name).replace("-", " "))),
        help=str(field.metadata.get(HELP, "")),
        choices=_choices(_inner(hint)),
    )


def _fixed(value: Plain) -> str | int | bool | tuple[str, ...] | None:
    return tuple(value) if isinstance(value, list) else value


def _hints(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _fields(kind: type[Any]) -> tuple[Field[Any], ...]:
    return dataclasses.fields(kind)


def _default(field: Field[Any]) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _inner(hint: object) -> object:
    """Drop `| None`."""
    if typing.get_origin(hint) in {types.UnionType, typing.Union}:
        rest = tuple(a for a in typing.get_args(hint) if a is not types.NoneType)
        if len(rest) == 1:
            return rest[0]
        return typing.Union[rest]  # noqa: UP007  # built at run time
    return hint


def _kind(hint: object) -> Kind:
    if typing.get_origin(hint) is tuple:
        return "list"
    if _choices(hint):
        return "choice"
    simple: dict[object, Kind] = {bool: "switch", int: "number"}
    return simple.get(hint, "text")


def _choices(hint: object) -> tuple[str, ...]:
    if typing.get_origin(hint) is Literal:
        return tuple(str(a) for a in typing.get_args(hint))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return tuple(str(m.value) for m in hint)
    return ()


def _checked(field: Field[Any], hint: object, value: object) -> object:
    result = _reader(_inner(hint))(value)
    low, high = field.metadata.get(MINIMUM), field.metadata.get(MAXIMUM)
    if isinstance(result, int):
        if low is not None and result < low:
            raise ValueError(f"the least that is allowed is {low}")
        if high is not None and result > high:
            raise ValueError(f"the most that is allowed is {high}")
    return result


def _reader(hint: object) -> Reader:
    if typing.get_origin(hint) is tuple:
        return _list_reader(_reader(typing.get_args(hint)[0]))
    if choices := _choices(hint):
        return _choice_reader(hint, choices)
    readers: dict[object, Reader] = {
        bool: _read_bool,
        int: _read_int,
        str: _read_text,
        Path: lambda value: Path(_read_text(value)),
        IPAddress: _read_address,
        IPNetwork: lambda value: read_network(_read_text(value)),
    }
    for known, reader in readers.items():
        if hint == known:
            return reader
    raise TypeError(f"a setting cannot have the type {hint}")


def _list_reader(one: Reader) -> Reader:
    def read(value: object) -> object:
        parts: list[object]
        if isinstance(value, str):
            parts = [p.strip() for p in value.split(",") if p.strip()]
        elif isinstance(value, (list, tuple)):
            parts = list(cast(list[object], value))
        else:
            raise TypeError('a list is needed, such as ["a", "b"] or a,b')
        return tuple(_item(one, part) for part in parts)

    return read


class _ItemError(ValueError):
    """An item of a list is wrong; `shown` is that item."""

    def __init__(self, shown: object, reason: str) -> None:
        super().__init__(reason)
        self.shown = shown


def _item(one: Reader, part: object) -> object:
    try:
        return one(part)
    except (ValueError, TypeError) as error:
        raise _ItemError(part, str(error)) from error


def _shown(value: object, error: Exception) -> str:
    return str(error.shown if isinstance(error, _ItemError) else value)


def _choice_reader(hint: object, choices: tuple[str, ...]) -> Reader:
    def read(value: object) -> object:
        text = _read_text(value)
        if text not in choices:
            raise ValueError(f"it must be one of {', '.join(choices)}")
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return next(m for m in hint if str(m.value) == text)
        return next(a for a in typing.get_args(hint) if str(a) == text)

    return read


def _read_bool(value: object) -> bool:
    text = str(value).lower()
    if text in TRUE | FALSE:
        return text in TRUE
    raise ValueError("it must be true or false")


def _read_int(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value.strip().removeprefix("-").isdecimal():
        return int(value)
    raise ValueError("it must be a whole number")


def _read_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("it must be text in quotes")
    return str(value)


def _read_address(value: object) -> object:
    try:
        return ip_address(_read_text(value))
    except ValueError:
        raise ValueError("it is not an IP address such as 10.1.0.1 or fd00::1") from None


def read_network(text: str) -> IPNetwork:
    """Read "10.1.0.0/16"; the `ValueError` says what is wrong and, if it can, what was meant."""
    address, slash, length = text.strip().partition("/")
    try:
        host = ip_address(address)
    except ValueError:
        raise ValueError("it is not a network such as 10.1.0.0/16 or fd00:1::/64") from None
    bits = host.max_prefixlen
    if not slash:
        return ip_network(host)
    if not length.isdecimal():
        raise ValueError(f"{length!r} is not a prefix length from 0 to {bits}")
    if int(length) > bits:
        raise ValueError(f"prefix length {length} is over {bits}")
    network = ip_network(f"{address}/{length}", strict=False)
    if network.network_address != host:
        raise ValueError(f"it has bits behind the prefix; the network is {network}")
    assert isinstance(network, (IPv4Network, IPv6Network))  # noqa: S101  # ip_network's promise
    return network


def _unknown(name: str, known: tuple[str, ...], owner: str) -> str:
    close = get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known) or 'none'}"
    return f"{name} is not a setting of {owner}: {hint}"
