"""The one password of the page, and the code that is asked for before it exists.

Whoever sets the password owns the box, so a fresh page does not trust the
network: it asks for a code that only root of this machine can read, with
`gatepost web-setup-code`. The code dies when the password is set.
"""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from gatepost.errors import DeniedError, SettingsError, StateError
from gatepost_webui.files import read_private, write_private

SHORTEST = 10  # characters
LONGEST = 256  # characters: more only costs time
_CODE_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like another
_CODE_GROUPS, _CODE_GROUP = 4, 4  # 16 characters, 79 bits

# OWASP's second choice of Argon2id: 19 MiB, two passes, one lane. A router has little memory.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)


class Passwords:
    """Keeps `password` (an Argon2id hash) and `setup-code` in one directory.

    One hash is computed at a time, so many sign-ins cost time, not memory.
    """

    def __init__(self, directory: Path) -> None:
        self._password = directory / "password"
        self._code = directory / "setup-code"
        self._one_at_a_time = threading.Lock()

    def is_set(self) -> bool:
        return read_private(self._password) is not None

    def prepare(self) -> None:
        """Make the setup code when there is neither a password nor a code; raise StateError."""
        if self.is_set() or read_private(self._code):
            return
        characters = [
            "".join(secrets.choice(_CODE_ALPHABET) for _ in range(_CODE_GROUP))
            for _ in range(_CODE_GROUPS)
        ]
        write_private(self._code, f"{'-'.join(characters)}\n".encode())

    def set_first(self, code: str, password: str) -> None:
        """Set the first password; raise DeniedError for a wrong code or when there is one.

        Raises SettingsError for a password that is too short or too long.
        """
        with self._one_at_a_time:
            wanted = read_private(self._code)
            if self.is_set() or wanted is None:
                raise DeniedError("a password has been set already", hint="sign in with it")
            given = code.strip().lower().encode()
            if not secrets.compare_digest(given, wanted.strip()):
                hint = "print it on this box: sudo gatepost web-setup-code"
                raise DeniedError("that is not the setup code", hint=hint)
            check(password)
            write_private(self._password, _HASHER.hash(password).encode())
            self._code.unlink(missing_ok=True)

    def change(self, current: str, password: str) -> None:
        """Replace the password; raise DeniedError when `current` is not the one before.

        Raises SettingsError for a new one that is too short, too long or the same.
        """
        check(password)
        with self._one_at_a_time:
            if not self._is_right(current):
                raise DeniedError("that is not the password now")
            if password == current:
                raise SettingsError("the new password is the one you have")
            write_private(self._password, _HASHER.hash(password).encode())

    def verify(self, password: str) -> bool:
        """Say whether this is the password; raise StateError when the stored hash is damaged."""
        with self._one_at_a_time:
            return self._is_right(password)

    def _is_right(self, password: str) -> bool:
        stored = read_private(self._password)
        if stored is None or len(password) > LONGEST:
            return False
        try:
            _HASHER.verify(stored.decode("ascii", "replace"), password)
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError) as error:
            raise StateError(
                f"{self._password} is damaged: {error}",
                hint=f"to start over: rm {self._password}, then restart gatepost-web",
            ) from error
        return True


def check(password: str) -> None:
    """Raise SettingsError when a new password is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise SettingsError(f"the password must have {SHORTEST} to {LONGEST} characters")
