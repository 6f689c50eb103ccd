"""Bytes of a feed to text, whatever its server, the feed itself and its first bytes say of the charset. Pure."""

import codecs
import contextlib
import re
import sys
from collections.abc import Iterable, Iterator

_ENCODING = re.compile(rb"""\A\s*+<\?xml\s[^<>]*?\sencoding\s*+=\s*+["']([\w.:-]+)""")
_ENCODING_BYTES = 1_024
_FIRST_BYTES = {
    codecs.BOM_UTF32_LE: "utf-32",  # before the mark of UTF-16, with which it begins
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
    b"<\0\0\0": "utf-32-le",
    b"\0\0\0<": "utf-32-be",
    b"<\0": "utf-16-le",
    b"\0<": "utf-16-be",
}
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949"}
"""What feeds of these charsets are written in, by the names of Python's codecs."""

_REFERENCE = re.compile(r"&#(?:x0*+([0-9a-f]++)|0*+([0-9]++));", re.IGNORECASE)

_ALIASES = {"x-sjis": "shift_jis"}
_NO_CHARSETS = re.compile(r"idna|punycode|(?:raw-)?unicode-escape|undefined|utf-(?:7|16|32).*")
"""Codecs for Python's own purposes, some of which take the square of the length; and what the first bytes tell."""

_WESTERN = "freshd-western"
codecs.register_error(_WESTERN, lambda error: _as_western(error))
_MOST_BAD_BYTES = 10_000
"""That are looked at one by one."""


def text_of(content: bytes, told: str | None) -> str:
    """Decode by the first bytes, else by the server's word, else by the feed's own, else as what most are."""
    sniffed = [encoding for first, encoding in _FIRST_BYTES.items() if content.startswith(first)]
    own = [label.decode() for label in _ENCODING.findall(content[:_ENCODING_BYTES])]
    for encoding in (*sniffed, *_codecs_of([told or "", *own]), "utf-8"):
        with contextlib.suppress(ValueError, LookupError):  # bytes that are no text of it, or a codec that gives none
            return content.decode(encoding)
    return _mended(content)


def _mended(content: bytes) -> str:
    """Read bytes that are UTF-8 but for a few, such as a text shortened within a character, or else Western ones."""
    as_utf_8 = content.decode("utf-8", "replace")
    n_bad = as_utf_8.count("\N{REPLACEMENT CHARACTER}")
    is_utf_8 = n_bad <= _MOST_BAD_BYTES and 2 * n_bad <= len(as_utf_8) - len(as_utf_8.encode("ascii", "ignore"))
    return content.decode("utf-8", _WESTERN) if is_utf_8 else content.decode("latin-1")


def _as_western(error: UnicodeError) -> tuple[str, int]:
    """Give what is no UTF-8 as the letters that it is in Western Windows."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


def with_whole_characters(text: str) -> str:
    """Put one character for two references to its halves, as what counts in UTF-16 writes an emoji.

    XML has no such references, nor any beyond Unicode, and the parser that feedparser falls back to raises on them.
    """
    named = _REFERENCE.sub(_character, text)
    return text if named == text else named.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _character(found: re.Match[str]) -> str:
    digits, base = (found[1], 16) if found[1] else (found[2], 10)
    code = int(digits, base) if len(digits) <= len(str(sys.maxunicode)) else sys.maxunicode + 1
    if code > sys.maxunicode:
        return "\N{REPLACEMENT CHARACTER}"
    return chr(code) if 0xD800 <= code <= 0xDFFF else found[0]


def _codecs_of(labels: Iterable[str]) -> Iterator[str]:
    """Yield the codecs that labels mean, but for those that no text is written in."""
    for label in labels:
        with contextlib.suppress(LookupError, ValueError):
            name = codecs.lookup(_ALIASES.get(label.lower(), label)).name
            if not _NO_CHARSETS.fullmatch(name):
                yield _WIDER.get(name, name)
