"""Reading the ignore files of folders, each compiled once as long as it does not change."""

import errno
import os
import stat
from collections.abc import Collection

from connectors.files.folders import is_absence
from connectors.files.globs import Globs, parse_lines
from connectors.files.rules import IGNORE_FILES

_MAX_BYTES = 1024 * 1024
_MAX_REMEMBERED = 10_000
_RACY_NS = 2_000_000_000


class IgnoreFiles:
    """Remembers compiled ignore files by what `stat` says of them; safe to share between threads."""

    def __init__(self) -> None:
        self._remembered: dict[tuple[int, ...], Globs] = {}

    def of_folder(self, fd: int, names: Collection[str], now_ns: int) -> list[Globs]:
        """Read the ignore files of an open folder, the strongest first.

        Args:
            fd: The folder.
            names: Entries known to be regular files there; others are not looked for.
            now_ns: What changed shortly before is read again next time.

        Raises:
            OSError: One is there but cannot be read, so nobody knows what the folder means to show.

        """
        found = (self._read(fd, name, now_ns) for name in reversed(IGNORE_FILES) if name in names)
        return [globs for globs in found if globs is not None]

    def _read(self, folder_fd: int, name: str, now_ns: int) -> Globs | None:
        try:
            found = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                return None
            return self._remembered.get(_key(found)) or self._compile(folder_fd, name, now_ns)
        except OSError as error:
            if is_absence(error):
                return None
            raise

    def _compile(self, folder_fd: int, name: str, now_ns: int) -> Globs:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_fd)
        try:
            found = os.fstat(fd)
            globs = parse_lines(_text(fd, name).split("\n"))
        finally:
            os.close(fd)
        if found.st_ctime_ns < now_ns - _RACY_NS:
            self._remember(_key(found), globs)
        return globs

    def _remember(self, key: tuple[int, ...], globs: Globs) -> None:
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = globs


def _key(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _text(fd: int, name: str) -> str:
    with open(fd, "rb", closefd=False) as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise OSError(errno.EFBIG, f"more than {_MAX_BYTES} bytes", name)
    return content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
