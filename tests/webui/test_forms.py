"""A form of a plugin and what is sent of it."""

from __future__ import annotations

from gatepost.model.status import FieldDocument, PluginDocument
from gatepost_webui.forms import make_inputs, read_form

ROUTERS = ("10.1.0.9 as 65002", "10.1.0.8 as 65003")
PLUGIN = PluginDocument(
    name="dynamic-routing",
    title="Dynamic routing",
    summary="",
    enabled=True,
    fields=(FieldDocument(name="neighbours", kind="list", default=(), value=ROUTERS),),
)


def test_items_of_a_list_keep_their_blanks() -> None:
    (shown,) = make_inputs(PLUGIN)
    sent = {"enabled": "on", "setting-neighbours": shown.text}

    assert read_form(PLUGIN, sent)[0].settings is None
    sent["setting-neighbours"] = "10.1.0.9 as 1\r\n\r\n 10.1.0.7 as 2 , 10.1.0.6 as 3"
    wanted = {"neighbours": ["10.1.0.9 as 1", "10.1.0.7 as 2", "10.1.0.6 as 3"]}
    assert read_form(PLUGIN, sent)[0].settings == wanted
