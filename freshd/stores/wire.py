"""What freshd and its store process say to each other, in the frames of `freshd.children`.

A request is `[operation, *arguments]`; its reply is `[Verdict, …]`.
Dense vectors travel packed, as little-endian float32.
Loaded by the child too: nothing heavy is imported here.
"""

import json
import math
import os
import sys
from array import array
from collections.abc import Iterable
from contextlib import suppress
from operator import mul

IDENTITY = "identity.json"
"""File of a store's directory that says whose its points are, and which shard holds them."""

SHARDS = ("shard", "shard-2")
"""What a store's shard is called, in turn; the first where IDENTITY does not say."""

FRAME_POINTS = 256
"""Points in one request: some 10 ms of work, so that a search never waits longer behind a backfill."""

FRAME_BYTES = 4 << 20
"""Bytes of points in one request, for the same reason where payloads are large."""

LEAST_REMOVED = 5_000
"""Removed points that make it worth giving back what they left: some 6 MiB of memory, and 23 of disk."""


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
    NO_ROOM = "no_room"
    """`[NO_ROOM, message, hint]`: the disk is too small for what was asked; nothing was done; the child goes on."""
    PANICKED = "panicked"
    """`[PANICKED, message, hint]`: the engine broke an invariant of its own; the child exits."""


def shard_of(directory: str | os.PathLike[str]) -> str:
    """Give the path of the shard that counts in a store's directory, without looking at it."""
    named = None
    with suppress(OSError, ValueError, AttributeError), open(os.path.join(directory, IDENTITY), "rb") as file:
        named = json.load(file).get("shard")
    return os.path.join(directory, named if named in SHARDS else SHARDS[0])


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


def cosine(one: bytes, other: bytes) -> float:
    """Cosine of two packed vectors; 0 for one of zeros, and where they are not equally long."""
    a, b = unpack_dense(one), unpack_dense(other)
    lengths = math.hypot(*a) * math.hypot(*b)
    return sum(map(mul, a, b)) / lengths if lengths and len(a) == len(b) else 0.0
