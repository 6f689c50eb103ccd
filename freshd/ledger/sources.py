"""What the ledger remembers of each source as a whole: scans, watermark, cursor, troubles."""

import sqlite3
from datetime import datetime, timedelta

from freshd.freshness import CLOCK_TOLERANCE, is_ahead, watermark
from freshd.ledger import rows
from freshd.ledger.database import Database, from_us, to_us
from freshd.model import SourceName
from freshd.ports import SourceState

_OLDEST = " UNION ALL ".join(
    "SELECT min(changed_at) AS oldest FROM pending"
    f" WHERE source = ?1 AND is_held = {held} AND is_quarantined = {quarantined} AND is_migration = 0"
    for held, quarantined in ((0, 0), (1, 0), (1, 1))
)
"""Of what bounds the watermark; each part is one step down an index, where one condition for all would be a scan."""

_STATE = (
    "SELECT s.*, p.*, o.* FROM (SELECT"
    " coalesce(sum(n) FILTER (WHERE NOT is_held AND NOT is_quarantined), 0) AS n_pending,"
    " coalesce(sum(n) FILTER (WHERE is_held), 0) AS n_held,"
    " coalesce(sum(n) FILTER (WHERE is_quarantined AND NOT is_held), 0) AS n_quarantined"
    f" FROM pending_counts WHERE source = ?1) AS p, (SELECT min(oldest) AS oldest FROM ({_OLDEST})) AS o"
    " LEFT JOIN sources AS s ON s.name = ?1"
)

_MOVED = {
    "sources": ("listed_through", "watermark", "last_scan_at", "last_complete_scan_at", "failing_since", "removed_at"),
    "pending": ("changed_at", "first_seen_at"),
    "documents": ("absent_since",),
}
"""Instants that freshd took itself and still counts from; those of a source are its own affair."""

_BESIDE = {
    "sources": ("away_until",),
    "pending": ("deadline",),
    "history": ("changed_at", "searchable_at", "durable_at"),
}
"""Instants that follow from those."""

_TRAIL = timedelta(hours=6)
"""How long it is remembered where a watermark stood."""


class SqliteSources:
    """State of every source, each change of it one transaction."""

    def __init__(self, database: Database) -> None:
        """Work on an open ledger database."""
        self._database = database

    def state(self, name: SourceName) -> SourceState:
        """Give what is remembered of a source; a blank state for an unknown one."""
        return _state(name, self._database.read(_STATE, (name,))[0])

    def names(self) -> list[SourceName]:
        """List every source that was ever recorded."""
        return [SourceName(row["name"]) for row in self._database.read("SELECT name FROM sources ORDER BY name")]

    def scan_began(self, name: SourceName, at: datetime) -> None:
        """Remember that a scan of everything began."""
        self._update(name, last_scan_at=to_us(at))

    def showed_everything(self, name: SourceName) -> None:
        """Remember that a listing that was asked for everything came to its end."""
        self._update(name, wants_everything=0)

    def scan_completed(self, name: SourceName, began_at: datetime, took: timedelta) -> None:
        """Remember a complete listing."""
        self._update(
            name,
            last_complete_scan_at=to_us(began_at),
            scan_us=took // timedelta(microseconds=1),
            last_error=None,
            failing_since=None,
        )

    def fell_short(self, name: SourceName, error: str) -> None:
        """Remember why the newest listing did not show everything; the next complete one clears it."""
        self._update(name, last_error=error, failing_since=None)

    def scan_failed(self, name: SourceName, at: datetime, error: str) -> None:
        """Remember that the source did not answer, and since when it has not."""
        with self._database.write() as tx:
            tx.execute("INSERT OR IGNORE INTO sources (name) VALUES (?)", (name,))
            tx.execute(
                "UPDATE sources SET last_error = ?1, failing_since = min(coalesce(failing_since, ?2), ?2)"
                " WHERE name = ?3",
                (error, to_us(at), name),
            )

    def marker_out(
        self, name: SourceName, listed_through: datetime, cursor: str | None, now: datetime
    ) -> datetime | None:
        """Remember that everything a listing showed went through the index.

        Args:
            name: The source.
            listed_through: Start of the listing. Bounds the watermark from above; a later one stands,
                but for one that lies ahead of now, which is from a clock that was set back.
            cursor: What the next listing wants back.
            now: Of the asking.

        Returns:
            The watermark, as it is from now on.

        """
        with self._database.write() as tx:
            tx.execute("INSERT OR IGNORE INTO sources (name) VALUES (?)", (name,))
            state = _state(name, tx.execute(_STATE, (name,)).fetchone())
            before = state.listed_through
            if before is not None and not is_ahead(before, now):
                listed_through = max(before, listed_through)
            mark = watermark(listed_through, state.oldest_unapplied_at, state.watermark, now)
            tx.execute(
                "UPDATE sources SET listed_through = ?, cursor = ?, watermark = ? WHERE name = ?",
                (to_us(listed_through), cursor, to_us(mark), name),
            )
            if mark is not None and mark != state.watermark:
                tx.execute("INSERT OR REPLACE INTO trail VALUES (?, ?, ?)", (name, to_us(now), to_us(mark)))
                tx.execute(
                    "DELETE FROM trail WHERE source = ? AND at NOT BETWEEN ? AND ?",
                    (name, to_us(now - _TRAIL), to_us(now)),
                )
            return mark

    def move_instants(self, by: timedelta) -> None:
        """Keep everything as long ago, and as far away, as it is, now that the clock was set back.

        Set forward, nothing is moved: a machine that was halted looks the same, and what was proved got older.
        """
        if by >= timedelta(0):
            return
        us = by // timedelta(microseconds=1)
        with self._database.write() as tx:
            for table, columns in (*_MOVED.items(), *_BESIDE.items()):
                moves = ", ".join(f"{column} = {column} + ?1" for column in columns)
                tx.execute(f"UPDATE {table} SET {moves}", (us,))
            tx.execute("UPDATE pending SET due_at = due_at + ?1 WHERE due_at > 0", (us,))
            trail = tx.execute("SELECT source, at + ?1, watermark + ?1 FROM trail", (us,)).fetchall()
            tx.execute("DELETE FROM trail")
            tx.executemany("INSERT INTO trail VALUES (?, ?, ?)", [tuple(row) for row in trail])

    def disbelieve(self, now: datetime) -> None:
        """Let go of what lies ahead: it was taken by a clock that was set back while nobody looked."""
        after = to_us(now + CLOCK_TOLERANCE)
        with self._database.write() as tx:
            for column in ("listed_through", "watermark"):
                tx.execute(f"UPDATE sources SET {column} = NULL WHERE {column} > ?", (after,))
            for table, columns in _MOVED.items():
                for column in columns:
                    tx.execute(f"UPDATE {table} SET {column} = ? WHERE {column} > ?", (to_us(now), after))
            tx.execute(
                "UPDATE pending SET deadline = ?1 + target_us WHERE deadline > ?2 + target_us", (to_us(now), after)
            )

    def trail(self, name: SourceName) -> list[tuple[datetime, datetime]]:
        """Tell when the watermark of a source rose and to where, in order, over the last hours."""
        found = self._database.read("SELECT at, watermark FROM trail WHERE source = ? ORDER BY at", (name,))
        return [(rows.instant(row["at"]), rows.instant(row["watermark"])) for row in found]

    def late(self, name: SourceName, now: datetime) -> int:
        """Count pending changes that are past their freshness target."""
        # By its own choice SQLite takes the index with more equal columns, and reads every pending row.
        row = self._database.read(
            "SELECT count(*) AS n FROM pending INDEXED BY pending_with_target"
            " WHERE source = ? AND is_held = 0 AND is_quarantined = 0"
            " AND target_us IS NOT NULL AND changed_at + target_us < ?",
            (name, to_us(now)),
        )[0]
        return int(row["n"])

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
        wants_everything=bool(row["wants_everything"]),
    )
