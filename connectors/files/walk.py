"""Walking a tree for its documents: in id order, one ref at a time, reporting what it could not see.

    open folder ─▶ names ─ admitted, sorted ─▶ stat each file ─▶ DocumentRef …
        ▲                                          │
        └──────────── next folder, by descriptor ◀─┘            at the end ─▶ ListingReport

An entry's place in the order is its encoded name, with `/` at the end of a folder's:
so `a.txt` comes before what is in `a`, as in the order of whole ids.
A place that vanished while walking is simply not there; any other error makes it unknown.
"""

import json
import os
import stat
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime

from connectors.files import names
from connectors.files.folders import Identity, identity_of, is_absence, is_exhaustion, open_beneath, open_folder
from connectors.files.ignores import IgnoreFiles
from connectors.files.rules import IGNORE_FILES, Folder, Rules
from freshd.model import DocumentId, DocumentRef, ListingReport

_MAX_OPEN = 64
"""Folders held open at once; deeper walks close the outer ones and come back through `..`."""

_MAX_UNREADABLE = 10_000
"""Places reported one by one; with more, the listing is simply incomplete."""

_MAX_MOUNTS = 1_000

_RACY_NS = 2_000_000_000


@dataclass(slots=True)
class _Level:
    """A folder on the way down.

    Attributes:
        fd: Closed while None.
        key: Its place in its parent's order, with a slash at the end; empty for the root.
        pending: Keys of admitted entries not looked at yet, the last one first.

    """

    fd: int | None
    key: str
    folder: Folder
    identity: Identity
    pending: list[str]


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

    def refs(self) -> Generator[DocumentRef, None, ListingReport]:
        """Yield every document in order; return what the listing is worth.

        Raises:
            OSError: The root itself could not be listed; nothing may be concluded.

        """
        try:
            self._enter_root()
            root = self._levels[0].identity
            while self._levels:
                level = self._levels[-1]
                if not level.pending:
                    self._leave(level)
                elif (key := level.pending.pop()).endswith("/"):
                    self._enter(level, key)
                elif (ref := self._look(level, key)) is not None:
                    self._shows_any = True
                    yield ref
            return self._report(root)
        finally:
            self._close()

    def _enter_root(self) -> None:
        fd = os.dup(self._root_fd)
        self._levels.append(_Level(fd, "", self._rules.root(()), identity_of(fd), []))
        self._fill(self._levels[0], None)

    def _enter(self, parent: _Level, key: str) -> None:
        """Go down; a folder that is there but cannot be seen whole is unknown whole."""
        place = self._prefix + key[:-1]
        try:
            fd = open_folder(names.decode(key[:-1]), _open(parent))
        except OSError as error:
            self._note(place, error)
            return
        level = _Level(fd, key, parent.folder, identity_of(fd), [])
        self._levels.append(level)
        self._prefix += key
        self._note_mount(place, parent, level)
        try:
            self._fill(level, parent.folder)
        except OSError as error:
            level.pending = []
            self._note(place, error)
        self._close_outer()

    def _fill(self, level: _Level, parent: Folder | None) -> None:
        """Find the folder's rules and its admitted entries."""
        fd, depth = _open(level), len(self._levels) - 1
        narrowed = depth < len(self._scope)
        entries = self._entry_in_scope(fd, depth) if narrowed else _entries(fd)
        ignore_names = IGNORE_FILES if narrowed else [name for name in IGNORE_FILES if (name, False) in entries]
        ignores = self._ignore_files.of_folder(fd, ignore_names, self._now_ns)
        name = names.text_of(names.decode(level.key[:-1]))
        folder = self._rules.root(ignores) if parent is None else parent.child(name, ignores)
        level.folder = folder
        level.pending = [_key(name, is_folder) for name, is_folder in entries if _admits(folder, name, is_folder)]
        level.pending.sort(reverse=True)

    def _entry_in_scope(self, fd: int, depth: int) -> set[tuple[str, bool]]:
        """Look at the one entry that leads to the scope."""
        name = names.decode(self._scope[depth])
        try:
            mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
        except OSError as error:
            self._note(self._prefix + self._scope[depth], error)
            return set()
        is_folder = stat.S_ISDIR(mode)
        is_wanted = is_folder or (stat.S_ISREG(mode) and depth == len(self._scope) - 1)
        return {(os.fsdecode(name), is_folder)} if is_wanted else set()

    def _look(self, level: _Level, key: str) -> DocumentRef | None:
        document_id = self._prefix + key
        try:
            found = os.stat(names.decode(key), dir_fd=level.fd, follow_symlinks=False)
        except PermissionError as error:
            # Without search permission no entry of the folder can be looked at: it is one unknown place.
            if len(self._levels) == 1:
                raise
            level.pending = []
            self._note(self._prefix[:-1], error)
            return None
        except OSError as error:
            self._note(document_id, error)
            return None
        return ref_of(DocumentId(document_id), found, self._now_ns) if stat.S_ISREG(found.st_mode) else None

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
                fd = open_beneath(self._root_fd, [names.decode(level.key[:-1]) for level in self._levels[1:-1]])
            else:
                fd = open_folder(b"..", child.fd)
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


def ref_of(document_id: DocumentId, found: os.stat_result, now_ns: int) -> DocumentRef:
    """Describe a regular file by what `stat` says of it."""
    # The time of change cannot be set back by hand, so everything from just before `now` on is doubtful.
    # A modification time far in the future is somebody's wish and no reason to read the file for ever.
    mtime_ns, ctime_ns, inode = found.st_mtime_ns, found.st_ctime_ns, found.st_ino
    return DocumentRef(
        document_id,
        f"{found.st_size}:{mtime_ns}:{ctime_ns}:{inode}",
        instant(ctime_ns),
        f"{found.st_dev}:{inode}",
        is_racy=ctime_ns >= now_ns - _RACY_NS or abs(mtime_ns - now_ns) <= _RACY_NS,
    )


def instant(time_ns: int) -> datetime | None:
    """Convert a file time; None for one that no calendar has."""
    try:
        return datetime.fromtimestamp(time_ns // 1_000 / 1_000_000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _entries(fd: int) -> set[tuple[str, bool]]:
    """List the regular files and folders of an open folder, and whether each is a folder."""
    with os.scandir(fd) as found:
        return {
            (entry.name, is_folder)
            for entry in found
            if (is_folder := entry.is_dir(follow_symlinks=False)) or entry.is_file(follow_symlinks=False)
        }


def _admits(folder: Folder, name: str, is_folder: bool) -> bool:
    text = name if name.isascii() else names.text_of(os.fsencode(name))
    return folder.admits_folder(text) if is_folder else folder.admits_file(text)


def _key(name: str, is_folder: bool) -> str:
    is_plain = name.isascii() and name.isprintable() and "%" not in name
    key = name if is_plain else names.encode(os.fsencode(name))
    return f"{key}/" if is_folder else key


def _open(level: _Level) -> int:
    if level.fd is None:
        raise AssertionError("the folder on top is always open")
    return level.fd
