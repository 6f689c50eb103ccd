"""Rows ↔ nouns, one function each way, shared by the tables of the ledger."""

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from freshd.ledger.database import from_us, to_us
from freshd.model import (
    Change,
    ChangeKind,
    ChunkId,
    Digest,
    DocumentId,
    DocumentRef,
    HeldChunk,
    Known,
    Pending,
    SourceName,
)

_VARIABLES = 500
"""Ids bound in one statement; SQLite's own limit is far higher since 3.32."""


def pack_id(chunk_id: ChunkId) -> bytes:
    """Pack a chunk id into its 16 bytes."""
    return UUID(chunk_id).bytes


def packed_parts(chunk_ids: Sequence[ChunkId]) -> Iterator[list[bytes]]:
    """Pack chunk ids, in parts that one statement can bind."""
    for start in range(0, len(chunk_ids), _VARIABLES):
        yield [pack_id(chunk_id) for chunk_id in chunk_ids[start : start + _VARIABLES]]


def marks(part: Sequence[bytes]) -> str:
    """Write the place-holders of a part."""
    return ",".join("?" * len(part))


def unpack_id(packed: bytes) -> ChunkId:
    """Unpack what `pack_id` packed."""
    return ChunkId(str(UUID(bytes=packed)))


def known(row: sqlite3.Row) -> Known:
    """Read a row of `documents`."""
    return Known(
        DocumentId(row["document_id"]),
        row["fingerprint"],
        row["identity"],
        bool(row["is_racy"]),
        bool(row["is_applied"]),
        from_us(row["absent_since"]),
        bool(row["is_kept"]),
    )


def held_chunk(row: sqlite3.Row) -> HeldChunk:
    """Read a row of `chunks`."""
    return HeldChunk(unpack_id(row["chunk_id"]), Digest(row["label"].hex()))


def pending(row: sqlite3.Row) -> Pending:
    """Read a row of `pending` joined with its document's id."""
    document_id = DocumentId(row["document_id"])
    ref = None
    if row["fingerprint"] is not None:
        ref = DocumentRef(
            document_id, row["fingerprint"], from_us(row["ref_changed_at"]), row["identity"], bool(row["is_racy"])
        )
    change = Change(
        source=SourceName(row["source"]),
        document_id=document_id,
        kind=ChangeKind(row["kind"]),
        ref=ref,
        changed_at=instant(row["changed_at"]),
        first_seen_at=instant(row["first_seen_at"]),
        is_clamped=bool(row["is_clamped"]),
    )
    target = None if row["target_us"] is None else timedelta(microseconds=row["target_us"])
    return Pending(row["seq"], change, target, row["attempts"])


def instant(value: int) -> datetime:
    """Unpack an instant that is never NULL."""
    at = from_us(value)
    if at is None:
        raise ValueError("an instant is missing")
    return at


def ref_columns(ref: DocumentRef | None) -> dict[str, Any]:
    """Spread a ref over the columns that `pending` keeps of it."""
    if ref is None:
        return {"fingerprint": None, "identity": None, "ref_changed_at": None, "is_racy": 0}
    return {
        "fingerprint": ref.fingerprint,
        "identity": ref.identity,
        "ref_changed_at": to_us(ref.changed_at),
        "is_racy": int(ref.is_racy),
    }
