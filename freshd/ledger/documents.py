"""Documents, their chunks and what is pending for them: the part of the ledger the pipeline lives by.

    record ─▶ pending ─▶ begin (touched ids become unknown) ─▶ store ─▶ commit (chunks certain, pending gone)

A crash between `begin` and `commit` leaves the ids unknown: wanted ones are written again, others removed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from freshd.ledger import history, rows, steps
from freshd.ledger.database import Database, from_us, to_us
from freshd.ledger.forgetting import STAYS, SqliteForgetting
from freshd.ledger.waiting import PendingChanges
from freshd.ledger.whereabouts import Whereabouts, bearers, whereabouts
from freshd.model import (
    Change,
    ChunkId,
    Digest,
    DocumentId,
    Known,
    Pending,
    Revision,
    SourceName,
)
from freshd.ports import Applied, Intent

_PAGE = 500
"""Documents read at a time while streaming; keeps no long read transaction open."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Where the pending change of one document stands.

    Attributes:
        seq: Of its newest recording.
        error: Why the last attempt failed, in one line; None if none did.

    """

    seq: int
    is_held: bool
    is_quarantined: bool
    error: str | None


class SqliteLedger(PendingChanges):
    """`ports.Ledger` over SQLite."""

    def __init__(self, database: Database) -> None:
        """Work on an open database; crashed attempts found in it become urgent."""
        super().__init__(database)
        self.without_forgotten = SqliteForgetting(database).without_forgotten
        with database.write() as tx:
            tx.execute(
                "UPDATE pending SET deadline = coalesce(deadline, changed_at), due_at = 0"
                " WHERE doc IN (SELECT doc FROM unknown)"
                # Not what a store that lost it is being given back, which may be everything.
                " AND NOT is_doubted"
            )

    @property
    def instance(self) -> str:
        """Identity of this ledger."""
        return self._database.instance

    # What is remembered

    def known(self, source: SourceName, scope: str | None = None) -> Iterator[Known]:
        """Stream the documents of a source page by page."""
        select = f"SELECT {rows.KNOWN} FROM documents WHERE source = ? AND {STAYS} AND document_id"
        last, end, bounds = "", "", tuple[str, ...]()
        if scope:
            yield from map(rows.known, self._database.read(f"{select} = ?", (source, scope)))
            # '0' follows '/' in code point order: the range holds exactly what lies under the scope.
            last, end, bounds = scope + "/", " AND document_id < ?", (scope + "0",)
        sql = f"{select} > ?{end} ORDER BY document_id LIMIT {_PAGE}"
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

    def whereabouts(
        self, source: SourceName, gone: Set[DocumentId], changes: Sequence[Change] = ()
    ) -> dict[DocumentId, Whereabouts]:
        """Tell where the texts of absent documents may stand now; see `whereabouts.whereabouts`."""
        return whereabouts(self._database, source, gone, changes)

    def holders(self, source: SourceName, identity: str) -> Iterator[Known]:
        """Stream the present documents that carry an identity: several where files are hard links of one another."""
        return map(rows.known, bearers(self._database, source, "identity", identity))

    def vanished_twin(self, source: SourceName, digest: Digest) -> DocumentId | None:
        """Find an applied document with this content whose deletion is pending: the place a moved one came from."""
        found = self._database.read(
            "SELECT d.document_id FROM documents d JOIN pending p USING (doc)"
            " WHERE d.source = ? AND d.digest = ? AND p.kind = 'deleted' AND p.is_held = 0 LIMIT 1",
            (source, digest),
        )
        return DocumentId(found[0]["document_id"]) if found else None

    def new_names(self, source: SourceName, document_id: DocumentId) -> list[DocumentId]:
        """Name new documents with the identity of one, not read yet; what cannot be read (quarantined) is left out."""
        found = self._database.read(
            "SELECT new.document_id FROM documents old"
            " JOIN documents new ON new.source = old.source AND new.identity = old.identity"
            " JOIN pending p ON p.doc = new.doc"
            " WHERE old.source = ? AND old.document_id = ? AND p.kind = 'added' AND p.is_quarantined = 0",
            (source, document_id),
        )
        return [DocumentId(row["document_id"]) for row in found]

    def admitted(self, chunk_ids: Sequence[ChunkId]) -> set[ChunkId]:
        """Look the ids up among applied chunks."""
        sql = f"SELECT chunk_id FROM chunks WHERE chunk_id IN {rows.AMONG} AND {STAYS}"
        found = self._database.read(sql, {"ids": rows.pack_ids(chunk_ids)})
        return {rows.unpack_id(row["chunk_id"]) for row in found}

    def around(self, chunk_ids: Sequence[ChunkId], reach: int) -> dict[ChunkId, tuple[ChunkId, ...]]:
        """Look up what stands around the ids among applied chunks."""
        sql = f"{rows.neighbours('chunks')} AND {STAYS} ORDER BY ordinal"
        return rows.runs(self._database.read(sql, {"ids": rows.pack_ids(chunk_ids), "reach": reach}))

    def still_at(self, versions: Mapping[tuple[SourceName, str], int]) -> set[tuple[SourceName, str]]:
        """Look up which documents still are of these versions and may be shown."""
        sql = f"{rows.of_version('version')} AND {STAYS}"
        found = self._database.read(sql, {"versions": rows.pack_versions(versions)})
        return {(row["source"], row["document_id"]) for row in found}

    # What is pending

    def record(self, changes: Sequence[Change], target: timedelta | None, *, held: bool = False) -> None:
        """Make changes pending in one transaction."""
        if not changes:
            return
        with self._database.write() as tx:
            for change in changes:
                steps.record(tx, change, target, held)

    def pending_of(self, source: SourceName, document_id: DocumentId) -> Waiting | None:
        """Tell where the pending change of a document stands; None when nothing is pending for it."""
        found = self._database.read(
            "SELECT p.seq, p.is_held, p.is_quarantined, p.error FROM pending p JOIN documents d USING (doc)"
            " WHERE d.source = ? AND d.document_id = ?",
            (source, document_id),
        )
        if not found:
            return None
        row = found[0]
        return Waiting(row["seq"], bool(row["is_held"]), bool(row["is_quarantined"]), row["error"])

    def defer(self, pending: Pending, error: str, until: datetime, *, quarantine: bool) -> None:
        """Put a failed change off."""
        with self._database.write() as tx:
            tx.execute(
                "UPDATE pending SET attempts = attempts + 1, due_at = ?, error = ?, is_quarantined = ? WHERE seq = ?",
                (to_us(until), error, int(quarantine), pending.seq),
            )

    def put_off(self, changes: Sequence[tuple[Pending, datetime]]) -> None:
        """Leave changes alone until some instants."""
        due = [(to_us(until), pending.seq) for pending, until in changes]
        with self._database.write() as tx:
            tx.executemany("UPDATE pending SET due_at = ? WHERE seq = ?", due)

    def put_off_source(self, asked: Pending, error: str, until: datetime) -> None:
        """Leave all changes of a source alone until an instant; what is recorded from now on is tried at once.

        It is the source that is put off: a million changes of it that wait are neither written nor looked at.
        """
        values = (to_us(until), asked.change.source)
        with self._database.write() as tx:
            last = "(SELECT seq FROM sqlite_sequence WHERE name = 'pending')"
            tx.execute(f"UPDATE sources SET away_until = ?, away_seq = {last} WHERE name = ?", values)
            tx.execute("UPDATE pending SET error = ? WHERE seq = ? AND NOT is_quarantined", (error, asked.seq))

    def drop(self, pending: Pending) -> None:
        """Forget a recording; a fingerprint that equals no other makes the next look see the document afresh.

        A document that never came into the index leaves what broken attempts wrote of it, and nobody would look again:
        a feed does not show what rolled off. So that becomes a deletion, and the recording stays for it.
        """
        with self._database.write() as tx:
            row = tx.execute("SELECT d.* FROM pending JOIN documents d USING (doc) WHERE seq = ?", (pending.seq,))
            found = row.fetchone()
            if found is None:
                return
            doc = found["doc"]
            if found["is_applied"]:
                tx.execute("DELETE FROM pending WHERE seq = ?", (pending.seq,))
                tx.execute("UPDATE documents SET fingerprint = '' WHERE doc = ?", (doc,))
            elif steps.has_unknown(tx, doc):
                tx.execute("UPDATE pending SET kind = 'deleted', fingerprint = NULL WHERE seq = ?", (pending.seq,))
                tx.execute("UPDATE documents SET fingerprint = NULL WHERE doc = ?", (doc,))
            else:
                steps.forget(tx, doc)

    def approve(self, source: SourceName) -> int:
        """Let the held deletions of a source pass; give how many."""
        with self._database.write() as tx:
            held = "SELECT doc FROM pending WHERE source = ? AND is_held = 1"
            tx.execute(f"UPDATE documents SET is_kept = 0 WHERE doc IN ({held})", (source,))
            return tx.execute("UPDATE pending SET is_held = 0 WHERE source = ? AND is_held = 1", (source,)).rowcount

    def reject(self, source: SourceName) -> int:
        """Keep the documents whose deletion is held; one that the next listing lacks is held anew; give how many."""
        with self._database.write() as tx:
            tx.execute(
                "UPDATE documents SET fingerprint = '', is_kept = 1 WHERE doc IN"
                " (SELECT doc FROM pending WHERE source = ? AND is_held = 1)",
                (source,),
            )
            return tx.execute("DELETE FROM pending WHERE source = ? AND is_held = 1", (source,)).rowcount

    def invalidate(self, recipe: Digest | None, now: datetime, sources: Sequence[SourceName]) -> int:
        """Make documents of another recipe (None: of any) of some sources pending as backfill; give how many."""
        values = {"recipe": recipe, "sources": json.dumps(sources)}
        chosen = "source IN (SELECT value FROM json_each(:sources))"
        with self._database.write() as tx:
            if recipe is None:
                tx.execute(f"UPDATE documents SET recipe = '' WHERE is_applied AND {chosen}", values)
            return steps.read_again(tx, now, f"{chosen} AND (:recipe IS NULL OR recipe != :recipe)", **values)

    def doubt(self, chunk_ids: Sequence[ChunkId], now: datetime) -> int:
        """Take back the claim that the store holds some chunks; give how many documents have to be put back for it.

        Their ids become unknown and their documents pending, without a deadline;
        their sources are unlisted until everything found from now on has gone through the index.
        """
        with self._database.write() as tx:
            return steps.doubt(tx, chunk_ids, now)

    def note_absence(self, source: SourceName, document_ids: Sequence[DocumentId], since: datetime | None) -> None:
        """Remember since when a window has not shown some documents; None: it shows them again."""
        if not document_ids:
            return
        with self._database.write() as tx:
            tx.executemany(
                "UPDATE documents SET absent_since = ? WHERE source = ? AND document_id = ?",
                [(to_us(since), source, document_id) for document_id in document_ids],
            )

    # What was applied

    def begin(self, intents: Sequence[Intent]) -> list[bool]:
        """Make the touched ids unknown, for every intent that still stands."""
        with self._database.write() as tx:
            return [steps.begin(tx, intent) for intent in intents]

    def hurry(self, source: SourceName | None = None) -> None:
        """Make due at once what was put off: the clock that said until when was set, or somebody asks for it now.

        Args:
            source: Of this one only; None for all.

        """
        with self._database.write() as tx:
            tx.execute("UPDATE pending SET due_at = 0 WHERE due_at > 0 AND (?1 IS NULL OR source = ?1)", (source,))
            tx.execute("UPDATE sources SET away_until = NULL WHERE ?1 IS NULL OR name = ?1", (source,))

    def commit(self, applied: Sequence[Applied]) -> None:
        """Make what the store holds certain, and remember it in the history."""
        with self._database.write() as tx:
            for item in applied:
                # As it stands now: the clock may have been set since it was read.
                recorded = tx.execute("SELECT changed_at FROM pending WHERE seq = ?", (item.pending.seq,)).fetchone()
                if steps.commit(tx, item):
                    history.append(tx, item, recorded and from_us(recorded["changed_at"]))

    def standing(self, source: SourceName, since: datetime) -> tuple[int, int]:
        """Count, in one look, a source's documents in the index, and those deleted since an instant.

        Moves and what was deleted at the source before the instant are left out.
        """
        row = self._database.read(
            "SELECT coalesce((SELECT documents FROM sources WHERE name = ?1), 0) AS documents, count(*) AS deleted"
            " FROM history WHERE source = ?1 AND kind = 'deleted' AND durable_at >= ?2 AND changed_at >= ?2",
            (source, to_us(since)),
        )[0]
        return row["documents"], row["deleted"]

    def close(self) -> None:
        """Close the database."""
        self._database.close()
