"""Fills the generation beside the live one, a bounded piece at a time, until it holds what the live one holds.

    behind? ─▶ read ─ as the live generation has it ─▶ parse, cut ─────────┐
                    └ not, and waiting did not help ─▶ as its store has it ─┴▶ write ─▶ behind? ─▶ …

The live generation goes on changing meanwhile; a document that changed there is behind again.
A document that fails alone is put off, and stands in nobody's way but the switch's;
nothing stands in its way for ever but a store that does not keep what it is given.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from freshd import faults
from freshd.chunker import ChunkLimits
from freshd.delta import diff
from freshd.errors import (
    DocumentBusy,
    DocumentChanging,
    DocumentGone,
    EmbedderUnavailable,
    FreshdError,
    NotEmbeddable,
    ParseError,
    SourceUnavailable,
    StoreError,
)
from freshd.ledger.beside import Behind, BesideLedger
from freshd.model import (
    Change,
    ChangeKind,
    Chunk,
    Digest,
    DocumentId,
    DocumentRef,
    Outcome,
    OutcomeKind,
    Pending,
    Revision,
    SourceName,
)
from freshd.payload import DocumentFields
from freshd.pipeline.ahead import Ahead, ReadsAhead
from freshd.pipeline.asking import connector_faults_told
from freshd.pipeline.batch import MAX_BATCH_CHUNKS
from freshd.pipeline.carrying import carried
from freshd.pipeline.plan import Plan, failed, plan_of
from freshd.pipeline.recipe import Recipe
from freshd.pipeline.writing import Writer
from freshd.ports import Clock, Connector, Store

LAST_LAP = 64
"""Documents that may be behind when the last of them are caught up with in one go."""

_LAST_CHUNKS = 64
"""New chunks in that go, which nothing urgent interrupts: about a second of embedding."""

_RANGE = 20_000
"""Documents looked through at once for those that are behind: some 20 ms."""

_ATTEMPTS = 3
"""So often it is waited for what may mend itself."""

_FIRST_RETRY_S = 2.0
_LONGEST_RETRY_S = 60.0
_LONGEST_REST_S = 5.0
"""With nothing to do but wait, it is looked this often whether that is still so."""

_BUSY_REST_S = 0.5
"""After which a document is come back for whose parser takes long."""


class _Texts(NamedTuple):
    """What a document consists of, read or carried over."""

    fields: DocumentFields
    chunks: tuple[Chunk, ...]
    is_carried: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """The live generation, as another one is filled from it.

    Attributes:
        revision: Gives what the live generation holds of a document.
        store: Where it holds it.
        limits: What its chunks were cut with.

    """

    revision: Callable[[SourceName, DocumentId], Revision]
    store: Store
    limits: ChunkLimits


@dataclass(frozen=True, slots=True)
class _Wait:
    attempts: int
    until_s: float
    error: str


class Filler:
    """Brings one generation up to the live one. Run from the thread that writes."""

    def __init__(
        self,
        *,
        origin: Origin,
        connectors: Mapping[SourceName, Connector],
        recipe: Recipe,
        books: BesideLedger,
        writer: Callable[[Callable[[Plan, FreshdError], Outcome]], Writer],
        clock: Clock,
        on_filled: Callable[[Sequence[Outcome]], None],
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        """Begin at the first document.

        Args:
            origin: What is to be held.
            connectors: Of the configured sources.
            recipe: Of the generation that is filled.
            books: Its books.
            writer: Makes what writes its store, given who is told of plans that fail.
            clock: Says when.
            on_filled: Hears what became of each document.
            on_ready: Called when a document that had to be read from afar is at hand;
                None reads in the caller's thread, and waits for nothing.

        """
        self._origin = origin
        self._connectors = connectors
        self._recipe = recipe
        self._books = books
        self._writer = writer(self._failed)
        self._clock = clock
        self._on_filled = on_filled
        self._on_ready = on_ready
        self._waits: dict[int | SourceName, _Wait] = {}
        self._ahead = Ahead(self._was_read)
        self._lost: set[int] = set()
        self._rest_until_s = 0.0
        self._begin_pass()

    def _begin_pass(self) -> None:
        self._cursor, self._end, self._n_found, self._waiting = 0, self._books.last_doc(), 0, set[int]()
        self.is_near = False

    @property
    def failed(self) -> int:
        """How many documents were put off because they failed."""
        return sum(isinstance(key, int) for key in self._waits)

    @property
    def error(self) -> str | None:
        """Why some document failed last, in one line; None while none does."""
        return next((wait.error for wait in reversed(self._waits.values())), None)

    # One piece at a time

    def step(self, between: Callable[[], None]) -> bool:
        """Fill in some documents; tell whether there were any.

        Args:
            between: Called between bounded pieces of work, before anything of this piece is written.

        Raises:
            StoreUnavailable: A store does not answer; nothing was lost.
            EmbedderUnavailable: Likewise.

        """
        if self._clock.monotonic() < self._rest_until_s:
            return False
        if self.is_near:
            self._begin_pass()
        page = self._page(between)
        if page:
            n_done = self._fill(page, between)
            if n_done < len(page):
                self._cursor = page[n_done].doc - 1
            return True
        return self._end_pass()

    def _page(self, between: Callable[[], None]) -> list[Behind]:
        if (first := self._ahead.first_since()) is not None:
            self._cursor = min(self._cursor, first - 1)
        while self._cursor < self._end:
            through = min(self._cursor + _RANGE, self._end)
            found = self._books.behind(self._recipe.identity, self._cursor, through, LAST_LAP)
            self._cursor = found[-1].doc if len(found) == LAST_LAP else through
            self._n_found += len(found)
            due = [one for one in found if self._is_due(one) and self._is_worth_a_look(one)]
            self._waiting |= {one.doc for one in found} - {one.doc for one in due}
            if due:
                return due
            between()
        return []

    def _is_worth_a_look(self, one: Behind) -> bool:
        connector = self._far(one.source)
        if connector is None or one.ref is None or one.digest is None:
            return True
        return self._ahead.is_worth_a_look(one.doc, one.ref, connector)

    def _far(self, source: SourceName) -> ReadsAhead | None:
        """Give the connector of a source whose documents are waited for."""
        connector = self._connectors.get(source)
        return connector if isinstance(connector, ReadsAhead) and self._on_ready is not None else None

    def _end_pass(self) -> bool:
        """Begin anew, or be near; tell whether there is something to do at once."""
        self._waits = {
            key: wait for key, wait in self._waits.items() if not isinstance(key, int) or key in self._waiting
        }
        n_found, waiting = self._n_found, self._waiting
        self._ahead.let_go(but=waiting)
        self._begin_pass()
        if self._ahead.has_room_again():
            return True
        if waiting:
            self._rest()
            return False
        self.is_near = n_found <= LAST_LAP
        return not self.is_near

    def _rest(self) -> None:
        if self._on_ready is None or self._ahead.has_any_at_hand:
            return
        now_s = self._clock.monotonic()
        due_s = [wait.until_s for wait in self._waits.values() if wait.until_s > now_s]
        self._rest_until_s = min([*due_s, now_s + _LONGEST_REST_S])

    def catch_up(self) -> bool:
        """Fill in the last documents, letting nothing come between; tell whether none is behind now.

        Raises:
            StoreUnavailable: A store does not answer; nothing was lost.
            EmbedderUnavailable: Likewise.

        """
        identity, last = self._recipe.identity, self._books.last_doc()
        found = self._books.behind(identity, 0, last, LAST_LAP + 1)
        if len(found) > LAST_LAP or not all(map(self._is_due, found)):
            return False
        if found:
            self._fill(found, lambda: None, is_last=True)
        return not self._books.behind(identity, 0, last, 1)

    def close(self) -> None:
        """Let go of what was begun; idempotent."""
        self._ahead.let_go()

    # What is done to one document

    def _fill(self, page: Sequence[Behind], between: Callable[[], None], *, is_last: bool = False) -> int:
        """Fill in documents until one is slow, or there are chunks enough for one go; give how many were looked at."""
        max_chunks = _LAST_CHUNKS if is_last else MAX_BATCH_CHUNKS
        plans: list[Plan] = []
        n_looked = 0
        for one in page:
            if sum(len(plan.added) for plan in plans) >= max_chunks:
                break
            try:
                plan = self._plan(one) if self._is_due(one) else None
            except DocumentBusy:
                self._rest_until_s = self._clock.monotonic() + _BUSY_REST_S
                break
            if plan is None:
                self._waiting.add(one.doc)
            elif is_last and len(plan.added) > max_chunks:
                break  # the next pass fills it in, which lets others through
            else:
                plans.append(plan)
            n_looked += 1
            between()
        faults.hit("mid_fill")
        outcomes = self._writer.write(plans, between)
        changes = [outcome.change for outcome in outcomes if outcome.kind is not OutcomeKind.FAILED]
        done = {(change.source, change.document_id) for change in changes}
        for one in page[:n_looked]:
            if (one.source, one.document_id) in done:
                self._waits.pop(one.doc, None)
        self._on_filled(outcomes)
        return n_looked

    def _plan(self, one: Behind) -> Plan | None:
        """Say what brings a document up; None where that has to wait."""
        revision, now = self._books.revision(one.source, one.document_id), self._clock.now()
        if one.digest is None:
            pending = _pending(one, None, now)
            return Plan(pending, pending.change, revision, delta=diff(revision, ()))
        texts = self._texts(one, one.digest)
        if texts is None:
            return None
        ref = one.ref or DocumentRef(one.document_id, "")
        plan = plan_of(_pending(one, ref, now), revision, ref, texts.fields, texts.chunks)
        return replace(plan, is_carried=texts.is_carried)

    def _texts(self, one: Behind, digest: Digest) -> _Texts | None:
        try:
            return self._read(one, digest)
        except (StoreError, EmbedderUnavailable, DocumentBusy):
            raise
        except FreshdError as error:
            key = one.source if isinstance(error, SourceUnavailable) else one.doc
            # What is not whole in the live generation yet cannot be taken over from there.
            if (error.retryable or one.is_unsure) and self._put_off(key, error) <= _ATTEMPTS:
                return None
        return self._as_held(one, digest)

    def _read(self, one: Behind, digest: Digest) -> _Texts | None:
        """Read a document and take it apart; None while it is on its way.

        Raises:
            FreshdError: It cannot be had as the live generation has it.

        """
        connector = self._connectors.get(one.source)
        is_down = self._attempts(one.source) > _ATTEMPTS
        if connector is None or one.ref is None or is_down or one.doc in self._lost:
            raise DocumentGone(f"{one.document_id}: is not to be had")
        far = self._far(one.source)
        if far is not None and not self._ahead.is_at_hand(one.doc, one.ref, far):
            return None
        with connector_faults_told(one.document_id):
            document = connector.read(one.ref)
        if hashlib.sha256(document.content).hexdigest() != digest:
            raise DocumentChanging(f"{one.document_id}: is not what the live generation holds of it")
        return _Texts(*self._recipe.take_apart(document, one.source, one.document_id, digest))

    def _was_read(self) -> None:
        self._rest_until_s = 0.0
        if self._on_ready is not None:
            self._on_ready()

    def _as_held(self, one: Behind, digest: Digest) -> _Texts:
        """Give what the live store holds of a document; what nobody has any more is left out."""
        held = self._origin.revision(one.source, one.document_id)
        ids = [piece.chunk_id for piece in held.chunks] if one.doc not in self._lost else []
        there = {point.chunk_id: point for point in self._origin.store.retrieve(ids)} if ids else {}
        points = [there[chunk_id] for chunk_id in ids if chunk_id in there]
        with suppress(ParseError):  # a passage of which not even a part fits
            if points and (texts := carried(points, digest, self._origin.limits, self._recipe)):
                return _Texts(*texts, is_carried=True)
        return _Texts(DocumentFields(one.source, one.document_id, "", None, digest, None), (), is_carried=True)

    # What fails

    def _failed(self, plan: Plan, error: FreshdError) -> Outcome:
        """Put off a plan that failed alone; a text that the model never takes is given up."""
        doc = self._books.doc_of(*plan.key)
        if doc is not None:
            self._waiting.add(doc)
            if self._put_off(doc, error) > _ATTEMPTS and isinstance(error, NotEmbeddable):
                self._lost.add(doc)
        return failed(plan.change, error)

    def _put_off(self, key: int | SourceName, error: FreshdError) -> int:
        """Wait a while, longer each time; give how often that was."""
        attempts = self._attempts(key) + 1
        delay_s = min(_FIRST_RETRY_S * 4 ** min(attempts - 1, 3), _LONGEST_RETRY_S) if self._on_ready else 0.0
        self._waits.pop(key, None)
        self._waits[key] = _Wait(attempts, self._clock.monotonic() + delay_s, str(error))
        return attempts

    def _attempts(self, key: int | SourceName) -> int:
        return self._waits[key].attempts if key in self._waits else 0

    def _is_due(self, one: Behind) -> bool:
        now_s = self._clock.monotonic()
        waits = [self._waits[key] for key in (one.doc, one.source) if key in self._waits]
        return all(wait.until_s <= now_s for wait in waits)


def _pending(one: Behind, ref: DocumentRef | None, now: datetime) -> Pending:
    kind = ChangeKind.DELETED if ref is None else ChangeKind.MODIFIED
    return Pending(0, Change(one.source, one.document_id, kind, ref, now, now), None)
