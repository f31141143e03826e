"""The certificate of the server: who is told that nobody will believe it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gatepost.coordination.certificate import certificate_of
from gatepost.coordination.settings import parse_settings


@pytest.mark.parametrize(("scheme", "warned"), [("https", True), ("http", False)])
def test_a_self_signed_certificate_behind_https_is_warned_of(
    scheme: str, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = parse_settings(f'server-url = "{scheme}://192.0.2.1"\n')
    own = certificate_of(settings, tmp_path, datetime.now(UTC))

    assert own.pin
    assert ("no certificate: nodes refuse" in caplog.text) == warned
