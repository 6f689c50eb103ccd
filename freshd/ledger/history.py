"""The append-only record of applied changes; lag percentiles and objectives are computed from it."""

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from freshd.freshness import Tried
from freshd.ledger import rows
from freshd.ledger.database import Database, from_us, to_us
from freshd.model import ChangeKind, DocumentId, Fates, SourceName
from freshd.ports import Applied

_OF_WINDOW = (
    "source = ?1 AND durable_at >= ?2 AND is_backfill = 0 AND searchable_at >= changed_at"
    " AND (?3 = '[]' OR document_id NOT IN (SELECT value FROM json_each(?3)))"
)
"""Searchable before it changed: the clock was set back in between, and nobody knows the lag.

Only where something is left out is anything read beside the index: for 300,000 changes that takes three times as long.
"""

_MOST_LAGS = 2_000
"""Percentiles are those of the newest so many: twenty lie beyond the 99th, and every status reads them all."""

_FORGOTTEN_AT_ONCE = 5_000

_GAP = "history_gap"

_CANARIES = "history_canaries"
"""Remembered: by source, the ids of its canaries, former ones included. Their changes stay as long as any."""

COPIED = "history_copied"
"""Remembered in a copy of a ledger: numbers that follow here were given out there as well."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One applied change, as it is remembered.

    Attributes:
        seq: Rises with every change; where a reader of the stream takes up again.
        lag_s: Searchable instant − change instant in seconds;
            None for backfill, which makes no lag, and where the clock was set back in between.

    """

    seq: int
    source: SourceName
    document_id: DocumentId
    kind: ChangeKind
    previous_id: DocumentId | None
    changed_at: datetime
    searchable_at: datetime | None
    durable_at: datetime
    fates: Fates
    embedded_characters: int
    is_clamped: bool
    lag_s: float | None


@dataclass(frozen=True, slots=True)
class Lags:
    """Lags of finished changes in seconds, the newest of a window."""

    changes_s: tuple[float, ...] = ()
    deletions_s: tuple[float, ...] = ()


def append(tx: sqlite3.Connection, item: Applied, changed_at: datetime | None) -> None:
    """Remember an applied change within the transaction that applies it.

    Args:
        tx: That transaction.
        item: What was applied.
        changed_at: The change instant as the ledger has it; None leaves it as the change says.

    """
    outcome, change = item.outcome, item.outcome.change
    changed_at = changed_at or change.changed_at
    target = item.pending.target
    lag = None if outcome.searchable_at is None else outcome.searchable_at - changed_at
    is_within = None if target is None or lag is None else lag <= target
    fates = outcome.fates
    tx.execute(
        "INSERT INTO history (source, document_id, kind, previous_id, changed_at, searchable_at, durable_at,"
        " is_backfill, is_clamped, is_within_target, embedded, reused, relabelled, kept, removed, embedded_characters)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            change.source,
            change.document_id,
            change.kind,
            change.previous_id,
            to_us(changed_at),
            to_us(outcome.searchable_at),
            to_us(item.durable_at),
            int(target is None),
            int(change.is_clamped),
            is_within,
            fates.embedded,
            fates.reused,
            fates.relabelled,
            fates.kept,
            fates.removed,
            outcome.embedded_characters,
        ),
    )


def erase(tx: sqlite3.Connection, source: SourceName, document_id: DocumentId | None = None) -> int:
    """Take every mention of a document, or of all of a source, out of the history; give how many there were."""
    if document_id is None:
        return tx.execute("DELETE FROM history WHERE source = ?", (source,)).rowcount
    key = (source, document_id)
    changes = tx.execute("DELETE FROM history WHERE source = ? AND document_id = ?", key)
    moves = tx.execute("UPDATE history SET previous_id = NULL WHERE source = ? AND previous_id = ?", key)
    return changes.rowcount + moves.rowcount


def mark_gap(tx: sqlite3.Connection) -> None:
    """Have whoever follows the history hear that some of it is missing: copies of what was erased are to go."""
    tx.execute("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'history'")
    newest = "SELECT ?, seq FROM sqlite_sequence WHERE name = 'history'"
    tx.execute(f"INSERT OR REPLACE INTO meta {newest}", (_GAP,))


def part(database: Database, now: datetime) -> None:
    """Have numbers go on beyond all that another state of this ledger may have given out, and mark the gap there.

    They rise by far fewer than one a microsecond, so that the time tells such a number.
    """
    with database.write() as tx:
        is_unknown = "NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'history')"
        tx.execute(f"INSERT INTO sqlite_sequence SELECT 'history', 0 WHERE {is_unknown}")
        tx.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'history'", (to_us(now),))
        mark_gap(tx)
        tx.execute("DELETE FROM meta WHERE key = ?", (COPIED,))


class SqliteHistory:
    """Reads what `append` remembered."""

    def __init__(self, database: Database) -> None:
        """Read from an open ledger database."""
        self._database = database

    def tried(self, source: SourceName, since: datetime, *, without: Collection[str] = ()) -> Tried:
        """Count a source's finished changes since an instant, and those within their target; backfill left out.

        Args:
            source: Whose.
            since: When they became durable, at the earliest.
            without: Documents whose changes do not count: those of canaries would hide all others.

        """
        row = self._database.read(
            f"SELECT count(*) AS total, coalesce(sum(is_within_target), 0) AS within FROM history WHERE {_OF_WINDOW}",
            (source, to_us(since), json.dumps(list(without))),
        )[0]
        return Tried(row["within"], row["total"])

    def lags(self, source: SourceName, since: datetime, *, without: Collection[str] = ()) -> Lags:
        """Give the lags of a source's newest finished changes since an instant; see `tried` for what is left out."""
        wheres = ("kind != 'deleted'", "kind = 'deleted'")
        changes, deletions = (self._lags(source, since, without, where) for where in wheres)
        return Lags(changes, deletions)

    def _lags(self, source: SourceName, since: datetime, without: Collection[str], where: str) -> tuple[float, ...]:
        found = self._database.read(
            f"SELECT searchable_at - changed_at AS lag FROM history WHERE {_OF_WINDOW} AND {where}"
            f" ORDER BY durable_at DESC LIMIT {_MOST_LAGS}",
            (source, to_us(since), json.dumps(list(without))),
        )
        return tuple(row["lag"] / 1e6 for row in found)

    def canaries(self, source: SourceName) -> frozenset[str]:
        """Give the ids of every canary that a source ever had, as far as `note_canary` was told."""
        return frozenset(self._noted().get(source, ()))

    def note_canary(self, source: SourceName, document_id: DocumentId) -> None:
        """Remember that a document is freshd's own: its changes are in the history for longer than in the config."""
        if document_id not in (known := self._noted()).get(source, ()):
            known[source] = [*known.get(source, ()), document_id]
            self._database.remember(_CANARIES, json.dumps(known))

    def _noted(self) -> dict[str, list[str]]:
        noted: dict[str, list[str]] = json.loads(self._database.recall(_CANARIES) or "{}")
        return noted

    def entries(
        self, after: int = 0, limit: int = 100, source: SourceName | None = None, document_id: DocumentId | None = None
    ) -> list[Entry]:
        """Give remembered changes in order, those after a sequence number; for a negative one the newest so many."""
        order, n = ("DESC", min(limit, -after)) if after < 0 else ("ASC", limit)
        found = self._database.read(
            "SELECT * FROM history WHERE seq > ? AND (? IS NULL OR source = ?)"
            f" AND (? IS NULL OR document_id = ?) ORDER BY seq {order} LIMIT ?",
            (after, source, source, document_id, document_id, n),
        )
        return sorted(map(_entry, found), key=lambda entry: entry.seq)

    def arrivals(self, source: SourceName, limit: int) -> list[datetime]:
        """Give the newest instants at which documents of a source came to be or changed."""
        found = self._database.read(
            "SELECT DISTINCT changed_at FROM history WHERE source = ? AND kind IN ('added', 'modified')"
            " ORDER BY changed_at DESC LIMIT ?",
            (source, limit),
        )
        return [rows.instant(row["changed_at"]) for row in found]

    def last_seq(self) -> int:
        """Give the newest sequence number that a change ever got; 0 before the first."""
        found = self._database.read("SELECT seq FROM sqlite_sequence WHERE name = 'history'")
        return int(found[0]["seq"]) if found else 0

    def gap_seq(self) -> int:
        """Give the number of the newest gap, as `mark_gap` made it; 0 before the first."""
        return int(self._database.recall(_GAP) or 0)

    def is_gapless(self, after: int, heard: int = 0) -> bool:
        """Tell whether everything after a sequence number is still remembered.

        Args:
            after: Where the reader stands; a negative one, who counts from the newest back, misses nothing.
            heard: The newest gap of which the reader was told: what is left before it is no news any more.

        """
        oldest = self._database.read("SELECT min(seq) AS n FROM history")[0]["n"]
        since = self.last_seq() if oldest is None else oldest - 1
        return after < 0 or (after >= since and max(after, heard) >= self.gap_seq())

    def forget(self, before: datetime) -> int:
        """Forget changes that became durable before an instant, oldest first, a bounded number; give how many."""
        with self._database.write() as tx:
            return tx.execute(
                "DELETE FROM history WHERE durable_at < ? AND seq IN"
                f" (SELECT seq FROM history ORDER BY seq LIMIT {_FORGOTTEN_AT_ONCE})",
                (to_us(before),),
            ).rowcount


def _entry(row: sqlite3.Row) -> Entry:
    lag_us = None if row["is_backfill"] or row["searchable_at"] is None else row["searchable_at"] - row["changed_at"]
    return Entry(
        seq=row["seq"],
        source=SourceName(row["source"]),
        document_id=DocumentId(row["document_id"]),
        kind=ChangeKind(row["kind"]),
        previous_id=None if row["previous_id"] is None else DocumentId(row["previous_id"]),
        changed_at=rows.instant(row["changed_at"]),
        searchable_at=from_us(row["searchable_at"]),
        durable_at=rows.instant(row["durable_at"]),
        fates=Fates(row["embedded"], row["reused"], row["relabelled"], row["kept"], row["removed"]),
        embedded_characters=row["embedded_characters"],
        is_clamped=bool(row["is_clamped"]),
        lag_s=None if lag_us is None or lag_us < 0 else lag_us / 1e6,
    )
