"""A query to cited hits: dense and BM25 answers, admitted revisions only, fused by rank.

Every hit says where it stands and how fresh its source is known to be.
`SearchProof` goes the same way to see whether what was written is found.
"""

import struct
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from freshd.admission import Admission
from freshd.model import ChunkId, DocumentId, Match, SearchFilter, SourceName, Vector
from freshd.payload import Citation, citation, is_citable
from freshd.ports import Embedder, Store, StoredPoint
from freshd.ports.proof import Divergent, Expected

MAX_HITS = 100
"""Most hits of one search; more would be a dump, not an answer."""

MAX_QUERY_BYTES = 8 * 1024
"""Of one question in UTF-8; models read far less of it."""

MAX_PATH_CHARACTERS = 4_096
"""Of a document's id, or of what ids are asked to begin with."""

_RANK_CONSTANT = 60
"""Of reciprocal rank fusion: Cormack, Clarke and Büttcher, SIGIR 2009."""

_DEPTH = 50
"""Least candidates asked of each vector, so that fusion has something to agree on."""

_LOOKS = 3
"""How often a search is repeated when a document was switched under it."""

_PROOF_DEPTHS = (4, 64, 1024)
"""How many hits are looked through for one passage, the next only where all so far are as good as it must be."""

_SAYS = {
    "missing": "was written, but a search for its text does not find it",
    "orphaned": "what was removed of it is still found",
    "hidden": "was written, but search does not show it",
}

_ITSELF = 0.9
"""Cosine of a vector with itself, less what a store that packs its vectors may lose of it."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One passage found.

    Attributes:
        score: Fused; comparable only within one answer.
        watermark: The index provably holds everything its source had up to here; None while unknown.

    """

    citation: Citation
    score: float
    watermark: datetime | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search found, best first.

    Attributes:
        watermark: Lowest among the sources asked; None if one of them is unknown.

    """

    query: str
    hits: tuple[Hit, ...]
    watermark: datetime | None


def query_fault(query: str) -> str | None:
    """Say why nobody is bothered with a query, as `got …, expected …`; None where it may be asked."""
    if not query.strip():
        return f"got {'nothing but blanks' if query else 'none'}, expected something to look for"
    n_bytes = len(query.encode())
    return f"got {n_bytes} bytes, expected at most {MAX_QUERY_BYTES} bytes" if n_bytes > MAX_QUERY_BYTES else None


class Search:
    """Answers queries from the store. Safe to use from several threads."""

    def __init__(
        self,
        *,
        embedder: Embedder,
        store: Store,
        admission: Admission,
        sources: Sequence[SourceName],
        watermark: Callable[[SourceName], datetime | None],
        canaries: Collection[tuple[SourceName, DocumentId]] = (),
    ) -> None:
        """Search the given sources; others that the store may still hold are never shown.

        Args:
            embedder: Of queries; the one that embedded the passages.
            store: Holds them.
            admission: Tells which may be shown.
            sources: Configured ones.
            watermark: Tells how fresh a source is known to be.
            canaries: Documents that freshd writes itself; shown only to who asks for exactly one of them.

        """
        self._embedder = embedder
        self._store = store
        self._admission = admission
        self._sources = tuple(sources)
        self._watermark = watermark
        self._canaries = frozenset(canaries)

    def search(self, query: str, k: int = 10, where: SearchFilter | None = None) -> Answer:
        """Find the `k` best passages.

        Args:
            query: What a person would ask; nothing is found for blanks.
            k: 1 … `MAX_HITS`.
            where: Narrows to sources and to document ids that begin with a prefix;
                a canary is shown when it names its source alone, and its whole id.

        Raises:
            ValueError: `k` is out of range, or a source is not configured.
            StoreUnavailable: The store did not answer.

        """
        where = self._checked(k, where or SearchFilter())
        marks = {name: self._watermark(name) for name in where.sources}
        lowest = min((m for m in marks.values() if m is not None), default=None)
        answer_mark = None if None in marks.values() else lowest
        if not query.strip():
            return Answer(query, (), answer_mark)
        best = self._best(query, k, where)
        hits = [(citation(match.payload), score) for match, score in best]
        return Answer(query, tuple(Hit(c, score, marks[c.source]) for c, score in hits), answer_mark)

    def _checked(self, k: int, where: SearchFilter) -> SearchFilter:
        if not 1 <= k <= MAX_HITS:
            raise ValueError(f"k: got {k}, expected 1 … {MAX_HITS}")
        unknown = set(where.sources) - set(self._sources)
        if unknown:
            known = ", ".join(self._sources)
            raise ValueError(f"source: got {', '.join(sorted(unknown))!r}, expected one of: {known}")
        return SearchFilter(where.sources or self._sources, where.path_prefix)

    def _best(self, query: str, k: int, where: SearchFilter) -> list[tuple[Match, float]]:
        dense, sparse = self._embedder.embed_query(query), self._embedder.sparse_query(query)
        limit = max(_DEPTH, 2 * k)
        for _ in range(_LOOKS):
            epoch = self._admission.epoch
            answers = (
                self._store.search_dense(dense, limit, where),
                self._store.search_sparse(sparse, limit, where),
            )
            admitted = self._admission.admits([m.chunk_id for answer in answers for m in answer])
            if self._admission.epoch == epoch:
                break
        hidden = self._canaries - {(source, where.path_prefix) for source in where.sources if len(where.sources) == 1}
        # One whose payload is damaged cannot be cited: verify tells of it.
        hits = [m for answer in answers for m in answer if m.chunk_id in admitted]
        whole = {m.chunk_id for m in hits if is_citable(m.payload) and m.payload["source"] in where.sources}
        return fuse([[m for m in answer if m.chunk_id in whole and not _is_of(m, hidden)] for answer in answers])[:k]


class SearchProof:
    """`ports.proof.Proof` over the store and the admission that search has.

    Counts what it came to, by source: `found`, or else how the index diverges: `missing`, `orphaned`, `hidden`.
    """

    def __init__(
        self,
        store: Store,
        admission: Admission,
        dimension: int,
        counts: Counter[tuple[SourceName, str]] | None = None,
    ) -> None:
        """Look in the store that is written.

        Args:
            store: Of one generation.
            admission: Of the same.
            dimension: Length of every dense vector.
            counts: Where to count, with the proofs of other generations; None for a count of its own.

        """
        self._store = store
        self._admission = admission
        self._anything = Vector(struct.pack(f"<{dimension}f", 1.0, *[0.0] * (dimension - 1)))
        self._counts: Counter[tuple[SourceName, str]] = Counter() if counts is None else counts

    @property
    def counts(self) -> Mapping[tuple[SourceName, str], int]:
        """Changes so far by source and by what became of their proof; may be read from any thread."""
        return dict(self._counts)

    def missing(self, expected: Sequence[Expected]) -> Divergent:
        """Look for all that was written by its ids, and search for one passage of each document, in it only."""
        ids = sorted({chunk_id for one in expected for chunk_id in one.written | one.twins})
        needs_vectors = any(one.twins and one.vector is None for one in expected)
        points = self._store.retrieve(ids, with_vectors=needs_vectors) if ids else []
        there = {point.chunk_id: point for point in points}
        return self._told(dict.fromkeys((one for one in expected if not self._finds(one, there)), "missing"))

    def orphaned(self, expected: Sequence[Expected]) -> Divergent:
        """Look for what was removed, by its ids and where it stood, and for what is new among what may be shown."""
        gone = sorted({chunk_id for one in expected for chunk_id in one.gone})
        there = {point.chunk_id for point in self._store.retrieve(gone)} if gone else set()
        shown = self._admission.admits([chunk_id for one in expected for chunk_id in one.twins])
        kinds = dict.fromkeys(expected, "found")
        for one in expected:
            if one.gone & (there | self._at(one)):
                kinds[one] = "orphaned"
            elif one.twins and not one.twins & shown:
                kinds[one] = "hidden"
        return self._told(kinds)

    def _told(self, kinds: Mapping[Expected, str]) -> dict[tuple[SourceName, str], str]:
        self._counts.update((one.source, kind) for one, kind in kinds.items())
        return {one.key: f"{one.document_id}: {_SAYS[kind]}" for one, kind in kinds.items() if kind in _SAYS}

    def _finds(self, one: Expected, there: Mapping[ChunkId, StoredPoint]) -> bool:
        if not one.written | one.twins <= there.keys():
            return False
        vector = one.vector or next((there[chunk_id].dense for chunk_id in one.twins), None)
        if vector is None:
            return not one.twins
        where = SearchFilter((one.source,), one.document_id)
        for depth in _PROOF_DEPTHS:
            matches = self._store.search_dense(vector, depth, where)
            if any(match.chunk_id in one.twins for match in matches):
                return True
            if len(matches) < depth or matches[-1].score < _ITSELF:
                return False
        # Among so many passages of equal text, under ids that begin alike, none can be singled out by any search.
        return True

    def _at(self, one: Expected) -> set[ChunkId]:
        """Give what a search of the place that a document left finds; what it is asked does not matter there."""
        if one.left_id is None:
            return set()
        where = SearchFilter((one.source,), one.left_id)
        return {match.chunk_id for match in self._store.search_dense(self._anything, _DEPTH, where)}


def _is_of(match: Match, documents: Collection[tuple[SourceName, str]]) -> bool:
    return bool(documents) and (match.payload["source"], match.payload["freshd"]["document_id"]) in documents


def fuse(answers: Sequence[Sequence[Match]]) -> list[tuple[Match, float]]:
    """Fuse ranked answers: each match scores the sum of 1 / (60 + rank); ties go by chunk id, within an answer too.

    An engine gives equal scores in the order of its storage, which is another one in an index made from scratch.
    """
    scores: dict[ChunkId, float] = {}
    matches: dict[ChunkId, Match] = {}
    for answer in answers:
        for rank, match in enumerate(sorted(answer, key=lambda m: (-m.score, m.chunk_id)), start=1):
            scores[match.chunk_id] = scores.get(match.chunk_id, 0.0) + 1 / (_RANK_CONSTANT + rank)
            matches.setdefault(match.chunk_id, match)
    ranked = sorted(scores, key=lambda chunk_id: (-scores[chunk_id], chunk_id))
    return [(matches[chunk_id], scores[chunk_id]) for chunk_id in ranked]
