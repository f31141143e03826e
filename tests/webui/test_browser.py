"""The pages in Chromium, served by gunicorn as on a box."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from tests.webui.conftest import PASSWORD

from gatepost.testing.fake_node import FakeNode
from gatepost_webui.config import WebConfig

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

_PATIENCE = 20.0  # seconds
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --window-size=1200,900"
)


def free_port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def url(config: WebConfig, daemon: FakeNode) -> Generator[str]:
    """Run the web program as its unit does."""
    assert daemon.state == "Running"
    port = free_port()
    environment = {
        **os.environ,
        "GATEPOST_SOCKET": str(config.socket),
        "GATEPOST_WEB_STATE": str(config.state),
        "GATEPOST_WEB_BIND": f"127.0.0.1:{port}",
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "python:gatepost_webui.gunicorn_conf"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr
            assert any("Booting worker" in line for line in server.stderr)  # reads up to that line
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


class Browser:
    """What somebody at the page does: reads, fills, presses."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, path: str) -> None:
        self.driver.get(self.url + path)

    def text(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "body").text

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def fill(self, selector: str, text: str) -> None:
        self.find(selector).clear()
        self.find(selector).send_keys(text)

    def press(self, selector: str) -> None:
        """Press a button and wait until the page after it is there."""
        button = self.find(selector)
        old = self.find("html").id
        button.click()
        self.until(lambda: self.find("html").id != old)

    def until(self, check: Callable[[], bool]) -> None:
        WebDriverWait(self.driver, _PATIENCE, 0.1).until(lambda _driver: check())

    def style(self, selector: str, name: str) -> str:
        script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
        return str(self.driver.execute_script(script, selector, name))  # pyright: ignore[reportUnknownMemberType]  # selenium

    def resize(self, width: int) -> None:
        """Look through a window of this width."""
        self.driver.execute_cdp_cmd(  # pyright: ignore[reportUnknownMemberType]  # selenium's dict
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": width < 500},
        )

    def ask(self, expression: str) -> object:
        """Return what an expression is worth in the page."""
        answer: object = self.driver.execute_script(f"return {expression}")  # pyright: ignore[reportUnknownMemberType]  # selenium
        return answer

    def complaints(self) -> list[str]:
        """Return what the browser logged: refused scripts, failed loads."""
        log: list[dict[str, str]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]  # selenium has no types here
        return [entry["message"] for entry in log]

    def set_up(self, code: str) -> None:
        self.open("/")
        self.fill("#code", code)
        self.fill("#password", PASSWORD)
        self.fill("#again", PASSWORD)
        self.press("button.main")


@pytest.fixture
def browser(url: str, tmp_path: Path) -> Generator[Browser]:
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS.split(), f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    driver.set_page_load_timeout(_PATIENCE)
    try:
        yield Browser(driver, url)
    finally:
        driver.quit()


@pytest.fixture
def inside(browser: Browser, config: WebConfig) -> Browser:
    browser.open("/")  # is answered when the program has made its setup code
    browser.set_up((config.state / "setup-code").read_text())
    assert "Running" in browser.text()
    return browser


def test_from_the_first_password_to_signing_out_and_in_again(inside: Browser) -> None:
    inside.press(".top form button")
    assert inside.driver.current_url.endswith("/sign-in")
    inside.fill("#password", "something else")
    inside.press("button.main")
    assert "That is not the password." in inside.text()
    inside.fill("#password", PASSWORD)
    inside.press("button.main")

    assert "Running" in inside.text()


def test_the_password_is_changed_and_counts_from_then_on(inside: Browser) -> None:
    inside.press(".account a")
    inside.fill("#current", PASSWORD)
    inside.fill("#password", "another horse")
    inside.fill("#again", "another horse")
    inside.press("button.main")
    assert "The password is changed." in inside.text()
    inside.press(".top form button")
    inside.fill("#password", "another horse")
    inside.press("button.main")

    assert "Running" in inside.text()


def test_every_page_loads_without_a_complaint_of_the_browser(inside: Browser) -> None:
    for path in ("/", "/routes", "/plugins", "/plugins/subnet-router", "/password"):
        inside.open(path)

    assert inside.complaints() == []
    assert inside.style(".card", "border-radius") == "16px"


def test_the_status_page_refreshes_itself(inside: Browser, node: FakeNode) -> None:
    assert "site-9" not in inside.text()
    node.peers = ()

    inside.until(lambda: "No peers yet" in inside.text())


def test_a_box_is_taken_down_and_its_page_says_so(inside: Browser, node: FakeNode) -> None:
    inside.press(".head button")

    assert node.state == "Stopped"
    assert "Stopped" in inside.text()
    assert inside.find(".head button").text == "Bring up"


def test_a_plugins_form_is_filled_and_saved(inside: Browser, node: FakeNode) -> None:
    inside.open("/plugins/subnet-router")
    inside.find("[name=enabled]").click()
    inside.fill("#setting-networks", "10.1.0.0/16")
    inside.press("button.main")

    assert "Saved." in inside.text()
    assert node.installed["subnet-router"].enabled
    assert node.installed["subnet-router"].fields[0].value == ("10.1.0.0/16",)


@pytest.mark.parametrize("width", [1280, 390])
def test_found_networks_stand_on_one_line_each_apart_from_the_form(
    inside: Browser, width: int
) -> None:
    inside.resize(width)
    inside.open("/routes")
    lines = inside.ask(
        "[...document.querySelectorAll('.rows code')].map(c => c.getClientRects().length)"
    )
    bottom = inside.ask("document.querySelector('form.stack').getBoundingClientRect().bottom")
    below = inside.ask("document.querySelector('form.stack + h2').getBoundingClientRect().top")

    assert lines == [1, 1, 1]
    assert isinstance(bottom, float | int)
    assert isinstance(below, float | int)
    assert below - bottom >= 16


def test_no_page_is_wider_than_a_telephone(inside: Browser) -> None:
    inside.resize(360)
    widths: dict[str, int] = {}
    for path in ("/", "/routes", "/plugins", "/plugins/subnet-router", "/password"):
        inside.open(path)
        widths[path] = int(inside.find("html").get_property("scrollWidth"))  # type: ignore[arg-type]  # a number here

    assert {path: width for path, width in widths.items() if width > 360} == {}


def test_another_site_cannot_send_its_forms(inside: Browser, node: FakeNode) -> None:
    forged = f"data:text/html,<form method=post action={inside.url}/down><button>x</button></form>"
    inside.driver.get(forged)
    inside.find("button").click()
    inside.until(lambda: "comes from another page" in inside.text())

    assert node.state == "Running"
