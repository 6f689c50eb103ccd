"""Which documents are quarantined, why, and until when: questions, which change nothing.

A quarantined document failed for good, or again and again; what the index held of it before stays, and is stale.
It is tried anew when it changes, when it is asked for, at every start, and after a pause of 1 h, later up to 1 d.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from freshd.ledger.database import Database, from_us
from freshd.model import DocumentId, SourceName

_FROM = "FROM pending p JOIN documents d USING (doc) WHERE p.is_quarantined AND NOT p.is_held"
_DOCUMENTS_PER_QUERY = 400


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A document that could not be read or indexed.

    Attributes:
        error: Why the last attempt failed, in one line.
        attempts: So far.
        next_try_at: When it is tried again, unless something happens before; None when it is asked for already.
        is_applied: The index holds an older revision, which is stale.

    """

    document_id: DocumentId
    error: str
    attempts: int
    next_try_at: datetime | None
    is_applied: bool


class SqliteQuarantine:
    """The quarantined documents of a ledger."""

    def __init__(self, database: Database) -> None:
        """Read an open database."""
        self._database = database

    def of(self, source: SourceName, limit: int) -> list[Quarantined]:
        """List quarantined documents of a source, the newest failures first; at most so many."""
        found = self._database.read(
            f"SELECT d.document_id, d.is_applied, p.error, p.attempts, p.due_at {_FROM} AND p.source = ?"
            " ORDER BY p.seq DESC LIMIT ?",
            (source, limit),
        )
        return [
            Quarantined(
                DocumentId(row["document_id"]),
                row["error"] or "",
                row["attempts"],
                from_us(row["due_at"] or None),
                bool(row["is_applied"]),
            )
            for row in found
        ]

    def stale(self, documents: Collection[tuple[SourceName, DocumentId]]) -> set[tuple[SourceName, DocumentId]]:
        """Give those of some documents whose newest state is quarantined, so that the index holds an older one."""
        asked, stale = sorted(set(documents)), set()
        for start in range(0, len(asked), _DOCUMENTS_PER_QUERY):
            part = asked[start : start + _DOCUMENTS_PER_QUERY]
            found = self._database.read(
                f"SELECT d.source, d.document_id {_FROM}"
                f" AND (d.source, d.document_id) IN (VALUES {', '.join(['(?, ?)'] * len(part))})",
                tuple(name for document in part for name in document),
            )
            stale |= {(SourceName(row["source"]), DocumentId(row["document_id"])) for row in found}
        return stale
