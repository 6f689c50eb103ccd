"""Document ids of files: any path as printable text, and back, byte for byte.

A path is bytes; an id is text that can be printed, logged and typed.
What UTF-8 cannot say, control and direction-changing characters, and `%` itself are percent-encoded.
One path has exactly one id, so that text which is no id of any path is recognised.
"""

import re

from freshd.model import DocumentId

# Lone surrogates are how Python carries the bytes that are not UTF-8.
# U+2028 to U+202E and U+2066 to U+2069 break or reverse the line they are shown in.
_UNSAFE = re.compile("[\x00-\x1f%\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ESCAPED = re.compile(rb"%([0-9A-F]{2})")


def encode(path: bytes) -> DocumentId:
    """Give the id of a path relative to the root, its parts joined by `/`."""
    return DocumentId(_UNSAFE.sub(_percent, path.decode("utf-8", "surrogateescape")))


def decode(document_id: str) -> bytes:
    """Give the path that an id stands for.

    Raises:
        ValueError: The text is no id that `encode` could have made.

    """
    if "%" not in document_id and document_id.isascii() and document_id.isprintable():
        return document_id.encode()
    path = _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), document_id.encode())
    if encode(path) != document_id:
        raise ValueError(f"document id {document_id!r}: got an unusual spelling of {encode(path)!r}")
    return path


def parts(document_id: str) -> list[bytes]:
    """Give the names on the way from the root to a document; every one names an entry of its folder.

    Raises:
        ValueError: The text is no id of a path below the root.

    """
    names = decode(document_id).split(b"/")
    if any(name in (b"", b".", b"..") or b"\0" in name for name in names):
        raise ValueError(f"document id {document_id!r}: expected a path below the root")
    return names


def text_of(name: bytes) -> str:
    """Give a name as globs see it: characters where it is UTF-8, a stand-in for every other byte."""
    return name.decode("utf-8", "surrogateescape")


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogateescape"))
