"""What one change does to the ledger's tables, inside the transaction that is handed in.

record  a document becomes pending, or what is pending for it is replaced
begin   the ids that an attempt is about to touch become unknown
commit  its chunks are certain, and the recording that led to them is gone
"""

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from freshd.ledger import rows
from freshd.ledger.database import to_us
from freshd.ledger.forgetting import is_forgotten
from freshd.model import Change, ChangeKind, ChunkId, DocumentId, OutcomeKind, SourceName
from freshd.ports import Applied, Intent

_FIRST_VERSION = "(SELECT coalesce(max(seq), 0) << 20 FROM sqlite_sequence WHERE name = 'pending')"
"""Of a document: beyond all that a former one of its name ever had, of which a plan may still be under way.

A version rises by a few for each recording, and between the two documents there was one at least.
"""


def find(tx: sqlite3.Connection, source: SourceName, document_id: DocumentId) -> sqlite3.Row | None:
    """Give a document's row; None for one that the ledger does not know."""
    row: sqlite3.Row | None = tx.execute(
        "SELECT * FROM documents WHERE source = ? AND document_id = ?", (source, document_id)
    ).fetchone()
    return row


def has_unknown(tx: sqlite3.Connection, doc: int) -> bool:
    """Tell whether a broken attempt left ids of the document unknown."""
    return tx.execute("SELECT 1 FROM unknown WHERE doc = ? LIMIT 1", (doc,)).fetchone() is not None


def forget(tx: sqlite3.Connection, doc: int) -> None:
    """Remove every trace of a document but its history.

    Its name stays while the generation beside holds it, or while it is being forgotten, which goes by its number:
    another document would be given that one.
    """
    for table in ("pending", "unknown", "chunks"):
        tx.execute(f"DELETE FROM {table} WHERE doc = ?", (doc,))
    tx.execute(
        "UPDATE documents SET fingerprint = NULL, identity = NULL, is_racy = 0, version = version + 1, is_applied = 0,"
        " digest = NULL, recipe = NULL, label = NULL, absent_since = NULL WHERE doc = ?",
        (doc,),
    )
    tx.execute(  # of a row that only says that it is behind, see `_leave_behind`, nothing is left to be said
        "DELETE FROM documents_beside WHERE doc = ?1 AND digest = ''"
        " AND NOT EXISTS (SELECT 1 FROM chunks_beside WHERE doc = ?1)"
        " AND NOT EXISTS (SELECT 1 FROM unknown_beside WHERE doc = ?1)",
        (doc,),
    )
    drop_names(tx, doc)


def drop_names(tx: sqlite3.Connection, doc: int | None = None) -> None:
    """Remove documents of which nothing but the name is left, in any generation; all such for None."""
    is_named = "".join(
        f" AND NOT EXISTS (SELECT 1 FROM {table} AS t WHERE t.doc = documents.doc)"
        for table in ("pending", "unknown", "documents_beside", "unknown_beside", "forgetting")
    )
    which = "" if doc is None else " AND doc = ?"
    tx.execute(
        f"DELETE FROM documents WHERE NOT is_applied AND fingerprint IS NULL{which}{is_named}",
        () if doc is None else (doc,),
    )


def record(tx: sqlite3.Connection, change: Change, target: timedelta | None, held: bool) -> None:
    """Make one change pending; a document added and deleted before anything was done for it leaves no trace.

    Nothing is recorded of one that was forgotten: whoever looked may have begun before.
    """
    if is_forgotten(tx, change.source, change.document_id):
        return
    ref = rows.ref_columns(change.ref)
    tx.execute("INSERT OR IGNORE INTO sources (name) VALUES (?)", (change.source,))
    tx.execute(
        "INSERT INTO documents (source, document_id, fingerprint, identity, is_racy, version)"
        f" VALUES (:source, :document_id, :fingerprint, :identity, :is_racy, {_FIRST_VERSION})"
        " ON CONFLICT (source, document_id) DO"
        " UPDATE SET fingerprint = excluded.fingerprint, is_racy = excluded.is_racy,"
        " is_kept = is_kept AND excluded.fingerprint IS NULL,"
        " identity = coalesce(excluded.identity, identity)",
        {"source": change.source, "document_id": change.document_id, **ref},
    )
    row = find(tx, change.source, change.document_id)
    if row is None:
        raise RuntimeError("a document that was just written is missing")
    old = tx.execute("SELECT * FROM pending WHERE doc = ?", (row["doc"],)).fetchone()
    is_unheard_of = not row["is_applied"] and not has_unknown(tx, row["doc"])
    if old is not None and change.kind is ChangeKind.DELETED and is_unheard_of:
        forget(tx, row["doc"])
        return
    columns = {
        "doc": row["doc"],
        "source": change.source,
        "kind": change.kind,
        **ref,
        **_urgency(change, target, held),
    }
    if old is not None:
        columns |= _kept_of(old, columns)
    tx.execute("DELETE FROM pending WHERE doc = ?", (row["doc"],))
    tx.execute(
        f"INSERT INTO pending ({', '.join(columns)}) VALUES ({', '.join(f':{column}' for column in columns)})", columns
    )


def _urgency(change: Change, target: timedelta | None, held: bool) -> dict[str, Any]:
    """Spread when a change came to be, and by when it has to be done, over the columns of `pending`."""
    target_us = None if target is None else target // timedelta(microseconds=1)
    columns = {
        "changed_at": to_us(change.changed_at),
        "first_seen_at": to_us(change.first_seen_at),
        "is_clamped": int(change.is_clamped),
        "is_doubted": int(change.is_doubted),
        "target_us": target_us,
        "deadline": None,
        "is_held": int(held),
    }
    if target_us is not None:
        columns["deadline"] = _counted_from(columns, change.kind) + target_us
    return columns


def _counted_from(columns: dict[str, Any], kind: ChangeKind) -> int:
    """Give the instant from which a deadline counts.

    A deletion's instant is only bounded from below; counted from when it was seen,
    the added documents it may have moved to go first, and search shows one of the two at any moment.
    """
    return int(columns["first_seen_at"] if kind is ChangeKind.DELETED else columns["changed_at"])


_DECIDED = (
    *("target_us", "deadline", "attempts", "due_at", "error"),
    *("is_held", "is_quarantined", "is_migration", "is_doubted"),
)


def _kept_of(old: sqlite3.Row, new: dict[str, Any]) -> dict[str, Any]:
    """Give the columns in which an older recording of the document outlives a newer one.

    Equal fingerprints are one change seen twice: all that was decided about it stays, failures included.
    Otherwise the newer one is another change, which has waited since the older one;
    only backfill and doubts make no lag, so a live edit of a document that waits for them counts for itself.
    """
    kept: dict[str, Any] = {"first_seen_at": old["first_seen_at"]}
    if old["fingerprint"] == new["fingerprint"]:
        kept |= {name: old[name] for name in _DECIDED}
    elif new["target_us"] is None:
        kept |= {"target_us": old["target_us"], "deadline": old["deadline"]}
    elif old["target_us"] is None or old["is_doubted"]:
        return kept
    elif new["kind"] is not ChangeKind.DELETED:
        kept["deadline"] = min(old["changed_at"], new["changed_at"]) + new["target_us"]
    if old["changed_at"] < new["changed_at"]:
        kept |= {"changed_at": old["changed_at"], "is_clamped": old["is_clamped"]}
    return kept


def doubt(tx: sqlite3.Connection, chunk_ids: Sequence[ChunkId], now: datetime) -> int:
    """Make applied chunks unknown, their documents pending and their sources unlisted; give how many documents."""
    values = {"ids": rows.pack_ids(chunk_ids), "now": to_us(now)}
    docs = f"SELECT doc FROM chunks WHERE chunk_id IN {rows.AMONG}"
    named = f"SELECT source FROM documents WHERE doc IN ({docs})"
    doubted = tx.execute(
        "INSERT OR IGNORE INTO pending"
        " (changed_at, first_seen_at, doc, source, kind, fingerprint, identity, is_clamped, is_doubted)"
        " SELECT :now, :now, doc, source, 'modified', fingerprint, identity, 1, 1 FROM documents"
        f" WHERE is_applied AND fingerprint IS NOT NULL AND doc IN ({docs})",
        values,
    ).rowcount
    tx.execute(f"UPDATE pending SET is_migration = 0 WHERE doc IN ({docs})", values)
    # A batch that was planned before, and would take the ids for certain, leaves these documents alone.
    tx.execute(f"UPDATE documents SET version = version + 1 WHERE doc IN ({docs})", values)
    tx.execute(f"UPDATE sources SET listed_through = NULL, watermark = NULL WHERE name IN ({named})", values)
    tx.execute(f"DELETE FROM trail WHERE source IN ({named})", values)
    tx.execute(f"INSERT OR IGNORE INTO unknown SELECT doc, chunk_id FROM chunks WHERE chunk_id IN {rows.AMONG}", values)
    return doubted


def read_again(tx: sqlite3.Connection, now: datetime, where: str, **values: object) -> int:
    """Make applied documents pending as backfill, which is no change of their source; give how many.

    Args:
        tx: The transaction.
        now: When that is.
        where: Which of `documents`; what is pending already stays as it is.
        values: Named in `where`.

    """
    return tx.execute(
        "INSERT INTO pending"
        " (doc, source, kind, fingerprint, identity, changed_at, first_seen_at, is_clamped, is_migration)"
        " SELECT doc, source, 'modified', fingerprint, identity, :now, :now, 1, 1 FROM documents"
        f" WHERE is_applied AND fingerprint IS NOT NULL AND doc NOT IN (SELECT doc FROM pending) AND {where}",
        {"now": to_us(now), **values},
    ).rowcount


def begin(tx: sqlite3.Connection, intent: Intent) -> bool:
    """Make the touched ids of one document unknown; False when its version has moved on."""
    row = find(tx, intent.source, intent.document_id)
    if row is None or row["version"] != intent.version:
        return False
    tx.executemany(
        "INSERT OR IGNORE INTO unknown VALUES (?, ?)",
        [(row["doc"], rows.pack_id(chunk_id)) for chunk_id in sorted(intent.touched)],
    )
    return True


def commit(tx: sqlite3.Connection, item: Applied) -> bool:
    """Make certain what the store now holds of one document, and of the one it moved away from.

    Returns:
        Whether that is a change of the source; not of a touched document, nor of one that was only written anew,
        nor of one without text that was forgotten while it was worked on.

    """
    change = item.outcome.change
    if change.previous_id is not None:
        _commit_absence(tx, change.source, change.previous_id, seq=None)
    if item.ref is None:
        _commit_absence(tx, change.source, change.document_id, seq=item.pending.seq)
        return True
    row = find(tx, change.source, change.document_id)
    if row is None:
        if not item.chunks or item.outcome.kind is OutcomeKind.TOUCHED:
            return False
        raise RuntimeError(f"{change.source}/{change.document_id}: applied, but the ledger does not know it")
    doc = row["doc"]
    tx.execute("DELETE FROM pending WHERE doc = ? AND seq = ?", (doc, item.pending.seq))
    is_newer_pending = tx.execute("SELECT 1 FROM pending WHERE doc = ?", (doc,)).fetchone() is not None
    if not is_newer_pending:
        tx.execute(
            "UPDATE documents SET fingerprint = ?, identity = ?, is_racy = ? WHERE doc = ?",
            (item.ref.fingerprint, item.ref.identity, int(item.ref.is_racy), doc),
        )
    if item.outcome.kind is OutcomeKind.TOUCHED:
        return False
    is_same = row["is_applied"] and row["digest"] == item.digest
    is_corrected = is_same and not _is_as_held(tx, row, item)
    if is_corrected or not is_same:  # the text may come to be again the one that was planned or stands beside
        _leave_behind(tx, doc)
    before = tx.execute("SELECT count(*) AS n FROM chunks WHERE doc = ?", (doc,)).fetchone()["n"]
    tx.execute(
        "UPDATE documents SET version = version + 1, is_applied = 1, digest = ?, recipe = ?, label = ? WHERE doc = ?",
        (item.digest, item.recipe, item.label, doc),
    )
    tx.execute("UPDATE pending SET kind = 'modified' WHERE doc = ? AND kind = 'added'", (doc,))
    tx.execute("DELETE FROM unknown WHERE doc = ?", (doc,))
    tx.execute("DELETE FROM chunks WHERE doc = ?", (doc,))
    tx.executemany(
        "INSERT INTO chunks VALUES (?, ?, ?, ?)",
        [(doc, n, rows.pack_id(c.chunk_id), bytes.fromhex(c.label)) for n, c in enumerate(item.chunks)],
    )
    _tally(tx, change.source, 0 if row["is_applied"] else 1, len(item.chunks) - before)
    return not is_same or (is_corrected and item.pending.target is not None)


def _is_as_held(tx: sqlite3.Connection, row: sqlite3.Row, item: Applied) -> bool:
    """Tell whether all that the store shows of a document is what it showed."""
    held = tx.execute("SELECT chunk_id, label FROM chunks WHERE doc = ? ORDER BY ordinal", (row["doc"],))
    return row["label"] == item.label and list(map(rows.held_chunk, held)) == list(item.chunks)


def _leave_behind(tx: sqlite3.Connection, doc: int) -> None:
    """Have a document be behind in the generation beside, where its digest does not tell; see `beside`.

    What is under way for it there was planned for another version, also where it came and went meanwhile.
    """
    tx.execute(
        "INSERT INTO documents_beside SELECT doc, version + 1, '', '', '' FROM documents"
        " WHERE doc = ? AND EXISTS (SELECT 1 FROM meta WHERE key = 'generation.beside')"
        " ON CONFLICT (doc) DO UPDATE SET version = version + 1, digest = ''",
        (doc,),
    )


def _commit_absence(tx: sqlite3.Connection, source: SourceName, document_id: DocumentId, seq: int | None) -> None:
    row = find(tx, source, document_id)
    if row is None:
        return
    doc = row["doc"]
    chunks = tx.execute("SELECT count(*) AS n FROM chunks WHERE doc = ?", (doc,)).fetchone()["n"]
    _tally(tx, source, -row["is_applied"], -chunks)
    newer = tx.execute(
        "SELECT 1 FROM pending WHERE doc = ? AND kind != 'deleted' AND seq IS NOT ?", (doc, seq)
    ).fetchone()
    if newer is None:
        forget(tx, doc)
        return
    tx.execute("DELETE FROM chunks WHERE doc = ?", (doc,))
    tx.execute("DELETE FROM unknown WHERE doc = ?", (doc,))
    tx.execute(
        "UPDATE documents SET version = version + 1, is_applied = 0, digest = NULL, recipe = NULL, label = NULL"
        " WHERE doc = ?",
        (doc,),
    )
    tx.execute("UPDATE pending SET kind = 'added' WHERE doc = ?", (doc,))


def _tally(tx: sqlite3.Connection, source: SourceName, documents: int, chunks: int) -> None:
    tx.execute(
        "UPDATE sources SET documents = documents + ?, chunks = chunks + ? WHERE name = ?",
        (documents, chunks, source),
    )
