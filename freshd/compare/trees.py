"""One version of the documents as plain text and sentences, read as freshd itself reads a source of files.

folder ─files connector─▶ Document ─parsers─▶ blocks ─▶ Page: its text, and the sentences of its prose
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from freshd.clock import SystemClock
from freshd.config.connectors import installed_connector_types, resolve
from freshd.errors import ConfigError, DocumentRefused, DocumentUnreadable, ParseError
from freshd.fetch import HttpxFetcher
from freshd.model import BlockKind, Document, ParsedDocument, SourceName
from freshd.parsers import Parsers
from freshd.ports import Connector, ConnectorContext
from freshd.redaction import printable

Tree = Mapping[str, "Page"]
"""Pages by document id."""


@dataclass(frozen=True, slots=True)
class Page:
    """A document without its markup.

    Attributes:
        text: Every block, tables and code included; front matter is none.
        sentences: Those of paragraphs and lists, in order.

    """

    document: str
    text: str
    sentences: tuple[str, ...]


def read_tree(root: Path) -> Tree:
    """Read a folder; what freshd could not index is left out.

    Raises:
        ConfigError: Nothing in it can be read, or some places of it cannot be looked at.
        SourceUnavailable: There is no such folder.

    """
    with closing(_connector(root)) as connector:
        pages = {page.document: page for page in map(_page, _documents(connector)) if page is not None}
    if not pages:
        fault = "got no document that freshd can read, expected at least one"
        raise ConfigError(f"{printable(str(root))}: {fault}", hint="name the folder that holds the documents")
    return pages


def _connector(root: Path) -> Connector:
    """Open the folder by the connector that a source of files would have; connectors are found, never imported."""
    found = resolve(0, {"type": "files", "path": str(root.absolute())}, installed_connector_types)
    if found.faults:
        raise ConfigError("\n".join(map(str, found.faults)), hint="install freshd anew")
    clock = SystemClock()
    context = ConnectorContext(SourceName("compare"), root, clock, partial(HttpxFetcher, clock))
    connector: Connector = found.connector(found.options, context)
    return connector


def _documents(connector: Connector) -> Iterator[Document]:
    listing = connector.list()
    for ref in listing:
        try:
            yield connector.read(ref)
        except (DocumentRefused, DocumentUnreadable):
            continue
    if shortfall := listing.report.shortfall:
        raise ConfigError(shortfall, hint="make all of the folder readable, or leave the rest out by a .freshdignore")


def _page(document: Document) -> Page | None:
    try:
        parsed = Parsers().parse(document)
    except ParseError:
        return None
    return page_of(document.ref.document_id, parsed)


def page_of(document_id: str, parsed: ParsedDocument) -> Page:
    """Take the markup off a parsed document."""
    raw = [(block.kind, parsed.text[block.start : block.end]) for block in parsed.blocks]
    prose = [plain(text) if kind is not BlockKind.CODE else text for kind, text in raw]
    told = (text for (kind, _), text in zip(raw, prose, strict=True) if kind in (BlockKind.PARAGRAPH, BlockKind.LIST))
    return Page(document_id, "\n\n".join(prose), tuple(sentence for text in told for sentence in sentences_in(text)))


_MARKUP: Final = (
    (re.compile(r"(?m)^[ \t]*(?:>[ \t]?)+"), ""),
    (re.compile(r"!?\[([^\]\n]*)\](?:\([^)\n]*\)|\[[^\]\n]*\])"), r"\1"),
    (re.compile(r"\s*<(?:https?:|mailto:)[^>\s]*>(?=`)"), ""),
    (re.compile(r"</?[a-zA-Z][^<>]*>"), ""),
    (re.compile(r":[a-zA-Z][\w:+-]*:(?=`)"), ""),
    (re.compile(r"(?<!\w)[*_`]+(?=[\w\"“'(])|(?<=[\w\"”').,:;!?])(?:`+__?|[*_`]+)(?!\w)"), ""),
)
"""Quote marks, links, targets of links, tags, roles, emphasis; of Markdown and reStructuredText alike."""

_ITEM: Final = re.compile(r"(?m)^[ \t]*(?:[-*+•]|\d+[.)])[ \t]+")
_END: Final = re.compile(r"[.!?…][\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-ZÀ-ÖØ-Þ0-9])")
_ABBREVIATED: Final = re.compile(
    r"(?:^|\W)(?:[A-Z]|[A-Z]?[a-z]?[a-z]\.[a-z]|Dr|Mrs?|Ms|Prof|St|No|Nr|Fig|ca|cf|approx|vs|etc)\.$"
)


def plain(text: str) -> str:
    """Take inline markup off a block's text."""
    for pattern, instead in _MARKUP:
        text = pattern.sub(instead, text)
    return text


def sentences_in(text: str) -> Iterator[str]:
    """Cut a paragraph or list into sentences, white space made single spaces."""
    for item in _ITEM.split(text):
        start = 0
        for match in _END.finditer(item):
            if not _ABBREVIATED.search(item[start : match.start() + 1]):
                yield " ".join(item[start : match.end()].split())
                start = match.end()
        if last := " ".join(item[start:].split()):
            yield last
