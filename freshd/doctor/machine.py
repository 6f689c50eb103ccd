"""What the machine gives: disk, files that may be open, watches, a clock."""

import os
import resource
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from freshd.config import Config, SourceConfig
from freshd.doctor.findings import Finding, broken, warning
from freshd.state import RESERVED_FILES, StateDirectory

BUILT = datetime(2026, 11, 1, tzinfo=UTC)
"""A clock that tells an earlier day than this was never set."""

_FEW_FILES = 1_024
"""What most systems allow; a daemon with some sources and searches has a few hundred open."""

_TOO_FEW_FILES = 128

_FEW_INODES = 1_000
_INSTANCES = 8
"""Watches that others on the machine are granted, editors and desktops among them."""

_INOTIFY = Path("/proc/sys/fs/inotify")
_MOST_FOLDERS = 200_000
_LONGEST_WALK_S = 3.0


def disk(config: Config) -> Iterator[Finding]:
    """Tell whether there is room beyond the reserve."""
    state = StateDirectory(_nearest(config.state_dir))
    free, reserve = state.free_bytes(), config.disk.reserve_bytes
    got = f"{free >> 20:,} MiB free"
    hint = "free some disk space, or lower [disk] reserve_bytes"
    if free < reserve:
        yield broken(
            "disk", got, f"the reserve of {reserve >> 20:,} MiB at least, below which nothing is written", hint
        )
    elif free < 2 * reserve:
        yield warning("disk", got, f"well above the reserve of {reserve >> 20:,} MiB", hint)
    else:
        yield Finding("disk", f"{got}, reserve {reserve >> 20:,} MiB")
    files = state.free_inodes()
    got, hint = "no limit" if files is None else f"{files:,} free", "delete some files on that disk, or move state_dir"
    if files is not None and files < RESERVED_FILES:
        yield broken("inodes", got, f"{RESERVED_FILES} at least, below which nothing is written", hint)
    elif files is not None and files < _FEW_INODES:
        yield warning("inodes", got, f"well above {RESERVED_FILES}, below which nothing is written", hint)
    else:
        yield Finding("inodes", got)


def open_files() -> Iterator[Finding]:
    """Tell how many files a process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    got = "no limit" if soft == resource.RLIM_INFINITY else f"{soft:,} at once"
    hint = f"ulimit -n {_FEW_FILES}, or LimitNOFILE={_FEW_FILES} in the unit"
    if soft != resource.RLIM_INFINITY and soft < _TOO_FEW_FILES:
        yield broken("open files", got, f"{_FEW_FILES:,} or more", hint)
    elif soft != resource.RLIM_INFINITY and soft < _FEW_FILES:
        yield warning("open files", got, f"{_FEW_FILES:,} or more", hint)
    else:
        yield Finding("open files", got)


def clock(now: datetime) -> Iterator[Finding]:
    """Tell whether the clock was ever set."""
    got = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now < BUILT:
        yield broken("clock", got, f"an instant after {BUILT:%Y-%m-%d}", "timedatectl set-ntp true")
    else:
        yield Finding("clock", got)


def watches(sources: Sequence[SourceConfig], base: Path) -> Iterator[Finding]:
    """Tell whether every folder of the sources on this machine can be watched."""
    watched = [one for one in sources if one.type == "files" and one.raw.get("watch", True)]
    if not watched or not _INOTIFY.is_dir():
        yield Finding("watches", "nothing to watch" if not watched else "no inotify here: scans find changes")
        return
    most = int((_INOTIFY / "max_user_watches").read_text())
    instances = int((_INOTIFY / "max_user_instances").read_text())
    folders = sum(_count_folders(base / os.path.expanduser(str(one.raw["path"]))) for one in watched)
    got = f"{folders:,} folder{'' if folders == 1 else 's'}, {most:,} watches"
    if folders > most:
        raised = max(2 * folders, 65_536)
        yield warning(
            "watches",
            got,
            "a watch for every folder, else changes there are found by scans only",
            f"sysctl fs.inotify.max_user_watches={raised}",
        )
    elif instances < len(watched) + _INSTANCES:
        yield warning(
            "watches",
            f"{instances} inotify instances, {len(watched)} sources",
            f"{len(watched) + _INSTANCES} or more",
            f"sysctl fs.inotify.max_user_instances={max(128, 2 * len(watched))}",
        )
    else:
        yield Finding("watches", got)


def _count_folders(root: Path) -> int:
    """Count folders at or below a root, hidden ones left out; for as long as anybody wants to wait."""
    count, ends_s = 0, time.monotonic() + _LONGEST_WALK_S
    for _, names, _ in os.walk(root):
        names[:] = [name for name in names if not name.startswith(".") and name != "node_modules"]
        count += 1
        if count >= _MOST_FOLDERS or time.monotonic() > ends_s:
            break
    return count


def _nearest(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())
