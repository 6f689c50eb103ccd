"""What is remembered of documents and sources, for sure."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from freshd.freshness import is_ahead
from freshd.model import (
    Change,
    ChunkId,
    Digest,
    DocumentId,
    DocumentRef,
    HeldChunk,
    Known,
    Outcome,
    Pending,
    Revision,
    SourceName,
)

CARRIED = Digest("carried")
"""In place of a recipe: the chunks were taken over from a generation that another recipe made."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What an attempt is about to touch in the store, for one document.

    Attributes:
        version: Of the revision the attempt was planned against.
        touched: Every chunk id it will add, relabel or remove.

    """

    source: SourceName
    document_id: DocumentId
    version: int
    touched: frozenset[ChunkId]


@dataclass(frozen=True, slots=True)
class Applied:
    """A finished change: what the store now holds for sure.

    Attributes:
        pending: The recording it finishes.
        outcome: With the kind the change turned out to be.
        ref: As the document was read; None when it was deleted.
        digest: Of its bytes; None when it was deleted.
        recipe: What made the chunks, or `CARRIED`; None when it was deleted.
        label: Of its document-level payload; None when it was deleted.
        chunks: In document order; for a touched document those it had.
        durable_at: When the store said that all of it is safe.

    """

    pending: Pending
    outcome: Outcome
    ref: DocumentRef | None
    digest: Digest | None
    recipe: Digest | None
    label: Digest | None
    chunks: tuple[HeldChunk, ...]
    durable_at: datetime


@dataclass(frozen=True, slots=True)
class SourceState:
    """What the ledger remembers of a source as a whole; instants by freshd's clock.

    Attributes:
        listed_through: Start of the newest complete listing whose marker came out; None before the first.
        watermark: As the newest mark that came out left it; `watermark_at` tells whether it can be believed.
        last_scan_at: Start of the newest scan.
        last_complete_scan_at: Start of the newest complete one.
        failing_since: When it stopped answering; None while it answers.
        scan_s: How long the newest complete scan took.
        documents: Applied ones.
        chunks: Of the applied documents.
        pending: Neither held nor quarantined.
        oldest_unapplied_at: Oldest change instant among pending and held.
        wants_everything: The next listing has to show everything, whatever the cursor says nothing changed since.

    """

    name: SourceName
    listed_through: datetime | None = None
    watermark: datetime | None = None
    last_scan_at: datetime | None = None
    last_complete_scan_at: datetime | None = None
    cursor: str | None = None
    last_error: str | None = None
    failing_since: datetime | None = None
    scan_s: float | None = None
    documents: int = 0
    chunks: int = 0
    pending: int = 0
    held: int = 0
    quarantined: int = 0
    oldest_unapplied_at: datetime | None = None
    wants_everything: bool = False

    def watermark_at(self, now: datetime, unproved_for: timedelta = timedelta(0)) -> datetime | None:
        """Give the instant up to which the index provably holds everything of the source; None while unknown.

        Args:
            now: Of the asking.
            unproved_for: Since the newest listing began that came out, by a clock that nobody can set.

        """
        if self.watermark is None or is_ahead(self.watermark, now):
            return None
        proved_at = now - unproved_for
        return proved_at if is_ahead(self.watermark, proved_at) else self.watermark


class Ledger(Protocol):
    """What the store holds for sure, what is about to change it, and what broken attempts left unknown.

    Every method is one transaction, durable when it returns. Safe to call from several threads.
    Order of one change: `record` → `begin` → (store) → `commit`.
    """

    @property
    def instance(self) -> str:
        """Identity of this ledger; the points it owns carry it."""
        ...

    def known(self, source: SourceName, scope: str | None = None) -> Iterator[Known]:
        """Stream what is remembered of a source's documents, in rising order of document id."""
        ...

    def record(self, changes: Sequence[Change], target: timedelta | None, *, held: bool = False) -> None:
        """Make changes pending; of two recordings of a document the newer says what, the older says since when.

        Args:
            changes: Added, modified or deleted; a move shows as one added and one deleted.
            target: Added to the change instant for the deadline; None for backfill, which has no deadline.
            held: Wait for a person's approval.

        """
        ...

    def vanished_twin(self, source: SourceName, digest: Digest) -> DocumentId | None:
        """Find an applied document with this content whose deletion is pending: where a moved one came from."""
        ...

    def new_names(self, source: SourceName, document_id: DocumentId) -> list[DocumentId]:
        """Name new documents, not read yet, that carry the identity of one: where it may have moved."""
        ...

    def take(
        self,
        now: datetime,
        limit: int,
        *,
        urgent: bool = False,
        sources: Sequence[SourceName] | None = None,
        skip: Collection[int] = (),
    ) -> list[Pending]:
        """Give pending changes that are due, earliest deadline first, backfill last; takes nothing away.

        Args:
            now: Changes put off until later are left out.
            limit: At most so many.
            urgent: Only those with a deadline.
            sources: Only of these; None for all.
            skip: Sequence numbers to leave out, because they are being worked on.

        """
        ...

    def revision(self, source: SourceName, document_id: DocumentId) -> Revision:
        """Give the applied revision of a document, or version 0."""
        ...

    def begin(self, intents: Sequence[Intent]) -> list[bool]:
        """Note what an attempt will touch; from here on these ids are unknown until `commit`.

        Returns:
            For each intent whether it stands; False when the document's version has moved on.

        """
        ...

    def commit(self, applied: Sequence[Applied]) -> None:
        """Note what the store now holds; a newer recording of a document stays pending."""
        ...

    def defer(self, pending: Pending, error: str, until: datetime, *, quarantine: bool) -> None:
        """Put a failed change off; a newer recording of the document is left alone."""
        ...

    def put_off(self, changes: Sequence[tuple[Pending, datetime]]) -> None:
        """Leave changes alone until some instants, without anything having failed."""
        ...

    def put_off_source(self, asked: Pending, error: str, until: datetime) -> None:
        """Leave all changes of a source alone until an instant: it does not answer as a whole.

        No attempt of any of them: nothing is known to be wrong with them. What is recorded from now on is not meant.

        Args:
            asked: The change for which it was found out.
            error: Why, in one line; kept with that one, unless it is quarantined for a reason of its own.
            until: When the source is asked again.

        """
        ...

    def waits(self, pending: Pending) -> bool:
        """Tell whether a recording still waits; it does not once a newer one of its document takes its place."""
        ...

    def drop(self, pending: Pending) -> None:
        """Forget a recording that turned out to be none; the next look sees the document afresh.

        Where a broken attempt may have left points of a document that is nowhere, it becomes a deletion instead.
        """
        ...

    def admitted(self, chunk_ids: Sequence[ChunkId]) -> set[ChunkId]:
        """Give those that belong to an applied revision."""
        ...

    def last_seq(self) -> int:
        """Give the highest sequence number that a recording ever got, in any source; 0 before the first."""
        ...

    def is_through(
        self, source: SourceName, seq: int, *, due_by: datetime | None = None, with_migration: bool = False
    ) -> bool:
        """Tell whether every recording of the source up to a number is applied, held, quarantined or replaced.

        Args:
            source: Whose changes.
            seq: Newest recording that counts.
            due_by: With it, changes put off until later count as through.
            with_migration: Documents that wait only to be read and parsed once more count as well;
                nothing changed at their source, so nobody's freshness waits for them.

        """
        ...

    def close(self) -> None:
        """Let go of the file; idempotent."""
        ...
