"""watchdog's inotify reader, made to say what it could not watch and when it lost events.

watchdog keeps both to itself: a watch that the kernel refuses is dropped without a word,
and an overflow of the kernel's queue is only logged.
Both pass through public methods of `InotifyFD`, which are overridden here.

After an overflow watchdog removes every watch and adds it again, and each removal is an event in the same queue:
a tree with more folders than the queue is long overflows it anew, for ever. Such a tree is not mended here.
"""

import errno
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Protocol

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)

_QUEUE_LENGTH = Path("/proc/sys/fs/inotify/max_queued_events")
_DEFAULT_QUEUE_LENGTH = 16_384

_VANISHED = frozenset({errno.ENOENT, errno.ENOTDIR})


class Listener(Protocol):
    """Who is told; called from the threads of the watch, and while it starts."""

    def events_were_lost(self, *, is_mended: bool) -> None:
        """Take note that the kernel dropped events.

        Args:
            is_mended: Every folder is watched again; else new ones may not be, from here on.

        """
        ...

    def folder_is_unwatched(self, error: OSError) -> None:
        """Take note that one folder's changes will not be seen."""
        ...

    def root_was_lost(self) -> None:
        """Take note that the root was removed, renamed or unmounted."""
        ...


class CandidInotify(InotifyFD):
    """Watches the folders below a root, but for those left out, and tells what it misses."""

    def __init__(self, root: bytes, is_left_out: Callable[[bytes], bool], listener: Listener) -> None:
        """Open an inotify instance.

        Args:
            root: As the folder is named in `add_callback`.
            is_left_out: Tells of a folder's path whether it shall cost no watch.
            listener: Is told.

        Raises:
            OSError: No instance is left (fs.inotify.max_user_instances), or no descriptor.

        """
        self._queue_length = _queue_length()
        super().__init__()
        self._root = root
        self._root_wd: WatchDescriptor | None = None
        self._ids = map(CallbackId, count())
        self._watched: dict[WatchDescriptor, CallbackId] = {}
        self._is_left_out = is_left_out
        self._listener = listener

    def add_callback(self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId) -> WatchDescriptor:
        """Watch one folder; watchdog goes on without it when this raises, unless it is the root."""
        if self._is_left_out(path):
            raise FileNotFoundError(errno.ENOENT, "left out on purpose", path)
        is_root = path == self._root
        if is_root:
            mask = Mask(mask | InotifyConstants.IN_MOVE_SELF)
        # A folder is often added twice: seen in its new parent, then by its own event; or moved out and in again.
        # watchdog warns of that, so each time gets an id of its own, and the one before is taken away.
        own_id = next(self._ids)
        try:
            wd = super().add_callback(path, mask, callback, own_id)
            if wd == -1:  # how watchdog tells of EACCES
                super().remove_callbacks([(wd, own_id)])
                raise PermissionError(errno.EACCES, "no read permission", path)
        except OSError as error:
            if error.errno not in _VANISHED:
                self._listener.folder_is_unwatched(error)
            raise
        before = self._watched.get(wd)
        self._watched[wd] = own_id
        if before is not None:
            super().remove_callbacks([(wd, before)])
        if is_root:
            self._root_wd = wd
        return wd

    def remove_callbacks(self, callbacks: list[tuple[WatchDescriptor, CallbackId]]) -> None:
        """Stop watching folders; the event that says so may itself be lost to an overflow."""
        super().remove_callbacks([(wd, self._watched.pop(wd)) for wd, _ in callbacks if wd in self._watched])

    def handle_event(self, event: InotifyEvent) -> None:
        """Let watchdog act on an event, then tell what only the kernel's own words reveal."""
        if event.is_queue_overflow:
            # Half of the queue is left for what else happens meanwhile.
            is_mended = len(self._watched) <= self._queue_length // 2
            if is_mended:
                super().handle_event(event)
            self._listener.events_were_lost(is_mended=is_mended)
            return
        super().handle_event(event)
        if event.is_ignored:
            self._watched.pop(event.wd, None)
        if event.wd == self._root_wd and (event.is_move_self or event.is_delete_self or event.is_ignored):
            self._listener.root_was_lost()


def _queue_length() -> int:
    """Read how many events the kernel keeps for an instance made now."""
    try:
        return int(_QUEUE_LENGTH.read_text())
    except (OSError, ValueError):
        return _DEFAULT_QUEUE_LENGTH
