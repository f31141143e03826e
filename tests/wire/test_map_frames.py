"""The promises of the map stream's frames."""

from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import Malformed
from gatepost.wire.go_json import read_json
from gatepost.wire.map_frames import FrameReader, decompress, keep_alive, write_frame
from gatepost.wire.netmap import MapResponse

MODES = ["", "zstd"]


def test_the_length_is_little_endian_and_counts_what_follows() -> None:
    assert write_frame(b"{}", "") == b"\x02\x00\x00\x00{}"


def test_every_frame_is_one_whole_zstd_frame() -> None:
    frame = write_frame(b'{"Domain":"x"}', "zstd")

    assert int.from_bytes(frame[:4], "little") == len(frame) - 4
    assert zstandard.ZstdDecompressor().decompress(frame[4:]) == b'{"Domain":"x"}'


def test_an_unknown_compression_is_refused() -> None:
    with pytest.raises(Malformed, match="gzip"):
        write_frame(b"{}", "gzip")


@pytest.mark.parametrize("mode", MODES)
def test_the_keep_alive_is_one_and_is_not_learnt_by_official_clients(mode: str) -> None:
    [message] = FrameReader(mode).feed(keep_alive(mode))

    assert read_json(message, MapResponse).keep_alive
    assert message != b'{"KeepAlive":true}'


@pytest.mark.parametrize("mode", MODES)
@given(messages=st.lists(st.binary(min_size=1, max_size=2000), max_size=6), data=st.data())
def test_messages_survive_any_cut(mode: str, messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(write_frame(message, mode) for message in messages)
    reader = FrameReader(mode)
    read: list[bytes] = []
    while stream:
        size = data.draw(st.integers(min_value=1, max_value=len(stream)))
        read += reader.feed(stream[:size])
        stream = stream[size:]

    assert read == messages
    assert reader.is_between_frames


def test_an_unfinished_frame_shows() -> None:
    reader = FrameReader("")
    reader.feed(b"\x02\x00\x00\x00{")

    assert not reader.is_between_frames


@pytest.mark.parametrize("mode", MODES)
def test_a_frame_over_the_limit_is_refused_by_its_length_alone(mode: str) -> None:
    with pytest.raises(Malformed, match="1001"):
        FrameReader(mode, frame_limit=1000).feed((1001).to_bytes(4, "little"))


@pytest.mark.parametrize("is_said", [True, False])
def test_a_small_frame_that_grows_without_measure_is_refused(is_said: bool) -> None:
    bomb = zstandard.ZstdCompressor(write_content_size=is_said).compress(bytes(1 << 24))
    assert len(bomb) < 10_000

    with pytest.raises(Malformed, match="65536"):
        decompress(bomb, 1 << 16)


def test_every_truncation_of_a_zstd_frame_is_refused() -> None:
    whole = zstandard.ZstdCompressor().compress(b'{"Domain":"mesh.example"}')
    for length in range(len(whole)):
        with pytest.raises(Malformed):
            decompress(whole[:length], 1000)


@pytest.mark.parametrize("rest", [b"x", zstandard.ZstdCompressor().compress(b"{}")])
def test_anything_behind_a_zstd_frame_is_refused(rest: bytes) -> None:
    with pytest.raises(Malformed):
        decompress(zstandard.ZstdCompressor().compress(b"{}") + rest, 1000)


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_or_small(garbage: bytes) -> None:
    try:
        plain = decompress(garbage, 1000)
    except Malformed:
        return
    assert len(plain) <= 1000
