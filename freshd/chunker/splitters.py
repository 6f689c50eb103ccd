"""Where a block that is too large may be divided: between sentences or lines, else words, else anywhere.

A splitter gives the offsets, in rising order, at which pieces after the first begin.
Which offsets it gives depends on the text nearby only, so that an edit moves no piece far away.
"""

import re
import zlib
from collections.abc import Callable, Iterator

from freshd.model import BlockKind

Splitter = Callable[[str], Iterator[int]]

_SHORT = 32
"""Characters below which a sentence, line or word is joined with others, or short lines would be too many pieces."""
_SHORTEST_JOINED = 16
_LONGEST_JOINED = 64
"""Characters between which joined pieces end: where a hash says so, else at the most."""


def _is_chosen(length: int, nearby: str, one_in: int) -> bool:
    """Whether a joined piece of some length ends here; the hash brings edited text back into step."""
    if length < _SHORTEST_JOINED:
        return False
    return length >= _LONGEST_JOINED or zlib.crc32(nearby.encode()) % one_in == 0


def _after(pattern: str) -> Splitter:
    """Begin a piece after each match, joining short ones."""
    compiled = re.compile(pattern)

    def starts(body: str) -> Iterator[int]:
        begin = before = 0
        for match in compiled.finditer(body):
            at = match.end()
            if at - before >= _SHORT or _is_chosen(at - begin, body[at : at + 8], one_in=8):
                begin = at
                yield at
            before = at

    return starts


def _before_characters(body: str) -> Iterator[int]:
    """Begin pieces inside an endless word."""
    begin = 0
    for at in range(_SHORTEST_JOINED, len(body)):
        if _is_chosen(at - begin, body[at - 4 : at], one_in=32):
            begin = at
            yield at


def _before_every_character(body: str) -> Iterator[int]:
    yield from range(1, len(body))


_paragraphs = _after(r"\n(?:[^\S\n]*\n)+")
_items = _after(r"\n(?=[^\S\n]*(?:[-*+•]|\w{1,3}[.)])\s)")
_sentences = _after(r"[.!?…][\"'”’)\]]*\s+|[。！？][\"'”’」』）]*\s*")
_lines = _after(r"\n")
_anywhere = (_after(r"\s+"), _before_characters, _before_every_character)

SPLITTERS: dict[BlockKind, tuple[Splitter, ...]] = {
    BlockKind.HEADING: (_paragraphs, _sentences, _lines, *_anywhere),
    BlockKind.PARAGRAPH: (_paragraphs, _sentences, _lines, *_anywhere),
    BlockKind.LIST: (_paragraphs, _items, _sentences, _lines, *_anywhere),
    BlockKind.TABLE: (_paragraphs, _lines, *_anywhere),
    BlockKind.CODE: (_paragraphs, _lines, *_anywhere),
}
"""Splitters of each kind of block, best first; the last one divides whatever has two characters."""
