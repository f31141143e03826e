"""KEY=VALUE words to the values that a plugin's settings take."""

from __future__ import annotations

from collections.abc import Callable

from gatepost.errors import NotFoundError, RefusedError, SettingsError
from gatepost.model.status import FieldDocument, PluginDocument

Value = str | int | float | bool | list[str] | None

_SWITCHES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def parse_assignments(plugin: PluginDocument, words: tuple[str, ...]) -> dict[str, Value]:
    """Return settings by name; raise SettingsError for a word that does not fit.

    Raises RefusedError for a plugin that is off: the daemon does not import it then.

    The daemon checks again what only the plugin knows (is it a network?).
    """
    if not plugin.enabled and not plugin.fields:
        raise RefusedError(
            f"{plugin.name} is off, and its settings are known only when it is on",
            hint=f"switch it on: gatepost plugin enable {plugin.name}",
        )
    fields = {field.name: field for field in plugin.fields}
    settings: dict[str, Value] = {}
    for word in words:
        key, equals, text = word.partition("=")
        name = key.strip().replace("_", "-")
        if not equals:
            raise SettingsError(f"{word!r} is no setting; write it like {name}=VALUE")
        if name not in fields:
            known = ", ".join(fields) or "no settings"
            raise NotFoundError(f"{plugin.name} has no setting {name!r}", hint=f"it has: {known}")
        settings[name] = parse(fields[name], text.strip())
    return settings


def parse(field: FieldDocument, text: str) -> Value:
    """Return the value that a text means for a setting; the empty text is its default."""
    return _PARSERS[field.kind](field, text) if text else None


def _switch(field: FieldDocument, text: str) -> bool:
    value = _SWITCHES.get(text.lower())
    if value is None:
        raise SettingsError(f"{field.name}: {text!r} is neither true nor false")
    return value


def _number(field: FieldDocument, text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError as error:
        raise SettingsError(f"{field.name}: {text!r} is no number") from error


def _choice(field: FieldDocument, text: str) -> str:
    if text not in field.choices:
        raise SettingsError(f"{field.name}: {text!r} is none of {', '.join(field.choices)}")
    return text


def _list(_field: FieldDocument, text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _text(_field: FieldDocument, text: str) -> str:
    return text


_PARSERS: dict[str, Callable[[FieldDocument, str], Value]] = {
    "text": _text,
    "number": _number,
    "switch": _switch,
    "choice": _choice,
    "list": _list,
}
