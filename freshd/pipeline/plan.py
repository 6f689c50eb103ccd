"""What one change comes to before anything is written, and what follows from it for store and ledger. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from freshd.delta import Delta
from freshd.model import (
    Change,
    Chunk,
    ChunkId,
    DocumentRef,
    HeldChunk,
    Outcome,
    OutcomeKind,
    Pending,
    Relabel,
    Revision,
    SourceName,
)
from freshd.payload import DocumentFields, chunk_relabels, document_relabels
from freshd.ports import Applied, Intent


@dataclass(frozen=True, slots=True)
class Plan:
    """What one change comes to, before anything is written.

    Attributes:
        held: What the ledger will hold of `chunks`.
        added: Those of `chunks` that need a point.
        previous: What a moved document leaves behind; None for every other.

    """

    pending: Pending
    change: Change
    revision: Revision
    ref: DocumentRef | None = None
    fields: DocumentFields | None = None
    chunks: tuple[Chunk, ...] = ()
    held: tuple[HeldChunk, ...] = ()
    delta: Delta = field(default_factory=Delta)
    added: tuple[Chunk, ...] = ()
    previous: Revision | None = None
    is_touched: bool = False

    @property
    def key(self) -> tuple[SourceName, str]:
        """What search knows the document by."""
        return self.change.source, self.change.document_id

    @property
    def wanted_ids(self) -> frozenset[ChunkId]:
        """What search shall show of the document from the switch on."""
        return frozenset(chunk.chunk_id for chunk in self.chunks)

    @property
    def held_ids(self) -> frozenset[ChunkId]:
        """What search shows until the switch: of the document, and of the place it moved from."""
        chunks = (*self.revision.chunks, *(self.previous.chunks if self.previous else ()))
        return frozenset(chunk.chunk_id for chunk in chunks)

    @property
    def removed(self) -> tuple[ChunkId, ...]:
        """Points to delete, those of the place it moved from among them."""
        return (*self.delta.remove, *(_all_ids(self.previous) if self.previous else ()))

    def intents(self) -> list[Intent]:
        """Say what the attempt is about to touch, of each document it is about."""
        change = self.change
        intents = [Intent(change.source, change.document_id, self.revision.version, self.delta.touched)]
        if self.previous is not None and change.previous_id is not None:
            left = frozenset(_all_ids(self.previous))
            intents.append(Intent(change.source, change.previous_id, self.previous.version, left))
        return intents

    def relabels(self, now: datetime) -> Iterable[Relabel]:
        """Give the writes that bring standing points up to date: each one's own fields, then those all share."""
        relabelled = set(self.delta.relabel)
        for piece in self.chunks:
            if piece.chunk_id in relabelled:
                yield from chunk_relabels(piece)
        standing = (*self.delta.keep, *self.delta.relabel)
        if standing and self.fields and self.fields.label() != self.revision.label:
            yield from document_relabels(self.fields, standing, now)

    def touched(self, now: datetime) -> Applied:
        """Say that the document was looked at and is as it was."""
        outcome = Outcome(self.change, OutcomeKind.TOUCHED, searchable_at=now)
        held = self.revision
        return Applied(self.pending, outcome, self.ref, held.digest, held.recipe, held.label, held.chunks, now)


def _all_ids(revision: Revision) -> tuple[ChunkId, ...]:
    return tuple(sorted({chunk.chunk_id for chunk in revision.chunks} | revision.unknown))
