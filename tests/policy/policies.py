"""Policies for tests: one with every section, and small ones with one rule each."""

from __future__ import annotations

from tests.policy.plain import Plain

from gatepost.policy.hujson import pack, parse

FULL = """{
  // who
  "groups": {"group:eng": ["alice@example.com", "Bob@Example.com", "user:*@example.com"]},
  "tagOwners": {"tag:web": ["group:eng", "autogroup:admin"], "tag:router": ["tag:web"]},
  "hosts": {"db": "10.1.0.5", "office": "192.168.1.0/24"},
  "ipsets": {"ipset:prod": ["add 10.0.0.0/8", "remove host:db", "10.9.0.1-10.9.0.9"]},
  "postures": {"posture:good": ["node:os IN ['macos', \\"linux\\"]", "node:tsVersion >= '1.60'",
                                "custom:tier IS SET", "custom:score > 3"]},
  "defaultSrcPosture": ["posture:good"],
  "acls": [
    {"action": "accept", "src": ["group:eng", "*"], "dst": ["tag:web:80,443", "db:5432",
      "[fd7a:115c:a1e0::1]:22", "10.0.0.0/8:*", "ipset:prod:8000-8080", "svc:shop:443"]},
    {"action": "accept", "proto": "icmp", "src": ["user:*@passkey"], "dst": ["office:*"],
     "srcPosture": ["posture:good"]},
  ],
  "grants": [
    {"src": ["alice@example.com"], "dst": ["autogroup:internet"], "via": ["tag:router"],
     "ip": ["*", "443", "udp:53", "gre:*"]},
    {"src": ["autogroup:member"], "dst": ["tag:web"], "app": {"example.com/cap/x": [{"a": 1e3}]}},
  ],
  "ssh": [
    {"action": "check", "src": ["autogroup:member"], "dst": ["autogroup:self"],
     "users": ["autogroup:nonroot", "root", "localpart:*@example.com"], "checkPeriod": "1h30m",
     "acceptEnv": ["GIT_*"], "recorder": ["tag:web"], "enforceRecorder": true},
  ],
  "autoApprovers": {"routes": {"10.0.0.0/8": ["tag:router"]}, "exitNode": ["tag:router"],
                    "services": {"svc:shop": ["tag:web"]}},
  "nodeAttrs": [{"target": ["autogroup:admin"], "attr": ["funnel"], "ipPool": ["100.81.0.0/16"]}],
  "tests": [{"src": "alice@example.com", "accept": ["db:5432"], "deny": ["tag:web:22"]}],
  "sshTests": [{"src": "alice@example.com", "dst": ["tag:web"], "deny": ["root"]}],
  "derpMap": {"OmitDefaultRegions": true}, "disableIPv4": true, "randomizeClientPort": true,
  "OneCGNATRoute": "mac-always",
}"""


def rule(**changes: Plain) -> dict[str, Plain]:
    return {"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"], **changes}]}


def grant(**changes: Plain) -> dict[str, Plain]:
    return {"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"], **changes}]}


def ssh(**changes: Plain) -> dict[str, Plain]:
    known: dict[str, Plain] = {"tagOwners": {"tag:a": []}, "hosts": {"h": "10.0.0.1"}}
    usual: dict[str, Plain] = {
        "action": "accept",
        "src": ["autogroup:member"],
        "dst": ["tag:a"],
        "users": ["root"],
    }
    return known | {"ssh": [usual | changes]}


def plain(text: str) -> str:
    """Return a policy as JSON, without comments."""
    return pack(parse(text))
