"""What JSON can say, as Python values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Plain = Mapping[str, "Plain"] | Sequence["Plain"] | str | float | bool | None
