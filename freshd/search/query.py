"""Asks the store by vector and by BM25, and shows what may be shown of the best."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from freshd.admission import Admission
from freshd.model import ChunkId, DocumentId, Match, SearchFilter, SourceName, SparseVector, Vector
from freshd.payload import Citation, citable
from freshd.ports import Embedder, Store
from freshd.search.fusion import dense_floor, fuse
from freshd.search.passages import REACH, passages

MAX_HITS = 100
"""Most hits of one search; more would be a dump, not an answer."""

MAX_QUERY_BYTES = 8 * 1024
"""Of one question in UTF-8; models read far less of it."""

MAX_PATH_CHARACTERS = 4_096
"""Of a document's id, or of what ids are asked to begin with."""

_DEPTH = 200
"""Candidates asked of each vector, by id and score alone: twice `MAX_HITS`, so that fusion has something to agree on.

Measured on 120 questions: a quarter of it costs .03 of the documents' nDCG@10.
"""

_DEEPER = (8 * _DEPTH, 64 * _DEPTH)
"""Asked where too few of those may be shown, such as while many that were forgotten are still in the store."""

_LOOKS = 3
"""How often a search is repeated when a document was switched under it."""


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
        is_alone: bool = False,
    ) -> None:
        """Search the given sources; others that the store may still hold are never shown.

        Args:
            embedder: Of queries; the one that embedded the passages.
            store: Holds them.
            admission: Tells which may be shown.
            sources: Configured ones.
            watermark: Tells how fresh a source is known to be.
            canaries: Documents that freshd writes itself; shown only to who asks for exactly one of them.
            is_alone: The store holds nothing of other sources, nor of anybody else.

        """
        self._embedder = embedder
        self._store = store
        self._admission = admission
        self._sources = tuple(sources)
        self._watermark = watermark
        self._canaries = frozenset(canaries)
        self._is_alone = is_alone

    def search(self, query: str, k: int = 10, where: SearchFilter | None = None) -> Answer:
        """Find the `k` best passages, each amid what stands around it; fewer where one shows what others would.

        Args:
            query: What a person would ask; nothing is found for blanks, or what shows nothing.
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
        from freshd.parsers.unseen import without_hidden_characters  # whoever only asks a daemon needs no parsers

        asked = without_hidden_characters(query)  # no document has them either
        if not asked.strip():
            return Answer(query, (), answer_mark)
        best = self._best(asked, k, where)
        return Answer(query, tuple(Hit(cited, score, marks[cited.source]) for cited, score in best), answer_mark)

    def _checked(self, k: int, where: SearchFilter) -> SearchFilter:
        if not 1 <= k <= MAX_HITS:
            raise ValueError(f"k: got {k}, expected 1 … {MAX_HITS}")
        unknown = set(where.sources) - set(self._sources)
        if unknown:
            known = ", ".join(self._sources)
            raise ValueError(f"source: got {', '.join(sorted(unknown))!r}, expected one of: {known}")
        return SearchFilter(where.sources or self._sources, where.path_prefix)

    def _best(self, query: str, k: int, where: SearchFilter) -> list[tuple[Citation, float]]:
        dense, sparse = self._embedder.embed_query(query), self._embedder.sparse_query(query)
        narrowed = self._narrowed(where)
        for _ in range(_LOOKS):
            epoch = self._admission.epoch
            ranked = self._candidates(dense, sparse, narrowed, k)
            found = self._shown(ranked, k, where, REACH)
            if self._admission.epoch == epoch:
                return found
        # Documents change faster than one can look: nothing is put together.
        return self._shown(ranked, k, where, 0)

    def _candidates(
        self, dense: Vector, sparse: SparseVector, where: SearchFilter, k: int
    ) -> list[tuple[ChunkId, float]]:
        """Order the best that may be shown, twice `k`; where what may not leaves fewer than `k`, look deeper."""
        for depth in (_DEPTH, *_DEEPER):
            by_vector = self._store.search_dense(dense, depth, where)
            by_terms = self._store.search_sparse(sparse, depth, where)
            ranked = self._ranked(by_vector, by_terms, dense_floor(by_vector, depth), 2 * k)
            if len(ranked) >= k or max(len(by_vector), len(by_terms)) < depth:
                break
        return ranked

    def _shown(
        self, ranked: Sequence[tuple[ChunkId, float]], k: int, where: SearchFilter, reach: int
    ) -> list[tuple[Citation, float]]:
        """Read what is shown of the best; of more than `k` only where some are shown by others, or not at all."""
        found: list[tuple[Citation, float]] = []
        for n in (k, len(ranked)):
            best = ranked[:n]
            runs = self._admission.around([chunk_id for chunk_id, _ in best], reach) if reach else {}
            cited = self._cited({chunk_id for chunk_id, _ in best}.union(*runs.values()), where)
            found = list(passages([one for one in best if one[0] in cited], runs, cited))
            if len(found) >= k or n >= len(ranked):
                break
        return found[:k]

    def _narrowed(self, where: SearchFilter) -> SearchFilter:
        """Leave out a condition that holds for all that the store has: it would be tried on every chunk."""
        is_all = self._is_alone and set(where.sources) == set(self._sources)
        return SearchFilter((), where.path_prefix) if is_all else where

    def _ranked(
        self, by_vector: Sequence[Match], by_terms: Sequence[Match], floor: float, n: int
    ) -> list[tuple[ChunkId, float]]:
        """Order the `n` best of those that may be shown.

        Whether they may is asked of them, and of the two that the scores of all others are measured by;
        only where one of these may not, it is asked of all.
        """
        ranked = fuse(by_vector, by_terms, floor=floor)[:n]
        decisive = {chunk_id for chunk_id, _ in ranked} | {
            answer[0].chunk_id for answer in (by_vector, by_terms) if answer
        }
        if decisive <= self._admission.admits(sorted(decisive)):
            return ranked
        admitted = self._admission.admits([match.chunk_id for match in (*by_vector, *by_terms)])
        answers = ([match for match in answer if match.chunk_id in admitted] for answer in (by_vector, by_terms))
        return fuse(*answers, floor=floor)[:n]

    def _cited(self, chunk_ids: Collection[ChunkId], where: SearchFilter) -> dict[ChunkId, Citation]:
        """Read chunks, but for what cannot be cited (verify tells of it), and canaries nobody asked for."""
        hidden = self._canaries - {(source, where.path_prefix) for source in where.sources if len(where.sources) == 1}
        points = self._store.retrieve(sorted(chunk_ids)) if chunk_ids else []
        cited = {point.chunk_id: citable(point.payload) for point in points}
        return {
            chunk_id: one
            for chunk_id, one in cited.items()
            if one and one.source in where.sources and (one.source, one.document_id) not in hidden
        }
