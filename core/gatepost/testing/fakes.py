"""Stand-ins with behaviour: a kernel that keeps what it is told, and can refuse."""

from __future__ import annotations

from collections.abc import Iterable

from gatepost.model.resource import Change, Resource


class FakeKernel:
    """Holds one type of resource and remembers every write, in order.

    `broken` makes writes fail, `blind` makes reads fail, both with `OSError`.
    `turns` may be shared by several kernels: it lists "+Route" and "-Route"
    in the order in which they were written.
    """

    def __init__(
        self,
        kind: type[Resource],
        held: Iterable[Resource] = (),
        turns: list[str] | None = None,
    ) -> None:
        self.applies = kind
        self.held = {r.key: r for r in held}
        self.log: list[Change] = []
        self.reads = 0
        self.broken = False
        self.blind = False
        self._turns = turns if turns is not None else []

    async def read(self) -> frozenset[Resource]:
        self.reads += 1
        if self.blind:
            raise OSError("the fake kernel does not answer")
        return frozenset(self.held.values())

    async def write(self, changes: tuple[Change, ...]) -> None:
        if self.broken:
            raise OSError("the fake kernel refuses")
        for change in changes:
            self._write(change)

    def _write(self, change: Change) -> None:
        if change.new is None:
            if change.key not in self.held:
                raise OSError(f"{change.key} is not there")
            del self.held[change.key]
        else:
            self.held[change.key] = change.new
        self.log.append(change)
        self._turns.append(("-" if change.new is None else "+") + self.applies.__name__)
