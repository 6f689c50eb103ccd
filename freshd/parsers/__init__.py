"""Parsers: bytes in, text and blocks out.

    Document ─▶ is it text at all? ─▶ format known? ─▶ decode ─▶ else look ─▶ that format's parser ─▶ ParsedDocument
               (binary)              (media)          (encoding)  (looking)

One module knows one format; this one only decides which of them is asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from types import MappingProxyType
from typing import Final

from lxml import etree

from freshd.errors import ParseError
from freshd.model import BlockKind, Document, ParsedDocument
from freshd.parsers import (
    binary,
    encoding,
    front_matter,
    html,
    html_tree,
    looking,
    markdown,
    media,
    rendering,
    rst,
    rst_inline,
    text,
    visibility,
)
from freshd.parsers.media import Format

__all__ = ["Parsers"]

_PARSE: Final[Mapping[Format, Callable[[str], ParsedDocument]]] = MappingProxyType(
    {
        Format.MARKDOWN: markdown.parse_markdown,
        Format.RST: rst.parse_rst,
        Format.HTML: html.parse_html,
        Format.TEXT: text.parse_text,
        Format.CODE: partial(text.parse_text, kind=BlockKind.CODE),
    }
)

_LIBRARIES: Final = ("charset-normalizer", "lxml", "markdown-it-py", "pyyaml")


def _identity() -> str:
    """Name everything that decides which blocks the same bytes give."""
    modules = (
        binary,
        encoding,
        front_matter,
        html,
        html_tree,
        looking,
        markdown,
        media,
        rendering,
        rst,
        rst_inline,
        text,
        visibility,
    )
    ours = [module.VERSION for module in modules]
    theirs = [f"{library}-{version(library)}" for library in _LIBRARIES]
    return " ".join([*ours, *theirs, "libxml2-" + ".".join(map(str, etree.LIBXML_VERSION))])


class Parsers:
    """Every format freshd reads, behind one `freshd.ports.Parser`; stateless, so safe to call from several threads."""

    identity: Final = _identity()

    def parse(self, document: Document) -> ParsedDocument:
        """Parse one document, in whatever format it turns out to be.

        Returns:
            Text, blocks and metadata; the title is the document's own, else the one its source declares.

        Raises:
            ParseError: It is no text, is declared to be of another type, or its markup is nested too deep.

        """
        document_id = document.ref.document_id
        known = media.known_format(document.media_type, document_id)
        _refuse_binary(document)
        decoded = encoding.decode(document.content, document.encoding, is_html=known is Format.HTML)
        found = known or looking.look(decoded)
        try:
            parsed = _PARSE[found](decoded)
        except ParseError as error:
            raise ParseError(f"document {document_id!r}: {error}", hint=error.hint) from error
        except RecursionError as error:
            raise ParseError(
                f"document {document_id!r}: got {found} nested too deep, expected what can be taken apart",
                hint="leave it out with `exclude`, or name another type for it in the source's `media_types`",
            ) from error
        return parsed if parsed.title else replace(parsed, title=document.title)


def _refuse_binary(document: Document) -> None:
    """Raise for bytes that are no text."""
    name = binary.name_of_binary(document.content, document.encoding)
    if name is not None:
        raise ParseError(
            f"document {document.ref.document_id!r}: got {name}, expected text in one of {media.SUPPORTED}",
            hint="leave it out with `exclude`; text in UTF-16 needs a byte order mark, or is best saved as UTF-8",
        )
