"""Watching real trees with the real kernel: every change gives a hint, and what may be missing is said."""

import contextlib
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
)

from connectors.files import FilesConnector, watch
from connectors.files.globs import parse_lines
from connectors.files.mounts import file_system_of, needs_polling
from connectors.files.rules import Rules
from freshd.model import Hint, SourceName
from freshd.ports import ConnectorContext, Watch

PATIENCE_S = 60.0
"""Only a broken watch lets a test wait so long."""

NOBODY = 65534
QUEUE_LENGTH = Path("/proc/sys/fs/inotify/max_queued_events")
INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")


class RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class Hints:
    """What a watch said, in order."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Hint] = queue.Queue()
        self.threads: set[str] = set()

    def __call__(self, hint: Hint) -> None:
        self.threads.add(threading.current_thread().name)
        self._queue.put(hint)

    def until(
        self, scope: str | None, *, is_settled: bool | None = True, patience_s: float = PATIENCE_S
    ) -> list[tuple[str | None, bool]]:
        """Give all hints up to the one wanted, settled or not where that is None; fails if it does not come."""
        seen: list[tuple[str | None, bool]] = []
        deadline_s = time.monotonic() + patience_s
        wanted = {(scope, True), (scope, False)} if is_settled is None else {(scope, is_settled)}
        while wanted.isdisjoint(seen):
            try:
                hint = self._queue.get(timeout=max(0.0, deadline_s - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no hint ({scope!r}, {is_settled}) in {patience_s} s, only {seen}") from None
            seen.append((hint.scope, hint.is_settled))
        return seen

    def is_silent(self) -> bool:
        return self._queue.empty()


class World:
    """A tree, its connector, its watch and what that said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hints = Hints()
        options = FilesConnector.Options(path=str(root))
        context = ConnectorContext(SourceName("docs"), Path("/"), RealClock(), fetcher=None)  # type: ignore[arg-type]
        self.source = FilesConnector(options, context)

    def watch(self) -> Watch:
        return self.source.watch(self.hints)

    def write(self, place: str, text: str = "text") -> Path:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def others_before(self, *, sentinel: str = "sentinel.md") -> set[str | None]:
        """Hints for anything else that came before that of a file written now; the watch keeps their order."""
        self.write(sentinel)
        return {scope for scope, _ in self.hints.until(sentinel)} - {sentinel}


@pytest.fixture
def world() -> Iterator[World]:
    root = Path(tempfile.mkdtemp(prefix="freshd-watch-"))
    root.chmod(0o755)
    world = World(root)
    yield world
    world.source.close()
    subprocess.run(["chmod", "-R", "u+rwx", root], check=False, capture_output=True)
    shutil.rmtree(root, ignore_errors=True)


def n_kernel_watches() -> int:
    """Count this process' inotify watches from outside."""
    total = 0
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if "inotify" in os.readlink(f"/proc/self/fd/{fd}"):
                total += Path(f"/proc/self/fdinfo/{fd}").read_text().count("inotify wd")
    return total


@contextlib.contextmanager
def kernel_setting(path: Path, value: int) -> Iterator[None]:
    """Change a setting of the whole machine for a moment."""
    before = path.read_text()
    try:
        path.write_text(str(value))
    except OSError:
        pytest.skip(f"not running as root: {path} cannot be written")
    try:
        yield
    finally:
        path.write_text(before)


# Files


def test_a_written_file_is_hinted_at_once_and_settled_when_its_writer_closes_it(world):
    world.write("sub/a.md")
    assert world.watch().degraded is None
    with (world.root / "sub/a.md").open("a") as file:
        file.write("more")
        file.flush()
        assert set(world.hints.until("sub/a.md", is_settled=False)) == {("sub/a.md", False)}
    world.hints.until("sub/a.md")
    assert len(world.hints.threads) == 1


def test_a_rename_hints_at_both_places(world):
    world.write("a.md")
    world.watch()
    (world.root / "a.md").rename(world.root / "b %.md")
    assert ("a.md", True) in world.hints.until("b %25.md")


def test_a_deletion_is_hinted(world):
    world.write("sub/a.md")
    world.watch()
    (world.root / "sub/a.md").unlink()
    assert world.hints.until("sub/a.md") == [("sub/a.md", True)]


def save_by_temporary_file(root: Path) -> None:
    (root / ".a.md.tmp").write_text("new")
    (root / ".a.md.tmp").rename(root / "a.md")


def save_as_vim_does(root: Path) -> None:
    (root / "4913").write_text("")
    (root / "4913").unlink()
    (root / ".a.md.swp").write_text("")
    (root / "a.md").rename(root / "a.md~")
    (root / "a.md").write_text("new")
    (root / "a.md~").unlink()
    (root / ".a.md.swp").unlink()


def save_as_gedit_does(root: Path) -> None:
    (root / ".goutputstream-ABC123").write_text("new")
    (root / "a.md").rename(root / "a.md~")
    (root / ".goutputstream-ABC123").rename(root / "a.md")


def save_as_emacs_does(root: Path) -> None:
    (root / ".#a.md").symlink_to("me@here.1")
    (root / "#a.md#").write_text("new")
    (root / "a.md").write_text("new")
    (root / "#a.md#").unlink()
    (root / ".#a.md").unlink()


@pytest.mark.parametrize("save", [save_by_temporary_file, save_as_vim_does, save_as_gedit_does, save_as_emacs_does])
def test_an_editors_way_of_saving_hints_at_the_document_only(world, save):
    world.write("a.md")
    world.watch()
    save(world.root)
    world.hints.until("a.md")
    assert world.others_before() <= {"a.md"}
    assert [ref.document_id for ref in world.source.list()] == ["a.md", "sentinel.md"]


def test_a_file_moved_in_from_outside_is_settled(world):
    """Nobody writes to it, so nobody will close it."""
    world.write("tree/a.md")
    inside = World(world.root / "tree")
    inside.watch()
    world.write("b.md").rename(world.root / "tree/b.md")
    assert inside.hints.until("b.md") == [("b.md", True)]
    inside.source.close()


def test_what_is_no_document_gives_no_hint(world):
    world.write("node_modules/x.md")
    world.write("sub/.git/x.md")
    world.watch()
    world.write("a.png")
    world.write("node_modules/y.md")
    world.write("sub/.git/index.md")
    world.write("a.md~")
    (world.root / "sentinel.md").touch()
    assert world.others_before() == set()


def test_an_ignore_file_hints_at_its_folder(world):
    world.write("sub/deep/a.md")
    world.write("node_modules/.gitignore")
    world.watch()
    world.write("sub/deep/.freshdignore")
    world.hints.until("sub/deep")
    world.write("node_modules/.gitignore")
    world.write(".gitignore")
    assert {scope for scope, _ in world.hints.until(None)} - {"sub/deep"} == {None}


# Folders


def test_a_folder_filled_before_it_is_watched_is_hinted_as_a_whole(world):
    world.watch()
    world.write("new/deep/a.md")
    world.hints.until("new")
    world.write("new/deep/b.md")
    # Nobody knows whether its writer is done if it came before the watch of its folder.
    world.hints.until("new/deep/b.md", is_settled=None)


def test_a_folder_is_followed_wherever_it_moves(world):
    for place in ("tree/old/a.md", "tree/other/x.md"):
        world.write(place)
    inside = World(world.root / "tree")
    inside.watch()
    (inside.root / "old").rename(inside.root / "new")
    assert ("old", True) in inside.hints.until("new")
    inside.write("new/a.md")
    inside.hints.until("new/a.md")
    (inside.root / "new").rename(world.root / "away")
    inside.hints.until("new")
    (world.root / "away").rename(inside.root / "back")
    inside.hints.until("back")
    inside.write("back/a.md")
    inside.hints.until("back/a.md")
    shutil.rmtree(inside.root / "back")
    inside.hints.until("back")
    inside.source.close()


def test_tools_folders_cost_no_watches(world):
    """One `node_modules` can hold more folders than the kernel lets a user watch."""
    for i in range(30):
        world.write(f"node_modules/package-{i}/x.md")
    world.write("sub/a.md")
    before = n_kernel_watches()
    assert world.watch().degraded is None
    assert n_kernel_watches() - before == 2


# What may be missing


def overflow(world: World, watching: Watch) -> None:
    """Make more events than fit, faster than Python can read them."""
    deadline_s = time.monotonic() + PATIENCE_S
    while watching.degraded is None and time.monotonic() < deadline_s:
        subprocess.run(["touch", *(f"burst-{i}.md" for i in range(2_000))], cwd=world.root, check=True)
    assert "max_queued_events" in (watching.degraded or "")
    world.hints.until(None)


def until_it_hears_again(world: World) -> None:
    """Wait out the overflows that are still on their way; what happens during one is covered by its own hint."""
    for attempt in range(int(PATIENCE_S)):
        world.write(f"attempt-{attempt}.md")
        with contextlib.suppress(AssertionError):
            world.hints.until(f"attempt-{attempt}.md", patience_s=1)
            return
    raise AssertionError("the watch stays deaf after an overflow")


def test_an_overflow_of_the_kernels_queue_is_said_and_made_good_by_the_next_complete_listing(world):
    world.write("sub/a.md")
    with kernel_setting(QUEUE_LENGTH, 8):
        watching = world.watch()
    overflow(world, watching)
    until_it_hears_again(world)
    list(world.source.list(scope="sub"))
    assert watching.degraded, "a look at a part makes nothing good"
    list(world.source.list())
    assert watching.degraded is None
    world.write("sub/new/z.md")
    world.hints.until("sub/new")
    world.write("sub/new/z.md")
    world.hints.until("sub/new/z.md", is_settled=None)


def test_a_tree_larger_than_the_queue_is_not_watched_anew_for_ever(world):
    """Each watch that watchdog removes to add it again is an event: they would overflow the queue once more."""
    for i in range(20):
        world.write(f"{i}/a.md")
    with kernel_setting(QUEUE_LENGTH, 8):
        watching = world.watch()
    overflow(world, watching)
    list(world.source.list())
    assert "too many folders" in (watching.degraded or "")
    assert world.watch().degraded is None


WATCH_LIMIT_SCRIPT = """
import sys, threading
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from tests.test_files_watch import World
world = World(Path(sys.argv[1]))
watching = world.watch()
print(watching.degraded)
if "cannot" not in watching.degraded:
    world.hints.until(None)
world.source.close()
"""


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (5, "16 folders are not watched: inotify watch limit reached"),
        (0, "cannot be watched: inotify watch limit reached"),
    ],
)
def test_an_exhausted_watch_limit_is_said(world, limit, said):
    """The kernel's refusals are hidden by watchdog; a namespace of its own keeps the limit to this test."""
    for i in range(20):
        world.write(f"{i:02}/a.md")
    shell = f'echo {limit} > /proc/sys/user/max_inotify_watches || exit 77; exec "$@"'
    ran = subprocess.run(
        [
            *("unshare", "--user", "--map-root-user", "sh", "-c", shell, "sh"),
            *(sys.executable, "-c", WATCH_LIMIT_SCRIPT, str(world.root), str(Path(__file__).parent.parent)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if ran.returncode in (1, 77, 126) and "Traceback" not in ran.stderr:
        pytest.skip(f"not running as root: no user namespace can be made: {ran.stderr.strip()}")
    assert said in ran.stdout, ran.stderr


def test_no_inotify_instance_left_is_said(world):
    with kernel_setting(INSTANCES, 0):
        watching = world.watch()
    assert "instance limit" in (watching.degraded or "")
    world.source.close()


def test_a_folder_that_may_not_be_read_is_said(world):
    for name in ("open", "locked", "locked too"):
        world.write(f"{name}/a.md")
    (world.root / "locked").chmod(0)
    (world.root / "locked too").chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        watching = world.watch()
    finally:
        if is_root:
            os.seteuid(0)
    assert watching.degraded == "2 folders are not watched: no read permission"
    world.write("open/b.md")
    world.hints.until("open/b.md")


def delete(root: Path) -> None:
    shutil.rmtree(root)


def rename(root: Path) -> None:
    root.rename(root.with_name("elsewhere"))


@pytest.mark.parametrize("lose", [delete, rename])
def test_a_lost_root_is_said(world, lose):
    world.write("tree/a.md")
    inside = World(world.root / "tree")
    watching = inside.watch()
    lose(inside.root)
    inside.hints.until(None)
    assert str(inside.root) in (watching.degraded or "")
    inside.source.close()
    assert World(world.root / "tree").watch().degraded, "a root that is not there cannot be watched"


def test_a_listing_that_sees_another_root_says_that_the_watch_looks_at_the_old_one(world):
    """No event tells that a folder above the root was replaced."""
    world.write("above/tree/a.md")
    inside = World(world.root / "above/tree")
    watching = inside.watch()
    list(inside.source.list())
    assert watching.degraded is None
    (world.root / "above").rename(world.root / "before")
    world.write("above/tree/a.md")
    list(inside.source.list())
    assert "took the place" in (watching.degraded or "")
    again = inside.watch()
    assert again.degraded is None
    inside.write("a.md")
    inside.hints.until("a.md")
    inside.source.close()


def test_nothing_is_hinted_after_close(world):
    world.write("a.md")
    n_threads = threading.active_count()
    watching = world.watch()
    world.write("a.md")
    world.hints.until("a.md")
    watching.close()
    watching.close()
    assert threading.active_count() == n_threads
    assert n_kernel_watches() == 0
    while not world.hints.is_silent():
        world.hints.until("a.md")
    world.write("a.md")
    assert world.hints.is_silent()


def test_a_source_may_do_without_a_watch(world):
    options = FilesConnector.Options(path=str(world.root), watch=False)
    context = ConnectorContext(SourceName("docs"), Path("/"), RealClock(), fetcher=None)  # type: ignore[arg-type]
    n_threads = threading.active_count()
    watching = FilesConnector(options, context).watch(world.hints)
    assert watching.degraded is None
    assert threading.active_count() == n_threads
    watching.close()


# Network file systems


MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /srv rw - nfs4 server:/export rw
31 30 0:41 / /srv/local\040disk rw master:2 - xfs /dev/vdb rw
32 22 0:42 / /home/me/remote rw - fuse.sshfs me@there: rw
33 22 0:43 / /mnt rw - cifs //server/share rw
34 22 0:44 / /mnt rw - ext4 /dev/vdc rw
35 22 0:45 / /media/stick rw - fuseblk /dev/sdb1 rw
a line of no meaning
"""


@pytest.mark.parametrize(
    ("path", "kind", "polled"),
    [
        ("/", "ext4", False),
        ("/srvx", "ext4", False),
        ("/srv", "nfs4", True),
        ("/srv/docs", "nfs4", True),
        ("/srv/local disk/docs", "xfs", False),
        ("/home/me/remote/docs", "fuse.sshfs", True),
        ("/mnt/docs", "ext4", False),
        ("/media/stick", "fuseblk", False),
    ],
)
def test_the_mount_table_tells_what_must_be_polled(path, kind, polled):
    assert file_system_of(MOUNTS, path) == kind
    assert needs_polling(MOUNTS, path) is polled


def test_a_table_that_does_not_say_means_no_polling():
    assert file_system_of("", "/srv") == ""
    assert needs_polling("", "/srv") is False


def test_a_watch_over_a_server_that_is_away_is_left_behind(world, monkeypatch, tmp_path):
    """Else one source would keep the daemon from ending, and all others from a new config."""
    table = tmp_path / "mountinfo"
    table.write_text(f"1 0 0:1 / {world.root} rw - nfs4 server:/docs rw\n")
    monkeypatch.setattr(watch, "_MOUNT_TABLE", table)
    is_away, hangs, is_back = threading.Event(), threading.Event(), threading.Event()

    def scandir(_: str) -> Iterator[os.DirEntry[str]]:
        if is_away.is_set():
            hangs.set()
            is_back.wait()
        yield from ()

    monkeypatch.setattr(watch, "_scandir", scandir)
    polling = watch.FilesWatch(world.root, RULES, RealClock(), world.hints, poll_interval_s=0.05)
    try:
        is_away.set()
        assert hangs.wait(PATIENCE_S)
        closing = threading.Thread(target=polling.close, daemon=True)
        closing.start()
        closing.join(PATIENCE_S)
        assert not closing.is_alive()
    finally:
        is_back.set()


def test_a_network_file_system_is_polled(world, monkeypatch, tmp_path):
    """The kernel sees nothing of what other machines write there."""
    (tmp_path / "mountinfo").write_text("1 1 0:1 / / rw - nfs4 server:/export rw")
    monkeypatch.setattr(watch, "_MOUNT_TABLE", tmp_path / "mountinfo")
    world.write("sub/a.md")
    world.write("node_modules/x.md")
    (world.root / "loop").symlink_to(world.root)
    polling = watch.FilesWatch(world.root, RULES, RealClock(), world.hints, poll_interval_s=0.05)
    try:
        assert polling.degraded is None
        assert n_kernel_watches() == 0
        world.write("node_modules/y.md")
        world.write("sub/a.md", "another text")
        assert world.hints.until("sub/a.md", is_settled=False) == [("sub/a.md", False)]
        (world.root / "sub").rename(world.root / "new")
        world.hints.until("new")
        shutil.rmtree(world.root)
        world.hints.until(None)
        assert "is gone" in (polling.degraded or "")
    finally:
        polling.close()


# Events (pure)


RULES = Rules(parse_lines(["**/*.md"]), parse_lines(["drafts/"]))


@pytest.mark.parametrize(
    ("event", "places"),
    [
        (FileClosedEvent("/r/a.md"), ["a.md"]),
        (FileClosedEvent("/r/a.png"), []),
        (FileClosedEvent("/r/drafts/a.md"), []),
        (FileClosedEvent("/rx/a.md"), []),
        (FileDeletedEvent("/r/new\nline.md"), ["new%0Aline.md"]),
        (FileDeletedEvent(os.fsdecode(b"/r/\xff.md")), ["%FF.md"]),
        (FileMovedEvent("/r/a.md", "/r/b.md"), ["a.md", "b.md"]),
        (FileMovedEvent("/r/a.md", ""), ["a.md"]),
        (FileMovedEvent("/r/a.md", "/r/a.md~"), ["a.md"]),
        (FileMovedEvent("/r/.gitignore.tmp", "/r/sub/.gitignore"), ["sub"]),
        (FileClosedEvent("/r/.freshdignore"), [None]),
        (FileClosedEvent("/r/.git/.gitignore"), []),
        (DirCreatedEvent("/r/sub"), ["sub"]),
        (DirCreatedEvent("/r/.git"), []),
        (DirMovedEvent("/r/.git/x", "/r/x"), ["x"]),
        (DirMovedEvent("/r", ""), [None]),
    ],
)
def test_an_event_calls_for_a_look_where_a_document_may_be(event: FileSystemEvent, places: list[str | None]):
    assert list(watch.places_of(event, b"/r", RULES)) == places


def test_a_root_at_the_top_of_everything_has_places_too():
    assert list(watch.places_of(FileClosedEvent("/a.md"), b"/", RULES)) == ["a.md"]
