"""The store held against the ledger, point by point; changes neither.

    ledger: certain chunks ─┐ both in order of chunk id,
                            ├─▶ pairs ─▶ differs? ─▶ suspects ─▶ looked at again ─▶ Divergence
    store: points ──────────┘ a page at a time                   ledger, store, ledger

The pipeline goes on writing meanwhile, so that two looks at two places at two moments may well differ.
A difference counts if it is there when the same chunk is looked at a second time, between two looks at the ledger
that agree and know of no attempt that touches it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from heapq import merge
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from freshd.model import ChunkId, Digest, DocumentId, SourceName
from freshd.ports import Clock, Store, StoredPoint

STORE_SHARE = 0.1
"""Most of the store's time that a run on schedule takes: after each answer it pauses nine times as long."""

LEAST_INTERVAL = timedelta(hours=1)
"""Between two runs on schedule, at least."""

TIME_SHARE = 0.05
"""Most of all time that runs on schedule last: one that took an hour comes again after twenty."""

RETRY_INTERVAL = timedelta(minutes=10)
"""After a run that could not be finished."""

PAGE = 256
"""Points read at once: some milliseconds, for which a search may have to wait."""

MAX_EXAMPLES = 100
"""Divergent points named one by one; the rest is counted."""


class Certain(Protocol):
    """What verify asks of the ledger; each method is one look."""

    def certain(self, after: ChunkId | None, limit: int) -> list[tuple[ChunkId, SourceName, DocumentId, Digest]]:
        """Give applied chunks after an id, in id order: id, source, document, digest of the document's content."""
        ...

    def unknown_among(self, chunk_ids: Sequence[ChunkId]) -> set[ChunkId]:
        """Give those that an attempt may or may not have left in the store."""
        ...

    def pending_of(self, source: SourceName, document_id: DocumentId) -> object | None:
        """Give what is pending for a document; None where nothing is."""
        ...


class Kind(StrEnum):
    """How a point can be other than the ledger says."""

    MISSING = "missing"
    """The ledger holds it, the store does not."""
    ORPHANED = "orphaned"
    """The store holds it, the ledger does not know it."""
    DAMAGED = "damaged"
    """It says another source, document or content than the ledger, or has no text."""


class Divergence(NamedTuple):
    """One point that is not what the ledger says; source and document are empty where nobody knows them."""

    kind: Kind
    chunk_id: ChunkId
    source: str
    document_id: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What a run came to.

    Attributes:
        began_at: By freshd's clock.
        elapsed: Pauses included.
        checked: Points looked at, those that only one side has among them.
        divergent: By kind.
        by_source: Divergent points of each source that has any; empty text for those that name none.
        examples: The first divergent points, at most `MAX_EXAMPLES`.

    """

    began_at: datetime
    elapsed: timedelta
    checked: int
    divergent: Mapping[Kind, int]
    by_source: Mapping[str, int]
    examples: tuple[Divergence, ...]


class _Claim(NamedTuple):
    source: str
    document_id: str
    digest: str


@dataclass(slots=True)
class _Found:
    checked: int = 0
    divergent: Counter[Kind] = field(default_factory=Counter)
    by_source: Counter[str] = field(default_factory=Counter)
    examples: list[Divergence] = field(default_factory=list)

    def add(self, divergence: Divergence) -> None:
        self.divergent[divergence.kind] += 1
        self.by_source[divergence.source] += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(divergence)


class Verifier:
    """Holds the ledger against the store. Used from one thread."""

    def __init__(
        self,
        *,
        ledger: Certain,
        store: Store,
        clock: Clock,
        go_on: Callable[[], None] = lambda: None,
        pause: Callable[[float], object] = lambda _: None,
        on_progress: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        """Prepare; nothing is looked at yet.

        Args:
            ledger: What should be there.
            store: What is.
            clock: Measures.
            go_on: Called before every look; what it raises ends the run.
            pause: Waits some seconds after every answer of the store, so that it keeps `STORE_SHARE`;
                returns at once where somebody waits for the result.
            on_progress: Hears points looked at, and points in all, about.

        """
        self._ledger = ledger
        self._store = store
        self._clock = clock
        self._go_on = go_on
        self._pause = pause
        self._on_progress = on_progress

    def run(self) -> Verified:
        """Look at everything once.

        Raises:
            StoreUnavailable: It did not answer; nothing is known.

        """
        began_at, began_s = self._clock.now(), self._clock.monotonic()
        found = _Found()
        total = self._asked(self._store.count)
        suspects = self._suspects(found, total)
        while few := list(islice(suspects, PAGE)):
            for divergence in self._confirmed(few):
                found.add(divergence)
        self._on_progress(found.checked, max(total, found.checked))
        return Verified(
            began_at=began_at,
            elapsed=timedelta(seconds=self._clock.monotonic() - began_s),
            checked=found.checked,
            divergent={kind: found.divergent[kind] for kind in Kind},
            by_source=dict(found.by_source),
            examples=tuple(found.examples),
        )

    def _suspects(self, found: _Found, total: int) -> Iterator[ChunkId]:
        """Walk both sides together and give the ids in which they differ at first sight."""
        for chunk_id, claim, point in _pairs(self._claims(), self._points()):
            if _difference(claim, point) is not None:
                yield chunk_id
            found.checked += 1
            if found.checked % PAGE == 0:
                self._on_progress(found.checked, max(total, found.checked))

    def _claims(self) -> Iterator[tuple[ChunkId, _Claim]]:
        last: ChunkId | None = None
        while page := self._ledger.certain(last, PAGE):
            for chunk_id, *claim in page:
                yield chunk_id, _Claim(*claim)
            last = page[-1][0]

    def _points(self) -> Iterator[tuple[ChunkId, StoredPoint]]:
        last: ChunkId | None = None
        while page := self._asked(lambda: self._store.scroll(last, PAGE)):  # noqa: B023 - asked at once
            yield from ((point.chunk_id, point) for point in page)
            last = page[-1].chunk_id

    def _confirmed(self, suspects: Sequence[ChunkId]) -> Iterator[Divergence]:
        """Look a second time; an attempt that was under way shows before or after, or is through with both."""
        before = self._vouched(suspects)
        points = {point.chunk_id: point for point in self._asked(lambda: self._store.retrieve(suspects))}
        # What chunks say of their document is renewed without making them unknown; the ledger follows when it is done.
        unsettled = {claim for claim in before.values() if claim and self._is_pending(claim)}
        after = self._vouched(suspects)
        for chunk_id in sorted(before.keys() & after.keys()):
            claim, point = after[chunk_id], points.get(chunk_id)
            kind = _difference(claim, point) if before[chunk_id] == claim else None
            if kind is not None and not (kind is Kind.DAMAGED and claim in unsettled):
                source, document_id, _ = claim or _said(point)
                yield Divergence(kind, chunk_id, source, document_id)

    def _vouched(self, chunk_ids: Sequence[ChunkId]) -> dict[ChunkId, _Claim | None]:
        """Give what the ledger says of each chunk, None for nothing; those that an attempt has touched are left out.

        Asked in this order: what an attempt did is in the claims once it is not unknown any more.
        """
        unknown = self._ledger.unknown_among(chunk_ids)
        return {chunk_id: self._claim(chunk_id) for chunk_id in chunk_ids if chunk_id not in unknown}

    def _claim(self, chunk_id: ChunkId) -> _Claim | None:
        number = UUID(chunk_id).int
        before = ChunkId(str(UUID(int=number - 1))) if number else None
        for found, *claim in self._ledger.certain(before, 1):
            if found == chunk_id:
                return _Claim(*claim)
        return None

    def _is_pending(self, claim: _Claim) -> bool:
        return self._ledger.pending_of(SourceName(claim.source), DocumentId(claim.document_id)) is not None

    def _asked(self, question: Callable[[], Any]) -> Any:
        """Have the store answer, and leave it alone for a while."""
        self._go_on()
        began_s = self._clock.monotonic()
        answer = question()
        self._pause((self._clock.monotonic() - began_s) * (1 / STORE_SHARE - 1))
        return answer


def next_verify_at(ended_at: datetime, took: timedelta, *, is_finished: bool) -> datetime:
    """Tell when to verify again on schedule.

    Args:
        ended_at: When the last run ended; before the first, when freshd started.
        took: How long it took, pauses included.
        is_finished: False where it broke off, and before the first; then soon.

    """
    return ended_at + (max(LEAST_INTERVAL, took * (1 / TIME_SHARE - 1)) if is_finished else RETRY_INTERVAL)


def _pairs(
    claims: Iterable[tuple[ChunkId, _Claim]], points: Iterable[tuple[ChunkId, StoredPoint]]
) -> Iterator[tuple[ChunkId, _Claim | None, StoredPoint | None]]:
    """Walk two streams that rise by id as one."""
    rows: Iterator[tuple[ChunkId, _Claim | None, StoredPoint | None]] = merge(
        ((chunk_id, claim, None) for chunk_id, claim in claims),
        ((chunk_id, None, point) for chunk_id, point in points),
        key=itemgetter(0),
    )
    for chunk_id, same in groupby(rows, key=itemgetter(0)):
        sides = list(same)
        yield chunk_id, sides[0][1], sides[-1][2]


def _difference(claim: _Claim | None, point: StoredPoint | None) -> Kind | None:
    if claim is None or point is None:
        return Kind.MISSING if claim else Kind.ORPHANED if point else None
    is_whole = isinstance(point.payload.get("page_content"), str) and _said(point) == claim
    return None if is_whole else Kind.DAMAGED


def _said(point: StoredPoint | None) -> _Claim:
    """Read what a point says of its document; whoever wrote it, so nothing is certain to be there."""
    payload = point.payload if point else {}
    own = payload.get("freshd")
    document_id = own.get("document_id") if isinstance(own, Mapping) else None
    return _Claim(_text(payload.get("source")), _text(document_id), _text(payload.get("content_sha256")))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
