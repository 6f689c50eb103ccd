"""A query to cited hits: dense and BM25 answers, admitted revisions only, fused by rank.

Every hit says where it stands and how fresh its source is known to be.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from freshd.admission import Admission
from freshd.model import ChunkId, Match, SearchFilter, SourceName
from freshd.payload import Citation, citation
from freshd.ports import Embedder, Store

MAX_HITS = 100
"""Most hits of one search; more would be a dump, not an answer."""

_RANK_CONSTANT = 60
"""Of reciprocal rank fusion: Cormack, Clarke and Büttcher, SIGIR 2009."""

_DEPTH = 50
"""Least candidates asked of each vector, so that fusion has something to agree on."""

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
    ) -> None:
        """Search the given sources; others that the store may still hold are never shown."""
        self._embedder = embedder
        self._store = store
        self._admission = admission
        self._sources = tuple(sources)
        self._watermark = watermark

    def search(self, query: str, k: int = 10, where: SearchFilter | None = None) -> Answer:
        """Find the `k` best passages.

        Args:
            query: What a person would ask; nothing is found for blanks.
            k: 1 … `MAX_HITS`.
            where: Narrows to sources and to document ids that begin with a prefix.

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
        return fuse([[m for m in answer if m.chunk_id in admitted] for answer in answers])[:k]


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
