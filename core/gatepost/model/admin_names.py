"""The documents of the administration API about names.

A server is written as in `gatepost.model.names`; a name without dots at its ends.
"""

from __future__ import annotations

import msgspec

from gatepost.model.status import Document

Names = dict[str, tuple[str, ...]]
NameChanges = dict[str, tuple[str, ...] | None]


class NamesDocument(Document, frozen=True, kw_only=True):
    """How the nodes of the mesh resolve names.

    `magic_dns`: nodes have names. `nameservers` are for every name; without
    `override_local` only for nodes that have none of their own. `routes` are the servers
    of names under a suffix; without any the mesh alone answers. `search` are suffixes to
    try for short names beside the mesh's own. `records` are the addresses of more names.
    """

    magic_dns: bool = True
    nameservers: tuple[str, ...] = ()
    override_local: bool = True
    routes: Names = msgspec.field(default_factory=Names)
    search: tuple[str, ...] = ()
    records: Names = msgspec.field(default_factory=Names)


class NamesRequest(Document, frozen=True, kw_only=True):
    """Change what is not None; in `routes` and `records` None removes one."""

    magic_dns: bool | None = None
    nameservers: tuple[str, ...] | None = None
    override_local: bool | None = None
    search: tuple[str, ...] | None = None
    routes: NameChanges = msgspec.field(default_factory=NameChanges)
    records: NameChanges = msgspec.field(default_factory=NameChanges)
