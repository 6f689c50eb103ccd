"""Tells PDF and office documents by their bytes, whatever their name or declared type says.

Such a document is called `report.md` by mistake only, and its bytes leave no doubt.
"""

from typing import Final

from freshd.parsers.media import Format

VERSION = "signs-1"

_BEFORE_A_PDF: Final = b"\xef\xbb\xbf\r\n\t "
"""What servers put before it, and readers forgive."""


def format_of_bytes(content: bytes) -> Format | None:
    """Give the format that the bytes prove; None where they prove none."""
    if content[:64].lstrip(_BEFORE_A_PDF).startswith(b"%PDF-"):
        return Format.PDF
    # Names stand uncompressed in an archive; this one stands in every office document.
    is_office = content.startswith(b"PK\x03\x04") and b"[Content_Types].xml" in content
    return Format.OFFICE if is_office else None
