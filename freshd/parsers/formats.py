"""Every format freshd reads behind one door; `freshd.parsers` draws the way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from types import MappingProxyType
from typing import Final

from lxml import etree

from freshd.errors import ParseError
from freshd.model import BlockKind, Document, ParsedDocument
from freshd.parsers import (
    archive,
    binary,
    encoding,
    front_matter,
    html,
    html_tree,
    limits,
    looking,
    markdown,
    media,
    office,
    office_visibility,
    pdf,
    rendering,
    rst,
    rst_inline,
    signs,
    text,
    unseen,
    visibility,
    workbook,
)
from freshd.parsers.media import Format

_PARSE: Final[Mapping[Format, Callable[[str], ParsedDocument]]] = MappingProxyType(
    {
        Format.MARKDOWN: markdown.parse_markdown,
        Format.RST: rst.parse_rst,
        Format.HTML: html.parse_html,
        Format.TEXT: text.parse_text,
        Format.CODE: partial(text.parse_text, kind=BlockKind.CODE),
    }
)
_PARSE_BYTES: Final[Mapping[Format, Callable[[bytes], ParsedDocument]]] = MappingProxyType(
    {Format.OFFICE: office.parse_office, Format.PDF: pdf.parse_pdf}
)
_SIGNS: Final = {Format.OFFICE: "a zip archive with [Content_Types].xml", Format.PDF: "bytes that begin with %PDF-"}

_MODULES: Final = (
    *(archive, binary, encoding, front_matter, html, html_tree, looking, markdown, media, office, office_visibility),
    *(pdf, rendering, rst, rst_inline, signs, text, unseen, visibility, workbook),
)
_LIBRARIES: Final = (
    *("charset-normalizer", "lxml", "markdown-it-py", "pyyaml"),
    # What writes the Markdown of office documents and PDFs, and what reads them for it.
    *("markitdown", "beautifulsoup4", "markdownify", "mammoth", "openpyxl"),
    *("pdfminer.six", "pdfplumber", "python-pptx"),
)


def _identity() -> str:
    """Name everything that decides which blocks the same bytes give."""
    ours = [module.VERSION for module in _MODULES]
    theirs = [f"{library}-{version(library)}" for library in _LIBRARIES]
    return " ".join([*ours, *theirs, "libxml2-" + ".".join(map(str, etree.LIBXML_VERSION))])


@dataclass(frozen=True, slots=True)
class Recognised:
    """Which format a document is in.

    Attributes:
        decoded: Its text, where that had to be looked at to know; None where it was not.

    """

    format: Format
    decoded: str | None = None


class Parsers:
    """Every format freshd reads, behind one `freshd.ports.Parser`; stateless, so safe to call from several threads."""

    identity: Final = _identity()

    def parse(self, document: Document) -> ParsedDocument:
        """Parse one document, in whatever format it turns out to be.

        Returns:
            Text, blocks and metadata; the title is the document's own, else the one its source declares.

        Raises:
            ParseError: It is no text, is declared to be of another type, or breaks a limit.

        """
        return self.take_apart(document, self.recognise(document))

    def recognise(self, document: Document) -> Recognised:
        """Tell which format a document is in; cheap and safe whatever the bytes are.

        Raises:
            ParseError: It is in none that freshd can take apart.

        """
        document_id = document.ref.document_id
        proved = signs.format_of_bytes(document.content)
        if proved is not None:
            return Recognised(proved)
        known = media.known_format(document.media_type, document_id)
        _refuse_binary(document, known)
        if known in _SIGNS:
            raise ParseError(
                f"document {document_id!r}: got bytes that are not {known}, expected {_SIGNS[known]}",
                hint="name its true type in the source's `media_types`, or leave it out with `exclude`",
            )
        if known is not None:
            return Recognised(known)
        decoded = encoding.decode(document.content, document.encoding)
        return Recognised(looking.look(decoded), decoded)

    def may_take_long(self, _: Document) -> bool:
        """Expect nothing; whoever does expects it of `LimitedParsers`."""
        return False

    def take_apart(self, document: Document, recognised: Recognised) -> ParsedDocument:
        """Parse a document whose format is known; see `parse`."""
        document_id = document.ref.document_id
        try:
            parsed = _parse(document, recognised)
            limits.expect_bounded(parsed)
        except ParseError as error:
            raise ParseError(f"document {document_id!r}: {error}", hint=error.hint) from error
        except RecursionError as error:
            raise ParseError(
                f"document {document_id!r}: got {recognised.format} nested too deep, expected what can be taken apart",
                hint="leave it out with `exclude`, or name another type for it in the source's `media_types`",
            ) from error
        return parsed if parsed.title else replace(parsed, title=document.title)


def _parse(document: Document, recognised: Recognised) -> ParsedDocument:
    parse_bytes = _PARSE_BYTES.get(recognised.format)
    if parse_bytes is not None:
        return parse_bytes(document.content)
    decoded = recognised.decoded
    if decoded is None:
        is_html = recognised.format is Format.HTML
        decoded = encoding.decode(document.content, document.encoding, is_html=is_html)
    if recognised.format is not Format.HTML:  # what its reader sees of a page is far less, and bounded above
        limits.expect_readable(decoded)
    return _PARSE[recognised.format](decoded)


def _refuse_binary(document: Document, known: Format | None) -> None:
    """Raise for bytes that are no text, nor what their name or their source calls them."""
    name = binary.name_of_binary(document.content, document.encoding)
    if name is None:
        return
    expected = f"text in one of {media.SUPPORTED}"
    hint = "leave it out with `exclude`; text in UTF-16 needs a byte order mark, or is best saved as UTF-8"
    if known in _SIGNS:
        expected = _SIGNS[known]
        hint = "save it anew, in the format of its name and without a password, or leave it out with `exclude`"
    raise ParseError(f"document {document.ref.document_id!r}: got {name}, expected {expected}", hint=hint)
