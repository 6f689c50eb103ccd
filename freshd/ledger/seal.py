"""Tells whether ledger and index were last used together, or one of them was brought back without the other.

Both carry one seal, a number that means nothing, broken and made anew whenever freshd opens them,
every hour while it runs, and whenever it ends.
A copy of the one that was taken in between carries another seal than the other has now.
"""

import os
import secrets
from pathlib import Path

from freshd.ledger.database import Database

_KEY = "seal"
_MOST_BYTES = 64


def fits(database: Database, path: Path) -> bool:
    """Tell whether the ledger carries the seal that lies with the index; yes where neither has one yet."""
    return database.recall(_KEY) == _read(path)


def renew(database: Database, path: Path) -> None:
    """Give ledger and index a seal that no copy of either has.

    Cut off between the two, they do not fit: that costs a look at everything, and loses nothing.
    """
    seal = secrets.token_hex(16)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with open(
        os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="ascii"
    ) as file:
        file.write(seal)
        file.flush()
        os.fsync(file.fileno())
    with database.write() as tx:  # begun first: a ledger that another program holds would not fit any more
        tx.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_KEY, seal))
        draft.replace(path)


def part(database: Database) -> None:
    """Give a ledger a seal that no index has: it was copied without its points."""
    database.remember(_KEY, secrets.token_hex(16))


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("ascii", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
