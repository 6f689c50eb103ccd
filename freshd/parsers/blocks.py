"""Lines of a text and the blocks laid over them: what the line-based formats share.

    text ──▶ Lines ──▶ a format's scanner ──▶ BlockBuilder ──▶ blocks with spans and heading paths

A scanner decides where blocks begin and end; trimming, order and headings are decided here.
"""

from collections.abc import Iterator

from freshd.model import Block, BlockKind

_MAX_TITLE_CHARACTERS = 200
"""Titles are repeated in front of every chunk below them, so a runaway heading must not travel whole."""


class Lines:
    """The lines of a text, by 0-based index; only a line feed ends a line.

    Holds offsets, not copies, so that a large text is in memory once.
    """

    def __init__(self, text: str) -> None:
        """Find where every line starts; a final line feed opens no further line."""
        self.text = text
        self._starts = list(_line_starts(text))
        # Looked up several times per line, so worth a byte each.
        self._is_blank = bytes(not (line := self[index]) or line.isspace() for index in range(len(self)))

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> str:
        """Give a line without its line feed."""
        return self.text[self._starts[index] : self.end(index)]

    def start(self, index: int) -> int:
        """Offset of the line's first character; for the index after the last line, the length of the text."""
        return min(self._starts[index], len(self.text))

    def end(self, index: int) -> int:
        """Offset after the line's last character, its line feed left out."""
        return self._starts[index + 1] - 1

    def is_blank(self, index: int) -> bool:
        """Tell whether the line shows nothing; an index past the last line is blank."""
        return index >= len(self._is_blank) or bool(self._is_blank[index])

    def indent(self, index: int) -> int:
        """Columns of white space before the line's first visible character; tabs stop at every eighth."""
        line = self[index]
        return len(line[: len(line) - len(line.lstrip())].expandtabs())

    def next_visible(self, index: int) -> int:
        """Index of the first line from here on that is not blank; the number of lines if there is none."""
        while index < len(self) and self.is_blank(index):
            index += 1
        return index

    def run_end(self, index: int) -> int:
        """Index after the run of visible lines that starts here."""
        while not self.is_blank(index):
            index += 1
        return index


def _line_starts(text: str) -> Iterator[int]:
    """Yield where each line starts, then one more offset as if a line followed the last."""
    start = 0
    while start < len(text):
        yield start
        found = text.find("\n", start)
        start = found + 1 if found >= 0 else len(text) + 1
    yield start


class BlockBuilder:
    """Collects blocks from top to bottom and knows under which headings they stand.

    Spans are trimmed to whole lines without blank ones around them; trailing white space stays outside.
    Lines already taken are not taken twice, so blocks cannot overlap.
    """

    def __init__(self, lines: Lines) -> None:
        """Start at the first line, below no heading."""
        self._lines = lines
        self._blocks: list[Block] = []
        self._headings = HeadingPath()
        self._position = 0

    def heading(self, level: int, title: str, first: int, end: int) -> None:
        """Add the heading on lines `first` to `end` (exclusive); what follows stands below it."""
        self._headings.leave(level)
        self.add(BlockKind.HEADING, first, end)
        self._headings.enter(level, title)

    def add(self, kind: BlockKind, first: int, end: int) -> None:
        """Add lines `first` to `end` (exclusive) as one block; nothing if they show nothing."""
        first, end = max(first, self._position), min(end, len(self._lines))
        self._position = max(self._position, end)
        while end > first and self._lines.is_blank(end - 1):
            end -= 1
        if first >= end:
            return
        first = self._lines.next_visible(first)
        last = end - 1
        stop = self._lines.start(last) + len(self._lines[last].rstrip())
        self._blocks.append(
            Block(kind, self._lines.start(first), stop, first + 1, last + 1, self._headings.titles),
        )

    def skip(self, end: int) -> None:
        """Leave out everything before line `end` that was not taken yet."""
        self._position = max(self._position, end)

    def fill(self, end: int) -> None:
        """Take everything before line `end` that was not taken yet, one paragraph per run of visible lines."""
        end = min(end, len(self._lines))
        while (first := self._lines.next_visible(self._position)) < end:
            self.add(BlockKind.PARAGRAPH, first, min(self._lines.run_end(first), end))

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks so far, in order."""
        return tuple(self._blocks)

    @property
    def title(self) -> str | None:
        """Title of the page as its headings tell it; None without headings."""
        return self._headings.page_title


class HeadingPath:
    """The headings above the current place, outermost first."""

    def __init__(self) -> None:
        """Start above every heading."""
        self._open: list[tuple[int, str]] = []
        self._first: tuple[int, str] | None = None
        self.titles: tuple[str, ...] = ()

    def leave(self, level: int) -> None:
        """Step out of every section at this level or deeper."""
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        self.titles = tuple(title for _, title in self._open)

    def enter(self, level: int, title: str) -> None:
        """Step below a heading; an empty one leaves no trace in the path."""
        self.leave(level)
        title = shorten(title)
        if not title:
            return
        self._open.append((level, title))
        self.titles = (*self.titles, title)
        if self._first is None or level < self._first[0]:
            self._first = (level, title)

    @property
    def page_title(self) -> str | None:
        """The first of the outermost headings; None without headings."""
        return self._first[1] if self._first else None


def shorten(title: str) -> str:
    """Put a title on one line and bound its length."""
    # Cutting first keeps a heading of many megabytes cheap; white space may use up what a title gains below.
    title = " ".join(title[: 10 * _MAX_TITLE_CHARACTERS].split())
    return title if len(title) <= _MAX_TITLE_CHARACTERS else title[: _MAX_TITLE_CHARACTERS - 1].rstrip() + "…"
