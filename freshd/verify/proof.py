"""What a point must be, proved from its id and the digests that the ledger keeps. Pure.

    chunk id = uuid5(source, document id, digest of embedded text, occurrence)  proves the text and its headings
    the ledger's label of the chunk                                             proves headings, lines and order
    the ledger's label of the document                                          proves what all its chunks share
    embedded text                                                               gives both vectors

So a payload proves itself, field by field, and what merely repeats something proved can be written anew.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from freshd.chunker import chunk_id, embedded_texts, text_digest
from freshd.ledger.proofs import Claim
from freshd.model import ChunkId, Digest, Match, SparseVector, Vector
from freshd.payload import Stated, restored, stated
from freshd.stores.wire import cosine, unpack_dense

CLOSE = 1e-4
"""How far a vector may lie from the one that was written: stores normalise anew, and the embedded one packs numbers.

Measured of that packing: 4.4e-5 at most, for 4 to 4,096 numbers. No score is off by more than the distance.
"""

CLOSE_WEIGHT = 1e-5
"""How far the weight of a term may be from the one that was written."""

SAME_DIRECTION = 1 - 1e-3
"""Least cosine with one computed anew, since another processor gives other numbers."""

_MOST_TWINS = 64
"""Equal passages of one document among which one is looked for whose place is not known for sure."""

_DEPTHS = (8, 64, 1_024)
"""How many hits are looked through for one passage."""

TEXT, PLACE, SHARED = "text", "headings, lines or order", "what it says of its document"
VECTOR, TERMS, HIDDEN = "vector", "BM25 terms", "search does not find it"
ONLY_SHARED = (SHARED,)


@dataclass(frozen=True, slots=True)
class Look:
    """One point held against what the ledger says of it.

    Attributes:
        wrong: In what it differs, in words; empty where all is as it should be.
        text: What was embedded, proved by the chunk's id; None where it is not there any more.
        digest: Of that text.
        payload: What the payload must have been; None where it cannot be told.

    """

    wrong: tuple[str, ...]
    text: str | None = None
    digest: Digest | None = None
    payload: Mapping[str, Any] | None = None


def look_at(id_: ChunkId, claim: Claim, payload: Mapping[str, Any], max_tokens: int, now: datetime) -> Look:
    """Hold a payload against what the ledger says.

    Args:
        id_: The point's.
        claim: What the ledger says of it.
        payload: As the store holds it; it may say anything.
        max_tokens: Of the limits that chunks are cut with.
        now: For a time of indexing that is none any more.

    """
    said = stated(payload)
    is_placed = said.chunk_label == claim.chunk_label
    text, digest = _proved_text(id_, claim, said, max_tokens, is_placed)
    is_described = said.document_label == claim.label
    whole = restored(payload, claim.source, claim.document_id, digest or Digest(""), now)
    known = {TEXT: text is not None, PLACE: is_placed, SHARED: is_described}
    wrong = [name for name, is_right in known.items() if not is_right]
    if text is not None:
        wrong += _differing(whole, payload)
    return Look(tuple(wrong), text, digest, whole if all(known.values()) else None)


def is_vector(stored: Vector | None, expected: Vector, *, is_computed: bool) -> bool:
    """Tell whether a stored dense vector is the expected one; a number that is none never is."""
    if stored is None or len(stored) != len(expected):
        return False
    got, wanted = unpack_dense(stored), unpack_dense(expected)
    if math.dist(got, wanted) <= CLOSE:
        return True
    return is_computed and cosine(stored, expected) >= SAME_DIRECTION


def are_terms(stored: SparseVector | None, expected: SparseVector) -> bool:
    """Tell whether stored term weights are the expected ones, in any order."""
    if stored is None or len(stored.indices) != len(expected.indices):
        return False
    wanted = dict(zip(expected.indices, expected.values, strict=True))
    weights = zip(stored.indices, stored.values, strict=True)
    return all(abs(wanted.get(term, math.inf) - weight) <= CLOSE_WEIGHT for term, weight in weights)


def finds(search: Callable[[int], Sequence[Match]], id_: ChunkId) -> bool:
    """Tell whether a search for what a point holds finds it; among very many as good as it, it need not.

    Args:
        search: Gives so many hits, best first.
        id_: The point's.

    """
    for depth in _DEPTHS:
        matches = search(depth)
        if any(match.chunk_id == id_ for match in matches):
            return True
        if len(matches) < depth:
            return False
    return True


def _proved_text(
    id_: ChunkId, claim: Claim, said: Stated, max_tokens: int, is_placed: bool
) -> tuple[str | None, Digest | None]:
    """Find what was embedded: the text, below one of the forms its headings can take, that gives the chunk's id."""
    if said.text is None or said.heading_path is None:
        return None, None
    twins = said.ordinal if is_placed and said.ordinal is not None else _MOST_TWINS
    for text in embedded_texts(said.heading_path, said.text, max_tokens):
        try:
            digest = text_digest(text)
        except UnicodeEncodeError:
            continue
        if any(chunk_id(claim.source, claim.document_id, digest, n) == id_ for n in range(twins + 1)):
            return text, digest
    return None, None


def _differing(whole: Mapping[str, Any], payload: Mapping[str, Any]) -> Iterator[str]:
    """Name the fields that are not what they must have been."""
    for name, value in whole.items():
        got = payload.get(name)
        if isinstance(value, Mapping):
            fields = got if isinstance(got, Mapping) else {}
            yield from (f"{name}.{field}" for field in value if fields.get(field) != value[field])
        elif got != value:
            yield name
