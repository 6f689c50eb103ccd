"""Reads the values that TOML has no type for: durations, sizes, addresses, names.

Each reader refuses with the text of what it expected, never with what it got:
the report adds that, and masks it where it must.
"""

import ipaddress
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, PlainValidator
from pydantic_core import PydanticCustomError

from freshd.model import SourceName

T = TypeVar("T")

EXPECTED = "expected"
"""Type of the errors raised here; the message is the bare text of what was expected."""

MAX_DURATION = timedelta(days=3_650)
"""Ten years: nothing here needs more, and no instant minus it leaves the calendar."""

_DURATION = re.compile(
    r"(?:(?P<days>[0-9]{1,8})d)?(?:(?P<hours>[0-9]{1,8})h)?(?:(?P<minutes>[0-9]{1,8})m(?!s))?"
    r"(?:(?P<seconds>[0-9]{1,8})s)?(?:(?P<milliseconds>[0-9]{1,8})ms)?"
)
A_SIZE = 'a size in bytes such as 1048576, "50MiB" or "1GB"'
_SIZE = re.compile(r"([0-9]{1,18}) ?([kKMGT]i?)?B?")
_SIZE_FACTOR = {"": 1} | {
    prefix + binary: (1_024 if binary else 1_000) ** power
    for power, prefixes in enumerate(("kK", "M", "G", "T"), start=1)
    for prefix in prefixes
    for binary in ("", "i")
}
_MAX_BYTES = 2**63 - 1
_SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_COLLECTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
# A last label of digits alone would be an IP address, and a real one is recognised before.
_HOST_NAME = re.compile(rf"(?:{_LABEL}\.)*(?!\d+\.?$){_LABEL}\.?")


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the endpoint listens.

    Attributes:
        host: An IP address without brackets, or a host name.
        port: 0 lets the system choose.

    """

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it; any other host name than `localhost` counts as outside."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def expected(what: str) -> PydanticCustomError:
    """Build the error that says what was expected; raise it from a validator."""
    return PydanticCustomError(EXPECTED, "{what}", {"what": what})


def must(test: Callable[[Any], bool], what: str) -> AfterValidator:
    """Let a value pass if `test` says so; `what` completes "expected …"."""

    def check(value: T) -> T:
        if not test(value):
            raise expected(what)
        return value

    return AfterValidator(check)


def parse_duration(value: object) -> timedelta:
    """Read a duration such as "500ms", "15m" or "1h30m"; a timedelta passes as it is, within the same bounds."""
    duration = value if isinstance(value, timedelta) else timedelta()
    if isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        duration = timedelta(**{unit: int(digits) for unit, digits in match.groupdict(default="0").items()})
    if not timedelta() < duration <= MAX_DURATION:
        raise expected('a duration such as "15m" or "2h"' + (", at most 3650d" if duration else ""))
    return duration


def duration_text(duration: timedelta) -> str:
    """Write a duration as a config would, in the largest unit that leaves no rest."""
    milliseconds = duration // timedelta(milliseconds=1)
    sizes = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
    return next(f"{milliseconds // size}{unit}" for unit, size in sizes if milliseconds % size == 0)


def parse_size(value: object) -> int:
    """Read a number of bytes, or a size such as "50MiB" (1,024s) or "1GB" (1,000s)."""
    size = value if type(value) is int else -1  # bool is an int, but True is no size
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        size = int(match[1]) * _SIZE_FACTOR[match[2] or ""]
    if not 0 <= size <= _MAX_BYTES:
        raise expected(A_SIZE)
    return size


def parse_listen(value: object) -> Listen:
    """Read "host:port", the host an IP address (IPv6 in brackets) or a name."""
    if isinstance(value, Listen):
        return value
    refusal = expected('an address such as "127.0.0.1:8377" or "[::1]:8377"')
    if not isinstance(value, str):
        raise refusal
    bracketed, separator, port = value.rpartition(":")
    host = bracketed.removeprefix("[").removesuffix("]")
    is_bracketed = bracketed == f"[{host}]"
    if not separator or not is_host(host) or is_bracketed != (":" in host):
        raise refusal
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535:
        raise expected("a port from 0 to 65535 after the host")
    return Listen(host, int(port))


def parse_path(value: object) -> Path:
    """Read a path; `~` at its start is the home directory."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise expected("a path, absolute or relative to the config file")
    return Path(os.path.expanduser(value))  # Path.expanduser raises where there is no home


def is_host(text: str) -> bool:
    """Tell whether text is an IP address without brackets, or could be a host name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return len(text) <= 253 and bool(_HOST_NAME.fullmatch(text))
    return "%" not in text or text.isprintable()


def is_server_url(text: str) -> bool:
    """Tell whether text is a plain http(s) address: no userinfo, query or fragment."""
    try:
        url = urlsplit(text)
        host, has_sane_port = url.hostname or "", url.port != 0
    except ValueError:
        return False
    has_extras = "@" in url.netloc or "?" in text or "#" in text or not text.isprintable() or " " in text
    return url.scheme in {"http", "https"} and has_sane_port and is_host(host) and not has_extras


def _is_plain_text(text: str) -> bool:
    return bool(text.strip()) and text.isprintable()


Duration = Annotated[timedelta, PlainValidator(parse_duration)]
Size = Annotated[int, PlainValidator(parse_size)]
PositiveSize = Annotated[Size, must(lambda size: size > 0, "a size above 0")]
ListenAddress = Annotated[Listen, PlainValidator(parse_listen)]
LocalPath = Annotated[Path, PlainValidator(parse_path)]
PlainText = Annotated[str, must(_is_plain_text, "text that is not empty and holds no control characters")]
Host = Annotated[
    str, must(is_host, "a host name or an IP address, without port or brackets"), AfterValidator(str.lower)
]
ServerUrl = Annotated[
    str, must(is_server_url, 'an address such as "http://localhost:6333", without user name, password or query')
]
SourceNameText = Annotated[
    SourceName,
    must(
        lambda name: bool(_SOURCE_NAME.fullmatch(name)),
        "a name of 1 to 64 lower-case letters, digits and - _ . that begins with a letter or digit",
    ),
]
CollectionName = Annotated[
    str,
    must(
        lambda name: bool(_COLLECTION.fullmatch(name)),
        "a name of 1 to 128 letters, digits and - _ . that begins with a letter or digit",
    ),
]
Objective = Annotated[float, must(lambda share: 0 < share < 1, "a number between 0 and 1 such as 0.99")]
Share = Annotated[float, must(lambda share: 0 <= share <= 1, "a number from 0 to 1 such as 0.2")]
Count = Annotated[int, must(lambda count: count >= 0, "a whole number, 0 or more")]
