"""How freshd and its store process talk: length-prefixed msgpack messages over one stream.

    frame = length of body, 4 bytes big-endian │ body, msgpack

A request is `[operation, *arguments]`; its reply is `[Verdict, …]`.
Dense vectors travel packed, as little-endian float32.
Both ends run the same code of the same installation, so there is no version in it.
Loaded by the child too: nothing heavy is imported here.
"""

import struct
import sys
from array import array
from collections.abc import Callable, Iterable
from typing import Any

import msgpack  # type: ignore[import-untyped]

_LENGTH = struct.Struct(">I")

MAX_FRAME_BYTES = 1 << 30
"""Far above any real frame: a longer one means that the two ends lost step."""

FRAME_POINTS = 256
"""Points in one request: some 10 ms of work, so that a search never waits longer behind a backfill."""

FRAME_BYTES = 4 << 20
"""Bytes of points in one request, for the same reason where payloads are large."""


class Verdict:
    """First word of a reply."""

    OK = "ok"
    """`[OK, result]`"""
    MISMATCH = "mismatch"
    """`[MISMATCH, message, hint]`: somebody else's collection, or gone."""
    IN_USE = "in_use"
    """`[IN_USE, message, hint]`: another process has the shard."""
    FAILED = "failed"
    """`[FAILED, message, hint]`: the engine refused; what it did is unknown; the child goes on."""
    PANICKED = "panicked"
    """`[PANICKED, message, hint]`: the engine broke an invariant of its own; the child exits."""


def unpack_dense(vector: bytes) -> "array[float]":
    """Read packed little-endian float32."""
    numbers = array("f")
    numbers.frombytes(vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def pack_dense(numbers: Iterable[float]) -> bytes:
    """Pack numbers as little-endian float32."""
    packed = array("f", numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def pack(message: Any) -> bytes:
    """Turn a message into bytes, without a length."""
    packed: bytes = msgpack.packb(message)
    return packed


def unpack(body: bytes) -> Any:
    """Turn bytes back into a message; arrays come as lists."""
    return msgpack.unpackb(body)


def frame(message: Any) -> bytes:
    """Turn a message into bytes ready to be sent."""
    body = pack(message)
    return _LENGTH.pack(len(body)) + body


def read_frame(receive: Callable[[int], bytes]) -> Any:
    """Read one message.

    Args:
        receive: Gives at most that many bytes, at least one; none at the end of the stream.

    Raises:
        EOFError: The other end is gone.
        ValueError: What came is no frame.

    """
    (length,) = _LENGTH.unpack(_read(receive, _LENGTH.size))
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes, expected at most {MAX_FRAME_BYTES}")
    return unpack(_read(receive, length))


def _read(receive: Callable[[int], bytes], n_bytes: int) -> bytes:
    pieces = []
    while n_bytes:
        piece = receive(n_bytes)
        if not piece:
            raise EOFError("the other end is gone")
        pieces.append(piece)
        n_bytes -= len(piece)
    return b"".join(pieces)
