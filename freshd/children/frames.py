"""How parent and child talk: length-prefixed msgpack messages over one stream.

    frame = length of body, 4 bytes big-endian │ body, msgpack

Both ends run the same code of the same installation, so there is no version in it.
"""

import struct
from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]

_LENGTH = struct.Struct(">I")

MAX_FRAME_BYTES = 1 << 30
"""Far above any real frame: a longer one means that the two ends lost step."""


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
