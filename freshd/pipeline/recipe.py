"""How documents become points, as one thing with one identity."""

from dataclasses import dataclass
from functools import partial

from freshd.chunker import ChunkLimits, chunk
from freshd.errors import ParseError
from freshd.model import Chunk, Digest, Document, DocumentId, SourceName
from freshd.payload import DocumentFields
from freshd.pipeline.aside import Aside
from freshd.pipeline.asking import lacks_memory
from freshd.ports import Embedder, Parser

MAX_DOCUMENT_CHUNKS = 20_000
"""Bounds what one document holds up and takes up: a quarter of an hour of embedding, some 100 MB on the way."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How documents become points.

    Attributes:
        identity: Changes with the parser, the chunker, its limits or the embedder.
        aside: Does what may take long; None where it is waited for.
        former: Of another recipe whose points may stay until their document changes; None if there is none.

    """

    parser: Parser
    limits: ChunkLimits
    embedder: Embedder
    identity: Digest
    former: Digest | None = None
    aside: Aside | None = None

    def take_apart(
        self, document: Document, source: SourceName, document_id: DocumentId, digest: Digest
    ) -> tuple[DocumentFields, tuple[Chunk, ...]]:
        """Give what all chunks of a document say of it, and the chunks.

        Raises:
            ParseError: Its bytes are not text, not what their type claims, or come to too many chunks.
            DocumentUnreadable: Memory does not suffice; it may another time.
            DocumentBusy: It takes long, or waits until another one is through that does; ask again.

        """
        work = partial(self._take_apart, document, source, document_id, digest)
        if self.aside is None or not self.parser.may_take_long(document):
            return work()
        return self.aside.ask((self.identity, source, document), work, document_id)

    def _take_apart(
        self, document: Document, source: SourceName, document_id: DocumentId, digest: Digest
    ) -> tuple[DocumentFields, tuple[Chunk, ...]]:
        try:
            parsed = self.parser.parse(document)
            chunks = chunk(
                parsed,
                source=source,
                document_id=document_id,
                limits=self.limits,
                count_tokens=self.embedder.count_tokens,
            )
        except MemoryError as error:
            raise lacks_memory(document_id) from error
        if len(chunks) > MAX_DOCUMENT_CHUNKS:
            raise ParseError(
                f"{document_id}: got {len(chunks):,} chunks, expected at most {MAX_DOCUMENT_CHUNKS:,} of one document",
                hint="split it into several documents, or leave it out with `exclude`",
            )
        title = parsed.title or document.title
        return DocumentFields(source, document_id, document.uri, title, digest, document.modified_at), chunks
