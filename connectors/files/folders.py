"""Opening places of a tree by directory descriptors, so that no symlink and no long path can lead astray."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from connectors.files.rules import IGNORE_FILES
from freshd.errors import SourceUnavailable

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})

Identity = tuple[int, int]
"""Device and inode."""


def is_absence(error: OSError) -> bool:
    """Tell whether the error proves that no such folder or file is there; a symlink is neither."""
    return error.errno in _ABSENT


def is_exhaustion(error: OSError) -> bool:
    """Tell whether the error is about this machine and says nothing of the place looked at."""
    return error.errno in _EXHAUSTED


@contextmanager
def opened_root(path: Path) -> Iterator[int]:
    """Open the root of a source; a symlink that the operator named is followed, here only.

    Raises:
        SourceUnavailable: It is missing, no directory, or may not be read.

    """
    try:
        fd = os.open(path, _FOLDER_FLAGS)
    except OSError as error:
        raise root_unavailable(path, error) from error
    try:
        yield fd
    finally:
        os.close(fd)


def root_unavailable(path: Path, error: OSError) -> SourceUnavailable:
    """Say what is wrong with a root, or with an ignore file in it, and what mends it."""
    if error.filename in IGNORE_FILES:
        readable = "give freshd's user read permission on it" if error.errno == errno.EACCES else ""
        return SourceUnavailable(
            f"{path / error.filename}: got {error.strerror!r}, expected an ignore file that can be read", hint=readable
        )
    hints = {
        errno.ENOENT: "check that it is mounted, or correct `path` in the config",
        errno.ENOTDIR: "`path` in the config must name a directory",
        errno.EACCES: "give freshd's user read and search permission on it",
    }
    got = "no search permission" if error.errno == errno.EACCES else error.strerror
    return SourceUnavailable(
        f"{path}: got {got!r}, expected a readable directory", hint=hints.get(error.errno or 0, "")
    )


def open_folder(name: str | bytes, parent_fd: int) -> int:
    """Open a folder of an open folder; a symlink counts as not there."""
    return os.open(name, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=parent_fd)


def open_beneath(root_fd: int, names: Sequence[str] | Sequence[bytes]) -> int:
    """Open a folder below the root, name by name; the caller closes it."""
    fd = os.dup(root_fd)
    for name in names:
        try:
            child = open_folder(name, fd)
        finally:
            os.close(fd)
        fd = child
    return fd


def identity_of(fd: int) -> Identity:
    """Tell which directory or file is open."""
    stat = os.fstat(fd)
    return stat.st_dev, stat.st_ino
