"""Plans into the store: embed, note the intent, upsert, prove, switch, relabel, remove, flush, prove, commit.

The order is what `freshd.pipeline` draws; who plans, and what becomes of a plan that is put off, is not decided here.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from freshd import faults
from freshd.admission import Admission
from freshd.errors import FreshdError, StoreError, StoreUnavailable
from freshd.model import Fates, Outcome, OutcomeKind, Point
from freshd.payload import point_payload
from freshd.pipeline.embedding import Vectors, embed
from freshd.pipeline.plan import Plan, sampled
from freshd.pipeline.recipe import Recipe
from freshd.ports import CARRIED, Applied, Clock, Intent, Store, VectorCache
from freshd.ports.proof import Divergent, Expected, Proof

_LOST = "passages of it that should have stayed are not in the store"


class Books(Protocol):
    """What is noted of a write before it begins and once it is durable; see `ports.Ledger`."""

    def begin(self, intents: Sequence[Intent]) -> list[bool]:
        """Note what an attempt will touch; tell for each intent whether it stands."""
        ...

    def commit(self, applied: Sequence[Applied]) -> None:
        """Note what the store now holds."""
        ...


class Writer:
    """Writes plans to one store and keeps its books. Run from one thread at a time."""

    def __init__(
        self,
        *,
        recipe: Recipe,
        cache: VectorCache,
        store: Store,
        books: Books,
        admission: Admission,
        clock: Clock,
        proof: Proof | None,
        put_off: Callable[[Plan, FreshdError], Outcome],
    ) -> None:
        """Work on open parts.

        Args:
            recipe: Its embedder makes the vectors.
            cache: Asked for vectors first.
            store: Written to.
            books: Of this store.
            admission: Told what search shall show.
            clock: Says when.
            proof: Reads back what was written; None for a store that keeps nothing.
            put_off: Told of a plan that failed alone; gives what became of it.

        """
        self._recipe = recipe
        self._cache = cache
        self._store = store
        self._books = books
        self._admission = admission
        self._clock = clock
        self._proof = proof
        self._put_off = put_off
        self._n_backfilled = 0
        self._broken_off: tuple[Sequence[Plan], Vectors] | None = None

    def write(self, plans: Sequence[Plan], between: Callable[[], None]) -> list[Outcome]:
        """Bring plans about.

        Args:
            plans: At most one for each document.
            between: Called between two vectors, before anything is written.

        Returns:
            One outcome for each.

        Raises:
            StoreUnavailable: Nothing was lost: all of it is redone by id.
            EmbedderUnavailable: Likewise; nothing was written.

        """
        vectors, embedded, failed = self._embed(plans, between)
        return [*failed, *self._apply(embedded, vectors)]

    def finish(self) -> list[Outcome]:
        """Bring about what the last write was broken off from after search was switched to it; nothing else is asked.

        So the ledger learns of what search shows, whatever becomes of the document meanwhile.

        Returns:
            One outcome for each of its plans; none where no write was broken off.

        Raises:
            StoreUnavailable: It still has to be finished.

        """
        return self._apply(*self._broken_off) if self._broken_off else []

    # Embed

    def _embed(
        self, plans: Sequence[Plan], between: Callable[[], None]
    ) -> tuple[Vectors, Sequence[Plan], list[Outcome]]:
        vectors = embed(plans, self._recipe.embedder, self._cache, between)
        if not vectors.failed:
            return vectors, plans, []
        outcomes = [self._put_off(p, vectors.failed[p.key]) for p in plans if p.key in vectors.failed]
        return vectors, [p for p in plans if p.key not in vectors.failed], outcomes

    # Apply

    def _apply(self, plans: Sequence[Plan], vectors: Vectors) -> list[Outcome]:
        faults.hit("before_intent")
        standing, outcomes = self._begin([plan for plan in plans if not plan.is_touched])
        searchable_at = now = self._clock.now()
        if standing:
            expected = self._expected(standing, vectors)
            self._upsert(standing, vectors, now)
            standing, lacking = self._proved(standing, self._missing(expected))
            searchable_at = self._switch(standing)
            self._broken_off = standing, vectors  # until its end
            standing, lost = self._proved(standing, self._relabel(standing, now))
            self._remove(standing)
            standing, left_over = self._proved(standing, self._orphaned(standing, expected))
            outcomes += [*lacking, *lost, *left_over]
        durable_at = self._clock.now()
        applied = [self._applied(plan, vectors, searchable_at, durable_at) for plan in standing]
        applied += [plan.touched(durable_at) for plan in plans if plan.is_touched]
        faults.hit("before_applied")
        if applied:
            self._books.commit(applied)
        self._broken_off = None
        faults.hit("after_applied")
        return outcomes + [item.outcome for item in applied]

    def _begin(self, plans: Sequence[Plan]) -> tuple[list[Plan], list[Outcome]]:
        """Note what is about to be touched; a plan stands only if all its documents are as it knew them."""
        if not plans:
            return [], []
        intents = [plan.intents() for plan in plans]
        answers = iter(self._books.begin([intent for group in intents for intent in group]))
        faults.hit("after_intent")
        standing, outcomes = [], []
        for plan, group in zip(plans, intents, strict=True):
            own = [next(answers) for _ in group]
            if all(own):
                standing.append(plan)
            else:
                outcomes.append(Outcome(plan.change, OutcomeKind.SUPERSEDED))
        return standing, outcomes

    def _upsert(self, plans: Sequence[Plan], vectors: Vectors, now: datetime) -> None:
        points = [point for plan in plans for point in self._points(plan, vectors, now)]
        if points:
            self._store.upsert(points)
        faults.hit("after_upsert")

    def _switch(self, plans: Sequence[Plan]) -> datetime:
        self._admission.switch(switch for plan in plans for switch in plan.switches())
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

    def _points(self, plan: Plan, vectors: Vectors, now: datetime) -> Iterable[Point]:
        for piece in plan.added:
            if plan.fields is None:
                raise RuntimeError("a plan that adds chunks has document fields")
            yield Point(
                piece.chunk_id,
                vectors.by_digest[piece.digest],
                self._recipe.embedder.sparse_passage(piece.embedded_text),
                point_payload(plan.fields, piece, now),
            )

    def _applied(self, plan: Plan, vectors: Vectors, searchable_at: datetime, durable_at: datetime) -> Applied:
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
            recipe=(CARRIED if plan.is_carried else self._recipe.identity) if plan.fields else None,
            label=plan.fields.label() if plan.fields else None,
            chunks=plan.held,
            durable_at=durable_at,
        )

    # Prove

    def _expected(self, plans: Sequence[Plan], vectors: Vectors) -> list[Expected]:
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
                self._books.begin(plan.intents(doubts_all=True))
                outcomes.append(self._put_off(plan, _Diverged(divergent[plan.key])))
        return [plan for plan in plans if plan.key not in divergent], outcomes


class _Diverged(StoreError):
    """The store does not hold what it was given; writing it again may help."""

    retryable = True
