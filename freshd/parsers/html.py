"""HTML to what its reader sees, as blocks.

    bytes ─▶ decoded text ─▶ lxml's tolerant parser ─▶ one walk over the tree ─▶ Renderer ─▶ blocks

Spans are exact in the rendered text; lines are those of the HTML source.
Left out: what `visibility.py` finds hidden, comments, scripts, styles, embedded media, menus of choices, navigation.
No entity is resolved, nothing is fetched.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lxml import etree

from freshd.errors import ParseError
from freshd.model import BlockKind, ParsedDocument
from freshd.parsers.html_tree import HEADINGS, layout_containers, name_of, own_stylesheets, parse_tree, title_of
from freshd.parsers.rendering import Renderer
from freshd.parsers.visibility import PageStyle, Visibility, visibility_of

VERSION = "html-2"

_LEFT_OUT: Final = frozenset({
    *("title", "script", "style", "template", "noscript", "noframes", "frameset", "nav"),
    *("iframe", "object", "embed", "applet", "audio", "video", "canvas"),
    *("select", "datalist", "annotation", "annotation-xml", "desc", "defs", "metadata", "rp"),
})  # fmt: skip
# The head itself stays: libxml2 takes HTML5 elements for a part of it where its end tag is left out.
_BLOCKS: Final = frozenset({
    *("html", "head", "body", "main", "article", "section", "header", "footer", "aside", "search", "hgroup"),
    *("address", "div", "center", "p", "hr"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "xmp", "listing", "plaintext"),
    *("figure", "figcaption", "details", "summary", "dialog", "form", "fieldset", "legend", "optgroup"),
    *("ul", "ol", "menu", "dir", "li", "dl", "dt", "dd"),
    *("table", "caption", "thead", "tbody", "tfoot", "tr", "td", "th"),
})  # fmt: skip
_PREFORMATTED: Final = frozenset({"pre", "xmp", "listing", "plaintext", "textarea"})
_CELLS: Final = frozenset({"td", "th"})
"""Text directly within these is white space between cells."""
_LISTS: Final = frozenset({"ul", "ol", "menu", "dir"})
_SPACELESS: Final = frozenset({"table", "thead", "tbody", "tfoot", "tr", "dl", *_LISTS})
"""White space between their children is layout of the source."""
_PERMALINKS: Final = frozenset({"¶", "#", "§", "🔗"})
"""Text of links beside headings that point at the heading itself."""

_GONE: Final = Visibility(is_gone=True)

# libxml2 gives up at a depth of 2048 and drops the rest of the page, whatever its options say.
_DEEPEST: Final = 2000
# libxml2 counts lines in 16 bits; beyond, we count line feeds on.
_LAST_TOLD_LINE: Final = 65535

_WHOLE_NUMBER = re.compile(r"[ \t\n\f\r]*([+-]?[0-9]{1,9})(?![0-9])")

_EVENTS: Final = ("start", "end", "comment", "pi")


def parse_html(text: str) -> ParsedDocument:
    """Take an HTML or XHTML page apart.

    Args:
        text: The decoded source; newlines are line feeds.

    Returns:
        The rendered text, all of it in blocks; the title is that of `<title>`, else of the first top heading.

    Raises:
        ParseError: The page is nested deeper than the parser goes.

    """
    root = parse_tree(text)
    if root is None:
        return ParsedDocument("", ())
    page = PageStyle(own_stylesheets(root))
    walk = _Walk(page, layout_containers(root))
    walk.run(root)
    return walk.renderer.page(title_of(root))


@dataclass(slots=True)
class _Frame:
    """An open element.

    Attributes:
        holder: What keeps blocks within it from standing alone: `li`, `table`, `pre` or `heading`; else empty.
        depth: How many lists it is in.
        n_cells: Of a row, so far.
        number: Of the last item of an ordered list.
        step: From one of those to the next.

    """

    name: str
    visibility: Visibility
    is_preformatted: bool = False
    holder: str = ""
    depth: int = 0
    n_cells: int = 0
    number: int = 0
    step: int = 1

    @property
    def indent(self) -> str:
        """White space before a line that continues an item."""
        return "  " * self.depth if self.holder == "li" else ""

    def count_from(self, ordered: Any) -> None:
        """Learn from an ordered list how its items are numbered."""
        items = [child for child in ordered if name_of(child) == "li"]
        self.step = -1 if "reversed" in ordered.attrib else 1
        first = _whole_number(ordered.get("start"))
        self.number = (first if first is not None else len(items) if self.step < 0 else 1) - self.step

    def next_marker(self, item: Any) -> str:
        """Give the bullet or number of the list's next item."""
        own = _whole_number(item.get("value"))
        self.number = self.number + self.step if own is None else own
        return f"{self.number}. " if self.name == "ol" else "- "


def _whole_number(attribute: str | None) -> int | None:
    """Read a number as browsers do, whatever follows its digits; None without one, or with one beyond reason."""
    found = _WHOLE_NUMBER.match(attribute or "")
    return int(found[1]) if found else None


class _Walk:
    """One pass over the tree, with a stack of its own, so that depth costs no recursion."""

    def __init__(self, page: PageStyle, layout: set[Any]) -> None:
        self.renderer = Renderer()
        self._page = page
        self._layout = layout
        self._frames = [_Frame("", Visibility())]
        self._line = 1

    def run(self, root: Any) -> None:
        """Render everything under an element."""
        for event, element in etree.iterwalk(root, events=_EVENTS):
            if event == "start":
                self._start(element)
            elif event == "end":
                self._end(element)
            else:
                self._tell_line(element, element.text)
                self._text(element.tail)

    def _tell_line(self, element: Any, content: str | None) -> None:
        """Learn from the parser on which line it is; count on where it does not know."""
        if element.sourceline and element.sourceline < _LAST_TOLD_LINE:
            self._line = element.sourceline
        else:
            self._line += (content or "").count("\n")

    def _start(self, element: Any) -> None:
        """Open an element and render its first text."""
        if len(self._frames) > _DEEPEST:
            raise ParseError(
                f"HTML line {self._line}: got elements nested over {_DEEPEST} deep, expected fewer",
                hint="leave the page out with `exclude`, or close its elements",
            )
        self._tell_line(element, None)
        frame = self._frame(element, self._frames[-1])
        if not frame.visibility.is_gone:
            self._open(element, frame, self._frames[-1])
        self._frames.append(frame)
        self._text(element.text)

    def _frame(self, element: Any, parent: _Frame) -> _Frame:
        """Describe an element within its parent."""
        name = name_of(element)
        frame = _Frame(
            name,
            self._visibility(element, name, parent.visibility),
            parent.holder != "table" and (parent.is_preformatted or name in _PREFORMATTED),
            parent.holder,
            parent.depth + (name in _LISTS),
        )
        if name == "ol":
            frame.count_from(element)
        return frame

    def _visibility(self, element: Any, name: str, parent: Visibility) -> Visibility:
        """Judge an element by its kind, then by its attributes."""
        attributes: Mapping[str, str] = element.attrib
        is_permalink = name == "a" and not len(element) and (element.text or "").strip() in _PERMALINKS
        if name in _LEFT_OUT or is_permalink or attributes.get("role", "").strip().lower() == "navigation":
            return _GONE
        return visibility_of(name, attributes, parent, self._page)

    def _open(self, element: Any, frame: _Frame, parent: _Frame) -> None:
        """Let a visible element begin what it begins."""
        if frame.name == "br":
            self._part(frame)
        elif frame.name in _BLOCKS:
            if frame.holder == "":
                self._open_alone(element, frame, parent)
            elif frame.holder == "table":
                self._open_in_table(frame, parent)
            elif frame.holder == "li":
                self._open_in_item(element, frame, parent)
            else:
                self._part(frame)

    def _part(self, frame: _Frame) -> None:
        """Begin a new line, or just another word where everything stands on one line."""
        if frame.holder in ("table", "heading"):
            self.renderer.write(" ", self._line)
        else:
            self.renderer.newline(frame.indent)

    def _open_in_table(self, frame: _Frame, parent: _Frame) -> None:
        """Lay out a table: rows as lines, cells apart."""
        if frame.name in ("tr", "caption"):
            self.renderer.newline()
        elif frame.name in _CELLS:
            if parent.n_cells:
                self.renderer.separate(" | ")
            parent.n_cells += 1
        else:
            self._part(frame)

    def _open_in_item(self, element: Any, frame: _Frame, parent: _Frame) -> None:
        """Lay out what stands in an item: nested items and paragraphs on lines of their own."""
        if frame.name == "li":
            self.renderer.newline("  " * (frame.depth - 1), marker=parent.next_marker(element))
            return
        self.renderer.newline(frame.indent)
        if frame.name == "table" and element not in self._layout:
            frame.holder = "table"

    def _open_alone(self, element: Any, frame: _Frame, parent: _Frame) -> None:
        """Begin a block."""
        name, is_layout = frame.name, element in self._layout
        marker = parent.next_marker(element) if name == "li" else ""
        if name in HEADINGS:
            self.renderer.begin(BlockKind.HEADING, level=int(name[1]))
            frame.holder = "heading"
        elif name == "li" and not is_layout:
            self.renderer.begin(BlockKind.LIST, marker=marker)
            frame.holder = "li"
        elif name == "table" and not is_layout:
            self.renderer.begin(BlockKind.TABLE)
            frame.holder = "table"
        elif frame.is_preformatted:
            self.renderer.begin(BlockKind.CODE)
            frame.holder = "pre"
        elif name == "dd":
            self.renderer.newline("  ")  # a definition stays with its term
        elif not (parent.name == "dd" and self.renderer.is_at_new_line):
            self.renderer.begin(BlockKind.LIST if name == "dt" else BlockKind.PARAGRAPH)

    def _end(self, element: Any) -> None:
        """Close an element and render the text after it."""
        frame = self._frames.pop()
        if frame.name in _BLOCKS and not frame.visibility.is_gone:
            self._close(frame, self._frames[-1])
        self._text(element.tail)

    def _close(self, frame: _Frame, parent: _Frame) -> None:
        """Let a visible element end what it began."""
        if parent.holder == "":
            if frame.name != "dt":
                self.renderer.end()
        elif frame.name != "tr" and frame.name not in _CELLS:
            self._part(parent)

    def _text(self, text: str | None) -> None:
        """Render text within the innermost open element."""
        if not text:
            return
        frame = self._frames[-1]
        is_between = frame.name in _SPACELESS and text.isspace()
        if frame.visibility.is_shown and not is_between:
            self.renderer.write(text, self._line, is_preformatted=frame.is_preformatted)
        self._line += text.count("\n")
