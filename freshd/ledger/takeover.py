"""Has the ledger believe the store: where it was lost, or is older than the index that it is about.

    of a document the store holds     the ledger says
    all of one revision, proved       that it is applied; its recipe and its place at the source are open
    anything else                     that these ids are unknown: the next look rewrites or removes them
    what was forgotten                that it is being forgotten

Either way the next listing sees the document afresh. What both say alike is left as it is.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from freshd.ledger import rows, steps
from freshd.ledger.database import Database
from freshd.ledger.forgetting import is_forgotten, owe
from freshd.model import Digest, DocumentId, HeldChunk, SourceName


@dataclass(frozen=True, slots=True)
class Found:
    """What the store holds of one document.

    Attributes:
        chunks: In document order, of a whole revision; else all there are.
        digest: Of the document's bytes; None unless the chunks are a whole revision.
        label: Of its document-level payload; likewise.

    """

    source: SourceName
    document_id: DocumentId
    chunks: tuple[HeldChunk, ...]
    digest: Digest | None = None
    label: Digest | None = None


class Taken(Enum):
    """What became of it in the ledger."""

    AGREED = auto()
    APPLIED = auto()
    UNKNOWN = auto()
    FORGOTTEN = auto()


def take_over(database: Database, found: Iterable[Found], now: datetime) -> list[Taken]:
    """Believe what the store holds of some documents, in one transaction; tell what became of each."""
    with database.write() as tx:
        return [_take(tx, one, now) for one in found]


def count_anew(database: Database) -> None:
    """Make the totals of every source those of its rows."""
    with database.write() as tx:
        tx.execute(
            "UPDATE sources SET"
            " documents = (SELECT count(*) FROM documents WHERE source = name AND is_applied),"
            " chunks = (SELECT count(*) FROM chunks JOIN documents USING (doc) WHERE source = name)"
        )


def _take(tx: sqlite3.Connection, found: Found, now: datetime) -> Taken:
    row = steps.find(tx, found.source, found.document_id)
    if row is not None and found.digest is not None and _says(tx, row) == found:
        return Taken.AGREED
    _unlist(tx, found.source)
    if row is None:
        tx.execute(
            "INSERT INTO documents (source, document_id, fingerprint) VALUES (?, ?, '')",
            (found.source, found.document_id),
        )
        row = steps.find(tx, found.source, found.document_id)
        if row is None:
            raise RuntimeError("a document that was just written is missing")
    doc = row["doc"]
    if is_forgotten(tx, found.source, found.document_id):
        _doubt(tx, doc, found)
        tx.execute("INSERT OR IGNORE INTO forgetting VALUES (?)", (doc,))
        owe(tx)
        return Taken.FORGOTTEN
    if found.digest is None:
        own = tx.execute("SELECT chunk_id FROM chunks WHERE doc = ?", (doc,))
        steps.doubt(tx, [rows.unpack_id(one["chunk_id"]) for one in own], now)
        _doubt(tx, doc, found)
        return Taken.UNKNOWN
    _apply(tx, doc, found)
    return Taken.APPLIED


def _says(tx: sqlite3.Connection, row: sqlite3.Row) -> Found:
    chunks = tx.execute("SELECT chunk_id, label FROM chunks WHERE doc = ? ORDER BY ordinal", (row["doc"],))
    return Found(
        SourceName(row["source"]),
        DocumentId(row["document_id"]),
        tuple(map(rows.held_chunk, chunks)),
        row["digest"] if row["is_applied"] else None,
        row["label"],
    )


def _apply(tx: sqlite3.Connection, doc: int, found: Found) -> None:
    tx.execute(
        "UPDATE documents SET version = version + 1, is_applied = 1, digest = ?, recipe = '', label = ?, is_racy = 0,"
        " fingerprint = CASE WHEN fingerprint IS NULL THEN NULL ELSE '' END WHERE doc = ?",
        (found.digest, found.label, doc),
    )
    tx.execute("UPDATE pending SET kind = 'modified' WHERE doc = ? AND kind = 'added'", (doc,))
    tx.execute("DELETE FROM chunks WHERE doc = ?", (doc,))
    tx.executemany(
        "INSERT INTO chunks VALUES (?, ?, ?, ?)",
        [(doc, n, rows.pack_id(one.chunk_id), bytes.fromhex(one.label)) for n, one in enumerate(found.chunks)],
    )


def _doubt(tx: sqlite3.Connection, doc: int, found: Found) -> None:
    tx.executemany(
        "INSERT OR IGNORE INTO unknown VALUES (?, ?)", [(doc, rows.pack_id(one.chunk_id)) for one in found.chunks]
    )


def _unlist(tx: sqlite3.Connection, source: SourceName) -> None:
    """Let the source prove nothing until everything of it was listed, and have its next listing show everything."""
    tx.execute("INSERT OR IGNORE INTO sources (name) VALUES (?)", (source,))
    tx.execute(
        "UPDATE sources SET listed_through = NULL, watermark = NULL, wants_everything = 1 WHERE name = ?", (source,)
    )
    tx.execute("DELETE FROM trail WHERE source = ?", (source,))
