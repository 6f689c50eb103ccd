"""What text may be shown to people: no secrets, no control characters.

Pure, and below every room that writes messages, so that logs, config and endpoint agree.
"""

import re

MASK = "***"
"""What stands where a secret was."""

_SECRET_WORDS = frozenset({"authorization", "cookie", "password", "passwd", "secret", "secrets", "token"})
_SECRET_ENDINGS = ("api_key", "apikey", "private_key", "access_key")

# The last `@` before the path ends the userinfo, even where a password wrongly holds another one.
_USERINFO = re.compile(r"(?<=://)[^\s/?#\"'<>]*@")
# A name that tells of no secret is passed over whole: each character is looked at once, whatever the text.
_QUERY_SECRET = re.compile(
    r"""(?ix) (?<= [?&;] ) (?:
            (?= [^=&;\#\s"'<>]*?
                (?: token | key | secret | passw | pwd | auth | signature | \bsig\b | credential | session ) )
            ( [^=&;\#\s"'<>]++ = ) [^&;\#\s"'<>]+
        | [^=&;\#\s"'<>]++ )"""
)


_ZWJ = "\u200d"
_PICTURE = "\u2190-\u2bff\U0001f000-\U0001faff"
_JOINED = re.compile(f"(?<=[{_PICTURE}\ufe0f]){_ZWJ}(?=[{_PICTURE}])")


def is_secret_key(key: str) -> bool:
    """Tell whether a value under this key must not be shown, whatever it is.

    `token` and `X-Api-Key` are secret, `max_tokens` and `token_file` are not.
    """
    words = key.lower().replace("-", "_")
    return words.rpartition("_")[2] in _SECRET_WORDS or words.endswith(_SECRET_ENDINGS)


def without_url_secrets(text: str) -> str:
    """Mask userinfo and query secrets of every URL in a text; what is not a URL stays as it is."""
    return _QUERY_SECRET.sub(_masked, _USERINFO.sub(f"{MASK}@", text))


def _masked(found: re.Match[str]) -> str:
    return f"{found[1]}{MASK}" if found[1] else found[0]


def printable(text: str) -> str:
    r"""Escape what could forge a line or move the cursor: controls, bidi marks, lone surrogates.

    Backslashes stay single: the result is for reading, not for parsing.
    What joins two pictures into one, as in 👩‍💻, stays.
    """
    if text.isprintable():
        return text
    return _ZWJ.join(_escaped(part) for part in _JOINED.split(text))


def _escaped(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
