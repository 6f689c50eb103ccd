"""Certificates are checked, for every source, always; a source may name further authorities, and no other way around.

Catalogue row 99.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from freshd.errors import SourceUnavailable
from freshd.fetch import HttpxFetcher
from tests.kit.certificates import Authority
from tests.kit.network import PUBLIC, DetourNetwork, FixedClock, resolving
from tests.scripted_server import Reply, ScriptedServer

NAMES = resolving(feed_example=[PUBLIC], other_example=[PUBLIC])
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@contextmanager
def serving(context: ssl.SSLContext) -> Iterator[tuple[ScriptedServer, DetourNetwork]]:
    with ScriptedServer(context) as server:
        server.on("/", Reply(200, b"hello"))
        yield server, DetourNetwork(server.port)


def fetcher(network: DetourNetwork, ca_file: Path | None = None) -> HttpxFetcher:
    return HttpxFetcher(FixedClock(), network=network, resolve=NAMES, ca_file=ca_file)


def refused(asked: HttpxFetcher, url: str = "https://feed.example/") -> SourceUnavailable:
    with pytest.raises(SourceUnavailable) as caught:
        asked.fetch(url)
    assert str(caught.value).isprintable()
    return caught.value


def test_the_name_stays_in_host_sni_and_certificate_check(authority: Authority):
    with serving(authority.server("feed.example")) as (server, network):
        asked = fetcher(network, authority.file)
        assert asked.fetch("https://feed.example/").content == b"hello"
        assert server.requests[0].headers["host"] == "feed.example"
        assert server.requests[0].server_name == "feed.example"
        assert network.meant == [(PUBLIC, 443)]
        error = refused(asked, "https://other.example/")
        assert "CERTIFICATE_VERIFY_FAILED" in str(error)
        assert "ca_file" in error.hint
        assert len(server.requests) == 1


BAD: dict[str, Callable[[Authority], ssl.SSLContext]] = {
    "expired": lambda authority: authority.server("feed.example", begins_in=-2 * HOUR, ends_in=-HOUR),
    "not yet valid": lambda authority: authority.server("feed.example", begins_in=HOUR, ends_in=2 * HOUR),
    "for another name": lambda authority: authority.server("other.example"),
    "for a name below": lambda authority: authority.server("www.feed.example"),
    "vouches for itself": lambda authority: authority.self_signed("feed.example"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_certificate_that_proves_nothing_is_refused_before_anything_is_sent(bad: str, authority: Authority):
    """Also where the source names an authority of its own: that believes it, and nobody else."""
    with serving(BAD[bad](authority)) as (server, network):
        assert "CERTIFICATE_VERIFY_FAILED" in str(refused(fetcher(network, authority.file)))
        assert server.requests == []


def test_an_authority_is_believed_only_by_the_source_that_names_it(authority: Authority):
    with serving(authority.server("feed.example")) as (server, network):
        assert "CERTIFICATE_VERIFY_FAILED" in str(refused(fetcher(network)))
        assert server.requests == []
        assert fetcher(network, authority.file).fetch("https://feed.example/").content == b"hello"
        assert "CERTIFICATE_VERIFY_FAILED" in str(refused(fetcher(network)))


def test_the_environment_may_name_another_set_of_authorities(authority: Authority, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with serving(authority.server("feed.example")) as (_, network):
        assert fetcher(network).fetch("https://feed.example/").content == b"hello"


def test_an_authority_that_is_replaced_is_read_anew(authority: Authority, tmp_path: Path):
    other = Authority(tmp_path)
    file = tmp_path / "ca.pem"
    file.write_bytes(other.file.read_bytes())
    with serving(authority.server("feed.example")) as (_, network):
        asked = fetcher(network, file)
        refused(asked)
        file.write_bytes(authority.file.read_bytes())
        assert asked.fetch("https://feed.example/").content == b"hello"


@pytest.mark.parametrize("content", [None, b"", b"no certificate"], ids=["absent", "empty", "no PEM"])
def test_a_file_of_authorities_that_is_none_says_so(content: bytes | None, authority: Authority, tmp_path: Path):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with serving(authority.server("feed.example")) as (server, network):
        error = refused(fetcher(network, file))
        assert f"ca_file {file}" in str(error)
        assert "PEM" in error.hint
        assert server.requests == []


@pytest.mark.parametrize("content", [None, b"no certificate"], ids=["missing", "something else"])
def test_authorities_of_the_environment_that_cannot_be_had_are_named(
    content: bytes | None, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also to who names further ones: these are in order."""
    file = tmp_path / "all.pem"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with serving(authority.server("feed.example")) as (server, network):
        for asked in (fetcher(network), fetcher(network, authority.file)):
            error = refused(asked)
            assert f"SSL_CERT_FILE {file}" in str(error)
            assert "PEM" in error.hint
        assert server.requests == []


def test_a_downgrade_from_https_to_http_is_refused(authority: Authority):
    with serving(authority.server("feed.example")) as (server, network):
        server.on("/", Reply(301, headers={"Location": "http://feed.example/plain"}))
        assert "from https" in str(refused(fetcher(network, authority.file)))
        assert network.meant == [(PUBLIC, 443)]
