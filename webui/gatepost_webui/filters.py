"""The words that templates use."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from flask import Flask
from markupsafe import Markup, escape

from gatepost import __version__
from gatepost.localapi import words
from gatepost.model.status import PeerDocument

_COMMAND = re.compile(r"`([^`]+)`")


def add_filters(app: Flask, now: Callable[[], float]) -> None:
    """Give an application's templates their filters; `now` is seconds since 1970."""

    def ago(moment: float | None) -> str:
        return words.ago(moment, now())

    def until(moment: float | None) -> str:
        return words.until(moment, now())

    def path(peer: PeerDocument) -> str:
        return words.describe_path(peer, now())

    for function in (
        ago,
        until,
        path,
        date,
        with_commands,
        words.age,
        words.short_name,
        words.size,
        words.milliseconds,
    ):
        app.add_template_filter(function)
    app.context_processor(lambda: {"version": __version__})


def date(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")


def with_commands(text: str) -> Markup:
    """Show what stands in backticks, as on a terminal, as what is to be typed."""
    return Markup(_COMMAND.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704  # escaped
