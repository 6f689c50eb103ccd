"""URLs as freshd accepts, compares and shows them. Pure."""

import httpx

from freshd.errors import SourceUnavailable

MAX_SHOWN_CHARS = 200
_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_url(text: str) -> httpx.URL:
    """Parse a URL that may be asked, without its fragment.

    Raises:
        SourceUnavailable: It is no http or https URL, names no host, or carries credentials.

    """
    try:
        url = httpx.URL(text).copy_with(fragment=None)
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise SourceUnavailable(f"{display_url(text)}: not a URL", hint="expected http://… or https://…") from error
    check_url(url)
    return url


def check_url(url: httpx.URL) -> None:
    """Refuse what is no plain http or https URL.

    Raises:
        SourceUnavailable: It is no http or https URL, names no host, or carries credentials.

    """
    shown = display_url(url)
    if url.scheme not in _DEFAULT_PORTS:
        raise SourceUnavailable(f"{shown}: got scheme {url.scheme!r}, expected http or https")
    try:
        has_host = bool(url.host)
    except UnicodeError as error:  # `xn--` and something that no name becomes
        raise SourceUnavailable(f"{shown}: names a host that no name server can know") from error
    if not has_host:
        raise SourceUnavailable(f"{shown}: names no host")
    if url.userinfo:
        hint = 'give them as a header: headers = { Authorization = "${NAME}" }, with NAME in the environment'
        raise SourceUnavailable(f"{shown}: credentials in a URL are refused", hint=hint)


def port_of(url: httpx.URL) -> int:
    """Port the URL names, or its scheme's own."""
    return _DEFAULT_PORTS[url.scheme] if url.port is None else url.port


def host_port(url: httpx.URL) -> str:
    """Host as written and port, in the form of `allow_private_hosts`."""
    host = url.host.lower()
    return f"[{host}]:{port_of(url)}" if ":" in host else f"{host}:{port_of(url)}"


def origin_of(url: httpx.URL) -> tuple[str, str, int]:
    """Scheme, host and port: whoever receives a header sent there."""
    return url.scheme, url.host.lower(), port_of(url)


def display_url(url: httpx.URL | str) -> str:
    """Form of a URL that is fit for a log: on one line, bounded, and without what may be secret.

    Credentials and fragment are left out; a query is hinted at.
    """
    try:
        parsed = httpx.URL(url)
        query = "?…" if parsed.query else ""
        start = f"{parsed.scheme}://{parsed.netloc.decode('ascii')}" if parsed.scheme else ""
        text = f"{start}{parsed.path}{query}"
    except (httpx.InvalidURL, UnicodeError, ValueError):
        return "(malformed URL)"
    return one_line(text, MAX_SHOWN_CHARS)


def one_line(text: str, max_chars: int) -> str:
    """Text from outside, made fit for a message: printable, on one line, bounded."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: max_chars * 4]).split())
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"
