"""Polls a feed, lists its entries, and reads them one by one."""

import hashlib
import os
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import ClassVar
from urllib.parse import urlsplit

from connectors.feed.cursor import Cursor
from connectors.feed.entries import Entry, by_document_id, ref_of
from connectors.feed.formats import FeedBody, ParsedFeed, parse_feed, shown_url
from connectors.feed.options import FeedOptions, headers_from_environment
from freshd.errors import DocumentGone, DocumentRefused, DocumentUnreadable, ParseError, SourceUnavailable
from freshd.model import Coverage, Document, DocumentId, DocumentRef, Fetched, Listing, ListingReport
from freshd.ports import ConnectorContext

MAX_PAGE_BYTES = 20 * 1024 * 1024
FRESH_S = 60.0
"""A window looked at so recently is not fetched again for one entry that is not in it."""

_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_ACCEPT = "application/atom+xml, application/rss+xml, application/feed+json, application/xml;q=0.9, */*;q=0.8"
_PAGE_HINT = "without follow_links, what the feed itself says of the entry is indexed"
_GONE = "410 Gone"
_GONE_PAUSE = timedelta(hours=24)
_PUBLIC_INTERVAL = timedelta(minutes=1)
"""A host that is not ours is asked at most so often, whatever the freshness target."""

_OWN_INTERVAL = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class _Window:
    """The entries of one body; replaced as a whole, never changed.

    Attributes:
        checked_s: Monotonic time of the last answer that said it is current.

    """

    entries: Mapping[DocumentId, Entry] = field(default_factory=dict)
    sha256: str | None = None
    checked_s: float | None = None


class FeedConnector:
    """Reads one feed. Keeps the newest body in memory for `read`; keeps no record of what was indexed.

    An entry's `changed_at` is what the feed says, else None.
    A linked page is read when its entry changes in the feed; a page edited behind it is not seen.
    """

    Options: ClassVar[type[FeedOptions]] = FeedOptions
    coverage = Coverage.WINDOW

    def __init__(self, options: FeedOptions, context: ConnectorContext) -> None:
        """Open a feed without asking for it.

        Raises:
            ConfigError: A header names an environment variable that is not set.

        """
        self._options = options
        self._clock = context.clock
        self._headers = headers_from_environment(context.source, options.headers)
        ca_file = None if options.ca_file is None else context.base / os.path.expanduser(options.ca_file)
        self._fetcher = context.fetcher(options.allow_private_hosts, ca_file)
        self._main_text = context.main_text
        _, host, port = _origin(options.url)
        self.host = f"[{host}]:{port}" if ":" in (host or "") else f"{host}:{port}"
        is_ours = self.host in {entry.lower() for entry in options.allow_private_hosts}
        self.least_interval = _OWN_INTERVAL if is_ours else _PUBLIC_INTERVAL
        self._refreshing = threading.Lock()
        self._window = _Window()
        self._has_move_failed = False
        self._gone: str | None = None

    def list(self, scope: str | None = None, cursor: str | None = None) -> Listing:
        """Show what the feed holds now; nothing when it says that nothing changed since `cursor`."""
        return Listing(self._walk(cursor) if scope is None else self._walk_scope(scope, cursor))

    def read(self, ref: DocumentRef) -> Document:
        """Read one entry, or the page it links to.

        Raises:
            DocumentGone: The feed does not show it any more.
            DocumentUnreadable: Its page could not be fetched, or what finds its main text was killed.
            DocumentRefused: Its page breaks what finds its main text.
            SourceUnavailable: The feed does not answer.

        """
        entry = self._find(ref.document_id)
        if entry is None:
            raise DocumentGone(f"{ref.document_id}: rolled off {shown_url(self._options.url)}")
        own = _own_document(ref.document_id, entry, shown_url(self._options.url))
        if self._options.follow_links and entry.link:
            return self._linked_document(own, entry.link)
        return own

    def is_gone(self, document_id: DocumentId) -> bool:
        """Never: what is not in a window may well exist."""
        return False

    def close(self) -> None:
        """Let go of the newest body and the HTTP client; idempotent."""
        self._window = _Window()
        self._fetcher.close()

    def _walk(self, cursor_text: str | None) -> Generator[DocumentRef, None, ListingReport]:
        with self._refreshing:
            before = Cursor.load(cursor_text, self._options.url)
            if self._has_move_failed:
                before = before.without_move()
            fetched = self._poll(before)
            after = before.after(fetched)
            if fetched.status == 304 or _sha256(fetched.content) == before.sha256:
                self._confirm(before.sha256)
                return self._report(after, fetched)
            feed, window = self._take(fetched)
        yield from (ref_of(name, entry) for name, entry in window.entries.items())
        if feed.flaw:
            report = self._report(after.without_validators(), fetched)
            return replace(report, is_complete=False, reason=feed.flaw, hint=feed.hint)
        return self._report(after.holding(_sha256(fetched.content), feed.ttl_s), fetched)

    def _walk_scope(self, scope: str, cursor_text: str | None) -> Generator[DocumentRef, None, ListingReport]:
        with self._refreshing:
            if not self._is_fresh():
                self._refresh()
            window = self._window
        for name, entry in window.entries.items():
            if name == scope or name.startswith(f"{scope}/"):
                yield ref_of(name, entry)
        return ListingReport(is_complete=True, cursor=cursor_text)

    def _poll(self, cursor: Cursor) -> Fetched:
        """Ask for the feed, conditionally if the cursor says so; where it moved to, if it has.

        One that said it is gone is not asked again: 410 is meant, RFC 9110 section 15.5.11.
        """
        if self._gone is not None:
            raise self._closed(self._gone)
        url = cursor.moved_to if cursor.has_moved and cursor.moved_to else self._options.url
        etag, last_modified = (cursor.etag, cursor.last_modified) if cursor.is_conditional else (None, None)
        try:
            return self._fetcher.fetch(
                url,
                headers=self._headers_for(url),
                etag=etag,
                last_modified=last_modified,
                max_bytes=self._options.max_feed_bytes,
            )
        except DocumentGone as error:
            self._has_move_failed = cursor.has_moved
            if str(error).endswith(_GONE) and not cursor.has_moved:
                self._gone = f"{error}; not asked again until freshd starts anew or reads its config again"
            raise self._closed(self._gone or str(error)) from error
        except SourceUnavailable:
            self._has_move_failed = cursor.has_moved
            raise

    def _closed(self, what: str) -> SourceUnavailable:
        """Say what an answer of 404 or 410 means for a feed; its documents stay."""
        hint = "the feed is closed or has another address: correct `url`, or remove the source"
        # 404 is often a mistake that is mended soon.
        pause = None if self._gone is None else self._clock.now() + _GONE_PAUSE
        return SourceUnavailable(what, hint=hint, not_before=pause)

    def _headers_for(self, url: str) -> dict[str, str]:
        """Give the configured headers to the feed's own origin only: they may be credentials."""
        own = self._headers if _origin(url) == _origin(self._options.url) else {}
        return {"accept": _ACCEPT, **{name.lower(): value for name, value in own.items()}}

    def _take(self, fetched: Fetched) -> tuple[ParsedFeed, _Window]:
        """Parse a body and keep it for `read`."""
        body = FeedBody(fetched.content, fetched.url, fetched.media_type, fetched.encoding)
        feed = parse_feed(body, self._options.max_entries)
        self._window = _Window(by_document_id(feed.entries), _sha256(fetched.content), self._clock.monotonic())
        return feed, self._window

    def _refresh(self) -> None:
        self._take(self._poll(Cursor.load(None, self._options.url)))

    def _confirm(self, sha256: str | None) -> None:
        """Note that the body in memory, if it is that one, is what the feed still holds."""
        if self._window.sha256 == sha256:
            self._window = _Window(self._window.entries, sha256, self._clock.monotonic())

    def _is_fresh(self) -> bool:
        checked_s = self._window.checked_s
        return checked_s is not None and self._clock.monotonic() - checked_s < FRESH_S

    def _find(self, document_id: DocumentId) -> Entry | None:
        """Look in memory, and once in the feed itself where memory is old or, after a restart, empty."""
        entry = self._window.entries.get(document_id)
        if entry is not None:
            return entry
        with self._refreshing:
            if document_id not in self._window.entries and not self._is_fresh():
                self._refresh()
            return self._window.entries.get(document_id)

    def _report(self, cursor: Cursor, fetched: Fetched) -> ListingReport:
        return ListingReport(True, cursor=cursor.dump(), not_before=self._not_before(cursor, fetched))

    def _not_before(self, cursor: Cursor, fetched: Fetched) -> datetime | None:
        """Give the later of what the server and what the feed wish."""
        wishes = [fetched.not_before] if fetched.not_before else []
        if cursor.ttl_s:
            wishes.append(self._clock.now() + timedelta(seconds=cursor.ttl_s))
        return max(wishes, default=None)

    def _linked_document(self, own: Document, link: str) -> Document:
        """Read the page behind an entry; what is no page leaves the entry's own content."""
        try:
            page = self._fetcher.fetch(link, headers=self._headers_for(link), max_bytes=MAX_PAGE_BYTES)
        except (SourceUnavailable, DocumentGone) as error:
            raise DocumentUnreadable(f"{own.ref.document_id}: {error}", hint=error.hint) from error
        if page.media_type not in _HTML_TYPES:
            return own
        whole = replace(own, uri=link, content=page.content, media_type="text/html", encoding=page.encoding)
        try:
            return self._main_text(whole)
        except ParseError as error:
            kind = DocumentUnreadable if error.retryable else DocumentRefused
            raise kind(f"{shown_url(link)}: {error}", hint=_PAGE_HINT) from error


def _own_document(name: DocumentId, entry: Entry, feed_url: str) -> Document:
    return Document(
        ref=ref_of(name, entry),
        uri=entry.link or feed_url,
        content=entry.content,
        media_type=entry.media_type,
        encoding="utf-8",
        title=entry.title,
        modified_at=entry.changed_at,
    )


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Give scheme, host and port; a port that is none is nobody's, and whoever asks there is told so."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        return parts.scheme, parts.hostname, None
    return parts.scheme, parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
