"""UPnP: searches, descriptions and calls as gateways write them, and as they should not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed, WireError
from gatepost.wire.upnp import (
    CONNECTIONS,
    GATEWAY_1,
    LONGEST_ANSWER,
    Address,
    Fault,
    Found,
    Service,
    read_address,
    read_call,
    read_description,
    read_found,
    read_reply,
    write_call,
    write_search,
)

LOCATION = "http://192.168.1.1:5000/root.xml"
FOUND = (
    b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\n"
    b"ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
    b"USN: uuid:1234::urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nEXT:\r\n"
    b"SERVER: Debian UPnP/1.1 MiniUPnPd/2.3.1\r\n"
    b"Location: http://192.168.1.1:5000/root.xml\r\n\r\n"
)
DESCRIPTION = b"""<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><device><deviceList><device><serviceList>
<service><serviceType>urn:schemas-upnp-org:service:WANPPPConnection:1</serviceType>
<controlURL>ppp</controlURL></service>
<service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType>
<controlURL>/l3f</controlURL></service>
<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>
<controlURL>/ctl/IPConn</controlURL></service>
</serviceList></device></deviceList></device></root>"""
FAULT = b"""<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>
<faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>
<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>718</errorCode>
<errorDescription>ConflictInMappingEntry</errorDescription></UPnPError></detail></s:Fault></s:Body>
</s:Envelope>"""
names = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,20}", fullmatch=True)
letters = st.characters(min_codepoint=33, max_codepoint=0x2FFF, exclude_categories=["C", "Z"])
texts = st.text(letters)


def test_a_search_is_what_gateways_expect() -> None:
    assert write_search(GATEWAY_1) == (
        b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"
        b"ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
        b'MAN: "ssdp:discover"\r\nMX: 2\r\n\r\n'
    )


def test_an_answer_to_a_search_is_read() -> None:
    assert read_found(FOUND) == Found(
        location=LOCATION,
        server="Debian UPnP/1.1 MiniUPnPd/2.3.1",
        name="uuid:1234::urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    )


@pytest.mark.parametrize(
    "packet",
    [
        FOUND.replace(b"200 OK", b"404 Not Found"),
        FOUND.replace(b"HTTP/1.1 200 OK", b"NOTIFY * HTTP/1.1"),
        FOUND.replace(b"InternetGatewayDevice", b"MediaRenderer"),
        FOUND.replace(b"http://192.168.1.1:5000/root.xml", b""),
        FOUND.replace(b"http://", b"https://"),
        FOUND.replace(b"192.168.1.1", b"gateway.example"),
        FOUND.replace(b"192.168.1.1:5000", b"192.168.1.1:99999"),
        FOUND.replace(b"192.168.1.1:5000", b"[192.168.1.1"),
        FOUND.replace(b"root.xml", b"root\n.xml"),
        FOUND + b"X: " + b"x" * LONGEST_ANSWER,
        b"",
        b"HTTP/1.1",
    ],
)
def test_other_answers_to_a_search_are_refused(packet: bytes) -> None:
    with pytest.raises(Malformed):
        read_found(packet)


def test_every_truncation_of_an_answer_is_refused_or_still_names_the_gateway() -> None:
    for length in range(FOUND.index(b"5000/") - 1):
        with pytest.raises(Malformed):
            read_found(FOUND[:length])


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://192.168.1.1:5000/a/b?c=d", Address(5000, "/a/b?c=d")),
        ("http://192.168.1.1", Address(80, "/")),
    ],
)
def test_of_a_url_port_and_path_count(url: str, address: Address) -> None:
    assert read_address(url) == address


@pytest.mark.parametrize(
    "url",
    ["http://192.168.1.1:0/", "ftp://192.168.1.1/", "http:///x", "é", "http://1.1.1.1/ x"],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(Malformed):
        read_address(url)


def test_a_description_yields_the_services_that_map_ports_the_best_first() -> None:
    assert read_description(DESCRIPTION, LOCATION) == (
        Service(CONNECTIONS[1], "http://192.168.1.1:5000/ctl/IPConn"),
        Service(CONNECTIONS[2], "http://192.168.1.1:5000/ppp"),
    )


def test_control_urls_may_be_relative_to_a_base() -> None:
    based = DESCRIPTION.replace(
        b"<device><deviceList>", b"<URLBase>http://192.168.1.1:49152/</URLBase><device><deviceList>"
    )

    assert read_description(based, LOCATION)[0].control == "http://192.168.1.1:49152/ctl/IPConn"


def test_a_control_url_to_a_name_is_refused() -> None:
    with pytest.raises(Malformed, match="evil"):
        read_description(DESCRIPTION.replace(b"/ctl/IPConn", b"http://evil.example/x"), LOCATION)


def test_a_call_names_its_action_and_arguments() -> None:
    header, body = write_call(CONNECTIONS[1], "AddPortMapping", {"NewProtocol": "UDP", "X": "<&>"})

    assert header == '"urn:schemas-upnp-org:service:WANIPConnection:1#AddPortMapping"'
    assert read_call(body) == ("AddPortMapping", {"NewProtocol": "UDP", "X": "<&>"})


@given(action=names, arguments=st.dictionaries(names, texts, max_size=6))
def test_what_was_called_is_read(action: str, arguments: dict[str, str]) -> None:
    _, body = write_call(CONNECTIONS[0], action, arguments)

    assert read_call(body) == (action, arguments)


@given(action=names, results=st.dictionaries(names, texts, max_size=6))
def test_what_was_replied_is_read(action: str, results: dict[str, str]) -> None:
    _, body = write_call(CONNECTIONS[0], f"{action}Response", results)

    assert read_reply(body, action) == results


def test_a_fault_is_a_value() -> None:
    assert read_reply(FAULT, "AddPortMapping") == Fault(718, "ConflictInMappingEntry")


def test_a_fault_without_a_code_keeps_its_text() -> None:
    bare = b"<Envelope><Body><Fault><faultstring>no</faultstring></Fault></Body></Envelope>"

    assert read_reply(bare, "X") == Fault(0, "no")
    assert read_reply(FAULT.replace(b"718", b"99999999"), "X") == Fault(0, "ConflictInMappingEntry")


@pytest.mark.parametrize(
    "document",
    [
        b"<html/>",
        b"<Envelope/>",
        b"<Envelope><Body/></Envelope>",
        b"<Envelope><Body><OtherResponse/></Body></Envelope>",
        b"<Envelope><Body><XResponse><R>" + b"r" * 513 + b"</R></XResponse></Body></Envelope>",
        b"not xml",
    ],
)
def test_other_replies_are_refused(document: bytes) -> None:
    with pytest.raises(Malformed):
        read_reply(document, "X")


@pytest.mark.parametrize("document", [b"<a/>", b"<a><Body/></a>", b"?"])
def test_other_calls_are_refused(document: bytes) -> None:
    with pytest.raises(Malformed):
        read_call(document)


@given(packet=st.binary(max_size=200))
def test_noise_is_a_wire_error(packet: bytes) -> None:
    for noise in (packet, b"HTTP/1.1 200 OK\r\nST: :InternetGatewayDevice:\r\n" + packet):
        try:
            read_found(noise)
        except WireError:
            continue


@given(place=st.integers(0, len(DESCRIPTION) - 1), byte=st.integers(0, 255))
def test_a_description_with_a_wrong_byte_is_read_or_refused(place: int, byte: int) -> None:
    changed = DESCRIPTION[:place] + bytes([byte]) + DESCRIPTION[place + 1 :]
    try:
        services = read_description(changed, LOCATION)
    except WireError:
        return

    assert all(read_address(s.control).port == 5000 and s.kind in CONNECTIONS for s in services)


@given(place=st.integers(0, len(FAULT) - 1), byte=st.integers(0, 255))
def test_a_fault_with_a_wrong_byte_is_read_or_refused(place: int, byte: int) -> None:
    changed = FAULT[:place] + bytes([byte]) + FAULT[place + 1 :]
    try:
        answer = read_reply(changed, "AddPortMapping")
    except WireError:
        return

    assert not isinstance(answer, Fault) or 0 <= answer.code <= 99999
