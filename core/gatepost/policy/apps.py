"""Apps that are reached by name: what `nodeAttrs` say about `tailscale.com/app-connectors`.

    "app": {"tailscale.com/app-connectors": [
        {"name": "wiki", "connectors": ["tag:connector"], "domains": ["wiki.example"]}]}

A connector is a machine that says it is one and that an app names, by a tag. Whoever may
reach the internet may reach apps through it. Source: protocol document 7.2.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import cast

from gatepost.policy.directory import Directory, Machines
from gatepost.policy.document import Policy

APP_CONNECTORS = "tailscale.com/app-connectors"
EVERY_CONNECTOR = "*"


def connectors_of(policy: Policy, directory: Directory) -> Machines:
    """Return the machines that some app may be reached through."""
    found = 0
    for name in _named(policy):
        found |= directory.everyone if name == EVERY_CONNECTOR else directory.by_tag.get(name, 0)
    return found & directory.connectors


def texts_of(app: object, member: str) -> tuple[str, ...]:
    """Return the texts in a list of an app, a JSON value; what is no text is left out."""
    if not isinstance(app, dict):
        return ()
    values = cast("dict[str, object]", app).get(member)  # the keys of JSON are text
    if not isinstance(values, list):
        return ()
    return tuple(v for v in cast("list[object]", values) if isinstance(v, str))


def _named(policy: Policy) -> Iterator[str]:
    for entry in policy.node_attributes:
        for text in entry.app.get(APP_CONNECTORS, ()):
            yield from texts_of(json.loads(text), "connectors")
