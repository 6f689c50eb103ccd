"""What a change has to show before it is called done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from freshd.model import ChunkId, DocumentId, SourceName, Vector


@dataclass(frozen=True, slots=True)
class Expected:
    """What search must find once a change is searchable, and what it must not find any more.

    Attributes:
        written: Chunks that must be in the store.
        twins: One chunk and those of equal text beside it, which no search tells apart; one of them must be found.
            Empty where the document has no text.
        vector: Dense vector of the twins; None where it is not at hand and has to be read back.
        gone: Chunks that must not be found.
        left_id: The document id that must not lead to `gone` any more; None where the document stays where it was.

    """

    source: SourceName
    document_id: DocumentId
    written: frozenset[ChunkId]
    twins: frozenset[ChunkId]
    vector: Vector | None
    gone: frozenset[ChunkId]
    left_id: DocumentId | None = None

    @property
    def key(self) -> tuple[SourceName, str]:
        """What search knows the document by."""
        return self.source, self.document_id


Divergent = Mapping[tuple[SourceName, str], str]
"""Documents in which the index is not what was written to it, each with the reason in one line."""


class Proof(Protocol):
    """Reads back, the way a search does, what was written. Asked by the thread that writes, between its writes.

    Both methods may raise StoreUnavailable: then nothing is known.
    """

    def missing(self, expected: Sequence[Expected]) -> Divergent:
        """Find the documents whose new chunks are not there or not found; asked before search shows them."""
        ...

    def orphaned(self, expected: Sequence[Expected]) -> Divergent:
        """Find those whose old chunks are still there, or new ones not shown; asked after the old were removed."""
        ...
