"""Writing one small file of freshd's own into a tree, and taking it away again.

    would be listed? ─▶ folder, by descriptor ─▶ ours, or nobody's? ─▶ temporary file ─▶ rename

Below the root nothing but real folders is gone through, and none is made.
A file is ours if it begins with `MARK`; that is looked at right before it is replaced or deleted.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from connectors.files import names
from connectors.files.folders import is_absence, open_beneath
from connectors.files.ignores import IgnoreFiles
from connectors.files.rules import IGNORE_FILES, Rules
from freshd.errors import DocumentRefused, SourceUnavailable
from freshd.model import DocumentId

MARK = "freshd wrote this document and deletes it again, to measure how fresh its index is."
"""First line of every file written here; in words, so that whoever finds one knows what it is."""

_MARK_LINE = f"{MARK}\n".encode()


def check_is_listed(root_fd: int, path: Sequence[bytes], rules: Rules, ignore_files: IgnoreFiles, now_ns: int) -> None:
    """Make sure that a listing would show a file at this path.

    Raises:
        DocumentRefused: A rule hides it, which the message names.
        SourceUnavailable: A folder on the way is missing, is a symlink or cannot be read.

    """
    folders, folder = path[:-1], None
    for depth in range(len(path)):
        with _told(path), _opened(root_fd, folders[:depth]) as fd:
            ignores = ignore_files.of_folder(fd, IGNORE_FILES, now_ns)
        folder = folder.child(names.text_of(folders[depth - 1]), ignores) if folder else rules.root(ignores)
        objection = folder.objection(names.text_of(path[depth]), is_folder=depth < len(folders))
        if objection is not None:
            raise DocumentRefused(f"{_id(path)}: would not be listed: {objection}", hint="name a path that is")


def write(root_fd: int, path: Sequence[bytes], content: bytes) -> None:
    """Put a file in place in one step, with `MARK` as its first line.

    Raises:
        DocumentRefused: Something is there that is not ours.
        SourceUnavailable: It could not be written.

    """
    *folders, name = path
    # Ends so that no listing shows it. Not random: one that a crash left behind is removed by the next write.
    temporary = f".freshd-{hashlib.sha256(name).hexdigest()[:16]}.tmp"
    with _told(path), _opened(root_fd, folders) as fd:
        _refuse_unless_ours(fd, path)
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=fd)
        try:
            _fill(temporary, _MARK_LINE + content, fd)
            _refuse_unless_ours(fd, path)
            os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=fd)
            raise


def delete(root_fd: int, path: Sequence[bytes]) -> None:
    """Take a file away that `write` put there; an absent one is no error.

    Raises:
        DocumentRefused: Something is there that is not ours.
        SourceUnavailable: It could not be deleted.

    """
    *folders, name = path
    with _told(path), suppress(FileNotFoundError), _opened(root_fd, folders) as fd:
        _refuse_unless_ours(fd, path)
        os.unlink(name, dir_fd=fd)


@contextmanager
def _opened(root_fd: int, folders: Sequence[bytes]) -> Iterator[int]:
    fd = open_beneath(root_fd, folders)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _told(path: Sequence[bytes]) -> Iterator[None]:
    """Say why a file could not be written or deleted, and what mends it."""
    try:
        yield
    except OSError as error:
        hint = "give freshd's user write permission on its folder" if isinstance(error, PermissionError) else ""
        if is_absence(error):
            hint = "make its folder; freshd makes none, and follows no symlink"
        raise SourceUnavailable(
            f"{_id(path)}: cannot be written or deleted: {error.strerror or error}", hint=hint
        ) from error


def _fill(name: str, content: bytes, folder_fd: int) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=folder_fd)
    with open(fd, "wb") as file:
        file.write(content)
        file.flush()
        # After a power cut an empty file in its place would be nobody's.
        os.fsync(fd)


def _refuse_unless_ours(folder_fd: int, path: Sequence[bytes]) -> None:
    with suppress(FileNotFoundError):
        if not _is_ours(path[-1], folder_fd):
            raise DocumentRefused(
                f"{_id(path)}: is there already and was not written by freshd, which leaves it alone",
                hint="name a path that nothing else uses",
            )


def _is_ours(name: bytes, folder_fd: int) -> bool:
    if not stat.S_ISREG(os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_mode):
        return False
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_fd)
    with open(fd, "rb") as file:
        return file.read(len(_MARK_LINE)) == _MARK_LINE


def _id(path: Sequence[bytes]) -> DocumentId:
    return names.encode(b"/".join(path))
