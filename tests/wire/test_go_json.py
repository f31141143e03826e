"""The promises of the control protocol's JSON: Go's names, Go's zeros, strict types."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed
from gatepost.model.keys import DiscoPublic, MachinePublic, NodePublic
from gatepost.wire.derp_map import DerpMap, DerpNode, DerpRegion, HomeParams
from gatepost.wire.go_json import Message, go_name, read_json, write_json
from gatepost.wire.hostinfo import Hostinfo, NetInfo, Service
from gatepost.wire.map_reader import read_map
from gatepost.wire.netmap import (
    CapGrant,
    FilterRule,
    MapNode,
    MapRequest,
    MapResponse,
    NetPortRange,
    PeerChange,
    PortRange,
    UserProfile,
)
from gatepost.wire.register import RegisterAuth, RegisterRequest, RegisterResponse, ServerKeys

KEY = NodePublic(bytes(range(32)))
HEX = bytes(range(32)).hex()
ZERO = "0001-01-01T00:00:00Z"
NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("home_derp", "HomeDERP"),
        ("allowed_ips", "AllowedIPs"),
        ("machine_authorized", "MachineAuthorized"),
        ("mapping_varies_by_dest_ip", "MappingVariesByDestIP"),
        ("url_is_noise", "URLIsNoise"),
        ("tka_head", "TKAHead"),
    ],
)
def test_names_are_go_names(name: str, expected: str) -> None:
    assert go_name(name) == expected


GOLDEN: list[tuple[Message, dict[str, Any]]] = [
    (ServerKeys(public_key=MachinePublic(KEY.raw)), {"publicKey": f"mkey:{HEX}"}),
    (
        RegisterRequest(
            version=130, node_key=KEY, auth=RegisterAuth(auth_key="k"), expiry=NOON,
            hostinfo=Hostinfo(hostname="h", os="linux", backend_log_id="b", go_arch="amd64"),
        ),
        {
            "Version": 130, "NodeKey": f"nodekey:{HEX}", "Auth": {"AuthKey": "k"},
            "Expiry": "2026-01-02T12:00:00Z",
            "Hostinfo": {"Hostname": "h", "OS": "linux", "BackendLogID": "b", "GoArch": "amd64"},
        },
    ),
    (
        RegisterResponse(machine_authorized=True, auth_url="http://x", node_key_expired=True),
        {"MachineAuthorized": True, "AuthURL": "http://x", "NodeKeyExpired": True},
    ),
    (
        MapRequest(compress="zstd", keep_alive=True, stream=True, omit_peers=True,
                   disco_key=DiscoPublic(KEY.raw), endpoints=("1.2.3.4:5",), endpoint_types=(1,)),
        {"Compress": "zstd", "KeepAlive": True, "Stream": True, "OmitPeers": True,
         "DiscoKey": f"discokey:{HEX}", "Endpoints": ["1.2.3.4:5"], "EndpointTypes": [1]},
    ),
    (
        MapNode(id=1, stable_id="s", name="a.b.", key=KEY, addresses=("100.64.0.1/32",),
                allowed_ips=(), home_derp=900, cap=130, online=False, cap_map={"c": None},
                is_wire_guard_only=True, is_jailed=True, derp="127.3.3.40:1", last_seen=NOON),
        {"ID": 1, "StableID": "s", "Name": "a.b.", "Key": f"nodekey:{HEX}",
         "Addresses": ["100.64.0.1/32"], "AllowedIPs": [], "HomeDERP": 900, "Cap": 130,
         "Online": False, "CapMap": {"c": None}, "IsWireGuardOnly": True, "IsJailed": True,
         "DERP": "127.3.3.40:1", "LastSeen": "2026-01-02T12:00:00Z"},
    ),
    (
        PeerChange(node_id=1, derp_region=2, online=False, disco_key=DiscoPublic(KEY.raw)),
        {"NodeID": 1, "DERPRegion": 2, "Online": False, "DiscoKey": f"discokey:{HEX}"},
    ),
    (
        MapResponse(
            derp_map=DerpMap(omit_default_regions=True, home_params=HomeParams(
                region_score={"900": 0.5}), regions={"900": DerpRegion(
                region_id=900, no_measure_no_home=True, nodes=(DerpNode(
                    name="n", region_id=900, host_name="h", cert_name="c", ipv4="1.2.3.4",
                    stun_port=-1, derp_port=1, insecure_for_tests=True, can_port80=True),))}),
            packet_filters={"base": (), "old": None}, peers_removed=(7,),
            online_change={7: True}, peer_seen_change={8: False}, control_time=NOON,
            user_profiles=(UserProfile(id=1, login_name="l", profile_pic_url="p"),),
            ssh_policy={"rules": []},
        ),
        {
            "DERPMap": {"omitDefaultRegions": True, "HomeParams": {"RegionScore": {"900": 0.5}},
                "Regions": {"900": {"RegionID": 900, "NoMeasureNoHome": True, "Nodes": [{
                    "Name": "n", "RegionID": 900, "HostName": "h", "CertName": "c",
                    "IPv4": "1.2.3.4", "STUNPort": -1, "DERPPort": 1,
                    "InsecureForTests": True, "CanPort80": True}]}}},
            "PacketFilters": {"base": [], "old": None}, "PeersRemoved": [7],
            "OnlineChange": {"7": True}, "PeerSeenChange": {"8": False},
            "ControlTime": "2026-01-02T12:00:00Z",
            "UserProfiles": [{"ID": 1, "LoginName": "l", "ProfilePicURL": "p"}],
            "SSHPolicy": {"rules": []},
        },
    ),
    (
        FilterRule(src_ips=("*",), ip_proto=(6,), dst_ports=(
            NetPortRange(ip="*", ports=PortRange(first=1, last=2)),),
            cap_grant=(CapGrant(dsts=("1.2.3.4/32",), cap_map={"c": [{"a": 1}]}),)),
        {"SrcIPs": ["*"], "IPProto": [6],
         "DstPorts": [{"IP": "*", "Ports": {"First": 1, "Last": 2}}],
         "CapGrant": [{"Dsts": ["1.2.3.4/32"], "CapMap": {"c": [{"a": 1}]}}]},
    ),
    (
        Hostinfo(net_info=NetInfo(mapping_varies_by_dest_ip=False, working_icmpv4=True,
                                  os_has_ipv6=True, preferred_derp=9, upnp=True, pmp=False,
                                  derp_latency={"9-v4": 0.5}),
                 routable_ips=("10.0.0.0/8",), wol_macs=("x",), ssh_host_keys=("k",),
                 services=(Service(proto="peerapi4", port=1),)),
        {"NetInfo": {"MappingVariesByDestIP": False, "WorkingICMPv4": True, "OSHasIPv6": True,
                     "PreferredDERP": 9, "UPnP": True, "PMP": False,
                     "DERPLatency": {"9-v4": 0.5}},
         "RoutableIPs": ["10.0.0.0/8"], "WoLMACs": ["x"], "sshHostKeys": ["k"],
         "Services": [{"Proto": "peerapi4", "Port": 1}]},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("message", "expected"), GOLDEN, ids=lambda v: type(v).__name__)
def test_a_message_is_written_with_go_names_and_without_zeros(
    message: Message, expected: dict[str, Any]
) -> None:
    assert json.loads(write_json(message)) == expected
    assert read_json(write_json(message), type(message)) == message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"ID":"1"}',
        '{"ID":1.5}',
        '{"ID":null}',
        '{"ID":1,"Key":"nodekey:00"}',
        f'{{"ID":1,"Key":"mkey:{HEX}"}}',
        f'{{"ID":1,"Key":"nodekey:{HEX[:-1]}g"}}',
        '{"ID":1,"Created":"2026-01-02"}',
        '{"ID":1,"Online":"true"}',
        '{"ID":1,"Addresses":"1.2.3.4/32"}',
        '{"ID":1,"Name":"\xff"}',
        '{"ID":1,"Cap":true}',
    ],
)
def test_a_wrong_type_refuses_the_message(text: str) -> None:
    with pytest.raises(Malformed, match="not a MapNode"):
        read_json(text.encode("latin-1"), MapNode)


def test_the_error_names_the_field() -> None:
    with pytest.raises(Malformed, match=r"Peers\[1\]\.HomeDERP"):
        read_json(b'{"Peers":[{"ID":1},{"ID":2,"HomeDERP":"x"}]}', MapResponse)


def test_unknown_fields_are_ignored() -> None:
    assert read_json(b'{"ID":1,"New":{"x":[]}}', MapNode) == MapNode(id=1)


def test_go_s_zero_time_is_no_time() -> None:
    node = read_json(
        f'{{"ID":1,"KeyExpiry":"{ZERO}","Created":"{ZERO}","LastSeen":"{ZERO}"}}'.encode(), MapNode
    )
    asked = read_json(f'{{"Expiry":"{ZERO}"}}'.encode(), RegisterRequest)

    assert (node.key_expiry, node.created, node.last_seen) == (None, None, None)
    assert asked.expiry is None


def test_a_logout_s_time_is_a_time() -> None:
    asked = read_json(b'{"Expiry":"1970-01-01T00:02:03Z"}', RegisterRequest)

    assert asked.expiry == datetime(1970, 1, 1, 0, 2, 3, tzinfo=UTC)


def test_a_zero_key_reads_as_the_zero_key() -> None:
    for text in ("", "nodekey:" + "0" * 64):
        assert read_json(json.dumps({"NodeKey": text}).encode(), RegisterRequest).node_key.is_zero


# --- round trips ------------------------------------------------------------------------

keys = st.binary(min_size=32, max_size=32)
texts = st.text(max_size=8)
times = st.datetimes(
    min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)  # noqa: DTZ001  # hypothesis adds the zone
)  # fmt: skip
nodes = st.builds(
    MapNode,
    id=st.integers(1, 2**53),
    name=texts,
    key=keys.map(NodePublic),
    disco_key=st.none() | keys.map(DiscoPublic),
    key_expiry=st.none() | times,
    addresses=st.none() | st.lists(texts, max_size=2).map(tuple),
    online=st.none() | st.booleans(),
    cap_map=st.none() | st.dictionaries(texts, st.none() | st.lists(st.integers()), max_size=2),
)
responses = st.builds(
    MapResponse,
    keep_alive=st.booleans(),
    node=st.none() | nodes,
    peers=st.none() | st.lists(nodes, max_size=2).map(tuple),
    peers_removed=st.none() | st.lists(st.integers(1, 9)).map(tuple),
    online_change=st.none() | st.dictionaries(st.integers(1, 9), st.booleans(), max_size=2),
    domain=texts,
    control_time=st.none() | times,
)


@given(responses)
def test_what_is_written_reads_back(response: MapResponse) -> None:
    assert read_json(write_json(response), MapResponse) == response
    assert read_map(write_json(response)) == response


names = st.sampled_from([*MapResponse.__struct_encode_fields__, "ID", "Regions", "base"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_read_or_refused(value: Any) -> None:
    try:
        response = read_map(json.dumps(value).encode())
    except Malformed:
        return
    assert isinstance(response, MapResponse)


# --- keeping what is right ----------------------------------------------------------------


def test_wrong_entries_are_left_out_and_named() -> None:
    raw = json.dumps(
        {
            "Domain": "d",
            "Peers": [{"ID": 1}, {"ID": "2"}],
            "PeersChangedPatch": [{"NodeID": 1, "Online": 1}],
            "UserProfiles": [{"ID": 1}, 5],
            "PacketFilters": {"a": [{"SrcIPs": ["*"]}, {"SrcIPs": 1}], "b": None},
            "DERPMap": {"Regions": {"1": {"RegionID": 1}, "2": {"RegionID": "2"}}},
        }
    ).encode()

    response = read_map(raw)

    assert response.domain == "d"
    assert response.peers == (MapNode(id=1),)
    assert response.peers_changed_patch == ()
    assert response.user_profiles == (UserProfile(id=1),)
    assert response.packet_filters == {"a": (FilterRule(src_ips=("*",)),), "b": None}
    assert response.derp_map == DerpMap(regions={"1": DerpRegion(region_id=1)})
    assert [problem.partition(" ")[0] for problem in response.problems] == [
        "Peers[1]", "PeersChangedPatch[0]", "UserProfiles[1]", "PacketFilters['a'][1]",
        "DERPMap.Regions[2]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ['{"Node":{"ID":"1"}}', '{"Domain":1}', '{"Peers":{}}', "[]", '{"Peers":[{"ID":1}']
)
def test_a_wrong_value_elsewhere_refuses_the_message(text: str) -> None:
    with pytest.raises(Malformed):
        read_map(text.encode())
