"""What SQLite's words for a lack of permission, a lock, a full or failing disk and damage mean for the ledger."""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from freshd import quota
from freshd.errors import StateError, StateInUse, StateUnusable

DENIED = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})
LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
DISK_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
"""The second one is told of the file beside the ledger that its readers share, before anything is written."""
DISK_FAILED = frozenset({sqlite3.SQLITE_IOERR})
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
TOLD = DENIED | LOCKED | DISK_FULL | DISK_FAILED | DAMAGED

_FILES_BESIDE = 2

_PRIMARY = 0xFF
"""Bits of SQLite's error codes that tell the kind; the others tell where it came up."""
_APART = frozenset({sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_NOMEM})
"""Kinds of their own: no disk failed."""

_REBUILD = "freshd ledger rebuild   (from the index; or restore a backup)"


class LedgerNotWritable(StateUnusable, sqlite3.OperationalError):
    """This user may not write the ledger, or the folder it lies in.

    Whoever waits until a lock is given up or room is made waits for this as well: permission may come back.
    """


class LedgerLocked(StateInUse, sqlite3.OperationalError):
    """Another program keeps the file locked for longer than it was waited for; it may let go."""


class LedgerDiskFull(StateUnusable, sqlite3.OperationalError):
    """There is no room for what was to be written; it is rolled back, and may be tried again."""


class LedgerDiskFailed(StateUnusable, sqlite3.OperationalError):
    """The disk would not take or give back what the ledger holds: what is on it only a new opening can tell.

    A sync that failed is not tried again: the kernel may have dropped what it could not write, and call it written.
    """

    exit_code = 1  # whoever starts freshd again after it is right


def code_of(error: object) -> int | None:
    """Give the kind of an error of SQLite's; None for any other."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code if code is None or code in _APART else code & _PRIMARY


def unusable(path: Path, reason: object) -> StateError:
    """Say why a ledger cannot be used, and what mends it."""
    code = code_of(reason)
    if code in DENIED and _has_no_files_left(path.parent):
        return LedgerDiskFull(
            f"ledger {path}: got {reason}; expected a disk that takes more files",
            hint=f"free some disk space: df -i {path.parent}   (tells how many files it takes)",
        )
    if code in DENIED:
        return LedgerNotWritable(
            f"ledger {path}: got {reason}; expected that this user may write it and the folder it lies in",
            hint=f"run as the user that runs freshd, or: chmod u+rwX {path.parent} {path}*",
        )
    if code in LOCKED:
        return LedgerLocked(
            f"ledger {path}: got {reason}; expected that nobody but freshd works with it",
            hint=f"end what keeps it locked: fuser {path}   (tells which process)",
        )
    if code in DISK_FULL:
        return LedgerDiskFull(
            f"ledger {path}: got {reason}; expected a disk that takes it",
            hint=f"free some disk space: df {path.parent}   (tells how much there is)",
        )
    if quota.is_reason(reason, path.parent):
        return LedgerDiskFull(
            f"ledger {path}: got a quota that is used up; expected one that takes it",
            hint="free some disk space: quota -s   (tells how much this user may have)",
        )
    if code in DISK_FAILED:
        name = getattr(reason, "sqlite_errorname", code)
        return LedgerDiskFailed(
            f"ledger {path}: got {reason} ({name}); expected a disk that takes it and gives it back",
            hint=f"dmesg   (tells what the disk of {path.parent} says); then start freshd again",
        )
    return StateUnusable(
        f"ledger {path}: {reason}; expected an intact freshd ledger",
        hint=_REBUILD,
    )


def _has_no_files_left(folder: Path) -> bool:
    """Tell whether SQLite may have failed to make the two files that stand beside a ledger while it is open."""
    with suppress(OSError):  # the folder itself may be what is not there, or forbidden
        disk = os.statvfs(folder)
        return bool(disk.f_files) and disk.f_favail <= _FILES_BESIDE
    return False


def lost(path: Path, how: str) -> StateUnusable:
    """Say that an index has no ledger any more."""
    return StateUnusable(f"ledger {path}: {how}, expected that of the index beside it", hint=_REBUILD)
