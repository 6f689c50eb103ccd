"""A database beside the ledger for what is only needed while something is done with it; gone with its connection.

Beside the ledger, because there is room if anywhere: a folder for temporary files may be small, and in memory.
"""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from freshd.errors import StoreUnavailable


def open_scratch(folder: Path, table: str) -> sqlite3.Connection:
    """Make a database with one table, of which no name is left once this returns.

    Raises:
        StoreUnavailable: There is no room for it, or the folder cannot be written.

    """
    with scratch_told(folder):
        descriptor, name = tempfile.mkstemp(prefix="scratch-", dir=folder)
        os.close(descriptor)
        try:
            scratch = sqlite3.connect(name)
            scratch.execute("PRAGMA journal_mode = OFF")  # nobody goes on with it after a crash,
            scratch.execute("PRAGMA synchronous = OFF")  # of the machine neither
            scratch.execute("PRAGMA locking_mode = EXCLUSIVE")
            scratch.execute(table)
        finally:
            os.unlink(name)
    return scratch


@contextmanager
def scratch_told(folder: Path) -> Iterator[None]:
    """Say what a scratch database that cannot be written means for whoever needs it to look at the index.

    Raises:
        StoreUnavailable: The index cannot be looked at now; nothing was changed.

    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        what = f"index: what it holds cannot be noted down in {folder}: {error}"
        raise StoreUnavailable(what, hint=f"free some disk space: df {folder}   (tells how much there is)") from error
