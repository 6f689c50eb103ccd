"""Walks store and ledger side by side and tells in which points they differ; changes neither.

The pipeline goes on writing meanwhile, so that two looks at two places at two moments may well differ.
A difference counts if it is there when the same chunk is looked at a second time, between two looks at the ledger
that agree and know of no attempt that touches it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from heapq import merge
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, NamedTuple

from freshd.ledger.proofs import Claim, Proofs
from freshd.model import ChunkId, Digest, DocumentId, Match, Point, SearchFilter, SourceName, SparseVector, Vector
from freshd.payload import stated
from freshd.ports import Clock, Embedder, Store, StoredPoint
from freshd.verify.findings import Divergence, Finding, Kind, NotVerified, Tally, Verified, or_not_verified
from freshd.verify.proof import HIDDEN, ONLY_SHARED, TERMS, VECTOR, Look, are_terms, finds, is_vector, look_at

STORE_SHARE = 0.1
"""Most of the store's time that a run on schedule takes: after each answer it pauses nine times as long."""

PAGE = 256
"""Points read at once: some milliseconds, for which a search may have to wait."""


@dataclass(frozen=True, slots=True)
class Making:
    """What points are made with, for whoever proves them or makes them anew.

    Attributes:
        embedder: That of the points.
        max_tokens: Of the limits that chunks were cut with.
        cached: Gives those vectors of an embedder that are remembered, by the digest of their text;
            looking is no use that keeps a vector from being forgotten.

    """

    embedder: Embedder
    max_tokens: int
    cached: Callable[[Digest, Iterable[Digest]], Mapping[Digest, Vector]]


_Document = tuple[SourceName, DocumentId]


class _Sides(NamedTuple):
    chunk_id: ChunkId
    claim: Claim | None
    point: StoredPoint | None


class _Expected(NamedTuple):
    dense: Vector
    is_computed: bool


class Verifier:
    """Holds the ledger against the store. Used from one thread."""

    def __init__(
        self,
        *,
        proofs: Proofs,
        store: Store,
        making: Making,
        clock: Clock,
        is_deep: bool = False,
        is_to_mend: bool = False,
        go_on: Callable[[], None] = lambda: None,
        pause: Callable[[float], object] = lambda _: None,
        on_progress: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        """Prepare; nothing is looked at yet.

        Args:
            proofs: Tells what should be there.
            store: Holds what is.
            making: What the points were made with.
            clock: Measures.
            is_deep: Hold vectors against the cache too, and where it forgot one against the model.
            is_to_mend: Make points anew where their payload proves what they were.
            go_on: Called before every look; what it raises ends the run.
            pause: Waits some seconds after every answer of the store, so that it keeps `STORE_SHARE`;
                returns at once where somebody waits for the result.
            on_progress: Hears points looked at, and points in all, about.

        """
        self._proofs = proofs
        self._store = store
        self._making = making
        self._clock = clock
        self._is_deep = is_deep
        self._is_to_mend = is_to_mend
        self._go_on = go_on
        self._pause = pause
        self._on_progress = on_progress
        self._generation = proofs.generation()
        self._checked = self._foreign = 0

    def run(self, on_found: Callable[[Sequence[Finding]], None] = lambda _: None) -> Verified:
        """Look at everything once.

        Args:
            on_found: Hears of divergent points, at most a page of them at a time.

        Raises:
            NotVerified: The store did not answer, or cannot read what it holds; of the rest nothing is known.

        """
        began_at, began_s = self._clock.now(), self._clock.monotonic()
        self._generation = self._proofs.generation()
        self._checked = self._foreign = 0
        tally = Tally()
        with or_not_verified():
            self._store.ping()  # another's collection in the place of ours is no reason to say that all is missing
            total = self._asked(self._store.count)
            suspects = self._suspects(total)
            while few := list(islice(suspects, PAGE)):
                findings = self.look_again(few)
                for finding in findings:
                    tally.add(finding.divergence)
                on_found(findings)
        self._on_progress(self._checked, max(total, self._checked))
        return Verified(
            began_at=began_at,
            elapsed=timedelta(seconds=self._clock.monotonic() - began_s),
            checked=self._checked,
            divergent=tally.by_kind(),
            left=tally.by_kind(),
            by_source=dict(tally.by_source),
            examples=tuple(tally.examples),
            foreign=self._foreign,
        )

    def look_again(self, suspects: Sequence[ChunkId]) -> list[Finding]:
        """Look at some points and tell which diverge for sure.

        An attempt that was under way shows before or after, or is through with both.
        """
        before = self._vouched(suspects)
        points = self._points_of(suspects)
        hidden = self._hidden(points.values())
        # What chunks say of their document is renewed without making them unknown; the ledger follows when it is done.
        in_hand = self._in_hand(before.values())
        after = self._vouched(suspects)
        self.expect_generation()
        same = [i for i in sorted(before.keys() & after.keys()) if before[i] == after[i]]
        sides = [_Sides(chunk_id, after[chunk_id], points.get(chunk_id)) for chunk_id in same]
        return list(self._findings(sides, hidden, in_hand, makes=self._is_to_mend))

    def expect_generation(self) -> None:
        """Look whether the ledger still speaks of the points that the run began with.

        Raises:
            NotVerified: Another generation went live meanwhile.

        """
        if self._proofs.generation() != self._generation:
            raise NotVerified("could not verify: another generation went live meanwhile", hint="freshd verify")

    # Both sides

    def _suspects(self, total: int) -> Iterator[ChunkId]:
        """Walk both sides together and give the ids in which they differ at first sight."""
        pairs = _pairs(self._claims(), self._points())
        while page := list(islice(pairs, PAGE)):
            self._foreign += sum(side.claim is None and not _is_ours(side.point) for side in page)
            hidden = self._hidden(side.point for side in page if side.claim and side.point)
            yield from (finding.divergence.chunk_id for finding in self._findings(page, hidden))
            self._checked += len(page)
            if len(page) == PAGE:
                self._on_progress(self._checked, max(total, self._checked))

    def _claims(self) -> Iterator[tuple[ChunkId, Claim]]:
        last: ChunkId | None = None
        while page := self._proofs.claims(last, PAGE):
            yield from page
            last = page[-1][0]

    def _points(self) -> Iterator[tuple[ChunkId, StoredPoint]]:
        last: ChunkId | None = None
        while page := self._asked(lambda: self._store.scroll(last, PAGE, with_vectors=self._is_deep)):  # noqa: B023
            numbered = sum(point.chunk_id.isdecimal() for point in page)  # no id of freshd's is; they come first
            self._foreign += numbered
            self._checked += numbered
            yield from ((point.chunk_id, point) for point in page[numbered:])
            last = page[-1].chunk_id

    def _points_of(self, chunk_ids: Sequence[ChunkId]) -> dict[ChunkId, StoredPoint]:
        points = self._asked(lambda: self._store.retrieve(chunk_ids, with_vectors=self._is_deep))
        return {point.chunk_id: point for point in points}

    def _vouched(self, chunk_ids: Sequence[ChunkId]) -> dict[ChunkId, Claim | None]:
        """Give what the ledger says of each chunk, None for nothing; those that somebody works on are left out.

        Asked in this order: what an attempt did is in the claims once it is not unknown any more.
        """
        unknown = self._proofs.unknown_among(chunk_ids)
        in_hand = unknown - self._proofs.put_off_among(sorted(unknown), self._clock.now()) if unknown else set()
        claims = self._proofs.claims_of([chunk_id for chunk_id in chunk_ids if chunk_id not in in_hand])
        return {chunk_id: claims.get(chunk_id) for chunk_id in chunk_ids if chunk_id not in in_hand}

    def _in_hand(self, claims: Iterable[Claim | None]) -> set[_Document]:
        return self._proofs.in_hand_among(sorted({claim[:2] for claim in claims if claim}), self._clock.now())

    def _hidden(self, points: Iterable[StoredPoint]) -> set[ChunkId]:
        """Find those that a search for what they hold, in their document, does not find: an index beside them lies."""
        return {point.chunk_id for point in points if not self._is_found(point)} if self._is_deep else set()

    def _is_found(self, point: StoredPoint) -> bool:
        said, sparse = stated(point.payload), point.sparse or SparseVector()
        where = SearchFilter((SourceName(said.source),), said.document_id)
        try:
            by_vector = self._asked(lambda: finds(partial(self._by_vector, point, where), point.chunk_id))
            by_words = not sparse.indices or self._asked(
                lambda: finds(lambda depth: self._store.search_sparse(sparse, depth, where), point.chunk_id)
            )
        except ValueError:  # no store is asked for what is no vector, or no name; that is told without asking
            return True
        return bool(by_vector and by_words)

    def _by_vector(self, point: StoredPoint, where: SearchFilter, depth: int) -> list[Match]:
        return self._store.search_dense(point.dense or Vector(b""), depth, where)

    # What differs

    def _findings(
        self,
        sides: Sequence[_Sides],
        hidden: Collection[ChunkId],
        in_hand: Collection[_Document] = (),
        *,
        makes: bool = False,
    ) -> Iterator[Finding]:
        looks = {side.chunk_id: self._look(side) for side in sides}
        expected = self._expected(looks.values()) if self._is_deep or makes else {}
        for side in sides:
            look, kind = looks[side.chunk_id], _kind(side)
            wrong = look.wrong + (self._wrong_vectors(side.point, look, expected) if self._is_deep else ())
            wrong = wrong or ((HIDDEN,) if side.chunk_id in hidden else ())
            if kind is None or (kind is Kind.DAMAGED and not wrong):
                continue
            if wrong == ONLY_SHARED and side.claim and side.claim[:2] in in_hand:
                continue
            source, document_id = side.claim[:2] if side.claim else _named(side.point)
            point = self._made(side, look, expected) if makes else None
            divergence = Divergence(kind, side.chunk_id, source, document_id, ", ".join(wrong))
            yield Finding(divergence, side.claim, point)

    def _look(self, side: _Sides) -> Look:
        if side.claim is None or side.point is None:
            return Look(())
        now = self._clock.now()
        return look_at(side.chunk_id, side.claim, side.point.payload, self._making.max_tokens, now)

    def _wrong_vectors(
        self, point: StoredPoint | None, look: Look, expected: Mapping[Digest, _Expected]
    ) -> tuple[str, ...]:
        if point is None or look.text is None or look.digest is None:
            return ()
        dense, is_computed = expected[look.digest]
        is_right = {
            VECTOR: is_vector(point.dense, dense, is_computed=is_computed),
            TERMS: are_terms(point.sparse, self._making.embedder.sparse_passage(look.text)),
        }
        return tuple(name for name, is_so in is_right.items() if not is_so)

    def _made(self, side: _Sides, look: Look, expected: Mapping[Digest, _Expected]) -> Point | None:
        """Make a point anew, where its payload proves all of it."""
        if look.payload is None or look.text is None or look.digest is None:
            return None
        sparse = self._making.embedder.sparse_passage(look.text)
        return Point(side.chunk_id, expected[look.digest].dense, sparse, look.payload)

    def _expected(self, looks: Iterable[Look]) -> dict[Digest, _Expected]:
        """Give the dense vectors of some texts: those that are remembered, the others computed anew."""
        texts = {look.digest: look.text for look in looks if look.digest and look.text is not None}
        embedder = self._making.embedder
        cached = self._making.cached(embedder.identity, texts) if texts else {}
        expected = {digest: _Expected(vector, is_computed=False) for digest, vector in cached.items()}
        missing = [digest for digest in texts if digest not in expected]
        for index, vector in embedder.embed_passages([texts[digest] for digest in missing]) if missing else ():
            self._go_on()
            expected[missing[index]] = _Expected(vector, is_computed=True)
        return expected

    def _asked(self, question: Callable[[], Any]) -> Any:
        """Have the store answer, and leave it alone for a while."""
        self._go_on()
        began_s = self._clock.monotonic()
        answer = question()
        self._pause((self._clock.monotonic() - began_s) * (1 / STORE_SHARE - 1))
        return answer


def _pairs(claims: Iterable[tuple[ChunkId, Claim]], points: Iterable[tuple[ChunkId, StoredPoint]]) -> Iterator[_Sides]:
    """Walk two streams that rise by id as one."""
    rows: Iterator[tuple[ChunkId, Claim | None, StoredPoint | None]] = merge(
        ((chunk_id, claim, None) for chunk_id, claim in claims),
        ((chunk_id, None, point) for chunk_id, point in points),
        key=itemgetter(0),
    )
    for chunk_id, same in groupby(rows, key=itemgetter(0)):
        sides = list(same)
        yield _Sides(chunk_id, sides[0][1], sides[-1][2])


def _kind(side: _Sides) -> Kind | None:
    """Tell how a point may differ: one that both sides have is damaged if anything of it is wrong."""
    if side.claim is None:
        return Kind.ORPHANED if _is_ours(side.point) else None
    return Kind.DAMAGED if side.point else Kind.MISSING


def _is_ours(point: StoredPoint | None) -> bool:
    """Tell whether a point says that freshd wrote it; absent ones are nobody's to judge."""
    return point is not None and stated(point.payload).is_ours


def _named(point: StoredPoint | None) -> tuple[str, str]:
    if point is None:
        return "", ""
    said = stated(point.payload)
    return said.source, said.document_id
