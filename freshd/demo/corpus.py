"""The demonstration's documents: real ones that every installation of freshd brings along.

The long descriptions of the installed distributions, and Python's own reference by topic:
nothing is downloaded, and nothing is made up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from itertools import chain, zip_longest
from pathlib import Path
from pydoc_data.topics import topics
from typing import Final

CHARACTERS_PER_CHUNK: Final = 200
"""Measured with freshd's own parsers and chunker: 318,803 characters of 150 such documents gave 1,604 chunks."""

_SMALLEST, _LARGEST = 300, 6_000
"""Characters. A shorter one is a line or two; the longest of Python's topics repeat the shorter ones."""

_EXTENSIONS: Final = {"text/markdown": "md", "text/x-rst": "rst"}


@dataclass(frozen=True, slots=True)
class Text:
    """A document that could be taken.

    Attributes:
        document_id: Its path below the documents' folder, with `/`.

    """

    document_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """What was written.

    Attributes:
        folder: Where the documents lie.
        texts: Those taken, the largest first.
        available: How many there were to choose from.

    """

    folder: Path
    texts: tuple[Text, ...]
    available: int

    @property
    def chunks(self) -> int:
        """About how many chunks they come to."""
        return sum(_chunks(text) for text in self.texts)


def write_corpus(folder: Path, max_chunks: int) -> Corpus:
    """Write as many real documents into a folder as come to about `max_chunks`, at least five."""
    found = list(_found())
    taken = _pick(found, max_chunks)
    for text in taken:
        path = folder / text.document_id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.text, encoding="utf-8")
    largest_first = sorted(taken, key=lambda text: (-len(text.text), text.document_id))
    return Corpus(folder, tuple(largest_first), len(found))


def headlines(limit: int) -> list[tuple[str, str]]:
    """Give the names and summaries of some installed distributions: what a feed of releases would say."""
    lines = {
        f"{distribution.name} {distribution.version}": distribution.metadata["Summary"]
        for distribution in distributions()
        if "Summary" in distribution.metadata
    }
    return sorted(lines.items())[:limit]


def _found() -> Iterator[Text]:
    """Give every document there is, one of each kind in turn."""
    packages = sorted(_descriptions(), key=lambda text: text.document_id.casefold())
    reference = [_text(f"python/{name}.rst", text) for name, text in sorted(topics.items())]
    in_turn = chain.from_iterable(zip_longest(packages, reference))
    return (text for text in in_turn if text is not None)


def _descriptions() -> Iterator[Text]:
    for name, distribution in {found.name: found for found in distributions()}.items():
        metadata = distribution.metadata
        if "Description" in metadata:
            declared = (metadata.get_all("Description-Content-Type") or [""])[0]
            extension = _EXTENSIONS.get(declared.partition(";")[0].strip().lower(), "txt")
            yield _text(f"packages/{name}.{extension}", metadata["Description"])


def _text(document_id: str, text: str) -> Text:
    """Write every line end the same way, so that a line number means the same to everybody."""
    return Text(document_id, "\n".join(text.splitlines()) + "\n")


def _pick(found: Sequence[Text], max_chunks: int) -> list[Text]:
    taken: dict[str, Text] = {}
    chunks = 0
    for text in found:
        if not _SMALLEST <= len(text.text) <= _LARGEST or text.text in taken:
            continue
        if chunks + _chunks(text) > max_chunks and len(taken) >= 5:
            break
        taken[text.text] = text
        chunks += _chunks(text)
    return list(taken.values())


def _chunks(text: Text) -> int:
    return -(-len(text.text) // CHARACTERS_PER_CHUNK)
