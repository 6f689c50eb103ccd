"""What the ledger remembers of each source as a whole: scans, watermark, cursor, troubles."""

import sqlite3
from datetime import datetime, timedelta

from freshd.freshness import watermark
from freshd.ledger.database import Database, from_us, to_us
from freshd.model import SourceName
from freshd.ports import SourceState

_STATE = (
    "SELECT s.*, p.* FROM (SELECT count(*) FILTER (WHERE is_held = 0 AND is_quarantined = 0) AS n_pending,"
    " count(*) FILTER (WHERE is_held) AS n_held,"
    " count(*) FILTER (WHERE is_quarantined AND NOT is_held) AS n_quarantined,"
    " min(changed_at) FILTER (WHERE NOT is_migration AND (is_held OR NOT is_quarantined)) AS oldest"
    " FROM pending WHERE source = ?) AS p LEFT JOIN sources AS s ON s.name = ?"
)


class SqliteSources:
    """State of every source, each change of it one transaction."""

    def __init__(self, database: Database) -> None:
        """Work on an open ledger database."""
        self._database = database

    def state(self, name: SourceName) -> SourceState:
        """Give what is remembered of a source; a blank state for an unknown one."""
        return _state(name, self._database.read(_STATE, (name, name))[0])

    def names(self) -> list[SourceName]:
        """List every source that was ever recorded."""
        return [SourceName(row["name"]) for row in self._database.read("SELECT name FROM sources ORDER BY name")]

    def scan_began(self, name: SourceName, at: datetime) -> None:
        """Remember that a scan of everything began."""
        self._update(name, last_scan_at=to_us(at))

    def scan_completed(self, name: SourceName, began_at: datetime, took: timedelta) -> None:
        """Remember a complete listing."""
        self._update(
            name,
            last_complete_scan_at=to_us(began_at),
            scan_us=took // timedelta(microseconds=1),
            last_error=None,
            failing_since=None,
        )

    def scan_failed(self, name: SourceName, at: datetime, error: str) -> None:
        """Remember that the source did not answer, and since when it has not."""
        with self._database.write() as tx:
            tx.execute("INSERT OR IGNORE INTO sources (name) VALUES (?)", (name,))
            tx.execute(
                "UPDATE sources SET last_error = ?, failing_since = coalesce(failing_since, ?) WHERE name = ?",
                (error, to_us(at), name),
            )

    def marker_out(self, name: SourceName, listed_through: datetime) -> None:
        """Raise the bound of the watermark, never lower it: everything a listing showed went through the index."""
        with self._database.write() as tx:
            tx.execute("INSERT OR IGNORE INTO sources (name) VALUES (?)", (name,))
            tx.execute(
                "UPDATE sources SET listed_through = max(coalesce(listed_through, ?1), ?1) WHERE name = ?2",
                (to_us(listed_through), name),
            )

    def keep_cursor(self, name: SourceName, cursor: str | None) -> None:
        """Remember what the next listing wants back; call once everything its listing showed is applied."""
        self._update(name, cursor=cursor)

    def raise_watermark(self, name: SourceName) -> datetime | None:
        """Compute the watermark from what is remembered now, keep it, and give it."""
        with self._database.write() as tx:
            state = _state(name, tx.execute(_STATE, (name, name)).fetchone())
            mark = watermark(state.listed_through, state.oldest_unapplied_at, state.watermark)
            if mark != state.watermark:
                tx.execute("UPDATE sources SET watermark = ? WHERE name = ?", (to_us(mark), name))
            return mark

    def _update(self, name: SourceName, **columns: object) -> None:
        assignments = ", ".join(f"{column} = :{column}" for column in columns)
        with self._database.write() as tx:
            tx.execute("INSERT OR IGNORE INTO sources (name) VALUES (?)", (name,))
            tx.execute(f"UPDATE sources SET {assignments} WHERE name = :name", {**columns, "name": name})


def _state(name: SourceName, row: sqlite3.Row) -> SourceState:
    if row["name"] is None:
        return SourceState(name)
    return SourceState(
        name=name,
        listed_through=from_us(row["listed_through"]),
        watermark=from_us(row["watermark"]),
        last_scan_at=from_us(row["last_scan_at"]),
        last_complete_scan_at=from_us(row["last_complete_scan_at"]),
        cursor=row["cursor"],
        last_error=row["last_error"],
        failing_since=from_us(row["failing_since"]),
        scan_s=None if row["scan_us"] is None else row["scan_us"] / 1e6,
        documents=row["documents"],
        chunks=row["chunks"],
        pending=row["n_pending"],
        held=row["n_held"],
        quarantined=row["n_quarantined"],
        oldest_unapplied_at=from_us(row["oldest"]),
    )
