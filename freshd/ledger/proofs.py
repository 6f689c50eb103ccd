"""What the ledger can prove of single chunks, for whoever holds it against the store; changes nothing.

    claim     whose chunk it is, and the digests of everything that its payload says
    unknown   an attempt may or may not have left it in the store
    put off   its document waits for a person or for a time to come: nobody works on it now

An unknown chunk that is not put off is somebody's work in hand, of which nothing can be said.
"""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from freshd.ledger import rows
from freshd.ledger.database import Database, to_us
from freshd.model import ChunkId, Digest, DocumentId, SourceName

_CLAIM = "chunk_id, chunks.label AS chunk_label, source, document_id, digest, documents.label"


class Claim(NamedTuple):
    """What the ledger says of a chunk.

    Attributes:
        digest: Of the document's bytes.
        label: Of the document-level payload.
        chunk_label: Of the chunk-level payload.

    """

    source: SourceName
    document_id: DocumentId
    digest: Digest
    label: Digest
    chunk_label: Digest


class Proofs:
    """Questions about chunks of applied revisions; each is one look. Safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        """Read an open database."""
        self._database = database

    def claims(self, after: ChunkId | None, limit: int) -> list[tuple[ChunkId, Claim]]:
        """Read a page of applied chunks in id order."""
        sql = f"SELECT {_CLAIM} FROM chunks JOIN documents USING (doc) WHERE chunk_id > ? ORDER BY chunk_id LIMIT ?"
        found = self._database.read(sql, (b"" if after is None else rows.pack_id(after), limit))
        return [_claim(row) for row in found]

    def claims_of(self, chunk_ids: Sequence[ChunkId]) -> dict[ChunkId, Claim]:
        """Give what is said of those chunks of which anything is."""
        return dict(map(_claim, self._found(f"SELECT {_CLAIM} FROM chunks JOIN documents USING (doc)", chunk_ids)))

    def unknown_among(self, chunk_ids: Sequence[ChunkId]) -> set[ChunkId]:
        """Give those that an attempt may or may not have left in the store."""
        found = self._found("SELECT chunk_id FROM unknown", chunk_ids)
        return {rows.unpack_id(row["chunk_id"]) for row in found}

    def put_off_among(self, chunk_ids: Sequence[ChunkId], now: datetime) -> set[ChunkId]:
        """Give those of whose document no change is due, so that nobody works on it now."""
        idle = f"doc NOT IN (SELECT doc FROM pending WHERE {rows.DUE})"
        found = self._found(f"SELECT chunk_id FROM chunks WHERE {idle} AND", chunk_ids, now=to_us(now))
        return {rows.unpack_id(row["chunk_id"]) for row in found}

    def in_doubt(self, now: datetime) -> int:
        """Count the applied chunks that are unknown and not put off: of those nothing can be said."""
        sql = (
            "SELECT count(*) AS n FROM chunks WHERE chunk_id IN (SELECT chunk_id FROM unknown)"
            f" AND doc IN (SELECT doc FROM pending WHERE {rows.DUE})"
        )
        return int(self._database.read(sql, {"now": to_us(now)})[0]["n"])

    def in_hand_among(
        self, documents: Sequence[tuple[SourceName, DocumentId]], now: datetime
    ) -> set[tuple[SourceName, DocumentId]]:
        """Give those of which a change is due."""
        sql = (
            "SELECT 1 FROM pending JOIN documents USING (doc)"
            f" WHERE documents.source = :source AND document_id = :document_id AND {rows.DUE}"
        )
        return {
            (source, document_id)
            for source, document_id in documents
            if self._database.read(sql, {"source": source, "document_id": document_id, "now": to_us(now)})
        }

    def errors_of(self, chunk_ids: Sequence[ChunkId]) -> dict[ChunkId, str]:
        """Say why the documents of some chunks could not be written whole; without those that did not fail."""
        found = self._found(
            "SELECT chunk_id, error FROM chunks JOIN pending USING (doc) WHERE error IS NOT NULL AND", chunk_ids
        )
        return {rows.unpack_id(row["chunk_id"]): str(row["error"]) for row in found}

    def certain(self, after: ChunkId, limit: int) -> list[ChunkId]:
        """Give applied chunks after an id, in id order, without unknown ones."""
        found = self._database.read(
            "SELECT chunk_id FROM chunks WHERE chunk_id > ? AND chunk_id NOT IN (SELECT chunk_id FROM unknown)"
            " ORDER BY chunk_id LIMIT ?",
            (rows.pack_id(after), limit),
        )
        return [rows.unpack_id(row["chunk_id"]) for row in found]

    def certain_chunks(self) -> int:
        """Count the chunks that the store must hold, unless it lost some."""
        # From the kept totals: this is asked again and again, and unknown ids are few.
        sql = (
            "SELECT (SELECT coalesce(sum(chunks), 0) FROM sources)"
            " - (SELECT count(*) FROM chunks WHERE chunk_id IN (SELECT chunk_id FROM unknown)) AS n"
        )
        return int(self._database.read(sql)[0]["n"])

    def documents_of(self, source: SourceName) -> int:
        """Count the applied documents of a source."""
        found = self._database.read("SELECT documents FROM sources WHERE name = ?", (source,))
        return int(found[0]["documents"]) if found else 0

    def generation(self) -> str | None:
        """Tell which generation all of this is said of; None while there has only ever been one."""
        return self._database.recall("generation.live")

    def _found(self, select: str, chunk_ids: Sequence[ChunkId], **values: int | None) -> list[sqlite3.Row]:
        joint = "" if select.endswith(" AND") else " WHERE"
        sql = f"{select}{joint} chunk_id IN {rows.AMONG}"
        return self._database.read(sql, {"ids": rows.pack_ids(chunk_ids), **values})


def _claim(row: sqlite3.Row) -> tuple[ChunkId, Claim]:
    said = Claim(
        SourceName(row["source"]),
        DocumentId(row["document_id"]),
        Digest(row["digest"]),
        Digest(row["label"]),
        Digest(row["chunk_label"].hex()),
    )
    return rows.unpack_id(row["chunk_id"]), said
