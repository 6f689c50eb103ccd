"""Takes chunks over from one generation into another as its store holds them, without asking their source. Pure.

payload ─▶ text, headings, lines ─▶ does its digest prove the text? ─▶ fits the other model? ─▶ chunk
                                     └─ no: left out                     └─ no: cut into several
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from freshd.chunker import ChunkLimits, chunk, proved_text
from freshd.model import Block, BlockKind, Chunk, Digest, DocumentId, ParsedDocument, SourceName
from freshd.payload import Citation, DocumentFields, citation
from freshd.pipeline.recipe import Recipe
from freshd.ports import StoredPoint


def carried(
    points: Sequence[StoredPoint], digest: Digest, limits: ChunkLimits, recipe: Recipe
) -> tuple[DocumentFields, tuple[Chunk, ...]] | None:
    """Make what a document consists of from its points in another store.

    Args:
        points: Of one document, in its order; at least one.
        digest: Of the document's bytes.
        limits: What the chunks were cut with.
        recipe: What the chunks are for.

    Returns:
        What all chunks say of the document, and those chunks whose payload proves their text; None if none does.

    """
    proved = [found for point in points if (found := _proved(point, limits))]
    if not proved:
        return None
    first = proved[0][0]
    fields = DocumentFields(first.source, first.document_id, first.uri, first.title, digest, first.modified_at)
    counts = recipe.embedder.count_tokens([piece.embedded_text for _, piece in proved])
    pieces: dict[str, Chunk] = {}
    for (cited, piece), count in zip(proved, counts, strict=True):
        fitting = [piece] if count <= recipe.limits.max_tokens else _cut(cited, recipe)
        pieces |= {one.chunk_id: one for one in fitting}
    return fields, tuple(replace(piece, ordinal=n) for n, piece in enumerate(pieces.values()))


def _proved(point: StoredPoint, limits: ChunkLimits) -> tuple[Citation, Chunk] | None:
    try:
        cited, digest = citation(point.payload), Digest(point.payload["freshd"]["digest"])
    except (KeyError, TypeError, ValueError):
        return None
    text = proved_text(cited.heading_path, cited.text, digest, limits.max_tokens)
    if text is None:
        return None
    lines = cited.start_line, cited.end_line
    return cited, Chunk(point.chunk_id, 0, 0, 0, *lines, cited.heading_path, cited.text, text, digest)


def _cut(cited: Citation, recipe: Recipe) -> Iterator[Chunk]:
    """Cut a passage that is more than the model reads."""
    block = Block(
        BlockKind.PARAGRAPH, 0, len(cited.text), cited.start_line, cited.end_line, heading_path=cited.heading_path
    )
    yield from chunk(
        ParsedDocument(cited.text, (block,)),
        source=SourceName(cited.source),
        document_id=DocumentId(cited.document_id),
        limits=recipe.limits,
        count_tokens=recipe.embedder.count_tokens,
    )
