"""Word and PowerPoint to Markdown by markitdown, Excel by `workbook.py`, and from there to blocks as any Markdown.

    archive, judged ─▶ without what is hidden ─▶ Markdown ─▶ blocks

Lines are those of the Markdown, since an office document has none of its own.
markitdown is given bytes only, and only the one converter that is meant: no path, no address, no plugin, no model.
It is heavy and meant for a process of its own (see `limited.py`); it is loaded with the first document.
"""

import io
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from freshd.errors import ParseError
from freshd.model import ParsedDocument
from freshd.parsers.archive import Archive, parse_part
from freshd.parsers.blocks import shorten
from freshd.parsers.encoding import clean
from freshd.parsers.limits import expect_readable
from freshd.parsers.markdown import parse_markdown
from freshd.parsers.office_visibility import without_hidden
from freshd.parsers.workbook import markdown_of_workbook, mended_sheets

VERSION = "office-2"

_MAIN_PARTS: Final = (("word/", ".docx"), ("ppt/", ".pptx"), ("xl/", ".xlsx"))
_CORE: Final = "docProps/core.xml"
_TITLE: Final = "{http://purl.org/dc/elements/1.1/}title"

_NAMES: Final = {".docx": "Word document", ".pptx": "PowerPoint presentation", ".xlsx": "Excel workbook"}
_PLAIN: Final = {"escape_underscores": False, "escape_asterisks": False}
"""Escapes would stand in what is searched: `snake\\_case`."""

# Pictures cannot be followed, by data or by a made-up name; what they show in words can be read.
_IMAGE = re.compile(r"!\[([^\]\n]*)\]\([^()\n]*\)")
_SLIDE_NUMBER = re.compile(r"^<!-- Slide number: \d+ -->$", re.MULTILINE)


def parse_office(content: bytes) -> ParsedDocument:
    """Take an office document apart.

    Args:
        content: The archive.

    Returns:
        The Markdown and its blocks; the title is that of the document's properties, else of its first heading.

    Raises:
        ParseError: It is damaged, encrypted, built to explode, or none of the known kinds.

    """
    archive = Archive(content)
    kind = _kind_of(archive)
    sources = dict(archive.xml_parts())
    changed = without_hidden(archive, sources)
    changed |= mended_sheets({**sources, **changed})
    text = _markdown_of(archive.replaced(changed) if changed else content, kind)
    expect_readable(text)
    parsed = parse_markdown(text)
    return replace(parsed, title=_own_title(sources) or parsed.title)


def _kind_of(archive: Archive) -> str:
    """Give the extension that belongs to the archive, by the folder of its main part."""
    for folder, extension in _MAIN_PARTS:
        if any(name.startswith(folder) for name in archive.names()):
            return extension
    raise ParseError(
        "got an archive of unknown kind, expected a document of Word, PowerPoint or Excel",
        hint="leave it out with `exclude`",
    )


def _own_title(sources: Mapping[str, bytes]) -> str | None:
    """Read the title that the document's properties give; None without one."""
    if _CORE not in sources:
        return None
    title = parse_part(_CORE, sources[_CORE]).findtext(_TITLE)
    return shorten(clean(title or "")) or None


def _markdown_of(content: bytes, kind: str) -> str:
    """Write a document as Markdown."""
    try:
        return clean(markdown_of_workbook(content)) if kind == ".xlsx" else _converted(content, kind)
    except (MemoryError, ParseError):
        raise
    except Exception as error:  # its readers have a type for every cause, without a common root
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise ParseError(
            f"got a {_NAMES[kind]} that cannot be read ({type(error).__name__}: {said}), expected an intact one",
            hint="open it in its program and save it again, or leave it out with `exclude`",
        ) from error


def _converted(content: bytes, kind: str) -> str:
    """Have markitdown write Markdown."""
    from markitdown import StreamInfo
    from markitdown.converters import DocxConverter, PptxConverter

    converters: Mapping[str, Any] = {".docx": DocxConverter, ".pptx": PptxConverter}
    result = converters[kind]().convert(io.BytesIO(content), StreamInfo(extension=kind), **_PLAIN)
    return _SLIDE_NUMBER.sub("", _IMAGE.sub(r"\1", clean(result.markdown)))
