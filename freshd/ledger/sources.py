"""What the ledger remembers of each source as a whole: scans, watermark, cursor, troubles."""

import sqlite3
from datetime import datetime, timedelta

from freshd.freshness import watermark
from freshd.ledger.database import Database, from_us, to_us
from freshd.model import SourceName
from freshd.ports import SourceState


class SqliteSources:
    """State of every source, each change of it one transaction."""

    def __init__(self, database: Database) -> None:
        """Work on an open ledger database."""
        self._database = database

    def state(self, name: SourceName) -> SourceState:
        """Give what is remembered of a source; a blank state for an unknown one."""
        found = self._database.read("SELECT * FROM sources WHERE name = ?", (name,))
        counts = self._database.read(
            "SELECT count(*) FILTER (WHERE is_held = 0 AND is_quarantined = 0) AS pending,"
            " coalesce(sum(is_held), 0) AS held, coalesce(sum(is_quarantined AND NOT is_held), 0) AS quarantined,"
            " min(changed_at) FILTER (WHERE is_held = 1 OR is_quarantined = 0) AS oldest FROM pending WHERE source = ?",
            (name,),
        )[0]
        return _state(name, found[0] if found else None, counts)

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
        """Raise the bound of the watermark: everything a listing showed went through the index."""
        self._update(name, listed_through=to_us(listed_through))

    def keep_cursor(self, name: SourceName, cursor: str | None) -> None:
        """Remember what the next listing wants back; call once everything its listing showed is applied."""
        self._update(name, cursor=cursor)

    def raise_watermark(self, name: SourceName) -> datetime | None:
        """Compute the watermark from what is remembered now, keep it, and give it."""
        state = self.state(name)
        mark = watermark(state.listed_through, state.oldest_unapplied_at, state.watermark)
        if mark != state.watermark:
            self._update(name, watermark=to_us(mark))
        return mark

    def _update(self, name: SourceName, **columns: object) -> None:
        assignments = ", ".join(f"{column} = :{column}" for column in columns)
        with self._database.write() as tx:
            tx.execute("INSERT OR IGNORE INTO sources (name) VALUES (?)", (name,))
            tx.execute(f"UPDATE sources SET {assignments} WHERE name = :name", {**columns, "name": name})


def _state(name: SourceName, row: sqlite3.Row | None, counts: sqlite3.Row) -> SourceState:
    if row is None:
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
        pending=counts["pending"],
        held=counts["held"],
        quarantined=counts["quarantined"],
        oldest_unapplied_at=from_us(counts["oldest"]),
    )
