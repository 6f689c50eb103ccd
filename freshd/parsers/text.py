"""Plain text and code: paragraphs are what blank lines part."""

from freshd.model import BlockKind, ParsedDocument
from freshd.parsers.blocks import BlockBuilder, Lines

VERSION = "text-1"


def parse_text(text: str, kind: BlockKind = BlockKind.PARAGRAPH) -> ParsedDocument:
    """Part a text at its blank lines.

    Args:
        text: Newlines are line feeds.
        kind: What the parts are: paragraphs of prose, or code that is best split at line ends.

    Returns:
        The text itself; its blocks cover everything visible; no title.

    """
    lines = Lines(text)
    builder = BlockBuilder(lines)
    first = lines.next_visible(0)
    while first < len(lines):
        end = lines.run_end(first)
        builder.add(kind, first, end)
        first = lines.next_visible(end)
    return ParsedDocument(text, builder.blocks)
