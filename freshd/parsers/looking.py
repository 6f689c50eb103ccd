"""Tells reStructuredText, Markdown, HTML and prose apart by looking at the text.

Many trees name all their pages `.txt` whatever the markup, so the name says nothing.
Each sign of a markup counts its weight; signs that both markups share tell only that it is one of them.
A few signs suffice for markup, none means prose: text parsed as the wrong markup keeps all its words,
it only loses headings.
"""

import re
from collections.abc import Sequence
from typing import Final

from freshd.parsers.media import Format

VERSION = "looking-1"

_LOOKED_AT_CHARACTERS: Final = 16 * 1024
_LOOKED_AT_LINE_CHARACTERS: Final = 1000
_ENOUGH: Final = 2
_TITLE_WEIGHT: Final = 2

# (weight, pattern matched at the start of a line)
_RST_LINES: Final = (
    (3, re.compile(r"\s*\.\. +(?:\|[^|]+\| +)?[A-Za-z][\w.+:-]*::(?:\s|$)")),  # directive
    (3, re.compile(r"\.\. +_[^:]+:")),  # target
    (1, re.compile(r"\.\. +\S")),  # comment
    (1, re.compile(r":[A-Za-z][\w -]{0,40}:(?:\s|$)")),  # field
)
_MARKDOWN_LINES: Final = (
    (3, re.compile(r" {0,3}(?:```|~~~)[\w{}.+-]*\s*$")),  # fence
    (3, re.compile(r" {0,3}\|?\s*:?-{3,}:?\s*(?:\|\s*:?-{3,}:?\s*)+\|?\s*$")),  # table
    (2, re.compile(r" {0,3}\[[^\]^]+\]:\s+\S")),  # link definition
    (2, re.compile(r" {0,3}\[\^[^\]]+\]:\s")),  # footnote
    (2, re.compile(r"\s*[-*+] \[[ xX]\] ")),  # task
)
_RST_INLINE: Final = (
    (3, re.compile(r"(?<![\w`]):[a-z][\w:.+-]{0,30}:`[^`]+`")),  # role
    (3, re.compile(r"(?<!`)`[^`<]+ <[^<>`]+>`__?")),  # link
    (1, re.compile(r"(?<![\w`])`[^`]+`_(?!\w)")),  # reference
)
_MARKDOWN_INLINE: Final = (
    (2, re.compile(r"\[[^\[\]]+\]\((?:https?:|#|\.{0,2}/|mailto:|[\w-]+\.\w)[^()\s]*\)")),  # link
    (2, re.compile(r"!\[[^\[\]]*\]\(")),  # image
)

_HTML_START = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,2000}?-->\s*)?<(?:!doctype\s+html|html)\b", re.I | re.S)
_ATX = re.compile(r"#{1,6} +\S")
_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1{2,}\s*$")
_SETEXT_CHARACTERS: Final = "=-"


def look(text: str) -> Format:
    """Judge a text whose type nobody declared; cheap however long the text is."""
    if _HTML_START.match(text[:_LOOKED_AT_CHARACTERS]):
        return Format.HTML
    lines = [line[:_LOOKED_AT_LINE_CHARACTERS] for line in text[:_LOOKED_AT_CHARACTERS].split("\n")]
    structure, shared = _weigh_rst_structure(lines)
    rst = _weigh(lines, _RST_LINES, _RST_INLINE) + structure
    markdown = _weigh(lines, _MARKDOWN_LINES, _MARKDOWN_INLINE) + _weigh_atx_headings(lines)
    if max(rst, markdown) + shared < _ENOUGH:
        return Format.TEXT
    return Format.RST if rst >= markdown else Format.MARKDOWN


_Signs = Sequence[tuple[int, re.Pattern[str]]]


def _weigh(lines: Sequence[str], at_start: _Signs, anywhere: _Signs) -> int:
    """Add up the signs that one line alone gives."""
    total = 0
    for line in lines:
        total += next((weight for weight, sign in at_start if sign.match(line)), 0)
        total += sum(weight for weight, sign in anywhere if sign.search(line))
    return total


def _weigh_rst_structure(lines: Sequence[str]) -> tuple[int, int]:
    """Add up the signs that need more than one line.

    Returns:
        Weight for reStructuredText alone (literal blocks, titles no other markup has),
        and weight of titles that could be Markdown's as well.

    """
    rst = shared = 0
    for above, line, below, after in zip(["", *lines], lines, [*lines[1:], ""], [*lines[2:], "", ""], strict=False):
        if line and not line.isspace() and (adornment := _ADORNMENT.match(below)) and not _ADORNMENT.match(line):
            is_overlined = above.rstrip() == below.rstrip()
            if is_overlined or (adornment[1] not in _SETEXT_CHARACTERS and len(below.rstrip()) >= len(line.rstrip())):
                rst += _TITLE_WEIGHT
            elif not line[0].isspace():
                shared += _TITLE_WEIGHT
        elif line.rstrip().endswith("::") and not below.strip() and after[:1].isspace():
            rst += 2
    return rst, shared


def _weigh_atx_headings(lines: Sequence[str]) -> int:
    """Add up `# Headings` that stand alone; a run of them is a commented-out block of something else."""
    total = 0
    is_first = True
    for above, line, below in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        stands_alone = not above.strip() and not below.strip()
        if stands_alone and _ATX.match(line):
            total += 2 if is_first and line.startswith("# ") else 1
        is_first = is_first and not line.strip()
    return total
