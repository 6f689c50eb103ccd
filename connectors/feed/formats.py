"""Bytes of a feed to entries, whatever the dialect. Pure but for feedparser; hostile bytes fail as one error."""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit
from xml.sax import SAXException

from connectors.feed import feedparser_library
from connectors.feed.charsets import text_of, with_whole_characters
from connectors.feed.entries import Entry
from freshd.errors import SourceUnavailable

_JSON_TYPES = frozenset({"application/feed+json", "application/json"})
_JSON_FEED = "https://jsonfeed.org/version/"
_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml", "html", "xhtml"})
_MAX_TITLE_CHARS = 500
_LONGEST_TTL_MINUTES = 24 * 60
_BELIEVABLE_YEARS = range(1990, 2100)
"""Before the web, or long after us: nobody's date."""

_END_OF_FEED = re.compile(rb"</\s*(?:[\w-]+:)?(?:rss|rdf|feed)\s*>(?:\s++|<!--.*?-->)*+\Z", re.IGNORECASE | re.DOTALL)
_TAIL_BYTES = 4_096
_CUT_HINT = "if the next looks get no more of it, tell whoever runs the feed that its answers are cut"

# xml.sax looks attributes up one by one: 15,000 on one element took 29 s, and 10 MiB of them would take days.
_TOO_MANY_ATTRIBUTES = re.compile(rb"""<[^\s<>/]++(?:\s++[^\s=<>"']++\s*+=\s*+(?:"[^"<]*+"|'[^'<]*+')){100}""")

# Nothing before the first element is of use once the text is decoded, and it is left out. Entities that are declared
# serve nobody but bombs, which expand to 8 MiB before expat notices; the names that HTML has are known without.
# Of blank lines, declarations and `encoding=` feedparser's own patterns take the square of the length, or more.
# What does not end takes all that follows with it, so that this takes no longer than the feed is long.
_PROLOG = re.compile(
    rb"""(?xis) (?: [^<]++ | <\?(?>.*?\?>|.*) | <!--(?>.*?-->|.*)
        | <!DOCTYPE (?:[^\[<>"']++|"[^"]*+"|'[^']*+')*+ (?:\[(?>.*?\]\s*+>|.*))?+ | <(?![a-z_]) )*+"""
)

_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f]")

_MAX_TAGS = 1_000_000
"""Beginnings and ends; 50,000 entries of five fields have 600,000. feedparser takes some 30 µs for each element:
10 MiB of nothing but `<a>` would take minutes, at every look."""


@dataclass(frozen=True, slots=True)
class ParsedFeed:
    """What a feed holds.

    Attributes:
        flaw: Why not all entries are here, in one line; None when they are.
        hint: What mends that.
        ttl_s: The feed's own wish between two polls; 0 if it has none.

    """

    entries: tuple[Entry, ...]
    flaw: str | None = None
    hint: str = ""
    ttl_s: float = 0.0


@dataclass(frozen=True, slots=True)
class FeedBody:
    """The bytes of a feed and what the server said about them."""

    content: bytes
    url: str
    media_type: str | None = None
    encoding: str | None = None


class NotAFeed(SourceUnavailable):
    """The answer is something else: a login page, a web page, nothing."""

    def __init__(self, body: FeedBody, what: str) -> None:
        """Say what came instead."""
        got = f"{body.media_type or 'bytes of no declared type'}, {len(body.content)} bytes"
        super().__init__(
            f"{shown_url(body.url)}: {what}: got {got}, expected RSS, Atom or JSON Feed",
            hint="open the address in a browser: login pages and web pages are no feeds",
        )


def parse_feed(body: FeedBody, max_entries: int) -> ParsedFeed:
    """Parse a feed as far as it goes.

    Raises:
        SourceUnavailable: It is no feed, or cannot be parsed.

    """
    is_json = body.media_type in _JSON_TYPES or body.content[:64].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"
    try:
        parsed = _parse_json(body) if is_json else _parse_xml(body)
    except SourceUnavailable:
        raise
    except Exception as error:  # feedparser, and what reads its entries, raise whatever hostile bytes trip over
        raise SourceUnavailable(f"{shown_url(body.url)}: cannot be parsed: {type(error).__name__}") from error
    entries = tuple(entry for entry in parsed.entries if entry.guid or entry.link or entry.title or entry.content)
    if parsed.flaw is None and len(entries) > max_entries:
        flaw = f"{shown_url(body.url)}: got {len(entries):,} entries, expected at most {max_entries:,}"
        parsed = replace(parsed, flaw=flaw, hint="raise max_entries of the source")
    return replace(parsed, entries=entries[:max_entries])


def shown_url(url: str) -> str:
    """URL without query and fragment, which may hold a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _parse_xml(body: FeedBody) -> ParsedFeed:
    content = with_whole_characters(text_of(body.content, body.encoding)).encode("utf-8", "replace")
    if _TOO_MANY_ATTRIBUTES.search(content):
        raise NotAFeed(body, "has an element with 100 attributes or more")
    if content.count(b"<") > _MAX_TAGS:
        raise NotAFeed(body, f"has more than {_MAX_TAGS:,} tags")
    content = _PROLOG.sub(b"", content, count=1)
    feed = feedparser_library.parse(content, body.media_type or "application/xml")
    if not feed.get("version"):
        raise NotAFeed(body, "is not a feed")
    flaw = None if _is_whole(feed, content) else _cut(body, feed["version"])
    # Of a body that was cut nobody can tell whether its last entry was.
    raw = feed["entries"][:-1] if flaw else feed["entries"]
    entries, ttl_s = tuple(_xml_entry(entry, body.url) for entry in raw), _ttl_s(feed["feed"].get("ttl"))
    return ParsedFeed(entries, flaw, _CUT_HINT if flaw else "", ttl_s)


def _cut(body: FeedBody, version: str) -> str:
    tag = "</feed>" if version.startswith("atom") else "</rdf:RDF>" if version in ("rss090", "rss10") else "</rss>"
    return f"{shown_url(body.url)}: got {len(body.content):,} bytes that break off, expected them to end with {tag}"


def _is_whole(feed: Mapping[str, Any], content: bytes) -> bool:
    """Tell a cut body from one that is only wrong somewhere, in its encoding or its media type."""
    is_flawed = isinstance(feed.get("bozo_exception"), SAXException)
    return not is_flawed or _END_OF_FEED.search(content[-_TAIL_BYTES:].rstrip(b"\0")) is not None


def _xml_entry(raw: Mapping[str, Any], base: str) -> Entry:
    fields = dict(raw)  # feedparser's own look-up answers with other fields where one is missing
    content, media_type = _xml_content(fields)
    title = _title(fields.get("title"), fields.get("title_detail", {}).get("type"))
    # RSS takes a guid for a link unless told otherwise; many are plain numbers all the same.
    is_guid = fields.get("guidislink") and fields.get("link") == fields.get("id")
    return Entry(
        guid=_text(fields.get("id")),
        link=_link(fields.get("link"), "" if is_guid else base),
        title=title,
        content=content or (title or "").encode(),
        media_type=media_type if content else "text/plain",
        stamp=_text(fields.get("updated") or fields.get("published")) or "",
        changed_at=_utc(fields.get("updated_parsed") or fields.get("published_parsed")),
    )


def _xml_content(fields: Mapping[str, Any]) -> tuple[bytes, str]:
    """Give the fullest form of an entry's text, the longest: which field it is in tells little.

    Of a podcast's two summaries feedparser calls the second the content, whatever it is.
    """
    forms = [*fields.get("content", ()), {**fields.get("summary_detail", {}), "value": fields.get("summary")}]
    fullest = max(forms, key=lambda form: len((form.get("value") or "").strip()))
    text = fullest.get("value") or ""
    return _encoded(text) if text.strip() else b"", "text/html" if fullest.get("type") in _HTML_TYPES else "text/plain"


def _parse_json(body: FeedBody) -> ParsedFeed:
    try:
        feed = json.loads(body.content)
    except (ValueError, RecursionError) as error:  # ValueError covers bad text, bad numbers and bad encodings
        raise NotAFeed(body, "is no readable JSON") from error
    if not isinstance(feed, dict) or not str(feed.get("version")).startswith(_JSON_FEED):
        raise NotAFeed(body, "is not a feed")
    items = feed.get("items")
    if not isinstance(items, list):
        raise NotAFeed(body, "has no list of items")
    return ParsedFeed(tuple(_json_entry(item, body.url) for item in items if isinstance(item, dict)))


def _json_entry(item: Mapping[str, Any], base: str) -> Entry:
    title = _title(item.get("title"), "text/plain")
    html, plain = _text(item.get("content_html")), _text(item.get("content_text")) or _text(item.get("summary"))
    stamp = _text(item.get("date_modified")) or _text(item.get("date_published")) or ""
    return Entry(
        guid=_text(item.get("id")),
        link=_link(item.get("url"), base) or _link(item.get("external_url"), base),
        title=title,
        content=_encoded(html or plain or title or ""),
        media_type="text/html" if html else "text/plain",
        stamp=stamp,
        changed_at=_rfc3339(stamp),
    )


def _text(value: object) -> str | None:
    """Text of a field; JSON Feed allows a number as an id."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    return value.strip() or None if isinstance(value, str) else None


def _encoded(text: str) -> bytes:
    """Leave out what shows nothing: one such character in a short text, and it would be taken for no text at all."""
    return _CONTROLS.sub("", text).encode("utf-8", "replace")  # JSON can spell half a surrogate pair


def _link(value: object, base: str = "") -> str | None:
    """Absolute http or https URL, or None."""
    text = _text(value)
    if text is None or not text.isprintable():
        return None
    try:
        link = urljoin(base, text)
        parts = urlsplit(link)
    except ValueError:
        return None
    return link if parts.scheme in ("http", "https") and parts.hostname else None


class _TextOnly(HTMLParser):
    """Collects what is text."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)


def _title(value: object, media_type: str | None) -> str | None:
    text = (_text(value) or "")[: 4 * _MAX_TITLE_CHARS]
    if media_type in _HTML_TYPES:
        reader = _TextOnly()
        with contextlib.suppress(AssertionError):  # Python's parser trips over `<![1]`, which is text then
            reader.feed(text)
            reader.close()
            text = "".join(reader.pieces)
    return " ".join(_encoded(text).decode().split())[:_MAX_TITLE_CHARS] or None


def _utc(parsed: Sequence[int] | None) -> datetime | None:
    """Read feedparser's nine numbers, which are UTC."""
    if not parsed:
        return None
    year, month, day, hour, minute, second, *_ = parsed
    try:
        return _believable(datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC))
    except (ValueError, TypeError, OverflowError):
        return None


def _rfc3339(text: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
        return _believable(instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def _believable(instant: datetime) -> datetime | None:
    return instant if instant.year in _BELIEVABLE_YEARS else None


def _ttl_s(value: object) -> float:
    text = _text(value) or ""
    return 60.0 * min(int(text), _LONGEST_TTL_MINUTES) if re.fullmatch(r"[0-9]{1,6}", text) else 0.0
