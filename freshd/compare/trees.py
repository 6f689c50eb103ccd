"""The documents as plain text and sentences, read as freshd itself reads a source of files; of many, a sample.

folder ─files connector─▶ Document ─parsers─▶ blocks ─▶ Page: its text, and the sentences of its prose
"""

import hashlib
import heapq
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from freshd.clock import SystemClock
from freshd.config.connectors import installed_connector_types, resolve
from freshd.errors import ConfigError, DocumentRefused, DocumentUnreadable, ParseError
from freshd.fetch import HttpxFetcher
from freshd.model import BlockKind, Document, DocumentRef, ParsedDocument, SourceName
from freshd.parsers import Parsers
from freshd.ports import Connector, ConnectorContext
from freshd.redaction import printable

Tree = Mapping[str, "Page"]
"""Pages by document id."""

MOST_CHARACTERS: Final = 32_000_000
"""Of text that is held of each version; with its sentences that is some 150 MiB."""


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


@dataclass(frozen=True, slots=True)
class Trees:
    """Two versions, as far as they are held.

    Attributes:
        n_all: Documents of the new version, held or not.
        is_sample: Not all of both versions is held.

    """

    old: Tree
    new: Tree
    n_all: int
    is_sample: bool


def read_tree(root: Path) -> Tree:
    """Read all of a folder; see `read_trees`."""
    return _read(root, _Held((), None)).pages


def read_trees(
    old_root: Path, new_root: Path, always: Collection[str] = (), most: int | None = MOST_CHARACTERS
) -> Trees:
    """Read two versions; what freshd could not index is left out.

    Args:
        old_root: Folder with the documents before the change.
        new_root: After it.
        always: Ids of documents to hold in any case.
        most: Characters to hold of each version; of more, a sample of documents, the same ones of both
            and in every run. None for no bound.

    Raises:
        ConfigError: Nothing in a folder can be read, or some places of it cannot be looked at.
        SourceUnavailable: There is no such folder.

    """
    old, new = (_read(root, _Held(always, most)) for root in (old_root, new_root))
    bound = min(old.bound, new.bound)
    for one in (old, new):
        one.narrow(bound)
    return Trees(old.pages, new.pages, new.n_all, bound < _ALL)


def _read(root: Path, held: "_Held") -> "_Held":
    with closing(_connector(root)) as connector:
        for page in map(_page, _documents(connector)):
            if page is not None:
                held.add(page)
    if not held.n_all:
        fault = "got no document that freshd can read, expected at least one"
        raise ConfigError(f"{printable(str(root))}: {fault}", hint="name the folder that holds the documents")
    return held


_ALL: Final = 1 << 64
"""Above every hash."""


class _Held:
    """Pages up to some characters: those whose ids have the lowest hashes.

    Attributes:
        bound: No page with this hash or a higher one is held, but those always wanted.

    """

    def __init__(self, always: Collection[str], most: int | None) -> None:
        self.pages: dict[str, Page] = {}
        self.n_all = 0
        self.bound = _ALL
        self._always = frozenset(always)
        self._most = most
        self._n_characters = 0
        self._highest: list[tuple[int, str]] = []

    def add(self, page: "Page") -> None:
        """Hold a page if there is room, for it or instead of others."""
        self.n_all += 1
        place = _place(page.document)
        if page.document in self._always:
            self.pages[page.document] = page
        elif place < self.bound:
            self.pages[page.document] = page
            self._n_characters += len(page.text)
            heapq.heappush(self._highest, (-place, page.document))
            while self._most is not None and self._n_characters > self._most:
                self.narrow(-self._highest[0][0])

    def narrow(self, bound: int) -> None:
        """Let go of all pages from a hash on."""
        self.bound = min(self.bound, bound)
        while self._highest and -self._highest[0][0] >= self.bound:
            _, document = heapq.heappop(self._highest)
            self._n_characters -= len(self.pages.pop(document).text)


def _place(document: str) -> int:
    return int.from_bytes(hashlib.sha256(document.encode("utf-8", "surrogatepass")).digest()[:8])


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
    for seen in listing:
        try:
            yield connector.read(DocumentRef.of(seen))
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
