"""Turns what may come from anywhere into pieces of HTML that say it and nothing else.

Titles, ids and reasons come from documents: each is made printable, bounded, escaped, and kept from turning
the direction of its neighbours.
"""

import re
import shlex
from collections.abc import Mapping
from datetime import datetime
from html import escape

from freshd import wording
from freshd.redaction import printable

MAX_CHARACTERS = 160
"""Of a name that is shown; the whole of it, as far as `MAX_TITLE_CHARACTERS` go, shows when it is pointed at."""

MAX_TITLE_CHARACTERS = 4_096

MAX_LINE_CHARACTERS = 600
"""Of a reason or an error."""

_COMMAND = re.compile("`([^`]+)`")
UNBROKEN = "\N{NO-BREAK SPACE}"

MARKS: Mapping[str, str] = {
    "pass": '<circle cx="8" cy="8" r="7"/><path d="M4.8 8.3l2.2 2.2 4.2-4.8"/>',
    "warn": '<path class="solid" d="M8 1.2L15.4 14.4H.6Z"/><path d="M8 5.8v4.4M8 12v.6"/>',
    "error": '<rect x="1" y="1" width="14" height="14" rx="2"/><path d="M5.2 5.2l5.6 5.6M10.8 5.2l-5.6 5.6"/>',
    "unknown": '<circle class="hollow" cx="8" cy="8" r="6.4"/>'
    '<path d="M6.1 6.3a1.95 1.95 0 1 1 2.9 1.7c-.7.4-1 .8-1 1.4M8 11.6v.2"/>',
}
"""A shape for each status, so that it can be told without its colour."""


def plain(text: str, limit: int = MAX_TITLE_CHARACTERS) -> str:
    """Escape a text for an element or an attribute; what is longer than the limit loses its middle."""
    shown = printable(text)
    if len(shown) > limit:
        end = limit // 3
        shown = f"{shown[: limit - end - 1]}…{shown[-end:]}"
    return escape(shown)


def name(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Show a name or a reason that somebody else chose."""
    title = f' title="{plain(text)}"' if len(text) > limit else ""
    return f'<bdi class="name"{title}>{plain(text, limit)}</bdi>'


def line(text: str) -> str:
    """Show a line that says what is wrong; what stands between backticks is a command."""
    marked = _COMMAND.sub(r"<code>\1</code>", plain(text, MAX_LINE_CHARACTERS))
    return f'<bdi class="name">{marked}</bdi>'


def duration(seconds: float | None) -> str:
    """Show measured seconds; number and unit stay together."""
    return wording.duration(seconds).replace(" ", UNBROKEN)


def setting(seconds: float) -> str:
    """Show configured seconds; number and unit stay together."""
    return wording.setting(seconds).replace(" ", UNBROKEN)


def percent(share: float, precision: str = ".0f") -> str:
    """Show a share; number and sign stay together."""
    return f"{share * 100:{precision}}{UNBROKEN}%"


def command(*words: str) -> str:
    """Show a command line, quoted so that it can be pasted into a shell."""
    return f"<code>{plain(shlex.join(words))}</code>"


def status(word: str) -> str:
    """Show a status as a shape and a word, in its colour."""
    kind = word if word in MARKS else "unknown"
    shape = f'<svg class="mark" viewBox="0 0 16 16" aria-hidden="true">{MARKS[kind]}</svg>'
    return f'<strong class="status {kind}">{shape}{plain(word)}</strong>'


def when(instant: str, now: datetime) -> str:
    """Show how far an instant is from now; the instant itself shows when it is pointed at."""
    seconds = (now - datetime.fromisoformat(instant)).total_seconds()
    distance = f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"
    return f'<time datetime="{plain(instant)}" title="{plain(instant)}">{distance}</time>'


def bar(shares: Mapping[str, float]) -> str:
    """Draw shares of a whole side by side, by the class that colours each; the words beside it say the same."""
    pieces, begin = [], 0.0
    for kind, share in shares.items():
        width = min(max(share, 0.0), 1.0 - begin)
        if width > 0:
            pieces.append(f'<rect class="{kind}" x="{begin:.2%}" width="{width:.2%}" height="100%"/>')
        begin += width
    return f'<svg class="bar" aria-hidden="true"><rect class="rail" width="100%" height="100%"/>{"".join(pieces)}</svg>'


def fact(label: str, value: str, *notes: str) -> str:
    """Show one labelled value of a list of them, with smaller notes below it; empty notes are left out."""
    below = "".join(f'<dd class="note">{note}</dd>' for note in notes if note)
    return f"<div><dt>{label}</dt><dd>{value}</dd>{below}</div>"


def counted(number: int, noun: str) -> str:
    """Say how many there are: `1 document`, `1,204 documents`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
