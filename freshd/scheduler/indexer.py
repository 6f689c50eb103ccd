"""The one thread that writes the store: pending changes, earliest deadline first, then backfill.

    urgent changes   in small batches, so that the first of many is searchable at once;
                     one that takes long, such as a book, lets others through;
                     of more than a batch, every other one is of what changed last
    backfill         in large ones, interrupted between two steps whenever something urgent comes
    what is beside   another generation, in the same way, while neither is due

A store or model that does not answer costs a pause and the batch is done again; nothing is lost.
"""

import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import zip_longest
from typing import Protocol, TypeVar

from freshd.errors import EmbedderUnavailable, FreshdError, StateError, StoreError, StoreUnavailable
from freshd.ledger.documents import SqliteLedger
from freshd.model import DocumentId, DocumentRef, Outcome, Pending, SourceName
from freshd.pipeline import MAX_BATCH_CHUNKS
from freshd.ports import Clock
from freshd.pulse import Pulse
from freshd.scheduler.errands import Errands
from freshd.scheduler.marks import Marks
from freshd.scheduler.readahead import ReadAhead

T = TypeVar("T")

_BATCH_DOCUMENTS = 64
_LATEST_DOCUMENTS = 8
"""Of each source; see `_due`."""

_URGENT_CHUNKS = 64
"""New chunks in an urgent batch: about a second of embedding, beside some 30 ms for intent, flush and commit."""

_LONG_S = 1.0
"""An urgent batch that takes longer is a large document, or the machine is slow; others have their turns then."""

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
_LONGEST_WISH_S = 300.0
"""Of a store that asks to be left alone; an index that is late by more should have been asked for."""

_IDLE_S = 1.0
"""Changes put off until later are looked for so often, also in the middle of a batch."""

_LEDGER_HINT = "free some disk space, or end what keeps ledger.db locked; freshd carries on by itself then"

_PATIENCE_S = 900.0
"""What freshd does in one step has deadlines of half a minute; a file on a network that is slow has none."""

_GRACE_S = 8.0
"""A batch in hand is finished when the end is asked for, unless it takes longer than this."""


class Applies(Protocol):
    """Applies changes to the index; see `pipeline.Pipeline`."""

    @property
    def in_hand(self) -> list[Pending]:
        """What a run nested in `between` must leave alone."""
        ...

    def run(
        self,
        batch: Sequence[Pending],
        between: Callable[[], None] = lambda: None,
        *,
        max_chunks: int = MAX_BATCH_CHUNKS,
    ) -> list[Outcome]:
        """Apply a batch of changes, or finish one that was broken off; give an outcome for each that was worked on."""
        ...


class Beside(Protocol):
    """What is done beside, while nothing else is due; see `generations.Generations`."""

    def advance(self, between: Callable[[], None]) -> bool:
        """Do a bounded piece of it; tell whether there was one."""
        ...


class _Ended(Exception):
    """The batch in hand is given up; it stays pending."""


class _Interrupted(Exception):
    """What is done beside has to wait: something urgent failed in the middle of it."""

    def __init__(self, error: FreshdError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps the index from being written.

    Attributes:
        since_s: By the clock that nobody can set.
        is_store: The store, not the model.

    """

    since_s: float
    error: FreshdError
    is_store: bool


@dataclass(frozen=True, slots=True)
class _Reading:
    """A change whose document is read ahead; in hand until what was read is used."""

    pending: Pending
    ref: DocumentRef
    reader: ReadAhead


class Indexer:
    """Applies what is pending for some sources, until it is told to stop.

    Attributes:
        pulse: Of the thread that runs it.

    """

    def __init__(
        self,
        *,
        sources: Sequence[SourceName],
        ledger: SqliteLedger,
        pipeline: Applies,
        marks: Marks,
        clock: Clock,
        on_outcome: Callable[[Outcome, Pending], None],
        on_trouble: Callable[[Trouble | None], None] = lambda _: None,
        on_marked: Callable[[Sequence[SourceName]], None] = lambda _: None,
        cannot_write: Callable[[], FreshdError | None] = lambda: None,
        readers: Mapping[SourceName, ReadAhead] | None = None,
        beside: Beside | None = None,
    ) -> None:
        """Prepare; `run` begins.

        Args:
            sources: Whose changes are applied.
            ledger: Where they wait.
            pipeline: Applies them.
            marks: Let out after every batch.
            clock: Says what is due.
            on_outcome: Called with every outcome and what it is the outcome of.
            on_trouble: Called when store or model fail, and with None when they are back.
            on_marked: Called with the sources whose watermark may have risen.
            cannot_write: Asked before each batch; an error is a reason to write nothing, such as a disk almost full.
            readers: Of the sources whose documents are read ahead in threads of their own.
            beside: Done while nothing is due; None for nothing.

        """
        self._sources = tuple(sources)
        self._ledger = ledger
        self._pipeline = pipeline
        self._marks = marks
        self._clock = clock
        self._on_outcome = on_outcome
        self._on_trouble = on_trouble
        self._on_marked = on_marked
        self._cannot_write = cannot_write
        self._readers = readers or {}
        self._beside = beside
        self._reading: dict[tuple[SourceName, DocumentId], _Reading] = {}
        self._broken_off: dict[tuple[SourceName, DocumentId], Pending] = {}
        self._wake = threading.Event()
        self._urgent = threading.Event()
        self._errands = Errands(self.wake)
        self._stopping_since_s: float | None = None
        self._trouble: Trouble | None = None
        self._pause_s = self._looked_s = 0.0
        self._set_by = timedelta(0)
        self._is_turn_of_latest = self._is_turn_of_read = False
        self.pulse = Pulse("indexer", _PATIENCE_S, clock.monotonic)

    @property
    def trouble(self) -> Trouble | None:
        """What keeps the index from being written right now; None while all is well."""
        return self._trouble

    def wake(self) -> None:
        """Say that something was recorded."""
        self._urgent.set()
        self._wake.set()

    def between_batches(self, work: Callable[[], T]) -> T:
        """Have the thread that runs this do some work; see `Scheduler.between_batches`."""
        return self._errands.have_done(work)

    def move_instants(self, by: timedelta) -> None:
        """Say that the clock was set: what is in hand happened as long ago as it did."""
        self._set_by += by

    def stop(self) -> None:
        """Ask `run` to return once the batch in hand is done, or given up when that takes too long."""
        if self._stopping_since_s is None:
            self._stopping_since_s = self._clock.monotonic()
        self._wake.set()

    def run(self) -> None:
        """Apply changes until stopped."""
        try:
            self._run()
        finally:
            self._errands.close()

    def _run(self) -> None:
        while self._stopping_since_s is None:
            self._wake.clear()
            try:
                has_worked = self._round()
            except _Ended:
                return
            except (StoreError, EmbedderUnavailable) as error:
                self._failed(error)
                continue
            except sqlite3.OperationalError as error:  # rolled back: locked by somebody, or no room on the disk
                self._failed(StateError(f"ledger: {error}", hint=_LEDGER_HINT))
                continue
            if not has_worked:
                self._wake.wait(_IDLE_S)

    def _round(self) -> bool:
        """Apply one batch and let marks out; tell whether there was a batch."""
        self._do_errands()
        has_worked = self._apply_urgent() or self._apply_backfill() or self._go_on_beside()
        is_marked = self._let_out(self._marks.release)
        if self._trouble is not None and not has_worked:
            if not is_marked:
                self._marks.probe()
            self._apply((), self._end_if_late)  # of what was broken off nothing may be pending any more
        self._recovered()
        return has_worked

    def _apply_urgent(self, *, is_nested: bool = False) -> bool:
        self._urgent.clear()
        self._looked_s = self._clock.monotonic()
        if not (batch := self._take(is_urgent=True, skip=self._pipeline.in_hand if is_nested else ())):
            return False

        self._urgent.set()  # there may be more
        alone_until_s, seen = self._clock.monotonic() + _LONG_S, batch

        def between() -> None:
            nonlocal alone_until_s, seen
            if is_nested or (began_s := self._clock.monotonic()) <= alone_until_s:
                self._end_if_late()
                return
            if seen != (seen := self._pipeline.in_hand):
                self._urgent.set()  # what of this batch was left unplanned
            self._let_one_through()
            now_s = self._clock.monotonic()
            alone_until_s = now_s + min(now_s - began_s, _LONG_S)  # neither waits for all of the other

        self._apply(batch, between, max_chunks=_URGENT_CHUNKS)
        return True

    def _apply_backfill(self) -> bool:
        if batch := self._take(is_urgent=False):
            self._apply(batch, self._let_through)
        return bool(batch)

    def _let_out(self, release: Callable[[], Sequence[SourceName]]) -> bool:
        if marked := release():
            self._on_marked(marked)
        return bool(marked)

    def _do_errands(self, *, is_before_batch: bool = True) -> None:
        """Do the work of others, who see for themselves how long it takes; before a batch, if it may be written."""
        self.pulse.rest()  # a store opens, a model is fetched and loaded
        if is_before_batch and (reason := self._cannot_write()) is not None:
            raise reason
        self._errands.do()
        self.pulse.beat()

    def _let_through(self, *, is_nested: bool = True) -> None:
        """Do all that is urgent, in the middle of a batch of what is not."""
        while self._let_one_through(is_nested=is_nested):
            pass

    def _let_one_through(self, *, is_nested: bool = True) -> bool:
        self._end_if_late()
        may_be_due = self._urgent.is_set() or self._clock.monotonic() - self._looked_s >= _IDLE_S
        self._do_errands(is_before_batch=may_be_due)
        self._let_out(self._marks.release_in_passing)  # of other sources: they do not wait for all of a book
        return may_be_due and self._stopping_since_s is None and self._apply_urgent(is_nested=is_nested)

    def _go_on_beside(self) -> bool:
        if self._beside is None or self._trouble is not None:
            return False

        def between() -> None:
            try:
                self._let_through(is_nested=False)
            except (StoreError, EmbedderUnavailable) as error:  # of the live generation, and its own affair
                raise _Interrupted(error) from error
            finally:
                self.pulse.rest()

        self.pulse.rest()  # another model may be fetched at any step
        try:
            return self._beside.advance(between)
        except _Interrupted as interrupted:
            raise interrupted.error from interrupted
        finally:
            self.pulse.beat()

    def _take(self, *, is_urgent: bool, skip: Sequence[Pending] = ()) -> list[Pending]:
        """Take what is due and at hand; what has to be read from afar is begun, and taken once it is there."""
        self._reading = {name: one for name, one in self._reading.items() if one.reader.is_begun(one.ref)}
        has_room = {name: reader.has_room(may_wait=not is_urgent) for name, reader in self._readers.items()}
        free = [name for name in self._sources if has_room.get(name, True)]
        in_hand = {pending.seq for pending in skip}
        begun = [one.pending.seq for one in self._reading.values()]
        batch = []
        for pending in self._due(free, [*begun, *in_hand], is_urgent=is_urgent):
            name, ref, reader = _document(pending), pending.change.ref, self._readers.get(pending.change.source)
            if reader is None or ref is None:
                batch.append(pending)
                if former := self._reading.pop(name, None):  # it is deleted, and what was read of it is not wanted
                    former.reader.let_go(former.ref)
            elif reader.begin(ref, self.wake, may_wait=not is_urgent):
                self._reading[name] = _Reading(pending, ref, reader)  # in place of an earlier recording
            else:
                self.wake()  # for what is due after these
        read = [one.pending for one in self._reading.values() if one.reader.is_read(one.ref)]
        at_hand = [one for one in read if (one.target is not None) == is_urgent and one.seq not in in_hand]
        if not self._is_turn_of_latest:  # else what changed last would meet the same turn each time
            self._is_turn_of_read = not self._is_turn_of_read
        halves = (at_hand, batch) if self._is_turn_of_read else (batch, at_hand)
        return [one for pair in zip_longest(*halves) for one in pair if one]  # neither waits for all of the other

    def _due(self, sources: Sequence[SourceName], skip: Sequence[int], *, is_urgent: bool) -> list[Pending]:
        """Look up what goes next.

        By deadline alone, an edit made after ten thousand files changed at once would wait for all of them,
        which may have missed their target already; so every other batch of a backlog is of what changed last.
        """
        now = self._clock.now()
        due = self._ledger.take(now, _BATCH_DOCUMENTS, urgent=is_urgent, sources=sources, skip=skip)
        self._is_turn_of_latest = is_urgent and len(due) == _BATCH_DOCUMENTS and not self._is_turn_of_latest
        if self._is_turn_of_latest:
            return self._ledger.latest(now, _LATEST_DOCUMENTS, sources=sources, skip=skip) or due
        return due

    def _apply(self, batch: Sequence[Pending], between: Callable[[], None], **bounds: int) -> None:
        by_document = self._broken_off | {_document(pending): pending for pending in batch}
        set_by = self._set_by
        try:
            outcomes = self._pipeline.run(batch, between, **bounds)
        except Exception:
            self._broken_off = by_document | self._broken_off  # a nested one may be what the next run finishes
            raise
        self._broken_off = {}
        for outcome in outcomes:
            pending = by_document[outcome.change.source, outcome.change.document_id]
            self._on_outcome(_moved(outcome, self._set_by - set_by), pending)

    def _end_if_late(self) -> None:
        self.pulse.beat()
        if (since_s := self._stopping_since_s) is not None and self._clock.monotonic() - since_s > _GRACE_S:
            raise _Ended

    def _failed(self, error: FreshdError) -> None:
        is_new = self._trouble is None or type(self._trouble.error) is not type(error)
        since_s = self._trouble.since_s if self._trouble else self._clock.monotonic()
        self._trouble = Trouble(since_s, error, isinstance(error, StoreError))
        if is_new:
            self._on_trouble(self._trouble)
        self._pause_s = min(max(2 * self._pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        wish_s = error.wait_s if isinstance(error, StoreUnavailable) else 0.0
        ends_s = self._clock.monotonic() + max(self._pause_s, min(wish_s, _LONGEST_WISH_S))
        while self._stopping_since_s is None and self._clock.monotonic() < ends_s:
            self._errands.refuse(error)
            self._wake.wait(ends_s - self._clock.monotonic())
            self._wake.clear()

    def _recovered(self) -> None:
        self._pause_s = 0.0
        if self._trouble is not None:
            self._trouble = None
            self._on_trouble(None)


def _moved(outcome: Outcome, by: timedelta) -> Outcome:
    """Give the outcome as the clock tells it that was set while it came about."""
    change = outcome.change
    return replace(outcome, change=replace(change, changed_at=change.changed_at + by)) if by else outcome


def _document(pending: Pending) -> tuple[SourceName, DocumentId]:
    return pending.change.source, pending.change.document_id
