"""Questions are answered about what was asked, or refused."""

from __future__ import annotations

import json

import pytest
from tests.policy.small_mesh import MESH

from gatepost.coordination.policy.answers import answer
from gatepost.errors import NotFoundError
from gatepost.model.policy import CanDocument, CanRequest
from gatepost.policy.compiled import Compiled
from gatepost.policy.inventory import Inventory
from gatepost.policy.read import read

NAMES: dict[str, object] = {"tagOwners": {"tag:web": [], "tag:router": []}}
ALICE_TO_WEB = {"action": "accept", "src": ["alice@example.com"], "dst": ["tag:web:80"]}


def ask(
    source: str,
    destination: str,
    *,
    login: str = "",
    mesh: Inventory = MESH,
    **sections: object,
) -> CanDocument:
    compiled = Compiled.of(read(json.dumps(NAMES | {"acls": [ALICE_TO_WEB]} | sections)), mesh)
    request = CanRequest(source=source, destination=destination, port=80, login=login)
    return answer(compiled, request)


def test_a_group_of_an_identity_provider_that_the_policy_does_not_name_is_nobody() -> None:
    with pytest.raises(NotFoundError, match="is nobody now"):
        ask("group:eng@example.com", "m3")
