"""The NaCl box: bytes of another implementation, and everything that can be wrong with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed, Truncated, Unauthentic
from gatepost.model.keys import NodePrivate, NodePublic
from gatepost.wire.box import NONCE_LENGTH, OVERHEAD, SharedKeys

ALICE = NodePrivate(bytes(range(1, 33)))
BOB = NodePrivate(bytes(range(100, 132)))
NONCE = bytes(range(200, 224))
# Made with another implementation of crypto_box, from the keys and the nonce above.
SEALED = NONCE + bytes.fromhex("9dbe28e84a99159a241e46f6cd912bb9129db0988d2da076")


def test_a_box_has_the_bytes_that_other_implementations_make() -> None:
    assert SharedKeys(ALICE).seal(BOB.public, b"Gatepost", NONCE) == SEALED


def test_a_box_of_another_implementation_opens() -> None:
    assert SharedKeys(BOB).open(ALICE.public, SEALED) == b"Gatepost"


@given(text=st.binary(max_size=2000), nonce=st.binary(min_size=24, max_size=24))
def test_what_was_sealed_opens(text: bytes, nonce: bytes) -> None:
    sealed = SharedKeys(ALICE).seal(BOB.public, text, nonce)

    assert SharedKeys(BOB).open(ALICE.public, sealed) == text
    assert len(sealed) == len(text) + OVERHEAD


@pytest.mark.parametrize("length", range(OVERHEAD))
def test_a_box_too_short_for_its_tag_is_truncated(length: int) -> None:
    with pytest.raises(Truncated, match=f"not {length}"):
        SharedKeys(BOB).open(ALICE.public, SEALED[:length])


@pytest.mark.parametrize("length", range(OVERHEAD, len(SEALED)))
def test_a_cut_box_does_not_open(length: int) -> None:
    with pytest.raises(Unauthentic):
        SharedKeys(BOB).open(ALICE.public, SEALED[:length])


@pytest.mark.parametrize("position", range(len(SEALED)))
def test_a_box_with_one_flipped_bit_does_not_open(position: int) -> None:
    flipped = bytearray(SEALED)
    flipped[position] ^= 0x10

    with pytest.raises(Unauthentic):
        SharedKeys(BOB).open(ALICE.public, bytes(flipped))


def test_a_box_for_somebody_else_does_not_open() -> None:
    with pytest.raises(Unauthentic, match="does not open"):
        SharedKeys(NodePrivate(bytes(range(2, 34)))).open(ALICE.public, SEALED)


def test_the_zero_key_shares_no_secret() -> None:
    with pytest.raises(Unauthentic, match="not a usable public key"):
        SharedKeys(ALICE).seal(NodePublic.zero(), b"", NONCE)


@pytest.mark.parametrize("length", [0, NONCE_LENGTH - 1, NONCE_LENGTH + 1])
def test_a_nonce_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(Malformed, match=f"not {length}"):
        SharedKeys(ALICE).seal(BOB.public, b"", bytes(length))


def test_only_so_many_shared_keys_are_kept_and_a_forgotten_one_comes_back() -> None:
    keys = SharedKeys(ALICE, limit=2)
    for seed in range(1, 6):
        keys.seal(NodePrivate(bytes([seed]) * 32).public, b"", NONCE)

    assert len(keys) == 2
    assert keys.seal(BOB.public, b"Gatepost", NONCE) == SEALED
