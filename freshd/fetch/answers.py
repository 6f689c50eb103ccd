"""What the headers of an answer mean. Pure; the present is passed in."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

LONGEST_WISH = timedelta(hours=24)
"""No server can silence a source for longer."""

_MAX_VALIDATOR_CHARS = 1_024


def retry_after(headers: httpx.Headers, now: datetime) -> datetime | None:
    """Read Retry-After, seconds or a date; None where it is absent, past or nonsense."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]+", text):
        return _wish(now, _seconds(text))
    instant = _http_date(text)
    return None if instant is None else _wish(now, instant - now)


def fresh_until(headers: httpx.Headers, now: datetime) -> datetime | None:
    """Tell until when the answer stays fresh, by RFC 9111 section 4.2.1; None where the server does not say."""
    directives = _cache_directives(headers)
    if "no-cache" in directives or "no-store" in directives:
        return None
    if "max-age" in directives:
        return _wish(now, _seconds(directives["max-age"]) - _seconds(headers.get("age", "").strip()))
    expires, date = _http_date(headers.get("expires", "")), _http_date(headers.get("date", ""))
    return None if expires is None else _wish(now, expires - (date or now))


def content_type(headers: httpx.Headers) -> tuple[str | None, str | None]:
    """Give media type and charset, lower case; None for what is not declared."""
    media_type, *parameters = headers.get("content-type", "").split(";")
    charset = None
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = _token(value.strip().strip("\"'"))
    return _token(media_type.strip()), charset


def validator(headers: httpx.Headers, name: str) -> str | None:
    """Give ETag or Last-Modified if it can be sent back as it came; None else."""
    value = headers.get(name, "")
    is_sendable = 0 < len(value) <= _MAX_VALIDATOR_CHARS and value.isascii() and value.isprintable()
    return value if is_sendable else None


def _token(text: str) -> str | None:
    return text.lower() if re.fullmatch(r"[A-Za-z0-9!#$&^_.+:/-]{1,127}", text) else None


def _seconds(text: str) -> timedelta:
    digits = text.strip('"')
    if not re.fullmatch(r"[0-9]+", digits):
        return timedelta(0)
    return timedelta(seconds=int(digits)) if len(digits) <= 9 else 2 * LONGEST_WISH


def _wish(now: datetime, wait: timedelta) -> datetime | None:
    return now + min(wait, LONGEST_WISH) if wait > timedelta(0) else None


def _http_date(text: str) -> datetime | None:
    try:
        instant = parsedate_to_datetime(text)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _cache_directives(headers: httpx.Headers) -> dict[str, str]:
    directives = {}
    for part in headers.get("cache-control", "").split(","):
        name, _, value = part.partition("=")
        directives[name.strip().lower()] = value.strip()
    return directives
