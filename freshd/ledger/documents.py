"""Documents, their chunks and what is pending for them: the part of the ledger the pipeline lives by.

    record ─▶ pending ─▶ begin (touched ids become unknown) ─▶ store ─▶ commit (chunks certain, pending gone)

A crash between `begin` and `commit` leaves the ids unknown: wanted ones are written again, others removed.
"""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta

from freshd.ledger import history, rows
from freshd.ledger.database import Database, to_us
from freshd.model import (
    Change,
    ChangeKind,
    ChunkId,
    Digest,
    DocumentId,
    Known,
    OutcomeKind,
    Pending,
    Revision,
    SourceName,
)
from freshd.ports import Applied, Intent

_PAGE = 1000
"""Documents read at a time while streaming; keeps no long read transaction open."""

_VARIABLES = 500
"""Ids bound in one statement; SQLite's own limit is far higher since 3.32."""

_PENDING = (
    "SELECT p.*, d.document_id FROM pending p JOIN documents d USING (doc)"
    " WHERE p.is_held = 0 AND p.due_at <= ? AND {where} ORDER BY {order} LIMIT ?"
)


class SqliteLedger:
    """`ports.Ledger` over SQLite."""

    def __init__(self, database: Database) -> None:
        """Work on an open database; crashed attempts found in it become urgent."""
        self._database = database
        with database.write() as tx:
            tx.execute(
                "UPDATE pending SET deadline = changed_at, due_at = 0"
                " WHERE deadline IS NULL AND doc IN (SELECT doc FROM unknown)"
            )

    @property
    def instance(self) -> str:
        """Identity of this ledger."""
        return self._database.instance

    # What is remembered

    def known(self, source: SourceName, scope: str | None = None) -> Iterator[Known]:
        """Stream the documents of a source page by page."""
        where = " AND (document_id = ? OR (document_id > ? AND document_id < ?))" if scope else ""
        # '0' follows '/' in code point order: the range holds exactly what lies under the scope.
        bounds = (scope, scope + "/", scope + "0") if scope else ()
        sql = (
            "SELECT document_id, fingerprint, identity, is_racy, is_applied FROM documents"
            f" WHERE source = ? AND document_id > ?{where} ORDER BY document_id LIMIT {_PAGE}"
        )
        last = ""
        while page := self._database.read(sql, (source, last, *bounds)):
            yield from map(rows.known, page)
            last = page[-1]["document_id"]

    def revision(self, source: SourceName, document_id: DocumentId) -> Revision:
        """Read a document's applied chunks and its unknown ids."""
        found = self._database.read(
            "SELECT doc, version, digest, recipe, label FROM documents WHERE source = ? AND document_id = ?",
            (source, document_id),
        )
        if not found:
            return Revision()
        row = found[0]
        chunks = self._database.read("SELECT chunk_id, label FROM chunks WHERE doc = ? ORDER BY ordinal", (row["doc"],))
        unknown = self._database.read("SELECT chunk_id FROM unknown WHERE doc = ?", (row["doc"],))
        return Revision(
            row["version"],
            row["digest"],
            row["recipe"],
            row["label"],
            tuple(map(rows.held_chunk, chunks)),
            frozenset(rows.unpack_id(r["chunk_id"]) for r in unknown),
        )

    def successor(self, source: SourceName, document_id: DocumentId) -> DocumentId | None:
        """Find another present document with the same identity, else with the same content."""
        for column in ("identity", "digest"):
            found = self._database.read(
                f"SELECT b.document_id FROM documents a JOIN documents b ON b.source = a.source"
                f" AND b.{column} = a.{column} AND b.doc != a.doc AND b.fingerprint IS NOT NULL"
                " WHERE a.source = ? AND a.document_id = ? LIMIT 1",
                (source, document_id),
            )
            if found:
                return DocumentId(found[0]["document_id"])
        return None

    def vanished_twin(self, source: SourceName, digest: Digest) -> DocumentId | None:
        """Find an applied document with this content whose deletion is pending: the place a moved one came from."""
        found = self._database.read(
            "SELECT d.document_id FROM documents d JOIN pending p USING (doc)"
            " WHERE d.source = ? AND d.digest = ? AND p.kind = 'deleted' AND p.is_held = 0 LIMIT 1",
            (source, digest),
        )
        return DocumentId(found[0]["document_id"]) if found else None

    def admitted(self, chunk_ids: Sequence[ChunkId]) -> set[ChunkId]:
        """Look the ids up among applied chunks."""
        found: set[ChunkId] = set()
        for start in range(0, len(chunk_ids), _VARIABLES):
            part = [rows.pack_id(i) for i in chunk_ids[start : start + _VARIABLES]]
            marks = ",".join("?" * len(part))
            hits = self._database.read(f"SELECT chunk_id FROM chunks WHERE chunk_id IN ({marks})", tuple(part))
            found.update(rows.unpack_id(row["chunk_id"]) for row in hits)
        return found

    # What is pending

    def record(self, changes: Sequence[Change], target: timedelta | None, *, held: bool = False) -> None:
        """Make changes pending in one transaction."""
        if not changes:
            return
        with self._database.write() as tx:
            for change in changes:
                _record_one(tx, change, target, held)

    def take(
        self,
        now: datetime,
        limit: int,
        *,
        urgent: bool = False,
        sources: Sequence[SourceName] | None = None,
        skip: Collection[int] = (),
    ) -> list[Pending]:
        """Read what is due: first by deadline, then backfill in the order it was found."""
        where = "1"
        if sources is not None:
            where += f" AND p.source IN ({','.join('?' * len(sources))})"
        if skip:
            where += f" AND p.seq NOT IN ({','.join(map(str, skip))})"
        taken = self._taken(now, limit, f"p.deadline IS NOT NULL AND {where}", "p.deadline, p.seq", sources)
        if not urgent and len(taken) < limit:
            rest = limit - len(taken)
            taken += self._taken(now, rest, f"p.deadline IS NULL AND {where}", "p.seq", sources)
        return taken

    def _taken(
        self, now: datetime, limit: int, where: str, order: str, sources: Sequence[SourceName] | None
    ) -> list[Pending]:
        found = self._database.read(_PENDING.format(where=where, order=order), (to_us(now), *(sources or ()), limit))
        return [rows.pending(row) for row in found]

    def unread(self, source: SourceName) -> int:
        """Count documents found new and not applied yet, quarantined ones left out."""
        row = self._database.read(
            "SELECT count(*) AS n FROM pending WHERE source = ? AND kind = 'added' AND is_quarantined = 0", (source,)
        )[0]
        return int(row["n"])

    def defer(self, pending: Pending, error: str, until: datetime, *, quarantine: bool) -> None:
        """Put a failed change off."""
        with self._database.write() as tx:
            tx.execute(
                "UPDATE pending SET attempts = attempts + 1, due_at = ?, error = ?, is_quarantined = ? WHERE seq = ?",
                (to_us(until), error, int(quarantine), pending.seq),
            )

    def drop(self, pending: Pending) -> None:
        """Forget a recording; a fingerprint that equals no other makes the next look see the document afresh."""
        with self._database.write() as tx:
            row = tx.execute("SELECT d.* FROM pending JOIN documents d USING (doc) WHERE seq = ?", (pending.seq,))
            found = row.fetchone()
            if found is None:
                return
            tx.execute("DELETE FROM pending WHERE seq = ?", (pending.seq,))
            if found["is_applied"] or _has_unknown(tx, found):
                tx.execute("UPDATE documents SET fingerprint = '' WHERE doc = ?", (found["doc"],))
            else:
                _forget(tx, found["doc"])

    def approve(self, source: SourceName) -> int:
        """Let the held deletions of a source pass; give how many."""
        with self._database.write() as tx:
            return tx.execute("UPDATE pending SET is_held = 0 WHERE source = ? AND is_held = 1", (source,)).rowcount

    def held(self, source: SourceName) -> list[DocumentId]:
        """List the documents whose deletion waits for approval."""
        found = self._database.read(
            "SELECT d.document_id FROM pending p JOIN documents d USING (doc)"
            " WHERE p.source = ? AND p.is_held = 1 ORDER BY d.document_id",
            (source,),
        )
        return [DocumentId(row["document_id"]) for row in found]

    def invalidate(self, recipe: Digest | None, now: datetime) -> int:
        """Make documents of another recipe (None: every document) pending as backfill; give how many."""
        with self._database.write() as tx:
            if recipe is None:
                tx.execute("UPDATE documents SET recipe = '' WHERE is_applied")
            return tx.execute(
                "INSERT INTO pending (doc, source, kind, fingerprint, identity, changed_at, first_seen_at, is_clamped)"
                " SELECT doc, source, 'modified', fingerprint, identity, ?, ?, 1 FROM documents"
                " WHERE is_applied AND fingerprint IS NOT NULL AND (? IS NULL OR recipe != ?)"
                " AND doc NOT IN (SELECT doc FROM pending)",
                (to_us(now), to_us(now), recipe, recipe),
            ).rowcount

    # What was applied

    def begin(self, intents: Sequence[Intent]) -> list[bool]:
        """Make the touched ids unknown, for every intent that still stands."""
        with self._database.write() as tx:
            return [_begin_one(tx, intent) for intent in intents]

    def commit(self, applied: Sequence[Applied]) -> None:
        """Make what the store holds certain, and remember it in the history."""
        with self._database.write() as tx:
            for item in applied:
                _commit_one(tx, item)
                if item.outcome.kind is not OutcomeKind.TOUCHED:
                    history.append(tx, item)

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _doc(tx: sqlite3.Connection, source: SourceName, document_id: DocumentId) -> sqlite3.Row | None:
    row: sqlite3.Row | None = tx.execute(
        "SELECT * FROM documents WHERE source = ? AND document_id = ?", (source, document_id)
    ).fetchone()
    return row


def _record_one(tx: sqlite3.Connection, change: Change, target: timedelta | None, held: bool) -> None:
    ref = rows.ref_columns(change.ref)
    tx.execute("INSERT OR IGNORE INTO sources (name) VALUES (?)", (change.source,))
    tx.execute(
        "INSERT INTO documents (source, document_id, fingerprint, identity, is_racy)"
        " VALUES (:source, :document_id, :fingerprint, :identity, :is_racy) ON CONFLICT (source, document_id) DO"
        " UPDATE SET fingerprint = excluded.fingerprint, is_racy = excluded.is_racy,"
        " identity = coalesce(excluded.identity, identity)",
        {"source": change.source, "document_id": change.document_id, **ref},
    )
    row = _doc(tx, change.source, change.document_id)
    if row is None:
        raise RuntimeError("a document that was just written is missing")
    old = tx.execute("SELECT * FROM pending WHERE doc = ?", (row["doc"],)).fetchone()
    if old is not None and change.kind is ChangeKind.DELETED and not row["is_applied"] and not _has_unknown(tx, row):
        _forget(tx, row["doc"])
        return
    changed_at = to_us(change.changed_at)
    since = changed_at if old is None else min(changed_at or 0, old["changed_at"])
    target_us = None if target is None else target // timedelta(microseconds=1)
    # A deletion's instant is only bounded from below; counted from when it was seen,
    # the added documents it may have moved to go first, and search shows one of the two at any moment.
    from_us = to_us(change.first_seen_at) if change.kind is ChangeKind.DELETED else since
    is_same = old is not None and old["fingerprint"] == ref["fingerprint"]
    tx.execute("DELETE FROM pending WHERE doc = ?", (row["doc"],))
    tx.execute(
        "INSERT INTO pending (doc, source, kind, fingerprint, identity, ref_changed_at, is_racy,"
        " changed_at, first_seen_at, is_clamped, target_us, deadline, attempts, due_at, is_held, is_quarantined, error)"
        " VALUES (:doc, :source, :kind, :fingerprint, :identity, :ref_changed_at, :is_racy,"
        " :changed_at, :first_seen_at, :is_clamped, :target_us, :deadline, :attempts, :due_at,"
        " :is_held, :is_quarantined, :error)",
        {
            "doc": row["doc"],
            "source": change.source,
            "kind": change.kind,
            **ref,
            "changed_at": since,
            "first_seen_at": to_us(change.first_seen_at) if old is None else old["first_seen_at"],
            "is_clamped": int(change.is_clamped),
            "target_us": target_us,
            "deadline": None if target_us is None else (from_us or 0) + target_us,
            "attempts": old["attempts"] if is_same else 0,
            "due_at": old["due_at"] if is_same else 0,
            "is_held": int(held),
            "is_quarantined": old["is_quarantined"] if is_same else 0,
            "error": old["error"] if is_same else None,
        },
    )


def _has_unknown(tx: sqlite3.Connection, row: sqlite3.Row) -> bool:
    return tx.execute("SELECT 1 FROM unknown WHERE doc = ? LIMIT 1", (row["doc"],)).fetchone() is not None


def _forget(tx: sqlite3.Connection, doc: int) -> None:
    for table in ("pending", "unknown", "chunks", "documents"):
        tx.execute(f"DELETE FROM {table} WHERE doc = ?", (doc,))


def _begin_one(tx: sqlite3.Connection, intent: Intent) -> bool:
    row = _doc(tx, intent.source, intent.document_id)
    if row is None or row["version"] != intent.version:
        return False
    tx.executemany(
        "INSERT OR IGNORE INTO unknown VALUES (?, ?)",
        [(row["doc"], rows.pack_id(chunk_id)) for chunk_id in sorted(intent.touched)],
    )
    return True


def _commit_one(tx: sqlite3.Connection, item: Applied) -> None:
    change = item.outcome.change
    if change.previous_id is not None:
        _commit_absence(tx, change.source, change.previous_id, seq=None)
    if item.ref is None:
        _commit_absence(tx, change.source, change.document_id, seq=item.pending.seq)
        return
    row = _doc(tx, change.source, change.document_id)
    if row is None:
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
        return
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


def _commit_absence(tx: sqlite3.Connection, source: SourceName, document_id: DocumentId, seq: int | None) -> None:
    row = _doc(tx, source, document_id)
    if row is None:
        return
    doc = row["doc"]
    chunks = tx.execute("SELECT count(*) AS n FROM chunks WHERE doc = ?", (doc,)).fetchone()["n"]
    _tally(tx, source, -row["is_applied"], -chunks)
    newer = tx.execute(
        "SELECT 1 FROM pending WHERE doc = ? AND kind != 'deleted' AND seq IS NOT ?", (doc, seq)
    ).fetchone()
    if newer is None:
        _forget(tx, doc)
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
