"""What waits to be applied, and what of it is due: the questions, which change nothing.

pending ─▶ its source answers ─▶ due ─▶ not held, not put off, nobody still writes it ─▶ by deadline, then backfill
                                                                                      └▶ or what changed last
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest

from freshd.ledger import rows
from freshd.ledger.database import Database, to_us
from freshd.model import DocumentId, Pending, SourceName

_FIRST = (
    "SELECT p.*, d.document_id FROM pending p JOIN documents d USING (doc) WHERE p.seq IN ("
    "SELECT of_one.seq FROM json_each(:sources) AS at_work CROSS JOIN pending AS of_one ON of_one.seq IN ("
    "SELECT seq FROM pending WHERE source = at_work.value ->> 0 AND seq > at_work.value ->> 1"
    " AND is_held = 0 AND due_at <= :now AND {where} AND seq NOT IN (SELECT value FROM json_each(:skip))"
    " ORDER BY {order} LIMIT :of_each)"
    " ORDER BY {order} LIMIT :in_all) ORDER BY {order}"
)
"""Of each source by itself: between those of another, of which a million may be put off, it would be searched for.

In one statement: there may be hundreds of sources, with thousands of changes to be left out.
"""

_AT_WORK = (
    f"SELECT DISTINCT source, {rows.tried_after('source')} AS seq"
    " FROM pending_counts WHERE NOT is_held AND n > 0"
    " AND (:sources IS NULL OR source IN (SELECT value FROM json_each(:sources)))"
)


@dataclass(frozen=True, slots=True)
class Left:
    """A document of which something is still pending after a run.

    Attributes:
        is_applied: The index holds a revision of it.
        is_held: Its deletion waits for a person.
        error: Why the last attempt failed, in one line; None if none did.

    """

    document_id: DocumentId
    is_applied: bool
    is_held: bool
    error: str | None


class PendingChanges:
    """The part of `ports.Ledger` that tells what is pending."""

    def __init__(self, database: Database) -> None:
        """Read an open database."""
        self._database = database
        self._being_written: Callable[[], Iterable[tuple[SourceName, str]]] = tuple
        self._longest_writing = timedelta(0)

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
        values = self._values(now, sources, skip)

        def first(where: str, order: str, n: int) -> list[sqlite3.Row]:
            sql = _FIRST.format(where=where, order=order)
            return self._database.read(sql, {**values, "of_each": n, "in_all": n})

        found = first("deadline IS NOT NULL", "deadline, seq", limit)
        if not urgent and len(found) < limit:
            found += first("deadline IS NULL", "seq", limit - len(found))
        return [rows.pending(row) for row in found]

    def latest(
        self, now: datetime, limit: int, *, sources: Sequence[SourceName], skip: Collection[int] = ()
    ) -> list[Pending]:
        """Read what changed last and is due, backfill and deletions left out: the last of each source, and so on.

        A deletion waits for its deadline, so that what its document moved to is seen before it;
        a doubt for its own, as it is no change: each scan of many young files has more of them than anybody edits.

        Args:
            now: Changes put off until later are left out.
            limit: At most so many of each source.
            sources: Only these.
            skip: Sequence numbers to leave out.

        """
        where = "is_quarantined = 0 AND is_doubted = 0 AND target_us IS NOT NULL AND kind != 'deleted'"
        values = {**self._values(now, sources, skip), "of_each": limit, "in_all": -1}
        of_each: dict[str, list[sqlite3.Row]] = {}
        for row in self._database.read(_FIRST.format(where=where, order="changed_at DESC"), values):
            of_each.setdefault(row["source"], []).append(row)
        return [rows.pending(row) for place in zip_longest(*of_each.values()) for row in place if row is not None]

    def _values(self, now: datetime, sources: Sequence[SourceName] | None, skip: Collection[int]) -> dict[str, object]:
        at_work, spared = self._at_work(now, sources), self._spared(now)
        return {"now": to_us(now), "sources": json.dumps(at_work), "skip": json.dumps([*skip, *spared])}

    def _at_work(self, now: datetime, sources: Sequence[SourceName] | None) -> list[tuple[str, int]]:
        """Give those of some sources, or of all for None, of which something is pending, and since which recording.

        Of one that did not answer lately, what was recorded since: that it was seen is a sign of life.
        """
        values = {"now": to_us(now), "sources": None if sources is None else json.dumps(sources)}
        return [(row["source"], row["seq"]) for row in self._database.read(_AT_WORK, values)]

    def spare(self, being_written: Callable[[], Iterable[tuple[SourceName, str]]], longest: timedelta) -> None:
        """From now on give out no change of a document that somebody is still writing.

        Args:
            being_written: Names such documents; asked whenever changes are taken, from any thread.
            longest: After a change was first seen it is given out all the same.

        """
        self._being_written, self._longest_writing = being_written, longest

    def _spared(self, now: datetime) -> list[int]:
        """Find the changes that wait for a writer to pause."""
        since = to_us(now - self._longest_writing)
        return [
            row["seq"]
            for source, document_id in self._being_written()
            for row in self._database.read(
                "SELECT p.seq FROM pending p JOIN documents d USING (doc)"
                " WHERE d.source = ? AND d.document_id = ? AND p.first_seen_at > ?",
                (source, document_id, since),
            )
        ]

    def waits(self, pending: Pending) -> bool:
        """Look for this very recording."""
        return bool(self._database.read("SELECT 1 FROM pending WHERE seq = ?", (pending.seq,)))

    def last_seq(self) -> int:
        """Read the counter that SQLite keeps of the numbers it gave out."""
        found = self._database.read("SELECT seq FROM sqlite_sequence WHERE name = 'pending'")
        return int(found[0]["seq"]) if found else 0

    def is_through(
        self, source: SourceName, seq: int, *, due_by: datetime | None = None, with_migration: bool = False
    ) -> bool:
        """Look for a change that is still under way; with `due_by` a quarantined one is too while it is tried anew.

        One that waits for a writer to pause counts as put off.
        """
        spared = json.dumps(self._spared(due_by) if due_by else [])
        found = self._database.read(
            "SELECT 1 FROM pending WHERE source = :source AND is_held = 0 AND seq <= :seq"
            f" AND (({rows.DUE}) OR (:now IS NULL AND is_quarantined = 0))"
            " AND (:migration OR NOT is_migration) AND seq NOT IN (SELECT value FROM json_each(:spared)) LIMIT 1",
            {"source": source, "seq": seq, "now": to_us(due_by), "migration": with_migration, "spared": spared},
        )
        return not found

    def left(self, source: SourceName) -> list[Left]:
        """List what is still pending of a source, in any order: failing, held, put off or not got at yet."""
        found = self._database.read(
            "SELECT d.document_id, d.is_applied, p.is_held, p.error FROM pending p JOIN documents d USING (doc)"
            " WHERE p.source = ?",
            (source,),
        )
        return [
            Left(DocumentId(row["document_id"]), bool(row["is_applied"]), bool(row["is_held"]), row["error"])
            for row in found
        ]

    def awaits_a_look(self, source: SourceName, now: datetime) -> bool:
        """Tell whether a document is put off although nothing failed: it was not as it had been recorded."""
        found = self._database.read(
            "SELECT 1 FROM pending WHERE source = ? AND is_held = 0 AND error IS NULL AND due_at > ? LIMIT 1",
            (source, to_us(now)),
        )
        return bool(found)

    def settled_below(self, source: SourceName, places: Iterable[str]) -> int:
        """Count the documents at or below some places that the index holds and of which nothing is pending."""
        return sum(
            self._database.read(
                "SELECT count(*) AS n FROM documents WHERE source = ? AND is_applied"
                " AND (? = '' OR document_id = ? OR (document_id > ? AND document_id < ?))"
                " AND doc NOT IN (SELECT doc FROM pending)",
                (source, place, place, place + "/", place + "0"),
            )[0]["n"]
            for place in places
        )

    def unread(self, source: SourceName) -> int:
        """Count documents found new and not applied yet, quarantined ones left out."""
        row = self._database.read(
            "SELECT count(*) AS n FROM pending WHERE source = ? AND kind = 'added' AND is_quarantined = 0", (source,)
        )[0]
        return int(row["n"])

    def leaving(self, source: SourceName, since: datetime) -> set[DocumentId]:
        """Name the documents deleted since an instant of which the store still holds something; held ones left out."""
        found = self._database.read(
            "SELECT d.document_id FROM pending p JOIN documents d USING (doc)"
            " WHERE p.source = ? AND p.kind = 'deleted' AND p.is_held = 0 AND p.changed_at >= ?",
            (source, to_us(since)),
        )
        return {DocumentId(row["document_id"]) for row in found}

    def held(self, source: SourceName) -> list[DocumentId]:
        """List the documents whose deletion waits for approval."""
        found = self._database.read(
            "SELECT d.document_id FROM pending p JOIN documents d USING (doc)"
            " WHERE p.source = ? AND p.is_held = 1 ORDER BY d.document_id",
            (source,),
        )
        return [DocumentId(row["document_id"]) for row in found]
