"""Reads a database of a state directory without a trace, whoever works with it and whatever is left of it."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a database says of itself.

    Attributes:
        version: Of its schema.
        facts: What is remembered of a ledger as a whole; empty for every other.
        damage: What is wrong with it, in one line; None where it is whole.

    """

    version: int = 0
    facts: dict[str, str] = field(default_factory=dict)
    damage: str | None = None


def inspect(path: Path, *, is_in_use: bool) -> Inspected:
    """Read all of a database once.

    Args:
        path: Of a file that is there.
        is_in_use: Whether a process works with it, whose log is then read through.

    Raises:
        OSError: It cannot be read.

    """
    try:
        with _opened(path, is_in_use) as database:
            version = int(database.execute("PRAGMA user_version").fetchone()[0])
            found = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
            has_facts = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is not None
            facts = dict(database.execute("SELECT key, value FROM meta").fetchall()) if has_facts else {}
        return Inspected(version, facts, None if found == "ok" else " ".join(found.split()))
    except sqlite3.OperationalError as error:
        raise OSError(str(error)) from error
    except sqlite3.DatabaseError as error:
        return Inspected(damage=str(error))


@contextmanager
def _opened(path: Path, is_in_use: bool) -> Iterator[sqlite3.Connection]:
    """Open it as it lies there: a log that nobody works with is read with a copy, since reading begins with mending."""
    log = path.with_name(f"{path.name}-wal")
    if not log.exists():
        with closing(_connect(path, "mode=ro&immutable=1")) as database:
            yield database
    elif is_in_use:
        with closing(_connect(path, "mode=ro")) as database:
            yield database
    else:
        with TemporaryDirectory(prefix="freshd-look-", dir=_place_for(path, log)) as folder:
            for one in (path, log):
                shutil.copyfile(one, Path(folder, one.name))
            with closing(_connect(Path(folder, path.name), "mode=rw")) as database:
                yield database


def _place_for(*files: Path) -> Path | None:
    """Give the folder of some files where the system's temporary one, which may be in memory, does not take a copy."""
    folder = files[0].parent
    need = sum(one.stat().st_size for one in files)
    return folder if shutil.disk_usage(gettempdir()).free <= need and os.access(folder, os.W_OK) else None


def _connect(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, timeout=_PATIENCE_S)
