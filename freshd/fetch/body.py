"""Bodies, bounded before and after decompression. Pure."""

import zlib
from collections.abc import Iterable, Sequence

_STEP_BYTES = 65_536
# `deflate` means zlib's format, but some servers send the bare one: RFC 9110 section 8.4.1.2.
_GZIP_BITS, _ZLIB_BITS, _BARE_BITS = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class BodyRefused(Exception):
    """The body is too large, incomplete or encoded in a way that was not asked for."""


def content_coding(fields: Sequence[str]) -> str:
    """Give the one content coding of an answer: `identity`, `gzip` or `deflate`.

    Args:
        fields: Values of all its Content-Encoding headers.

    Raises:
        BodyRefused: There are several, which only serves to hide a bomb, or an unknown one.

    """
    codings = [coding.strip().lower() for field in fields for coding in field.split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if not codings:
        return "identity"
    if len(codings) > 1:
        raise BodyRefused(f"got {len(codings)} content codings, expected at most one")
    coding = codings[0].removeprefix("x-")
    if coding not in ("gzip", "deflate"):
        raise BodyRefused(f"got content coding {coding[:40]!r}, expected gzip")
    return coding


def read_body(chunks: Iterable[bytes], coding: str, max_bytes: int) -> bytes:
    """Join a body and decompress it, never holding more than `max_bytes` and one step.

    Raises:
        BodyRefused: It passes `max_bytes`, packed or unpacked, or its compression is broken or cut short.

    """
    pieces = _capped(chunks, max_bytes)
    if coding != "identity":
        pieces = _capped(_unpacked(pieces, coding), max_bytes)
    return b"".join(pieces)


def _capped(pieces: Iterable[bytes], max_bytes: int) -> Iterable[bytes]:
    n_bytes = 0
    for piece in pieces:
        n_bytes += len(piece)
        if n_bytes > max_bytes:
            raise BodyRefused(f"body is larger than {max_bytes} bytes")
        yield piece


def _unpacked(pieces: Iterable[bytes], coding: str) -> Iterable[bytes]:
    """Yield steps of bounded size: a decompressor without a limit turns 1 MB into 1 GB at once."""
    inflater = None
    for piece in pieces:
        rest = piece
        while rest:
            if inflater is None or inflater.eof:  # gzip allows one member after another
                inflater = zlib.decompressobj(_window_bits(coding, rest))
            try:
                yield inflater.decompress(rest, _STEP_BYTES)
            except zlib.error as error:
                raise BodyRefused(f"broken {coding} body") from error
            rest = inflater.unconsumed_tail or inflater.unused_data
    if inflater is not None and not inflater.eof:
        raise BodyRefused(f"{coding} body is cut short")


def _window_bits(coding: str, start: bytes) -> int:
    if coding == "gzip":
        return _GZIP_BITS
    return _ZLIB_BITS if start[0] & 0x0F == 8 else _BARE_BITS
