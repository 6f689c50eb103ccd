"""reStructuredText to blocks, line by line and without docutils.

docutils would run directives and needs Sphinx to know most of them; for retrieval it is enough to know
where blocks begin and end. Every visible line goes into one block, whatever the markup is worth:

    section title ─▶ HEADING, its level by order of appearance of its adornment
    `.. directive::` ─▶ the whole of it if code or a table, else its head and first paragraph; then its body goes on
    `::`, `>>>` ─▶ CODE · list items ─▶ LIST, one each · grid and simple tables ─▶ TABLE · the rest ─▶ PARAGRAPH

Not in any block: comments with their bodies, and targets that only name a place (`.. _label:`).
A target with an address is a paragraph, as are footnotes, citations and substitutions.
"""

import re
from collections.abc import Callable
from typing import Final

from freshd.model import BlockKind, ParsedDocument
from freshd.parsers.blocks import BlockBuilder, Lines
from freshd.parsers.rst_inline import plain_title

VERSION = "rst-1"

_CODE_DIRECTIVES: Final = frozenset({
    *("code", "code-block", "sourcecode", "console", "parsed-literal", "literalinclude", "highlight"),
    *("prompt", "ipython", "raw"),
    *("doctest", "testcode", "testoutput", "testsetup", "testcleanup", "productionlist"),
    *("math", "graphviz", "digraph", "graph", "uml", "mermaid"),
})  # fmt: skip
_TABLE_DIRECTIVES: Final = frozenset({"table", "list-table", "csv-table", "flat-table"})

_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1*\s*$")
_SHORTEST_ADORNMENT: Final = 4
"""A shorter underline must be as long as its title, as in docutils."""

_EXPLICIT = re.compile(r"\s*\.\.(?:\s|$)")
_DIRECTIVE = re.compile(r"\s*\.\.\s+([A-Za-z0-9][\w.+:-]*?)\s?::(?:\s|$)")
_TARGET = re.compile(r"\s*\.\.\s+_(?:`[^`]*`|(?:\\.|[^:\\]|:(?=\S))+):(?P<address>\s.*)?$")
_KEPT_EXPLICIT = re.compile(r"\s*\.\.\s+(?:\[[^\]]+\]|\|[^|]+\||__)")
_BULLET = re.compile(r"\s*[-*+•‣⁃](?:\s|$)")
_ENUMERATOR = re.compile(r"\s*\(?(?:\d{1,9}|[A-Za-z]|[ivxlcdmIVXLCDM]{1,8}|#)[.)](?:\s|$)")
_DOCTEST = re.compile(r"\s*>>>(?:\s|$)")
_GRID_TABLE = re.compile(r"\s*\+[-=+]*-[-=+]*\+\s*$")
_SIMPLE_TABLE = re.compile(r"\s*=+(?: +=+)+\s*$")

_MOST_PROBED_CHARACTERS: Final = 10_000
"""Markup shows within this much of a line; a longer line is looked at no further."""


def parse_rst(text: str) -> ParsedDocument:
    """Take a reStructuredText page apart.

    Args:
        text: Newlines are line feeds.

    Returns:
        The text itself; its blocks cover everything visible but for what the module names.

    """
    scanner = _Scanner(text)
    scanner.scan()
    return ParsedDocument(text, scanner.builder.blocks, scanner.builder.title)


class _Scanner:
    """Walks the lines once. A recogniser takes the index of a visible line and gives the index after what it took.

    It gives None for what it does not recognise. There is no recursion: bodies are scanned like everything else,
    so nesting costs nothing.
    """

    def __init__(self, text: str) -> None:
        self._lines = Lines(text)
        self.builder = BlockBuilder(self._lines)
        self._adornments: list[tuple[str, bool]] = []
        self._recognisers: tuple[Callable[[int], int | None], ...] = (
            self._heading,
            self._list_item,
            self._doctest,
            self._table,
            self._explicit,
            self._paragraph,
        )

    def scan(self) -> None:
        """Take every line."""
        index = self._lines.next_visible(0)
        while index < len(self._lines):
            ends = (recognise(index) for recognise in self._recognisers)
            index = self._lines.next_visible(next(end for end in ends if end is not None))

    def _line(self, index: int) -> str:
        """Give as much of a line as shows its markup; nothing after the last line."""
        return self._lines[index][:_MOST_PROBED_CHARACTERS] if index < len(self._lines) else ""

    # -- sections

    def _heading(self, index: int) -> int | None:
        """Recognise a section title with an underline, or between two lines."""
        first = _ADORNMENT.match(self._line(index))
        if first and self._is_underline(index + 1, index + 2) and self._line(index + 2).rstrip() == first[0].rstrip():
            return self._add_heading((first[1], True), index + 1, index, index + 3)
        if first or self._line(index)[0].isspace() or not self._is_underline(index, index + 1):
            return None
        return self._add_heading((self._line(index + 1)[0], False), index, index, index + 2)

    def _is_underline(self, title: int, below: int) -> bool:
        """Tell whether the line below can underline the title."""
        if self._lines.is_blank(title) or not _ADORNMENT.match(self._line(below)):
            return False
        length = len(self._line(below).rstrip())
        return length >= min(_SHORTEST_ADORNMENT, len(self._line(title).strip()))

    def _add_heading(self, adornment: tuple[str, bool], title: int, first: int, end: int) -> int:
        """Add a heading; an adornment not seen before is one level deeper than all seen so far."""
        if adornment not in self._adornments:
            self._adornments.append(adornment)
        self.builder.heading(self._adornments.index(adornment), plain_title(self._line(title)), first, end)
        return end

    # -- blocks known by their first line

    def _list_item(self, index: int) -> int | None:
        """Recognise a bullet or enumerator and take all that is indented below it."""
        line = self._line(index)
        if not _BULLET.match(line) and not (_ENUMERATOR.match(line) and self._follows_as_list(index)):
            return None
        return self._take(BlockKind.LIST, index, self._indented_end(index + 1, self._lines.indent(index)))

    def _follows_as_list(self, index: int) -> bool:
        """Tell a list from a sentence that starts with `A.`: no line of the same paragraph follows flush with it."""
        following = self._line(index + 1)
        is_flush = not self._lines.is_blank(index + 1) and self._lines.indent(index + 1) <= self._lines.indent(index)
        return not is_flush or bool(_ENUMERATOR.match(following))

    def _doctest(self, index: int) -> int | None:
        """Recognise an interactive session, which ends at a blank line."""
        if not _DOCTEST.match(self._line(index)):
            return None
        return self._take(BlockKind.CODE, index, self._lines.run_end(index))

    def _table(self, index: int) -> int | None:
        """Recognise a grid table, or a simple one, which may have blank lines within."""
        line = self._line(index)
        if _GRID_TABLE.match(line):
            return self._take(BlockKind.TABLE, index, self._lines.run_end(index))
        end = self._simple_table_end(index) if _SIMPLE_TABLE.match(line) else None
        return None if end is None else self._take(BlockKind.TABLE, index, end)

    def _simple_table_end(self, index: int) -> int | None:
        """Find the end of a simple table: the third border, or the second one if a blank line follows it."""
        indent, n_borders = self._lines.indent(index), 1
        for below in range(index + 1, len(self._lines)):
            line = self._line(below)
            if line and not line.isspace() and self._lines.indent(below) < indent:
                return None
            if _SIMPLE_TABLE.match(line):
                n_borders += 1
                if n_borders == 3 or self._lines.is_blank(below + 1):
                    return below + 1
        return None

    # -- explicit markup

    def _explicit(self, index: int) -> int | None:
        """Recognise what begins with two dots."""
        line = self._line(index)
        if not _EXPLICIT.match(line):
            return None
        directive = _DIRECTIVE.match(line)
        if directive:
            return self._directive(index, directive[1])
        target = _TARGET.match(line)
        if target:
            return self._target(index, target["address"])
        if _KEPT_EXPLICIT.match(line):
            return self._take(BlockKind.PARAGRAPH, index, self._indented_end(index + 1, self._lines.indent(index)))
        return self._comment(index)

    def _directive(self, index: int, name: str) -> int:
        """Take a directive whole if its body is code or a table, else its head with the first paragraph below it."""
        indent = self._lines.indent(index)
        for kind, names in ((BlockKind.CODE, _CODE_DIRECTIVES), (BlockKind.TABLE, _TABLE_DIRECTIVES)):
            if name in names:
                return self._take(kind, index, self._indented_end(index + 1, indent))
        head_end = index + 1
        while not self._lines.is_blank(head_end) and self._lines.indent(head_end) > indent:
            head_end += 1
        body = self._lines.next_visible(head_end)
        if body < len(self._lines) and self._lines.indent(body) > indent and self._is_plain(body):
            return self._take_paragraph(index, self._lines.run_end(body))
        return self._take_paragraph(index, head_end)

    def _is_plain(self, index: int) -> bool:
        """Tell whether an ordinary paragraph begins here."""
        line = self._line(index)
        markup = (_EXPLICIT, _BULLET, _ENUMERATOR, _DOCTEST, _GRID_TABLE, _SIMPLE_TABLE)
        return not any(pattern.match(line) for pattern in markup)

    def _target(self, index: int, address: str | None) -> int:
        """Leave out a target that only names a place; keep one with an address."""
        end, indent = index + 1, self._lines.indent(index)
        while not self._lines.is_blank(end) and self._lines.indent(end) > indent:
            end += 1
        if end > index + 1 or (address and not address.isspace()):
            return self._take(BlockKind.PARAGRAPH, index, end)
        self.builder.skip(end)
        return end

    def _comment(self, index: int) -> int:
        """Leave out a comment; two dots alone before a blank line comment out nothing."""
        is_empty = self._line(index).strip() == ".." and self._lines.is_blank(index + 1)
        end = index + 1 if is_empty else self._indented_end(index + 1, self._lines.indent(index))
        self.builder.skip(end)
        return end

    # -- the rest

    def _paragraph(self, index: int) -> int:
        """Take a run of visible lines: a paragraph, a definition, a field list, a line block, a quote."""
        return self._take_paragraph(index, self._lines.run_end(index))

    def _take_paragraph(self, index: int, end: int) -> int:
        """Take a paragraph, and the literal block below it that a final `::` announces."""
        end = self._take(BlockKind.PARAGRAPH, index, end)
        last = end - 1
        stop = self._lines.end(last)
        if not self._lines.text[max(stop - 200, self._lines.start(last)) : stop].rstrip().endswith("::"):
            return end
        if _DIRECTIVE.match(self._line(last)):
            return end
        indent = self._lines.indent(last)
        body = self._lines.next_visible(end)
        if body == len(self._lines) or self._lines.indent(body) <= indent:
            return end
        return self._take(BlockKind.CODE, body, self._indented_end(body, indent))

    def _indented_end(self, index: int, indent: int) -> int:
        """Find the end of what is indented deeper than `indent`, blank lines within it included."""
        while index < len(self._lines) and (self._lines.is_blank(index) or self._lines.indent(index) > indent):
            index += 1
        return index

    def _take(self, kind: BlockKind, first: int, end: int) -> int:
        """Add a block and say where it ends."""
        self.builder.add(kind, first, end)
        return end
