"""From a write to the first answer that shows it, with the daemon running, beside embedding one chunk.

The clock starts when the write has returned, and stops with the first `GET /search` that shows the new phrase.
To ask is to disturb: each question costs the daemon an embedding while it should embed the edit.
So some edits are made while nobody asks; of those, and of all others, the daemon's own record tells the lag.
"""

import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from freshd.compose import Whole
from freshd.ledger.database import Database
from freshd.ledger.history import Entry, SqliteHistory
from freshd.state import StateDirectory
from tests.bench.corpus import DjangoDocs, files, put
from tests.bench.daemon import Daemon, running
from tests.bench.instance import Instance, chunks_of, reindex
from tests.bench.report import Cell, Table
from tests.bench.timing import percentile, took, until

PART = "howto"
EDITS = 100
UNASKED = 40
_UNASKED_FOR_S = 1.0
_PATIENCE_S = 30.0
_SEED = 7
_PARAGRAPH = re.compile(r"\n\n(?=\S)")
"""Where a paragraph may be inserted: not inside an indented block."""


@dataclass(frozen=True, slots=True)
class _Edit:
    """One edit: where and how it was written, within when it was applied, and what it took to be found and embedded."""

    document_id: str
    way: str
    began_at: datetime
    ended_at: datetime
    found_s: float
    embedding_s: float


def run(docs: DjangoDocs, scratch: Path) -> Table:
    """Index a part of the documentation, start the daemon, and edit."""
    instance = Instance(scratch)
    put(docs.tree("5.2") / PART, instance.docs)
    n_files = len(files(instance.docs))
    with instance.open() as whole:
        reindex(whole)
        n_chunks = whole.store.count()
    # The other one is never indexed: it tells what freshd would embed, while the daemon has the state to itself.
    with Instance(scratch / "other", instance.docs).open() as other, running(instance) as daemon:
        first_s, *searches = [took(partial(daemon.finds, f"how to do thing {n}")) for n in range(21)]
        sum(1 for _ in other.recipe.embedder.embed_passages(["loads the model"]))
        edits = list(_edits(instance.docs, daemon, other))
        shown = daemon.source()["lag_seconds"]
    lags = _lags(instance, edits)
    return Table(
        f"latency: {len(edits)} edits among {n_files} files, {n_chunks:,} chunks, the daemon running",
        ("", "n", "p50 ms", "p95 ms", "p99 ms", "p50 × embedding", "p95 × embedding"),
        tuple(_rows(edits, lags, searches, shown)),
        (
            "write → found: asked again 3 ms after each answer; a figure is too high by up to one search.",
            "own lag: from the file's ctime to the switch in search, as the daemon's history has it.",
            "embedding one chunk: the one with the new phrase, in another process, once the daemon was done with it.",
            f"one search: the very first after the start took {first_s * 1000:.0f} ms and is not among them.",
        ),
    )


def _rows(
    edits: Sequence[_Edit], lags: Sequence[float], searches: Sequence[float], shown: dict[str, float | None]
) -> Iterator[tuple[Cell, ...]]:
    embeddings = [edit.embedding_s for edit in edits]

    def row(title: str, times: Sequence[float]) -> tuple[Cell, ...]:
        times_s = [percentile(times, share) for share in (0.5, 0.95, 0.99)]
        shares = [times_s[n] / percentile(embeddings, share) for n, share in enumerate((0.5, 0.95))]
        return title, len(times), *(t * 1000 for t in times_s), *shares

    asked = edits[:EDITS]
    yield row("write → found", [edit.found_s for edit in asked])
    for way in _WAYS:
        yield row(f"  {way}", [edit.found_s for edit in asked if edit.way == way])
    yield row("own lag of these edits", lags[:EDITS])
    yield row("own lag while nobody asks", lags[EDITS:])
    in_ms = {name: None if seconds is None else seconds * 1000 for name, seconds in shown.items()}
    yield "own lag as /status shows it", len(edits), in_ms["p50"], None, in_ms["p99"], None, None
    yield row("embedding one chunk", embeddings)
    yield row("one search, nothing else going on", searches)


# Edits


def _edits(docs: Path, daemon: Daemon, other: Whole) -> Iterator[_Edit]:
    """Insert one paragraph after another, each into some file, and wait for each."""
    chance = random.Random(_SEED)
    documents = files(docs)
    for n in range(EDITS + UNASKED):
        document_id, way = chance.choice(list(documents)), tuple(_WAYS)[n % len(_WAYS)]
        phrase = f"marker{n:03d}q{chance.randrange(16**6):06x}"
        text = documents[document_id].read_text()
        at = chance.choice([match.end() for match in _PARAGRAPH.finditer(text)] or [len(text)])
        sentence = f"The rule that {phrase} stands for was agreed on by the team this year.\n\n"
        began_at = datetime.now(UTC)
        _WAYS[way](documents[document_id], text[:at] + sentence + text[at:])
        if n >= EDITS:
            time.sleep(_UNASKED_FOR_S)
        is_found = partial(daemon.finds, phrase)
        found_s = took(partial(until, is_found, f"{phrase} is found", patience_s=_PATIENCE_S))
        until(daemon.is_settled, "nothing is pending", patience_s=_PATIENCE_S)
        ended_at = datetime.now(UTC)
        yield _Edit(document_id, way, began_at, ended_at, found_s, _embedding_s(other, document_id, phrase))


def _embedding_s(other: Whole, document_id: str, phrase: str) -> float:
    """Embed the chunk that holds the phrase, with nothing else going on."""
    text = next(piece.embedded_text for piece in chunks_of(other, document_id) if phrase in piece.text)
    return took(lambda: list(other.recipe.embedder.embed_passages([text])))


def _write_in_place(path: Path, text: str) -> None:
    path.write_text(text)


def _write_and_rename(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text)
    draft.replace(path)


_WAYS = {"written in place": _write_in_place, "written beside and renamed": _write_and_rename}


# What the daemon says


def _lags(instance: Instance, edits: Sequence[_Edit]) -> list[float]:
    """Give each edit's lag in seconds, as the history has it."""
    with closing(Database(StateDirectory(instance.state_dir).ledger_path)) as database:
        history = SqliteHistory(database)
        entries = history.entries(limit=history.last_seq())
    return [_lag(edit, entries) for edit in edits]


def _lag(edit: _Edit, entries: Sequence[Entry]) -> float:
    lags = [
        entry.lag_s
        for entry in entries
        if entry.document_id == edit.document_id
        and entry.fates.embedded
        and entry.lag_s is not None
        and edit.began_at <= entry.durable_at <= edit.ended_at
    ]
    if len(lags) != 1:
        raise RuntimeError(f"expected one change in the history for the edit of {edit.document_id}, got {len(lags)}")
    return lags[0]
