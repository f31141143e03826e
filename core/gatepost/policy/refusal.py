"""Why a policy is not taken: what stands where, and the way out; and what deserves a warning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gatepost.errors import SettingsError
from gatepost.policy.selectors import Place

_NOWHERE = Place()
FAILED = "test(s) failed"  # what Tailscale's API says when `tests` or `sshTests` do not hold


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `message` is in the words of Tailscale's API where it has any."""

    message: str
    place: Place = _NOWHERE
    hint: str = ""
    status: int = 400  # of Tailscale's API for it

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.place}: {self.message}{hint}"


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that is allowed and yet hardly meant, with a stable code for tools."""

    code: str
    message: str
    place: Place = _NOWHERE

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class PolicyRefusedError(SettingsError):
    """The policy cannot be taken. The text has every problem found with its way out, one a line."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems
        self.status = problems[0].status

    @property
    def message(self) -> str:
        """What is wrong first, without its place."""
        return self.problems[0].message

    @property
    def line(self) -> int:
        return self.problems[0].place.line

    @property
    def column(self) -> int:
        return self.problems[0].place.column


def refuse(message: str, place: Place, hint: str = "") -> PolicyRefusedError:
    """Return the refusal for a single problem, to be raised."""
    return PolicyRefusedError(Problem(message, place, hint))


@dataclass(slots=True)
class Complaints:
    """Gathers problems, so that a person hears of all at once."""

    problems: list[Problem]

    @classmethod
    def none(cls) -> Complaints:
        return cls([])

    def add(self, message: str, place: Place, hint: str = "", *, status: int = 400) -> None:
        problem = Problem(message, place, hint, status)
        if problem not in self.problems:
            self.problems.append(problem)

    def take(self, refusal: PolicyRefusedError) -> None:
        self.problems.extend(p for p in refusal.problems if p not in self.problems)

    def settle(self) -> None:
        """Raise `PolicyRefusedError` if there was any problem."""
        if self.problems:
            raise PolicyRefusedError(*self.problems)


def listed(words: Sequence[str]) -> str:
    """Return "a, b or c"."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else "nothing"
