"""How much a document may come to: what is larger is refused with a reason, before it costs what it costs.

Part of no recipe: they decide whether a document is taken apart, never how.
"""

from typing import Final

from freshd.errors import ParseError
from freshd.model import ParsedDocument

MIB: Final = 1 << 20

MAX_TEXT_CHARACTERS: Final = 10 * MIB
"""Measured: to find the passages of so much prose takes half a minute; it is a book of 3,000 pages."""

MAX_BLOCKS: Final = 100_000
MAX_LINES: Final = 500_000
"""Of a text. Measured: 700,000 paragraphs of one letter took 37 s and 1.1 GiB to take apart."""

MAX_EXPANDED_BYTES: Final = 200 * MIB
MAX_RATIO: Final = 100
"""To how many times its size an archive may expand; small ones may to `HARMLESS_BYTES`."""
HARMLESS_BYTES: Final = 10 * MIB
MAX_MEMBERS: Final = 10_000

_TOO_LARGE: Final = "split it into several documents, or leave it out with `exclude`"


def expect_readable(text: str) -> None:
    """Refuse a text that is too large to be taken apart.

    Raises:
        ParseError: It is.

    """
    expect_characters(len(text))
    _expect(text.count("\n"), MAX_LINES, "lines")


def expect_characters(number: int) -> None:
    """Refuse a text by its length alone, before it is written.

    Raises:
        ParseError: It would be too large to be taken apart.

    """
    _expect(number, MAX_TEXT_CHARACTERS, "characters of text")


def expect_bounded(parsed: ParsedDocument) -> None:
    """Refuse a document that came to too much.

    Raises:
        ParseError: It did.

    """
    expect_characters(len(parsed.text))
    _expect(len(parsed.blocks), MAX_BLOCKS, "paragraphs and headings")


def _expect(number: int, most: int, what: str) -> None:
    if number > most:
        raise ParseError(f"got {number:,} {what}, expected at most {most:,}", hint=_TOO_LARGE)
