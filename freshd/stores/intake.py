"""What may enter a store: checked here, whole, before the first byte is written.

The engines are no judges of that: measured, Qdrant Edge stores NaN vectors, all-zero vectors and sparse vectors
whose halves differ in length, turns integers beyond 64 bits into floats,
and keeps the good half of a batch whose other half it refuses.
Both stores admit exactly the same points, so that either can take the other's place.
"""

import math
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple

from freshd.model import ChunkId, Point, Relabel, SearchFilter, SparseVector, Vector
from freshd.payload import DOCUMENT_ID_KEY, KEYWORD_KEYS
from freshd.stores.wire import unpack_dense

INDEXES = tuple((key, key == DOCUMENT_ID_KEY) for key in KEYWORD_KEYS)
"""Keyword indexes of a store: payload key, and whether prefixes of it are searched; made before any data."""

Condition = tuple[str, Literal["any", "prefix"], Any]
"""Payload key, how it is matched, and what with: a list of values, or a prefix."""

Label = tuple[list[str], dict[str, Any], str | None]
"""Ids, plain payload, and key under which it is set."""

_MAX_DEPTH = 64
_FLOAT_BYTES = 4
_TERMS = 1 << 32
_CANONICAL = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Admitted(NamedTuple):
    """A point that any store takes; `payload` is plain dicts and lists, `dense` packed."""

    chunk_id: str
    dense: bytes
    indices: list[int]
    values: list[float]
    payload: dict[str, Any]


def admit(points: Sequence[Point], dimension: int) -> list[Admitted]:
    """Check every point.

    Raises:
        ValueError: One of them cannot be stored; names it and what is wrong with it.

    """
    return [_admit(point, dimension) for point in points]


def _admit(point: Point, dimension: int) -> Admitted:
    check_ids([point.chunk_id])
    try:
        check_dense(point.dense, dimension)
        indices, values = check_sparse(point.sparse)
        payload = check_payload(point.payload)
    except ValueError as error:
        raise ValueError(f"point {point.chunk_id}: {error}") from error
    return Admitted(point.chunk_id, point.dense, indices, values, payload)


def check_ids(chunk_ids: Iterable[ChunkId]) -> None:
    """Raise ValueError unless each is a UUID in canonical text form, which stores give back and order by."""
    for chunk_id in chunk_ids:
        if not (isinstance(chunk_id, str) and _CANONICAL.fullmatch(chunk_id)):
            raise ValueError(f"chunk id: got {chunk_id!r}, expected a UUID in canonical form")


def check_dense(vector: Vector, dimension: int) -> None:
    """Raise ValueError unless it has this many finite numbers, one of them not zero."""
    if len(vector) != dimension * _FLOAT_BYTES:
        raise ValueError(f"dense vector: got {len(vector)} bytes, expected {dimension} × {_FLOAT_BYTES}")
    numbers = unpack_dense(vector)
    # A sum of float32 cannot overflow a double, so it is finite exactly when all of them are.
    if not math.isfinite(sum(numbers)):
        raise ValueError("dense vector: holds NaN or infinity, expected finite numbers")
    if not any(numbers):
        raise ValueError("dense vector: is all zero, which has no direction")


def check_sparse(vector: SparseVector) -> tuple[list[int], list[float]]:
    """Give its halves as lists.

    Raises:
        ValueError: They differ in length, a term is no unsigned 32-bit number or comes twice, a weight is not finite.

    """
    indices, values = list(vector.indices), list(vector.values)
    if len(indices) != len(values):
        raise ValueError(f"sparse vector: got {len(indices)} indices and {len(values)} values, expected as many")
    if not all(type(index) is int and 0 <= index < _TERMS for index in indices):
        raise ValueError("sparse vector: an index is not an unsigned 32-bit number")
    if len(set(indices)) != len(indices):
        raise ValueError("sparse vector: an index comes twice")
    # array: what does not fit a float32 becomes infinity here, as it would in the store.
    if not math.isfinite(sum(array("f", values))):
        raise ValueError("sparse vector: holds NaN or infinity, expected finite numbers")
    return indices, [float(value) for value in values]


def check_payload(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Copy it into plain dicts and lists.

    Raises:
        ValueError: Something in it is no JSON, no valid Unicode, out of range or nested too deep; names the place.

    """
    copied: dict[str, Any] = _plain(payload, "payload", _MAX_DEPTH)
    return copied


def _plain(value: Any, place: str, depth: int) -> Any:
    if depth < 0:
        raise ValueError(f"{place[:60]}…: nested deeper than {_MAX_DEPTH}")
    match value:
        case None | bool():
            return value
        case str():
            return _text(value, place)
        case int() if -(1 << 63) <= value < 1 << 64:
            return value
        case float() if math.isfinite(value):
            return value
        case Mapping():
            return {_key(key, place): _plain(item, f"{place}.{key}", depth - 1) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item, f"{place}[{at}]", depth - 1) for at, item in enumerate(value)]
    raise ValueError(f"{place}: got {type(value).__name__} {value!r:.40}, expected JSON")


def _key(key: Any, place: str) -> str:
    if not isinstance(key, str):
        raise ValueError(f"{place}: got the key {key!r:.40}, expected text")
    return _text(key, place)


def _text(text: str, place: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{place!a}: is not valid Unicode: {error.reason} at character {error.start}") from error
    return text


def check_labels(labels: Sequence[Relabel], at_most: int) -> list[Label]:
    """Give (ids, plain payload, key) of each relabelling, cut so that none names more ids than `at_most`.

    Raises:
        ValueError: An id or a payload cannot be stored.

    """
    checked = []
    for label in labels:
        check_ids(label.chunk_ids)
        payload = check_payload(label.payload)
        checked += [(ids, payload, label.key) for ids in in_runs(label.chunk_ids, at_most)]
    return checked


def check_search(limit: int, where: SearchFilter) -> list[Condition]:
    """Give the conditions that a point must meet, all of them.

    Raises:
        ValueError: The limit is not positive, or the filter is no valid Unicode.

    """
    check_limit(limit)
    conditions: list[Condition] = []
    if where.sources:
        conditions.append(("source", "any", [_text(source, "filter") for source in where.sources]))
    if where.path_prefix:
        conditions.append((DOCUMENT_ID_KEY, "prefix", _text(where.path_prefix, "filter")))
    return conditions


def check_limit(limit: int) -> None:
    """Raise ValueError unless it is positive: a page of none would read as the end."""
    if limit < 1:
        raise ValueError(f"limit: got {limit}, expected at least 1")


def in_runs(items: Iterable[ChunkId], at_most: int) -> list[list[str]]:
    """Cut ids into runs of at most this many."""
    rest = iter(items)
    runs = []
    while run := [str(item) for item in islice(rest, at_most)]:
        runs.append(run)
    return runs
