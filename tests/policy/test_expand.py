"""What a selector stands for is remembered, and handed on while threads look names up."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.policy.makers import compiled, make_inventory, make_machine

from gatepost.policy.expand import Expander
from gatepost.policy.names import selector
from gatepost.policy.selectors import Place

NAMES = [selector(f"10.0.{n // 250}.{n % 250}", Place()) for n in range(4000)]


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Let threads take turns as often as the interpreter can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hasty_threads")
def test_what_was_found_is_taken_over_while_a_thread_looks_up() -> None:
    made = compiled(make_inventory(make_machine(1)))
    before = made.expander
    for name in NAMES[:1000]:
        before.expand(name)

    with ThreadPoolExecutor(max_workers=1) as thread:
        looking = thread.submit(lambda: [before.expand(name) for name in NAMES[1000:]])
        while not looking.done():
            Expander(made.policy, made.directory).take_over(before)

    assert looking.exception() is None
