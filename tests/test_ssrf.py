"""Where a source may be led: every spelling of a place inside, at the first hop and at each that follows.

The canary is a real server; whatever passes the guard ends up there, wherever it was meant to go.
Catalogue rows 89, 110 and 111; the first two rows of the security list.
"""

import threading
import time
from collections.abc import Iterator

import httpcore
import pytest
import stamina

from freshd.errors import SourceUnavailable
from freshd.fetch import HttpxFetcher
from freshd.fetch.addresses import is_public
from tests.kit.network import PUBLIC, DetourNetwork, FixedClock, resolving
from tests.scripted_server import Reply, ScriptedServer


@pytest.fixture(autouse=True)
def _retries_do_not_wait() -> Iterator[None]:
    """Keep the number of attempts, drop the pauses between them."""
    stamina.set_testing(True, attempts=3)
    yield
    stamina.set_testing(False)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


def refusal(fetcher: HttpxFetcher, url: str, **asked: object) -> SourceUnavailable:
    with pytest.raises(SourceUnavailable) as caught:
        fetcher.fetch(url, **asked)
    assert "\n" not in str(caught.value)
    return caught.value


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
    # blanks, controls and escapes that one parser drops and another does not
    "http://127.0.0.1\t/",
    "http://127.0.0.1\n/",
    "http://\r\n127.0.0.1/",
    " http://127.0.0.1/",
    "http://%31%32%37.0.0.1/",
    "http://127%2e0%2e0%2e1/",
    "http://127.0.0.1%00.public.example/",
    "http://127.0.0.1:80\\@public.example:80/",
    "http://public.example\\@inside.example/",
    "http://public.example:80:22/",
    "http://public.example:0/",
    "http://public.example:65536/",
    "http://public.example:-1/",
    # dots, zeros and other spellings of numbers
    "http://127.0.0.1./",
    "http://2130706433./",
    "http://0x7f.1/",
    "http://00000177.0.0.1/",
    "http://0000.0000.0000.0000/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://169.254.43518/",
    # IPv6: other embeddings, zones, unique local metadata
    "http://[::ffff:0:127.0.0.1]/",
    "http://[::7f00:1]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://[::ffff:100.64.0.1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[fd00:ec2::254]/",
    "http://[fe80::1%25eth0]/",
    "http://[fec0::1]/",
    "http://[ff05::1:3]/",
    "http://[5f00::1]/",
    # names that lead inside, by DNS or by what becomes of them
    "http://127.0.0.1.wildcard.example/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://localhost.localdomain/",
    "http://ip6-localhost/",
    "http://app.localhost/",
    "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/",
    "http://localhos\u1d57/",
    "http://localhost\u3002/",
    "http://xn--/",
    "http://six.example/",
    "http://four-and-six.example/",
]

NAMES = {
    "public_example": [PUBLIC],
    "inside_example": ["10.1.2.3"],
    "mixed_example": [PUBLIC, "127.0.0.1"],
    "localhost": ["127.0.0.1", "::1"],
    "localhost_": ["127.0.0.1"],
    "LOCALHOST_": ["127.0.0.1"],
    "127_0_0_1_wildcard_example": ["127.0.0.1"],
    "metadata_google_internal": ["169.254.169.254"],
    "localhost_localdomain": ["127.0.0.1"],
    "ip6-localhost": ["::1"],
    "app_localhost": ["127.0.0.1"],
    "six_example": ["fd12:3456::7"],
    "four-and-six_example": [PUBLIC, "::ffff:10.0.0.1"],
}


@pytest.fixture
def detour(server: ScriptedServer) -> DetourNetwork:
    """The canary: whatever passes the guard arrives at `server`, on whatever port it was meant for."""
    return DetourNetwork(server.port)


@pytest.fixture
def guarded(detour: DetourNetwork) -> HttpxFetcher:
    return HttpxFetcher(FixedClock(), network=detour, resolve=resolving(**NAMES), deadline_s=60.0)


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


def test_a_proxy_in_the_environment_is_ignored(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    fetcher = HttpxFetcher(FixedClock(), [server.host])
    assert fetcher.fetch(server.on("/", Reply(200, b"hello"))).content == b"hello"


@pytest.mark.parametrize("port", [1, 22, 25, 81, 444, 3306, 6379, 8080, 8443, 9200, 11211])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_public_host_is_asked_at_the_two_ports_of_the_web_only(scheme, port, guarded, detour):
    error = refusal(guarded, f"{scheme}://public.example:{port}/")
    assert "expected 80 or 443" in str(error)
    assert error.hint == f'if that is meant: allow_private_hosts = ["public.example:{port}"]'
    assert detour.meant == []


def test_a_name_that_flips_is_connected_to_where_it_pointed_when_it_was_checked():
    """Real sockets on two addresses and one port; the second answer of the resolver is never asked for."""
    with ScriptedServer() as canary, ScriptedServer(host="127.0.0.2", port=canary.port) as meant:
        answers = iter([["127.0.0.2"], ["127.0.0.1"], ["127.0.0.1"]])
        fetcher = HttpxFetcher(FixedClock(), [f"flips.example:{canary.port}"], resolve=lambda *_: next(answers))
        meant.on("/", Reply(200, b"hello"))
        assert fetcher.fetch(f"http://flips.example:{canary.port}/").content == b"hello"
        assert meant.requests[0].headers["host"] == f"flips.example:{canary.port}"
        assert canary.connections == 0


def test_a_name_that_flips_between_two_hops_is_checked_at_each(server, detour):
    """A redirect to oneself is a new question, and its answer is checked like the first."""
    answers = iter([[PUBLIC], ["169.254.169.254"]])
    fetcher = HttpxFetcher(FixedClock(), network=detour, resolve=lambda *_: next(answers))
    server.on("/", Reply(302, headers={"Location": "/again"}))
    assert "no public address" in str(refusal(fetcher, "http://flips.example/"))
    assert detour.meant == [(PUBLIC, 80)]
    assert [request.path for request in server.requests] == ["/"]


@pytest.mark.parametrize("hop", range(1, 6))
def test_the_guard_is_as_awake_at_the_last_hop_as_at_the_first(hop, guarded, server, detour):
    for step in range(hop):
        server.on(f"/{step}", Reply(302, headers={"Location": f"/{step + 1}"}))
    server.on(f"/{hop}", Reply(307, headers={"Location": "http://inside.example/secret"}))
    refusal(guarded, "http://public.example/0")
    assert {address for address, _ in detour.meant} == {PUBLIC}
    assert server.asked("/secret") == []


def test_an_allowed_place_opens_no_other_by_redirect(server):
    """Only what was named may be private: not another port of it, not another spelling."""
    with ScriptedServer() as other:
        for location in (other.url("/x"), f"http://localhost:{server.port}/x", f"http://127.1:{server.port}/x"):
            server.on("/", Reply(302, headers={"Location": location}))
            refusal(HttpxFetcher(FixedClock(), [server.host]), server.url())
        assert other.connections == 0
        assert server.asked("/x") == []


def test_a_name_server_that_hangs_ends_with_the_deadline(server):
    release = threading.Event()
    fetcher = HttpxFetcher(FixedClock(), deadline_s=0.2, resolve=lambda *_: [PUBLIC] if release.wait(30) else [])
    started = time.monotonic()
    assert "name server" in str(refusal(fetcher, "http://slow.example/"))
    assert time.monotonic() - started < 25
    release.set()
