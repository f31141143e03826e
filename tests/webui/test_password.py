"""Changing the password: who may, and what happens to those who are signed in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.webui.conftest import PASSWORD, WRONG, Clock, Page

OTHER = "another horse"  # opens nothing


def change(page: Page, current: str = PASSWORD, new: str = OTHER, again: str | None = None) -> int:
    again = new if again is None else again
    return page.send("/password", current=current, password=new, again=again).status_code


def test_a_changed_password_counts_and_the_old_one_does_not(
    inside: Page, browse: Callable[[], Page]
) -> None:
    answer = inside.send("/password", current=PASSWORD, password=OTHER, again=OTHER)

    assert answer.location == "/password"
    assert "The password is changed." in inside.get("/password").text
    assert browse().send("/sign-in", password=PASSWORD).status_code == 403
    assert browse().send("/sign-in", password=OTHER).location == "/"
    assert (inside.state / "password").stat().st_mode & 0o777 == 0o600


def test_a_change_signs_out_every_other_browser(inside: Page) -> None:
    other = Page(inside.app, inside.state)
    other.send("/sign-in", password=PASSWORD)
    before = other.get("/").status_code
    cookie = inside.client.get_cookie("gatepost_session")
    change(inside)
    thief = Page(inside.app, inside.state)
    assert cookie
    thief.client.set_cookie("gatepost_session", cookie.value)

    assert before == 200
    assert other.get("/").location == "/sign-in"
    assert thief.get("/").location == "/sign-in"
    assert inside.get("/").status_code == 200


@pytest.mark.parametrize(
    ("current", "new", "again", "complaint"),
    [
        (WRONG, OTHER, OTHER, "That is not the password now."),
        ("x" * 300, OTHER, OTHER, "That is not the password now."),
        (PASSWORD, "short", "short", "10 to 256 characters"),
        (PASSWORD, OTHER, "else", "The two passwords differ."),
        (PASSWORD, PASSWORD, PASSWORD, "The new password is the one you have."),
    ],
)
def test_an_unfit_change_is_refused_and_changes_nothing(
    inside: Page, current: str, new: str, again: str, complaint: str
) -> None:
    answer = inside.send("/password", current=current, password=new, again=again)

    assert answer.status_code == 400
    assert complaint in answer.text
    assert inside.get("/").status_code == 200
    fresh = Page(inside.app, inside.state)
    assert fresh.send("/sign-in", password=PASSWORD).location == "/"


def test_a_browser_left_open_is_no_way_to_guess_the_password(inside: Page, clock: Clock) -> None:
    guesses = [change(inside, WRONG) for _ in range(6)]
    right = change(inside)
    clock.at += 3

    assert guesses == [400, 400, 400, 400, 400, 429]
    assert right == 429
    assert change(inside) == 302
