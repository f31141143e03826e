"""The words that templates use."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from flask import Flask

from gatepost import __version__
from gatepost.localapi import words
from gatepost.model.status import PeerDocument


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
        words.age,
        words.short_name,
        words.size,
        words.milliseconds,
    ):
        app.add_template_filter(function)
    app.context_processor(lambda: {"version": __version__})


def date(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
