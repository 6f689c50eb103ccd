"""The yardsticks of amplification: a splitter of fixed size, and the text that was in fact written."""

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence

SIZE, OVERLAP = 1000, 200
"""In characters: what most tutorials set."""

_SEPARATORS = ("\n\n", "\n", " ", "")


def split(text: str, separators: Sequence[str] = _SEPARATORS) -> list[str]:
    """Split as recursive character splitters do: at paragraphs, else lines, else words, else anywhere.

    Pieces are packed up to `SIZE` from the beginning on, each chunk repeating up to `OVERLAP` of the one before,
    so an edit may move every boundary behind it up to the next piece that is too large.
    """
    at = next(n for n, separator in enumerate(separators) if separator in text)
    chunks: list[str] = []
    fitting: list[str] = []
    for piece in _pieces(text, separators[at]):
        if len(piece) < SIZE:
            fitting.append(piece)
            continue
        chunks += _packed(fitting)
        fitting = []
        finer = separators[at + 1 :]
        chunks += split(piece, finer) if finer else [piece]
    return chunks + list(_packed(fitting))


def _pieces(text: str, separator: str) -> list[str]:
    """Cut before each separator, which stays with what follows."""
    if not separator:
        return list(text)
    first, *others = text.split(separator)
    return [piece for piece in (first, *(separator + other for other in others)) if piece]


def _packed(pieces: Iterable[str]) -> Iterator[str]:
    window: deque[str] = deque()
    length = 0
    for piece in pieces:
        if length + len(piece) > SIZE:
            yield from _stripped(window)
            while length > OVERLAP or (length and length + len(piece) > SIZE):
                length -= len(window.popleft())
        window.append(piece)
        length += len(piece)
    yield from _stripped(window)


def _stripped(window: Iterable[str]) -> Iterator[str]:
    text = "".join(window).strip()
    if text:
        yield text


def written(old: str, new: str) -> int:
    """Count the characters of the paragraphs that a new text has and the old one had not, however often."""
    return sum(len(paragraph) * n for paragraph, n in (_paragraphs(new) - _paragraphs(old)).items())


def _paragraphs(text: str) -> Counter[str]:
    return Counter(paragraph for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip())
