"""How a plugin is called and what it is for, read from its text: one that is off is not run."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PluginWords:
    """The title that the plugin describes itself with, the first line of its docstring, or ""."""

    title: str = ""
    summary: str = ""


def read_words(module: str) -> PluginWords:
    """Read a module's text without running it; what cannot be read has no words."""
    try:
        spec = find_spec(module)
    except ImportError:
        return PluginWords()
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return PluginWords()
    try:
        tree = ast.parse(Path(spec.origin).read_bytes())
    except (OSError, SyntaxError, ValueError):  # enabling it says what is wrong
        return PluginWords()
    summary = (ast.get_docstring(tree) or "").partition("\n")[0]
    return PluginWords(title=_title(tree), summary=summary)


def _title(tree: ast.Module) -> str:
    """Return the title in `PluginInfo(title="...")`, "" if none is written there."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="PluginInfo"), keywords=keywords):
                for keyword in keywords:
                    match keyword:
                        case ast.keyword(arg="title", value=ast.Constant(value=str(title))):
                            return title
                        case _:
                            pass
            case _:
                pass
    return ""
