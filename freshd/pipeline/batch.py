"""The pipeline itself: one batch at a time, in the order that `freshd.pipeline` draws."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain

from freshd.admission import Admission
from freshd.delta import diff
from freshd.errors import DocumentBusy, DocumentGone, DocumentRefused, FreshdError, SourceUnavailable, StoreError
from freshd.model import (
    Change,
    ChangeKind,
    Coverage,
    Digest,
    Document,
    DocumentId,
    Outcome,
    OutcomeKind,
    Pending,
    Revision,
    SourceName,
)
from freshd.pipeline.asking import connector_faults_told
from freshd.pipeline.plan import Plan, failed, plan_of
from freshd.pipeline.recipe import Recipe
from freshd.pipeline.room import Room, ends_at
from freshd.pipeline.writing import Writer
from freshd.ports import Clock, Connector, Ledger, Store, VectorCache
from freshd.ports.proof import Proof

MAX_BATCH_CHUNKS = 256
"""A batch takes no further document beyond so many chunks; bounds memory and the time to the next flush."""

_LONGEST_PLANNING_S = 5.0
"""A batch takes no further document after so long: what is planned does not wait for one that hangs its parser."""

_BUSY_RETRY = timedelta(seconds=0.5)
_TURN_RETRY = timedelta(seconds=3)
"""For who waits for another's document: many may, and each is read again to ask."""

_LOOK_RETRY = timedelta(seconds=30)
"""For who waits for the next look, whose recording is due at once."""

_MAX_ATTEMPTS = 3
_SOURCE_RETRY = timedelta(seconds=10)
_FIRST_RETRY = timedelta(seconds=2)
_QUARANTINE = timedelta(hours=1)
_LONGEST_QUARANTINE = timedelta(days=1)
_DOUBLINGS = 5
"""So many make the one longer than the other; attempts go on for years."""


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
        self._ledger = ledger
        self._clock = clock
        # Former names of documents that moved, whose new ones are on their way, perhaps in another batch.
        self._stay: dict[tuple[SourceName, DocumentId], datetime] = {}
        # Those under way, each but the first nested in the one before it.
        self._runs: list[_Run] = []
        # What was left to a run of its own; not its plan, of which there would be as many as books change at once.
        self._large: dict[tuple[SourceName, DocumentId], _Left] = {}
        self._writer = Writer(
            recipe=recipe,
            cache=cache,
            store=store,
            books=ledger,
            admission=admission,
            clock=clock,
            proof=proof,
            put_off=lambda plan, error: self._fail(plan.pending, error),
        )

    @property
    def in_hand(self) -> list[Pending]:
        """What a nested run must leave alone: worked on by one under way, or a book, which none could interrupt."""
        taken = chain.from_iterable(run.taken for run in self._runs)
        return [*taken, *(left.pending for left in self._large.values() if left.is_book)]

    def run(
        self,
        batch: Sequence[Pending],
        between: Callable[[], None] = lambda: None,
        *,
        max_chunks: int = MAX_BATCH_CHUNKS,
    ) -> list[Outcome]:
        """Apply a batch of changes; or finish one that was broken off half-way, and leave this one pending.

        Args:
            batch: At most one per document.
            between: Called between bounded pieces of work, before anything of this batch is written.
            max_chunks: Once so many chunks are to be added, the documents due after them are left pending.
                A change with a deadline that adds as many alone is left pending as well, where others are planned
                that would wait for all of it, or this run is nested and it would be a book.

        Returns:
            One outcome for each change that was worked on.

        Raises:
            StoreUnavailable: Nothing was lost: the batch stays pending and is redone by id.
            EmbedderUnavailable: Likewise; nothing was written.

        """
        if finished := self._writer.finish():
            return finished
        self._stay = {name: until for name, until in self._stay.items() if until > self._clock.now()}
        self._large = {name: left for name, left in self._large.items() if self._ledger.waits(left.pending)}
        run = _Run(batch)
        self._runs.append(run)
        try:
            outcomes = self._plan_all(batch, run.plans, between, max_chunks)
            run.taken = [plan.pending for plan in run.plans]
            return [*outcomes, *self._writer.write(run.plans, between)]
        finally:
            self._runs.pop()

    # Plan

    def _plan_all(
        self, batch: Sequence[Pending], plans: list[Plan], between: Callable[[], None], max_chunks: int
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []
        busy: list[tuple[Pending, datetime]] = []
        away: set[SourceName] = set()
        ends_s = self._clock.monotonic() + _LONGEST_PLANNING_S
        room = Room(max_chunks, len(batch))
        # Deletions last, so that one whose content arrived elsewhere is recognised as a move;
        # before them what has failed already, which may take as long again as a parser is given;
        # first what was left because it is large: it is not left twice.
        for place, pending in sorted(enumerate(batch), key=lambda one: self._place(one[1])):
            is_late = bool(plans or outcomes) and self._clock.monotonic() > ends_s
            if not room.has(place, pending, plans, is_late=is_late, now=self._clock.now()):
                continue
            moved_away = {(p.change.source, p.change.previous_id) for p in plans if p.previous}
            key = pending.change.source, pending.change.document_id
            if key in moved_away or pending.change.source in away:
                continue
            until = self._stays_until(pending, plans)
            if until is not None:
                busy.append((pending, until))
                continue
            try:
                result = self._try_plan(pending, between)
            except DocumentBusy as reason:
                delay = _BUSY_RETRY if reason.is_at_it else _TURN_RETRY
                busy.append((pending, self._clock.now() + delay))
                if reason.previous_id is not None:
                    self._stay[pending.change.source, reason.previous_id] = busy[-1][1]
                continue
            except _NotAsRecorded:
                busy.append((pending, self._clock.now() + _LOOK_RETRY))
                continue
            except SourceUnavailable as error:
                away.add(pending.change.source)
                self._ledger.put_off_source(pending, str(error), self._clock.now() + _SOURCE_RETRY)
                outcomes.append(failed(pending.change, error))
                continue
            if isinstance(result, Plan):
                if self._is_left(result, plans, max_chunks):
                    room.leave(place, pending)
                    continue
                plans.append(result)
                if result.change.previous_id is not None:
                    self._stay[pending.change.source, result.change.previous_id] = self._clock.now() + _TURN_RETRY
            else:
                self._large.pop(key, None)
                outcomes.append(result)
            between()
        if busy:
            self._ledger.put_off(busy)
        return outcomes

    def _place(self, pending: Pending) -> tuple[bool, bool, int]:
        change = pending.change
        is_large = (change.source, change.document_id) in self._large
        return change.kind is ChangeKind.DELETED, not is_large, pending.attempts

    def _is_left(self, plan: Plan, plans: Sequence[Plan], max_chunks: int) -> bool:
        """Tell whether a plan is left to a run of its own, and remember that it was."""
        is_large, is_nested = bool(plans) and len(plan.delta.add) >= max_chunks, len(self._runs) > 1
        is_left = plan.pending.target is not None and (is_large or (is_nested and _is_book(plan)))
        name = plan.change.source, plan.change.document_id
        if is_left:
            self._large[name] = _Left(plan.pending, plan.change, _is_book(plan))
        else:
            self._large.pop(name, None)
        return is_left

    def _stays_until(self, pending: Pending, plans: Sequence[Plan]) -> datetime | None:
        """Tell until when a deletion waits for the new name of its document: search would miss it under both.

        That it moved is certain once the new one was read; until then its identity says so,
        which file systems give out again, and the deletion is not put off beyond its deadline.
        """
        change, now = pending.change, self._clock.now()
        if change.ref is not None:
            return None
        name = change.source, change.document_id
        under_way = chain.from_iterable(run.plans for run in self._runs)
        moving = chain((left.change for left in self._large.values()), (plan.change for plan in under_way))
        if any((one.source, one.previous_id) == name for one in moving):
            return now + _TURN_RETRY
        until = self._stay.get(name)
        if until is not None and until > now:
            return until
        ends = ends_at(pending)
        if now >= ends:
            return None
        planned = {plan.key for plan in plans}
        unread = self._ledger.new_names(change.source, change.document_id)
        is_awaited = any((change.source, one) not in planned for one in unread)
        return min(now + _TURN_RETRY, ends) if is_awaited else None

    def _try_plan(self, pending: Pending, between: Callable[[], None]) -> Plan | Outcome:
        """Plan, or say why not.

        Raises:
            DocumentBusy: It has to wait, and what is due after it must not; backfill is waited for while it is parsed.
            SourceUnavailable: Nothing of its source can be read.
            _NotAsRecorded: It waits for the next look.

        """
        while True:
            try:
                return self._plan(pending)
            except DocumentBusy as busy:
                if pending.target is not None or not busy.is_at_it:
                    raise
            except DocumentGone:
                return self._gone(pending)
            except SourceUnavailable:
                raise
            except FreshdError as error:
                return self._fail(pending, error)
            between()

    def _gone(self, pending: Pending) -> Plan | Outcome:
        """Leave a vanished document to the next look; but nobody looks again for what rolled off a window.

        Where not all of that may be in the store, no text is there to make it whole from: what is there stays.

        Raises:
            _NotAsRecorded: Search still shows its former text.

        """
        change = pending.change
        revision = self._ledger.revision(change.source, change.document_id)
        if revision.digest is not None and self._connectors[change.source].coverage is Coverage.FULL:
            raise _NotAsRecorded
        if revision.digest is not None and revision.unknown:
            return self._fail(pending, DocumentRefused("rolled off before it was written whole"))
        self._ledger.drop(pending)
        return Outcome(change, OutcomeKind.SUPERSEDED)

    def _fail(self, pending: Pending, error: FreshdError) -> Outcome:
        attempts = pending.attempts + 1
        is_poison = not error.retryable or attempts >= _MAX_ATTEMPTS
        if isinstance(error, StoreError):  # no fault of the document: it is late until the store takes it
            is_poison, delay = False, _FIRST_RETRY * 4 ** min(attempts - 1, 3)
        elif is_poison:
            doublings = min(max(0, attempts - _MAX_ATTEMPTS), _DOUBLINGS)
            delay = min(_QUARANTINE * 2**doublings, _LONGEST_QUARANTINE)
        else:
            delay = _FIRST_RETRY * 4 ** (attempts - 1)
        self._ledger.defer(pending, str(error), self._clock.now() + delay, quarantine=is_poison)
        return failed(pending.change, error)

    def _plan(self, pending: Pending) -> Plan | Outcome:
        change = pending.change
        connector = self._connectors[change.source]
        revision = self._ledger.revision(change.source, change.document_id)
        if change.ref is None:
            if connector.coverage is Coverage.FULL and not self._is_gone(connector, change.document_id):
                raise _NotAsRecorded
            return Plan(pending, change, revision, delta=diff(revision, ()))
        with connector_faults_told(change.document_id):
            document = connector.read(change.ref)
        digest = Digest(hashlib.sha256(document.content).hexdigest())
        is_current = revision.recipe in (self._recipe.identity, self._recipe.former)
        is_same = revision.digest == digest and is_current and not revision.unknown
        if is_same and connector.coverage is Coverage.FULL:
            return Plan(pending, change, revision, ref=document.ref, is_touched=True)
        # What a window shows of a document is more than its content: headline, link, whether it is HTML.
        plan = self._plan_content(pending, revision, document, digest)
        return replace(plan, is_touched=is_same and plan.is_as_held)

    def _plan_content(self, pending: Pending, revision: Revision, document: Document, digest: Digest) -> Plan:
        change, previous = self._moved(pending.change, digest)
        try:
            fields, chunks = self._recipe.take_apart(document, change.source, change.document_id, digest)
        except DocumentBusy as busy:
            busy.previous_id = change.previous_id
            raise
        plan = plan_of(pending, revision, document.ref, fields, chunks)
        return replace(plan, change=change, previous=previous)

    def _moved(self, change: Change, digest: Digest) -> tuple[Change, Revision | None]:
        if change.kind is not ChangeKind.ADDED:
            return change, None
        twin = self._ledger.vanished_twin(change.source, digest)
        connector = self._connectors[change.source]
        if twin is None or twin == change.document_id or not self._is_gone(connector, twin):
            return change, None
        moved = replace(change, kind=ChangeKind.MOVED, previous_id=twin)
        return moved, self._ledger.revision(change.source, twin)

    @staticmethod
    def _is_gone(connector: Connector, document_id: DocumentId) -> bool:
        with connector_faults_told(document_id):
            return connector.is_gone(document_id)


@dataclass(slots=True)
class _Run:
    """What one run works on, and what it planned of that."""

    taken: Sequence[Pending]
    plans: list[Plan] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Left:
    """What is remembered of a plan that was left."""

    pending: Pending
    change: Change
    is_book: bool


class _NotAsRecorded(Exception):
    """The source shows the document otherwise: the recording bounds the watermark until a look replaces it."""


def _is_book(plan: Plan) -> bool:
    """Tell whether a document alone keeps the model busy for as long as backfill may at a time."""
    return len(plan.delta.add) >= MAX_BATCH_CHUNKS
