"""Cuts a parsed document into chunks whose boundaries survive edits elsewhere.

    blocks ──▶ sections ──▶ units ──────▶ runs ───────▶ chunks
               one heading   blocks, or    what lies      verified against
               path each     pieces of     between two    the model's limit
                             large ones    cuts

Does not read, embed or remember anything: the same document gives the same chunks, whatever it was before.

**What is covered.** Every non-blank character of every block that is not a heading lies in exactly one chunk.
Headings are not part of the text: they are in `heading_path`, and so in `embedded_text`, of what stands under them.
A heading with nothing under it, neither body nor subsection, is a chunk of its own, so that nothing is lost.
A chunk never crosses a heading. Its blank edges are trimmed, all but the indentation of its first line.

**Where it cuts.** Each boundary between two units has a rank: first how bad a place it is to cut
(between blocks is best, after a colon or inside a block is worse),
then the hash of the beginning of the unit that follows, so that an edit further on in a paragraph moves no boundary.

1. A boundary is a cut if no boundary within `min_tokens` on either side ranks lower
   and the section goes on for `min_tokens` or more on both sides.
2. What is still too large between two cuts is cut at its lowest rank until all of it fits,
   at `min_tokens` or more from its ends wherever there is such a place.

Both look only at text nearby, never at a count kept from the beginning.
So an edit changes the few chunks around it and no others, however long the section is.
Where units begin alike, the hash of all the text around them, up to `min_tokens` away, decides.
Where that is equal too the text repeats itself: the leftmost place wins,
and the chunks repeat themselves as the text does, so that again only a few of them change.
"""

from freshd.chunker.chunks import CHUNKER, chunk, chunk_id, proved_text, text_digest
from freshd.chunker.cuts import ChunkLimits
from freshd.chunker.sections import embedded_texts

__all__ = ["CHUNKER", "ChunkLimits", "chunk", "chunk_id", "embedded_texts", "proved_text", "text_digest"]
