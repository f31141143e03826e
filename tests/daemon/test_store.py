"""What survives a reboot."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from gatepost.daemon import seal
from gatepost.daemon.files import write_atomically
from gatepost.daemon.store import DISCO, IDENTITY, Store
from gatepost.errors import StateError
from gatepost.testing.makers import make_private


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_the_machine_key_is_made_once(directory: Path) -> None:
    first = Store.open(directory)
    key = first.load_identity().machine
    first.close()

    assert Store.open(directory).load_identity().machine == key


def test_an_identity_is_read_back_as_it_was_saved(directory: Path) -> None:
    store = Store.open(directory)
    saved = store.load_identity()
    saved = type(saved)(
        machine=saved.machine,
        login_server="https://c",
        node=make_private(1),
        candidate=make_private(2),
        elsewhere={"https://other": make_private(3)},
    )
    store.save_identity(saved)

    assert store.load_identity() == saved


def test_nothing_on_the_disk_shows_a_key_and_nobody_else_may_read_it(directory: Path) -> None:
    store = Store.open(directory)
    identity = store.load_identity()
    files = [p for p in directory.iterdir() if p.is_file()]

    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in files} == {0o600}
    assert not any(identity.machine.raw in p.read_bytes() for p in files)
    assert not any(identity.machine.raw.hex().encode() in p.read_bytes() for p in files)


def test_a_second_daemon_on_the_directory_is_refused_with_the_way_out(directory: Path) -> None:
    first = Store.open(directory)

    with pytest.raises(StateError, match=rf"in use by process {os.getpid()}.*--state-directory"):
        Store.open(directory)
    first.close()
    Store.open(directory).close()


@pytest.mark.parametrize("place", [0, 4, 5, 20, -1])
def test_a_changed_byte_is_noticed_and_the_file_named(directory: Path, place: int) -> None:
    store = Store.open(directory)
    store.load_identity()
    path = directory / IDENTITY
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)

    with pytest.raises(StateError, match=rf"{path}.*move .* away"):
        store.load_identity()


@pytest.mark.parametrize("length", [0, 3, 16, 40])
def test_a_cut_file_is_noticed(directory: Path, length: int) -> None:
    store = Store.open(directory)
    store.load_identity()
    path = directory / IDENTITY
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises(StateError, match=str(path)):
        store.load_identity()


def test_one_sealed_file_cannot_stand_in_for_another(directory: Path) -> None:
    store = Store.open(directory)
    store.save("a", b"content")
    (directory / "b").write_bytes((directory / "a").read_bytes())

    assert store.load("a") == b"content"
    with pytest.raises(StateError):
        store.load("b")


def test_a_clone_of_the_disk_on_another_machine_is_told_apart(directory: Path) -> None:
    directory.mkdir()
    sealed = seal.find_seal(directory, None, b"machine one").close("x", b"content")

    assert (
        seal.find_seal(directory, None, b"machine one").open(directory / "x", sealed) == b"content"
    )
    with pytest.raises(StateError, match="from another machine"):
        seal.find_seal(directory, None, b"machine two").open(directory / "x", sealed)


def test_a_credential_counts_more_than_the_key_file_and_its_loss_is_named(
    directory: Path, tmp_path: Path
) -> None:
    directory.mkdir()
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / seal.CREDENTIAL).write_bytes(b"secret from the TPM")
    sealed = seal.find_seal(directory, credentials, b"").close("x", b"content")

    assert not (directory / "seal.key").exists()
    with pytest.raises(
        StateError, match=f"was sealed with the systemd credential {seal.CREDENTIAL}"
    ):
        seal.find_seal(directory, None, b"").open(directory / "x", sealed)


def test_what_was_never_saved_is_absent_not_an_error(directory: Path) -> None:
    store = Store.open(directory)
    store.forget("netmap")

    assert store.load("netmap") is None


def test_what_cannot_be_removed_is_named(directory: Path) -> None:
    store = Store.open(directory)
    (directory / "netmap").mkdir()  # no file, whoever put it there

    with pytest.raises(StateError, match=r"state/netmap cannot be removed: Is a directory"):
        store.forget("netmap")


def test_a_write_that_fails_leaves_the_old_content_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old", 0o600)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new", 0o600)

    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_disco_key_is_the_same_after_a_restart(directory: Path) -> None:
    """Peers would not answer another one until the coordination server told them of it."""
    first = Store.open(directory)
    key = first.load_disco()
    first.close()

    assert Store.open(directory).load_disco() == key


def test_a_spoiled_disco_key_is_replaced(directory: Path) -> None:
    store = Store.open(directory)
    store.save(DISCO, b"nonsense")

    assert store.load_disco() == store.load_disco()
