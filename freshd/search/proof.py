"""Whether what was written is found, asked the way a search asks."""

import struct
from collections import Counter
from collections.abc import Mapping, Sequence

from freshd.admission import Admission
from freshd.model import ChunkId, SearchFilter, SourceName, Vector
from freshd.ports import Store, StoredPoint
from freshd.ports.proof import Divergent, Expected

_DEPTHS = (4, 64, 1024)
"""How many hits are looked through for one passage, the next only where all so far are as good as it must be."""

_LEFT = 50
"""How many hits are looked through at a place that a document left."""

_SAYS = {
    "missing": "was written, but a search for its text does not find it",
    "orphaned": "what was removed of it is still found",
    "hidden": "was written, but search does not show it",
}

_ITSELF = 0.9
"""Cosine of a vector with itself, less what a store that packs its vectors may lose of it."""


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
        for depth in _DEPTHS:
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
        return {match.chunk_id for match in self._store.search_dense(self._anything, _LEFT, where)}
