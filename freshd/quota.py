"""Whether a quota keeps freshd from writing: the free space that a file system tells knows nothing of it."""

import errno
import os
import sqlite3
import tempfile
from pathlib import Path

_PROBE_BYTES = 1 << 16


def is_reason(error: object, folder: Path) -> bool:
    """Tell whether SQLite could not write because of a quota: its words are those for a disk that fails.

    Args:
        error: What it raised.
        folder: Where its files lie.

    """
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_WRITE and _is_used_up(folder)


def _is_used_up(folder: Path) -> bool:
    """Try to take 64 KiB of disk, and give them back."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, _PROBE_BYTES)
    except OSError as error:
        return error.errno == errno.EDQUOT
    return False
