"""The documents of the local API about waking machines."""

from __future__ import annotations

from gatepost.model.status import Document


class WakeRequestDocument(Document, frozen=True, kw_only=True):
    """Wake `target`, a link address or a name, at the site of a box; "" is this one."""

    target: str
    site: str = ""


class WakeDocument(Document, frozen=True, kw_only=True):
    """What was sent: to which link address, on which network devices, by the box of `site`."""

    site: str = ""
    mac: str
    links: tuple[str, ...] = ()
