"""Sealing of what lies on the disk: AES-256-GCM.

    offset  size  what
         0     4  "GPS1"
         4     1  where the key comes from: 0 a key file, 1 a systemd credential
         5    12  nonce, random
        17     n  ciphertext
      17+n    16  tag; the file's name is authenticated with it

What it protects: with a credential (`gatepost-state-key`, which systemd can
bind to the TPM) a stolen disk or backup shows no key. With the key file beside
the state, which is the default, it protects a single file that leaks, and a
copy without the machine's /etc/machine-id; it does not protect from somebody
who has the whole disk, or who is root. Either way a changed file is noticed,
and a clone of the disk with a new machine-id joins as a new machine instead of
fighting over the identity of the old one.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gatepost.daemon.files import write_atomically
from gatepost.errors import StateError

MAGIC = b"GPS1"
NONCE = 12  # bytes
KEY = 32  # bytes
HEAD = len(MAGIC) + 1 + NONCE
CREDENTIAL = "gatepost-state-key"
FROM_FILE, FROM_CREDENTIAL = 0, 1


@dataclass(frozen=True, slots=True)
class Seal:
    """Closes and opens the files of one state directory. `key` is 32 bytes."""

    key: bytes
    source: int

    def close(self, name: str, content: bytes) -> bytes:
        nonce = secrets.token_bytes(NONCE)
        head = MAGIC + bytes((self.source,)) + nonce
        return head + AESGCM(self.key).encrypt(nonce, content, name.encode())

    def open(self, path: Path, raw: bytes) -> bytes:
        """Return the content, or raise `StateError` that names the file and the way out."""
        away = f"move {path} away and start again; the box then has to log in anew"
        if len(raw) < HEAD or raw[: len(MAGIC)] != MAGIC:
            raise StateError(f"{path} is not a state file of this program: {away}")
        if raw[len(MAGIC)] != self.source:
            raise StateError(
                f"{path} was sealed with {_SOURCES[raw[len(MAGIC)] % 2]}, and now there is "
                f"{_SOURCES[self.source]}: bring that back, or {away}"
            )
        try:
            nonce, sealed = raw[HEAD - NONCE : HEAD], raw[HEAD:]
            return AESGCM(self.key).decrypt(nonce, sealed, path.name.encode())
        except InvalidTag as error:
            raise StateError(
                f"{path} is damaged, or from another machine (/etc/machine-id differs): {away}"
            ) from error


_SOURCES = ("the key file seal.key", f"the systemd credential {CREDENTIAL}")


def find_seal(directory: Path, credentials: Path | None, machine_id: bytes) -> Seal:
    """Take the credential if systemd gives one, else the key file, which is made if missing."""
    if credentials is not None and (credentials / CREDENTIAL).exists():
        return Seal(_derive((credentials / CREDENTIAL).read_bytes(), b""), FROM_CREDENTIAL)
    path = directory / "seal.key"
    if not path.exists():
        write_atomically(path, secrets.token_bytes(KEY), 0o600)
    material = path.read_bytes()
    if len(material) != KEY:
        raise StateError(
            f"{path} has {len(material)} bytes, not {KEY}: move it and the other files of "
            f"{directory} away and start again; the box then has to log in anew"
        )
    return Seal(_derive(material, machine_id), FROM_FILE)


def credentials_directory() -> Path | None:
    """Return where systemd has put this unit's credentials, if it runs under systemd."""
    given = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return Path(given) if given else None


def read_machine_id(path: Path = Path("/etc/machine-id")) -> bytes:
    """Return the machine's id, or nothing on a machine without one."""
    try:
        return path.read_bytes().strip()
    except FileNotFoundError:
        return b""


def _derive(material: bytes, salt: bytes) -> bytes:
    return HKDF(SHA256(), KEY, salt or None, b"gatepost state").derive(material)
