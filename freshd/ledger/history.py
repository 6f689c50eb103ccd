"""The append-only record of applied changes; lag percentiles and objectives are computed from it."""

import sqlite3
from dataclasses import dataclass
from datetime import datetime

from freshd.ledger import rows
from freshd.ledger.database import Database, from_us, to_us
from freshd.model import ChangeKind, DocumentId, Fates, SourceName
from freshd.ports import Applied


@dataclass(frozen=True, slots=True)
class Entry:
    """One applied change, as it is remembered.

    Attributes:
        seq: Rises with every change; where a reader of the stream takes up again.
        lag_s: Searchable instant − change instant in seconds; None for backfill, which makes no lag.

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
    """Lags of finished changes in seconds, and how they did against the target."""

    changes_s: tuple[float, ...]
    deletions_s: tuple[float, ...]
    within_target: int
    total: int


def append(tx: sqlite3.Connection, item: Applied) -> None:
    """Remember an applied change within the transaction that applies it."""
    outcome, change = item.outcome, item.outcome.change
    target = item.pending.target
    is_within = (
        None if target is None or outcome.searchable_at is None else outcome.searchable_at - change.changed_at <= target
    )
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
            to_us(change.changed_at),
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


class SqliteHistory:
    """Reads what `append` remembered."""

    def __init__(self, database: Database) -> None:
        """Read from an open ledger database."""
        self._database = database

    def lags(self, source: SourceName, since: datetime) -> Lags:
        """Give the lags of a source's finished changes since an instant, backfill left out."""
        found = self._database.read(
            "SELECT kind, searchable_at - changed_at AS lag, is_within_target FROM history"
            " WHERE source = ? AND durable_at >= ? AND is_backfill = 0 AND searchable_at IS NOT NULL",
            (source, to_us(since)),
        )
        changes = tuple(row["lag"] / 1e6 for row in found if row["kind"] != ChangeKind.DELETED)
        deletions = tuple(row["lag"] / 1e6 for row in found if row["kind"] == ChangeKind.DELETED)
        return Lags(changes, deletions, sum(bool(row["is_within_target"]) for row in found), len(found))

    def entries(
        self, after: int = 0, limit: int = 100, source: SourceName | None = None, document_id: DocumentId | None = None
    ) -> list[Entry]:
        """Give remembered changes in order, those after a sequence number."""
        found = self._database.read(
            "SELECT * FROM history WHERE seq > ? AND (? IS NULL OR source = ?)"
            " AND (? IS NULL OR document_id = ?) ORDER BY seq LIMIT ?",
            (after, source, source, document_id, document_id, limit),
        )
        return [_entry(row) for row in found]

    def last_seq(self) -> int:
        """Give the newest sequence number; 0 before the first change."""
        row = self._database.read("SELECT coalesce(max(seq), 0) AS n FROM history")[0]
        return int(row["n"])


def _entry(row: sqlite3.Row) -> Entry:
    has_lag = not row["is_backfill"] and row["searchable_at"] is not None
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
        lag_s=(row["searchable_at"] - row["changed_at"]) / 1e6 if has_lag else None,
    )
