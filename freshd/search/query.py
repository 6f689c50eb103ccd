"""Asks the store by vector and by BM25, and shows what may be shown of the best."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from freshd.admission import Admission
from freshd.model import ChunkId, DocumentId, SearchFilter, SourceName
from freshd.payload import Citation, citation, is_citable
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
"""Least candidates asked of each vector, by id and score alone, so that fusion has something to agree on.

Measured on 120 questions: a quarter of it costs .03 of the documents' nDCG@10.
"""

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
        """Find the `k` best passages, each amid what stands around it; fewer where one shows what others would.

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
        limit = max(_DEPTH, 2 * k)
        for _ in range(_LOOKS):
            epoch = self._admission.epoch
            by_vector = self._store.search_dense(dense, limit, where)
            by_terms = self._store.search_sparse(sparse, limit, where)
            admitted = self._admission.admits([match.chunk_id for match in (*by_vector, *by_terms)])
            answers = ([match for match in answer if match.chunk_id in admitted] for answer in (by_vector, by_terms))
            ranked = fuse(*answers, floor=dense_floor(by_vector, limit))[: 2 * k]
            runs = self._admission.around([chunk_id for chunk_id, _ in ranked], REACH)
            cited = self._cited({chunk_id for chunk_id, _ in ranked}.union(*runs.values()), where)
            if self._admission.epoch == epoch:
                break
        else:
            runs = {}  # documents change faster than one can look: nothing is put together
        found = [(chunk_id, score) for chunk_id, score in ranked if chunk_id in cited]
        return list(passages(found, runs, cited))[:k]

    def _cited(self, chunk_ids: Collection[ChunkId], where: SearchFilter) -> dict[ChunkId, Citation]:
        """Read chunks, but for what cannot be cited (verify tells of it), and canaries nobody asked for."""
        hidden = self._canaries - {(source, where.path_prefix) for source in where.sources if len(where.sources) == 1}
        points = self._store.retrieve(sorted(chunk_ids)) if chunk_ids else []
        cited = {point.chunk_id: citation(point.payload) for point in points if is_citable(point.payload)}
        return {
            chunk_id: one
            for chunk_id, one in cited.items()
            if one.source in where.sources and (one.source, one.document_id) not in hidden
        }
