"""The feed connector over the real guarded client and a scripted server on loopback."""

import codecs
import contextlib
import json
import resource
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import stamina
from pydantic import ValidationError

from connectors.feed import FeedConnector, FeedOptions, formats
from connectors.feed.connector import FRESH_S
from connectors.feed.cursor import POLLS_PER_UNCONDITIONAL, SAME_ANSWERS_TO_MOVE
from connectors.feed.entries import document_id
from freshd.errors import ConfigError, DocumentGone, DocumentUnreadable, SourceUnavailable
from freshd.fetch import HttpxFetcher
from freshd.model import Coverage, Document, DocumentRef, ListingReport, SourceName
from freshd.parsers import LimitedPages, Parsers
from freshd.ports import ConnectorContext, ConnectorType
from tests.scripted_server import Reply, Request, ScriptedServer

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RSS = {"Content-Type": "application/rss+xml"}
HTML = {"Content-Type": "text/html; charset=utf-8"}


@dataclass
class SetClock:
    """Time that a test sets."""

    monotonic_s: float = 1_000.0

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return self.monotonic_s


@dataclass
class World:
    """A server with a feed at /feed and a connector that reads it."""

    server: ScriptedServer
    clock: SetClock = field(default_factory=SetClock)
    pages: LimitedPages = field(default_factory=LimitedPages)

    def connector(self, **options: object) -> FeedConnector:
        fields = {"url": self.server.url("/feed"), "allow_private_hosts": [self.server.host], **options}
        context = ConnectorContext(
            SourceName("news"),
            Path(),
            self.clock,
            lambda hosts, ca_file: HttpxFetcher(self.clock, hosts, ca_file=ca_file),
            self.pages.main_text,
        )
        return FeedConnector(FeedOptions.model_validate(fields), context)

    def serve(self, body: bytes, headers: dict[str, str] = RSS) -> None:
        self.server.on("/feed", Reply(200, body, headers))

    def restarted(self) -> FeedConnector:
        return self.connector()


@pytest.fixture
def world() -> Iterator[World]:
    stamina.set_testing(True, attempts=3)
    with ScriptedServer() as server, contextlib.closing(LimitedPages()) as pages:
        yield World(server, pages=pages)
    stamina.set_testing(False)


def listed(
    connector: FeedConnector, cursor: str | None = None, scope: str | None = None
) -> tuple[list[DocumentRef], ListingReport]:
    listing = connector.list(scope, cursor)
    refs = list(listing)
    assert [ref.document_id for ref in refs] == sorted({ref.document_id for ref in refs})
    return refs, listing.report


def documents(connector: FeedConnector) -> dict[str, Document]:
    return {ref.document_id: connector.read(ref) for ref in listed(connector)[0]}


def rss(*items: str, head: str = "") -> bytes:
    channel = f"<channel><title>News</title>{head}{''.join(items)}</channel>"
    return f'<?xml version="1.0"?><rss version="2.0">{channel}</rss>'.encode()


def item(guid: str | None = None, text: str = "some text", link: str | None = None, title: str | None = None) -> str:
    fields = {"guid": guid, "link": link, "title": title, "description": text}
    return f"<item>{''.join(f'<{name}>{value}</{name}>' for name, value in fields.items() if value)}</item>"


def atom(*entries: str, head: str = "") -> bytes:
    text = f'<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>News</title>{head}{"".join(entries)}</feed>'
    return text.encode()


def etag_keeper(body: bytes, etag: str = '"1"'):
    """A server that answers 304 to whoever has the body already."""

    def answer(request: Request) -> Reply:
        if request.headers.get("if-none-match") == etag:
            return Reply(304, headers={"ETag": etag})
        return Reply(200, body, {**RSS, "ETag": etag, "Last-Modified": "Sun, 01 Mar 2026 10:00:00 GMT"})

    return answer


# Dialects


DIALECTS = {
    "rss 0.91": rss(item(link="http://x.example/1", title="One")).replace(b"2.0", b"0.91"),
    "rss 0.92": rss(item(link="http://x.example/1", title="One")).replace(b"2.0", b"0.92"),
    "rss 1.0": b"""<?xml version="1.0"?>
        <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/">
        <channel rdf:about="http://x.example/"><title>News</title></channel>
        <item rdf:about="http://x.example/1"><title>One</title><link>http://x.example/1</link>
        <description>some text</description></item></rdf:RDF>""",
    "rss 2.0": rss(item("http://x.example/1", link="http://x.example/1", title="One")),
    "atom 0.3": b"""<?xml version="1.0"?><feed version="0.3" xmlns="http://purl.org/atom/ns#"><title>News</title>
        <entry><title>One</title><id>http://x.example/1</id>
        <link rel="alternate" type="text/html" href="http://x.example/1"/>
        <content type="text/html" mode="escaped">some text</content></entry></feed>""",
    "atom 1.0": atom(
        '<entry><title>One</title><id>http://x.example/1</id><link href="http://x.example/1"/>'
        '<content type="html">some text</content></entry>'
    ),
    "json feed 1.0": json.dumps(
        {
            "version": "https://jsonfeed.org/version/1",
            "items": [
                {
                    "id": "http://x.example/1",
                    "url": "http://x.example/1",
                    "title": "One",
                    "content_html": "some text",
                }
            ],
        }
    ).encode(),
    "json feed 1.1": json.dumps(
        {
            "version": "https://jsonfeed.org/version/1.1",
            "items": [
                {"id": "http://x.example/1", "external_url": "/1", "title": "One", "content_html": "some text"},
                "no item",
            ],
        }
    ).encode(),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gives_the_same_document(dialect, world):
    world.serve(DIALECTS[dialect], {"Content-Type": "application/octet-stream"})
    [document] = documents(world.connector()).values()
    assert document.ref.document_id == "http://x.example/1"
    assert (document.title, document.content, document.media_type) == ("One", b"some text", "text/html")
    assert document.uri in ("http://x.example/1", world.server.url("/1"))
    assert document.encoding == "utf-8"


def content_of(entry: str, world: World) -> tuple[bytes, str | None]:
    world.serve(entry.encode() if entry.startswith("<?xml") else rss(entry))
    [document] = documents(world.connector()).values()
    return document.content, document.media_type


NAMESPACED = (
    '<?xml version="1.0"?><rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel>'
    "<item><guid>1</guid><description>short</description><content:encoded><![CDATA[<h2>Full</h2>]]></content:encoded>"
    "</item></channel></rss>"
)


@pytest.mark.parametrize(
    ("entry", "content"),
    [
        (NAMESPACED, (b"<h2>Full</h2>", "text/html")),
        (item("1", "&lt;p&gt;a &amp;amp; b&lt;/p&gt;"), (b"<p>a &amp; b</p>", "text/html")),
        (item("1", '<![CDATA[<p style="display:none">x</p>]]>'), (b'<p style="display:none">x</p>', "text/html")),
        (item("1", "", title="Only a title"), (b"Only a title", "text/plain")),
        (item("1", "", title="Ä &amp;lt;b&amp;gt;"), ("Ä <b>".encode(), "text/plain")),
        (atom('<entry><id>1</id><summary type="text">a &lt; b</summary></entry>').decode(), (b"a < b", "text/plain")),
        (
            atom(
                '<entry><id>1</id><summary>s</summary><content type="xhtml">'
                '<div xmlns="http://www.w3.org/1999/xhtml"><h2>Head</h2><p>text</p></div></content></entry>'
            ).decode(),
            (b"<h2>Head</h2><p>text</p>", "text/html"),
        ),
    ],
    ids=["content:encoded", "escaped", "CDATA", "title only", "title with markup", "plain summary", "xhtml"],
)
def test_the_fullest_text_of_an_entry_is_its_content(entry, content, world):
    """As it stands in the feed: parsers need the markup to see what is hidden."""
    got, media_type = content_of(entry, world)
    assert media_type == content[1]
    assert got.replace(b"<div>", b"").replace(b"</div>", b"") == content[0]


PODCAST = '<rss version="2.0" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"><channel><item><guid>1</guid>'
NOTES = "<description>&lt;p&gt;Full show notes: links and a transcript.&lt;/p&gt;</description>"
TEASER = "<itunes:summary>A teaser.</itunes:summary>"


@pytest.mark.parametrize("fields", [NOTES + TEASER, TEASER + NOTES], ids=["before the teaser", "after the teaser"])
def test_the_show_notes_of_a_podcast_are_its_text_wherever_they_stand(fields, world):
    got = content_of(f'<?xml version="1.0"?>{PODCAST}{fields}</item></channel></rss>', world)
    assert got == (b"<p>Full show notes: links and a transcript.</p>", "text/html")


def test_a_full_text_without_markup_is_more_than_a_teaser_with_some(world):
    teaser = '<summary type="html">&lt;b&gt;In short&lt;/b&gt;</summary>'
    entry = f"<entry><id>1</id>{teaser}<content>All of it, at length</content></entry>"
    assert content_of(atom(entry).decode(), world) == (b"All of it, at length", "text/plain")


def test_relative_links_are_resolved_and_foreign_schemes_are_no_links(world):
    world.serve(
        atom(
            '<entry><id>a</id><link href="page"/></entry>',
            '<entry xml:base="http://x.example/deep/"><id>urn:b</id><link href="page"/></entry>',
            '<entry><id>b2</id><link href="page"/></entry>',
            '<entry><id>c</id><link href="javascript:alert(1)"/><title>c</title></entry>',
            '<entry><id>d</id><link href="http://[broken"/><title>d</title></entry>',
        )
    )
    found = documents(world.connector(url=world.server.url("/feed") + "?key=s3cret"))
    assert found["a"].uri == world.server.url("/page")
    assert found["urn:b"].uri == "http://x.example/deep/page"
    assert found["b2"].uri == world.server.url("/page")
    assert found["c"].uri == found["d"].uri == world.server.url("/feed")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (rss(item("1", "Grüße – “x”")), {"Content-Type": "text/xml"}),
        (codecs.BOM_UTF8 + rss(item("1", "Grüße – “x”")), RSS),
        (
            rss(item("1", "Grüße – “x”")).decode().replace("?>", ' encoding="windows-1252"?>').encode("windows-1252"),
            RSS,
        ),
        (rss(item("1", "Grüße – “x”")).decode().encode("windows-1252"), {"Content-Type": "text/xml; charset=cp1252"}),
        (rss(item("1", "Grüße – “x”")).decode().replace("?>", ' encoding="utf-16"?>').encode("utf-16"), RSS),
        (rss(item("1", "Grüße – “x”")).decode().encode("utf-16-be"), RSS),
        (rss(item("1", "Grüße – “x”")).decode().encode("utf-32"), RSS),
        (rss(item("1", "Grüße – “x”")).decode().encode("utf-32-le"), RSS),
        (rss(item("1", "Grüße – “x”")), {"Content-Type": "text/plain; charset=nonsense"}),
        (rss(item("1", "Grüße – “x”")).decode().replace("?>", ' encoding="utf-16"?>').encode(), RSS),
        (rss(item("1", "Grüße – “x”")).decode().replace("?>", ' encoding="utf-16"?> ').encode(), RSS),
        (rss(item("1", "Grüße – “x”")).decode().replace("?>", ' encoding="unicode_escape"?>').encode(), RSS),
        (rss(item("1", "Grüße – “x”")).decode().replace("?>", ' encoding="hex"?>').encode(), RSS),
        (rss(item("1", "Grüße – “x”")) + bytes(512), RSS),
        (rss(item("1", "Grüße – “x”")).replace(b"<rss", b"<!DOCTYPE rss SYSTEM 'http://x.example/[a].dtd'><rss"), RSS),
    ],
    ids=[
        *("text/xml", "BOM", "declared 1252", "charset 1252", "UTF-16", "UTF-16BE", "UTF-32", "UTF-32LE"),
        *("nonsense charset", "called UTF-16", "called UTF-16, one longer", "called escapes", "called hex"),
        *("zeros", "brackets"),
    ],
)
def test_encodings_are_found_and_a_wrong_label_is_still_a_whole_feed(body, headers, world):
    """Complete means read to its end; a wrong media type or charset takes nothing away."""
    world.serve(body, headers)
    connector = world.connector()
    refs, report = listed(connector)
    assert connector.read(refs[0]).content.decode() == "Grüße – “x”"
    assert report.is_complete


@pytest.mark.parametrize(
    ("words", "instant"),
    [
        ("Mon, 02 Mar 2026 10:00:00 +0100", datetime(2026, 3, 2, 9, tzinfo=UTC)),
        ("Mon, 02 Mar 2026 10:00:00 EST", datetime(2026, 3, 2, 15, tzinfo=UTC)),
        ("2026-03-02T10:00:00-05:30", datetime(2026, 3, 2, 15, 30, tzinfo=UTC)),
        ("2026-03-02T10:00:00Z", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("0001-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59Z", None),
        ("yesterday", None),
        ("Mon, 99 Mar 2026 10:00:00 GMT", None),
        ("Mon, 2026/03/02 10:00:00 EST", datetime(2026, 3, 2, 15, tzinfo=UTC)),
        ("Mon, 2026/23/02 10:00:00 EST", None),
    ],
)
def test_dates_become_instants_or_nothing(words, instant, world):
    world.serve(rss(f"<item><guid>1</guid><title>t</title><pubDate>{words}</pubDate></item>"))
    connector = world.connector()
    [ref] = listed(connector)[0]
    assert ref.changed_at == instant
    assert connector.read(ref).modified_at == instant


def test_updated_counts_before_published(world):
    dates = "<published>2026-01-01T00:00:00Z</published><updated>2026-02-01T00:00:00Z</updated>"
    world.serve(atom(f"<entry><id>1</id><title>t</title>{dates}</entry>"))
    assert listed(world.connector())[0][0].changed_at == datetime(2026, 2, 1, tzinfo=UTC)
    dates = {"date_published": "2026-01-01T00:00:00+02:00", "date_modified": "2026-02-01T00:00:00"}
    feed = {"version": "https://jsonfeed.org/version/1.1", "items": [{"id": 7, "title": "t", **dates}]}
    world.serve(json.dumps(feed).encode())
    [ref] = listed(world.connector())[0]
    assert (ref.document_id, ref.changed_at) == ("7", datetime(2026, 2, 1, tzinfo=UTC))


# Ids


def test_ids_are_printable_and_no_two_keys_share_one():
    keys = [
        "a%b",
        "a%25b",
        "a\nb",
        "a%0Ab",
        "a\x00b",
        "a\u202eb",
        "a\ud800b",
        "a\u2028b",
        "ä ö",
        "a" * 5000,
        "a" * 5001,
    ]
    ids = [document_id(key) for key in keys]
    assert len(set(ids)) == len(keys)
    assert ids[2] == "a%0Ab"
    assert ids[8] == "ä ö"
    assert all(name.isprintable() and len(name) <= 1000 for name in ids)


def test_a_guid_is_taken_as_it_stands_and_is_a_link_only_if_it_looks_like_one(world):
    """Resolved against the feed's address it would change, and every id with it, when the feed moves."""
    world.serve(rss(item("17", "a"), item("http://x.example/18", "b")))
    found = documents(world.connector())
    assert {name: document.uri for name, document in found.items()} == {
        "17": world.server.url("/feed"),
        "http://x.example/18": "http://x.example/18",
    }


def test_an_entry_without_a_guid_is_known_by_link_and_without_a_link_by_content(world):
    world.serve(rss(item(None, "a", "http://x.example/a"), item(None, "b", None, "B"), item(None, "", None, None)))
    by_link, by_hash = [ref.document_id for ref in listed(world.connector())[0]]
    assert by_link == "http://x.example/a"
    assert by_hash.startswith("sha256:")


def test_entries_that_share_a_guid_are_told_apart_by_link_then_by_content(world):
    world.serve(
        rss(
            item("same", "a", "http://x.example/a"),
            item("same", "b", "http://x.example/b"),
            item("twice", "c", "http://x.example/c"),
            item("twice", "d", "http://x.example/c"),
            item("equal", "e"),
            item("equal", "e"),
            item("own", "f"),
        )
    )
    found = documents(world.connector())
    assert len(found) == 6
    assert {"same http://x.example/a", "same http://x.example/b", "own"} <= set(found)
    assert {document.content for document in found.values()} == {b"a", b"b", b"c", b"d", b"e", b"f"}


def test_the_order_of_entries_in_the_feed_does_not_matter(world):
    items = [item("twice", "c"), item("twice", "d"), item("own", "f")]
    world.serve(rss(*items))
    forth = listed(world.connector())[0]
    world.serve(rss(*reversed(items)))
    assert listed(world.connector())[0] == forth


def test_new_guids_for_old_entries_show_by_their_identity(world):
    """A feed that makes up new guids must cost no new embeddings: the entry moved."""
    world.serve(rss(item("1", "text", "http://x.example/a"), item("2", "other", "http://x.example/b")))
    before = listed(world.connector())[0]
    world.serve(rss(item("8", "text", "http://x.example/a"), item("9", "other", "http://x.example/b")))
    after = listed(world.connector())[0]
    assert [ref.identity for ref in after] == [ref.identity for ref in before]
    assert before[0].identity != before[1].identity
    assert before[0].document_id != after[0].document_id


def test_an_entry_edited_in_place_shows_and_its_neighbour_does_not(world):
    world.serve(rss(item("1", "old"), item("2", "same")))
    connector = world.connector()
    before, report = listed(connector)
    world.serve(rss(item("1", "new"), item("2", "same")))
    after, _ = listed(connector, report.cursor)
    assert before[0].fingerprint != after[0].fingerprint
    assert before[1] == after[1]
    assert connector.read(before[0]).content == b"new"
    assert connector.read(before[0]).ref == after[0]


# Polling


def test_nothing_is_listed_or_parsed_when_the_server_says_304(world):
    world.server.on("/feed", etag_keeper(rss(item("1"))))
    connector = world.connector()
    refs, first = listed(connector)
    assert (len(refs), first.is_complete) == (1, True)
    refs, second = listed(connector, first.cursor)
    assert (refs, second.is_complete) == ([], True)
    refs, third = listed(connector, second.cursor)
    assert (refs, third.is_complete) == ([], True)
    asked = world.server.asked("/feed")
    assert [request.headers.get("if-none-match") for request in asked] == [None, '"1"', '"1"']
    assert asked[2].headers["if-modified-since"] == "Sun, 01 Mar 2026 10:00:00 GMT"


def test_a_cursor_that_was_not_kept_means_a_full_fetch(world):
    """After a crash before the batch was applied the old cursor, or none, comes back."""
    world.server.on("/feed", etag_keeper(rss(item("1"))))
    connector = world.connector()
    listed(connector)
    assert len(listed(connector, None)[0]) == 1
    assert len(listed(connector, "not a cursor")[0]) == 1
    assert len(listed(connector, '{"version":1,"odd":2}')[0]) == 1


def test_the_same_bytes_without_validators_are_nothing_new(world):
    world.serve(rss(item("1")))
    connector = world.connector()
    _, report = listed(connector)
    refs, report = listed(connector, report.cursor)
    assert (refs, report.is_complete) == ([], True)


def test_every_tenth_poll_asks_for_everything(world):
    """A server that answers 304 for ever does not hide a change for ever."""
    world.server.on("/feed", etag_keeper(rss(item("1"))))
    connector, cursor = world.connector(), None
    for _ in range(2 * POLLS_PER_UNCONDITIONAL):
        cursor = listed(connector, cursor)[1].cursor
    full = [n for n, request in enumerate(world.server.asked("/feed")) if "if-none-match" not in request.headers]
    assert full == [0, 9, 19]


def test_another_url_in_the_config_starts_afresh(world):
    world.server.on("/feed", etag_keeper(rss(item("1"))))
    world.server.on("/other", etag_keeper(rss(item("1"))))
    _, report = listed(world.connector())
    assert len(listed(world.connector(url=world.server.url("/other")), report.cursor)[0]) == 1


@pytest.mark.parametrize("status", [301, 308])
def test_a_permanent_redirect_is_believed_after_three_same_answers_and_left_when_it_fails(status, world):
    world.server.on("/feed", Reply(status, headers={"Location": "/new"}))
    world.server.on("/new", Reply(200, rss(item("1")), RSS))
    connector, cursor = world.connector(), None
    for _ in range(SAME_ANSWERS_TO_MOVE + 2):
        cursor = listed(connector, cursor)[1].cursor
    assert len(world.server.asked("/feed")) == SAME_ANSWERS_TO_MOVE
    assert len(world.server.asked("/new")) == SAME_ANSWERS_TO_MOVE + 2
    world.server.on("/new", Reply(500))
    world.server.on("/feed", Reply(200, rss(item("2")), RSS))
    with pytest.raises(SourceUnavailable):
        listed(connector, cursor)
    assert [ref.document_id for ref in listed(connector, cursor)[0]] == ["2"]


def test_a_temporary_redirect_or_one_with_a_query_is_never_kept(world):
    """The cursor lies in the ledger, and a query may hold a secret."""
    world.server.on("/new", Reply(200, rss(item("1")), RSS))
    temporary, secret = [(status, "/new") for status in (302, 303, 307)], (301, "/new?key=s3cret")
    for status, location in (*temporary, secret):
        world.server.on("/feed", Reply(status, headers={"Location": location}))
        connector, cursor = world.connector(url=world.server.url("/feed?token=t0ken")), None
        for _ in range(SAME_ANSWERS_TO_MOVE + 1):
            cursor = listed(connector, cursor)[1].cursor
            assert "s3cret" not in cursor
            assert "t0ken" not in cursor
    assert len(world.server.asked("/feed")) == 4 * (SAME_ANSWERS_TO_MOVE + 1)


def test_the_wishes_of_server_and_feed_are_passed_on(world):
    world.serve(rss(item("1"), head="<ttl>60</ttl>"), {**RSS, "Cache-Control": "max-age=300"})
    connector = world.connector()
    _, report = listed(connector)
    assert report.not_before == NOW + timedelta(minutes=60)
    assert listed(connector, report.cursor)[1].not_before == NOW + timedelta(minutes=60)
    world.serve(rss(item("1"), head="<ttl>soon</ttl>"), {**RSS, "Cache-Control": "max-age=300"})
    assert listed(world.connector())[1].not_before == NOW + timedelta(minutes=5)
    world.serve(rss(item("1"), head="<ttl>999999</ttl>"))
    assert listed(world.connector())[1].not_before == NOW + timedelta(hours=24)


# What is no feed, or only part of one


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<!doctype html><html><body><form>Log in</form></body></html>", HTML),
        (b"<html><head><title>x</title></head><body><p>unclosed", HTML),
        (b"", RSS),
        (b"   ", RSS),
        (b"just text", {"Content-Type": "text/plain"}),
        (b"/etc/passwd", RSS),
        (b"\x89PNG\r\n\x1a\n\x00\x00", {"Content-Type": "image/png"}),
        (b"{}", RSS),
        (b'{"version": "2", "items": []}', {"Content-Type": "application/json"}),
        (b'{"version": "https://jsonfeed.org/version/1", "items": {}}', RSS),
        (b'{"version": "https://jsonfeed.org/version/1", "items": [{"id": "1', RSS),
        (b'{"version": ' + b"[" * 200_000, RSS),
        (b'{"version": "https://jsonfeed.org/version/1", "items": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", RSS),
        (b'{"version": ' + b"9" * 50_000 + b"}", RSS),
        (b"[]", {"Content-Type": "application/feed+json"}),
        (b"\xff\xfe\x00", {"Content-Type": "application/feed+json"}),
        (b"<rss " + b" ".join(b'a%d="1"' % n for n in range(20_000)) + b"></rss>", RSS),
    ],
)
def test_what_is_no_feed_is_a_failure_and_never_an_empty_feed(body, headers, world):
    world.serve(body, headers)
    with pytest.raises(SourceUnavailable) as caught:
        listed(world.connector())
    assert f"{len(body)} bytes" in str(caught.value)
    assert "expected RSS, Atom or JSON Feed" in str(caught.value)
    assert caught.value.hint


def test_an_empty_feed_is_complete_and_proves_nothing(world):
    world.serve(rss())
    connector = world.connector()
    refs, report = listed(connector)
    assert (refs, report.is_complete) == ([], True)
    assert connector.coverage is Coverage.WINDOW
    assert not connector.is_gone(document_id("1"))


@pytest.mark.parametrize("cut", [-20, -40, -len("</item></channel></rss>"), -len("</channel></rss>"), -3])
def test_a_cut_feed_gives_its_whole_entries_and_is_fetched_again(cut, world):
    whole = rss(*(item(str(n), f"text {n}") for n in range(5)))
    world.server.on("/feed", Reply(200, whole[:cut], {**RSS, "ETag": '"1"'}))
    connector = world.connector()
    refs, report = listed(connector)
    assert [ref.document_id for ref in refs] == ["0", "1", "2", "3"]
    assert not report.is_complete
    got = f"got {len(whole[:cut])} bytes that break off, expected them to end with </rss>"
    assert report.reason == report.shortfall == f"{world.server.url('/feed')}: {got}"
    world.server.on("/feed", etag_keeper(whole))
    refs, report = listed(connector, report.cursor)
    assert (len(refs), report.is_complete, report.shortfall) == (5, True, None)


def test_a_flawed_feed_that_is_there_to_its_end_is_complete(world):
    world.serve(rss(item("1", "a &nbsp; b & c"), item("2", "<b>unclosed")) + b"\n<!-- made by hand -->\n")
    refs, report = listed(world.connector())
    assert [ref.document_id for ref in refs] == ["1", "2"]
    assert report.is_complete


def test_an_entity_bomb_does_not_go_off_and_files_are_not_read(world):
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE rss [<!ENTITY e0 "lolololololol">{levels}<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    world.serve(rss(item("1", "&e9;"), item("2", "&f;")).replace(b"?>", b"?>" + bomb.encode(), 1))
    found = documents(world.connector())
    assert all(len(document.content) < 100 for document in found.values())
    assert not any(b"root" in document.content for document in found.values())


def test_a_longer_feed_than_allowed_is_not_complete(world):
    world.serve(rss(*(item(str(n)) for n in range(5))))
    refs, report = listed(world.connector(max_entries=3))
    assert (len(refs), report.is_complete) == (3, False)
    assert str(report.reason).endswith("/feed: got 5 entries, expected at most 3")
    assert report.hint == "raise max_entries of the source"


def test_a_larger_feed_than_allowed_is_refused(world):
    world.serve(rss(item("1", "x" * 5000)))
    with pytest.raises(SourceUnavailable, match="larger than 1000 bytes"):
        listed(world.connector(max_feed_bytes=1000))


@pytest.mark.parametrize("status", [404, 410])
def test_a_feed_that_is_gone_is_a_source_that_does_not_answer(status, world):
    """Its documents stay; 410 is meant, so nobody asks again, and freshd says so."""
    connector = world.connector()
    for n in range(1, 4):
        world.server.on("/feed", Reply(status))
        with pytest.raises(SourceUnavailable, match=str(status)) as caught:
            listed(connector)
        assert ("not asked again" in str(caught.value)) == (status == 410)
        assert "correct `url`" in caught.value.hint
        assert caught.value.not_before == (NOW + timedelta(hours=24) if status == 410 else None)
        assert len(world.server.requests) == (1 if status == 410 else n)
    world.serve(rss(item("1")))
    assert len(listed(world.restarted())[0]) == 1


def declared(dtd: str, text: str) -> bytes:
    return rss(item("1", text)).replace(b"?>", b"?>" + dtd.encode(), 1)


BOMBS = {
    "billion laughs": lambda _: declared(
        '<!DOCTYPE x [<!ENTITY e0 "lol">'
        + "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
        + "]>",
        "&e9;",
    ),
    "quadratic": lambda _: declared(f'<!DOCTYPE x [<!ENTITY e "{"a" * 100_000}">]>', "&e;" * 20_000),
    "parameter entity": lambda url: declared(f'<!DOCTYPE x [<!ENTITY % e SYSTEM "{url}"> %e;]>', "x"),
    "external entity": lambda url: declared(f'<!DOCTYPE x [<!ENTITY e SYSTEM "{url}">]>', "&e;"),
    "external file": lambda _: declared('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>', "&e;"),
    "external DTD": lambda url: declared(f'<!DOCTYPE x SYSTEM "{url}">', "&e;"),
    "no end of tags": lambda _: b'<rss version="2.0"><channel>' + b"<a>" * 1_100_000,
    "deep": lambda _: rss("<item>" + "<a>" * 3_000 + "</a>" * 3_000 + "</item>"),
    "deep JSON": lambda _: b'{"version":"https://jsonfeed.org/version/1.1","items":' + b"[" * 1_000_000,
    "a number of 100,000 digits": lambda _: (
        b'{"version":"https://jsonfeed.org/version/1.1","items":[{"id":' + b"9" * 100_000 + b"}]}"
    ),
    # What a pattern takes the square of its length for, or more: each is nearly as long as an answer may be.
    "comments behind the end": lambda _: rss(item("1", "&nbsp;")) + b"<!---->" * 500 + b"x",
    "declarations that do not end": lambda _: b"<!DOCTYPE[" * 400_000,
    "declarations in a row": lambda _: b"\n<!DOCTYPE" * 400_000 + rss(item("1", "x")).partition(b"?>")[2],
    "instructions that do not end": lambda _: b"<?" * 900_000,
    "comments that do not end": lambda _: b"<!--" * 900_000,
    "blank lines before the first element": lambda _: b"\n" * 4_000_000 + rss(item("1", "x")),
    "encodings without end": lambda _: b"<?" + b"encoding='x'" * 400_000 + rss(item("1", "x")).partition(b"?>")[2],
    "encodings in one line": lambda _: b"<?xml version='1.0'?>" + rss(item("1", "encoding='x'" * 8_000)),
    "an author whose name does not end": lambda _: rss(
        f"<item><guid>1</guid><title>x</title><author>{'a' * 4_000_000}</author></item>"
    ),
    "letters that name other letters": lambda _: b"<?xml version='1.0' encoding='punycode'?>-" + b"a" * 4_000_000,
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_feed_that_is_made_to_explode_or_to_fetch_does_neither(bomb, encoding, world):
    """In seconds and little memory it is refused, or read without what it declares; nothing else is asked for."""
    with ScriptedServer() as canary:
        canary.on("/x", Reply(200, b"<!ENTITY e 'root:x:0:0'>"))
        world.serve(BOMBS[bomb](canary.url("/x")).decode().encode(encoding))
        began_s, peak_kib = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found: dict[str, Document] = {}
        with contextlib.suppress(SourceUnavailable):
            found = documents(world.connector())
        assert time.process_time() - began_s < 20
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_kib < 64 << 10
        assert sum(len(document.content) for document in found.values()) < 100_000
        assert not any(b"root:" in document.content for document in found.values())
        assert canary.connections == 0


def test_old_declarations_are_left_out_and_what_a_text_says_of_entities_stays(world):
    dtd = (
        '<!DOCTYPE rss [<!ENTITY % HTMLlat1 PUBLIC "-//W3C//ENTITIES Latin 1 for XHTML//EN" "http://x.example/l.ent">]>'
    )
    world.serve(declared(dtd, "caf&eacute; <![CDATA[<pre><!ENTITY a></pre>]]>"))
    (found,) = documents(world.connector()).values()
    assert found.content.decode() == "café <pre>&lt;!ENTITY a></pre>"


@pytest.mark.parametrize(
    "before",
    [
        "\n\n<?xml version='1.0' encoding='windows-1252'?>\n\n\n",
        "<?xml version='1.0' encoding='windows-1252'?><?xml-stylesheet href='<a>'?><!-- <rss> by > hand -->",
        "<?xml version='1.0' encoding='windows-1252'?><!DOCTYPE rss [<!ENTITY a '<b>'> <!-- ] > --> ] > \n",
        "<?xml version='1.0' encoding='windows-1252'?><!DOCTYPE rss SYSTEM 'http://x.example/rss.dtd'>",
    ],
)
def test_what_stands_before_the_first_element_is_left_out(before, world):
    world.serve((before + rss(item("1", "Grüße – “x”")).decode().partition("?>")[2]).encode("windows-1252"))
    connector = world.connector()
    refs, report = listed(connector)
    assert [connector.read(ref).content.decode() for ref in refs] == ["Grüße – “x”"]
    assert report.is_complete


@pytest.mark.parametrize("control", ["&#2;", "&#0;", "\x02", "\0"])
def test_a_control_character_does_not_make_an_entry_binary(control, world):
    """Pasted from a word processor, or left over by a program; nobody sees it."""
    world.serve(rss(item("1", f"Hello {control}you", title=f"A{control} title")))
    [document] = documents(world.connector()).values()
    assert (document.title, document.content) == ("A title", b"Hello you")
    assert Parsers().parse(document).text == "Hello you"
    said = {"id": "1", "title": "A\0 title", "content_text": "Hello \2you"}
    world.serve(json.dumps({"version": "https://jsonfeed.org/version/1.1", "items": [said]}).encode())
    [document] = documents(world.restarted()).values()
    assert (document.title, document.content) == ("A title", b"Hello you")


def test_a_character_cut_in_two_costs_itself_and_nothing_else(world):
    """As a program that counts bytes shortens a text."""
    whole = rss(item("1", "Grüße – “x”") + item("2", "Öl und Übermut"))
    world.serve(whole.replace("Ü".encode(), b"\xc3"))
    found = [document.content.decode() for document in documents(world.connector()).values()]
    assert found == ["Grüße – “x”", "Öl und Ãbermut"]


def test_an_entry_in_another_charset_than_its_feed_is_read_as_western(world):
    """As one that collects other feeds takes them over."""
    world.serve(rss(item("1", "Grüße – “x”" * 9), item("2", "CAFÉ")).replace("É".encode(), b"\xc9"))
    assert [one.content.decode() for one in documents(world.connector()).values()] == ["Grüße – “x”" * 9, "CAFÉ"]


def test_a_feed_of_broken_bytes_alone_takes_no_longer_than_another(world):
    world.serve(rss(item("1", "x")).replace(b"x<", b"\xff\xc3\xa4" * 1_000_000 + b"<"))
    began_s = time.process_time()
    assert len(documents(world.connector())) == 1
    assert time.process_time() - began_s < 20


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("&#55357;&#56832;", "\N{GRINNING FACE}"),
        ("&#xD83D;&#xde00;", "\N{GRINNING FACE}"),
        ("&#56832;", "\N{REPLACEMENT CHARACTER}"),
        ("&#1114112;", "\N{REPLACEMENT CHARACTER}"),
        ("&#x110000;", "\N{REPLACEMENT CHARACTER}"),
        (f"&#{'9' * 5_000};", "\N{REPLACEMENT CHARACTER}"),
        ("&#0065;", "A"),
    ],
)
def test_a_reference_to_half_a_character_or_to_none_costs_no_feed(reference, text, world):
    """Programs that count in UTF-16 write an emoji so; the parser for flawed feeds raises on it."""
    world.serve(rss(item("1", f"Hello {reference}"), item("2", "neighbour")))
    connector = world.connector()
    refs, report = listed(connector)
    assert [connector.read(ref).content.decode() for ref in refs] == [f"Hello {text}", "neighbour"]
    assert report.is_complete


@pytest.mark.parametrize(
    ("label", "codec", "text"),
    [
        ("Shift_JIS", "cp932", "①髙い山"),
        ("x-sjis", "cp932", "高い山"),
        ("gbk", "gb18030", "㐂山"),
        ("euc-kr", "cp949", "똠방"),
    ],
)
def test_a_charset_of_the_east_is_read_as_what_is_written_in_its_name(label, codec, text, world):
    world.serve(rss(item("1", text)).decode().replace("?>", f' encoding="{label}"?>').encode(codec))
    assert [one.content.decode() for one in documents(world.connector()).values()] == [text]


@pytest.mark.parametrize("title", ["C: <![1] trick", "<![ b", "<![foo[ b", "<b>x</b> <![1"])
@pytest.mark.parametrize("dialect", [atom, rss])
def test_a_title_that_python_takes_for_broken_markup_costs_no_feed(dialect, title, world):
    """Its parser of HTML raises on it, where browsers see a comment."""
    escaped = title.replace("<", "&lt;")
    entries = {
        atom: f'<entry><id>1</id><title type="html">{escaped}</title></entry>'
        '<entry><id>2</id><title type="html">fine</title></entry>',
        rss: item("1", title=escaped) + item("2", title="fine"),
    }
    world.serve(dialect(entries[dialect]))
    assert [document.title for document in documents(world.connector()).values()] == [title, "fine"]


@pytest.mark.parametrize(
    "extra",
    [
        '<pos xmlns="http://www.opengis.net/gml">45.2 -71.9</pos>',
        '<point xmlns="http://www.georss.org/georss">45.2 -71.9</point>',
        '<chapters xmlns="http://podlove.org/simple-chapters"><chapter title="One"/></chapters>',
        '<license xmlns="http://backend.userland.com/creativeCommonsRssModule"/>',
    ],
)
def test_what_nobody_asks_an_entry_for_costs_no_feed_however_it_is_said(extra, world):
    world.serve(rss(item("1", "one").replace("</item>", f"{extra}<title>One</title></item>"), item("2", "two")))
    found = documents(world.connector())
    assert [(one.title, one.content.decode()) for one in found.values()] == [("One", "one"), (None, "two")]


def test_an_entry_that_cannot_be_made_is_the_feeds_failure_and_not_ours(world, monkeypatch):
    def stumbles(*_: object) -> None:
        raise AssertionError("we should not get here!")

    monkeypatch.setattr(formats, "_title", stumbles)
    world.serve(rss(item("1")))
    with pytest.raises(SourceUnavailable, match="cannot be parsed: AssertionError"):
        listed(world.connector())


def test_a_feed_of_100_000_entries_is_bounded_and_said_to_be_longer(world):
    items = [{"id": str(n), "content_text": "x"} for n in range(100_000)]
    world.serve(json.dumps({"version": "https://jsonfeed.org/version/1.1", "items": items}).encode())
    refs, report = listed(world.connector())
    assert (len(refs), report.is_complete) == (50_000, False)
    assert "expected at most 50,000" in str(report.reason)


def test_ten_thousand_entries_are_listed_and_read(world):
    feed = {
        "version": "https://jsonfeed.org/version/1.1",
        "items": [{"id": str(n), "content_text": f"text {n}"} for n in range(10_000)],
    }
    world.serve(json.dumps(feed).encode())
    connector = world.connector()
    refs, report = listed(connector)
    assert (len(refs), report.is_complete) == (10_000, True)
    assert {connector.read(ref).content for ref in refs} == {f"text {n}".encode() for n in range(10_000)}
    assert len(world.server.requests) == 1


def test_hostile_values_in_json_do_no_harm(world):
    items = [
        {"id": "a\ud800", "title": "b\udfff\n<i>", "content_text": "c\ud800"},
        {"id": True, "title": ["x"], "content_html": {"a": 1}, "url": "http://[", "date_modified": "2026-99"},
        {"id": 1e400, "title": "big", "date_published": 5},
        {"id": "t" * 9000, "title": "t" * 9000},
    ]
    feed = {"version": "https://jsonfeed.org/version/1.1", "items": items}
    world.serve(json.dumps(feed).encode())
    found = documents(world.connector())
    assert len(found) == 3
    assert found["a%ED%A0%80"].content == b"c?"
    assert found["a%ED%A0%80"].title == "b? <i>"
    assert max(len(document.title or "") for document in found.values()) == 500


# Reading


def test_an_entry_is_read_from_memory_and_always_the_same(world):
    world.serve(rss(item("1", "text", "http://x.example/1", "One")))
    connector = world.connector()
    [ref] = listed(connector)[0]
    assert connector.read(ref) == connector.read(ref)
    assert connector.read(ref) == world.restarted().read(ref)
    assert connector.read(ref).ref == ref
    assert len(world.server.requests) == 2


def test_after_a_restart_the_feed_is_fetched_once_for_all_entries(world):
    world.server.on("/feed", etag_keeper(rss(item("1", "a"), item("2", "b"))))
    connector = world.connector()
    refs, report = listed(connector)
    again = world.restarted()
    assert listed(again, report.cursor)[0] == []
    assert [again.read(ref).content for ref in refs] == [b"a", b"b"]
    assert len(world.server.requests) == 3


def test_an_entry_that_rolled_off_is_gone_after_one_look(world):
    world.serve(rss(item("1")))
    connector = world.connector()
    [old] = listed(connector)[0]
    world.serve(rss(item("2")))
    listed(connector)
    for _ in range(3):
        with pytest.raises(DocumentGone, match="rolled off"):
            connector.read(old)
    assert len(world.server.requests) == 2
    world.clock.monotonic_s += FRESH_S + 1
    world.serve(rss(item("1"), item("2")))
    assert connector.read(old).ref == old


def test_a_read_while_the_feed_is_down_says_so(world):
    world.server.on("/feed", Reply(500))
    with pytest.raises(SourceUnavailable, match="500"):
        world.connector().read(DocumentRef(document_id("1"), ""))


def test_a_scope_is_one_entry_out_of_memory_or_out_of_the_feed(world):
    world.serve(rss(item("a"), item("a/b"), item("ab")))
    refs, report = listed(world.connector(), "kept", scope="a")
    assert [ref.document_id for ref in refs] == ["a", "a/b"]
    assert (report.is_complete, report.cursor) == (True, "kept")
    connector = world.connector()
    listed(connector)
    asked = len(world.server.requests)
    assert [ref.document_id for ref in listed(connector, scope="ab")[0]] == ["ab"]
    assert listed(connector, scope="absent")[0] == []
    assert len(world.server.requests) == asked


def test_entries_are_read_while_the_feed_is_listed(world):
    """No read sees a half-filled window, whatever the listing does meanwhile."""
    bodies = [rss(*(item(str(n), f"{turn} {n}") for n in range(20))) for turn in "ab"]
    world.server.on("/feed", *([Reply(200, body, RSS) for body in bodies] * 15))
    connector = world.connector()
    refs, report = listed(connector)
    done = threading.Event()

    def read_all() -> int:
        turns = 0
        while not done.is_set() or not turns:
            assert all(connector.read(ref).content.split()[1].decode() == ref.document_id for ref in refs)
            turns += 1
        return turns

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read_all) for _ in range(3)]
        try:
            for _ in range(20):
                _, report = listed(connector, report.cursor)
        finally:
            done.set()
        assert all(reader.result() for reader in readers)


# Linked pages


PAGE = b"""<html><head><title>Page</title></head><body><nav><a href="/">Home</a> <a href="/x">Other</a></nav><article>
<h1>The heading</h1><p>This paragraph is the reason why anybody came here, and it is long enough to be told from a menu.
It goes on for a second sentence, as paragraphs of real articles do.</p><h2>A part</h2><p>The second paragraph says more
about the part, again at a length that only running text has, so that it is found.</p></article>
<footer>Imprint, privacy, cookies</footer></body></html>"""


def test_a_linked_page_is_read_for_its_main_text(world):
    world.serve(rss(item("1", "teaser", world.server.on("/page", Reply(200, PAGE, HTML)), "One")))
    [document] = documents(world.connector(follow_links=True)).values()
    assert b"<h2>A part</h2>" in document.content
    assert b"second paragraph" in document.content
    assert b"Home" not in document.content
    assert (document.media_type, document.encoding, document.title) == ("text/html", "utf-8", "One")
    assert document.uri == world.server.url("/page")


def test_a_page_without_a_main_text_is_taken_whole(world):
    page = b"<html><body></body></html>"
    world.serve(rss(item("1", "teaser", world.server.on("/page", Reply(200, page, HTML)))))
    [document] = documents(world.connector(follow_links=True)).values()
    assert document.content == page


def test_what_is_linked_but_no_page_leaves_the_entry_as_it_is(world):
    world.server.on("/podcast.mp3", Reply(200, b"ID3", {"Content-Type": "audio/mpeg"}))
    world.serve(rss(item("1", "teaser", world.server.url("/podcast.mp3")), item("2", "no link")))
    found = documents(world.connector(follow_links=True))
    assert [document.content for document in found.values()] == [b"teaser", b"no link"]


@pytest.mark.parametrize("status", [404, 500])
def test_a_page_that_cannot_be_fetched_is_one_unreadable_document(status, world):
    world.serve(rss(item("1", "a", world.server.on("/page", Reply(status))), item("2", "b")))
    connector = world.connector(follow_links=True)
    first, second = listed(connector)[0]
    with pytest.raises(DocumentUnreadable, match=f"1: .*{status}"):
        connector.read(first)
    assert connector.read(second).content == b"b"


@pytest.mark.parametrize("port", ["99999", "here", "-1"])
def test_a_link_to_no_port_is_one_unreadable_document(port, world):
    world.serve(rss(item("1", "a", f"http://x.example:{port}/page"), item("2", "b")))
    connector = world.connector(follow_links=True)
    first, second = listed(connector)[0]
    with pytest.raises(DocumentUnreadable, match=r"not a URL|refused"):
        connector.read(first)
    assert connector.read(second).content == b"b"


def test_a_link_does_not_lead_where_the_source_may_not_go(world):
    with ScriptedServer() as inside:
        world.serve(rss(item("1", "a", inside.url("/admin"))))
        connector = world.connector(follow_links=True)
        with pytest.raises(DocumentUnreadable, match="refused"):
            connector.read(listed(connector)[0][0])
        assert inside.connections == 0


# Options


def test_the_connector_is_what_the_entry_point_promises(world):
    connector_type: ConnectorType = FeedConnector
    assert connector_type.Options is FeedOptions
    connector = world.connector()
    connector.close()
    connector.close()
    assert world.server.connections == 0


def test_headers_come_from_the_environment_and_stay_at_the_feeds_origin(world, monkeypatch):
    monkeypatch.setenv("FEED_WORD", "s3cret")
    with ScriptedServer() as other:
        world.serve(rss(item("1", "a", world.server.url("/page")), item("2", "b", other.url("/page"))))
        world.server.on("/page", Reply(200, PAGE, HTML))
        other.on("/page", Reply(200, PAGE, HTML))
        hosts = [world.server.host, other.host]
        headers = {"Authorization": "Bearer ${FEED_WORD}", "X-Plain": "a ${FEED_WORD}b$"}
        documents(world.connector(headers=headers, follow_links=True, allow_private_hosts=hosts))
        assert [request.headers["authorization"] for request in world.server.requests] == ["Bearer s3cret"] * 2
        assert world.server.requests[0].headers["x-plain"] == "a s3cretb$"
        assert "authorization" not in other.requests[0].headers


def test_a_variable_that_is_not_set_or_cannot_be_sent_names_the_key(world, monkeypatch):
    monkeypatch.delenv("FEED_WORD", raising=False)
    with pytest.raises(ConfigError, match=r"source 'news': headers.X-Key: environment variable FEED_WORD") as caught:
        world.connector(headers={"X-Key": "${FEED_WORD}"})
    assert caught.value.hint == "export FEED_WORD=…"
    monkeypatch.setenv("FEED_WORD", "hunter2\r\nHost: evil")
    with pytest.raises(ConfigError, match="printable ASCII") as caught:
        world.connector(headers={"X-Key": "${FEED_WORD}"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://x.example/"},
        {"url": "feed.xml"},
        {"url": "http://"},
        {"url": "http://x.example:99999/"},
        {"url": "http://x.example:here/"},
        {"url": "http://me:hunter2@x.example/"},
        {"headers": {"Host": "evil.example"}},
        {"headers": {"a b": "c"}},
        {"headers": {"a\r\nb": "c"}},
        {"allow_private_hosts": ["127.0.0.1"]},
        {"allow_private_hosts": ["http://127.0.0.1:80"]},
        {"max_feed_bytes": 0},
        {"keep_for": "1d"},
    ],
)
def test_a_wrong_option_is_refused_and_no_secret_quoted(wrong):
    with pytest.raises(ValidationError) as caught:
        FeedOptions.model_validate({"url": "http://x.example/", **wrong})
    assert "hunter2" not in str(caught.value)


def test_private_hosts_may_be_names_and_ipv6_addresses():
    hosts = ("127.0.0.1:8000", "localhost:80", "[::1]:8000")
    assert FeedOptions(url="http://x.example/", allow_private_hosts=hosts).allow_private_hosts == hosts
