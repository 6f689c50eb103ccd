"""Builds a page's text as its reader sees it, and the blocks that lie in it.

White space collapses as in a browser, except in preformatted text.
Blocks stand apart by a blank line, items of a list by a line feed.
What shows nothing (see `unseen.py`) is left out.
"""

from freshd.model import Block, BlockKind, ParsedDocument
from freshd.parsers.blocks import HeadingPath
from freshd.parsers.unseen import without_unseen

VERSION = "rendering-2"

_SPACES = str.maketrans("\t\n\r\f\xa0", "     ")


def collapse(text: str) -> str:
    """Make one space of every run of white space."""
    text = text.translate(_SPACES)
    # Halving runs takes few passes and no memory, where a pattern would hold every word of a large page.
    while "  " in text:
        text = text.replace("  ", " ")
    return text


class Renderer:
    """Writes text from top to bottom; the caller says where blocks begin and end."""

    def __init__(self) -> None:
        """Start with an empty page."""
        self._parts: list[str] = []
        self._length = 0
        self._blocks: list[Block] = []
        self._headings = HeadingPath()
        self._reset(BlockKind.PARAGRAPH, 0)

    def _reset(self, kind: BlockKind, level: int) -> None:
        self._kind, self._level = kind, level
        self._pieces: list[str] = []
        self._prefix = ""  # written before the next visible text, so that nothing empty leaves a trace
        self._is_marker_waiting = False
        self._is_at_start = True
        self._first_line = self._last_line = 0

    @property
    def is_empty(self) -> bool:
        """Tell whether the block being written shows nothing yet."""
        return self._first_line == 0

    @property
    def is_at_new_line(self) -> bool:
        """Tell whether the block shows something, and nothing yet on the line just begun."""
        return not self.is_empty and self._prefix.startswith("\n")

    def begin(self, kind: BlockKind, *, level: int = 0, marker: str = "") -> None:
        """End the block being written and begin another.

        Args:
            kind: What the block is.
            level: Of a heading.
            marker: A bullet or number before its first text.

        """
        self.end()
        self._reset(kind, level)
        self.newline(marker=marker)

    def newline(self, indent: str = "", *, marker: str = "") -> None:
        """Begin a new line within the block, unless a marker still waits for its text."""
        if marker or not self._is_marker_waiting:
            self._prefix = ("" if self.is_empty else "\n") + indent + marker
            self._is_marker_waiting = bool(marker)
        self._is_at_start = True

    def separate(self, separator: str) -> None:
        """Put a separator before the next text of the same line."""
        if self._pieces and self._pieces[-1] == " ":
            self._pieces.pop()
        self._prefix += separator
        self._is_at_start = True

    def write(self, text: str, line: int, *, is_preformatted: bool = False) -> None:
        """Write text that stands on the given line of the source."""
        text = without_unseen(text)
        shown = text if is_preformatted else collapse(text)
        if self._is_at_start and not is_preformatted:
            shown = shown.lstrip(" ")
        if not shown:
            return
        if not shown.isspace():
            self._note_lines(text, line)
            shown = self._prefix + shown
            self._prefix = ""
            self._is_marker_waiting = False
        self._pieces.append(shown)
        self._is_at_start = shown.endswith((" ", "\n"))

    def _note_lines(self, text: str, line: int) -> None:
        """Remember on which lines the block begins and ends."""
        stripped = text.strip()
        first = line + text.count("\n", 0, text.find(stripped[0]))
        self._first_line = self._first_line or first
        self._last_line = max(self._last_line, first + stripped.count("\n"))

    def end(self) -> None:
        """End the block being written; one that shows nothing is dropped."""
        text = self._finish()
        if text and not text.isspace():
            self._place(text)
        self._reset(BlockKind.PARAGRAPH, 0)

    def _finish(self) -> str:
        """Put the block's pieces together, without white space that nobody sees."""
        if self.is_empty:
            return ""
        text = "\n".join(line.rstrip() for line in "".join(self._pieces).split("\n"))
        return text.strip("\n").rstrip() if self._kind is BlockKind.CODE else text.strip()

    def _place(self, text: str) -> None:
        """Add the block to the page."""
        is_item = self._kind is BlockKind.LIST and bool(self._blocks) and self._blocks[-1].kind is BlockKind.LIST
        if self._blocks:
            self._append("\n" if is_item else "\n\n")
        start = self._length
        self._append(text)
        if self._kind is BlockKind.HEADING:
            self._headings.leave(self._level)
        block = Block(self._kind, start, self._length, self._first_line, self._last_line, self._headings.titles)
        self._blocks.append(block)
        if self._kind is BlockKind.HEADING:
            self._headings.enter(self._level, text)

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)

    def page(self, title: str | None) -> ParsedDocument:
        """End the page; without a title of its own its outermost heading is the title."""
        self.end()
        return ParsedDocument("".join(self._parts), tuple(self._blocks), title or self._headings.page_title)
