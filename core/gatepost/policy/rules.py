"""Rules as the compiler knows them: every ACL and grant is one `Rule`.

A rule says who (`sources`), where to (`openings`: which way in, over which
protocol, to which ports), with which capabilities (`app`), and through whom
(`via`). Machines are bits (`gatepost.policy.directory`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType

from gatepost.policy.directory import Machines
from gatepost.policy.document import Ports
from gatepost.policy.intervals import NO_ADDRESSES, Intervals
from gatepost.policy.selectors import Place, Selector


class Kind(Enum):
    """How a destination is delivered."""

    NAMED = auto()  # to each machine's own addresses
    WRITTEN = auto()  # as written, to whoever has or carries such an address
    ANYTHING = auto()  # "*": to everybody, and everything behind them
    SELF = auto()  # to each person's own machines
    INTERNET = auto()  # to exit nodes, and to connectors for apps


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Who may send.

    `named` and `texts` make the list that filters carry; `senders` are the
    machines that have such an address, `carriers` those with a subnet of them.
    `members` are the users of `autogroup:self` rules.
    """

    named: Machines = 0
    texts: tuple[str, ...] = ()
    addresses: Intervals = NO_ADDRESSES
    senders: Machines = 0
    carriers: Machines = 0

    @property
    def all(self) -> Machines:
        """The machines that packets from these sources may come from."""
        return self.senders | self.carriers

    def __bool__(self) -> bool:
        return bool(self.senders or self.texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One destination. `machines` are those that must let it in, `owners` by their own address."""

    kind: Kind
    machines: Machines = 0
    owners: Machines = 0
    addresses: Intervals = NO_ADDRESSES
    texts: tuple[str, ...] = ()
    selector: Selector = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """`protocol` None: TCP, UDP and ICMP."""

    target: Target
    protocol: int | None = None
    ports: tuple[Ports, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`via` None: no matter through whom. `names` are the sources as written.

    `receivers` are the machines whose filter has a part of this rule,
    `autogroup:self` left out.
    """

    sources: Sources
    openings: tuple[Opening, ...] = ()
    app: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    app_targets: tuple[Target, ...] = ()
    via: Machines | None = None
    key: str = ""  # the same for rules whose filters can be joined
    names: tuple[Selector, ...] = field(default=(), compare=False)
    section: str = field(default="acls", compare=False)
    number: int = field(default=0, compare=False)  # in its section, from 0
    place: Place = field(default=Place(), compare=False)
    targets: tuple[Target, ...] = field(init=False, compare=False)
    receivers: Machines = field(init=False, compare=False)
    is_about_self: bool = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Work out once what is asked for often."""
        by_identity = {id(o.target): o.target for o in self.openings}  # hashing them is slow
        targets = (*by_identity.values(), *self.app_targets)
        receivers = 0
        for target in targets:
            receivers |= 0 if target.kind is Kind.SELF else target.machines
        object.__setattr__(self, "targets", targets)
        object.__setattr__(self, "receivers", receivers)
        object.__setattr__(self, "is_about_self", any(t.kind is Kind.SELF for t in targets))

    @property
    def place_in_policy(self) -> tuple[str, int]:
        return self.section, self.number
