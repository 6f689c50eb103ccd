"""Takes documents out of the index on purpose: those that are forgotten, and those of sources that left the config.

withdraw  the ledger knows their ids for unknown, search shows nothing of them     (a crash from here on leaves that)
erase     vectors out of the cache (forgotten ones only), points out of every store
flush
drop      the ledger knows nothing of them
scrub     nor does its file, once all are gone                                     (forgotten ones only, and so below)
expunge   nor do the files of any store                                            (a crash leaves that to be done)

Only the thread that writes calls this, between two batches, one bounded piece at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from freshd import faults
from freshd.chunker import embedded_texts, text_digest
from freshd.errors import StateError, StoreUnavailable
from freshd.ledger.forgetting import SqliteForgetting
from freshd.model import ChunkId, Digest, SourceName
from freshd.payload import stated
from freshd.ports import Store, StoredPoint, VectorCache

_DOCUMENTS, _CHUNKS = 64, 1_000
"""Bounds of one piece: some 100 ms."""

_PAGE = 256
"""Points asked for at once."""

_ANY_TOKENS = 2**31
"""With what limit a chunk was cut does not matter to whoever wants every form of its headings."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken out.

    Attributes:
        points: Passages that were in the store.
        vectors: In the cache, of the same texts.

    """

    documents: int = 0
    points: int = 0
    vectors: int = 0

    def __add__(self, other: "Taken") -> "Taken":
        """Sum field by field."""
        return Taken(self.documents + other.documents, self.points + other.points, self.vectors + other.vectors)


class Removal:
    """Takes out what the ledger says is to go."""

    def __init__(
        self,
        *,
        forgetting: SqliteForgetting,
        stores: Callable[[], Sequence[Store]],
        expunge: Callable[[str], int],
        cache: VectorCache,
    ) -> None:
        """Work on open parts.

        Args:
            forgetting: Knows what is to go.
            stores: Gives every store that may hold points of it.
            expunge: Has it leave the files of all of them, piece by piece; see `ports.Store`.
            cache: Of vectors.

        """
        self._forgetting = forgetting
        self._stores = stores
        self._expunge = expunge
        self._cache = cache

    def forget_some(self) -> Taken | None:
        """Take out a piece of what is being forgotten; None when nothing is left of it.

        Raises:
            StoreUnavailable: A store or the cache; the rest stays noted, and search shows nothing of it.

        """
        docs = self._forgetting.being_forgotten(_DOCUMENTS, _CHUNKS)
        return self._take(docs, is_forgotten=True) if docs else None

    def prune_some(self, source: SourceName) -> Taken | None:
        """Take out a piece of a source that left the config; None when nothing is left of it.

        Raises:
            StoreUnavailable: Ask again.

        """
        docs = self._forgetting.of_source(source, _DOCUMENTS, _CHUNKS)
        return self._take(docs, is_forgotten=False) if docs else None

    def finish(self) -> Taken:
        """Take out what a former process began to forget, or what could not be taken out before.

        The store's files stay as they are; see `expunge_some`.

        Raises:
            StoreUnavailable: As above.

        """
        total = Taken()
        while (taken := self.forget_some()) is not None:
            total += taken
        self.scrub()
        return total

    def scrub(self) -> bool:
        """Leave no trace in the ledger's file of what was forgotten; False while that has to be tried again."""
        faults.hit("before_scrub")
        return not self._forgetting.must_scrub or self._forgetting.scrub()

    def expunge_some(self) -> int:
        """Do a piece of having what was forgotten leave the files of every store; give how many are left, about.

        It is done when there is none.

        Raises:
            StoreUnavailable: That is still to be done, and is out of the store already.

        """
        occasion = self._forgetting.occasion
        if occasion is None:
            return 0
        if self.forget_some() is not None:  # begins after what was noted on this occasion is removed, whoever does it
            return 1
        faults.hit("before_expunge")
        left = self._expunge(occasion)
        if not left:
            self._forgetting.expunged(occasion)
        return left or 1  # the next call tells whether more was noted meanwhile

    def _take(self, docs: Sequence[int], *, is_forgotten: bool) -> Taken:
        ids = sorted(self._forgetting.withdraw(docs))
        faults.hit("mid_forget")
        seen: set[ChunkId] = set()
        n_vectors = 0
        for store in self._stores():
            for start in range(0, len(ids), _PAGE):
                page = ids[start : start + _PAGE]
                there = store.retrieve(page)
                if is_forgotten:  # first: a crash leaves the points, by which these digests are found again
                    n_vectors += self._forget_vectors(there)
                store.remove(page)
                seen.update(point.chunk_id for point in there)
            faults.hit("before_forget_flush")
            store.flush()
        faults.hit("before_forgotten")
        self._forgetting.drop(docs)
        return Taken(len(docs), len(seen), n_vectors)

    def _forget_vectors(self, points: Sequence[StoredPoint]) -> int:
        try:
            return self._cache.forget(digest for point in points for digest in _digests(point))
        except StateError as error:  # the points stay as well, and with them all of it is owed
            raise StoreUnavailable(str(error), hint=error.hint) from error


def _digests(point: StoredPoint) -> Iterator[Digest]:
    """Name the texts whose vector this can be; damage may have made its payload anything."""
    said = stated(point.payload)
    if said.digest:
        yield said.digest
    for text in embedded_texts(said.heading_path or (), said.text or "", _ANY_TOKENS):
        with suppress(UnicodeEncodeError):
            yield text_digest(text)
