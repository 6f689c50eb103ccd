"""What the demonstration does to the sources, and what proves that the index followed.

A step is a write and a question: it is done when the daemon's own search answers with what was written,
or, for a deletion, no longer answers with what is gone.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from freshd.demo.corpus import Corpus, Text
from freshd.demo.daemon import POLL_S, Daemon
from freshd.demo.feedserver import Feed
from freshd.errors import FreshdError, ParseError
from freshd.model import BlockKind, Document, DocumentId, DocumentRef
from freshd.parsers import Parsers
from freshd.shapes import SearchHit

STEP_S = 30.0
"""Longest wait for a step; freshness targets here are a few seconds."""

_COUNT_S = 5.0
_QUERY_CHARACTERS = 200
_QUERIES = 8
_PARAGRAPHS = 3
"""A document with so many is worth an edit; among those the larger one goes first."""

Proof = Callable[[Sequence[SearchHit]], str | None]


@dataclass(frozen=True, slots=True)
class Step:
    """One change at a source.

    Attributes:
        name: What it is, in a few words.
        write: Does it.
        query: What the daemon is asked until it shows.
        proof: Says in one line how an answer proves it; None while it does not.

    """

    name: str
    write: Callable[[], object]
    query: str
    proof: Proof


@dataclass(frozen=True, slots=True)
class Measured:
    """What a step took.

    Attributes:
        seconds: From before the write until after the answer that proved it.
        fates: Chunks by what became of them.
        proof: As the step said.

    """

    name: str
    seconds: float
    fates: Counter[str]
    proof: str


@dataclass(frozen=True, slots=True)
class _Paragraph:
    text: str
    end_line: int


def perform(step: Step, daemon: Daemon) -> Measured:
    """Do a step and wait until it shows.

    Raises:
        FreshdError: It does not show in time, or the daemon ended.

    """
    before = daemon.fates()
    began_s = time.monotonic()
    step.write()
    while (proof := step.proof(daemon.search(step.query))) is None:
        late = f"did not show {step.name!r} within {STEP_S:.0f} s"
        daemon.check(late if time.monotonic() - began_s > STEP_S else None)
        time.sleep(POLL_S)
    seconds = time.monotonic() - began_s
    return Measured(step.name, seconds, _counted_since(before, daemon), proof)


def steps(corpus: Corpus, feed: Feed, daemon: Daemon) -> Iterator[Step]:
    """Give the steps one by one; the documents they need are looked up as each is asked for."""
    by_worth = sorted(corpus.texts, key=lambda text: -min(len(_paragraphs(text)), _PARAGRAPHS))
    edited, renamed, copied, deleted = by_worth[:4]
    yield _edit(corpus, edited)
    yield _add(corpus)
    yield _rename(corpus, renamed, daemon)
    yield _copy(corpus, copied, daemon)
    yield _delete(corpus, deleted, daemon)
    code = _code_word()
    entry_id = f"{feed.url.rpartition('/')[0]}/{code}"
    first = f"The {code} is in port."
    yield Step(
        "publish a feed entry",
        lambda: feed.publish(code, first),
        f"Where is the {code}?",
        _shows(entry_id, first),
    )
    second = f"The {code} is at sea."
    yield Step(
        "edit a feed entry",
        lambda: feed.edit(entry_id, second),
        f"Where is the {code} now?",
        _shows(entry_id, second),
    )


def _edit(corpus: Corpus, text: Text) -> Step:
    """Add a sentence to the paragraph in the middle of a document."""
    paragraphs = _paragraphs(text)
    place = paragraphs[len(paragraphs) // 2].end_line
    code = _code_word()
    sentence = f"The {code} has the key."

    def write() -> None:
        lines = text.text.split("\n")
        lines[place - 1] += f" {sentence}"
        (corpus.folder / text.document_id).write_text("\n".join(lines), encoding="utf-8")

    return Step("edit a paragraph", write, f"Does the {code} have the key?", _shows(text.document_id, sentence))


def _add(corpus: Corpus) -> Step:
    code = _code_word()
    sentence = f"The {code} lands at pier four."
    content = f"# Landing\n\n{sentence}\n\n## Tickets\n\nThey are sold on board.\n"
    path = corpus.folder / "landing.md"
    return Step(
        "add a document",
        lambda: path.write_text(content, encoding="utf-8"),
        f"Where does the {code} land?",
        _shows(path.name, sentence),
    )


def _rename(corpus: Corpus, text: Text, daemon: Daemon) -> Step:
    query, new_id = _query_for(text, daemon), _sibling(text.document_id, "renamed")

    def proof(hits: Sequence[SearchHit]) -> str | None:
        is_under_old_name = any(hit["document_id"] == text.document_id for hit in hits)
        place = _cited(new_id, hits)
        return None if is_under_old_name or place is None else f"{place}  and not in {text.document_id}"

    return Step(
        "rename a document",
        lambda: (corpus.folder / text.document_id).rename(corpus.folder / new_id),
        query,
        proof,
    )


def _copy(corpus: Corpus, text: Text, daemon: Daemon) -> Step:
    query, new_id = _query_for(text, daemon), _sibling(text.document_id, "copy")
    return Step(
        "copy a document",
        lambda: shutil.copyfile(corpus.folder / text.document_id, corpus.folder / new_id),
        query,
        lambda hits: _cited(new_id, hits),
    )


def _delete(corpus: Corpus, text: Text, daemon: Daemon) -> Step:
    query = _query_for(text, daemon)

    def proof(hits: Sequence[SearchHit]) -> str | None:
        is_there = any(hit["document_id"] == text.document_id for hit in hits)
        return None if is_there else f"documents/{text.document_id} is not found any more"

    return Step("delete a document", (corpus.folder / text.document_id).unlink, query, proof)


def _shows(document_id: str, phrase: str) -> Proof:
    def proof(hits: Sequence[SearchHit]) -> str | None:
        return _cited(document_id, [hit for hit in hits if phrase in " ".join(hit["text"].split())], phrase)

    return proof


def _cited(document_id: str, hits: Sequence[SearchHit], phrase: str | None = None) -> str | None:
    for hit in hits:
        if hit["document_id"] == document_id:
            first, last = hit["start_line"], hit["end_line"]
            place = f"{hit['source']}/{document_id}:{first}" + (f"-{last}" if last > first else "")
            return f"{place}  “{phrase}”" if phrase else place
    return None


def _query_for(text: Text, daemon: Daemon) -> str:
    """Find words of a document's own that the daemon finds it by now."""
    paragraphs = sorted(_paragraphs(text), key=lambda paragraph: -len(paragraph.text))
    for paragraph in paragraphs[:_QUERIES]:
        query = paragraph.text[:_QUERY_CHARACTERS]
        if any(hit["document_id"] == text.document_id for hit in daemon.search(query)):
            return query
    raise FreshdError(f"demo: documents/{text.document_id} is not found by its own words")


def _paragraphs(text: Text) -> list[_Paragraph]:
    document = Document(DocumentRef(DocumentId(text.document_id), ""), "", text.text.encode())
    try:
        parsed = Parsers().parse(document)
    except ParseError:
        return []
    return [
        _Paragraph(parsed.text[block.start : block.end], block.end_line)
        for block in parsed.blocks
        if block.kind is BlockKind.PARAGRAPH
    ]


def _counted_since(before: Counter[str], daemon: Daemon) -> Counter[str]:
    """Wait until all that a step changed is durable, and counted: search knows it a moment earlier."""
    give_up_at_s = time.monotonic() + _COUNT_S
    last: Counter[str] = Counter()
    while time.monotonic() < give_up_at_s:
        fates = daemon.fates() - before
        is_settled = not any(source["pending"] for source in daemon.sources().values())
        if fates and fates == last and is_settled:
            break
        last = fates
        time.sleep(4 * POLL_S)
    return last


def _sibling(document_id: str, suffix: str) -> str:
    path = Path(document_id)
    return path.with_name(f"{path.stem}-{suffix}{path.suffix}").as_posix()


def _code_word() -> str:
    """Make up a word that stands nowhere yet."""
    return f"kestrel-{token_hex(2)}"
