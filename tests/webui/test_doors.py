"""Who gets in: first use, passwords, sessions, forged forms, guessing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.webui.conftest import PASSWORD, WRONG, Clock, Page

from gatepost.errors import SettingsError, StateError
from gatepost_webui.config import WebConfig, read_config
from gatepost_webui.limiter import MOST, Limiter
from gatepost_webui.passwords import Passwords
from gatepost_webui.sessions import LIFETIME, Sessions
from gatepost_webui.sessions import MOST as MOST_SESSIONS

PAGES = ("/", "/routes", "/plugins", "/plugins/subnet-router", "/password")
FORMS = ("/up", "/down", "/routes", "/plugins/subnet-router", "/password", "/sign-out")


@pytest.mark.parametrize("path", PAGES)
def test_a_fresh_box_asks_for_a_password_first(page: Page, path: str) -> None:
    assert page.get(path).location == "/setup"


@pytest.mark.parametrize("path", PAGES)
def test_a_stranger_sees_only_the_sign_in(
    page: Page, browse: Callable[[], Page], path: str
) -> None:
    page.set_up()

    assert browse().get(path).location == "/sign-in"


def test_the_first_password_needs_the_code_from_the_box(page: Page) -> None:
    answer = page.send("/setup", code="aaaa-bbbb-cccc-dddd", password=PASSWORD, again=PASSWORD)

    assert answer.status_code == 400
    assert "That is not the setup code" in answer.text
    assert "sudo gatepost web-setup-code" in answer.text
    assert page.get("/").location == "/setup"


def test_the_code_is_readable_by_its_owner_only_and_dies_with_its_use(page: Page) -> None:
    code = page.state / "setup-code"
    assert code.stat().st_mode & 0o777 == 0o600
    assert page.set_up().location == "/"

    assert not code.exists()
    assert (page.state / "password").stat().st_mode & 0o777 == 0o600
    assert (page.state / "password").read_text().startswith("$argon2id$")


def test_the_first_password_is_set_only_once(page: Page, browse: Callable[[], Page]) -> None:
    late = browse()
    token, code = late.token("/setup"), page.code()
    page.set_up()
    answer = late.post("/setup", csrf_token=token, code=code, password="x" * 10, again="x" * 10)

    assert answer.location == "/sign-in"
    assert browse().send("/sign-in", password=PASSWORD).location == "/"


@pytest.mark.parametrize(
    ("password", "again", "complaint"),
    [
        ("short", "short", "10 to 256 characters"),
        ("x" * 257, "x" * 257, "10 to 256 characters"),
        (PASSWORD, "another", "The two passwords differ"),
    ],
)
def test_an_unfit_first_password_is_refused(
    page: Page, password: str, again: str, complaint: str
) -> None:
    answer = page.send("/setup", code=page.code(), password=password, again=again)

    assert answer.status_code == 400
    assert complaint in answer.text
    assert page.set_up().location == "/"


def test_the_password_outlives_a_restart(page: Page, browse: Callable[[], Page]) -> None:
    page.set_up()
    again = browse()

    assert again.send("/sign-in", password=WRONG).status_code == 403
    assert again.send("/sign-in", password=PASSWORD).location == "/"


@pytest.mark.usefixtures("daemon")
def test_a_session_outlives_a_restart(inside: Page, browse: Callable[[], Page]) -> None:
    cookie = inside.client.get_cookie("gatepost_session")
    assert cookie
    again = browse()
    again.client.set_cookie("gatepost_session", cookie.value)

    assert again.get("/").status_code == 200


def test_signing_out_ends_the_session_for_a_copied_cookie_too(
    inside: Page, browse: Callable[[], Page]
) -> None:
    cookie = inside.client.get_cookie("gatepost_session")
    assert cookie
    assert inside.send("/sign-out").location == "/sign-in"
    thief = browse()
    thief.client.set_cookie("gatepost_session", cookie.value)

    assert thief.get("/").location == "/sign-in"
    assert inside.get("/").location == "/sign-in"


def test_a_session_ends_after_its_lifetime(inside: Page, clock: Clock) -> None:
    clock.at += LIFETIME - 1
    before = inside.get("/").status_code
    clock.at += 2

    assert before == 200
    assert inside.get("/").location == "/sign-in"


def test_the_oldest_of_too_many_sessions_ends(config: WebConfig) -> None:
    sessions = Sessions(config.state)
    tokens = [sessions.open(float(now)) for now in range(MOST_SESSIONS + 1)]

    assert not sessions.is_open(tokens[0], 100.0)
    assert all(sessions.is_open(token, 100.0) for token in tokens[1:])


def test_the_stored_sessions_are_no_use_to_who_reads_them(config: WebConfig) -> None:
    token = Sessions(config.state).open(1.0)

    assert token not in (config.state / "sessions").read_text()


def test_a_damaged_session_file_signs_everybody_out(config: WebConfig) -> None:
    token = Sessions(config.state).open(1.0)
    (config.state / "sessions").write_bytes(b'{"a":')

    assert not Sessions(config.state).is_open(token, 1.0)


def test_a_damaged_password_lets_nobody_in_and_says_so(config: WebConfig) -> None:
    (config.state / "password").write_bytes(b"$argon2id$broken")

    with pytest.raises(StateError, match="damaged"):
        Passwords(config.state).verify(PASSWORD)


@pytest.mark.parametrize("path", FORMS)
def test_a_form_from_elsewhere_is_refused(inside: Page, path: str) -> None:
    for values in ({}, {"csrf_token": ""}, {"csrf_token": "x" * 32}, {"csrf_token": "é"}):
        answer = inside.post(path, **values)
        assert answer.status_code == 400
        assert "The form is too old or comes from another page" in answer.text
    assert inside.get("/").status_code == 200


@pytest.mark.parametrize("path", ["/sign-in", "/setup"])
def test_the_doors_refuse_forged_forms_too(page: Page, path: str) -> None:
    assert page.post(path, password=PASSWORD).status_code == 400


def test_signing_in_changes_the_token(page: Page, browse: Callable[[], Page]) -> None:
    page.set_up()
    fresh = browse()
    before = fresh.token("/sign-in")
    fresh.post("/sign-in", csrf_token=before, password=PASSWORD)

    assert fresh.post("/sign-out", csrf_token=before).status_code == 400


def test_the_cookie_is_kept_from_scripts_and_other_sites(page: Page) -> None:
    cookie = page.get("/setup").headers["Set-Cookie"]

    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Secure" not in cookie


def test_over_tls_the_cookie_is_secure() -> None:
    environment = {"GATEPOST_WEB_CERTIFICATE": "/c.pem", "GATEPOST_WEB_KEY": "/k.pem"}

    assert read_config(environment).secure


def guess(page: Page, address: str = "192.0.2.1") -> int:
    return page.send("/sign-in", address, password=WRONG).status_code


def test_guessing_gets_slower_and_slower(page: Page, clock: Clock) -> None:
    page.set_up()
    stranger = Page(page.app, page.state)
    first = [guess(stranger) for _ in range(6)]
    clock.at += 2.5
    second = [guess(stranger) for _ in range(2)]
    clock.at += 2.5
    third = guess(stranger)

    assert first == [403, 403, 403, 403, 403, 429]
    assert second == [403, 429]
    assert third == 429


def test_a_slowed_guesser_is_told_how_long_and_the_right_password_waits_too(page: Page) -> None:
    page.set_up()
    stranger = Page(page.app, page.state)
    for _ in range(5):
        guess(stranger)
    answer = stranger.send("/sign-in", "192.0.2.1", password=PASSWORD)

    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "2"
    assert "Try again in 2 s" in answer.text


def test_others_are_not_slowed_by_a_guesser(page: Page) -> None:
    page.set_up()
    stranger = Page(page.app, page.state)
    for _ in range(6):
        guess(stranger)

    assert stranger.send("/sign-in", "192.0.2.2", password=PASSWORD).location == "/"


def test_the_setup_code_cannot_be_guessed_quickly(page: Page) -> None:
    codes = [
        page.send("/setup", "192.0.2.1", code=f"{n}", password=PASSWORD, again=PASSWORD).status_code
        for n in range(6)
    ]

    assert codes == [400, 400, 400, 400, 400, 429]


def test_a_household_counts_as_one_guesser() -> None:
    limiter = Limiter()
    for host in range(6):
        limiter.on_wrong(f"2001:db8::{host}", 0.0)

    assert limiter.wait("2001:db8::ffff", 0.0) > 0
    assert limiter.wait("2001:db8:0:1::1", 0.0) == 0
    assert limiter.wait("::ffff:192.0.2.1", 0.0) == 0


def test_the_wait_is_bounded_and_forgotten() -> None:
    limiter = Limiter()
    for _ in range(100):
        limiter.on_wrong("192.0.2.1", 0.0)
    longest = limiter.wait("192.0.2.1", 0.0)
    limiter.on_wrong("192.0.2.1", 7200.0)

    assert longest == 900.0
    assert limiter.wait("192.0.2.1", 7200.0) == 0


def test_many_addresses_cost_bounded_memory() -> None:
    limiter = Limiter()
    for number in range(MOST * 3):
        limiter.on_wrong(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)

    assert len(limiter) == MOST


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("0.0.0.0:8088", "the internet may reach"),
        ("[::]:8088", "the internet may reach"),
        ("8.8.8.8:80", "the internet may reach"),
        ("192.168.1.1", "has no port"),
        ("router.lan:80", "is no address and port"),
        ("192.168.1.1:99999", "is no address and port"),
        (" , ", "is empty"),
    ],
)
def test_an_address_that_should_not_be_listened_on_is_refused(word: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        read_config({"GATEPOST_WEB_BIND": word})


def test_inner_addresses_are_fine_and_public_ones_when_asked() -> None:
    inner = "127.0.0.1:1, 192.168.1.1:2 [fd00::1]:3 100.64.0.1:4"

    assert len(read_config({"GATEPOST_WEB_BIND": inner}).bind) == 4
    asked = {"GATEPOST_WEB_BIND": "0.0.0.0:80", "GATEPOST_WEB_PUBLIC": "yes"}
    assert read_config(asked).bind == ("0.0.0.0:80",)
    assert read_config({}).bind == ("127.0.0.1:8088",)


def test_half_of_a_certificate_is_refused() -> None:
    with pytest.raises(SettingsError, match="belong together"):
        read_config({"GATEPOST_WEB_KEY": "/k.pem"})
