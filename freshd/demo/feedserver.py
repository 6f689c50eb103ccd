"""A small feed on the loopback address, whose entries can be published and edited while it is served."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.etree import ElementTree

from freshd.ports import Clock

FEED_PATH = "/feed.xml"

_ATOM = "http://www.w3.org/2005/Atom"


@dataclass(frozen=True, slots=True)
class _Entry:
    title: str
    text: str
    updated_at: datetime


class Feed:
    """An Atom feed, newest entry first. Safe to use from several threads."""

    def __init__(self, base_url: str, clock: Clock) -> None:
        """Begin empty.

        Args:
            base_url: What entries are named under, without a slash at its end.
            clock: Tells when an entry was updated.

        """
        self._base_url = base_url
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    @property
    def url(self) -> str:
        """Where the feed itself is."""
        return self._base_url + FEED_PATH

    def publish(self, title: str, text: str) -> str:
        """Add an entry; give its id, which is also its address."""
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
        with self._lock:
            entry_id = f"{self._base_url}/{slug}"
            self._entries[entry_id] = _Entry(title, text, self._clock.now())
        return entry_id

    def edit(self, entry_id: str, text: str) -> None:
        """Replace an entry's text."""
        with self._lock:
            self._entries[entry_id] = replace(self._entries[entry_id], text=text, updated_at=self._clock.now())

    def page(self, path: str) -> tuple[str, bytes] | None:
        """Give media type and body of a path: the feed, or an entry's text; None where there is nothing."""
        with self._lock:
            if path == FEED_PATH:
                return "application/atom+xml; charset=utf-8", self._atom()
            entry = self._entries.get(self._base_url + path)
            return ("text/plain; charset=utf-8", f"{entry.title}\n\n{entry.text}\n".encode()) if entry else None

    def _atom(self) -> bytes:
        feed = ElementTree.Element("feed", {"xmlns": _ATOM})
        newest = max((entry.updated_at for entry in self._entries.values()), default=self._clock.now())
        for name, value in (("id", self.url), ("title", "News of this machine"), ("updated", newest.isoformat())):
            ElementTree.SubElement(feed, name).text = value
        for entry_id, entry in reversed(self._entries.items()):
            element = ElementTree.SubElement(feed, "entry")
            fields = (("id", entry_id), ("title", entry.title), ("updated", entry.updated_at.isoformat()))
            for name, value in (*fields, ("content", entry.text)):
                ElementTree.SubElement(element, name).text = value
            ElementTree.SubElement(element, "link", {"href": entry_id})
        body: bytes = ElementTree.tostring(feed, encoding="utf-8", xml_declaration=True)
        return body


class _Handler(BaseHTTPRequestHandler):
    """Answers GET with an ETag, and with 304 where the asker names it."""

    def __init__(self, feed: Feed, *args: Any) -> None:
        self._feed = feed
        super().__init__(*args)

    def do_GET(self) -> None:
        found = self._feed.page(self.path)
        if found is None:
            self.send_error(404)
            return
        media_type, body = found
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        is_known = self.headers.get("If-None-Match") == etag
        self.send_response(304 if is_known else 200)
        self.send_header("ETag", etag)
        if not is_known:
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not is_known:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the demonstration owns the terminal."""


@contextmanager
def serve_feed(clock: Clock) -> Iterator[Feed]:
    """Serve a new feed on a free loopback port until the block ends."""
    feeds: list[Feed] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: _Handler(feeds[0], *args))
    feeds.append(Feed(f"http://127.0.0.1:{server.server_port}", clock))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="demo-feed", daemon=True)
    thread.start()
    try:
        yield feeds[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
