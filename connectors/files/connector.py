"""Files of a directory tree as documents."""

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import quote_from_bytes

from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, Field

from connectors.files import names, writing
from connectors.files.folders import identity_of, is_absence, open_beneath, opened_root, root_unavailable
from connectors.files.globs import parse_glob, parse_lines
from connectors.files.ignores import IgnoreFiles
from connectors.files.rules import Rules
from connectors.files.walk import FoundFile, Walk, found_file, instant
from connectors.files.watch import FilesWatch, Unwatched
from freshd import faults
from freshd.errors import (
    DocumentChanging,
    DocumentGone,
    DocumentRefused,
    DocumentUnreadable,
    SourceError,
)
from freshd.model import Coverage, Document, DocumentId, DocumentRef, Hint, Listing, ListingReport
from freshd.ports import ConnectorContext, Watch

_MIB = 1024 * 1024
_DEFAULT_INCLUDE = [
    *("**/*.md", "**/*.markdown", "**/*.rst", "**/*.txt", "**/*.html", "**/*.htm"),
    *("**/*.pdf", "**/*.docx", "**/*.pptx", "**/*.xlsx"),
]


def _checked(glob: str) -> str:
    if parse_glob(glob) is None:
        raise ValueError(f"got {glob!r}, expected a glob that can match something, such as '**/*.md'")
    return glob


_Glob = Annotated[str, AfterValidator(_checked)]


class FilesOptions(BaseModel):
    """Config keys of a files source.

    Attributes:
        path: Root of the tree; relative to the config file, `~` is the home directory.
        include: Globs as in `.gitignore`, but that `*.md` takes README.MD as well; a file is a document if
            the last one that matches it, or else the nearest folder above it that one matches, is not negated.
        exclude: Globs like those, stronger than every ignore file.
        max_file_bytes: Larger files are refused.
        media_types: Glob → media type of the files it matches; the last that matches holds.
        watch: Whether to be told of changes by the kernel between scans.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[str, Field(min_length=1)]
    include: Annotated[list[_Glob], Field(min_length=1)] = _DEFAULT_INCLUDE
    exclude: list[_Glob] = []
    max_file_bytes: Annotated[ByteSize, Field(gt=0)] = ByteSize(50 * _MIB)
    media_types: dict[_Glob, str] = {}
    watch: bool = True


class FilesConnector:
    """Lists and reads the files below a root; never follows a symlink, opens nothing but regular files."""

    Options: ClassVar[type[Any]] = FilesOptions

    coverage = Coverage.FULL

    def __init__(self, options: FilesOptions, context: ConnectorContext) -> None:
        self._options = options
        self._clock = context.clock
        # Not resolved: what the operator named is what people see, and what a later mount may replace.
        self._root = Path(os.path.abspath(context.base / os.path.expanduser(options.path)))
        self._rules = Rules(parse_lines(options.include, any_case=True), parse_lines(options.exclude, any_case=True))
        self._media_types = [(parse_lines([glob], any_case=True), kind) for glob, kind in options.media_types.items()]
        self._ignore_files = IgnoreFiles()
        self._watch: FilesWatch | None = None

    def list(self, scope: str | None = None, cursor: str | None = None) -> Listing:
        """Show the documents there are, in order of id; see `ports.Connector.list`."""
        return Listing(self._found(scope, cursor))

    def read(self, ref: DocumentRef) -> Document:
        """Read one document; see `ports.Connector.read`."""
        path = self._path_of(ref.document_id)
        with opened_root(self._root) as root_fd:
            try:
                with _opened_file(root_fd, path) as (fd, found):
                    self._refuse_unless_readable(ref.document_id, found)
                    content = _content(fd, found, ref.document_id)
            except OSError as error:
                raise _read_error(ref.document_id, error) from error
        return Document(
            ref=DocumentRef.of(found_file(ref.document_id, found, self._now_ns())),
            uri="file://" + quote_from_bytes(os.path.join(os.fsencode(self._root), *path)),
            content=content,
            media_type=self._media_type(path),
            modified_at=instant(found.st_mtime_ns),
        )

    def is_gone(self, document_id: DocumentId) -> bool:
        """Tell whether no such document is there now, or none that the rules admit; see `ports.Connector.is_gone`."""
        with closing(self._found(document_id, None)) as found:
            try:
                # A document below it, not itself, means that a folder took its place.
                return next(found).document_id != document_id or not self._is_spelled_so(document_id)
            except StopIteration as end:
                report: ListingReport = end.value
                return report.is_complete and not report.unreadable

    def _is_spelled_so(self, document_id: DocumentId) -> bool:
        """Tell whether that is a document's own name, where a file system finds it by others too; in doubt it is."""
        place = os.fsencode(self._root)
        for name in names.parts(document_id):
            try:
                if name not in os.listdir(place):
                    return False
            except OSError:
                return True
            place = os.path.join(place, name)
        return True

    def watch(self, on_hint: Callable[[Hint], None]) -> Watch:
        """Begin to watch; a tree that cannot be watched gives a watch that says why."""
        if not self._options.watch:
            return Unwatched()
        if self._watch is not None:
            self._watch.close()
        self._watch = FilesWatch(self._root, self._rules, self._clock, on_hint)
        return self._watch

    def write(self, document_id: DocumentId, text: str) -> None:
        """Put a file of freshd's own below the root; see `ports.Writable.write`."""
        path = self._path_of(document_id)
        with opened_root(self._root) as root_fd:
            writing.check_is_listed(root_fd, path, self._rules, self._ignore_files, self._now_ns())
            writing.write(root_fd, path, text.encode())

    def delete(self, document_id: DocumentId) -> None:
        """Delete a file of freshd's own; see `ports.Writable.delete`."""
        path = self._path_of(document_id)
        with opened_root(self._root) as root_fd:
            writing.delete(root_fd, path)

    def close(self) -> None:
        """Stop watching; idempotent."""
        if self._watch is not None:
            self._watch.close()

    def _found(self, scope: str | None, cursor: str | None) -> Generator[FoundFile, None, ListingReport]:
        if scope is not None and not _is_id(scope):
            return ListingReport(is_complete=False, cursor=cursor)
        began_at_s = self._clock.monotonic()
        with opened_root(self._root) as fd:
            walk = Walk(fd, self._rules, self._ignore_files, now=self._clock.now(), scope=scope, cursor=cursor)
            try:
                report = yield from walk.found()
            except OSError as error:
                raise root_unavailable(self._root, error) from error
            if self._watch is not None and scope is None:
                self._watch.saw_everything(identity_of(fd), began_at_s if report.is_complete else None)
            return report

    def _path_of(self, document_id: DocumentId) -> Sequence[bytes]:
        try:
            return names.parts(document_id)
        except ValueError as error:
            raise DocumentRefused(str(error), hint="ids are spelt as the listing spells them") from error

    def _refuse_unless_readable(self, document_id: DocumentId, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise _not_regular(document_id)
        limit = self._options.max_file_bytes
        if found.st_size > limit:
            raise DocumentRefused(
                f"{document_id}: got {found.st_size} bytes, expected at most {limit}",
                hint="raise max_file_bytes of the source, or exclude the file",
            )

    def _media_type(self, path: Sequence[bytes]) -> str | None:
        text, name = names.text_of(b"/".join(path)), names.text_of(path[-1])
        kinds = [kind for globs, kind in self._media_types if globs.decide(text, name, is_folder=False)]
        return kinds[-1] if kinds else None

    def _now_ns(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000) * 1_000


@contextmanager
def _opened_file(root_fd: int, path: Sequence[bytes]) -> Iterator[tuple[int, os.stat_result]]:
    """Open a file below the root if it is a regular one; devices and pipes are told from afar."""
    *folders, name = path
    folder_fd = open_beneath(root_fd, folders)
    try:
        found = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.ELOOP, "not a regular file")
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_fd)
    finally:
        os.close(folder_fd)
    try:
        yield fd, os.fstat(fd)
    finally:
        os.close(fd)


def _content(fd: int, before: os.stat_result, document_id: DocumentId) -> bytes:
    with open(fd, "rb", closefd=False) as file:
        content = file.read(before.st_size + 1)
    faults.hit("mid_read")
    if len(content) != before.st_size or _state(os.fstat(fd)) != _state(before):
        raise DocumentChanging(f"{document_id}: changed while it was read")
    return content


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _read_error(document_id: DocumentId, error: OSError) -> SourceError:
    """Say what an error means for the one document that was to be read."""
    if error.errno in (errno.ELOOP, errno.ENXIO):
        return _not_regular(document_id)
    if is_absence(error):
        return DocumentGone(f"{document_id}: {error.strerror}")
    hint = "give freshd's user read permission" if isinstance(error, PermissionError) else ""
    return DocumentUnreadable(f"{document_id}: {error.strerror or error}", hint=hint)


def _not_regular(document_id: DocumentId) -> DocumentRefused:
    return DocumentRefused(f"{document_id}: got a symlink, pipe, device or folder, expected a regular file")


def _is_id(scope: str) -> bool:
    try:
        return bool(names.parts(scope))
    except ValueError:
        return False
