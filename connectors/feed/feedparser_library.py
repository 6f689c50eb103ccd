"""The one door to feedparser, and what of it is switched off: whatever of it hostile bytes keep busy or trip over."""

import contextlib
import io
from collections.abc import Callable
from typing import Any

import feedparser  # type: ignore[import-untyped] # ships no types
from feedparser.namespaces import cc, georss, psc  # type: ignore[import-untyped]

# feedparser resolves guids too, and ids would change when the feed moves; nothing is resolved against a URN.
# With no base at all, one entry's xml:base would hold for all that follow.
_NO_BASE = "urn:feed"

# Nobody here asks who wrote an entry, and feedparser looks for a mail address there in the square of its length.
feedparser.mixin._FeedParserMixin._sync_author_detail = lambda *_: None
# Nor for places, licences and chapters: their elements are text as any other, while feedparser's own methods for them
# raise on one that is not in the place it should, or lacks an attribute, and the whole feed would be lost for it.
for _namespace in (cc.Namespace, georss.Namespace, psc.Namespace):
    for _method in [name for name in vars(_namespace) if name.startswith(("_start_", "_end_"))]:
        delattr(_namespace, _method)


def _or_none(read: Callable[[str], object]) -> Callable[[str], object]:
    """Have what reads dates give None also for a month beyond the twelfth, of which one of them makes an IndexError."""

    def read_or_none(words: str) -> object:
        with contextlib.suppress(IndexError):
            return read(words)
        return None

    return read_or_none


feedparser.datetimes._date_handlers[:] = map(_or_none, feedparser.datetimes._date_handlers)


def parse(content: bytes, media_type: str) -> Any:
    """Parse a feed in UTF-8 into feedparser's own answer; raises whatever the bytes make it raise."""
    # A stream, for feedparser opens bytes and str as a file name first.
    # Markup stays as it is: parsers drop what is hidden, and need the attributes to see that it is.
    return feedparser.parse(
        io.BytesIO(content),
        response_headers={"content-type": f"{media_type}; charset=utf-8", "content-location": _NO_BASE},
        resolve_relative_uris=False,
        sanitize_html=False,
    )
