"""Watching a tree: events of the kernel, or of polling on network file systems, become hints.

watchdog event ─▶ places (pure) ─▶ Hint ─▶ on_hint          all from one thread
events lost · folders unwatched · root lost ─▶ degraded, and a hint for everything
"""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from watchdog.events import (
    DirAttribEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyFullEmitter
from watchdog.observers.polling import PollingObserverVFS

from connectors.files import names
from connectors.files.folders import Identity
from connectors.files.inotify import CandidInotify
from connectors.files.mounts import needs_polling
from connectors.files.rules import IGNORE_FILES, LEFT_OUT_FOLDERS, Rules
from freshd.model import Hint
from freshd.ports import Clock

POLL_INTERVAL_S = 10.0
"""Between two looks at a network file system; each costs a stat per file."""

_STOP_S = 2.0
"""For the threads of a watch to end: one that looks at a file server which is away does not."""

_MOUNT_TABLE = Path("/proc/self/mountinfo")

_SETTLED: tuple[type[FileSystemEvent], ...] = (
    FileClosedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
    DirAttribEvent,
)
_UNSETTLED: tuple[type[FileSystemEvent], ...] = (FileCreatedEvent, FileModifiedEvent, FileAttribEvent)

_LEFT_OUT = frozenset(name.encode() for name in LEFT_OUT_FOLDERS)


class _Anywhere(FileSystemEvent):
    """Put among watchdog's events where nobody can say what they missed."""


def places_of(event: FileSystemEvent, root: bytes, rules: Rules) -> Iterator[str | None]:
    """Tell where an event calls for a look.

    Args:
        event: As watchdog gives it.
        root: Absolute path of the root, as the events spell it.
        rules: Tell which places cannot matter; ignore files are not asked.

    Yields:
        A document id or a folder's; None for everything.

    """
    if isinstance(event, _Anywhere):
        yield None
        return
    for path in (event.src_path, event.dest_path):
        place = os.fsencode(path)
        if place == root:
            yield None
        elif place.startswith(root.rstrip(b"/") + b"/"):
            yield from _places_below(place[len(root.rstrip(b"/")) + 1 :], event.is_directory, rules)


def _places_below(place: bytes, is_folder: bool, rules: Rules) -> Iterator[str | None]:
    folder, _, name = place.rpartition(b"/")
    if name.decode(errors="replace") in IGNORE_FILES:
        # What it hides or shows is its folder.
        if not folder or rules.may_matter(names.text_of(folder), is_folder=True):
            yield names.encode(folder) or None
    elif rules.may_matter(names.text_of(place), is_folder=is_folder):
        yield names.encode(place)


class Unwatched:
    """A watch nobody asked for: gives no hint, misses nothing it promised."""

    degraded: str | None = None

    def close(self) -> None:
        """Do nothing."""


class FilesWatch(FileSystemEventHandler):
    """A running watch over one root.

    What is degraded stays so until the watch is closed and another one begun,
    except that lost events are made good by the next complete listing of everything.
    """

    def __init__(
        self,
        root: Path,
        rules: Rules,
        clock: Clock,
        on_hint: Callable[[Hint], None],
        *,
        poll_interval_s: float = POLL_INTERVAL_S,
    ) -> None:
        """Begin to watch; where that fails, `degraded` says why and no hint will come.

        Args:
            root: Need not exist.
            rules: Spare hints for what is certainly no document.
            clock: Says when a hint was given.
            on_hint: Called from a thread of the watch; must not block.
            poll_interval_s: Between two looks, where events cannot be had.

        """
        self._root = os.path.realpath(root)
        self._rules = rules
        self._clock = clock
        self._on_hint = on_hint
        self._lock = threading.Lock()
        self._fatal: str | None = None
        self._unwatched: str | None = None
        self._n_unwatched = 0
        self._lost_at_s: float | None = None
        self._inotify: CandidInotify | None = None
        self._observer: BaseObserver | None = None
        self._observed: Any = None
        self._root_identity: Identity | None = None
        self._is_closing = False
        try:
            self._start(poll_interval_s)
        except OSError as error:
            self.close()
            self._fatal = f"{self._root} cannot be watched: {error.strerror or error}"

    @property
    def degraded(self) -> str | None:
        """Why hints may be missing; None while all is well."""
        if self._fatal:
            return self._fatal
        if not self._is_closing and self._observer and not self._is_alive(self._observer):
            return f"the watch over {self._root} stopped"
        if self._n_unwatched:
            folders = "1 folder is" if self._n_unwatched == 1 else f"{self._n_unwatched} folders are"
            return f"{folders} not watched: {self._unwatched}"
        if self._lost_at_s is not None:
            return "the kernel dropped events (fs.inotify.max_queued_events); the next complete scan makes up for them"
        return None

    def close(self) -> None:
        """Stop; no hint is given after this returns, and what hangs in a look is left behind; idempotent."""
        self._is_closing = True
        # In a thread of its own, as watchdog waits for its threads without end.
        ending = threading.Thread(target=self._end, name="watch-end", daemon=True)
        ending.start()
        ending.join(_STOP_S)

    def _end(self) -> None:
        if self._observer is not None and self._observer.is_alive():
            self._observer.stop()
            self._observer.join()
        if self._inotify is not None and self._inotify.is_alive():
            self._inotify.stop()
            self._inotify.join()

    def saw_everything(self, root: Identity, complete_since_s: float | None) -> None:
        """Learn from a listing of everything.

        Args:
            root: Which directory it listed.
            complete_since_s: Monotonic instant since when nothing can have been missed; None if it was incomplete.

        """
        if self._root_identity is not None and root != self._root_identity:
            self._fatal = f"another directory took the place of {self._root}; the old one is watched"
        if complete_since_s is not None and self._lost_at_s is not None and self._lost_at_s < complete_since_s:
            self._lost_at_s = None

    def dispatch(self, event: FileSystemEvent) -> None:
        """Turn an event into hints; called by watchdog, in order, from one thread."""
        if self._is_closing or event.is_synthetic:
            # Synthetic events repeat, file by file, what the event of their folder says.
            return
        if isinstance(event, DirDeletedEvent) and event.src_path == self._root:
            self._fatal = f"{self._root} is gone"
        is_settled = not isinstance(event, _UNSETTLED)
        for place in places_of(event, os.fsencode(self._root), self._rules):
            self._on_hint(Hint(place, is_settled, self._clock.now()))

    def events_were_lost(self, *, is_mended: bool) -> None:
        """See `Listener`."""
        self._lost_at_s = self._clock.monotonic()
        if not is_mended:
            self._fatal = f"{self._root} has too many folders for fs.inotify.max_queued_events, which overflowed"
        self._hint_everywhere()

    def folder_is_unwatched(self, error: OSError) -> None:
        """See `Listener`."""
        with self._lock:
            self._n_unwatched += 1
            self._unwatched = error.strerror
        # Folders that appear later are listed because of their own event.
        if self._n_unwatched == 1:
            self._hint_everywhere()

    def root_was_lost(self) -> None:
        """See `Listener`."""
        if not self._is_closing:
            self._fatal = f"{self._root} was removed, renamed or unmounted"
            self._hint_everywhere()

    def _start(self, poll_interval_s: float) -> None:
        found = os.stat(self._root)
        self._root_identity = found.st_dev, found.st_ino
        self._observer = self._polling(poll_interval_s) if self._must_poll() else self._notified()
        self._observed = self._observer.schedule(
            self, self._root, recursive=True, event_filter=[*_SETTLED, *_UNSETTLED]
        )
        self._observer.start()

    def _must_poll(self) -> bool:
        try:
            table = _MOUNT_TABLE.read_text(errors="surrogateescape")
        except OSError:
            return False
        return needs_polling(table, self._root)

    def _notified(self) -> BaseObserver:
        self._inotify = CandidInotify(os.fsencode(self._root), self._is_left_out, self)
        self._inotify.start()
        return BaseObserver(InotifyFullEmitter, inotify_fd=self._inotify)

    @staticmethod
    def _polling(interval_s: float) -> BaseObserver:
        # `lstat` keeps it from walking through symlinks, round and round.
        return PollingObserverVFS(os.lstat, _scandir, polling_interval=interval_s)  # type: ignore[arg-type]

    def _is_left_out(self, path: bytes) -> bool:
        below = path[len(os.fsencode(self._root)) :]
        return not _LEFT_OUT.isdisjoint(below.split(b"/"))

    def _is_alive(self, observer: BaseObserver) -> bool:
        threads = [observer, *observer.emitters, *([self._inotify] if self._inotify else [])]
        return all(thread.is_alive() for thread in threads)

    def _hint_everywhere(self) -> None:
        # Through watchdog's queue, so that every hint comes from one thread and none after `close`.
        if self._observer is not None:
            self._observer.event_queue.put((_Anywhere(self._root), self._observed))


def _scandir(path: str) -> Iterator[os.DirEntry[str]]:
    return (entry for entry in os.scandir(path) if entry.name not in LEFT_OUT_FOLDERS)
