"""Which format a document is in: by its declared type, its extension, or else by looking.

    first bytes of PDF or of an office archive ─▶ that, whatever type and name say
          │ none (see `signs.py`)
          ▼
    declared type ─▶ known format, or refused
          │ none, or no more than "some text"
          ▼
      extension ─▶ known format
          │ none, .txt, or unknown
          ▼
       looking (see `looking.py`)

The content itself is not touched here.
"""

from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final

from freshd.errors import ParseError

VERSION = "media-2"


class Format(StrEnum):
    """What freshd can take apart."""

    MARKDOWN = "markdown"
    RST = "reStructuredText"
    HTML = "HTML"
    TEXT = "plain text"
    CODE = "code"
    """Plain text whose lines matter more than its sentences."""
    PDF = "PDF"
    OFFICE = "an office document"
    """Of Word, PowerPoint or Excel: which of them, its archive tells."""


SUPPORTED: Final = (
    "text/markdown, text/x-rst, text/html, application/xhtml+xml, application/json, text/plain,"
    " application/pdf and the office formats docx, pptx and xlsx"
)

_OFFICE: Final = "application/vnd.openxmlformats-officedocument."

_BY_MEDIA_TYPE: Final = {
    "text/markdown": Format.MARKDOWN,
    "text/x-markdown": Format.MARKDOWN,
    "text/x-rst": Format.RST,
    "text/prs.fallenstein.rst": Format.RST,
    "text/restructuredtext": Format.RST,
    "text/x-restructuredtext": Format.RST,
    "text/html": Format.HTML,
    "application/xhtml+xml": Format.HTML,
    "text/csv": Format.CODE,
    "text/tab-separated-values": Format.CODE,
    "text/css": Format.CODE,
    "text/javascript": Format.CODE,
    "application/javascript": Format.CODE,
    "application/json": Format.CODE,
    "application/yaml": Format.CODE,
    "application/x-yaml": Format.CODE,
    "application/toml": Format.CODE,
    "application/sql": Format.CODE,
    "application/x-sh": Format.CODE,
    "application/x-ndjson": Format.CODE,
    "application/pdf": Format.PDF,
    "application/x-pdf": Format.PDF,
    _OFFICE + "wordprocessingml.document": Format.OFFICE,
    _OFFICE + "presentationml.presentation": Format.OFFICE,
    _OFFICE + "spreadsheetml.sheet": Format.OFFICE,
}

_CODE_SUFFIXES: Final = ("+json", "+yaml")

# These say no more than "bytes" or "some text": the extension knows better.
_VAGUE_MEDIA_TYPES: Final = frozenset(
    {
        *("text/plain", "application/octet-stream", "binary/octet-stream", "application/xml", "text/xml"),
        *("application/zip", "application/x-zip-compressed"),  # what servers call office documents they do not know
    }
)

_BY_EXTENSION: Final = {
    "pdf": Format.PDF,
    **dict.fromkeys(("docx", "pptx", "xlsx"), Format.OFFICE),
    **dict.fromkeys(("md", "markdown", "mdown", "mkd", "mkdn", "mdx"), Format.MARKDOWN),
    **dict.fromkeys(("rst", "rest"), Format.RST),
    **dict.fromkeys(("html", "htm", "xhtml", "xht"), Format.HTML),
    **dict.fromkeys(
        (
            *("py", "pyi", "ipynb", "js", "mjs", "cjs", "ts", "tsx", "jsx", "java", "kt", "c", "h", "cc", "cpp", "hpp"),
            *("cs", "go", "rs", "rb", "php", "pl", "lua", "r", "jl", "swift", "scala", "sh", "bash", "zsh", "ps1"),
            *("sql", "css", "scss", "json", "jsonl", "ndjson", "yaml", "yml", "toml", "ini", "cfg", "conf", "env"),
            *("csv", "tsv", "properties", "po", "pot", "lock", "diff", "patch", "cmake", "mk", "tf", "proto"),
        ),
        Format.CODE,
    ),
}


def known_format(media_type: str | None, document_id: str) -> Format | None:
    """Decide by what is known without the content.

    Args:
        media_type: As declared; parameters and case do not matter; None if not declared.
        document_id: Its extension counts where the declared type tells too little.

    Returns:
        The format; None when only looking can tell.

    Raises:
        ParseError: The declared type is none that freshd can take apart.

    """
    declared = (media_type or "").partition(";")[0].strip().lower()
    if declared in _BY_MEDIA_TYPE:
        return _BY_MEDIA_TYPE[declared]
    if declared.endswith(_CODE_SUFFIXES):
        return Format.CODE
    if declared and not declared.startswith("text/") and not declared.endswith("+xml"):
        _refuse_unless_vague(declared, document_id)
    return _BY_EXTENSION.get(PurePosixPath(document_id).suffix.lstrip(".").lower())


def _refuse_unless_vague(declared: str, document_id: str) -> None:
    """Raise for a declared type that is certainly no text freshd knows."""
    if declared not in _VAGUE_MEDIA_TYPES:
        raise ParseError(
            f"document {document_id!r}: got media type {declared!r}, expected one of {SUPPORTED}",
            hint="leave it out with `exclude`, or name its true type in the source's `media_types`",
        )
