"""What one change comes to before anything is written, and what follows from it for store and ledger. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from freshd.admission import Switch
from freshd.delta import Delta, Wanted, diff
from freshd.errors import FreshdError
from freshd.model import (
    Change,
    Chunk,
    ChunkId,
    Digest,
    DocumentRef,
    HeldChunk,
    Outcome,
    OutcomeKind,
    Pending,
    Relabel,
    Revision,
    SourceName,
    Vector,
)
from freshd.payload import DocumentFields, chunk_label, chunk_relabels, document_relabels
from freshd.ports import Applied, Intent
from freshd.ports.proof import Expected

PROVED_URGENT = 16
"""Urgent changes that are read back, of one batch: all of them up to so many, else so many spread evenly over it.

Measured: an edit alone becomes searchable 0.7 ms later for it, one of sixteen 5 ms.
"""

PROVED_BACKFILL = 20
"""Of backfill one document in so many is read back: 5 %."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one change comes to, before anything is written.

    Attributes:
        held: What the ledger will hold of `chunks`.
        added: Those of `chunks` that need a point.
        previous: What a moved document leaves behind; None for every other.
        is_carried: The chunks were taken over from another generation, whose recipe cut them.

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
    is_carried: bool = False

    @property
    def key(self) -> tuple[SourceName, str]:
        """What search knows the document by."""
        return self.change.source, self.change.document_id

    @property
    def wanted_ids(self) -> frozenset[ChunkId]:
        """What search shall show of the document from the switch on."""
        return frozenset(chunk.chunk_id for chunk in self.chunks)

    @property
    def removed(self) -> tuple[ChunkId, ...]:
        """Points to delete, those of the place it moved from among them."""
        return (*self.delta.remove, *(_all_ids(self.previous) if self.previous else ()))

    @property
    def is_as_held(self) -> bool:
        """Whether the store shows all of it already."""
        return not self.delta.touched and self.fields is not None and self.fields.label() == self.revision.label

    @property
    def _is_described_anew(self) -> bool:
        """Whether what all chunks share changed, or an attempt that broke off may have said something else.

        Chunks that are only doubted were attempted by nobody.
        """
        was_attempted = bool(self.revision.unknown) and not self.change.is_doubted
        return self.fields is not None and (was_attempted or self.fields.label() != self.revision.label)

    def intents(self, *, doubts_all: bool = False) -> list[Intent]:
        """Say what the attempt is about to touch, of each document it is about.

        Args:
            doubts_all: Name what it would keep as well, so that the next attempt writes the document whole.

        """
        change = self.change
        # Where all it does is to say of those that stay what all share, one of them tells of the attempt.
        n_kept = None if doubts_all else 1 if self._is_described_anew and not self.delta.touched else 0
        kept = frozenset(self.delta.keep[:n_kept])
        intents = [Intent(change.source, change.document_id, self.revision.version, self.delta.touched | kept)]
        if self.previous is not None and change.previous_id is not None:
            left = frozenset(_all_ids(self.previous))
            intents.append(Intent(change.source, change.previous_id, self.previous.version, left))
        return intents

    def switches(self) -> list[Switch]:
        """Say what search shows from the switch on: of the document, and nothing of the place it moved from."""
        change = self.change
        switches = [Switch(self.key, self.revision.version, self.wanted_ids, _held_ids(self.revision))]
        if self.previous is not None and change.previous_id is not None:
            left = change.source, change.previous_id
            switches.append(Switch(left, self.previous.version, frozenset(), _held_ids(self.previous)))
        return switches

    def expected(self, vectors: Mapping[Digest, Vector]) -> Expected:
        """Say what search must find of the document: something new, else anything; and what it must not find."""
        held = _held_ids(self.revision)
        new = [piece for piece in self.added if piece.chunk_id not in held]
        pieces = new or self.added or self.chunks
        digest = pieces[0].digest if pieces else None
        return Expected(
            self.change.source,
            self.change.document_id,
            written=frozenset(self.delta.add),
            twins=frozenset(piece.chunk_id for piece in pieces if piece.digest == digest),
            vector=vectors.get(digest) if digest and self.added else None,
            gone=frozenset(self.removed),
            left_id=self.change.document_id if self.ref is None else self.change.previous_id,
        )

    def relabels(self, now: datetime) -> Iterable[Relabel]:
        """Give the writes that bring standing points up to date: each one's own fields, then those all share."""
        relabelled = set(self.delta.relabel)
        for piece in self.chunks:
            if piece.chunk_id in relabelled:
                yield from chunk_relabels(piece)
        standing = (*self.delta.keep, *self.delta.relabel)
        if standing and self.fields and self._is_described_anew:
            yield from document_relabels(self.fields, standing, now)

    def touched(self, now: datetime) -> Applied:
        """Say that the document was looked at and is as it was."""
        outcome = Outcome(self.change, OutcomeKind.TOUCHED, searchable_at=now)
        held = self.revision
        return Applied(self.pending, outcome, self.ref, held.digest, held.recipe, held.label, held.chunks, now)


def plan_of(
    pending: Pending, revision: Revision, ref: DocumentRef, fields: DocumentFields, chunks: tuple[Chunk, ...]
) -> Plan:
    """Compare what is held of a document with the chunks that it consists of now."""
    held = tuple(HeldChunk(chunk.chunk_id, chunk_label(chunk)) for chunk in chunks)
    delta = diff(revision, [Wanted(chunk.chunk_id, chunk.label) for chunk in held])
    wanted = set(delta.add)
    added = tuple(chunk for chunk in chunks if chunk.chunk_id in wanted)
    return Plan(pending, pending.change, revision, ref, fields, chunks, held, delta, added)


def sampled(plans: Sequence[Plan], n_backfilled: int) -> list[Plan]:
    """Choose the plans that are read back, at the rates stated above.

    Args:
        plans: Of one batch.
        n_backfilled: Documents of backfill in the batches before it.

    """
    urgent = [plan for plan in plans if plan.pending.target is not None]
    backfill = [plan for plan in plans if plan.pending.target is None]
    n_urgent = min(len(urgent), PROVED_URGENT)
    chosen = [urgent[at * len(urgent) // n_urgent] for at in range(n_urgent)]
    return chosen + backfill[-n_backfilled % PROVED_BACKFILL :: PROVED_BACKFILL]


def failed(change: Change, error: FreshdError) -> Outcome:
    """Say that a change could not be applied, and why."""
    return Outcome(change, OutcomeKind.FAILED, error=str(error), hint=error.hint or None)


def _held_ids(revision: Revision) -> frozenset[ChunkId]:
    return frozenset(chunk.chunk_id for chunk in revision.chunks)


def _all_ids(revision: Revision) -> tuple[ChunkId, ...]:
    return tuple(sorted(_held_ids(revision) | revision.unknown))
