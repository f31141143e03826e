"""Imports modules of a package without running the package's own `__init__`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator
from importlib.util import find_spec, module_from_spec


@contextlib.contextmanager
def parts_of(package: str) -> Generator[None]:
    """Let imports in the block find modules of `package`, and nothing else of it be loaded.

    A package that is loaded already is used as it is. Whoever imports the package itself
    later gets all of it, and the same objects for the modules that are loaded by then; only
    those are no attributes of it. Raise `ModuleNotFoundError` when it is not installed.
    """
    if package in sys.modules:
        yield
        return
    spec = find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    sys.modules[package] = module_from_spec(spec)
    try:
        yield
    finally:
        del sys.modules[package]
