"""Parsers: bytes in, text and blocks out.

    Document ─▶ format known? ─▶ is it text at all? ─▶ decode ─▶ else look ─▶ that format's parser ─▶ ParsedDocument
              (signs, media)       (binary)          (encoding)  (looking)

`Parsers` does it here and now; `LimitedParsers` has a child process with limits do what may hang or explode.
`LimitedPages` finds the main text of a web page in the same way, for a connector that hands over such pages.
One module knows one format; `formats` only decides which of them is asked.
"""

from freshd.parsers.formats import Parsers
from freshd.parsers.limited import LimitedParsers
from freshd.parsers.limited_pages import LimitedPages

__all__ = ["LimitedPages", "LimitedParsers", "Parsers"]
