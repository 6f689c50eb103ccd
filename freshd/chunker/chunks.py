"""The whole way from a parsed document to its chunks."""

import hashlib
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from freshd.chunker.cuts import ChunkLimits, cut
from freshd.chunker.sections import embedded_texts, whole_sections
from freshd.chunker.units import Run, Scale, refined
from freshd.errors import ParseError
from freshd.model import Chunk, ChunkId, Digest, DocumentId, ParsedDocument, SourceName

CHUNKER = "local-cuts/2"
"""Identity of the rules in this room; part of the recipe, so it changes whenever their result could."""

_CHUNK_IDS = uuid.UUID("5a0e6f0c-6c1b-5d0e-9a43-6f5f4e1c7d21")


def chunk(
    parsed: ParsedDocument,
    *,
    source: SourceName,
    document_id: DocumentId,
    limits: ChunkLimits,
    count_tokens: Callable[[Sequence[str]], list[int]],
) -> tuple[Chunk, ...]:
    """Cut a document into chunks in document order; the room's docstring says what they cover and where they end.

    Args:
        parsed: Well-formed Unicode, with blocks in order.
        source: Part of every chunk's id.
        document_id: Part of every chunk's id.
        limits: Smaller and larger chunks are avoided and impossible, respectively.
        count_tokens: As `Embedder.count_tokens`; called four times,
            and once more for each level of splitting that very large blocks need.

    Returns:
        Chunks whose `embedded_text` takes at most `max_tokens`; none for a document without text.

    Raises:
        ParseError: A single character is more than the model reads.

    """
    scale = Scale(count_tokens)
    room = limits.max_tokens - scale.special_tokens
    pending = whole_sections(parsed, limits.max_tokens, scale)
    fitting: list[Run] = []
    while pending:
        runs = [
            part for run in refined(parsed.text, pending, scale) for part in cut(parsed.text, run, limits.min_tokens)
        ]
        # Tokens of the parts need not add up to those of the whole, and blocks need not touch: the final text counts.
        weights = scale.weigh([run.embedded_text(parsed.text) for run in runs], room)
        weighed = list(zip(runs, weights, strict=True))
        fitting.extend(run for run, weight in weighed if weight <= room)
        pending = [_narrowed(run, weight, room, document_id) for run, weight in weighed if weight > room]
    fitting.sort(key=lambda run: run.span)
    return tuple(_named(parsed.text, fitting, f"{source}\0{document_id}"))


def chunk_id(source: SourceName, document_id: DocumentId, digest: Digest, occurrence: int) -> ChunkId:
    """Name a chunk.

    Args:
        source: The document's.
        document_id: The document's.
        digest: SHA-256 of the chunk's embedded text.
        occurrence: How many chunks of equal embedded text the document has before it.

    """
    return _id(f"{source}\0{document_id}", digest, occurrence)


def proved_text(heading_path: tuple[str, ...], text: str, digest: object, max_tokens: int) -> str | None:
    """Give what the model was shown for a chunk, if its digest proves it.

    Args:
        heading_path: As somebody says that the chunk has it; it may say anything.
        text: Likewise.
        digest: Likewise, SHA-256 of the embedded text.
        max_tokens: Of the limits it was cut with.

    """
    for one in embedded_texts(heading_path, text, max_tokens):
        with suppress(UnicodeEncodeError):
            if text_digest(one) == digest:
                return one
    return None


def text_digest(embedded_text: str) -> Digest:
    """Digest an embedded text.

    Raises:
        UnicodeEncodeError: It is not well-formed.

    """
    return Digest(hashlib.sha256(embedded_text.encode()).hexdigest())


def _id(document: str, digest: Digest, occurrence: int) -> ChunkId:
    return ChunkId(str(uuid.uuid5(_CHUNK_IDS, f"{document}\0{digest}\0{occurrence}")))


def _narrowed(run: Run, weight: int, room: int, document_id: DocumentId) -> Run:
    """A run that is too large, to be cut into smaller ones."""
    first, *others = run.units
    if first.is_atom and not others:
        raise ParseError(
            f"{document_id}, line {first.line}: got a character that takes {weight} tokens with its headings, "
            f"expected at most {room}",
            hint="choose an embedding model that reads more tokens, or exclude the document",
        )
    return run.narrowed()


def _named(text: str, runs: Iterable[Run], document: str) -> Iterator[Chunk]:
    """Name the runs by document and embedded text; doublets are told apart by their order in the document."""
    times_seen: Counter[Digest] = Counter()
    for ordinal, run in enumerate(runs):
        start, end = run.span
        embedded_text = run.embedded_text(text)
        digest = text_digest(embedded_text)
        yield Chunk(
            chunk_id=_id(document, digest, times_seen[digest]),
            ordinal=ordinal,
            start=start,
            end=end,
            start_line=run.units[0].line,
            end_line=run.units[-1].last_line,
            heading_path=run.heading_path,
            text=text[start:end],
            embedded_text=embedded_text,
            digest=digest,
        )
        times_seen[digest] += 1
