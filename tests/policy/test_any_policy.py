"""Whatever a policy says, it is taken and works, or is refused with its reasons: nothing else."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.policy.plain import Plain
from tests.policy.policies import FULL, plain
from tests.policy.small_mesh import MESH

from gatepost.policy.compiled import Compiled
from gatepost.policy.domains import check_domains
from gatepost.policy.edit import Path, remove, set_value
from gatepost.policy.hujson import Items, Json, Members, parse
from gatepost.policy.preview import changes
from gatepost.policy.read import SECTIONS, read
from gatepost.policy.refusal import PolicyRefusedError
from gatepost.policy.trial import run
from gatepost.policy.warnings import warnings

WORDS = st.sampled_from([
    "*", "alice@example.com", "bob@", "user:*@example.com", "user:*@passkey", "group:eng",
    "group:none@example.com", "tag:web", "tag:router", "autogroup:member", "autogroup:self",
    "autogroup:internet", "autogroup:tagged", "autogroup:admin", "autogroup:shared",
    "autogroup:danger-all", "autogroup:nonroot", "db", "office", "ipset:prod", "svc:shop",
    "10.1.0.5", "10.0.0.0/8", "0.0.0.0/0", "::/0", "100.64.0.1-100.64.0.9", "fd7a::/48",
    "*:*", "tag:web:80", "db:22", "autogroup:self:*", "autogroup:internet:*", "svc:shop:443",
    "[fd7a:115c:a1e0::3]:80", "office:1-9,80", "tcp", "icmp", "6", "255", "accept", "check",
    "always", "12h", "root", "posture:good", "localpart:*@example.com", "funnel", "",
])  # fmt: skip
VALUES: st.SearchStrategy[Plain] = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers(-1, 70000) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(WORDS | st.sampled_from(SECTIONS), inner, max_size=3)
    ),
    max_leaves=5,
)


def paths(value: Json, path: Path = ()) -> list[Path]:
    found: list[Path] = [path]
    if isinstance(value, Members):
        for member in value.members:
            found += paths(member.value, (*path, member.name.text))
    if isinstance(value, Items):
        for number, item in enumerate(value.items):
            found += paths(item, (*path, number))
    return found


@st.composite
def changed(draw: st.DrawFn) -> str:
    """Change a full policy in one to three places."""
    text = FULL
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([p for p in paths(parse(text)) if p] or [()]))
        is_set = draw(st.booleans())
        if path and is_set:
            text = set_value(text, path, json.dumps(draw(VALUES)))
        elif path:
            text = remove(text, path)
    return text


def take(text: str) -> Compiled | None:
    try:
        policy = read(text)
    except PolicyRefusedError:
        return None
    check_domains(policy, {"example.com"})
    return Compiled.of(policy, MESH)


BEFORE = Compiled.of(read(FULL), MESH)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(changed())
def test_a_changed_policy_is_refused_or_works_in_every_way(text: str) -> None:
    compiled = take(text)
    if compiled is None:
        return
    for machine in MESH.machines:
        compiled.view(machine)
        compiled.capabilities(machine)
        compiled.ssh_rules(machine)
    warnings(compiled)
    changes(BEFORE, compiled)
    changes(compiled, BEFORE)

    assert all(failure.error for failure in run(compiled.policy, MESH))


@settings(deadline=None)
@given(changed())
def test_comments_and_spacing_mean_nothing(text: str) -> None:
    compiled = take(text)
    assume(compiled)
    assert compiled is not None

    assert read(plain(text)) == compiled.policy


@settings(deadline=None)
@given(VALUES)
def test_any_json_is_a_policy_or_refused(value: Plain) -> None:
    compiled = take(json.dumps(value))

    assert compiled is None or isinstance(value, dict)
