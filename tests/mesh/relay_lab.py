"""A lab in which boxes cannot reach each other directly, and a relay stands outside."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from pathlib import Path

from gatepost.coordination.database.store import Batch, Store
from gatepost.coordination.main import DATABASE
from gatepost.coordination.records import Counters, PolicyVersion, PutPolicy
from gatepost.testing.lab_mesh import Lab, ground, start
from gatepost.testing.nat import Nat
from gatepost.testing.nat_lab import HUB, drop_ipv6, join

POLICY = """\
{
	"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],
	"grants": [{"src": ["*"], "dst": ["*"], "app": {"tailscale.com/cap/relay": []}}],
}
"""
HARD = {"one": Nat.SYMMETRIC, "two": Nat.SYMMETRIC}


def put_policy(state: Path, text: str) -> None:
    """Write a policy into a coordination server's database before the server runs."""
    state.mkdir(mode=0o700, exist_ok=True)
    store = Store(state / DATABASE)
    try:
        policy = PolicyVersion(id=1, text=text, author="the lab", created=1.0)
        batch = Batch()
        batch.add([PutPolicy(policy)], Counters(policy=2))
        store.write(batch)
    finally:
        store.close()


@contextlib.contextmanager
def relay_lab(
    nats: Mapping[str, Nat] = HARD, *, relay_settings: str = "", keep: bool = False
) -> Generator[Lab]:
    """Have joined boxes behind `nats`; the hub's box gets `relay_settings`."""
    with ground({HUB: Nat.NONE, **nats}, keep=keep) as lab:
        for site in lab.sites:
            if site.name != HUB:
                drop_ipv6(site)
        put_policy(lab.coordination.directory / "state", POLICY)
        (lab.boxes[HUB].directory / "settings.toml").write_text(relay_settings)
        start(lab)
        join(lab)
        yield lab
