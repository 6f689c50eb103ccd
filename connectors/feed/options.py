"""What a person may say about a feed in the config."""

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import BaseModel, ByteSize, ConfigDict, Field, field_validator

from freshd.errors import ConfigError
from freshd.model import SourceName

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):[0-9]{1,5}")
# freshd says these itself: they decide where a request goes, how long an answer is and how it is packed.
_OWN_HEADERS = frozenset({"host", "connection", "accept-encoding", "content-length", "transfer-encoding"})


class FeedOptions(BaseModel):
    """Config keys of a source of type `feed`.

    Attributes:
        url: Where the feed is; http or https.
        headers: Sent to the feed's own origin only; `${NAME}` in a value stands for an environment variable.
        follow_links: Index the main text of the page that an entry links to, instead of what the feed says.
        allow_private_hosts: `host:port` pairs, as written in URLs, that may be on private or loopback addresses.
        ca_file: Certificate authorities, PEM, to believe beside the usual ones; relative to the config file.
        max_feed_bytes: A larger feed is refused.
        max_entries: The rest of a longer feed is not looked at, and its listing is not complete.

    """

    # Values stay out of error texts: a header or a URL may hold a secret.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str
    headers: dict[str, str] = Field(default_factory=dict)
    follow_links: bool = False
    allow_private_hosts: tuple[str, ...] = ()
    ca_file: str | None = Field(default=None, min_length=1)
    max_feed_bytes: ByteSize = Field(default=ByteSize(10 * 1024 * 1024), gt=0)
    max_entries: int = Field(default=50_000, gt=0)

    @field_validator("url")
    @classmethod
    def _url_can_be_asked(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected an http:// or https:// URL")
        if parts.username is not None or parts.password is not None:
            raise ValueError('credentials belong into headers = { Authorization = "${NAME}" }, with NAME set')
        try:
            _ = parts.port
        except ValueError as error:
            raise ValueError("expected a port from 1 to 65535 after the host") from error
        return url

    @field_validator("headers")
    @classmethod
    def _headers_are_free(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if not _HEADER_NAME.fullmatch(name) or name.lower() in _OWN_HEADERS:
                raise ValueError(f"{name!r} is no header that can be set")
        return headers

    @field_validator("allow_private_hosts")
    @classmethod
    def _hosts_name_a_port(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            if not _HOST_PORT.fullmatch(entry):
                raise ValueError(f'got {entry!r}, expected "host:port", such as "127.0.0.1:8000"')
        return entries


def headers_from_environment(source: SourceName, headers: Mapping[str, str]) -> dict[str, str]:
    """Put environment variables into header values.

    Raises:
        ConfigError: A variable is not set, or a value cannot be sent as a header; never quotes a value.

    """
    return {name: _filled_in(source, name, value) for name, value in headers.items()}


def _filled_in(source: SourceName, name: str, template: str) -> str:
    where = f"source '{source}': headers.{name}"

    def value_of(match: re.Match[str]) -> str:
        variable = match[1]
        if variable not in os.environ:
            hint = f"export {variable}=…"
            raise ConfigError(f"{where}: environment variable {variable} is not set", hint=hint)
        return os.environ[variable].strip()

    value = _VARIABLE.sub(value_of, template)
    if not value.isascii() or not value.isprintable():
        raise ConfigError(f"{where}: the value holds characters that no header can carry, expected printable ASCII")
    return value
