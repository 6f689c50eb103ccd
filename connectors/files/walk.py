"""Walking a tree for its documents: in id order, one ref at a time, reporting what it could not see.

    open folder ─▶ names ─ admitted, sorted ─▶ stat each file ─▶ FoundFile …
        ▲                                          │
        └──────────── next folder, by descriptor ◀─┘            at the end ─▶ ListingReport

An entry's place in the order is its encoded name, with `/` at the end of a folder's:
so `a.txt` comes before what is in `a`, as in the order of whole ids.
A place that vanished while walking is simply not there; any other error makes it unknown.
"""

import json
import os
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from connectors.files import names
from connectors.files.folders import Identity, identity_of, is_absence, is_exhaustion, open_beneath, open_folder
from connectors.files.ignores import IgnoreFiles
from connectors.files.rules import IGNORE_FILES, Folder, Rules
from freshd.model import DocumentId, ListingReport

_MAX_OPEN = 64
"""Folders held open at once; deeper walks close the outer ones and come back through `..`."""

_MAX_UNREADABLE = 10_000
"""Places reported one by one; with more, the listing is simply incomplete."""

_MAX_MOUNTS = 1_000

_RACY_NS = 2_000_000_000


class FoundFile(NamedTuple):
    """A regular file as it was found: a `model.Sighting` that works the rest out when it is asked."""

    document_id: DocumentId
    fingerprint: str
    stat: os.stat_result
    now_ns: int

    @property
    def changed_at(self) -> datetime | None:
        """When its content, name or rights changed last; nobody can set that back by hand."""
        return instant(self.stat.st_ctime_ns)

    @property
    def identity(self) -> str:
        """Stays through a rename."""
        return f"{self.stat.st_dev}:{self.stat.st_ino}"

    @property
    def is_racy(self) -> bool:
        """Whether it changed just before it was found, or after."""
        # The time of change cannot be set back by hand, so everything from just before `now` on is doubtful.
        # A modification time far in the future is somebody's wish and no reason to read the file for ever.
        is_recent = self.stat.st_ctime_ns >= self.now_ns - _RACY_NS
        return is_recent or abs(self.stat.st_mtime_ns - self.now_ns) <= _RACY_NS


@dataclass(slots=True)
class _Level:
    """A folder on the way down.

    Attributes:
        fd: Closed while None.
        key: Its place in its parent's order, with a slash at the end; empty for the root.
        name: As the kernel gave it; empty for the root.
        pending: Admitted entries not looked at yet, the last one first: key, name, whether it is a folder.

    """

    fd: int | None
    key: str
    name: str
    folder: Folder
    identity: Identity
    pending: list[tuple[str, str, bool]]


@dataclass(frozen=True, slots=True)
class Mounts:
    """Which file systems a tree was made of; what a listing's cursor remembers.

    Attributes:
        device: Of the root.
        inode: Of the root; None if that was not noted.
        below: Ids of folders that began another file system.

    """

    device: int
    inode: int | None = None
    below: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, cursor: str | None) -> "Mounts | None":
        """Read a cursor; None if there is none, or another version wrote it."""
        try:
            seen = json.loads(cursor or "null")
            inode = seen.get("inode")
            return cls(int(seen["device"]), None if inode is None else int(inode), frozenset(seen["below"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def is_replaced_by(self, root: Identity) -> bool:
        """Tell whether another folder stands where the root was, on whatever file system."""
        return self.device != root[0] or self.inode not in (None, root[1])

    def dump(self) -> str:
        """Write a cursor."""
        return json.dumps({"device": self.device, "inode": self.inode, "below": sorted(self.below)})


class Walk:
    """One listing of a tree, or of the part of it that `scope` names; used once."""

    def __init__(
        self,
        root_fd: int,
        rules: Rules,
        ignore_files: IgnoreFiles,
        *,
        now: datetime,
        scope: str | None = None,
        cursor: str | None = None,
    ) -> None:
        """Prepare; nothing is looked at yet.

        Args:
            root_fd: Stays open and belongs to the caller.
            rules: Tell what is a document.
            ignore_files: Reads them, and remembers from one walk to the next.
            now: The instant that racy files are told by.
            scope: As in `ports.Connector.list`; must be an id.
            cursor: As in `ports.Connector.list`.

        """
        self._root_fd = root_fd
        self._rules = rules
        self._ignore_files = ignore_files
        self._now_ns = int(now.timestamp() * 1_000_000) * 1_000
        self._scope = [] if scope is None else scope.split("/")
        self._cursor = cursor
        self._seen_before = Mounts.parse(cursor)
        self._mounts: set[str] = set()
        self._lost_mounts: list[str] = []
        self._unreadable: list[str] = []
        self._is_complete = True
        self._shows_any = False
        self._levels: list[_Level] = []
        self._prefix = ""

    def found(self) -> Generator[FoundFile, None, ListingReport]:
        """Yield every document in order; return what the listing is worth.

        Raises:
            OSError: The root itself could not be listed; nothing may be concluded.

        """
        try:
            self._enter_root()
            root = self._levels[0].identity
            while self._levels:
                level = self._levels[-1]
                yield from self._files(level)
                if level.pending:
                    self._enter(level, *level.pending.pop()[:2])
                else:
                    self._leave(level)
            return self._report(root)
        finally:
            self._close()

    def _enter_root(self) -> None:
        fd = os.dup(self._root_fd)
        self._levels.append(_Level(fd, "", "", self._rules.root(()), identity_of(fd), []))
        self._fill(self._levels[0], None)

    def _enter(self, parent: _Level, key: str, name: str) -> None:
        """Go down; a folder that is there but cannot be seen whole is unknown whole."""
        place = self._prefix + key[:-1]
        try:
            fd = open_folder(name, _open(parent))
        except OSError as error:
            self._note(place, error)
            return
        level = _Level(fd, key, name, parent.folder, identity_of(fd), [])
        self._levels.append(level)
        self._prefix += key
        self._note_mount(place, parent, level)
        try:
            self._fill(level, parent.folder)
        except OSError as error:
            level.pending = []
            if error.filename in IGNORE_FILES:  # what keeps the folder from being seen is told first
                self._note(f"{place}/{error.filename}", error)
            self._note(place, error)
        self._close_outer()

    def _fill(self, level: _Level, parent: Folder | None) -> None:
        """Find the folder's rules and its admitted entries."""
        fd, depth = _open(level), len(self._levels) - 1
        narrowed = depth < len(self._scope)
        entries = self._entry_in_scope(fd, depth) if narrowed else _entries(fd)
        ignore_names = IGNORE_FILES if narrowed else [name for name in IGNORE_FILES if entries.get(name) is False]
        ignores = self._ignore_files.of_folder(fd, ignore_names, self._now_ns)
        folder = self._rules.root(ignores) if parent is None else parent.child(_text(level.name), ignores)
        level.folder = folder
        level.pending = sorted(_admitted(folder, entries), reverse=True)

    def _entry_in_scope(self, fd: int, depth: int) -> dict[str, bool]:
        """Look at the one entry that leads to the scope."""
        name = names.decode(self._scope[depth])
        try:
            mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
        except OSError as error:
            self._note(self._prefix + self._scope[depth], error)
            return {}
        is_folder = stat.S_ISDIR(mode)
        is_wanted = is_folder or (stat.S_ISREG(mode) and depth == len(self._scope) - 1)
        return {os.fsdecode(name): is_folder} if is_wanted else {}

    def _files(self, level: _Level) -> Iterator[FoundFile]:
        """Yield the documents of a folder up to the next folder in it."""
        pending, prefix, now_ns = level.pending, self._prefix, self._now_ns
        if not pending:
            return
        fd = _open(level)
        while pending and not pending[-1][2]:
            key, name, _ = pending.pop()
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except PermissionError as error:
                # Without search permission no entry of the folder can be looked at: it is one unknown place.
                if len(self._levels) == 1:
                    raise
                pending.clear()
                self._note(prefix[:-1], error)
            except OSError as error:
                self._note(prefix + key, error)
            else:
                if stat.S_ISREG(found.st_mode):
                    self._shows_any = True
                    yield found_file(DocumentId(prefix + key), found, now_ns)

    def _leave(self, level: _Level) -> None:
        """Go back up, opening the parent again if the walk went too deep to keep it."""
        if len(self._levels) > 1 and self._levels[-2].fd is None:
            self._reopen(self._levels[-2], level)
        if level.fd is not None:
            os.close(level.fd)
        self._levels.pop()
        self._prefix = self._prefix[: len(self._prefix) - len(level.key)]

    def _reopen(self, parent: _Level, child: _Level) -> None:
        parent.fd = self._found_again(parent, child)
        if parent.fd is None and parent.pending:
            # It was moved away under the walk; what was not looked at yet may be anywhere.
            parent.pending = []
            place = self._prefix[: len(self._prefix) - len(child.key)].rstrip("/")
            self._is_complete &= bool(place)
            self._unreadable.append(place)

    def _found_again(self, parent: _Level, child: _Level) -> int | None:
        try:
            if child.fd is None:
                fd = open_beneath(self._root_fd, [level.name for level in self._levels[1:-1]])
            else:
                fd = open_folder("..", child.fd)
        except OSError:
            return None
        if identity_of(fd) == parent.identity:
            return fd
        os.close(fd)
        return None

    def _close_outer(self) -> None:
        if len(self._levels) > _MAX_OPEN:
            outer = self._levels[-_MAX_OPEN - 1]
            if outer.fd is not None:
                os.close(outer.fd)
                outer.fd = None

    def _note(self, place: str, error: OSError) -> None:
        if is_absence(error):
            return
        if is_exhaustion(error) or len(self._unreadable) >= _MAX_UNREADABLE:
            self._is_complete = False
        else:
            self._unreadable.append(place)

    def _note_mount(self, place: str, parent: _Level, level: _Level) -> None:
        if level.identity[0] != parent.identity[0]:
            if len(self._mounts) < _MAX_MOUNTS:
                self._mounts.add(place)
        elif self._seen_before and place in self._seen_before.below:
            self._lost_mounts.append(place)

    def _report(self, root: Identity) -> ListingReport:
        """Say what the listing is worth.

        A folder that was put in the place of another one is an ordinary way to publish a tree, unless it is empty;
        what is missing from a part of it is told by a look at everything.
        """
        suspicion = None
        if self._lost_mounts:
            suspicion = f"{self._lost_mounts[0]!r} was a file system of its own before and is none now"
        if self._seen_before and self._seen_before.is_replaced_by(root):
            self._is_complete &= not self._scope
            if not self._shows_any:
                suspicion = "root is another folder than before, and shows nothing"
            if self._seen_before.device != root[0]:
                suspicion = "root is on another file system than before"
        return ListingReport(self._is_complete, tuple(self._unreadable), self._next_cursor(root), suspicion)

    def _next_cursor(self, root: Identity) -> str | None:
        if self._scope:
            return self._cursor
        unseen = self._seen_before.below if self._seen_before and self._unreadable else ()
        kept = {place for place in unseen if any(f"{place}/".startswith(f"{hole}/") for hole in self._unreadable)}
        return Mounts(*root, frozenset(self._mounts | kept)).dump()

    def _close(self) -> None:
        for level in self._levels:
            if level.fd is not None:
                os.close(level.fd)
        self._levels.clear()


def found_file(document_id: DocumentId, found: os.stat_result, now_ns: int) -> FoundFile:
    """Describe a regular file by what `stat` says of it at an instant."""
    fingerprint = f"{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}:{found.st_ino}"
    return FoundFile(document_id, fingerprint, found, now_ns)


def instant(time_ns: int) -> datetime | None:
    """Convert a file time; None for one that no calendar has."""
    try:
        return datetime.fromtimestamp(time_ns // 1_000 / 1_000_000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _entries(fd: int) -> dict[str, bool]:
    """List the regular files and folders of an open folder, and whether each is a folder."""
    with os.scandir(fd) as found:
        return {
            entry.name: is_folder
            for entry in found
            if (is_folder := entry.is_dir(follow_symlinks=False)) or entry.is_file(follow_symlinks=False)
        }


def _admitted(folder: Folder, entries: dict[str, bool]) -> Iterator[tuple[str, str, bool]]:
    """Give the entries that may be documents, or hold some."""
    admits_file, admits_folder = folder.admits_file, folder.admits_folder
    for name, is_folder in entries.items():
        is_ascii = name.isascii()
        text = name if is_ascii else _text(name)
        if admits_folder(text) if is_folder else admits_file(text):
            is_plain = is_ascii and name.isprintable() and "%" not in name
            key = name if is_plain else names.encode(os.fsencode(name))
            yield (f"{key}/" if is_folder else key), name, is_folder


def _text(name: str) -> str:
    return names.text_of(os.fsencode(name))


def _open(level: _Level) -> int:
    if level.fd is None:
        raise AssertionError("the folder on top is always open")
    return level.fd
