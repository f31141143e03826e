"""How a plugin says more about a setting than its type does.

A plugin's `Settings` is one frozen dataclass; the settings file, the flags,
the web form and the manual are made from it. Types that a field may have:
bool, int, str, Path, an enum, `Literal[...]`, IPAddress, IPNetwork, a tuple of
str, IPAddress or IPNetwork, and any of these `| None`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TITLE, HELP, MINIMUM, MAXIMUM = "title", "help", "minimum", "maximum"


def about(
    title: str,
    help_text: str = "",
    *,
    minimum: int | None = None,
    maximum: int | None = None,
) -> Mapping[str, object]:
    """Return the metadata of a field: `port: int = field(default=1, metadata=about("Port"))`.

    `minimum` and `maximum` are included in what is allowed; they count for numbers only.
    """
    known = {TITLE: title, HELP: help_text, MINIMUM: minimum, MAXIMUM: maximum}
    return MappingProxyType({k: v for k, v in known.items() if v is not None})
