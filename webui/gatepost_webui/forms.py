"""Settings of a plugin to a form, and a sent form to a request: the same list both ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gatepost.errors import SettingsError
from gatepost.model.status import FieldDocument, PluginDocument, PluginRequest

Value = str | int | float | bool | list[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One line of a form; `text` is what stands in it, also when that is wrong."""

    name: str
    kind: str
    title: str
    help: str
    text: str
    choices: tuple[str, ...]
    error: str = ""

    @property
    def on(self) -> bool:
        return self.text == "on"


def make_inputs(
    plugin: PluginDocument,
    sent: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> tuple[Input, ...]:
    """Return the lines of the form with the values in use, or with what was sent."""
    return tuple(
        Input(
            name=each.name,
            kind=each.kind,
            title=each.title or each.name.replace("-", " ").capitalize(),
            help=each.help,
            text=_text(each.value) if sent is None else sent.get(_key(each), ""),
            choices=each.choices,
            error=(errors or {}).get(each.name, ""),
        )
        for each in plugin.fields
    )


def read_form(
    plugin: PluginDocument, sent: Mapping[str, str]
) -> tuple[PluginRequest, dict[str, str]]:
    """Return what a sent form changes, and what is wrong with it by the setting's name.

    A field left empty goes back to its default. Settings that stay as they
    are, are not in the request.
    """
    settings: dict[str, Value] = {}
    errors: dict[str, str] = {}
    for each in plugin.fields:
        try:
            value = _PARSERS[each.kind](each, sent.get(_key(each), "").strip())
        except SettingsError as error:
            errors[each.name] = str(error)
            continue
        if value != (list(each.value) if isinstance(each.value, tuple) else each.value):
            settings[each.name] = value
    enabled = "enabled" in sent
    changed = None if plugin.required or enabled == plugin.enabled else enabled
    return PluginRequest(enabled=changed, settings=settings or None), errors


def words_of(text: str) -> list[str]:
    """Split what people put in a list of words: lines, commas, blanks."""
    return text.replace(",", " ").split()


def _key(field: FieldDocument) -> str:
    return f"setting-{field.name}"


def _text(value: str | float | bool | tuple[str, ...] | None) -> str:
    if isinstance(value, bool):
        return "on" if value else ""
    return "\n".join(value) if isinstance(value, tuple) else str("" if value is None else value)


def _switch(_field: FieldDocument, text: str) -> Value:
    return text == "on"


def _number(field: FieldDocument, text: str) -> Value:
    if not text:
        return _default(field)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise SettingsError(f"{text!r} is no number")


def _choice(field: FieldDocument, text: str) -> Value:
    if text not in field.choices:
        raise SettingsError(f"{text!r} is none of {', '.join(field.choices)}")
    return text


def _list(_field: FieldDocument, text: str) -> Value:
    """Split lines and at commas; an item may have blanks, such as "10.1.0.9 as 65002"."""
    return [item for part in text.replace(",", "\n").splitlines() if (item := part.strip())]


def _line(field: FieldDocument, text: str) -> Value:
    return text or _default(field)


def _default(field: FieldDocument) -> Value:
    """Return None, which resets, unless the default is in use already."""
    if field.value == field.default:
        return list(field.value) if isinstance(field.value, tuple) else field.value
    return None


_PARSERS: dict[str, Callable[[FieldDocument, str], Value]] = {
    "switch": _switch,
    "number": _number,
    "choice": _choice,
    "list": _list,
    "text": _line,
}
