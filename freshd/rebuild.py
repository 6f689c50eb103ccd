"""Makes a ledger out of what the store says of itself, or has an old one believe the store again.

    store: points ─▶ payload ─▶ scratch table ─────────────▶ Found ───────────────────▶ ledger
                                by document and ordinal,     a whole revision, or ids
                                proved by the chunk's id     of which nothing is known

A chunk's id proves its text, its labels follow from its payload, so that a document is whole
when its chunks count from 0, say the same of their document, and are what their ids claim.
Whatever else is there becomes unknown: the next look at its source rewrites or removes it.
"""

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

from freshd import faults
from freshd.chunker import chunk_id, proved_text, text_digest
from freshd.errors import CollectionMismatch, StateError, StateUnusable
from freshd.ledger import history, seal
from freshd.ledger.database import Database
from freshd.ledger.forgetting import owe
from freshd.ledger.scratch import open_scratch, scratch_told
from freshd.ledger.takeover import Found, Taken, count_anew, take_over
from freshd.model import ChunkId, Digest, DocumentId, HeldChunk, SourceName, Vector
from freshd.payload import stated
from freshd.ports import Clock, Embedder, Store, StoredPoint
from freshd.stores.wire import cosine

PAGE = 256

_SAMPLE = 16
_SAME_DIRECTION = 0.99
"""Least cosine of two vectors of one text by one model, on whatever processors."""

_DOCUMENTS_AT_ONCE, _TOMBSTONES_AT_ONCE = 500, 10_000
_SHA256_HEX = 64

_SCRATCH = """
CREATE TABLE points (
    source TEXT NOT NULL, document_id TEXT NOT NULL, ordinal INTEGER NOT NULL, chunk_id TEXT NOT NULL,
    digest TEXT NOT NULL, chunk_label TEXT NOT NULL, label TEXT NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY (source, document_id, ordinal, chunk_id)
) WITHOUT ROWID
"""


class _Row(NamedTuple):
    """What one point says; `digest` is that of its text, empty where the text does not prove it."""

    source: str
    document_id: str
    ordinal: int
    chunk_id: str
    digest: str
    chunk_label: str
    label: str
    content: str


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came of it.

    Attributes:
        points: Looked at.
        taken: Documents, by what became of them.
        nameless: Points that name no document of freshd's: nothing can be said of them.

    """

    points: int
    taken: Mapping[Taken, int]
    nameless: int


class Survey:
    """Reads every point of a store once and tells what it holds of each document. Used from one thread; close it."""

    def __init__(self, store: Store, max_tokens: int, folder: Path) -> None:
        """Prepare.

        Args:
            store: Open.
            max_tokens: Of the limits that chunks were cut with.
            folder: Has room for some 350 bytes of each point, or StoreUnavailable is raised; nothing stays there.

        """
        self._store = store
        self._max_tokens = max_tokens
        self._folder = folder
        self._scratch = open_scratch(folder, _SCRATCH)
        self.points = 0
        self.nameless = 0

    def read(self, on_progress: Callable[[int, int], None] = lambda *_: None) -> None:
        """Read all points, a page at a time; the store may be searched meanwhile, and is not written."""
        last, total = None, self._store.count()
        while page := self._store.scroll(last, PAGE):
            rows = [row for point in page if (row := _row(point, self._max_tokens)) is not None]
            with scratch_told(self._folder), self._scratch:
                self._scratch.executemany("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self.points += len(page)
            self.nameless += len(page) - len(rows)
            last = page[-1].chunk_id
            on_progress(self.points, max(total, self.points))

    def documents(self) -> Iterator[Found]:
        """Give what the store holds of each document, in order of source and id."""
        with scratch_told(self._folder):
            found = self._scratch.execute("SELECT * FROM points ORDER BY source, document_id, ordinal, chunk_id")
            rows = map(_Row._make, found)
            for (source, document_id), group in groupby(rows, key=lambda row: (row.source, row.document_id)):
                yield _found(SourceName(source), DocumentId(document_id), list(group))

    def close(self) -> None:
        """Let go of the scratch table."""
        self._scratch.close()


def _row(point: StoredPoint, max_tokens: int) -> _Row | None:
    """Read what a point says; None where it names no document, or is another's: no id of freshd's is a number."""
    said, text = stated(point.payload), _text(point, max_tokens)
    is_named = bool(said.source and said.document_id) and _is_text(said.source + said.document_id)
    if point.chunk_id.isdecimal() or not is_named:
        return None
    digest = "" if text is None else text_digest(text)
    ordinal = -1 if said.ordinal is None else said.ordinal
    content = said.content_sha256 if _is_digest(said.content_sha256) else ""
    labels = said.chunk_label, said.document_label
    return _Row(said.source, said.document_id, ordinal, point.chunk_id, digest, *labels, content)


def _found(source: SourceName, document_id: DocumentId, rows: Sequence[_Row]) -> Found:
    chunks = tuple(HeldChunk(ChunkId(row.chunk_id), Digest(row.chunk_label)) for row in rows)
    if not _is_whole(source, document_id, rows):
        return Found(source, document_id, chunks)
    return Found(source, document_id, chunks, Digest(rows[0].content), Digest(rows[0].label))


def _is_whole(source: SourceName, document_id: DocumentId, rows: Sequence[_Row]) -> bool:
    """Tell whether these are the chunks of one revision, in order, as far as they can tell themselves.

    That the last ones are missing does not show: the next look at the source tells.
    """
    if len({(row.content, row.label) for row in rows}) != 1 or not all(row.content and row.label for row in rows):
        return False
    times_seen: Counter[str] = Counter()
    for ordinal, row in enumerate(rows):
        name = chunk_id(source, document_id, Digest(row.digest), times_seen[row.digest])
        if row.ordinal != ordinal or not row.digest or not row.chunk_label or row.chunk_id != name:
            return False
        times_seen[row.digest] += 1
    return True


def check_model(
    store: Store,
    embedder: Embedder,
    cached: Callable[[Digest, Iterable[Digest]], Mapping[Digest, Vector]],
    max_tokens: int,
) -> None:
    """Refuse a model that did not make the store's vectors: a lost ledger cannot tell any more which one did.

    Args:
        store: Open.
        embedder: That of the config.
        cached: Gives those of its vectors that are remembered, by the digest of their text; others are computed.
        max_tokens: Of the limits that chunks were cut with.

    Raises:
        CollectionMismatch: Of a few points, most have other vectors.

    """
    held = _sample(store, max_tokens)
    digests = {text_digest(text): text for text in held}
    made = {digests[digest]: vector for digest, vector in cached(embedder.identity, digests).items()}
    missing = [text for text in held if text not in made]
    try:
        made |= {missing[index]: vector for index, vector in embedder.embed_passages(missing)} if missing else {}
        n_same = sum(cosine(vector, made[text]) >= _SAME_DIRECTION for text, vector in held.items())
    except ValueError:  # more than this model reads
        n_same = 0
    if 2 * n_same < len(held):
        raise CollectionMismatch(
            f"index: of {len(held)} vectors {n_same} are those of the model that the config names, expected most",
            hint="name in [embedding] model the one that the index was made with, then: freshd ledger rebuild",
        )


def _sample(store: Store, max_tokens: int) -> dict[str, Vector]:
    """Give vectors of a few texts; others' points, of which many may come first on a server, are walked past."""
    held: dict[str, Vector] = {}
    last = None
    while len(held) < _SAMPLE and (page := store.scroll(last, PAGE, with_vectors=True)):
        for point in page:
            text = _text(point, max_tokens)
            if text is not None and point.dense is not None:
                held[text] = point.dense
        last = page[-1].chunk_id
    return dict(islice(held.items(), _SAMPLE))


def _text(point: StoredPoint, max_tokens: int) -> str | None:
    """Give what was embedded, if the payload says so."""
    said = stated(point.payload)
    if said.text is None or said.heading_path is None:
        return None
    return proved_text(said.heading_path, said.text, said.digest, max_tokens)


def believe(database: Database, survey: Survey, now: datetime) -> Rebuilt:
    """Write into a ledger what a survey found; what both say alike stays as it is."""
    taken: Counter[Taken] = Counter()
    documents = survey.documents()
    while page := list(islice(documents, _DOCUMENTS_AT_ONCE)):
        taken.update(take_over(database, page, now))
        faults.hit("mid_rebuild")
    count_anew(database)
    return Rebuilt(survey.points, {kind: taken[kind] for kind in Taken}, survey.nameless)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a ledger is rebuilt.

    Attributes:
        ledger: Its file; whatever is there is set aside, not deleted.
        seal: What tells that ledger and index belong together.

    """

    ledger: Path
    seal: Path

    @property
    def draft(self) -> Path:
        """Where it is built."""
        return self.ledger.with_name(f"{self.ledger.name}.new")

    @property
    def was_cut_off(self) -> bool:
        """Whether a rebuild was cut off that had set the former ledger aside, with which nothing else knows.

        Its draft was whole by then, and sealed; one that is not was cut off before, and knows nothing.
        """
        if self.ledger.exists() or not self.draft.exists():
            return False
        with suppress(StateError), closing(Database(self.draft, may_create=False)) as draft:
            return self.seal.exists() and seal.fits(draft, self.seal)
        return False

    def take_up(self, now: datetime) -> None:
        """Have the draft of a rebuild that was cut off so stand for the former ledger: it knows what was forgotten."""
        if self.was_cut_off:
            _set_aside(self.ledger, now)  # its log, which SQLite would take for the draft's
            self.draft.replace(self.ledger)
        elif not self.ledger.exists():
            _discard(self.draft)


def rebuild(
    place: Place,
    instance: str,
    prepare: Callable[[Database], None],
    survey: Survey,
    clock: Clock,
    *,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> tuple[Rebuilt, Path | None]:
    """Build a ledger from the store beside the present one, then put it in its place.

    Cut off at any moment, either ledger is there, or the present one is set aside and freshd refuses to begin
    until this is done again: never is there a ledger that knows less than it should.

    Args:
        place: Locked by this process.
        instance: Whose the points are; the new ledger takes it on.
        prepare: Has the new ledger remember what it has to as a whole, such as which generation is live.
        survey: Not read yet.
        clock: Dates.
        on_progress: Hears points looked at, and points in all, about.

    Returns:
        What came of it, and where the former file is; None where there was none.

    Raises:
        StoreUnavailable: The store did not answer; nothing was changed.
        StateUnusable: It cannot be written.

    """
    try:
        return _rebuilt(place, instance, prepare, survey, clock, on_progress)
    except OSError as error:
        what = f"ledger {place.draft}: cannot be written: {error.strerror}"
        raise StateUnusable(what, hint="free some disk space, then: freshd ledger rebuild") from error


def _rebuilt(
    place: Place,
    instance: str,
    prepare: Callable[[Database], None],
    survey: Survey,
    clock: Clock,
    on_progress: Callable[[int, int], None],
) -> tuple[Rebuilt, Path | None]:
    _discard(place.draft)
    with closing(Database(place.draft, instance=instance)) as database:
        prepare(database)
        history.part(database, clock.now())
        _keep_out(place.ledger, database)
        survey.read(on_progress)
        rebuilt = believe(database, survey, clock.now())
        seal.renew(database, place.seal)
    if _with(place.draft, "-wal").exists():
        raise StateUnusable(f"ledger {place.draft}: its log could not be taken in", hint="freshd ledger rebuild")
    _sync(place.draft)
    faults.hit("before_rebuild_swap")
    aside = _set_aside(place.ledger, clock.now())
    faults.hit("mid_rebuild_swap")
    place.draft.replace(place.ledger)
    _sync(place.ledger.parent)
    return rebuilt, aside


def _keep_out(damaged: Path, database: Database) -> None:
    """Save from a damaged ledger what nothing else knows: which documents somebody had forgotten.

    Whether they have left the store's files it does not say any more.
    """
    for page in _tombstones(damaged):
        with database.write() as tx:
            tx.executemany("INSERT OR IGNORE INTO forgotten VALUES (?)", page)
            owe(tx)


def _tombstones(damaged: Path) -> Iterator[list[tuple[bytes]]]:
    """Read the tombstones of a ledger, of which anything may be left; what cannot be read of it is lost."""
    if not damaged.exists():
        return
    page: list[tuple[bytes]] = []
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{damaged.resolve().as_uri()}?mode=ro", uri=True)) as old:
        for row in old.execute("SELECT tombstone FROM forgotten"):  # one by one: those before a damaged page are read
            page.append(row)
            if len(page) == _TOMBSTONES_AT_ONCE:
                yield page
                page = []
    if page:
        yield page


def _set_aside(ledger: Path, now: datetime) -> Path | None:
    """Keep a ledger and its log under another name; first the file, so that nobody takes one for the other's."""
    aside = ledger.with_name(f"{ledger.name}.damaged-{now:%Y%m%dT%H%M%SZ}")
    is_there = ledger.exists()
    if is_there:
        ledger.rename(aside)
    log = _with(ledger, "-wal")
    if log.exists() and log.stat().st_size:
        log.rename(_with(aside, "-wal"))
    for end in ("-wal", "-shm", "-journal"):
        _with(ledger, end).unlink(missing_ok=True)
    _sync(ledger.parent)
    return aside if is_there else None


def _discard(draft: Path) -> None:
    """Delete what an attempt that was cut off left."""
    for end in ("", "-wal", "-shm", "-journal"):
        _with(draft, end).unlink(missing_ok=True)


def _with(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_digest(text: str) -> bool:
    return len(text) == _SHA256_HEX and not set(text) - set("0123456789abcdef")
