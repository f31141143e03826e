"""What `gatepost netcheck` says about what was found."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from gatepost.cli.commands.netcheck import netcheck
from gatepost.model.status import NetcheckDocument, PortMappingDocument, RegionDocument

NEAR = RegionDocument(id=1, code="ber", name="Berlin", latency=0.004, latency_v4=0.004)
FAR = RegionDocument(
    id=2, code="nyc", name="New York", latency=0.09, latency_v4=0.1, latency_v6=0.09
)
SILENT = RegionDocument(id=3, code="syd", name="Sydney")


class Daemon:
    """Answers with one document."""

    def __init__(self, document: NetcheckDocument) -> None:
        self._document = document

    def netcheck(self) -> NetcheckDocument:
        return self._document


class Enough(Exception):  # noqa: N818  # no error: it ends the command
    """The person pressed Ctrl-C."""


class Session:
    """What the command is given; the second wait ends it."""

    def __init__(self, document: NetcheckDocument) -> None:
        self.node = Daemon(document)
        self.waited: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        if len(self.waited) == 2:
            raise Enough


def say(document: NetcheckDocument, *arguments: str) -> str:
    result = CliRunner().invoke(netcheck, arguments, obj=Session(document))
    assert result.exit_code == 0, result.output
    return result.output


def test_all_that_people_know_is_there() -> None:
    said = say(
        NetcheckDocument(
            udp=True,
            time=1_800_000_000.0,
            ipv4="203.0.113.9:5000",
            ipv6="[2001:db8::9]:41641",
            mapping_varies=True,
            hairpin=False,
            port_mapping=PortMappingDocument(upnp=True, pcp=True, mapped=("203.0.113.9:41641",)),
            captive_portal=False,
            preferred_derp=1,
            regions=(SILENT, FAR, NEAR),
        )
    )

    assert said == (
        "\nReport:\n"
        "\t* Time: 2027-01-15 08:00:00Z\n"
        "\t* UDP: yes\n"
        "\t* IPv4: yes, 203.0.113.9:5000\n"
        "\t* IPv6: yes, [2001:db8::9]:41641\n"
        "\t* MappingVariesByDestIP: yes\n"
        "\t* HairPinning: no\n"
        "\t* PortMapping: UPnP, PCP (203.0.113.9:41641)\n"
        "\t* CaptivePortal: no\n"
        "\t* Nearest DERP: Berlin\n"
        "\t* DERP latency:\n"
        "\t\t- ber: 4 ms      (Berlin, home)\n"
        "\t\t- nyc: 90 ms     (New York) IPv4 100 ms, IPv6 90 ms\n"
        "\t\t- syd: -         (Sydney)\n"
    )


@pytest.mark.parametrize(
    ("document", "line"),
    [
        (NetcheckDocument(udp=False), "IPv4: (no addr found)"),
        (NetcheckDocument(udp=False), "IPv6: no, unavailable in OS"),
        (NetcheckDocument(udp=False, ipv6_here=True), "IPv6: no, but OS has support"),
        (NetcheckDocument(udp=False), "PortMapping: not checked"),
        (
            NetcheckDocument(udp=True, port_mapping=PortMappingDocument()),
            "PortMapping: none",
        ),
        (
            NetcheckDocument(
                udp=True,
                port_mapping=PortMappingDocument(nat_pmp=True, refusals={"NAT-PMP": "no ports"}),
            ),
            "PortMapping: NAT-PMP (NAT-PMP: no ports)",
        ),
        (
            NetcheckDocument(
                udp=True,
                port_mapping=PortMappingDocument(pinholes=("[2001:db8::2]:41641 by PCP",)),
            ),
            "IPv6Pinhole: [2001:db8::2]:41641 by PCP",
        ),
        (
            NetcheckDocument(
                udp=True,
                port_mapping=PortMappingDocument(pinholes=(), pinhole_refusals={"PCP": "no"}),
            ),
            "IPv6Pinhole: none (PCP: no)",
        ),
        (NetcheckDocument(udp=False, captive_portal=True), "CaptivePortal: yes"),
        (
            NetcheckDocument(udp=False, regions=(SILENT,)),
            "Nearest DERP: unknown (no response to latency probes)",
        ),
        (NetcheckDocument(udp=False), "Nearest DERP: unknown (the coordination server"),
        (
            NetcheckDocument(udp=True, regions=(NEAR, FAR), preferred_derp=2),
            "Nearest DERP: Berlin (home stays New York)",
        ),
    ],
)
def test_bad_days_have_words(document: NetcheckDocument, line: str) -> None:
    assert f"\t* {line}" in say(document)


def test_a_latency_by_https_is_marked() -> None:
    region = RegionDocument(id=1, code="ber", name="Berlin", latency=0.004, latency_https=0.004)

    assert "(Berlin) HTTPS 4 ms" in say(NetcheckDocument(udp=False, regions=(region,)))


def test_json_is_the_document() -> None:
    said = json.loads(say(NetcheckDocument(udp=True, regions=(NEAR,)), "--json"))

    assert said["udp"] is True
    assert said["regions"][0]["latency_v4"] == 0.004


def test_it_measures_again_until_it_is_told_to_stop() -> None:
    session = Session(NetcheckDocument(udp=True))
    result = CliRunner().invoke(netcheck, ["--every", "5"], obj=session)

    assert isinstance(result.exception, Enough)
    assert session.waited == [5.0, 5.0]
    assert result.output.count("Report:") == 2
