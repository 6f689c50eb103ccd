"""Points, conditions and answers as the client of a Qdrant server has them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from freshd.model import ChunkId, SparseVector, Vector
from freshd.ports import StoredPoint
from freshd.stores import intake
from freshd.stores.intake import Admitted, Label
from freshd.stores.wire import pack_dense, unpack_dense

if TYPE_CHECKING:
    from qdrant_client import models

SPARSE = "bm25"
"""Name of the vector of terms."""

_JSON_NUMBER_BYTES = 22
_JSON_ID_BYTES = 40


def json_bytes(point: Admitted) -> int:
    """Estimate what a point takes in a request."""
    n_numbers = len(point.dense) // 4 + 2 * len(point.indices)
    return n_numbers * _JSON_NUMBER_BYTES + len(json.dumps(point.payload))


def label_bytes(label: Label) -> int:
    """Estimate what a relabelling takes in a request."""
    ids, payload, _ = label
    return len(ids) * _JSON_ID_BYTES + len(json.dumps(payload))


def as_point(point: Admitted) -> models.PointStruct:
    """Give a point as it is written."""
    from qdrant_client import models

    sparse = models.SparseVector(indices=point.indices, values=point.values)
    vector: Any = {"": unpack_dense(point.dense).tolist(), SPARSE: sparse}
    return models.PointStruct(id=point.chunk_id, vector=vector, payload=point.payload)


def as_operation(label: Label) -> models.SetPayloadOperation:
    """Give a relabelling as it is written."""
    from qdrant_client import models

    ids, payload, key = label
    return models.SetPayloadOperation(set_payload=models.SetPayload(payload=payload, points=list(ids), key=key))


def as_filter(conditions: list[intake.Condition]) -> models.Filter | None:
    """Give conditions that must all hold; None for none."""
    from qdrant_client import models

    if not conditions:
        return None
    return models.Filter(must=[_condition(*condition) for condition in conditions])


def _condition(key: str, how: str, what: Any) -> models.FieldCondition:
    from qdrant_client import models

    match = models.MatchAny(any=what) if how == "any" else models.MatchPrefix(prefix=what)
    return models.FieldCondition(key=key, match=match)


def as_stored(record: models.Record) -> StoredPoint:
    """Read what a server holds, with its vectors where they were asked for."""
    chunk_id, payload = ChunkId(str(record.id)), record.payload or {}
    vectors: Any = record.vector
    if not vectors:
        return StoredPoint(chunk_id, payload)
    if not isinstance(vectors, dict):  # a server may leave the names away where there is but one vector
        vectors = {"": vectors}
    dense, sparse = vectors.get(""), vectors.get(SPARSE)
    terms = SparseVector() if sparse is None else SparseVector(tuple(sparse.indices), tuple(sparse.values))
    # A server takes points without some of the vectors, and takes vectors away: others may do both.
    return StoredPoint(chunk_id, payload, None if dense is None else Vector(pack_dense(dense)), terms)
