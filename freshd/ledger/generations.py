"""Which generations there are: the live one, and at most one beside it, in the ledger's second set of tables.

    (none) ─ begin ─▶ filling ─ switch ─▶ it is live, the former one is retired ─ doom ─▶ doomed ─ buried ─▶ (none)
                       ▲  │                                  │
                       └──┴── retire, resume ────────────────┘

A document's row, its chunks and its unknown ids stand in `documents`, `chunks`, `unknown` for the live generation,
in the tables of those names with `_beside` for the other. Everything else is of documents, not of generations.
"""

import json
import sqlite3
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from freshd.ledger import steps
from freshd.ledger.database import Database
from freshd.model import Digest
from freshd.payload import rfc3339
from freshd.ports import CARRIED

LIVE, BESIDE, DOOMED = "generation.live", "generation.beside", "generation.doomed"


class Role(StrEnum):
    """What a generation is there for."""

    LIVE = "live"
    FILLING = "filling"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Generation:
    """A collection that holds one recipe's points.

    Attributes:
        name: Of the collection, or of its directory.
        collection: What the config calls it; `name` begins with it.
        recipe: Identity of how its documents become points.
        embedder: Identity of its model.
        model: What opens that model: `bundled`, a name, or an absolute path.
        dimension: Length of its dense vectors.
        since: When it took on its role.

    """

    name: str
    collection: str
    recipe: Digest
    embedder: Digest
    model: str
    dimension: int
    since: datetime
    role: Role = Role.LIVE


class Progress(NamedTuple):
    """How much of the live generation stands beside.

    Attributes:
        documents: That stand there.
        of: That the live generation holds.
        chunks: That the live generation holds.

    """

    documents: int
    of: int
    chunks: int


class SqliteGenerations:
    """The generations of one ledger; every change is one transaction. Only the thread that writes changes anything."""

    def __init__(self, database: Database) -> None:
        """Work on an open database."""
        self._database = database

    @property
    def live(self) -> Generation | None:
        """The one that is searched; None in a new ledger."""
        return parsed(self._database.recall(LIVE))

    @property
    def beside(self) -> Generation | None:
        """The one that is being filled, or kept to go back to; None while there is none."""
        return parsed(self._database.recall(BESIDE))

    @property
    def doomed(self) -> list[str]:
        """Names of collections that are being deleted; nothing else is known of them any more."""
        names: list[str] = json.loads(self._database.recall(DOOMED) or "[]")
        return names

    def adopt(self, generation: Generation) -> None:
        """Make one live, in a new ledger or under another name."""
        self._database.remember(LIVE, _text(replace(generation, role=Role.LIVE)))

    def begin(self, generation: Generation) -> None:
        """Begin to fill one; there is none beside the live one yet."""
        with self._database.write() as tx:
            _clear(tx)
            _remember(tx, BESIDE, _text(replace(generation, role=Role.FILLING)))

    def resume(self, now: datetime) -> None:
        """Go on filling the one beside."""
        self._become(Role.FILLING, now)

    def retire(self, now: datetime) -> None:
        """Fill the one beside no further, and keep it for a while."""
        self._become(Role.RETIRED, now)

    def doom(self, name: str) -> None:
        """Note, before it begins, that a collection is going to be deleted; the one beside is let go of if it is that.

        Args:
            name: Of a collection that is, or is about to become, this ledger's own; never of the live one.

        """
        live, beside = self.live, self.beside
        if live is not None and live.name == name:
            raise ValueError(f"generation {name}: is the live one, which nobody discards")
        with self._database.write() as tx:
            if beside is not None and beside.name == name:
                tx.execute("DELETE FROM meta WHERE key = ?", (BESIDE,))
                _clear(tx)
            _remember(tx, DOOMED, json.dumps(sorted({*self.doomed, name})))

    def buried(self, name: str) -> None:
        """Note that a doomed collection is gone."""
        self._database.remember(DOOMED, json.dumps([one for one in self.doomed if one != name]))

    def switch(self, now: datetime) -> None:
        """Make the one beside live and keep the former, in one step; whoever calls has seen that nothing is behind."""
        live, beside = self.live, self.beside
        if live is None or beside is None:
            raise RuntimeError("there is nothing to switch to")
        with self._database.write() as tx:
            for table in ("chunks", "unknown"):
                _swap(tx, table)
            _swap_documents(tx)
            _read_carried_again(tx, now)
            tx.execute(
                "UPDATE sources SET chunks ="
                " (SELECT count(*) FROM documents JOIN chunks USING (doc) WHERE source = sources.name)"
            )
            _remember(tx, LIVE, _text(replace(beside, role=Role.LIVE, since=now)))
            _remember(tx, BESIDE, _text(replace(live, role=Role.RETIRED, since=now)))

    def progress(self) -> Progress:
        """Count what stands beside, and what the live generation holds."""
        row = self._database.read(
            "SELECT (SELECT count(*) FROM documents_beside WHERE digest != '') AS beside,"
            " coalesce(sum(documents), 0) AS live, coalesce(sum(chunks), 0) AS chunks FROM sources"
        )[0]
        return Progress(min(row["beside"], row["live"]), row["live"], row["chunks"])

    def _become(self, role: Role, now: datetime) -> None:
        beside = self.beside
        if beside is None:
            raise RuntimeError("there is no generation beside the live one")
        self._database.remember(BESIDE, _text(replace(beside, role=role, since=now)))


def _swap(tx: sqlite3.Connection, table: str) -> None:
    tx.execute(f"ALTER TABLE {table} RENAME TO {table}_leaving")
    tx.execute(f"ALTER TABLE {table}_beside RENAME TO {table}")
    tx.execute(f"ALTER TABLE {table}_leaving RENAME TO {table}_beside")


def _swap_documents(tx: sqlite3.Connection) -> None:
    """Exchange what the two slots say of each document; all that are applied stand in both by now."""
    columns = "doc, version, digest, recipe, label"
    tx.execute("CREATE TEMP TABLE arriving (doc INTEGER PRIMARY KEY, version, digest, recipe, label)")
    tx.execute(f"INSERT INTO arriving SELECT {columns} FROM documents_beside")
    tx.execute("DELETE FROM documents_beside")
    tx.execute(f"INSERT INTO documents_beside SELECT {columns} FROM documents WHERE is_applied")
    tx.execute(
        "UPDATE documents SET version = max(documents.version, a.version) + 1,"  # has moved on from both
        " digest = a.digest, recipe = a.recipe, label = a.label FROM arriving AS a WHERE a.doc = documents.doc"
    )
    tx.execute("DROP TABLE arriving")


def _read_carried_again(tx: sqlite3.Connection, now: datetime) -> None:
    """Have what was taken over from the former generation be read: it stands as that one's recipe cut it, or textless.

    What can still not be read shows as failing. Of a source that left the config nothing is, until it is back.
    """
    configured = "source IN (SELECT name FROM sources WHERE removed_at IS NULL)"
    steps.read_again(tx, now, f"recipe = :carried AND {configured}", carried=CARRIED)
    tx.execute("UPDATE documents SET recipe = '' WHERE recipe = ?", (CARRIED,))


def _clear(tx: sqlite3.Connection) -> None:
    for table in ("documents_beside", "chunks_beside", "unknown_beside"):
        tx.execute(f"DELETE FROM {table}")
    steps.drop_names(tx)


def _remember(tx: sqlite3.Connection, key: str, value: str) -> None:
    tx.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _text(generation: Generation) -> str:
    return json.dumps({**asdict(generation), "since": rfc3339(generation.since)})


def parsed(text: str | None) -> Generation | None:
    """Read what is remembered of a generation; None where nothing is."""
    if text is None:
        return None
    fields: dict[str, Any] = json.loads(text)
    since, role = datetime.fromisoformat(fields.pop("since")), Role(fields.pop("role"))
    return Generation(**fields, since=since, role=role)
