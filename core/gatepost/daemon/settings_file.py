"""The settings of this box: one TOML file that people may edit by hand.

    [node]
    login-server = "https://mesh.example"
    hostname = "gate-berlin"
    wanted = "up"

    [plugins.mesh]
    accept-routes = true

    [plugins.subnet-router]
    enabled = true
    networks = ["10.1.0.0/16"]

Comments and order survive a change made by the program. The last versions are
kept beside the file, in `<name>.versions/`, oldest number first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

import tomlkit
from tomlkit.exceptions import TOMLKitError

from gatepost.daemon.files import write_atomically
from gatepost.engine.plugins import REQUIRED, USUAL
from gatepost.engine.settings import Plain, read_settings
from gatepost.errors import SettingsError, StateError
from gatepost.model import owned
from gatepost.model.netmap import Endpoint, parse_endpoint
from gatepost.model.settings import about

VERSIONS = 20  # kept
_HEAD = "# The settings of this Gatepost box. `gatepost set` and the web page edit this file too.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """The table `[node]`. A wish for "up" counts once there is a login."""

    login_server: str = field(
        default="", metadata=about("Login server", "URL of the coordination server.")
    )
    hostname: str = field(default="", metadata=about("Host name", "Empty: the machine's own."))
    wanted: Literal["up", "down"] = field(
        default="up", metadata=about("Wanted", "Whether the mesh should be up.")
    )
    advertise_tags: tuple[str, ...] = field(default=(), metadata=about("Tags", "Ask for these."))
    port: int = field(
        default=owned.WIREGUARD_PORT,
        metadata=about("UDP port", "Counts from the next start.", minimum=1, maximum=65534),
    )
    port_mapping: bool = field(
        default=True, metadata=about("Port mapping", "Ask the router to let peers in.")
    )
    static_endpoints: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Static endpoints", 'Tell peers these too: "203.0.113.7:41641", forwarded by hand.'
        ),
    )

    def __post_init__(self) -> None:
        # As commands write it: with a slash it would be another server, and this box a new node.
        object.__setattr__(self, "login_server", self.login_server.rstrip("/"))
        self.own_endpoints()

    def own_endpoints(self) -> tuple[Endpoint, ...]:
        """Return the static endpoints as values; raise `ValueError` for what is none."""
        return tuple(map(parse_endpoint, self.static_endpoints))


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSettings:
    """The whole file, parsed. `plugins` has the plain values, without `enabled`."""

    node: NodeSettings = NodeSettings()
    enabled: frozenset[str] = frozenset((*REQUIRED, *USUAL))
    plugins: Mapping[str, Mapping[str, object]] = field(
        default_factory=lambda: MappingProxyType({})
    )

    def of(self, plugin: str) -> Mapping[str, object]:
        return self.plugins.get(plugin, MappingProxyType({}))


Values = dict[str, Plain]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One change: table by its path, and the new values; None removes one."""

    table: tuple[str, ...]
    values: Mapping[str, Plain]


class SettingsFile:
    """The file on the disk. Every method waits for the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> BoxSettings:
        """Read the file; a missing one is all defaults. Raise `SettingsError`."""
        return self._parsed(self._document())

    def change(
        self, edits: tuple[Edit, ...], check: Callable[[BoxSettings], None] | None = None
    ) -> BoxSettings:
        """Apply edits to what is in the file now, check the result, then write it.

        Nothing is written when `check` or the parser raises `SettingsError`.
        A failing disk is a `StateError`.
        """
        document = self._document()
        before = tomlkit.dumps(document)
        for edit in edits:
            _apply(document, edit)
        settings = self._parsed(document)
        if check is not None:
            check(settings)
        text = tomlkit.dumps(document)
        if text != before:
            self._write(text)
        return settings

    def _document(self) -> tomlkit.TOMLDocument:
        try:
            return tomlkit.parse(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return tomlkit.parse(_HEAD)
        except (TOMLKitError, UnicodeDecodeError) as error:
            raise SettingsError(f"{self._path} is not TOML: {error}") from error
        except OSError as error:
            raise SettingsError(f"{self._path} cannot be read: {error.strerror}") from error

    def _parsed(self, document: tomlkit.TOMLDocument) -> BoxSettings:
        # unwrap gives plain values of whatever people wrote; everything is checked below
        content = cast(dict[str, object], document.unwrap())
        for name in content.keys() - {"node", "plugins"}:
            raise SettingsError(
                f"{self._path} has a table [{name}]: it may have [node] and [plugins.…]"
            )
        tables = {
            n: _table(t, f"plugins.{n}")
            for n, t in _table(content.get("plugins", {}), "plugins").items()
        }
        usual: dict[str, dict[str, object]] = {name: {} for name in (*REQUIRED, *USUAL)}
        enabled = {n for n, t in (usual | tables).items() if _is_enabled(n, t)}
        plugins = {n: {k: v for k, v in t.items() if k != "enabled"} for n, t in tables.items()}
        return BoxSettings(
            node=read_settings(NodeSettings, _table(content.get("node", {}), "node"), "[node]"),
            enabled=frozenset(enabled),
            plugins=plugins,
        )

    def _write(self, text: str) -> None:
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._keep_version()
            write_atomically(self._path, text.encode(), 0o644)
        except OSError as error:
            raise StateError(
                f"{self._path} cannot be written: {error.strerror}; the settings are as before"
            ) from error

    def _keep_version(self) -> None:
        """Copy the file as it is to the next free number and drop the oldest copies."""
        if not self._path.exists():
            return
        folder = self._path.with_name(self._path.name + ".versions")
        folder.mkdir(mode=0o755, exist_ok=True)
        kept = sorted(int(p.stem) for p in folder.glob("*.toml") if p.stem.isdecimal())
        number = kept[-1] + 1 if kept else 1
        write_atomically(folder / f"{number:06}.toml", self._path.read_bytes(), 0o644)
        for old in kept[: max(0, len(kept) + 1 - VERSIONS)]:
            (folder / f"{old:06}.toml").unlink(missing_ok=True)


def _table(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise SettingsError(f"{name} must be a table: [{name}]")
    return cast(dict[str, object], value)  # the keys of TOML are text


def _is_enabled(name: str, table: Mapping[str, object]) -> bool:
    value = table.get("enabled", name in {*REQUIRED, *USUAL})
    if not isinstance(value, bool):
        raise SettingsError(f"{value} in enabled of {name}: it must be true or false")
    if not value and name in REQUIRED:
        raise SettingsError(f"{name} cannot be switched off: it is the data plane itself")
    return value


def _apply(document: tomlkit.TOMLDocument, edit: Edit) -> None:
    place: Any = document  # tomlkit's containers have no common type that says what they hold
    for name in edit.table:
        if name not in place:
            place.add(name, tomlkit.table(is_super_table=name == "plugins"))
        place = place[name]
    for name, value in edit.values.items():
        if value is None:
            place.pop(name, None)
        else:
            place[name] = value
