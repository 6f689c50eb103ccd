"""Finds the main text of web pages, without their menus and footers, in a child process with limits.

    whole page ─▶ child with limits (see `main_text.py`) ─▶ its main text as HTML, or a reason

Not the child that takes documents apart: a page that hangs holds up other pages, never an edit.
"""

from dataclasses import replace
from typing import Final

from freshd.model import Document
from freshd.parsers.limited import DEADLINE_S, LimitedParsers

_MODULE: Final = "freshd.parsers.main_text"


class LimitedPages:
    """`ports.MainText` over a child process. Safe to call from several threads, which take turns with the child."""

    def __init__(self, *, deadline_s: float = DEADLINE_S, module: str = _MODULE) -> None:
        """Start nothing yet.

        Args:
            deadline_s: For one page.
            module: What runs in the child; tests hand in one that misbehaves.

        """
        self._child = LimitedParsers(deadline_s=deadline_s, module=module)

    @property
    def child_pid(self) -> int | None:
        """Process id of the child, for people who look; None while there is none."""
        return self._child.child_pid

    def main_text(self, page: Document) -> Document:
        """Give a page with nothing but its main text, as HTML; itself where none can be told from the rest.

        Raises:
            ParseError: It is no page, or too much for the limits; the same again another time.
            ParserDied: The child was killed, maybe by something else.

        """
        found = self._child.parse(page).text
        return replace(page, content=found.encode(), encoding="utf-8") if found else page

    def close(self) -> None:
        """End the child, whatever it is at; idempotent."""
        self._child.close()
