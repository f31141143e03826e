"""What an administrator says about names is checked, kept, and told to every node."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.coordination.makers import MESH, NOW, make_node, make_world

from gatepost.coordination.database.store import Batch, Store
from gatepost.coordination.delta import Messages
from gatepost.coordination.name_settings import change_names, dns_config
from gatepost.coordination.records import PutNames, Records
from gatepost.errors import NotFoundError, SettingsError
from gatepost.model.admin_names import NamesDocument, NamesRequest
from gatepost.sessions.netmap_dns import parse_dns
from gatepost.wire.go_json import read_json, write_json
from gatepost.wire.netmap import DnsConfig, MapResponse, Resolver

DOMAIN = "mesh.example"
WHOLE = NamesRequest(
    nameservers=("192.0.2.53", "https://dns.example/dns-query@192.0.2.54"),
    search=("Corp.Example.",),
    routes={"corp.example": ("10.0.0.53",), "own.example": ()},
    records={"printer.mesh.example": ("10.0.0.9", "2001:db8::9")},
)


def changed(*wishes: NamesRequest) -> NamesDocument:
    """Return what holds after these wishes."""
    records = Records()
    for wish in wishes:
        records = records.after(change_names(records, wish, DOMAIN).edits)
    return records.names


def test_a_mesh_that_nobody_has_said_anything_about_has_names() -> None:
    said = dns_config(NamesDocument(), DOMAIN, {})

    assert write_json(said) == (
        b'{"Routes":{"mesh.example":[]},"Domains":["mesh.example"],"Proxied":true}'
    )


def test_nodes_are_told_all_of_it_as_the_official_clients_read_it() -> None:
    said = read_json(write_json(dns_config(changed(WHOLE), DOMAIN, {})), DnsConfig)
    assert said.extra_records

    assert said.resolvers == (
        Resolver(addr="192.0.2.53"),
        Resolver(addr="https://dns.example/dns-query", bootstrap_resolution=("192.0.2.54",)),
    )
    assert said.routes == {
        "corp.example": (Resolver(addr="10.0.0.53"),), "own.example": (), "mesh.example": (),
    }  # fmt: skip
    assert said.domains == ("mesh.example", "corp.example")
    assert [(r.name, r.type, r.value) for r in said.extra_records] == [
        ("printer.mesh.example", "", "10.0.0.9"),
        ("printer.mesh.example", "AAAA", "2001:db8::9"),
    ]


def test_our_own_nodes_understand_what_they_are_told() -> None:
    problems = dict[str, str]()
    read = parse_dns(dns_config(changed(WHOLE), DOMAIN, {}), problems.__setitem__)

    assert problems == {}
    assert [r.suffix for r in read.routes] == ["", "corp.example", "mesh.example", "own.example"]
    assert len(read.records) == 2


def test_servers_that_do_not_override_are_for_nodes_without_their_own() -> None:
    said = dns_config(changed(WHOLE, NamesRequest(override_local=False)), DOMAIN, {})

    assert said.resolvers is None
    assert said.fallback_resolvers
    assert len(said.fallback_resolvers) == 2


def test_without_names_nodes_still_ask_the_chosen_servers() -> None:
    said = dns_config(changed(WHOLE, NamesRequest(magic_dns=False)), DOMAIN, {})

    assert not said.proxied
    assert said.resolvers
    assert said.domains == ("corp.example",)
    assert DOMAIN not in (said.routes or {})


def test_what_an_administrator_says_goes_before_the_routes_of_apps() -> None:
    apps = {"corp.example": (Resolver(addr="a"),), "app.example": (Resolver(addr="b"),)}
    said = dns_config(changed(WHOLE), DOMAIN, apps).routes or {}

    assert said["corp.example"] == (Resolver(addr="10.0.0.53"),)
    assert said["app.example"] == apps["app.example"]


def test_one_route_and_one_record_go_and_the_rest_stays() -> None:
    less = NamesRequest(routes={"own.example": None}, records={"printer.mesh.example": None})
    names = changed(WHOLE, less)

    assert (dict(names.routes), dict(names.records)) == ({"corp.example": ("10.0.0.53",)}, {})
    assert names.search == ("corp.example",)


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (NamesRequest(nameservers=("dns.example",)), "'dns.example' is not a name server"),
        (NamesRequest(nameservers=("http://192.0.2.1/dns-query",)), "in the clear"),
        (NamesRequest(nameservers=tuple(f"192.0.2.{n}" for n in range(17))), "17 servers"),
        (NamesRequest(routes={"a..b": ("192.0.2.1",)}), "'a..b' is not a name"),
        (NamesRequest(routes={DOMAIN: ("192.0.2.1",)}), "the mesh's own"),
        (NamesRequest(records={"p.example": ("10.0.0.256",)}), "'10.0.0.256' is not an address"),
        (NamesRequest(records={"p.example": ("fe80::1%eth0",)}), "a zone means nothing"),
        (NamesRequest(records={"p.example": ()}), "needs 1 to 16 addresses"),
        (NamesRequest(search=("b ad",)), "'b ad' is not a name"),
        (NamesRequest(records={f"p{n}.e": ("10.0.0.1",) for n in range(1001)}), "1001 are over"),
    ],
)
def test_a_wrong_wish_changes_nothing_and_names_the_value(wish: NamesRequest, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        changed(wish)


def test_what_is_not_there_cannot_be_removed() -> None:
    with pytest.raises(NotFoundError, match=r"no route for corp\.example"):
        changed(NamesRequest(routes={"corp.example": None}))


def test_what_was_said_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "coordination.sqlite"
    store = Store(path)
    store.write(Batch(edits=[PutNames(changed(WHOLE))]))
    store.close()
    again = Store(path)
    records, _ = again.read()
    again.close()

    assert records.names == changed(WHOLE)


def test_every_node_is_told_of_a_change_and_of_nothing_else() -> None:
    old = make_world(make_node(1), make_node(2))
    new = old.with_records(old.records.after([PutNames(changed(WHOLE))]), {}, NOW)
    messages = Messages(MESH, lambda _world, _node: ())
    frame = messages.between(old, new, 1, new.nodes[1].record.key, "")
    told = read_json(frame[4:], MapResponse)
    again = messages.between(new, new, 1, new.nodes[1].record.key, "")

    assert told == MapResponse(dns_config=dns_config(changed(WHOLE), DOMAIN, {}))
    assert again == b""
