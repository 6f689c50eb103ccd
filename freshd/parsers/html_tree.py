"""HTML source to an lxml tree, and what must be known of the whole tree before it is walked."""

import re
from collections.abc import Iterator
from typing import Any, Final

from lxml import etree

from freshd.errors import ParseError
from freshd.parsers.blocks import shorten
from freshd.parsers.unseen import without_unseen

VERSION = "html-tree-2"

HEADINGS: Final = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})

_XML_ENCODING = re.compile(r"\A\s*<\?xml[^>]{0,200}\?>")


def parse_tree(text: str) -> Any:
    """Parse tolerantly; None for a page without any element."""
    parser = etree.HTMLParser(encoding="utf-8", no_network=True, huge_tree=True)
    try:
        # The text is decoded already, so what an XML declaration says of its bytes is no longer true.
        root = etree.fromstring(_XML_ENCODING.sub(_blank_lines, text).encode(), parser)
    except etree.XMLSyntaxError as error:
        if not text.strip():
            return None
        raise ParseError(f"HTML: got a page that cannot be parsed ({error}), expected HTML") from error
    if root is not None:  # what follows `</html>` is shown as well, but libxml2 sets it beside the page
        root.extend(list(root.itersiblings("html")))
    return root


def _blank_lines(found: re.Match[str]) -> str:
    return "\n" * found[0].count("\n")


def own_stylesheets(root: Any) -> Iterator[str]:
    """Yield the page's own stylesheets that apply where people read."""
    for style in root.iter("style"):
        if style.get("media", "").strip().lower() in ("", "all", "screen"):
            yield style.text or ""


def title_of(root: Any) -> str | None:
    """Read the page's `<title>`; None without one. Drawings within the page have titles too."""
    for element in root.iter("title"):
        if name_of(element.getparent()) in ("head", "html", "body"):
            return shorten(without_unseen("".join(element.itertext()))) or None
    return None


def name_of(element: Any) -> str:
    """Give an element's name without namespace; empty for comments and the like."""
    return element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""


def layout_containers(root: Any) -> set[Any]:
    """Find tables and items that arrange the page instead of being a table or list.

    Those are tables with code or tables in them, and whatever has headings in it.
    """
    headed: set[Any] = set()
    split: set[Any] = set()
    declared: set[Any] = set()
    holders: list[Any] = []
    tables: list[Any] = []
    for event, element in etree.iterwalk(root, events=("start", "end")):
        name = name_of(element)
        if event == "end":
            for open_ones in (holders, tables):
                if open_ones and open_ones[-1] is element:
                    open_ones.pop()
            continue
        if name in HEADINGS:
            _mark(holders, headed)
        elif name in ("table", "pre"):
            _mark(tables, split)
        if name == "table":
            tables.append(element)
            if element.get("role", "").strip().lower() in ("presentation", "none"):
                declared.add(element)
        if name in ("table", "li"):
            holders.append(element)
    return headed | split | declared


def _mark(containers: list[Any], marked: set[Any]) -> None:
    """Mark all open containers; once one is marked, so are those around it, which keeps a deep page linear."""
    for container in reversed(containers):
        if container in marked:
            return
        marked.add(container)
