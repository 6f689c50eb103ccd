"""Decides who may ask what: pure, from the head of a request alone.

    host is ours ─▶ not from a foreign page ─▶ token, where one is needed ─▶ JSON, where there is a body to read

The Host rule stops a page that points its own name at this machine (DNS rebinding), on every route but the probes.
The token stops everyone who cannot read it; a second one, where it is set, reads and orders nothing.
A browser cannot be told to send it as a bearer, so to read, it may also come as the password of a Basic login.
That a browser sends by itself from then on, whatever page makes it ask: hence it orders nothing,
and there are no cookies.
"""

import binascii
import hmac
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from freshd.config import HttpSection
from freshd.config.credentials import MIN_TOKEN_CHARACTERS
from freshd.redaction import printable

Headers = Iterable[tuple[bytes, bytes]]
"""As they came, names in lower case."""

PROBES = frozenset({"/healthz", "/readyz"})
"""Routes that orchestrators ask by whatever name they know the machine, without a token; they are told yes or no."""

READING = frozenset({"GET", "HEAD"})
"""Methods that change nothing."""

_MAX_SHOWN_CHARACTERS = 80
_BEARER = 'Bearer realm="freshd"'
_BASIC = 'Basic realm="freshd", charset="UTF-8"'
"""Stands before the other: some browsers look at the first challenge only."""

_HINT = "send `Authorization: Bearer TOKEN`; it is FRESHD_TOKEN, else in daemon.json of the state directory"
_BROWSER_HINT = "; in a browser, it is the password, with any user name"

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:\[\]@/]+))(?::[0-9]{0,5})?")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request goes no further.

    Attributes:
        error: One line.
        hint: What mends it; None when nothing does.
        headers: To go with the answer.

    """

    status: int
    error: str
    hint: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Gate:
    """The rules of one endpoint."""

    def __init__(self, http: HttpSection, token: str, read_token: str | None = None) -> None:
        """Set the rules.

        Args:
            http: Where it listens, and the names it has beside those of loopback.
            token: Never empty: where the operator gave none, the daemon makes one for its own commands.
            read_token: Will do for reading, and for nothing else; None where there is none.

        Raises:
            ValueError: The token is too short to keep anybody out.

        """
        if min(len(token), len(read_token or token)) < MIN_TOKEN_CHARACTERS:
            raise ValueError(f"a token has at least {MIN_TOKEN_CHARACTERS} characters")
        names = {*_LOOPBACK_NAMES, *http.allowed_hosts, http.listen.host}
        self._hosts = frozenset(host for host in map(_canonical, names) if not _is_wildcard(host))
        self._token = token.encode()
        self._read_token = (read_token or token).encode()
        self._needs_token_to_read = not http.listen.is_loopback

    def refusal(self, method: str, path: str, headers: Headers) -> Refusal | None:
        """Tell why a request may not pass; None when it may."""
        if path in PROBES and method in READING:
            return None
        fields = _Fields(headers)
        if method in READING:
            return self._no_reader(fields)
        return self._foreign_host(fields) or _foreign_page(fields) or self._no_token(fields) or _no_json(fields)

    def may_read(self, headers: Headers) -> bool:
        """Tell whether whoever asks may read everything, and so be told why a probe fails."""
        return self._no_reader(_Fields(headers)) is None

    def _no_reader(self, fields: "_Fields") -> Refusal | None:
        return self._foreign_host(fields) or (self._no_login(fields) if self._needs_token_to_read else None)

    def _foreign_host(self, fields: "_Fields") -> Refusal | None:
        authority = fields.only(b"host")
        host = _host_of(authority)
        if host in self._hosts:
            return None
        shown = printable(authority[:_MAX_SHOWN_CHARACTERS])
        hint = f'if it is yours: [http] allowed_hosts = ["{printable(host)}"]' if host else None
        return Refusal(421, f'host: got "{shown}", expected a name this endpoint is known by', hint)

    def _no_token(self, fields: "_Fields") -> Refusal | None:
        scheme, credentials = fields.credentials()
        is_right = self._is_token(credentials.encode())
        return None if is_right and scheme == "bearer" else _unauthorised(_BEARER, _HINT)

    def _no_login(self, fields: "_Fields") -> Refusal | None:
        scheme, credentials = fields.credentials()
        given = _password(credentials) if scheme == "basic" else credentials.encode()
        # Both are compared, always: how long it takes tells nobody which one was nearly right.
        is_right = self._is_token(given) | hmac.compare_digest(given, self._read_token)
        if is_right and scheme in ("basic", "bearer"):
            return None
        return _unauthorised(f"{_BASIC}, {_BEARER}", _HINT + _BROWSER_HINT)

    def _is_token(self, given: bytes) -> bool:
        # On bytes: compare_digest raises for text beyond ASCII, and anybody may send that.
        return hmac.compare_digest(given, self._token)


class _Fields:
    """The headers of one request, looked at one name at a time."""

    def __init__(self, headers: Headers) -> None:
        self._headers = list(headers)

    def only(self, name: bytes) -> str:
        """Give the one value; empty if there is none, or several that could be read differently by somebody else."""
        values = [value for key, value in self._headers if key == name]
        return values[0].decode("latin-1") if len(values) == 1 else ""

    def credentials(self) -> tuple[str, str]:
        """Give the scheme in lower case, and what follows it."""
        scheme, _, credentials = self.only(b"authorization").partition(" ")
        return scheme.lower(), credentials.strip(" ")

    def has(self, name: bytes) -> bool:
        return any(key == name for key, _ in self._headers)


def _unauthorised(challenge: str, hint: str) -> Refusal:
    return Refusal(401, "authorization: expected the daemon's token", hint, {"www-authenticate": challenge})


def _password(credentials: str) -> bytes:
    """Give the password of a Basic login (RFC 7617): what follows the first colon; empty for anything else."""
    try:
        return binascii.a2b_base64(credentials.encode(), strict_mode=True).partition(b":")[2]
    except binascii.Error:
        return b""


def _foreign_page(fields: _Fields) -> Refusal | None:
    """Refuse what a browser says comes from another site's page; other programs send neither header."""
    is_foreign = fields.has(b"origin") and not _is_own(fields.only(b"origin"), fields.only(b"host"))
    if is_foreign or (fields.has(b"sec-fetch-site") and fields.only(b"sec-fetch-site").lower() == "cross-site"):
        return Refusal(403, "origin: the request comes from the page of another site")
    return None


def _is_own(origin: str, host: str) -> bool:
    # Either scheme: a proxy in front may speak TLS, which cannot be seen from here.
    return origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())


def _no_json(fields: _Fields) -> Refusal | None:
    kind = fields.only(b"content-type").partition(";")[0].strip().lower()
    if kind == "application/json":
        return None
    return Refusal(415, "content-type: expected application/json", "send `Content-Type: application/json`")


def _host_of(authority: str) -> str:
    """Give the host of `host:port` in canonical form; empty if it is none. Any port will do: proxies forward them."""
    match = _AUTHORITY.fullmatch(authority)
    return _canonical(match["v6"] or match["name"]) if match else ""


def _canonical(host: str) -> str:
    host = host.lower().removesuffix(".")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
