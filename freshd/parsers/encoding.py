"""Bytes to text: what the bytes say of themselves, then what was declared, then what they look like.

    byte order mark ─▶ declared ─▶ HTML's own <meta charset> ─▶ UTF-8 ─▶ a guess, with replacement

Decoding never fails: what cannot be read becomes U+FFFD. What shows nothing is left out (see `unseen.py`).
Characters are not composed or decomposed (NFC), since spans must stay those of the source.
"""

import codecs
import re
from typing import Final

from charset_normalizer import from_bytes

from freshd.parsers.unseen import without_hidden_characters

VERSION = "encoding-4"

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# The Encoding Standard reads this label as its Windows superset, as every browser does.
_SUPERSETS: Final = {"iso8859-1": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932"}

# Codecs of Python for its own purposes; as a document's charset they are a mistake or an attack.
_NOT_CHARSETS: Final = frozenset({"unicode-escape", "raw-unicode-escape", "punycode", "idna", "undefined", "utf-7"})

# Guessing looks at this much around the first byte beyond ASCII: enough to tell, cheap for a large text.
_SAMPLE_BYTES: Final = 16 * 1024

# The first are not ASCII below 0x80, so that text would have failed as text long before; the guesser offers them for
# short texts. The others are rare by now, and the guesser takes Finnish, Icelandic and Estonian Latin-1 for them.
_UNLIKELY: Final = [
    *("utf_7", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le"),
    *("cp037", "cp273", "cp424", "cp500", "cp875", "cp1026", "cp1140"),
    *("hp_roman8", "mac_iceland", "mac_latin2", "mac_roman", "mac_turkish", "cp1258"),
]

# Western Windows is by far the commonest legacy charset, so it wins where the guesser sees next to no difference
# (for French its first three answers are a Baltic, a Central European and the Western one, with equal coherence),
# and where there is too little to tell, or nothing reads well: prose in its own charset has a chaos of 0.05 at most.
_COMMONEST: Final = "cp1252"
_CHAOS_MARGIN: Final = 0.08
_MOST_CHAOS: Final = 0.1
_FEWEST_TELLING_BYTES: Final = 4

_ASCII: Final = bytes(range(0x80))
_META_CHARSET = re.compile(rb"<meta[^>]{0,500}?charset\s*=\s*[\"']?\s*([\w.:-]{2,40})", re.IGNORECASE)
_META_WITHIN_BYTES: Final = 4096
_SURROGATE = re.compile("[\ud800-\udfff]")


def decode(content: bytes, declared: str | None = None, *, is_html: bool = False) -> str:
    """Turn bytes into text, whatever they are.

    Args:
        content: The document as it is at the source.
        declared: Charset the source declares; believed if the bytes agree with it.
        is_html: Whether a `<meta charset>` near the start counts.

    Returns:
        Valid Unicode without byte order mark, NUL, lone surrogates or hidden characters;
        every line of the source ends in one line feed, so line numbers are those of the source.

    """
    mark = byte_order_mark(content)
    if mark is not None:
        encoding, length = mark
        return clean(content[length:].decode(encoding, "replace"))
    text = _decode_strictly(content, [declared, _meta_charset(content) if is_html else None, "utf-8"])
    return clean(_guess(content) if text is None else text)


def byte_order_mark(content: bytes) -> tuple[str, int] | None:
    """Give the encoding that a byte order mark proves, and the mark's length in bytes; None without one."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return encoding, len(mark)
    return None


def codec_of(charset: str | None) -> str | None:
    """Name Python's codec for a charset label; None if there is none that decodes documents."""
    try:
        name = codecs.lookup((charset or "").strip().strip("\"'")).name
    except (LookupError, ValueError):  # ValueError: a NUL in the label
        return None
    return None if name in _NOT_CHARSETS else _SUPERSETS.get(name, name)


def clean(text: str) -> str:
    """Put line feeds for all line endings, U+FFFD for NUL and lone surrogates, and nothing for hidden characters."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        text = text.replace("\0", REPLACEMENT)
    return without_hidden_characters(_SURROGATE.sub(REPLACEMENT, text))


def _decode_strictly(content: bytes, charsets: list[str | None]) -> str | None:
    """Decode with the first charset that all bytes agree with; None if there is none."""
    for codec in map(codec_of, charsets):
        if codec is None:
            continue
        try:
            return content.decode(codec).removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
        except (UnicodeError, LookupError):  # LookupError: a codec between bytes, such as zlib
            continue
    return None


def _meta_charset(content: bytes) -> str | None:
    """Read the charset an HTML page declares in its first bytes."""
    found = _META_CHARSET.search(content[:_META_WITHIN_BYTES])
    if found is None:
        return None
    charset = found[1].decode("ascii", "replace")
    # A page that could be read so far is not in a two-byte encoding, whatever it says (HTML standard, prescan).
    return "utf-8" if charset.lower().startswith("utf-16") else charset


def _guess(content: bytes) -> str:
    """Decode bytes that are nothing they claim to be."""
    text = content.decode("utf-8", "replace")
    n_bad = text.count(REPLACEMENT)
    # In a legacy encoding nearly every byte beyond ASCII is bad UTF-8; a few bad ones are damage, not another encoding.
    n_beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
    if n_bad * 2 <= n_beyond_ascii:
        return text
    return content.decode(_guess_codec(content), "replace")


def _guess_codec(content: bytes) -> str:
    """Name the likeliest legacy codec, by a sample around the first byte that is not ASCII."""
    first = len(content) - len(content.lstrip(_ASCII))
    start = max(0, first - _SAMPLE_BYTES // 4)
    sample = content[start : start + _SAMPLE_BYTES]
    if len(sample.translate(None, _ASCII)) < _FEWEST_TELLING_BYTES:
        return _COMMONEST
    matches = from_bytes(sample, cp_exclusion=_UNLIKELY)
    best = matches.best()
    if best is None or best.chaos > _MOST_CHAOS:
        return _COMMONEST
    for match in matches:
        is_as_likely = match.chaos <= best.chaos + _CHAOS_MARGIN and match.coherence >= best.coherence
        if is_as_likely and _COMMONEST in match.could_be_from_charset:
            return _COMMONEST
    return best.encoding
