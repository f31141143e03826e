"""The frames of the map stream.

     0  4  length n, **little-endian**
     4  n  one complete zstd frame, or plain JSON if the request asked for no compression

Each frame holds one JSON MapResponse. Source: protocol document 1.9, RFC 8878.
"""

from __future__ import annotations

import struct

import zstandard

from gatepost.errors import Malformed

ZSTD = "zstd"  # the value of `Compress` in a MapRequest
FRAME_LIMIT = 16 << 20  # bytes of one frame, as it is on the wire
JSON_LIMIT = 64 << 20  # bytes of one message once decompressed

_LENGTH = struct.Struct("<I")
_LEVEL = 1  # for JSON full of keys as small as the default level 3, in half the time

# The official client remembers the compressed bytes of a message that is exactly
# `{"KeepAlive":true}` in a buffer it reuses, and from then on drops any frame of
# that length. With a space behind it the message is never remembered.
_KEEP_ALIVE = b'{"KeepAlive":true} '


def _framed(content: bytes) -> bytes:
    return _LENGTH.pack(len(content)) + content


def write_frame(json: bytes, compress: str) -> bytes:
    """Return the frame of one JSON message; `compress` is `zstd` or empty.

    Raise `Malformed` for any other compression.
    """
    if compress == ZSTD:
        # A compressor costs 10 microseconds to make and 24 KiB to keep, so none is kept.
        return _framed(zstandard.ZstdCompressor(level=_LEVEL).compress(json))
    if compress:
        raise Malformed(f"compression {compress!r} is unknown: ask for {ZSTD!r} or nothing")
    return _framed(json)


def keep_alive(compress: str) -> bytes:
    """Return the frame of a sign of life, equal for everyone: keep it."""
    return write_frame(_KEEP_ALIVE, compress)


class FrameReader:
    """Cuts a stream of bytes into JSON messages. After an error it is unusable."""

    __slots__ = ("_buffer", "_compressed", "_frame_limit", "_json_limit")

    def __init__(
        self, compress: str, *, frame_limit: int = FRAME_LIMIT, json_limit: int = JSON_LIMIT
    ) -> None:
        self._compressed = compress == ZSTD
        self._frame_limit = frame_limit
        self._json_limit = json_limit
        self._buffer = bytearray()

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the messages that are complete now; keep the rest.

        Raise `Malformed` for a frame over the limit (as soon as its length is
        there), and for content that is not one whole zstd frame.
        """
        self._buffer += piece
        messages: list[bytes] = []
        while len(self._buffer) >= _LENGTH.size:
            length: int = _LENGTH.unpack_from(self._buffer)[0]
            if length > self._frame_limit:
                raise Malformed(f"a map frame of {length} bytes is over {self._frame_limit}")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            content = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            messages.append(self._decompressed(content) if self._compressed else content)
        return messages

    @property
    def is_between_frames(self) -> bool:
        """Say whether the stream may end here without loss."""
        return not self._buffer

    def _decompressed(self, content: bytes) -> bytes:
        return decompress(content, self._json_limit)


def decompress(content: bytes, limit: int) -> bytes:
    """Return what one zstd frame holds; raise `Malformed` if that is over `limit` bytes."""
    try:
        claimed = zstandard.frame_content_size(content)  # -1: the frame does not say
        if claimed > limit:
            raise Malformed(f"a map message of {claimed} bytes is over {limit}")
        return zstandard.ZstdDecompressor().decompress(
            content, max_output_size=limit, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise Malformed(f"not one whole zstd frame of at most {limit} bytes: {error}") from error
