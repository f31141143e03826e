"""What the pages show and change."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace
from tests.webui.conftest import Clock, Page

from gatepost.model.status import NoticeDocument
from gatepost.testing.fake_node import AUTH_URL, FakeNode
from gatepost_webui.config import WebConfig

PAGES = (
    "/",
    "/peers/far",
    "/peers/nobody",
    "/routes",
    "/plugins",
    "/plugins/subnet-router",
    "/plugins/none",
    "/providers",
    "/password",
    "/nowhere",
)


@pytest.mark.parametrize("path", [*PAGES, "/sign-in", "/setup", "/static/gatepost.css"])
def test_every_answer_has_its_safety_headers(inside: Page, path: str) -> None:
    with inside.get(path) as answer:
        headers = answer.headers
    policy = headers["Content-Security-Policy"]

    assert policy.startswith("default-src 'self'; ")
    assert "unsafe" not in policy
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert ("no-store" in headers["Cache-Control"]) == (not path.startswith("/static"))


@pytest.mark.parametrize("path", PAGES)
def test_no_page_needs_inline_script_or_style(inside: Page, path: str) -> None:
    text = inside.get(path).text

    assert "<style" not in text
    assert " style=" not in text
    assert not re.search(r"\son[a-z]+=", text)
    assert re.findall(r"<script([^>]*)>", text) in (
        [],
        [' src="/static/refresh.js" defer'],
    )


def test_status_shows_this_box_and_its_peers(inside: Page, node: FakeNode, clock: Clock) -> None:
    far = replace(node.peers[0], last_handshake=clock.at - 5)
    node.peers = (far, *node.peers[1:])
    text = inside.get("/").text

    for word in ("gate", "Running", "100.64.0.1", "wireguard-go", "https://mesh.example", "lab"):
        assert word in text
    assert "direct 192.0.2.7:41641" in text
    assert "1.5 KiB" in text
    assert "offline" in text


def test_a_peer_has_a_page_that_says_how_it_is_reached(inside: Page) -> None:
    assert 'href="/peers/far.mesh.example"' in inside.get("/").text
    text = inside.get("/peers/far").text

    assert "far is reached directly at 192.0.2.7:41641." in text
    assert "There is nothing to fix." in text
    assert "<code>192.0.2.7:41641</code>" in text


def test_the_page_of_a_peer_says_what_would_help(inside: Page) -> None:
    text = inside.get("/peers/away").text

    assert "away is not there." in text
    assert "To fix: Wait." in text


def test_there_is_no_page_for_nobody(inside: Page) -> None:
    assert inside.get("/peers/nobody").status_code == 404


def test_peers_are_found_by_what_is_known_of_them(inside: Page) -> None:
    assert ">far<" in inside.get("/?q=10.9").text
    assert ">away<" not in inside.get("/?q=10.9").text
    assert "No peer matches “nobody”" in inside.get("/?q=nobody").text


def test_only_names_of_our_own_network_are_short(inside: Page, node: FakeNode) -> None:
    node.domain = "198.51.100.22"
    node.peers = (node.peers[0], replace(node.peers[1], name="away.other.example"))

    for path in ("/", "/routes"):
        assert ">far<" in inside.get(path).text
    assert ">away.other.example<" in inside.get("/").text
    assert "<title>gate " in inside.get("/").text


def test_what_comes_from_others_is_escaped(inside: Page, node: FakeNode) -> None:
    evil = "<script>alert(1)</script>"
    node.peers = (replace(node.peers[0], operating_system=evil, user=evil),)
    node.notices = (NoticeDocument(code="x", text=evil),)

    assert evil not in inside.get("/").text
    assert evil not in inside.get(f"/?q={evil}").text
    assert "&lt;script&gt;" in inside.get("/").text


def test_notices_are_shown(inside: Page, node: FakeNode) -> None:
    node.notices = (NoticeDocument(code="x", text="Two sites offer it.", level="warning"),)

    assert "Two sites offer it." in inside.get("/").text


def test_a_command_in_a_notice_is_shown_as_one_and_escaped(inside: Page, node: FakeNode) -> None:
    node.notices = (NoticeDocument(code="x", text="use `gatepost up <b>` & see"),)

    assert "use <code>gatepost up &lt;b&gt;</code> &amp; see" in inside.get("/").text


@pytest.mark.parametrize(
    ("path", "of"), [("/peers/far", "Status"), ("/providers", "Plugins"), ("/routes", "Networks")]
)
def test_every_page_says_where_it_belongs(inside: Page, path: str, of: str) -> None:
    assert f'aria-current="page">{of}</a>' in inside.get(path).text


def test_a_box_that_is_not_signed_in_shows_where_to(inside: Page, node: FakeNode) -> None:
    node.state, node.auth_url, node.approved_at = "NeedsLogin", AUTH_URL, 10**9

    assert f'href="{AUTH_URL}"' in inside.get("/").text
    node.auth_url = ""
    assert "gatepost up" in inside.get("/").text


def test_down_and_up_do_as_they_say(inside: Page, node: FakeNode) -> None:
    node.approved = ("10.1.0.0/16",)  # known to the server: up needs no sign-in
    assert inside.send("/down").location == "/"
    stopped = node.state
    assert "Bring up" in inside.get("/").text
    assert inside.send("/up").location == "/"

    assert (stopped, node.state) == ("Stopped", "Running")


@pytest.mark.parametrize("address", ["100.64.0.9", "fd7a:115c:a1e0::9"])
def test_who_comes_through_the_mesh_is_asked_before_it_goes_down(
    inside: Page, node: FakeNode, address: str
) -> None:
    asked = inside.send("/down", address)
    before = node.state
    inside.send("/down", address, sure="yes")

    assert "You look at this page through the mesh" in asked.text
    assert (before, node.state) == ("Running", "Stopped")


def test_networks_make_the_round_trip(inside: Page, node: FakeNode) -> None:
    node.approved = ("10.1.0.0/16",)
    networks = "10.1.0.0/16\nfd00:1::/64, 10.2.0.0/16"
    assert inside.send("/routes", networks=networks, accept="on").location == "/routes"

    assert node.options.advertise_routes == ("10.1.0.0/16", "fd00:1::/64", "10.2.0.0/16")
    assert node.options.accept_routes is True
    assert node.options.snat_subnet_routes is False
    text = inside.get("/routes").text
    assert text.count("waits for approval") == 2
    assert "10.9.0.0/16" in text


def test_a_found_network_is_shared_with_one_click(inside: Page, node: FakeNode) -> None:
    text = inside.get("/routes").text
    assert "another site has it too" in text
    assert text.count("<button>Share</button>") == 1
    assert inside.send("/routes/share", network="192.168.7.0/24").location == "/routes"

    assert node.options.advertise_routes == ("192.168.7.0/24",)


def test_a_click_on_nonsense_shares_nothing(inside: Page, node: FakeNode) -> None:
    assert inside.send("/routes/share", network="lan").status_code == 400
    assert node.options.advertise_routes == ()


@pytest.mark.parametrize(
    ("networks", "complaint"),
    [("10.1.2.3/16", "did you mean 10.1.0.0/16?"), ("lan", "is no network")],
)
def test_a_wrong_network_is_named_and_stays_in_the_form(
    inside: Page, node: FakeNode, networks: str, complaint: str
) -> None:
    answer = inside.send("/routes", networks=networks)

    assert answer.status_code == 400
    assert complaint in answer.text
    assert f">{networks}</textarea>" in answer.text
    assert node.options.advertise_routes == ()


def test_plugins_are_listed(inside: Page) -> None:
    text = inside.get("/plugins").text

    assert "Subnet router" in text
    assert "required" in text


def test_a_plugins_form_makes_the_round_trip(inside: Page, node: FakeNode) -> None:
    sent = {
        "enabled": "on",
        "setting-networks": "10.1.0.0/16\n10.2.0.0/16",
        "setting-metric": "7",
        "setting-mode": "careful",
    }
    assert inside.send("/plugins/subnet-router", **sent).location == "/plugins/subnet-router"
    plugin = node.installed["subnet-router"]
    text = inside.get("/plugins/subnet-router").text

    assert plugin.enabled
    assert {f.name: f.value for f in plugin.fields} == {
        "networks": ("10.1.0.0/16", "10.2.0.0/16"),
        "masquerade": False,
        "metric": 7,
        "mode": "careful",
    }
    assert "Saved." in text
    assert "10.1.0.0/16\n10.2.0.0/16</textarea>" in text
    assert "<option selected>careful</option>" in text
    assert 'value="7"' in text


def test_sending_a_form_back_as_it_came_changes_nothing(inside: Page, node: FakeNode) -> None:
    before = node.installed["subnet-router"]
    same = {"setting-masquerade": "on", "setting-metric": "0", "setting-mode": "fast"}
    inside.send("/plugins/subnet-router", **same)

    assert node.installed["subnet-router"] == before


def test_an_emptied_field_is_its_default_again(inside: Page, node: FakeNode) -> None:
    inside.send("/plugins/subnet-router", **{"setting-metric": "7", "setting-mode": "fast"})
    inside.send("/plugins/subnet-router", **{"setting-metric": "", "setting-mode": "fast"})

    assert node.installed["subnet-router"].fields[2].value == 0


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("setting-metric", "many", "&#39;many&#39; is no number"),
        ("setting-mode", "slow", "&#39;slow&#39; is none of fast, careful"),
        ("setting-networks", "bad", "&#39;bad&#39; is no network"),
    ],
)
def test_a_wrong_value_is_named_and_stays_in_the_form(
    inside: Page, node: FakeNode, name: str, value: str, complaint: str
) -> None:
    before = node.installed["subnet-router"]
    sent = {"setting-mode": "fast", "enabled": "on", name: value}
    answer = inside.send("/plugins/subnet-router", **sent)

    assert answer.status_code == 400
    assert complaint in answer.text
    assert node.installed["subnet-router"] == before


def test_a_required_plugin_cannot_be_switched_off(inside: Page, node: FakeNode) -> None:
    assert 'name="enabled"' not in inside.get("/plugins/mesh").text
    assert inside.send("/plugins/mesh").location == "/plugins/mesh"
    assert node.installed["mesh"].enabled


def test_an_unknown_plugin_is_404(inside: Page) -> None:
    answer = inside.get("/plugins/none")

    assert answer.status_code == 404
    assert "none" in answer.text


def test_an_unknown_page_is_404(inside: Page) -> None:
    assert "There is no page /nowhere." in inside.get("/nowhere").text
    assert inside.get("/nowhere").status_code == 404


@pytest.mark.parametrize("path", ["/", "/routes", "/plugins"])
def test_without_the_node_the_page_says_how_to_start_it(page: Page, path: str) -> None:
    page.set_up()
    answer = page.get(path)

    assert answer.status_code == 503
    assert "The node does not answer" in answer.text
    assert "sudo systemctl start gatepostd" in answer.text


def test_a_huge_form_is_refused(inside: Page) -> None:
    assert inside.post("/routes", networks="x" * 100_000).status_code == 413


@pytest.mark.usefixtures("daemon")
def test_the_page_has_no_secret_of_the_node(inside: Page, config: WebConfig) -> None:
    cookie = (config.state / "cookie-key").stat()

    assert cookie.st_mode & 0o777 == 0o600
    assert "auth_key" not in inside.get("/routes").text


def test_a_provider_is_imported_used_and_forgotten(inside: Page, node: FakeNode) -> None:
    assert "/providers" in inside.get("/plugins/exit-provider").text
    assert inside.send("/providers", name="rented", file="[Interface]").status_code == 302
    token = inside.token("/providers")
    inside.post("/providers/change", csrf_token=token, name="rented", what="use")
    text = inside.get("/providers").text

    assert node.installed["exit-provider"].enabled
    assert "in use, no answer yet" in text
    refused = inside.post("/providers/change", csrf_token=token, name="rented", what="remove")
    assert refused.status_code == 400
    inside.post("/providers/change", csrf_token=token, name="rented", what="off")
    inside.post("/providers/change", csrf_token=token, name="rented", what="remove")
    assert not node.imported


def test_a_provider_s_file_that_is_wrong_is_told_and_not_shown_again(inside: Page) -> None:
    answer = inside.send("/providers", name="rented", file="[Interface]\nsecret\nPostUp = x")

    assert answer.status_code == 400
    assert "line 3: PostUp" in answer.text
    assert "secret" not in answer.text
    assert 'value="rented"' in answer.text
