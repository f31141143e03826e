"""Typed access to the members of a HuJSON object, with refusals that know their place.

Names are compared without regard to case, as Go's decoder does, and a name that
nobody asked for is refused: a rule that is ignored opens or closes the wrong door.
`null` is the same as leaving the member out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from gatepost.policy.hujson import (
    Items,
    Json,
    Member,
    Members,
    Nothing,
    Number,
    Text,
    Truth,
    kind_of,
)
from gatepost.policy.refusal import Complaints, PolicyRefusedError, listed, refuse
from gatepost.policy.selectors import Place

T = TypeVar("T")
V = TypeVar("V")


class Fields:
    """One object of the policy. `known` are the names it may have, in their usual spelling.

    A name that begins with `notes`, if that is not "", is skipped.
    """

    def __init__(self, value: Json, known: Sequence[str], what: str, *, notes: str = "") -> None:
        if not isinstance(value, Members):
            raise refuse(f"{what} must be an object, not {kind_of(value)}", value.place)
        self.place = value.place
        self._members: dict[str, Member] = {}
        spelling = {name.lower(): name for name in known}
        for member in value.members:
            if notes and member.name.text.startswith(notes):
                continue
            name = spelling.get(member.name.text.lower())
            if name is None:
                raise refuse(
                    f'unknown field: "{member.name.text}"',
                    member.name.place,
                    f"{what} has {listed(known)}",
                )
            if name in self._members:
                raise refuse(f'duplicate key "{member.name.text}"', member.name.place)
            self._members[name] = member

    def get(self, name: str) -> Json | None:
        member = self._members.get(name)
        if member is None or isinstance(member.value, Nothing):
            return None
        return member.value

    def place_of(self, name: str) -> Place:
        """Return where the value stands, or the object if it is not there."""
        member = self._members.get(name)
        return self.place if member is None else member.value.place

    def text(self, name: str) -> str:
        """Return a string without space around it; "" if it is not there."""
        value = self.get(name)
        return "" if value is None else text_of(value, name).text.strip()

    def flag(self, name: str) -> bool:
        value = self.get(name)
        if value is None:
            return False
        if not isinstance(value, Truth):
            raise refuse(f'"{name}" must be true or false, not {kind_of(value)}', value.place)
        return value.truth

    def items(self, name: str) -> tuple[Json, ...]:
        value = self.get(name)
        if value is None:
            return ()
        if not isinstance(value, Items):
            raise refuse(
                f'"{name}" must be an array, not {kind_of(value)}', value.place, "write [...]"
            )
        return value.items

    def texts(self, name: str) -> tuple[Text, ...]:
        return tuple(text_of(item, f"an element of {name}") for item in self.items(name))

    def words(self, name: str) -> tuple[str, ...]:
        """Return the strings without space around them."""
        return tuple(text.text.strip() for text in self.texts(name))

    def members(self, name: str) -> tuple[Member, ...]:
        value = self.get(name)
        return () if value is None else members_of(value, name)


def members_of(value: Json, what: str) -> tuple[Member, ...]:
    if not isinstance(value, Members):
        raise refuse(f'"{what}" must be an object, not {kind_of(value)}', value.place)
    return value.members


def text_of(value: Json, what: str) -> Text:
    if not isinstance(value, Text):
        hint = "put it in quotes" if isinstance(value, Number | Truth) else ""
        raise refuse(f"{what} must be a string, not {kind_of(value)}", value.place, hint)
    return value


def each(values: Sequence[V], make: Callable[[V], T], complaints: Complaints) -> Iterator[T]:
    """Make a thing of each value; what cannot be made is a complaint, and the rest goes on."""
    for value in values:
        try:
            yield make(value)
        except PolicyRefusedError as refusal:
            complaints.take(refusal)
