"""Asks one resource: each hop checked, the whole within one deadline, every failure one kind of error."""

import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

import httpcore
import httpx
import stamina

from freshd import __version__
from freshd.deadline import Deadline
from freshd.errors import DocumentGone, SourceUnavailable
from freshd.fetch.addresses import AddressGuard, Resolver, is_public, resolve_host
from freshd.fetch.answers import content_type, fresh_until, retry_after, validator
from freshd.fetch.body import BodyRefused, content_coding, read_body
from freshd.fetch.rests import HostRests
from freshd.fetch.turns import HostTurns
from freshd.fetch.urls import check_url, display_url, host_port, one_line, origin_of, parse_url
from freshd.fetch.wire import CONNECT_S, PinnedBackend
from freshd.model import Fetched
from freshd.ports import Clock

MAX_BYTES = 10 * 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024
MAX_REDIRECTS = 5
ATTEMPTS = 3
"""One and two more, for failures that are usually over at once; the scheduler waits out the others."""

_PERMANENT = frozenset({301, 308})
_REDIRECTS = _PERMANENT | {302, 303, 307}
_GONE = {404: "404 Not Found", 410: "410 Gone"}
_TRANSIENT = frozenset({502, 504})
_WAIT_WANTED = frozenset({429, 503})
# Ours whatever a caller asks: an answer must come on this connection, in a coding that is bounded here.
_FIXED_HEADERS = {"accept-encoding": "gzip", "connection": "close"}

_OPEN_HEADERS = frozenset({"accept", "accept-language", "user-agent"})
_MIN_SECRET = 4
"""Characters; anything shorter stands in any address."""

_TURNS, _RESTS = HostTurns(), HostRests()
"""One of each for the process: a host does not care which source asks it."""


class _Transient(SourceUnavailable):
    """A failure that is worth another attempt within the same call."""


@dataclass(frozen=True, slots=True)
class _Ask:
    """One hop's request; headers stay out of its repr, they may be secret."""

    url: httpx.URL
    deadline: Deadline
    max_bytes: int
    validators: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)

    def is_echoed_in(self, location: str) -> bool:
        """Tell whether an address holds what may be a secret among the caller's headers."""
        values = [value for name, value in self.headers.items() if name.lower() not in _OPEN_HEADERS]
        parts = {part for value in values for part in (value, value.rpartition(" ")[2]) if len(part) >= _MIN_SECRET}
        return any(part in text for part in parts for text in (location, unquote(location)))

    def towards(self, url: httpx.URL) -> "_Ask":
        """Ask at another URL; what the caller added stays behind when that is another origin."""
        headers = self.headers if origin_of(url) == origin_of(self.url) else {}
        return replace(self, url=url, headers=headers)


@dataclass(frozen=True, slots=True)
class _Answer:
    """Status and headers, and the body of a 200.

    Attributes:
        not_before: When to ask again, of a 429 or 503 that says so.

    """

    status: int
    headers: httpx.Headers
    content: bytes
    not_before: datetime | None


class HttpxFetcher:
    """Asks over HTTP for one source, only where that source may reach. Safe to call from several threads.

    Does not keep connections, cookies or answers, and reads no proxy from the environment.
    Certificates are always checked; `SSL_CERT_FILE` names another set of authorities, `ca_file` further ones.
    """

    def __init__(
        self,
        clock: Clock,
        allow_private_hosts: Sequence[str] = (),
        *,
        max_bytes: int = MAX_BYTES,
        deadline_s: float = 30.0,
        user_agent: str = f"freshd/{__version__}",
        ca_file: Path | None = None,
        turns: HostTurns = _TURNS,
        rests: HostRests = _RESTS,
        resolve: Resolver = resolve_host,
        network: httpcore.NetworkBackend | None = None,
    ) -> None:
        """Build a client.

        Args:
            clock: For deadlines and for what servers say about time.
            allow_private_hosts: `host:port` as written in a URL, reachable at any address and port.
            max_bytes: Largest body, packed and unpacked, where a call does not say another.
            deadline_s: For one call, whatever it consists of, the wait for a turn at its host included.
            user_agent: Sent unless the caller's headers say another.
            ca_file: Certificate authorities, PEM, believed beside the usual ones; read when it is needed.
            turns: Shared by all that ask.
            rests: Likewise.
            resolve: Where addresses come from.
            network: What opens sockets.

        """
        self._clock = clock
        self._guard = AddressGuard(allow_private_hosts, resolve)
        self._max_bytes = max_bytes
        self._deadline_s = deadline_s
        self._user_agent = user_agent
        self._ca_file = ca_file
        self._turns, self._rests = turns, rests
        self._network = network or httpcore.SyncBackend()

    def fetch(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        etag: str | None = None,
        last_modified: str | None = None,
        max_bytes: int | None = None,
    ) -> Fetched:
        """GET one resource, conditionally where validators are given.

        A broken connection, 502 and 504 are tried again at most twice, within the deadline.

        Raises:
            SourceUnavailable: Refused, unreachable, too slow, too large or not 200/304;
                its `not_before` tells when to ask again, if the server said.
            DocumentGone: The server answered 404 or 410; the message tells which.

        """
        validators = {"if-none-match": etag, "if-modified-since": last_modified}
        ask = _Ask(
            parse_url(url),
            Deadline(self._clock.monotonic, self._deadline_s),
            max_bytes or self._max_bytes,
            {name: value for name, value in validators.items() if value},
            headers or {},
        )

        # Nothing is passed as an argument: stamina's hooks log arguments, and headers may be secret.
        def follow() -> Fetched:
            return self._follow(ask)

        again = stamina.RetryingCaller(
            attempts=ATTEMPTS, timeout=self._deadline_s, wait_initial=0.2, wait_max=1.0, wait_jitter=0.3
        )
        return again(_Transient, follow)

    def close(self) -> None:
        """Nothing is kept between calls; there for the contract."""

    def _follow(self, ask: _Ask) -> Fetched:
        seen = [ask.url]
        permanent: httpx.URL | None = None
        is_permanent = True
        while True:
            answer = self._exchange(ask)
            if answer.status not in _REDIRECTS:
                fetched = self._judge(ask, answer)
                return replace(fetched, permanent_url=str(permanent) if permanent else None)
            target = _redirect_target(ask, answer, seen)
            is_permanent = is_permanent and answer.status in _PERMANENT
            permanent = target if is_permanent else permanent
            seen.append(target)
            ask = ask.towards(target)

    def _exchange(self, ask: _Ask) -> _Answer:
        """One request to one checked host, when it is its turn, and unless it wants to be left alone."""
        host = host_port(ask.url)
        if left_s := self._rests.left_s(host, self._clock.monotonic()):
            reason = f"not asked: its host wants to be left alone for another {left_s:.0f} s"
            not_before = self._clock.now() + timedelta(seconds=left_s)
            raise SourceUnavailable(f"{display_url(ask.url)}: {reason}", not_before=not_before)
        addresses = self._guard.addresses(ask.url, ask.deadline.left_s())
        try:
            with self._turns.at(host, ask.deadline.left_s()):
                answer = self._asked(ask, addresses)
        except TimeoutError:
            reason = f"other requests of ours kept its host busy for {self._deadline_s:g} s"
            raise SourceUnavailable(f"{display_url(ask.url)}: {reason}") from None
        # What somebody runs at home or in the next room speaks for one service, not for all behind its name.
        if answer.not_before and all(is_public(address) for address in addresses):
            self._rests.note(host, self._clock.monotonic(), (answer.not_before - self._clock.now()).total_seconds())
        return answer

    def _asked(self, ask: _Ask, addresses: Sequence[str]) -> _Answer:
        """Ask over a connection of its own, which ends with the answer."""
        backend = PinnedBackend(self._network, addresses, ask.deadline)
        tls = self._tls(ask) if ask.url.scheme == "https" else None
        target = httpcore.URL(
            scheme=ask.url.raw_scheme, host=ask.url.raw_host, port=ask.url.port, target=ask.url.raw_path
        )
        with (
            self._failures_named(ask),
            httpcore.ConnectionPool(ssl_context=tls, network_backend=backend) as pool,
            pool.stream(
                "GET", target, headers=self._headers(ask), extensions={"timeout": {"connect": CONNECT_S}}
            ) as got,
        ):
            if sum(len(name) + len(value) for name, value in got.headers) > MAX_HEADER_BYTES:
                raise SourceUnavailable(f"{display_url(ask.url)}: headers are larger than {MAX_HEADER_BYTES} bytes")
            headers = httpx.Headers(got.headers)
            content = b""
            if got.status == 200:
                coding = content_coding(headers.get_list("content-encoding"))
                content = read_body(got.iter_stream(), coding, ask.max_bytes)
            not_before = retry_after(headers, self._clock.now()) if got.status in _WAIT_WANTED else None
            return _Answer(got.status, headers, content, not_before)

    def _tls(self, ask: _Ask) -> ssl.SSLContext:
        cert_file = os.environ.get("SSL_CERT_FILE")
        with _authorities_named(ask, f"SSL_CERT_FILE {cert_file}" if cert_file else "certificate authorities"):
            usual = _tls_context(cert_file)
        if self._ca_file is None:
            return usual
        with _authorities_named(ask, f"ca_file {self._ca_file}"):
            return _tls_context(cert_file, str(self._ca_file), self._ca_file.stat().st_mtime_ns)

    def _headers(self, ask: _Ask) -> list[tuple[bytes, bytes]]:
        headers = httpx.Headers({"user-agent": self._user_agent, "accept": "*/*"})
        headers.update(ask.headers)
        headers.update({**ask.validators, **_FIXED_HEADERS, "host": ask.url.netloc.decode("ascii")})
        return headers.raw

    @contextmanager
    def _failures_named(self, ask: _Ask) -> Iterator[None]:
        """Turn what can go wrong on the wire into one line that names the URL and the reason."""
        shown = display_url(ask.url)
        try:
            yield
        except BodyRefused as error:
            raise SourceUnavailable(f"{shown}: {error}") from error
        except httpcore.ConnectTimeout as error:
            raise SourceUnavailable(f"{shown}: no connection in time") from error
        except httpcore.TimeoutException as error:
            raise SourceUnavailable(f"{shown}: no complete answer within {self._deadline_s:g} s") from error
        except httpcore.NetworkError as error:
            kind = _Transient if _is_broken_connection(error) else SourceUnavailable
            raise kind(f"{shown}: {one_line(str(error), 200)}", hint=_tls_hint(error)) from error
        except (httpcore.LocalProtocolError, UnicodeEncodeError):
            # The cause quotes the header, which may be secret.
            raise SourceUnavailable(f"{shown}: a header cannot be sent, expected printable ASCII") from None
        except httpcore.ProtocolError as error:
            raise SourceUnavailable(f"{shown}: broken answer: {one_line(str(error), 200)}") from error

    def _judge(self, ask: _Ask, answer: _Answer) -> Fetched:
        """Accept a 200, and a 304 that was asked for; name everything else."""
        if answer.status == 200 or (answer.status == 304 and ask.validators):
            media_type, encoding = content_type(answer.headers)
            return Fetched(
                status=answer.status,
                url=str(ask.url),
                content=answer.content,
                media_type=media_type,
                encoding=encoding,
                etag=validator(answer.headers, "etag"),
                last_modified=validator(answer.headers, "last-modified"),
                not_before=fresh_until(answer.headers, self._clock.now()),
            )
        shown = display_url(ask.url)
        if answer.status in _GONE:
            raise DocumentGone(f"{shown}: answered {_GONE[answer.status]}")
        kind = _Transient if answer.status in _TRANSIENT else SourceUnavailable
        message, hint = f"{shown}: answered {answer.status}, expected 200", _status_hint(answer.status)
        raise kind(message, hint=hint, not_before=answer.not_before)


@contextmanager
def _authorities_named(ask: _Ask, place: str) -> Iterator[None]:
    """Say where the certificate authorities that cannot be had are wanted from."""
    try:
        yield
    except OSError as error:  # ssl's own among them
        reason = one_line(error.strerror or str(error), 200)
        raise SourceUnavailable(
            f"{display_url(ask.url)}: {one_line(place, 200)}: {reason}",
            hint="expected a file of certificates in PEM form, which freshd's user may read",
        ) from error


@lru_cache(maxsize=8)
def _tls_context(cert_file: str | None, ca_file: str | None = None, version: int = 0) -> ssl.SSLContext:
    """Load the authorities once for all sources: it takes some 50 ms each time.

    Args:
        cert_file: Only tells one set from another; httpx reads the environment itself.
        ca_file: Further ones.
        version: Only tells one state of `ca_file` from another.

    """
    context = httpx.create_ssl_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def _redirect_target(ask: _Ask, answer: _Answer, seen: Sequence[httpx.URL]) -> httpx.URL:
    url, shown = ask.url, display_url(ask.url)
    location = answer.headers.get("location", "")
    if not location:
        raise SourceUnavailable(f"{shown}: answered {answer.status} without a Location")
    if ask.is_echoed_in(location):  # addresses are shown and remembered, headers are not
        raise SourceUnavailable(f"{shown}: redirects to an address that repeats a header it was sent")
    try:
        target = url.join(location).copy_with(fragment=None)
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise SourceUnavailable(f"{shown}: redirects to what is no URL") from error
    check_url(target)
    if url.scheme == "https" and target.scheme == "http":
        raise SourceUnavailable(f"{shown}: redirects from https to {display_url(target)}, which is refused")
    if target in seen:
        raise SourceUnavailable(f"{shown}: redirects in a loop")
    if len(seen) > MAX_REDIRECTS:
        raise SourceUnavailable(f"{shown}: redirects more than {MAX_REDIRECTS} times")
    return target


def _is_broken_connection(error: httpcore.NetworkError) -> bool:
    """Tell a connection that broke from one that never came to be."""
    return not isinstance(error, httpcore.ConnectError) or isinstance(error.__cause__, ConnectionResetError)


def _tls_hint(error: httpcore.NetworkError) -> str:
    if "CERTIFICATE_VERIFY_FAILED" not in str(error):
        return ""
    return "the certificate is expired, for another name or of an unknown authority; ca_file names your own"


def _status_hint(status: int) -> str:
    if status in (401, 403):
        return 'if it wants credentials: headers = { Authorization = "${NAME}" }, with NAME in the environment'
    return ""
