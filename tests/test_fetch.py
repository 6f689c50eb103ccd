"""Guarded HTTP against a real server on loopback; only the resolver and the last step of connecting are ours."""

import gzip
import socket
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from urllib.parse import quote

import httpx
import pytest
import stamina

from freshd.errors import DocumentGone, SourceUnavailable
from freshd.fetch import HttpxFetcher, display_url
from freshd.fetch.answers import fresh_until, retry_after
from freshd.fetch.client import MAX_REDIRECTS
from tests.kit.network import NOW, FixedClock
from tests.scripted_server import Reply, ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def fetcher(server: ScriptedServer) -> HttpxFetcher:
    return HttpxFetcher(FixedClock(), [server.host], deadline_s=60.0)


@pytest.fixture(autouse=True)
def _retries_do_not_wait() -> Iterator[None]:
    """Keep the number of attempts, drop the pauses between them."""
    stamina.set_testing(True, attempts=3)
    yield
    stamina.set_testing(False)


def refusal(fetcher: HttpxFetcher, url: str, **asked: object) -> SourceUnavailable:
    with pytest.raises(SourceUnavailable) as caught:
        fetcher.fetch(url, **asked)
    assert "\n" not in str(caught.value)
    return caught.value


# Answers


def test_a_plain_answer_arrives_with_what_the_server_says_of_it(server, fetcher):
    headers = {
        "Content-Type": 'Text/XML; Charset="Windows-1252"',
        "ETag": 'W/"a"',
        "Last-Modified": "Sun, 01 Mar 2026 10:00:00 GMT",
        "Cache-Control": "public, max-age=600",
    }
    got = fetcher.fetch(server.on("/feed", Reply(200, b"<rss/>", headers)))
    assert (got.status, got.content, got.media_type, got.encoding) == (200, b"<rss/>", "text/xml", "windows-1252")
    assert (got.etag, got.last_modified) == ('W/"a"', "Sun, 01 Mar 2026 10:00:00 GMT")
    assert got.not_before == NOW + timedelta(minutes=10)
    assert (got.url, got.permanent_url) == (server.url("/feed"), None)
    assert server.requests[0].headers["accept-encoding"] == "gzip"
    assert server.requests[0].headers["user-agent"].startswith("freshd/")


def test_validators_are_sent_and_304_has_no_body(server, fetcher):
    url = server.on("/", Reply(304, headers={"ETag": '"b"'}))
    got = fetcher.fetch(url, etag='"a"', last_modified="Sun, 01 Mar 2026 10:00:00 GMT")
    assert (got.status, got.content, got.etag) == (304, b"", '"b"')
    assert server.requests[0].headers["if-none-match"] == '"a"'
    assert server.requests[0].headers["if-modified-since"] == "Sun, 01 Mar 2026 10:00:00 GMT"


def test_a_304_that_nobody_asked_for_is_no_answer(server, fetcher):
    assert "answered 304" in str(refusal(fetcher, server.on("/", Reply(304))))


@pytest.mark.parametrize(("status", "words"), [(404, "404 Not Found"), (410, "410 Gone")])
def test_gone_says_which(status, words, server, fetcher):
    with pytest.raises(DocumentGone, match=words):
        fetcher.fetch(server.on("/", Reply(status)))


@pytest.mark.parametrize("status", [204, 206, 300, 400, 401, 403, 418, 429, 451, 500, 503, 511])
def test_every_other_status_is_named_and_not_tried_again(status, server, fetcher):
    assert f"answered {status}, expected 200" in str(refusal(fetcher, server.on("/", Reply(status))))
    assert len(server.requests) == 1


def test_a_refused_login_hints_at_headers(server, fetcher):
    assert "headers = { Authorization" in refusal(fetcher, server.on("/", Reply(401))).hint


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("120", timedelta(seconds=120)),
        ("0", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("9" * 5000, timedelta(hours=24)),
        ("86401", timedelta(hours=24)),
        (format_datetime(NOW + timedelta(hours=1), usegmt=True), timedelta(hours=1)),
        (format_datetime(NOW - timedelta(hours=1), usegmt=True), None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", timedelta(hours=24)),
        ("Fri, 99 Dec 2026 23:59:59 GMT", None),
        ("²", None),
    ],
)
def test_retry_after_is_obeyed_within_a_day(value, wait):
    assert retry_after(httpx.Headers([(b"retry-after", value.encode())]), NOW) == (wait and NOW + wait)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_says_when_to_come_back(status, server, fetcher):
    error = refusal(fetcher, server.on("/", Reply(status, headers={"Retry-After": "30"})))
    assert error.not_before == NOW + timedelta(seconds=30)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"cache-control": "max-age=60"}, timedelta(seconds=60)),
        ({"cache-control": 'Max-Age="60"'}, timedelta(seconds=60)),
        ({"cache-control": "max-age=60", "age": "50"}, timedelta(seconds=10)),
        ({"cache-control": "max-age=60", "age": "70"}, None),
        ({"cache-control": "max-age=0"}, None),
        ({"cache-control": "max-age=-1"}, None),
        ({"cache-control": "max-age=99999999999999"}, timedelta(hours=24)),
        ({"cache-control": "no-cache, max-age=60"}, None),
        ({"cache-control": "s-maxage=60"}, None),
        ({"expires": "Sun, 01 Mar 2026 12:05:00 GMT"}, timedelta(minutes=5)),
        (
            {"expires": "Sun, 01 Mar 2020 12:05:00 GMT", "date": "Sun, 01 Mar 2020 12:00:00 GMT"},
            timedelta(minutes=5),
        ),
        ({"expires": "0"}, None),
        ({"expires": "-1", "date": "now"}, None),
        ({}, None),
    ],
)
def test_freshness_is_read_as_the_server_means_it(headers, wait):
    """By the server's own clock where it shows one: Expires less Date, RFC 9111 section 4.2.1."""
    assert fresh_until(httpx.Headers(headers), NOW) == (wait and NOW + wait)


@pytest.mark.parametrize("etag", ["x" * 2000, "a\x7fb"])
def test_a_validator_that_cannot_be_sent_back_is_forgotten(etag, server, fetcher):
    assert fetcher.fetch(server.on("/", Reply(200, b"x", {"ETag": etag}))).etag is None


# Redirects


def test_permanent_redirects_are_reported_up_to_the_first_other_hop(server, fetcher):
    server.on("/a", Reply(301, headers={"Location": "/b"}))
    server.on("/b", Reply(308, headers={"Location": server.url("/c#part")}))
    server.on("/c", Reply(302, headers={"Location": "d"}))
    server.on("/d", Reply(301, headers={"Location": "/e"}))
    server.on("/e", Reply(200, b"hello"))
    got = fetcher.fetch(server.url("/a"))
    assert (got.content, got.url, got.permanent_url) == (b"hello", server.url("/e"), server.url("/c"))


@pytest.mark.parametrize("status", [302, 303, 307])
def test_a_temporary_redirect_is_followed_and_not_reported(status, server, fetcher):
    server.on("/a", Reply(status, headers={"Location": "/b"}))
    server.on("/b", Reply(200, b"hello"))
    assert fetcher.fetch(server.url("/a")).permanent_url is None


def test_redirects_in_a_loop_and_endless_ones_stop(server, fetcher):
    server.on("/a", Reply(302, headers={"Location": "/b"}))
    server.on("/b", Reply(302, headers={"Location": "/a#again"}))
    assert "loop" in str(refusal(fetcher, server.url("/a")))
    for step in range(20):
        server.on(f"/{step}", Reply(302, headers={"Location": f"/{step + 1}"}))
    assert "more than 5 times" in str(refusal(fetcher, server.url("/0")))
    assert len(server.requests) == 2 + 1 + MAX_REDIRECTS


def test_a_redirect_to_nowhere_is_an_error(server, fetcher):
    assert "without a Location" in str(refusal(fetcher, server.on("/", Reply(301))))


def test_headers_of_the_caller_stay_at_the_origin_they_were_meant_for(server):
    """And do not come back when a redirect comes back."""
    with ScriptedServer() as other:
        server.on("/a", Reply(302, headers={"Location": "/b", "Set-Cookie": "id=1"}))
        server.on("/b", Reply(302, headers={"Location": other.url("/c")}))
        other.on("/c", Reply(302, headers={"Location": server.url("/d")}))
        server.on("/d", Reply(200, b"hello"))
        fetcher = HttpxFetcher(FixedClock(), [server.host, other.host])
        fetcher.fetch(server.url("/a"), headers={"Authorization": "Bearer word", "X-Key": "1"}, etag='"a"')
        seen = [request.headers.get("authorization") for request in (*server.requests, *other.requests)]
        assert seen == ["Bearer word", "Bearer word", None, None]
        assert "x-key" not in other.requests[0].headers
        assert not any("cookie" in request.headers for request in server.requests)


def test_a_header_can_replace_ours_but_not_what_the_guard_relies_on(server, fetcher):
    asked = {"user-agent": "me", "Accept": "text/html", "Host": "evil.example", "Accept-Encoding": "br"}
    fetcher.fetch(server.on("/", Reply(200)), headers=asked)
    headers = server.requests[0].headers
    assert (headers["user-agent"], headers["accept"]) == ("me", "text/html")
    assert (headers["host"], headers["accept-encoding"]) == (server.host, "gzip")


# Time and size


@pytest.mark.parametrize(
    "slow",
    [Reply(200, b"x", delay_s=20), Reply(200, b"x", drip_s=0.05), Reply(200, b"x" * 1000, {"X": "y"}, drip_s=0.02)],
    ids=["silent", "drips its headers", "drips its body"],
)
def test_a_slow_server_is_left_at_the_deadline_however_busy_it_looks(slow, server):
    started = time.monotonic()
    fetcher = HttpxFetcher(FixedClock(), [server.host], deadline_s=0.5)
    assert "within 0.5 s" in str(refusal(fetcher, server.on("/", slow)))
    assert time.monotonic() - started < 18


def test_the_deadline_covers_all_hops_together(server):
    for step in range(5):
        server.on(f"/{step}", Reply(302, headers={"Location": f"/{step + 1}"}, delay_s=0.2))
    started = time.monotonic()
    refusal(HttpxFetcher(FixedClock(), [server.host], deadline_s=0.5), server.url("/0"))
    assert time.monotonic() - started < 18


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda body: zlib.compress(body)[2:-4]),
        ("identity", bytes),
        ("gzip", lambda body: gzip.compress(body[:5]) + gzip.compress(body[5:])),
    ],
    ids=["gzip", "x-gzip", "deflate", "bare deflate", "identity", "two gzip members"],
)
def test_packed_bodies_arrive_unpacked(coding, pack, server, fetcher):
    body = b"some text " * 50_000
    reply = Reply(200, pack(body), {"Content-Encoding": coding}, chunked=True)
    assert fetcher.fetch(server.on("/", reply)).content == body


def test_a_bomb_is_stopped_at_the_cap(server):
    """200 KB that unpack to 200 MB: what is held stays near the cap."""
    bomb = gzip.compress(bytes(200 * 1024 * 1024), 9)
    fetcher = HttpxFetcher(FixedClock(), [server.host], max_bytes=1024 * 1024)
    url = server.on("/", Reply(200, bomb, {"Content-Encoding": "gzip"}))
    started = time.monotonic()
    assert "larger than 1048576 bytes" in str(refusal(fetcher, url))
    assert time.monotonic() - started < 18
    assert "larger than 1024 bytes" in str(refusal(fetcher, url, max_bytes=1024))


def test_an_endless_body_is_stopped_at_the_cap(server, fetcher):
    url = server.on("/", Reply(200, b"x" * 65_536, repeat_body=100_000))
    assert "larger than 1000000 bytes" in str(refusal(fetcher, url, max_bytes=1_000_000))


def test_a_bomb_of_any_coding_and_of_many_members_is_stopped_at_the_cap(server):
    """Or not unpacked at all, where its coding was never asked for."""
    zeros = bytes(1024 * 1024)
    bombs = {"deflate": zlib.compress(zeros * 64), "gzip": gzip.compress(zeros) * 64, "br": b"\x1b" * 1_000}
    fetcher = HttpxFetcher(FixedClock(), [server.host], max_bytes=1024 * 1024)
    tracemalloc.start()
    for coding, bomb in bombs.items():
        error = refusal(fetcher, server.on("/", Reply(200, bomb, {"Content-Encoding": coding})))
        assert "larger than 1048576 bytes" in str(error) or "content coding 'br'" in str(error)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("coding", ["gzip, gzip", "br", "gzip, br", "zstd", "x" * 200])
def test_a_coding_that_was_not_asked_for_is_refused(coding, server, fetcher):
    body = gzip.compress(gzip.compress(b"x"))
    error = refusal(fetcher, server.on("/", Reply(200, body, {"Content-Encoding": coding})))
    assert "content coding" in str(error)


@pytest.mark.parametrize(
    "short",
    [
        Reply(200, b"abcdef", {"Content-Length": "100"}),
        Reply(200, b"abcdef" * 10, chunked=True, cut_at=20),
        Reply(200, gzip.compress(b"abcdef" * 99)[:-4], {"Content-Encoding": "gzip"}),
        Reply(200, gzip.compress(b"abcdef" * 99)[:12], {"Content-Encoding": "gzip", "Content-Length": None}),
        Reply(200, b"no gzip at all", {"Content-Encoding": "gzip"}),
        Reply(200, b"abc", {"Content-Length": "many"}),
        Reply(200, b"abc", {"X-Long": "y" * 200_000}),
        Reply(200, b"abc", {"X-Bad": "a\x00b"}),
    ],
    ids=["length", "chunks", "gzip end", "gzip start", "not gzip", "bad length", "huge header", "NUL in header"],
)
def test_a_short_or_broken_answer_is_a_failed_one(short, server, fetcher):
    refusal(fetcher, server.on("/", short))
    assert len(server.requests) == 1


@pytest.mark.parametrize("headers", [{"X-Long": "y" * 65_536}, {f"X-{n}": "y" * 60 for n in range(1_024)}])
def test_headers_of_more_than_64_kib_are_refused(headers, server, fetcher):
    assert "headers are larger than 65536 bytes" in str(refusal(fetcher, server.on("/", Reply(200, b"", headers))))
    assert fetcher.fetch(server.on("/", Reply(200, b"hello", {"X-Long": "y" * 65_000}))).content == b"hello"


HOSTILE_HEADERS: dict[str, dict[str, str | None]] = {
    "100 KB": {"X-Long": "y" * 100_000},
    "thousands": {f"X-{n}": "y" * 40 for n in range(3_000)},
    "ANSI in a type": {"Content-Type": "text/\x1b[31mhtml; charset=\x1b[2J"},
    "bytes in a type": {"Content-Type": "text/html; charset=\xff\xfe\xfd"},
    "bytes in a validator": {"ETag": '"\xff\xfe"', "Last-Modified": "\xe9"},
    "a charset of 10 KB": {"Content-Type": "text/html; charset=" + "u" * 10_000},
    "a line within a line": {"X-Fold": "a\r\n b"},
    "a line that forges an event": {"X-Forged": 'a\r\n{"event": "daemon_stopped"}'},
}


@pytest.mark.parametrize("hostile", HOSTILE_HEADERS)
def test_headers_made_to_harm_are_refused_or_read_as_nothing(hostile, server, fetcher):
    """Nothing of them reaches a line of the log, the parser, or the next request."""
    url = server.on("/", Reply(200, b"hello", HOSTILE_HEADERS[hostile]))
    try:
        got = fetcher.fetch(url)
    except SourceUnavailable as error:
        told = str(error)
    else:
        told = f"{got.media_type}{got.encoding}{got.etag}{got.last_modified}"
    assert told.isprintable()
    assert len(told) < 600


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_that_repeats_a_header_is_not_followed_and_not_shown(status, server, fetcher):
    """Addresses are shown and remembered; what was sent in a header is not."""
    secret = "s3cret/of-the-feed"
    for said in (secret, quote(secret), quote(secret, safe="")):
        server.on("/", Reply(status, headers={"Location": f"/x?y={said}"}))
        error = refusal(fetcher, server.url(), headers={"Authorization": f"Bearer {secret}", "Accept": "x?y="})
        assert "repeats a header" in str(error)
        assert "s3cret" not in str(error)
    assert server.asked("/x") == []


# Failures


def test_a_broken_connection_is_tried_again_at_most_twice(server, fetcher):
    broken = Reply(reset=True)
    assert fetcher.fetch(server.on("/", broken, broken, Reply(200, b"hello"))).content == b"hello"
    refusal(fetcher, server.on("/gone", broken))
    assert len(server.asked("/gone")) == 3


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateway_without_its_server_is_asked_again(status, server, fetcher):
    assert fetcher.fetch(server.on("/", Reply(status), Reply(200, b"hello"))).content == b"hello"
    assert f"answered {status}" in str(refusal(fetcher, server.on("/down", Reply(status))))
    assert len(server.asked("/down")) == 3


def test_a_closed_port_is_named_as_such(server):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
    assert "refused" in str(refusal(HttpxFetcher(FixedClock(), [host]), f"http://{host}/"))


def test_errors_never_quote_what_may_be_secret(server, fetcher):
    secrets = ("hunter2", "s3cret", "t0ken")
    url = server.on("/feed", Reply(500))
    errors = [
        refusal(fetcher, f"{url}?key=s3cret#t0ken"),
        refusal(fetcher, "http://me:hunter2@127.0.0.1/?key=s3cret"),
        refusal(fetcher, "http://me:hunter2@[::1/?key=s3cret"),
        refusal(fetcher, "nonsense://me:hunter2@host/?key=s3cret"),
        refusal(fetcher, url, headers={"Authorization": "hunter2\r\nX: y"}),
        refusal(fetcher, url, headers={"Authorization": "hunter2 é"}),
    ]
    for error in errors:
        assert not any(secret in f"{error} {error.hint} {error.__cause__}" for secret in secrets), error


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:word@example.org/a/b?key=1#c", "https://example.org/a/b?…"),
        ("http://example.org:8080/", "http://example.org:8080/"),
        ("http://[::1]:81/", "http://[::1]:81/"),
        ("http://example.org/\n\x1b[31m", "(malformed URL)"),
        ("http://[::1", "(malformed URL)"),
    ],
)
def test_shown_urls_hold_no_secrets_and_no_controls(url, shown):
    assert display_url(url) == shown
    assert len(display_url("http://example.org/" + "a" * 9000)) == 200
