"""Small files and folders that are given to others."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from gatepost.linux.small_files import change_owner, replace_file

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.root  # others may have no group of their name
def test_a_file_is_replaced_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    replace_file(file, b"new", owner=ME)

    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_gid == grp.getgrnam(ME).gr_gid
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_for_nobody_known_stays_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")

    with pytest.raises(FileNotFoundError, match="no user or group nobody-of-this-name"):
        replace_file(file, b"new", owner="nobody-of-this-name")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_link_leads_to_is_not_given_away(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)

    with pytest.raises(OSError, match="link"):
        change_owner(tmp_path / "link", ME)
