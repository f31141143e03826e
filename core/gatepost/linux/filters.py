"""The applier of `PacketFilter`: whole nftables tables, each replaced in one transaction.

What the kernel holds cannot be compared with the text that made it: nft prints it
its own way. So after loading a table its listing is hashed, and the hash is kept
with the text in a file. The table is right when the file has the text that is
wanted and the kernel's listing has the hash in the file; that holds over restarts
and `kill -9`, and any hand-made change shows. If the two disagree for another
reason (the machine lost power in between, a new nft prints differently) the
table is loaded once more, which no packet notices.

Every load gets an epoch, which the text may use as `$epoch`: a value of EPOCH_MASK, other than
ELSEWHERE, that no tracked connection carries in its mark. So what the rules write into marks is
worth nothing to the rules that come after them.

Listing costs milliseconds, and with 10,000 networks 0.2 s, so it is done only when the
kernel's ruleset has another generation number than when it was last found right. There, one
network more or less is an element of some sets, and not a load (`gatepost.linux.nft_elements`);
listing and file follow when things are calm. A daemon that is killed before loads once more.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from gatepost.linux.netlink import Netlink
from gatepost.linux.netlink_message import Request, attribute, read_attributes
from gatepost.linux.nft import PROGRAM, run_nft
from gatepost.linux.nft_elements import changed_elements, element_requests, epoch_script
from gatepost.model.kernel import PacketFilter
from gatepost.model.owned import (
    ELSEWHERE,
    EPOCH_MASK,
    NFT_GUARD_TABLE,
    NFT_PATH_TABLE,
    NFT_PROVIDER_TABLE,
    NFT_TABLE,
)
from gatepost.model.resource import Change, Notice, Resource

GET_GENERATION = (10 << 8) | 16  # nfnetlink subsystem nftables, NFT_MSG_GETGEN
GENERATION_ID = 1  # u32, big endian
DELETE_CONNECTIONS = (1 << 8) | 2  # nfnetlink subsystem conntrack, IPCTNL_MSG_CT_DELETE
CONNECTION_MARK, CONNECTION_MARK_MASK = 8, 21  # u32, big endian
NO_CONNTRACK = {errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT}  # of nfnetlink
EPOCH = EPOCH_MASK & -EPOCH_MASK  # the first; each is this much more than the one before
LAST_EPOCH = ELSEWHERE - EPOCH
CALM = 10.0  # seconds after a change in which a table is not listed

log = logging.getLogger(__name__)

_CANNOT_FORGET = (
    "the kernel cannot be told to forget connections (nf_conntrack_netlink is missing): one that "
    "was silent while the packet filter changed 254 times goes on without being judged again; "
    "load the module, or build CONFIG_NF_CT_NETLINK"
)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What was loaded last: the text, the hash of how the kernel then listed it, its epoch.

    The hash is empty from a change of single elements until the table is listed.
    """

    text: str
    digest: str
    epoch: int


class Filters:
    """Owns the tables of family inet that are named in `tables`, as wholes."""

    applies: type[Resource] = PacketFilter

    def __init__(
        self,
        netlink: Netlink,
        directory: Path,
        tables: tuple[str, ...] = (NFT_TABLE, NFT_PATH_TABLE, NFT_GUARD_TABLE, NFT_PROVIDER_TABLE),
        program: str = PROGRAM,
        calm: float = CALM,
    ) -> None:
        self._netlink = netlink
        self._directory = directory
        self._calm = calm
        self._tables = tables
        self._program = program
        self._loaded: dict[str, _Loaded] = {}  # outlives a full disk, the file outlives us
        self._right: tuple[int, frozenset[Resource]] | None = None
        self._stepped = 0.0  # when a table was last changed without being listed, by `monotonic`
        self._notices: tuple[Notice, ...] = ()

    def notices(self) -> tuple[Notice, ...]:
        """Return what the filter lacks on this kernel."""
        return self._notices

    async def read(self) -> frozenset[Resource]:
        """Return our tables; one that was changed by hand has the kernel's listing as its text."""
        generation = await self._generation()
        if self._right is not None and self._right[0] == generation:
            await self._remember(generation)
            return self._right[1]
        found: set[Resource] = set()
        for table in self._tables:
            listing = await self._list(table)
            if listing is None:
                continue
            loaded = self._load(table)
            right = loaded is not None and loaded.digest == _digest(listing)
            found.add(PacketFilter(table, loaded.text if loaded and right else listing))
        held = frozenset(found)
        if generation == await self._generation():
            self._right = (generation, held)
        return held

    async def write(self, changes: tuple[Change, ...]) -> None:
        """Load or delete all of it in one transaction; raise `OSError` in nft's words.

        Where only some addresses in sets are others, those are written, and the epoch.
        """
        if len(changes) == 1 and await self._step(changes[0]):
            return
        epoch = self._next_epoch(changes)
        script = "".join((f"define epoch = 0x{epoch:08x}\n", *self._loading(changes)))
        self._right = None
        await self._forget(epoch)
        await self._nft(script, "-f", "-")
        for change in changes:
            if isinstance(change.old, PacketFilter) and change.new is None:
                self._loaded.pop(change.old.table, None)
                self._path(change.old.table).unlink(missing_ok=True)  # boot loads what is there
            if isinstance(change.new, PacketFilter):
                listing = await self._list(change.new.table)
                if listing is not None:  # else somebody deleted it already: the next round sees
                    self._save(change.new.table, _Loaded(change.new.text, _digest(listing), epoch))

    def _loading(self, changes: tuple[Change, ...]) -> Iterator[str]:
        for change in changes:
            wanted = change.new if change.new is not None else change.old
            if not isinstance(wanted, PacketFilter):
                continue
            if wanted.table not in self._tables:
                raise OSError(errno.EPERM, f"nftables table {wanted.table} is not ours")
            # Deleting what may not exist is an error, making what exists is none.
            yield f"add table inet {wanted.table}\ndelete table inet {wanted.table}\n"
            if change.new is not None:
                if not wanted.text.startswith(f"table inet {wanted.table} {{\n"):
                    raise OSError(
                        errno.EINVAL,
                        f"the text for nftables table {wanted.table} is about something else",
                    )
                yield wanted.text

    async def _step(self, change: Change) -> bool:
        """Write the elements that differ and a new epoch; say whether that was enough.

        The elements go first: what must not come in any more begins no flow when the
        flows that there are get judged anew.
        """
        old, new, right = change.old, change.new, self._right
        if not isinstance(old, PacketFilter) or not isinstance(new, PacketFilter):
            return False
        if right is None or old not in right[1] or right[0] != await self._generation():
            return False
        elements = await asyncio.to_thread(changed_elements, old.text, new.text)
        if elements is None:
            return False
        self._right = None
        epoch = self._next_epoch((change,))
        requests = tuple(element_requests(new.table, elements))
        script = f"define epoch = 0x{epoch:08x}\n{epoch_script(new.table, new.text)}"
        await self._forget(epoch)
        try:
            await self._netlink.run(lambda: self._netlink.netfilter.transact(requests))
            await self._nft(script, "-f", "-")
        except OSError as error:
            log.info("%s: loading all of it, as %s", new.table, error)
            return False
        self._loaded[new.table], self._stepped = _Loaded(new.text, "", epoch), time.monotonic()
        if await self._generation() == right[0] + 2:  # nobody else changed anything
            self._right = right[0] + 2, right[1] - {old} | {new}
        return True

    async def _remember(self, generation: int) -> None:
        """Write to the disk what was changed in steps, some time after the last of them."""
        unlisted = {t: x for t, x in self._loaded.items() if not x.digest}
        if not unlisted or time.monotonic() < self._stepped + self._calm:
            return
        for table, loaded in unlisted.items():
            listing = await self._list(table)
            if listing is not None and generation == await self._generation():
                self._save(table, replace(loaded, digest=_digest(listing)))

    async def _generation(self) -> int:
        """Return the number that the kernel raises at every change of any table."""
        request = Request(GET_GENERATION, 0, bytes(4), "nftables generation")
        for message in await self._netlink.run(lambda: self._netlink.netfilter.ask(request)):
            for kind, payload in read_attributes(message.body, 4):
                if kind == GENERATION_ID:
                    return int.from_bytes(payload, "big")
        raise OSError(errno.EPROTO, "the kernel did not say the generation of its nftables rules")

    def _next_epoch(self, changes: tuple[Change, ...]) -> int:
        tables = [c.new.table for c in changes if isinstance(c.new, PacketFilter)]
        loaded = [found for t in tables if (found := self._load(t)) is not None]
        return max((one.epoch for one in loaded), default=0) % LAST_EPOCH + EPOCH

    async def _forget(self, epoch: int) -> None:
        """Let the kernel forget the connections that carry `epoch`, from a whole turn ago.

        A kernel without ctnetlink cannot be asked. The filter is loaded all the same: to be
        wrong, a connection must be as old as 254 loads and must have been silent since.
        """
        body = bytes(4) + b"".join(
            attribute(kind, value.to_bytes(4, "big"))
            for kind, value in ((CONNECTION_MARK, epoch), (CONNECTION_MARK_MASK, EPOCH_MASK))
        )
        request = Request(DELETE_CONNECTIONS, 0, body, "connections of an old epoch")
        try:
            await self._netlink.run(lambda: self._netlink.netfilter.write([request]))
        except OSError as error:
            if error.errno not in NO_CONNTRACK:
                raise
            self._notices = (Notice("filter-cannot-forget", _CANNOT_FORGET),)
        else:
            self._notices = ()

    async def _list(self, table: str) -> str | None:
        """Return the table without counters, as nft prints it; None when there is none."""
        try:
            return await self._nft("", "--stateless", "list", "table", "inet", table)
        except FileNotFoundError:
            return None

    async def _nft(self, script: str, *arguments: str) -> str:
        return await run_nft(script, *arguments, program=self._program)

    # --- the file -----------------------------------------------------------------

    def _path(self, table: str) -> Path:
        return self._directory / f"nftables-{table}.loaded"

    def _load(self, table: str) -> _Loaded | None:
        """Return what was loaded last; None when nobody knows, which costs one load."""
        if table in self._loaded:
            return self._loaded[table]
        try:
            head, _, text = self._path(table).read_text("utf-8").partition("\n")
            digest, epoch = head.split()
            return _Loaded(text, digest, int(epoch, 16))
        except (FileNotFoundError, ValueError):  # of ours, but cut short or of another version
            return None

    def _save(self, table: str, loaded: _Loaded) -> None:
        """Write the file whole or not at all."""
        self._loaded[table] = loaded
        path = self._path(table)
        temporary = path.with_suffix(".new")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(f"{loaded.digest} {loaded.epoch:x}\n{loaded.text}")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def _digest(listing: str) -> str:
    return hashlib.sha256(listing.encode()).hexdigest()
