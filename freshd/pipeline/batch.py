"""The pipeline itself: one batch at a time, in the order that `freshd.pipeline` draws."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from freshd import faults
from freshd.admission import Admission
from freshd.chunker import chunk
from freshd.delta import Wanted, diff
from freshd.errors import DocumentGone, DocumentRefused, FreshdError, SourceUnavailable, StoreError, StoreUnavailable
from freshd.model import (
    Change,
    ChangeKind,
    ChunkId,
    Coverage,
    Digest,
    Document,
    Fates,
    HeldChunk,
    Outcome,
    OutcomeKind,
    Pending,
    Point,
    Revision,
    SourceName,
    Vector,
)
from freshd.payload import DocumentFields, chunk_label, point_payload
from freshd.pipeline.plan import Plan, sampled
from freshd.pipeline.recipe import Recipe
from freshd.ports import Applied, Clock, Connector, Ledger, Store, VectorCache
from freshd.ports.proof import Divergent, Expected, Proof

MAX_BATCH_CHUNKS = 256
"""A batch takes no further document beyond so many chunks; bounds memory and the time to the next flush."""

_LOST = "passages of it that should have stayed are not in the store"

_MAX_ATTEMPTS = 3
_SOURCE_RETRY = timedelta(seconds=10)
_FIRST_RETRY = timedelta(seconds=2)
_QUARANTINE = timedelta(hours=1)
_LONGEST_QUARANTINE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Vectors:
    """Vectors for a batch.

    Attributes:
        computed: Of those that had to be computed, the first chunk each was computed for; others reuse it.

    """

    by_digest: Mapping[Digest, Vector]
    computed: Mapping[Digest, ChunkId]


class Pipeline:
    """Applies changes; the only writer of the store.

    Run from one thread at a time; a nested `run` inside `between` is the one exception.
    """

    def __init__(
        self,
        *,
        connectors: Mapping[SourceName, Connector],
        recipe: Recipe,
        cache: VectorCache,
        store: Store,
        ledger: Ledger,
        admission: Admission,
        clock: Clock,
        proof: Proof | None = None,
    ) -> None:
        """Work on open parts; without `proof` nothing is read back, which is for a store that keeps nothing."""
        self._connectors = connectors
        self._recipe = recipe
        self._cache = cache
        self._store = store
        self._ledger = ledger
        self._admission = admission
        self._clock = clock
        self._proof = proof
        self._n_backfilled = 0

    def run(
        self,
        batch: Sequence[Pending],
        between: Callable[[], None] = lambda: None,
        *,
        max_chunks: int = MAX_BATCH_CHUNKS,
    ) -> list[Outcome]:
        """Apply a batch of changes.

        Args:
            batch: At most one per document.
            between: Called between bounded pieces of work, before anything of this batch is written.
            max_chunks: Once so many chunks are to be added, the documents after them are left pending.

        Returns:
            One outcome for each change that was worked on.

        Raises:
            StoreUnavailable: Nothing was lost: the batch stays pending and is redone by id.
            EmbedderUnavailable: Likewise; nothing was written.

        """
        plans, outcomes = self._plan_all(batch, between, max_chunks)
        vectors = self._embed(plans, between)
        return outcomes + self._apply(plans, vectors)

    # Plan

    def _plan_all(
        self, batch: Sequence[Pending], between: Callable[[], None], max_chunks: int
    ) -> tuple[list[Plan], list[Outcome]]:
        plans: list[Plan] = []
        outcomes: list[Outcome] = []
        # Deletions last, so that one whose content arrived elsewhere is recognised as a move.
        for pending in sorted(batch, key=lambda p: p.change.kind is ChangeKind.DELETED):
            if sum(len(p.delta.add) for p in plans) >= max_chunks:
                break
            moved_away = {(p.change.source, p.change.previous_id) for p in plans if p.previous}
            if (pending.change.source, pending.change.document_id) in moved_away:
                continue
            result = self._try_plan(pending)
            if isinstance(result, Plan):
                plans.append(result)
            else:
                outcomes.append(result)
            between()
        return plans, outcomes

    def _try_plan(self, pending: Pending) -> Plan | Outcome:
        try:
            return self._plan(pending)
        except DocumentGone:
            return self._gone(pending)
        except FreshdError as error:
            return self._fail(pending, error)

    def _gone(self, pending: Pending) -> Plan | Outcome:
        """Leave a vanished document to the next look; but nobody looks again for what rolled off a window.

        Where not all of that may be in the store, no text is there to make it whole from: what is there stays.
        """
        change = pending.change
        revision = self._ledger.revision(change.source, change.document_id)
        is_window = self._connectors[change.source].coverage is Coverage.WINDOW
        if is_window and revision.unknown and revision.digest is not None:
            return self._fail(pending, DocumentRefused("rolled off before it was written whole"))
        self._ledger.drop(pending)
        return Outcome(change, OutcomeKind.SUPERSEDED)

    def _fail(self, pending: Pending, error: FreshdError) -> Outcome:
        attempts = pending.attempts + 1
        is_poison = not error.retryable or attempts >= _MAX_ATTEMPTS
        if isinstance(error, SourceUnavailable):
            is_poison, delay = False, _SOURCE_RETRY
        elif isinstance(error, StoreError):  # no fault of the document: it is late until the store takes it
            is_poison, delay = False, _FIRST_RETRY * 4 ** min(attempts - 1, 3)
        elif is_poison:
            delay = min(_QUARANTINE * 2 ** max(0, attempts - _MAX_ATTEMPTS), _LONGEST_QUARANTINE)
        else:
            delay = _FIRST_RETRY * 4 ** (attempts - 1)
        self._ledger.defer(pending, str(error), self._clock.now() + delay, quarantine=is_poison)
        return Outcome(pending.change, OutcomeKind.FAILED, error=str(error), hint=error.hint or None)

    def _plan(self, pending: Pending) -> Plan | Outcome:
        change = pending.change
        connector = self._connectors[change.source]
        revision = self._ledger.revision(change.source, change.document_id)
        if change.ref is None:
            if connector.coverage is Coverage.FULL and not connector.is_gone(change.document_id):
                self._ledger.drop(pending)
                return Outcome(change, OutcomeKind.SUPERSEDED)
            return Plan(pending, change, revision, delta=diff(revision, ()))
        document = connector.read(change.ref)
        digest = Digest(hashlib.sha256(document.content).hexdigest())
        is_same = revision.digest == digest and revision.recipe == self._recipe.identity
        if is_same and not revision.unknown:
            return Plan(pending, change, revision, ref=document.ref, is_touched=True)
        return self._plan_content(pending, revision, document, digest)

    def _plan_content(self, pending: Pending, revision: Revision, document: Document, digest: Digest) -> Plan:
        change, previous = self._moved(pending.change, digest)
        parsed = self._recipe.parser.parse(document)
        chunks = chunk(
            parsed,
            source=change.source,
            document_id=change.document_id,
            limits=self._recipe.limits,
            count_tokens=self._recipe.embedder.count_tokens,
        )
        fields = DocumentFields(
            change.source,
            change.document_id,
            document.uri,
            parsed.title or document.title,
            digest,
            document.modified_at,
        )
        held = tuple(HeldChunk(c.chunk_id, chunk_label(c)) for c in chunks)
        delta = diff(revision, [Wanted(c.chunk_id, c.label) for c in held])
        wanted = set(delta.add)
        added = tuple(c for c in chunks if c.chunk_id in wanted)
        return Plan(pending, change, revision, document.ref, fields, chunks, held, delta, added, previous)

    def _moved(self, change: Change, digest: Digest) -> tuple[Change, Revision | None]:
        if change.kind is not ChangeKind.ADDED:
            return change, None
        twin = self._ledger.vanished_twin(change.source, digest)
        connector = self._connectors[change.source]
        if twin is None or twin == change.document_id or not connector.is_gone(twin):
            return change, None
        moved = replace(change, kind=ChangeKind.MOVED, previous_id=twin)
        return moved, self._ledger.revision(change.source, twin)

    # Embed

    def _embed(self, plans: Iterable[Plan], between: Callable[[], None]) -> _Vectors:
        texts: dict[Digest, str] = {}
        first: dict[Digest, ChunkId] = {}
        for piece in (piece for plan in plans for piece in plan.added):
            texts.setdefault(piece.digest, piece.embedded_text)
            first.setdefault(piece.digest, piece.chunk_id)
        embedder = self._recipe.embedder
        vectors = self._cache.get(embedder.identity, texts)
        missing = [digest for digest in texts if digest not in vectors]
        if not missing:
            return _Vectors(vectors, {})
        computed: dict[Digest, Vector] = {}
        for index, vector in embedder.embed_passages([texts[digest] for digest in missing]):
            faults.hit("mid_embed")
            computed[missing[index]] = vector
            between()
        self._cache.put(embedder.identity, computed)
        return _Vectors({**vectors, **computed}, {digest: first[digest] for digest in computed})

    # Apply

    def _apply(self, plans: Sequence[Plan], vectors: _Vectors) -> list[Outcome]:
        faults.hit("before_intent")
        standing, outcomes = self._begin([plan for plan in plans if not plan.is_touched])
        searchable_at = now = self._clock.now()
        if standing:
            expected = self._expected(standing, vectors)
            self._upsert(standing, vectors, now)
            standing, lacking = self._proved(standing, self._missing(expected))
            searchable_at = self._switch(standing)
            standing, lost = self._proved(standing, self._relabel(standing, now))
            self._remove(standing)
            standing, left_over = self._proved(standing, self._orphaned(standing, expected))
            outcomes += [*lacking, *lost, *left_over]
        durable_at = self._clock.now()
        applied = [self._applied(plan, vectors, searchable_at, durable_at) for plan in standing]
        applied += [plan.touched(durable_at) for plan in plans if plan.is_touched]
        faults.hit("before_applied")
        if applied:
            self._ledger.commit(applied)
        for plan in standing:
            self._admission.settle(*plan.key)
        return outcomes + [item.outcome for item in applied]

    def _begin(self, plans: Sequence[Plan]) -> tuple[list[Plan], list[Outcome]]:
        """Note what is about to be touched; a plan stands only if all its documents are as it knew them."""
        if not plans:
            return [], []
        intents = [plan.intents() for plan in plans]
        answers = iter(self._ledger.begin([intent for group in intents for intent in group]))
        faults.hit("after_intent")
        standing, outcomes = [], []
        for plan, group in zip(plans, intents, strict=True):
            own = [next(answers) for _ in group]
            if all(own):
                standing.append(plan)
            else:
                outcomes.append(Outcome(plan.change, OutcomeKind.SUPERSEDED))
        return standing, outcomes

    def _upsert(self, plans: Sequence[Plan], vectors: _Vectors, now: datetime) -> None:
        points = [point for plan in plans for point in self._points(plan, vectors, now)]
        if points:
            self._store.upsert(points)
        faults.hit("after_upsert")

    def _switch(self, plans: Sequence[Plan]) -> datetime:
        for plan in plans:
            self._admission.switch(plan.key, plan.wanted_ids, plan.held_ids)
        return self._clock.now()

    def _relabel(self, plans: Sequence[Plan], now: datetime) -> Divergent:
        """Bring standing points up to date; give the documents of which the store has lost some.

        A lost point is an error like a store that does not answer, and would be one at every repetition.
        """
        labels = [label for plan in plans for label in plan.relabels(now)]
        if not labels:
            return {}
        try:
            self._store.relabel(labels)
        except StoreUnavailable:
            ids = sorted({chunk_id for label in labels for chunk_id in label.chunk_ids})
            lost = set(ids) - {point.chunk_id for point in self._store.retrieve(ids)}
            if not lost:
                raise
            divergent = {plan.key: f"{plan.key[1]}: {_LOST}" for plan in plans if plan.wanted_ids & lost}
            return {**divergent, **self._relabel([plan for plan in plans if plan.key not in divergent], now)}
        return {}

    def _remove(self, plans: Sequence[Plan]) -> None:
        faults.hit("before_delete")
        removed = [chunk_id for plan in plans for chunk_id in plan.removed]
        if removed:
            self._store.remove(removed)
        faults.hit("before_flush")
        self._store.flush()

    def _points(self, plan: Plan, vectors: _Vectors, now: datetime) -> Iterable[Point]:
        for piece in plan.added:
            if plan.fields is None:
                raise RuntimeError("a plan that adds chunks has document fields")
            yield Point(
                piece.chunk_id,
                vectors.by_digest[piece.digest],
                self._recipe.embedder.sparse_passage(piece.embedded_text),
                point_payload(plan.fields, piece, now),
            )

    def _applied(self, plan: Plan, vectors: _Vectors, searchable_at: datetime, durable_at: datetime) -> Applied:
        embedded = [c for c in plan.added if vectors.computed.get(c.digest) == c.chunk_id]
        fates = Fates(
            embedded=len(embedded),
            reused=len(plan.added) - len(embedded),
            relabelled=len(plan.delta.relabel),
            kept=len(plan.delta.keep),
            removed=len(plan.removed),
        )
        kind = OutcomeKind.DELETED if plan.ref is None else OutcomeKind.INDEXED
        return Applied(
            pending=plan.pending,
            outcome=Outcome(plan.change, kind, fates, searchable_at, sum(len(c.embedded_text) for c in embedded)),
            ref=plan.ref,
            digest=plan.fields.content_sha256 if plan.fields else None,
            recipe=self._recipe.identity if plan.fields else None,
            label=plan.fields.label() if plan.fields else None,
            chunks=plan.held,
            durable_at=durable_at,
        )

    # Prove

    def _expected(self, plans: Sequence[Plan], vectors: _Vectors) -> list[Expected]:
        chosen = sampled(plans, self._n_backfilled)
        self._n_backfilled += sum(plan.pending.target is None for plan in plans)
        return [plan.expected(vectors.by_digest) for plan in chosen]

    def _missing(self, expected: Sequence[Expected]) -> Divergent:
        return self._proof.missing(expected) if self._proof and expected else {}

    def _orphaned(self, plans: Sequence[Plan], expected: Sequence[Expected]) -> Divergent:
        switched = {plan.key for plan in plans}
        left = [one for one in expected if one.key in switched]
        return self._proof.orphaned(left) if self._proof and left else {}

    def _proved(self, plans: Sequence[Plan], divergent: Divergent) -> tuple[list[Plan], list[Outcome]]:
        """Put off the plans that diverge.

        One whose new chunks are not found is not switched to and removes nothing: search shows the former revision.
        One that was switched to stays so: search shows the new revision, and the ledger is not told.
        """
        outcomes = []
        for plan in plans:
            if plan.key in divergent:
                self._ledger.begin(plan.intents(doubts_all=True))
                outcomes.append(self._fail(plan.pending, _Diverged(divergent[plan.key])))
        return [plan for plan in plans if plan.key not in divergent], outcomes


class _Diverged(StoreError):
    """The store does not hold what it was given; writing it again may help."""

    retryable = True
