"""PDF to text by markitdown, and from there to blocks as any Markdown.

    properties ─▶ encrypted? damaged? how many pages ─▶ text, tables where there are few ─▶ blocks

Lines are those of the extracted text, since a PDF has none of its own; pages are not told apart.
Not judged: what is drawn invisibly, which is how scans carry the text that was recognised in them.
As for office documents, markitdown is given bytes only, and loaded with the first document.
"""

import io
import re
from dataclasses import replace
from typing import Any, Final

from freshd.errors import ParseError
from freshd.model import ParsedDocument
from freshd.parsers.blocks import shorten
from freshd.parsers.encoding import clean, decode
from freshd.parsers.limits import expect_readable
from freshd.parsers.markdown import parse_markdown

VERSION = "pdf-1"

_UNKNOWN_LETTER = re.compile(r"\(cid:\d+\)")
_MOST_UNKNOWN: Final = 0.3
"""Share of letters that a font may leave unnamed."""

_MOST_PAGES_WITH_TABLES: Final = 60
"""Beyond, text is taken as it runs, by what markitdown itself falls back to.

Measured on pages of 450 words: 134 ms of processor a page to look for tables as well, 39 ms without.
"""

_AGAIN: Final = "save or print it as PDF again, or leave it out with `exclude`"


def parse_pdf(content: bytes) -> ParsedDocument:
    """Take a PDF apart.

    Returns:
        Its text and the blocks of it; the title is that of its properties.

    Raises:
        ParseError: It is encrypted or damaged, or there is no text in it, as in a scan.

    """
    title, n_pages = _properties(content)
    text = _text_of(content, has_tables=n_pages <= _MOST_PAGES_WITH_TABLES)
    expect_readable(text)
    if not text.strip():
        raise ParseError(
            "got a PDF without text, as scans are, expected one with text",
            hint="have its text recognised (OCR), or leave it out with `exclude`",
        )
    unknown = _UNKNOWN_LETTER.findall(text)
    if len(unknown) > _MOST_UNKNOWN * (len(text.replace(" ", "")) - sum(map(len, unknown)) + len(unknown)):
        raise ParseError("got a PDF whose fonts do not say which letters they draw, expected text", hint=_AGAIN)
    parsed = parse_markdown(text)
    return replace(parsed, title=title or parsed.title)


def _properties(content: bytes) -> tuple[str | None, int]:
    """Read the title, None without one, and the number of pages, as the document tells them."""
    from pdfminer.pdfdocument import PDFDocument, PDFPasswordIncorrect
    from pdfminer.pdfparser import PDFParser
    from pdfminer.pdftypes import resolve1

    try:
        document = PDFDocument(PDFParser(io.BytesIO(content)))
        titles = [resolve1(information.get("Title")) for information in document.info]
        pages = resolve1(resolve1(document.catalog.get("Pages")) or {})
        n_pages = resolve1(pages.get("Count"))
    except PDFPasswordIncorrect as error:
        raise ParseError("got an encrypted PDF, expected one without password", hint="save it without one") from error
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged(error) from error
    title = next((title for title in titles if isinstance(title, bytes) and title.strip()), b"")
    return shorten(_text_string(title)) or None, n_pages if isinstance(n_pages, int) else 0


def _text_string(string: bytes) -> str:
    """Read a PDF text string: UTF-16 with its mark, else near enough to Latin-1."""
    return decode(string, None if string.startswith(b"\xfe\xff") else "latin-1")


def _text_of(content: bytes, *, has_tables: bool) -> str:
    """Have the text written; pages stand apart by a blank line."""
    from markitdown import StreamInfo
    from markitdown.converters import PdfConverter
    from pdfminer.high_level import extract_text

    converter: Any = PdfConverter()
    try:
        if has_tables:
            text = converter.convert(io.BytesIO(content), StreamInfo(extension=".pdf")).markdown
        else:
            text = extract_text(io.BytesIO(content))
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged(error) from error
    return clean(text).replace("\f", "\n\n")


def _damaged(error: Exception) -> ParseError:
    said = " ".join(str(error).split())[:300]
    return ParseError(
        f"got a PDF that cannot be read ({type(error).__name__}{': ' if said else ''}{said}), expected an intact one",
        hint=_AGAIN,
    )
