"""What survives a reboot: the keys and the last netmap, sealed, in one directory.

One daemon per directory, held by a lock that ends with the process, however
it ends. Every method may wait for the disk: not for the event loop's thread.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Self

import msgspec

from gatepost.daemon.files import write_atomically
from gatepost.daemon.seal import Seal, credentials_directory, find_seal, read_machine_id
from gatepost.errors import Malformed, StateError
from gatepost.model.keys import DiscoPrivate, MachinePrivate, NodePrivate

log = logging.getLogger(__name__)

IDENTITY = "identity"
NETMAP = "netmap"
DISCO = "disco"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this machine is towards `login_server`.

    `node` is the key of the registered node, None before a login and after a
    logout. `candidate` is a key on its way to being registered: it survives a
    restart in the middle of a login. `elsewhere` has the keys of nodes at other
    servers, by their URLs: who comes back is the same node as before.
    """

    machine: MachinePrivate
    login_server: str = ""
    node: NodePrivate | None = None
    candidate: NodePrivate | None = None
    elsewhere: Mapping[str, NodePrivate] = field(default_factory=lambda: MappingProxyType({}))

    def at(self, server: str) -> Identity:
        """Return who this machine is towards another server, where no key of this one is used."""
        if server == self.login_server:
            return self
        elsewhere = dict(self.elsewhere)
        node = elsewhere.pop(server, None)
        if self.node is not None:
            elsewhere[self.login_server] = self.node
        return Identity(
            machine=self.machine,
            login_server=server,
            node=node,
            elsewhere=MappingProxyType(elsewhere),
        )


class _Stored(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    machine: str
    login_server: str = ""
    node: str = ""
    candidate: str = ""
    elsewhere: dict[str, str] = {}


@dataclass(slots=True)
class Store:
    """An open state directory."""

    directory: Path
    seal: Seal
    lock: int = field(repr=False)  # file descriptor

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Make or open the directory; raise `StateError` when it is in use or unusable."""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
            lock = _lock(directory)
            seal = find_seal(directory, credentials_directory(), read_machine_id())
        except OSError as error:
            raise StateError(f"state directory {directory}: {error.strerror}") from error
        return cls(directory, seal, lock)

    def close(self) -> None:
        os.close(self.lock)

    def load(self, name: str) -> bytes | None:
        """Return what was saved under a name, None if nothing was; raise `StateError`."""
        path = self.directory / name
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"{path} cannot be read: {error.strerror}") from error
        return self.seal.open(path, raw)

    def save(self, name: str, content: bytes) -> None:
        """Save, or raise `StateError` and leave what was there."""
        path = self.directory / name
        try:
            write_atomically(path, self.seal.close(name, content), 0o600)
        except OSError as error:
            raise StateError(
                f"{path} cannot be written: {error.strerror}; what it held before is still there"
            ) from error

    def forget(self, name: str) -> None:
        """Remove what was saved under a name, if anything was; raise `StateError`."""
        path = self.directory / name
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StateError(f"{path} cannot be removed: {error.strerror}") from error

    def load_identity(self) -> Identity:
        """Return who this machine is; made, and saved, on the first use."""
        raw = self.load(IDENTITY)
        if raw is None:
            identity = Identity(machine=MachinePrivate(os.urandom(32)))
            self.save_identity(identity)
            return identity
        try:
            stored = msgspec.json.decode(raw, type=_Stored)
            return Identity(
                machine=MachinePrivate.parse(stored.machine),
                login_server=stored.login_server,
                node=NodePrivate.parse(stored.node) if stored.node else None,
                candidate=NodePrivate.parse(stored.candidate) if stored.candidate else None,
                elsewhere=MappingProxyType(
                    {url: NodePrivate.parse(key) for url, key in stored.elsewhere.items()}
                ),
            )
        except (msgspec.MsgspecError, Malformed) as error:
            path = self.directory / IDENTITY
            raise StateError(
                f"{path} holds something else than an identity: move it away and log in anew"
            ) from error

    def load_disco(self) -> DiscoPrivate:
        """Return the disco key; made, and saved, on the first use.

        It stays the same over a restart, because peers learn a new one from the
        coordination server only: without it, they would not answer us any more.
        A full disk does not keep us from starting with a new one.
        """
        raw = self.load(DISCO)
        if raw is not None:
            try:
                return DiscoPrivate.parse(raw.decode("ascii", "replace"))
            except Malformed:
                log.warning("%s holds no disco key: making a new one", self.directory / DISCO)
        key = DiscoPrivate(os.urandom(32))
        try:
            self.save(DISCO, key.reveal().encode())
        except StateError as error:
            log.warning("%s", error)
        return key

    def save_identity(self, identity: Identity) -> None:
        stored = _Stored(
            machine=identity.machine.reveal(),
            login_server=identity.login_server,
            node=identity.node.reveal() if identity.node else "",
            candidate=identity.candidate.reveal() if identity.candidate else "",
            elsewhere={url: key.reveal() for url, key in identity.elsewhere.items()},
        )
        self.save(IDENTITY, msgspec.json.encode(stored))


def _lock(directory: Path) -> int:
    """Take the directory for this process; raise `StateError` if another has it."""
    path = directory / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "another process"
        os.close(descriptor)
        raise StateError(
            f"state directory {directory} is in use by process {holder}: stop that one first, "
            "or give this one another --state-directory"
        ) from error
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError:  # a full disk: the number is only for people to read
        pass
    return descriptor
