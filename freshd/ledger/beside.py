"""What the generation beside the live one holds, and where it is behind the live one.

What is left to do is computed, never recorded: a document is behind when the two slots do not say the same of it.
So a change of the live generation, whenever it comes, makes its document behind again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Connection, Row

from freshd.ledger import rows, steps
from freshd.ledger.database import Database
from freshd.ledger.forgetting import STAYS
from freshd.ledger.generations import BESIDE, LIVE
from freshd.model import ChunkId, Digest, DocumentId, DocumentRef, Revision, SourceName
from freshd.ports import CARRIED, Applied, Intent

_BEHIND = (
    "SELECT d.*, EXISTS (SELECT 1 FROM unknown AS u WHERE u.doc = d.doc) AS is_unsure"
    " FROM documents AS d LEFT JOIN documents_beside AS b USING (doc)"
    " WHERE d.doc > ? AND d.doc <= ? AND (CASE WHEN d.is_applied"
    " THEN b.doc IS NULL OR b.digest != d.digest OR b.recipe NOT IN (?, ?) ELSE b.doc IS NOT NULL END"
    " OR d.doc IN (SELECT doc FROM unknown_beside)) ORDER BY d.doc LIMIT ?"
)

_LOST = "SELECT doc, chunk_id FROM chunks_beside WHERE chunk_id > ? ORDER BY chunk_id LIMIT ?"


@dataclass(frozen=True, slots=True)
class Behind:
    """A document of which the generation beside does not hold what the live one does.

    Attributes:
        doc: Its number; rises in the order of work.
        ref: As the newest look saw it; None when it was deleted since.
        digest: Of what the live generation holds of it; None when that is nothing.
        recipe: What made the live chunks; None when there are none.
        is_unsure: A broken attempt left some of the live chunks unknown.

    """

    doc: int
    source: SourceName
    document_id: DocumentId
    ref: DocumentRef | None
    digest: Digest | None
    recipe: Digest | None
    is_unsure: bool


class BesideLedger:
    """The books of the generation beside; every method is one transaction. Only the thread that writes changes it."""

    def __init__(self, database: Database) -> None:
        """Work on an open database."""
        self._database = database

    def last_doc(self) -> int:
        """Give the highest number of a document; 0 when there is none."""
        return int(self._database.read("SELECT coalesce(max(doc), 0) AS n FROM documents")[0]["n"])

    def behind(self, recipe: Digest, after: int, through: int, limit: int) -> list[Behind]:
        """Give documents that are behind, by number.

        Args:
            recipe: What the generation beside is made by.
            after: Only numbers above it.
            through: Only numbers up to it.
            limit: At most so many.

        """
        return [_behind(row) for row in self._database.read(_BEHIND, (after, through, recipe, CARRIED, limit))]

    def revision(self, source: SourceName, document_id: DocumentId) -> Revision:
        """Give what stands beside of a document, and its unknown ids there."""
        sql = "SELECT doc, b.* FROM documents LEFT JOIN documents_beside AS b USING (doc)"
        found = self._database.read(f"{sql} WHERE source = ? AND document_id = ?", (source, document_id))
        if not found:
            return Revision()
        (row,), doc = found, found[0]["doc"]
        chunks = self._database.read("SELECT chunk_id, label FROM chunks_beside WHERE doc = ? ORDER BY ordinal", (doc,))
        unknown = self._database.read("SELECT chunk_id FROM unknown_beside WHERE doc = ?", (doc,))
        return Revision(
            row["version"] or 0,
            row["digest"],
            row["recipe"],
            row["label"],
            tuple(map(rows.held_chunk, chunks)),
            frozenset(rows.unpack_id(one["chunk_id"]) for one in unknown),
        )

    def doc_of(self, source: SourceName, document_id: str) -> int | None:
        """Give a document's number; None when the ledger does not know it."""
        sql = "SELECT doc FROM documents WHERE source = ? AND document_id = ?"
        found = self._database.read(sql, (source, document_id))
        return int(found[0]["doc"]) if found else None

    def begin(self, intents: Sequence[Intent]) -> list[bool]:
        """Make the touched ids unknown, for every intent that still stands."""
        with self._database.write() as tx:
            return [_begin(tx, intent) for intent in intents]

    def commit(self, applied: Sequence[Applied]) -> None:
        """Make certain what the store beside now holds."""
        with self._database.write() as tx:
            for item in applied:
                _commit(tx, item)

    def certain_chunks(self) -> int:
        """Count the chunks that the store beside must hold, unless it lost some."""
        sql = "SELECT count(*) AS n FROM chunks_beside WHERE chunk_id NOT IN (SELECT chunk_id FROM unknown_beside)"
        return int(self._database.read(sql)[0]["n"])

    def certain(self, after: ChunkId | None, limit: int) -> list[ChunkId]:
        """Give chunks that stand beside, a page in id order."""
        first = b"" if after is None else rows.pack_id(after)
        return [rows.unpack_id(row["chunk_id"]) for row in self._database.read(_LOST, (first, limit))]

    def doubt(self, chunk_ids: Sequence[ChunkId]) -> None:
        """Take back the claim that the store beside holds some chunks; their documents are behind from here on."""
        sql = "INSERT OR IGNORE INTO unknown_beside SELECT doc, chunk_id FROM chunks_beside WHERE chunk_id = ?"
        with self._database.write() as tx:
            tx.executemany(sql, [(rows.pack_id(chunk_id),) for chunk_id in chunk_ids])


class GenerationChunks:
    """The applied chunks of one generation, in whichever slot it stands at the moment."""

    def __init__(self, database: Database, name: str) -> None:
        """Look into an open database; the name is the generation's."""
        self._database = database
        self._name = name

    def admitted(self, chunk_ids: Sequence[ChunkId]) -> set[ChunkId]:
        """Look the ids up in one look: a switch is before it or after it."""
        found = self._database.read(
            f"SELECT chunk_id FROM chunks WHERE chunk_id IN {rows.AMONG} AND {STAYS} AND {_stands_in(LIVE)}"
            " UNION ALL SELECT chunk_id FROM chunks_beside"
            f" WHERE chunk_id IN {rows.AMONG} AND {STAYS} AND {_stands_in(BESIDE)}",
            {"ids": rows.pack_ids(chunk_ids), "name": self._name},
        )
        return {rows.unpack_id(row["chunk_id"]) for row in found}

    def around(self, chunk_ids: Sequence[ChunkId], reach: int) -> dict[ChunkId, tuple[ChunkId, ...]]:
        """Look up what stands around the ids, in one look as well."""
        found = self._database.read(
            f"{rows.neighbours('chunks')} AND {STAYS} AND {_stands_in(LIVE)} UNION ALL"
            f" {rows.neighbours('chunks_beside')} AND {STAYS} AND {_stands_in(BESIDE)} ORDER BY ordinal",
            {"ids": rows.pack_ids(chunk_ids), "reach": reach, "name": self._name},
        )
        return rows.runs(found)

    def still_at(self, versions: Mapping[tuple[SourceName, str], int]) -> set[tuple[SourceName, str]]:
        """Look up which documents still are of these versions and may be shown, in one look as well."""
        beside = rows.of_version("coalesce(b.version, 0)", " LEFT JOIN documents_beside AS b USING (doc)")
        found = self._database.read(
            f"{rows.of_version('version')} AND {STAYS} AND {_stands_in(LIVE)}"
            f" UNION ALL {beside} AND {STAYS} AND {_stands_in(BESIDE)}",
            {"versions": rows.pack_versions(versions), "name": self._name},
        )
        return {(row["source"], row["document_id"]) for row in found}


def _stands_in(slot: str) -> str:
    return f"EXISTS (SELECT 1 FROM meta WHERE key = '{slot}' AND json_extract(value, '$.name') = :name)"


def _behind(row: Row) -> Behind:
    fingerprint, document_id = row["fingerprint"], DocumentId(row["document_id"])
    ref = None
    if fingerprint is not None:
        ref = DocumentRef(document_id, fingerprint, identity=row["identity"], is_racy=bool(row["is_racy"]))
    return Behind(
        row["doc"],
        SourceName(row["source"]),
        document_id,
        ref,
        row["digest"],
        row["recipe"],
        bool(row["is_unsure"]),
    )


def _begin(tx: Connection, intent: Intent) -> bool:
    row = steps.find(tx, intent.source, intent.document_id)
    if row is None:
        return False
    beside = tx.execute("SELECT version FROM documents_beside WHERE doc = ?", (row["doc"],)).fetchone()
    if (beside["version"] if beside else 0) != intent.version:
        return False
    tx.executemany(
        "INSERT OR IGNORE INTO unknown_beside VALUES (?, ?)",
        [(row["doc"], rows.pack_id(chunk_id)) for chunk_id in sorted(intent.touched)],
    )
    return True


def _commit(tx: Connection, item: Applied) -> None:
    row = steps.find(tx, item.outcome.change.source, item.outcome.change.document_id)
    if row is None:
        return
    doc = row["doc"]
    before = tx.execute("SELECT version FROM documents_beside WHERE doc = ?", (doc,)).fetchone()
    for table in ("documents_beside", "chunks_beside", "unknown_beside"):
        tx.execute(f"DELETE FROM {table} WHERE doc = ?", (doc,))
    if item.ref is None:
        steps.drop_names(tx, doc)
        return
    version = before["version"] + 1 if before else 1
    tx.execute(
        "INSERT INTO documents_beside VALUES (?, ?, ?, ?, ?)", (doc, version, item.digest, item.recipe, item.label)
    )
    tx.executemany(
        "INSERT INTO chunks_beside VALUES (?, ?, ?, ?)",
        [(doc, n, rows.pack_id(c.chunk_id), bytes.fromhex(c.label)) for n, c in enumerate(item.chunks)],
    )
