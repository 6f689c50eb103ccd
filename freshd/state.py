"""The state directory: what lies in it, who may use it, and who does right now.

Whether a process works in it is told by an flock, which dies with its process:
after `kill -9` nothing has to be cleaned up, and no pid is ever guessed from a file.
"""

import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from freshd.errors import ConfigError, StateInUse, StateUnusable
from freshd.redaction import printable

LOCK_PATIENCE_S = 0.5
"""A look by `read_daemon` holds the lock for an instant; longer than this, it is somebody's who works there."""

RESERVED_FILES = 100
"""Without room for so many more nothing is written: a batch makes a handful, a new collection some fifty."""

NETWORK_FILE_SYSTEMS = frozenset({"afs", "ceph", "cifs", "glusterfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"})
"""Where a lock of one machine need not keep out another, and a map of a file may show what is old."""

_MOUNTS = Path("/proc/self/mountinfo")

_WAIT = "wait until that process is done; freshd status tells how far the index is"
_LOCK_RETRY_S = 0.02
_MAX_DAEMON_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class DaemonRecord:
    """How to reach the daemon that works in a state directory.

    Attributes:
        address: `host:port` of its endpoint.
        token: Proves to the daemon that the caller may read its state directory.

    """

    address: str
    token: str = field(repr=False)
    pid: int


class StateDirectory:
    """A folder in which one process at a time keeps everything freshd remembers."""

    def __init__(self, path: Path) -> None:
        """Name the folder; it is created only when it is locked."""
        self.path = path

    @property
    def ledger_path(self) -> Path:
        """The ledger's database."""
        return self.path / "ledger.db"

    @property
    def vectors_path(self) -> Path:
        """The vector cache's database."""
        return self.path / "vectors.db"

    @property
    def index_dir(self) -> Path:
        """Embedded shards, one folder for each generation."""
        return self.path / "index"

    @property
    def holds_index(self) -> bool:
        """Whether there is an embedded shard, of whatever generation: then there is a ledger, or one was lost."""
        return any(self.index_dir.glob("*/identity.json")) or any(self.index_dir.glob("*/shard"))

    @property
    def seal_path(self) -> Path:
        """What tells that ledger and index belong together as they are."""
        return self.index_dir / "seal"

    @property
    def models_dir(self) -> Path:
        """Models as they are loaded."""
        return self.path / "models"

    @property
    def daemon_path(self) -> Path:
        """Where the running daemon says how to reach it."""
        return self.path / "daemon.json"

    @property
    def _lock_path(self) -> Path:
        return self.path / "lock"

    @property
    def _name(self) -> str:
        return f"state directory {printable(str(self.path))}"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Work in the directory alone, creating it when absent.

        While it is held, every file this process creates is its owner's only (umask 077), wherever it lies.
        A forked child would keep the lock alive beyond its parent: spawn instead.

        Raises:
            StateInUse: Another process works there; known in under a second.
            StateUnusable: Others can write to it, or we cannot.
            ConfigError: It is no folder.

        """
        self._prepare()
        descriptor = self._acquire()
        previous_umask = os.umask(0o077)
        try:
            with self._explained():
                self.daemon_path.unlink(missing_ok=True)  # whoever wrote it is gone, or we could not be here
            yield
        finally:
            with suppress(OSError):  # gone, or on a disk that became read-only: without the lock it counts for nothing
                self.daemon_path.unlink(missing_ok=True)
            os.umask(previous_umask)
            os.close(descriptor)

    def publish_daemon(self, address: str, token: str) -> None:
        """Tell other processes how to reach this one; only while locked. Replaces what was told before.

        Raises:
            StateUnusable: It cannot be written, such as on a full disk.

        """
        text = json.dumps(asdict(DaemonRecord(address, token, os.getpid())))
        draft = self.path / "daemon.json.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with self._explained():
            draft.unlink(missing_ok=True)
            with open(os.open(draft, flags, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
            draft.replace(self.daemon_path)

    def read_daemon(self) -> DaemonRecord | None:
        """Tell how to reach the running daemon; None if none runs, or it does not listen yet.

        Raises:
            StateUnusable: The directory is there but may not be read.

        """
        try:
            descriptor = os.open(self.daemon_path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                content = file.read(_MAX_DAEMON_BYTES)
            return _parse_record(content) if self._is_locked() else None
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._unusable(
                f"cannot be read: {error.strerror}", hint="run as the user that runs freshd"
            ) from error

    def free_bytes(self) -> int:
        """Bytes that may still be written on its file system; the directory must exist."""
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize

    def free_inodes(self) -> int | None:
        """Files that may still be created on its file system; None where it sets no limit. The directory must exist."""
        status = os.statvfs(self.path)
        return status.f_favail if status.f_files else None

    def worker(self) -> int | None:
        """Give the process id of whoever works in the directory, 0 where it cannot be told; None where nobody does."""
        try:
            if not self._is_locked():
                return None
            return int(self._lock_path.read_bytes()[:20])
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return 0

    def file_system(self) -> str:
        """Give the type of the file system that the directory, or the nearest folder above it, is on; empty if unknown.

        That of its device: where it is mounted says nothing of what is.
        """
        place = next(path for path in (self.path, *self.path.parents) if path.exists())
        device = place.stat().st_dev
        mark = f"{os.major(device)}:{os.minor(device)}"
        with suppress(OSError, IndexError):
            for line in _MOUNTS.read_text(errors="replace").splitlines():
                before, _, after = line.partition(" - ")
                if before.split(" ")[2] == mark:
                    return after.split(" ")[0]
        return ""

    def _prepare(self) -> None:
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                self.path.mkdir(mode=0o700)
            self._check(self.looked_at())
            if (kind := self.file_system()) in NETWORK_FILE_SYSTEMS:
                hint = "set state_dir to a folder on a local disk: locks and memory maps hold only there"
                raise self._unusable(f"got a folder on {kind}, expected one on a local disk", hint=hint)

    def looked_at(self) -> os.stat_result:
        """Look at the folder, through a link where root made it: systemd puts one before that of a dynamic user.

        Raises:
            FileNotFoundError: There is no folder, or the link leads to none.

        """
        status = self.path.lstat()
        return self.path.stat() if stat.S_ISLNK(status.st_mode) and status.st_uid == 0 else status

    def _check(self, status: os.stat_result) -> None:
        where = printable(str(self.path))
        if stat.S_ISLNK(status.st_mode):
            hint = f'set state_dir to the folder itself: "{printable(os.path.realpath(self.path))}"'
            raise ConfigError(f"{self._name}: got a symbolic link, expected a folder", hint=hint)
        if not stat.S_ISDIR(status.st_mode):
            hint = "set state_dir to a folder, or to a new name"
            raise ConfigError(f"{self._name}: got a file, expected a folder", hint=hint)
        if status.st_uid != os.geteuid():
            whose = f"got a folder of user {status.st_uid}, expected one of user {os.geteuid()}"
            folder = printable(os.path.realpath(self.path))  # given a link, chown -R looks at nothing behind it
            raise self._unusable(whose, hint=f"run as that user, or: chown -R {os.geteuid()} {folder}")
        if status.st_mode & stat.S_IWOTH:
            mode = f"{stat.S_IMODE(status.st_mode):04o}"
            raise self._unusable(f"got mode {mode}, which lets everybody write", hint=f"chmod 700 {where}")

    def _acquire(self) -> int:
        """Take the lock, write the pid into it, and return the descriptor that holds it."""
        give_up_at_s = time.monotonic() + LOCK_PATIENCE_S
        while True:
            with self._explained():
                descriptor = self._try_lock()
            if descriptor is not None:
                with suppress(OSError):  # a full disk: only the message to the next one suffers
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                return descriptor
            if time.monotonic() >= give_up_at_s:
                raise self._in_use()
            time.sleep(_LOCK_RETRY_S)

    def _try_lock(self) -> int | None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self._lock_path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Somebody may have removed the file in between: a lock on it would keep nobody out.
            if os.path.samestat(os.fstat(descriptor), self._lock_path.lstat()):
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def _is_locked(self) -> bool:
        descriptor = os.open(self._lock_path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _in_use(self) -> StateInUse:
        with suppress(OSError, ValueError):
            who = f"process {int(self._lock_path.read_bytes()[:20])}"
            return StateInUse(f"state directory {printable(str(self.path))}: in use by {who}", hint=_WAIT)
        return StateInUse(
            f"state directory {printable(str(self.path))}: in use by another process", hint="freshd status"
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint = "set state_dir to a folder on a local disk that this user can write to"
            raise self._unusable(f"cannot be written: {error.strerror}", hint=hint) from error

    def _unusable(self, what: str, *, hint: str) -> StateUnusable:
        return StateUnusable(f"{self._name}: {what}", hint=hint)


def _parse_record(content: bytes) -> DaemonRecord | None:
    try:
        record = DaemonRecord(**json.loads(content))
    except (ValueError, TypeError):  # half a file of a full disk, or of another version
        return None
    is_whole = isinstance(record.address, str) and isinstance(record.token, str) and isinstance(record.pid, int)
    return record if is_whole else None
