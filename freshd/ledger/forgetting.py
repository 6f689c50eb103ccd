"""What is taken out of the index on purpose: documents that are forgotten, and sources that left the config.

forget  tombstones and intent in one transaction ─▶ withdraw ─▶ (store, cache) ─▶ drop ─▶ scrub ─▶ (files) ─▶ expunged
prune                                               withdraw ─▶ (store)        ─▶ drop

withdraw  the ids of some documents become unknown, search shows nothing of them
drop      every row of them is gone
scrub     no former state of them is left in the ledger's file
expunged  nor in the store's files

A tombstone is a hash: it keeps a document out without keeping its name.
A crash leaves the intent, by which the next start goes on.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from freshd.ledger import history, rows
from freshd.ledger.database import Database, from_us, to_us
from freshd.model import ChunkId, DocumentId, Sighting, SourceName

STAYS = "doc NOT IN (SELECT doc FROM forgetting)"
"""Of what is being forgotten nothing is shown any more."""

_AT_ONCE = 500
"""Documents of a listing that are looked up together; keeps a million of them out of memory."""

_TOMBSTONES = f"SELECT tombstone FROM forgotten WHERE tombstone IN {rows.among(32)}"

_HOLDS_ANY = "EXISTS (SELECT 1 FROM documents WHERE source = sources.name)"
"""Asked of a source; one look into an index, however many documents there are."""

_SCRUB, EXPUNGE = "scrub", "expunge"
"""What is still to be done since something was forgotten last, in the ledger's file and in the store's."""

_GIVEN = "doc IN (SELECT value FROM json_each(?1))"
"""Of documents whose keys are bound as one value."""

_CHUNKS = "(SELECT count(*) FROM chunks c WHERE c.doc = d.doc)"
_BY_DOCUMENT = ("pending", "unknown", "chunks", "unknown_beside", "chunks_beside", "documents_beside", "documents")


@dataclass(frozen=True, slots=True)
class Removed:
    """A source that left the config, and what the index still holds of it.

    Attributes:
        since: When freshd first ran without it; None while it has not.

    """

    name: SourceName
    documents: int
    chunks: int
    since: datetime | None


def tombstone(source: SourceName, document_id: DocumentId) -> bytes:
    """Give the SHA-256 by which a forgotten document is known again."""
    return hashlib.sha256(f"{source}\0{document_id}".encode("utf-8", "surrogatepass")).digest()


def is_forgotten(tx: sqlite3.Connection, source: SourceName, document_id: DocumentId) -> bool:
    """Tell whether a document is to stay out, within a transaction."""
    found = tx.execute("SELECT 1 FROM forgotten WHERE tombstone = ?", (tombstone(source, document_id),)).fetchone()
    return found is not None


def owe(tx: sqlite3.Connection) -> None:
    """Note that what was forgotten has to leave the files of ledger and store, whatever was done about that before."""
    occasion = uuid4().hex
    tx.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(_SCRUB, occasion), (EXPUNGE, occasion)])


class SqliteForgetting:
    """Tombstones, what is being forgotten, and sources that left the config; each change one transaction."""

    def __init__(self, database: Database) -> None:
        """Work on an open ledger database."""
        self._database = database

    # What stays out

    def is_forgotten(self, source: SourceName, document_id: DocumentId) -> bool:
        """Tell whether a document is to stay out."""
        return bool(self._tombstones([tombstone(source, document_id)]))

    def without_forgotten(self, source: SourceName, listing: Iterable[Sighting]) -> Iterator[Sighting]:
        """Pass a listing on, but for what is to stay out; holds some hundred of it at a time.

        What is forgotten while it is walked may slip through: it is not recorded all the same.
        """
        if not self._database.read("SELECT 1 FROM forgotten LIMIT 1"):
            yield from listing
            return
        page: list[Sighting] = []
        for seen in listing:
            page.append(seen)
            if len(page) >= _AT_ONCE:
                yield from self._admitted(source, page)
                page.clear()
        yield from self._admitted(source, page)

    def _admitted(self, source: SourceName, page: Sequence[Sighting]) -> Iterator[Sighting]:
        out = self._tombstones([tombstone(source, seen.document_id) for seen in page])
        yield from (seen for seen in page if tombstone(source, seen.document_id) not in out)

    def _tombstones(self, hashes: Sequence[bytes]) -> set[bytes]:
        return {row["tombstone"] for row in self._database.read(_TOMBSTONES, {"ids": b"".join(hashes)})}

    # What is forgotten

    def forget(self, source: SourceName, document_ids: Sequence[DocumentId]) -> int:
        """Keep documents out from now on, and note that every trace of them is to go; give how many were known."""
        with self._forgotten() as tx:
            tombstones = [(tombstone(source, document_id),) for document_id in document_ids]
            tx.executemany("INSERT OR IGNORE INTO forgotten VALUES (?)", tombstones)
            keys = [(source, document_id) for document_id in document_ids]
            known = "SELECT doc FROM documents WHERE source = ? AND document_id = ?"
            before = tx.total_changes
            tx.executemany(f"INSERT OR IGNORE INTO forgetting {known}", keys)
            n_known = tx.total_changes - before
            for key in keys:
                history.erase(tx, *key)
            return n_known

    def forget_source(self, source: SourceName, *, spare: DocumentId | None = None) -> int:
        """Forget every document that is known of a source, and all of its history; give how many were known.

        Args:
            source: Configured or not.
            spare: One that stays, such as the one that freshd writes itself.

        """
        with self._forgotten() as tx:
            known = "FROM documents WHERE source = ? AND document_id IS NOT ?"
            names = tx.execute(f"SELECT document_id {known}", (source, spare))
            tx.executemany("INSERT OR IGNORE INTO forgotten VALUES (?)", ((tombstone(source, n),) for (n,) in names))
            n_known = tx.execute(f"INSERT OR IGNORE INTO forgetting SELECT doc {known}", (source, spare)).rowcount
            history.erase(tx, source)
            tx.execute("UPDATE sources SET last_error = NULL WHERE name = ?", (source,))
            return n_known

    @contextmanager
    def _forgotten(self) -> Iterator[sqlite3.Connection]:
        with self._database.write() as tx:
            yield tx
            doomed = "doc IN (SELECT doc FROM forgetting)"
            tx.execute(f"DELETE FROM pending WHERE {doomed}")
            # What is under way for them is given up: it was planned for another version.
            tx.execute(f"UPDATE documents SET version = version + 1 WHERE {doomed}")
            history.mark_gap(tx)
            owe(tx)

    def undo(self, source: SourceName, document_id: DocumentId) -> bool:
        """Let a document in again, if it was kept out; the next listing has to show everything for it to be found."""
        with self._database.write() as tx:
            key = (tombstone(source, document_id),)
            was_out = tx.execute("DELETE FROM forgotten WHERE tombstone = ?", key).rowcount > 0
            if was_out:
                tx.execute("UPDATE sources SET wants_everything = 1 WHERE name = ?", (source,))
            return was_out

    def is_known(self, source: SourceName, document_id: DocumentId | None = None) -> bool:
        """Tell whether documents, or the history, know of a source or of one document of it."""
        where, values = "source = ?1", tuple[str, ...]((source,))
        if document_id is not None:
            where, values = "source = ?1 AND document_id = ?2", (source, document_id)
        sql = f"SELECT 1 FROM documents WHERE {where} UNION ALL SELECT 1 FROM history WHERE {where} LIMIT 1"
        return bool(self._database.read(sql, values))

    def below(self, source: SourceName, folder: str) -> list[DocumentId]:
        """List the documents of a source whose ids begin with this one and a slash."""
        place = folder.rstrip("/")
        sql = "SELECT document_id FROM documents WHERE source = ? AND document_id > ? AND document_id < ?"
        found = self._database.read(sql, (source, place + "/", place + "0"))
        return [DocumentId(row["document_id"]) for row in found]

    # What leaves, page by page

    def being_forgotten(self, limit: int, most_chunks: int) -> list[int]:
        """Give keys of documents that are to be forgotten, at most so many, with at most so many chunks, about."""
        return self._page("doc IN (SELECT doc FROM forgetting)", (), limit, most_chunks)

    def of_source(self, source: SourceName, limit: int, most_chunks: int) -> list[int]:
        """Give keys of documents of a source, likewise."""
        return self._page("source = ?", (source,), limit, most_chunks)

    def _page(self, where: str, values: tuple[str, ...], limit: int, most_chunks: int) -> list[int]:
        sql = f"SELECT doc, {_CHUNKS} AS n FROM documents d WHERE {where} LIMIT ?"
        found = self._database.read(sql, (*values, limit))
        page: list[int] = []
        n_chunks = 0
        for row in found:
            n_chunks += row["n"]
            if page and n_chunks > most_chunks:
                break
            page.append(row["doc"])
        return page

    def withdraw(self, docs: Sequence[int]) -> set[ChunkId]:
        """Make all ids of some documents unknown, so that nothing is shown of them; give these ids."""
        values = (json.dumps(docs),)
        with self._database.write() as tx:
            for end in ("", "_beside"):
                chunks = f"SELECT doc, chunk_id FROM chunks{end} WHERE {_GIVEN}"
                tx.execute(f"INSERT OR IGNORE INTO unknown{end} {chunks}", values)
            # The plus: by its own choice SQLite goes through all documents of the source for these few.
            applied = f"FROM documents d WHERE +d.source = name AND d.is_applied AND d.{_GIVEN}"
            tx.execute(
                f"UPDATE sources SET documents = documents - (SELECT count(*) {applied}),"
                f" chunks = chunks - (SELECT coalesce(sum({_CHUNKS}), 0) {applied}), wants_everything = 1"
                f" WHERE name IN (SELECT source FROM documents WHERE {_GIVEN})",
                values,
            )
            for table in ("pending", "chunks", "chunks_beside", "documents_beside"):
                tx.execute(f"DELETE FROM {table} WHERE {_GIVEN}", values)
            # A fingerprint that equals no other: should its source come back, the next look sees it afresh.
            tx.execute(
                "UPDATE documents SET version = version + 1, is_applied = 0, fingerprint = '',"
                f" digest = NULL, recipe = NULL, label = NULL WHERE {_GIVEN}",
                values,
            )
            halves = (f"SELECT chunk_id FROM unknown{end} WHERE {_GIVEN}" for end in ("", "_beside"))
            return {rows.unpack_id(row["chunk_id"]) for row in tx.execute(" UNION ".join(halves), values)}

    def drop(self, docs: Sequence[int]) -> None:
        """Let go of all that is remembered of some documents, and of removed sources that held nothing else."""
        values = (json.dumps(docs),)
        with self._database.write() as tx:
            doomed = f"SELECT source, document_id FROM documents JOIN forgetting USING (doc) WHERE {_GIVEN}"
            # What was under way may have told of it since, and somebody may have heard that.
            if sum(history.erase(tx, *row) for row in tx.execute(doomed, values).fetchall()):
                history.mark_gap(tx)
            for table in (*_BY_DOCUMENT, "forgetting"):
                tx.execute(f"DELETE FROM {table} WHERE {_GIVEN}", values)
            _drop_emptied(tx)

    # What must not linger

    @property
    def must_scrub(self) -> bool:
        """Whether something was forgotten that the file may still hold."""
        return self._database.recall(_SCRUB) is not None

    def scrub(self) -> bool:
        """Leave no text of what was deleted in the file and its log; False while somebody reads an old state of it."""
        occasion = self._database.recall(_SCRUB)
        if not self._database.scrub():
            return False
        self._done(_SCRUB, occasion)
        return True

    @property
    def occasion(self) -> str | None:
        """Name of the last time that something was forgotten, while the store's files may hold it; None once not."""
        return self._database.recall(EXPUNGE)

    def expunged(self, occasion: str) -> None:
        """Note that the store's files hold nothing of what was removed before an occasion; a later one stays noted."""
        self._done(EXPUNGE, occasion)

    def _done(self, what: str, occasion: str | None) -> None:
        """Note it, unless there is more to be forgotten by now."""
        with self._database.write() as tx:
            is_all = "NOT EXISTS (SELECT 1 FROM forgetting)"
            tx.execute(f"DELETE FROM meta WHERE key = ? AND value = ? AND {is_all}", (what, occasion))

    # Which sources left

    def note_configured(self, names: Sequence[SourceName], now: datetime) -> None:
        """Remember since when sources are not in the config; those that are back are as if they had never left."""
        values = (json.dumps(names), to_us(now))
        configured = "name IN (SELECT value FROM json_each(?1))"
        with self._database.write() as tx:
            tx.execute(f"UPDATE sources SET removed_at = ?2 WHERE removed_at IS NULL AND NOT {configured}", values)
            tx.execute(f"UPDATE sources SET removed_at = NULL WHERE {configured}", values[:1])
            _drop_emptied(tx)

    def removed(self, configured: Sequence[SourceName]) -> list[Removed]:
        """List the sources that the ledger knows and the config does not."""
        found = self._database.read(
            "SELECT name, documents, chunks, removed_at FROM sources"
            f" WHERE name NOT IN (SELECT value FROM json_each(?)) AND {_HOLDS_ANY} ORDER BY name",
            (json.dumps(configured),),
        )
        return [
            Removed(SourceName(row["name"]), row["documents"], row["chunks"], from_us(row["removed_at"]))
            for row in found
        ]


def _drop_emptied(tx: sqlite3.Connection) -> None:
    emptied = f"SELECT name FROM sources WHERE removed_at IS NOT NULL AND NOT {_HOLDS_ANY}"
    for table in ("trail", "pending_counts"):
        tx.execute(f"DELETE FROM {table} WHERE source IN ({emptied})")
    tx.execute(f"DELETE FROM sources WHERE name IN ({emptied})")
