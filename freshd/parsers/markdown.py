"""Markdown (CommonMark with tables and front matter) to blocks, by the line maps of markdown-it.

    front matter ─▶ title, metadata
    the rest ─▶ block tokens of the top level ─▶ one block each; a list gives one per item

Only headings are parsed inline, to learn their titles; spans are whole lines of the source.

Not in any block: front matter, and HTML comments that stand alone, which no reader sees.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.common.utils import mdTrim
from markdown_it.rules_block import StateBlock, table
from markdown_it.token import Token

from freshd.model import BlockKind, ParsedDocument
from freshd.parsers.blocks import BlockBuilder, Lines
from freshd.parsers.front_matter import read_front_matter

VERSION = "markdown-2"

_FLAVOUR: Final = ["table", "strikethrough"]
_blocks = MarkdownIt("commonmark").enable(_FLAVOUR).disable("inline")
_inline = MarkdownIt("commonmark").enable(_FLAVOUR)


def _map_table(state: StateBlock, first: int, end: int, silent: bool) -> bool:
    """Map the lines of a table, which markdown-it's own rule recognises.

    That rule makes three tokens for each cell, which nobody here reads, also for those that short rows lack:
    192,000 for 250 rows of `|` below 256 columns, which are 1.5 KB.
    """
    if not table(state, first, end, True):
        return False
    if silent:
        return True
    terminators = state.md.block.ruler.getRules("blockquote")
    line = first + 2
    while line < end and not (
        state.sCount[line] < state.blkIndent
        or not mdTrim(state.src[state.bMarks[line] : state.eMarks[line]])
        or state.is_code_block(line)
        or any(ends(state, line, end, True) for ends in terminators)
    ):
        line += 1
    state.push("table_open", "table", 1).map = [first, line]
    state.push("table_close", "table", -1)
    state.line = line
    return True


_blocks.block.ruler.at("table", _map_table, {"alt": ["paragraph", "reference"]})

_KINDS: Final = {
    "paragraph_open": BlockKind.PARAGRAPH,
    "blockquote_open": BlockKind.PARAGRAPH,
    "html_block": BlockKind.PARAGRAPH,
    "hr": BlockKind.PARAGRAPH,
    "list_item_open": BlockKind.LIST,
    "fence": BlockKind.CODE,
    "code_block": BlockKind.CODE,
    "table_open": BlockKind.TABLE,
}

# Inline parsing is not linear in hostile input, and no path shows this much.
_MOST_TITLE_SOURCE_CHARACTERS: Final = 2000


def parse_markdown(text: str) -> ParsedDocument:
    """Take a Markdown page apart.

    Args:
        text: Newlines are line feeds.

    Returns:
        The text itself; its blocks cover everything visible but for what the module names.

    """
    lines = Lines(text)
    front = read_front_matter(lines)
    references: dict[str, Any] = {}
    # Blank lines in place of the front matter keep the line numbers of the tokens true.
    body = "\n" * front.n_lines + text[lines.start(front.n_lines) :] if front.n_lines else text
    builder = BlockBuilder(lines)
    builder.skip(front.n_lines)
    for token, content in _top_level(_blocks.parse(body, references)):
        first, end = token.map or (0, 0)
        builder.fill(first)  # link definitions leave no token
        _add(builder, token, content, first, end, references)
    builder.fill(len(lines))
    return ParsedDocument(text, builder.blocks, front.title or builder.title, front.metadata)


def _top_level(tokens: list[Token]) -> Iterator[tuple[Token, str]]:
    """Yield the tokens that become blocks, each with its own source where that is one inline run or HTML."""
    for token, following in pairwise([*tokens, Token("end", "", 0)]):
        is_item = token.type == "list_item_open" and token.level == 1
        if token.map and (is_item or (token.level == 0 and not token.type.endswith("list_open"))):
            yield token, following.content if token.type == "heading_open" else token.content


def _add(
    builder: BlockBuilder, token: Token, content: str, first: int, end: int, references: Mapping[str, Any]
) -> None:
    """Add one token's lines."""
    if token.type == "heading_open":
        builder.heading(int(token.tag[1:]), _title(content, references), first, end)
    elif token.type == "html_block" and _is_comment(content):
        builder.skip(end)
    else:
        builder.add(_KINDS.get(token.type, BlockKind.PARAGRAPH), first, end)


def _title(source: str, references: Mapping[str, Any]) -> str:
    """Read a heading as its reader does: without markup, links by their text."""
    inline = _inline.parseInline(source[:_MOST_TITLE_SOURCE_CHARACTERS], dict(references))
    return "".join(_plain(child) for token in inline for child in token.children or ())


def _plain(token: Token) -> str:
    """Give what is seen of one inline token."""
    if token.type in ("softbreak", "hardbreak"):
        return " "
    return "" if token.type == "html_inline" else token.content


def _is_comment(html: str) -> bool:
    """Tell whether an HTML block is comments and nothing else; an unclosed one is kept as text."""
    rest = html.strip()
    while rest.startswith("<!--"):
        end = rest.find("-->", len("<!--"))
        if end < 0:
            return False
        rest = rest[end + len("-->") :].lstrip()
    return not rest
