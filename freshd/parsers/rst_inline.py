"""Titles in reStructuredText as their reader sees them, without inline markup."""

import re
from collections.abc import Callable
from typing import Final

VERSION = "rst-inline-1"

_MOST_TITLE_SOURCE_CHARACTERS: Final = 2000
"""No path shows more; it also bounds the work on a hostile line."""

_ROLE_OR_LINK = re.compile(r":[A-Za-z][\w:.+-]*:`([^`]+)`|`([^`]+)`(?::[A-Za-z][\w:.+-]*:|__?)?")
_WITH_TARGET = re.compile(r"(.*\S)\s*<[^<>]+>", re.DOTALL)
_LITERAL = re.compile(r"``(.+?)``")
_EMPHASIS = re.compile(r"(?<![\w*\\])(\*{1,2}|\|)(?![\s*|])(.+?)(?<![\s\\])\1(?![\w*|])")
_ESCAPE = re.compile(r"\\(.)")
# Where set-aside literals stood; private-use characters of a source would only be taken for an absent literal.
_PLACE = re.compile("\ue000(\\d+)\ue001")


def plain_title(source: str) -> str:
    """Strip inline markup from a title: roles and links become their text, literals their content."""
    literals: list[str] = []

    def set_aside(found: re.Match[str]) -> str:
        literals.append(found[1])
        return f"\ue000{len(literals) - 1}\ue001"

    text = _LITERAL.sub(set_aside, source[:_MOST_TITLE_SOURCE_CHARACTERS])
    text = _ROLE_OR_LINK.sub(_shown, text)
    text = _EMPHASIS.sub(lambda found: found[2], text)
    text = _ESCAPE.sub(lambda found: "" if found[1].isspace() else found[1], text)
    return " ".join(_PLACE.sub(_put_back(literals), text).split())


def _shown(found: re.Match[str]) -> str:
    """Give the text of interpreted text or a link: its own, or that before `<target>`."""
    content = found[1] or found[2]
    with_target = _WITH_TARGET.fullmatch(content)
    if with_target:
        return with_target[1]
    # Sphinx: `~pkg.mod.Name` shows only Name, `!Name` shows Name without a link.
    return content.rpartition(".")[2] if content.startswith("~") else content.lstrip("!")


def _put_back(literals: list[str]) -> Callable[[re.Match[str]], str]:
    """Make the replacement that puts literals back where they stood."""
    return lambda found: literals[int(found[1])] if int(found[1]) < len(literals) else found[0]
