"""Tells bytes that are no text, before anyone tries to read them as text."""

import re
from typing import Final

from freshd.parsers.encoding import REPLACEMENT, byte_order_mark, codec_of

VERSION = "binary-2"

# Only formats that may hold no NUL near their start, or that look like text; the others show by their NULs.
_SIGNATURES: Final = (
    (b"%PDF-", "PDF data"),
    (b"%!PS-", "PostScript"),
    (b"{\\rtf", "RTF"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"BZh91AY", "bzip2 data"),
    (b"\xfd7zXZ", "xz data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"7z\xbc\xaf", "a 7z archive"),
)

_COMPOUND_FILE: Final = b"\xd0\xcf\x11\xe0"
_ENCRYPTED_PACKAGE: Final = "EncryptedPackage".encode("utf-16-le")

_NUL_WITHIN_BYTES: Final = 8000
"""As far as git looks, for the same reason; a stray NUL later in a log is damage, not a format."""

_MOST_CONTROLS: Final = 0.02
"""Random bytes hold 10 % control characters, text with terminal colours next to none besides ESC."""

# All but tab, newlines, vertical tab, form feed, backspace and ESC, which do occur in text.
_CONTROL_BYTES: Final = bytes(set(range(0x20)) - set(b"\t\n\v\r\f\b\x1b") | {0x7F})
_WIDE_NOISE = re.compile(rf"[\x00-\x07\x0e-\x1a\x7f{REPLACEMENT}\ue000-\uf8ff]")


def name_of_binary(content: bytes, encoding: str | None) -> str | None:
    """Say what the bytes are if they are no text.

    Args:
        content: The whole document.
        encoding: As declared; wide encodings hold NULs in every text.

    Returns:
        Words for an error message; None if this may be text.

    """
    wide = _wide_codec(content, encoding)
    if wide is not None:
        return _noise_in_wide(content[:_NUL_WITHIN_BYTES], wide)
    if content.startswith(_COMPOUND_FILE):
        # Office programs put a document with a password into a file of the old format.
        has_password = _ENCRYPTED_PACKAGE in content
        return f"an office document {'with a password' if has_password else 'of an old format'}"
    for signature, name in _SIGNATURES:
        if content.startswith(signature):
            return name
    if b"\0" in content[:_NUL_WITHIN_BYTES]:
        return "binary data (NUL bytes)"
    n_controls = len(content) - len(content.translate(None, _CONTROL_BYTES))
    return "binary data (control characters)" if n_controls > _MOST_CONTROLS * len(content) else None


def _wide_codec(content: bytes, encoding: str | None) -> str | None:
    """Name the UTF-16 or UTF-32 codec the bytes are in; None if they are in neither."""
    mark = byte_order_mark(content)
    codec = mark[0] if mark else codec_of(encoding)
    return codec if codec and codec.startswith(("utf-16", "utf-32")) else None


def _noise_in_wide(sample: bytes, codec: str) -> str | None:
    """Judge by the characters, since in a wide encoding the bytes tell nothing."""
    text = sample.decode(codec, "replace")
    n_noise = len(_WIDE_NOISE.findall(text))
    # One broken character may come from cutting the sample.
    return f"binary data (not valid {codec})" if n_noise > 1 + _MOST_CONTROLS * len(text) else None
