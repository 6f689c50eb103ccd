"""Parsers: bytes in, text and blocks out.

    Document ─▶ format known? ─▶ is it text at all? ─▶ decode ─▶ else look ─▶ that format's parser ─▶ ParsedDocument
              (signs, media)       (binary)          (encoding)  (looking)

`Parsers` does it here and now; `LimitedParsers` has a child process with limits do what may hang or explode.
One module knows one format; `formats` only decides which of them is asked.
"""

from freshd.parsers.formats import Parsers
from freshd.parsers.limited import LimitedParsers

__all__ = ["LimitedParsers", "Parsers"]
