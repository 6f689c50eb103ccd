"""Rows ↔ nouns, one function each way, shared by the tables of the ledger."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

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


def among(width: int) -> str:
    """Say in SQL which byte strings of one width stand one after another in `:ids`, of which there is at least one.

    One statement for any number of them: with a place-holder for each, every number would be a statement of its own,
    and each connection keeps 128 of those.
    """
    return (
        f"(WITH RECURSIVE at (i) AS (SELECT 1 UNION ALL SELECT i + {width} FROM at WHERE i + {width} < length(:ids))"
        f" SELECT substr(:ids, i, {width}) FROM at)"
    )


AMONG = among(16)
"""Chunk ids bound as one value, see `pack_ids`."""


def tried_after(source: str) -> str:
    """Say in SQL after which recording the changes of a source are tried: where it is put off, those since then."""
    return f"coalesce((SELECT away_seq FROM sources WHERE name = {source} AND away_until > :now), 0)"


DUE = f"NOT pending.is_held AND pending.due_at <= :now AND pending.seq > {tried_after('pending.source')}"
"""What of `pending` somebody works on now, or would if there were time."""


def pack_id(chunk_id: ChunkId) -> bytes:
    """Pack a chunk id into its 16 bytes."""
    packed = bytes.fromhex(chunk_id.replace("-", ""))
    if len(packed) != 16:
        raise ValueError(f"chunk id: got {chunk_id!r}, expected 32 hexadecimal digits")
    return packed


def pack_ids(chunk_ids: Iterable[ChunkId]) -> bytes:
    """Pack chunk ids one after another, as `AMONG` reads them."""
    return b"".join(map(pack_id, chunk_ids))


def unpack_id(packed: bytes) -> ChunkId:
    """Unpack what `pack_id` packed."""
    said = packed.hex()
    return ChunkId(f"{said[:8]}-{said[8:12]}-{said[12:16]}-{said[16:20]}-{said[20:]}")


def neighbours(table: str) -> str:
    """Say in SQL which chunks stand up to `:reach` places from those in `:ids`, themselves included."""
    return (
        f"SELECT m.chunk_id AS middle, n.chunk_id AS chunk_id, n.ordinal AS ordinal"
        f" FROM {table} AS m JOIN {table} AS n USING (doc)"
        f" WHERE m.chunk_id IN {AMONG} AND n.ordinal BETWEEN m.ordinal - :reach AND m.ordinal + :reach"
    )


def runs(found: Iterable[sqlite3.Row]) -> dict[ChunkId, tuple[ChunkId, ...]]:
    """Read rows of `neighbours` that come in the order of their documents: each chunk amid its neighbours."""
    by_middle: dict[bytes, list[ChunkId]] = {}
    for row in found:
        by_middle.setdefault(row["middle"], []).append(unpack_id(row["chunk_id"]))
    return {unpack_id(middle): tuple(run) for middle, run in by_middle.items()}


def pack_versions(versions: Mapping[tuple[SourceName, str], int]) -> str:
    """Pack versions of documents as `of_version` reads them: one statement for any number of them."""
    return json.dumps([(*key, version) for key, version in versions.items()])


def of_version(version: str, beside: str = "") -> str:
    """Say in SQL which of the documents in `:versions` are of those versions."""
    return (
        f"SELECT source, document_id FROM json_each(:versions) AS asked CROSS JOIN documents{beside}"
        " WHERE source = json_extract(asked.value, '$[0]') AND document_id = json_extract(asked.value, '$[1]')"
        f" AND {version} = json_extract(asked.value, '$[2]')"
    )


KNOWN = "document_id, fingerprint, identity, is_racy, is_applied, absent_since, is_kept"
"""Columns of a document as it is held against a listing."""


def known(row: sqlite3.Row) -> Known:
    """Read a row of `documents` that begins with the columns `KNOWN`."""
    read = Known._make(row[:7])
    return read if read.absent_since is None else read._replace(absent_since=from_us(row[5]))


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
        is_doubted=bool(row["is_doubted"]),
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
