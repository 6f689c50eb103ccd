"""Guarded HTTP against a real server on loopback; only the resolver and the last step of connecting are ours."""

import gzip
import re
import socket
import ssl
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpcore
import httpx
import pytest
import stamina

from freshd.errors import DocumentGone, SourceUnavailable
from freshd.fetch import HttpxFetcher, display_url
from freshd.fetch.addresses import is_public
from freshd.fetch.answers import fresh_until, retry_after
from freshd.fetch.client import MAX_REDIRECTS
from tests.scripted_server import Reply, ScriptedServer

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PUBLIC = "93.184.216.34"


class FixedClock:
    """A wall clock that stands still beside a real monotonic one: deadlines are about real sockets."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return time.monotonic()


class DetourNetwork(httpcore.SyncBackend):
    """Leads every connection to one server on loopback and notes where it was meant to go."""

    def __init__(self, port: int) -> None:
        self.meant: list[tuple[str, int]] = []
        self._port = port

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.meant.append((host, port))
        return super().connect_tcp("127.0.0.1", self._port, timeout, local_address, socket_options)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def fetcher(server: ScriptedServer) -> HttpxFetcher:
    return HttpxFetcher(FixedClock(), [server.host], deadline_s=5.0)


@pytest.fixture(autouse=True)
def _retries_do_not_wait() -> Iterator[None]:
    """Keep the number of attempts, drop the pauses between them."""
    stamina.set_testing(True, attempts=3)
    yield
    stamina.set_testing(False)


def resolving(**names: Sequence[str]) -> Callable[[str, int], Sequence[str]]:
    """Resolver that knows the given names, with `_` for a dot, and otherwise reads numbers as libc does."""
    known = {name.replace("_", "."): answers for name, answers in names.items()}

    def resolve(host: str, port: int) -> Sequence[str]:
        if host in known:
            return known[host]
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [info[4][0] for info in infos]

    return resolve


def refusal(fetcher: HttpxFetcher, url: str, **asked: object) -> SourceUnavailable:
    with pytest.raises(SourceUnavailable) as caught:
        fetcher.fetch(url, **asked)
    assert "\n" not in str(caught.value)
    return caught.value


# Where a source may reach


REFUSED_URLS = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.255.255.254/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0x0.0x0.0x1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://0/",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://10.255.255.255/",
    "http://100.64.0.1/",
    "http://100.100.100.200/latest/meta-data/",
    "http://100.127.255.255/",
    "http://168.63.129.16/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.0.0.8/",
    "http://192.168.1.1/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://239.255.255.250/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "https://127.0.0.1/",
    "http://[::]/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::1]/",
    "http://[100::1]/",
    "http://[2001:0:53aa:64c:0:0:80ff:fffe]/",
    "http://[2001:db8::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:5db8:d822::]/",
    "http://[3fff::1]/",
    "http://[fc00::1]/",
    "http://[fd12:3456::1]/",
    "http://[fe80::1]/",
    "http://[ff02::1]/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://inside.example/",
    "http://mixed.example/",
    "http://public.example@127.0.0.1/",
    "http://public.example:80@127.0.0.1/",
    "http://127.0.0.1@public.example/",
    "http://user:word@public.example/",
    "http://public.example:8080/",
    "http://public.example:22/",
    "http://public.example:443@inside.example:80/",
    "http://127.0.0.1#@public.example/",
    "http://127.0.0.1\\@public.example/",
    "http://127。0。0。1/",
    "http://①②⑦.0.0.1/",
    "file:///etc/passwd",
    "ftp://public.example/",
    "gopher://127.0.0.1:70/",
    "unix:///run/docker.sock",
    "data:text/plain,hello",
    "//127.0.0.1/",
    "http:///nothing",
    "http://",
    "",
    "http://[::1",
    "http://nowhere.example/",
]

NAMES = {
    "public_example": [PUBLIC],
    "inside_example": ["10.1.2.3"],
    "mixed_example": [PUBLIC, "127.0.0.1"],
    "localhost": ["127.0.0.1", "::1"],
    "localhost_": ["127.0.0.1"],
    "LOCALHOST_": ["127.0.0.1"],
}


@pytest.fixture
def detour(server: ScriptedServer) -> DetourNetwork:
    """The canary: whatever passes the guard arrives at `server`, on whatever port it was meant for."""
    return DetourNetwork(server.port)


@pytest.fixture
def guarded(detour: DetourNetwork) -> HttpxFetcher:
    return HttpxFetcher(FixedClock(), network=detour, resolve=resolving(**NAMES), deadline_s=5.0)


def test_the_canary_hears_what_passes_the_guard(guarded, server, detour):
    """Without this the tests below could not fail."""
    server.on("/", Reply(200, b"hello"))
    assert guarded.fetch("http://public.example/").content == b"hello"
    assert detour.meant == [(PUBLIC, 80)]
    assert server.requests[0].headers["host"] == "public.example"


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_a_url_that_leads_inside_is_refused_before_anything_is_sent(url, guarded, server, detour):
    refusal(guarded, url)
    assert detour.meant == []
    assert server.connections == 0


LEADS_NOWHERE_ELSE = {"", "http://", "http:///nothing"}
"""As a Location these have no host of their own, so they stay where they are."""


@pytest.mark.parametrize("url", [url for url in REFUSED_URLS if url not in LEADS_NOWHERE_ELSE])
def test_a_redirect_that_leads_inside_is_refused_like_the_url_itself(url, guarded, server, detour):
    """Each hop is checked like the first one."""
    location = url.encode("utf-8").decode("latin-1")
    server.on("/start", Reply(302, headers={"Location": location}))
    server.on("/", Reply(200, b"inside"))
    refusal(guarded, "http://public.example/start")
    assert detour.meant == [(PUBLIC, 80)]
    assert server.asked("/") == []


def test_a_name_that_changes_its_answer_after_the_check_changes_nothing(server, detour):
    """The checked address is the connected one: the name is asked once per hop."""
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    fetcher = HttpxFetcher(FixedClock(), network=detour, resolve=lambda *_: next(answers))
    server.on("/", Reply(200, b"hello"))
    assert fetcher.fetch("http://flips.example/").content == b"hello"
    assert detour.meant == [(PUBLIC, 80)]
    refusal(fetcher, "http://flips.example/")
    assert detour.meant == [(PUBLIC, 80)]


def test_the_next_address_is_tried_when_the_first_is_dead(server):
    class FirstIsDead(DetourNetwork):
        def connect_tcp(self, host, port, *args):
            if host == "2606:2800:220:1::1":
                raise httpcore.ConnectError("unreachable")
            return super().connect_tcp(host, port, *args)

    network = FirstIsDead(server.port)
    resolve = resolving(two_example=["2606:2800:220:1::1", PUBLIC])
    server.on("/", Reply(200, b"hello"))
    assert HttpxFetcher(FixedClock(), network=network, resolve=resolve).fetch("http://two.example/").content == b"hello"


@pytest.mark.parametrize(
    "address",
    [PUBLIC, "1.1.1.1", "100.63.255.255", "172.32.0.1", "2606:2800:220:1::1", "64:ff9b::5db8:d822", "::ffff:1.1.1.1"],
)
def test_public_addresses_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "fe80::1%eth0", "::ffff:127.0.0.1%1"])
def test_what_is_no_public_address_is_not_public(text):
    assert not is_public(text)


def test_a_private_host_is_reached_only_under_the_name_and_port_that_was_allowed(server):
    server.on("/", Reply(200, b"hello"))
    by_name = HttpxFetcher(FixedClock(), [f"Inside:{server.port}"], resolve=resolving(inside=["127.0.0.1"]))
    assert by_name.fetch(f"http://inside:{server.port}/").content == b"hello"
    assert "refused" in str(refusal(by_name, server.url()))
    error = refusal(HttpxFetcher(FixedClock(), ["127.0.0.1:1"]), server.url())
    assert error.hint == f'if that is meant: allow_private_hosts = ["{server.host}"]'
    assert len(server.requests) == 1


def test_a_proxy_in_the_environment_is_ignored(server, fetcher, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetcher.fetch(server.on("/", Reply(200, b"hello"))).content == b"hello"


def test_a_name_server_that_hangs_ends_with_the_deadline(server):
    release = threading.Event()
    fetcher = HttpxFetcher(FixedClock(), deadline_s=0.2, resolve=lambda *_: [PUBLIC] if release.wait(30) else [])
    started = time.monotonic()
    assert "name server" in str(refusal(fetcher, "http://slow.example/"))
    assert time.monotonic() - started < 3
    release.set()


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
    assert time.monotonic() - started < 3


def test_the_deadline_covers_all_hops_together(server):
    for step in range(5):
        server.on(f"/{step}", Reply(302, headers={"Location": f"/{step + 1}"}, delay_s=0.2))
    started = time.monotonic()
    refusal(HttpxFetcher(FixedClock(), [server.host], deadline_s=0.5), server.url("/0"))
    assert time.monotonic() - started < 2


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
    assert time.monotonic() - started < 2
    assert "larger than 1024 bytes" in str(refusal(fetcher, url, max_bytes=1024))


def test_an_endless_body_is_stopped_at_the_cap(server, fetcher):
    url = server.on("/", Reply(200, b"x" * 65_536, repeat_body=100_000))
    assert "larger than 1000000 bytes" in str(refusal(fetcher, url, max_bytes=1_000_000))


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


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for feed.example with its key, made here: no private key lies in the repository."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=feed.example"]
    command += ["-addext", "subjectAltName=DNS:feed.example", "-keyout", "key.pem", "-out", "cert.pem"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"openssl cannot make a certificate here: {error}")
    return folder


@pytest.fixture
def tls_server(authority: Path) -> Iterator[ScriptedServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "cert.pem", authority / "key.pem")
    with ScriptedServer(context) as running:
        running.on("/", Reply(200, b"hello"))
        yield running


def test_the_name_stays_in_host_sni_and_certificate_check(tls_server, authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "cert.pem"))
    network = DetourNetwork(tls_server.port)
    resolve = resolving(feed_example=[PUBLIC], other_example=[PUBLIC])
    fetcher = HttpxFetcher(FixedClock(), network=network, resolve=resolve)
    assert fetcher.fetch("https://feed.example/").content == b"hello"
    assert tls_server.requests[0].headers["host"] == "feed.example"
    assert tls_server.requests[0].server_name == "feed.example"
    assert network.meant == [(PUBLIC, 443)]
    error = refusal(fetcher, "https://other.example/")
    assert re.search("certificate|CERTIFICATE", str(error))
    assert "SSL_CERT_FILE" in error.hint
    assert len(tls_server.requests) == 1


def test_an_unknown_authority_is_refused(tls_server):
    fetcher = HttpxFetcher(
        FixedClock(), network=DetourNetwork(tls_server.port), resolve=resolving(feed_example=[PUBLIC])
    )
    assert "CERTIFICATE_VERIFY_FAILED" in str(refusal(fetcher, "https://feed.example/"))
    assert tls_server.requests == []


def test_a_downgrade_from_https_to_http_is_refused(tls_server, authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "cert.pem"))
    tls_server.on("/", Reply(301, headers={"Location": "http://feed.example/plain"}))
    network = DetourNetwork(tls_server.port)
    fetcher = HttpxFetcher(FixedClock(), network=network, resolve=resolving(feed_example=[PUBLIC]))
    assert "from https" in str(refusal(fetcher, "https://feed.example/"))
    assert network.meant == [(PUBLIC, 443)]
