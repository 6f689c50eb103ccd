"""Nothing that was indexed is lost to a broken look: unmounted, unreadable, replaced, mistyped, moved, or badly served.

Real files, real HTTP, the real ledger, scanner, guard and pipeline; points stay in memory.
"""

import contextlib
import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.files import FilesConnector
from freshd.errors import SourceUnavailable
from freshd.guard import Verdict
from freshd.model import DocumentId, DocumentRef, Listing, ListingReport, SourceName
from tests.kit.keeper import DOCS, NEWS, RSS, Keeper, MovesUnderTheWalk, rss, serving
from tests.kit.nobody import nobody
from tests.scripted_server import Reply

THIRTY = [f"page{n:02}.md" for n in range(30)]


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    keeper = Keeper(tmp_path)
    yield keeper
    keeper.close()


# The root


@pytest.mark.parametrize("n_documents", [1, 3, 30])
def test_an_empty_folder_in_place_of_the_root_deletes_nothing(keeper: Keeper, n_documents: int):
    """63: a source of three is no trifle either, when it is another folder that shows none of them."""
    names = THIRTY[:n_documents]
    keeper.grow(*names)
    keeper.look()
    keeper.root.rename(keeper.folder / "away")
    keeper.root.mkdir()
    for _ in range(3):
        keeper.look()
    assert (keeper.indexed(), keeper.held()) == (names, names)
    keeper.root.rmdir()
    (keeper.folder / "away").rename(keeper.root)
    keeper.look()
    assert (keeper.indexed(), keeper.held(), len(keeper.embedder.passages)) == (names, [], n_documents)


@pytest.mark.parametrize("n_documents", [1, 30])
def test_an_unmounted_root_deletes_nothing(keeper: Keeper, n_documents: int):
    """63, with a real mount."""
    names = THIRTY[:n_documents]
    with mounted(keeper.root):
        keeper.grow(*names)
        keeper.look()
    keeper.look()
    keeper.hint(*names)
    assert (keeper.indexed(), keeper.held()) == (names, names)


def test_another_file_system_mounted_over_the_root_deletes_nothing(keeper: Keeper):
    """Mount swapped: another disk in the same place, with some of the same names."""
    keeper.grow("a.md", "b.md", "c.md")
    keeper.look()
    with mounted(keeper.root):
        keeper.grow("a.md", "new.md")
        keeper.look()
        keeper.hint("b.md", "c.md")
        assert (keeper.indexed(), keeper.held()) == (["a.md", "b.md", "c.md", "new.md"], ["b.md", "c.md"])
    keeper.look()
    assert keeper.indexed() == ["a.md", "b.md", "c.md", "new.md"]


def test_what_a_person_kept_is_held_again_and_never_deleted_by_the_next_look(keeper: Keeper):
    """Two documents pass the guard by themselves; a person has said no."""
    with mounted(keeper.root):
        keeper.grow("a.md", "b.md")
        keeper.look()
    keeper.look()
    assert keeper.ledger.reject(DOCS) == 2
    keeper.look()
    assert (keeper.indexed(), keeper.held()) == (["a.md", "b.md"], ["a.md", "b.md"])
    keeper.grow("a.md")
    keeper.look()
    assert (keeper.indexed(), keeper.held()) == (["a.md", "b.md"], ["b.md"])
    (keeper.root / "a.md").unlink()
    keeper.ledger.approve(DOCS)
    keeper.look()
    assert (keeper.indexed(), keeper.held()) == ([], [])


@pytest.mark.parametrize("how", ["missing", "renamed", "a file", "a dangling link"])
def test_a_root_that_is_not_there_deletes_nothing(keeper: Keeper, how: str):
    """64."""
    keeper.grow(*THIRTY)
    keeper.look()
    keeper.root.rename(keeper.folder / "away")
    if how == "missing":
        shutil.rmtree(keeper.folder / "away")
    elif how == "a file":
        keeper.root.write_text("no folder")
    elif how == "a dangling link":
        keeper.root.symlink_to(keeper.folder / "nowhere")
    for _ in range(3):
        keeper.look_in_vain()
    with pytest.raises(SourceUnavailable):
        keeper.hint(THIRTY[0])
    assert (keeper.indexed(), keeper.held()) == (THIRTY, [])


def test_a_root_link_that_leads_elsewhere_deletes_nothing_in_the_mass(keeper: Keeper):
    """A release is switched by a link: what the new one has goes on, what it lacks is the guard's business."""
    keeper.grow(*THIRTY, root=keeper.folder / "one")
    keeper.grow(*THIRTY[:3], root=keeper.folder / "two")
    link = keeper.folder / "current"
    link.symlink_to("one")
    keeper.connect_files(path=link)
    keeper.look()
    link.unlink()
    link.symlink_to("two")
    keeper.look()
    assert (keeper.indexed(), keeper.held()) == (THIRTY, THIRTY[3:])
    link.unlink()
    link.symlink_to("one")
    keeper.look()
    assert (keeper.indexed(), keeper.held(), len(keeper.embedder.passages)) == (THIRTY, [], 30)


# Many at once


def test_many_deletions_are_held_until_a_person_lets_them_pass_and_few_are_not(keeper: Keeper):
    """65."""
    keeper.grow(*THIRTY)
    keeper.look()
    for name in THIRTY[:5]:
        (keeper.root / name).unlink()
    keeper.look()
    assert (keeper.indexed(), keeper.held()) == (THIRTY[5:], [])
    keeper.clock.advance(timedelta(minutes=1))
    for name in THIRTY[5:27]:
        (keeper.root / name).unlink()
    keeper.look()
    assert (keeper.indexed(), keeper.held()) == (THIRTY[5:], THIRTY[5:27])
    keeper.ledger.approve(DOCS)
    keeper.look()
    assert (keeper.indexed(), keeper.held()) == (THIRTY[27:], [])


@pytest.mark.parametrize("how", ["include", "exclude", "ignore file"])
def test_a_mistyped_glob_that_drops_most_of_a_source_is_held_and_taken_back(keeper: Keeper, how: str):
    """66: 27 of 30."""
    keeper.grow(*THIRTY)
    keeper.look()
    if how == "include":
        keeper.connect_files(include=["page0[0-2].md"])
    elif how == "exclude":
        keeper.connect_files(exclude=["page*.md", "!page0[0-2].md"])
    else:
        (keeper.root / ".freshdignore").write_text("page*\n!page0[0-2].md\n")
    assert keeper.look().verdict is Verdict.HOLD
    assert (keeper.indexed(), keeper.held()) == (THIRTY, THIRTY[3:])
    keeper.ledger.reject(DOCS)
    assert keeper.look().verdict is Verdict.HOLD
    assert (keeper.indexed(), keeper.held()) == (THIRTY, THIRTY[3:])
    (keeper.root / ".freshdignore").unlink(missing_ok=True)
    keeper.connect_files()
    keeper.look()
    assert (keeper.indexed(), keeper.held(), len(keeper.embedder.passages)) == (THIRTY, [], 30)


def test_a_glob_that_was_meant_drops_what_a_person_approves(keeper: Keeper):
    keeper.grow(*THIRTY)
    keeper.look()
    keeper.connect_files(include=["page0[0-2].md"])
    keeper.look()
    keeper.ledger.approve(DOCS)
    keeper.look()
    assert (keeper.indexed(), keeper.held()) == (THIRTY[:3], [])


def test_a_source_that_became_one_of_another_type_loses_nothing_without_a_person(keeper: Keeper):
    keeper.grow(*THIRTY)
    keeper.look()
    with serving() as server:
        server.on("/feed", Reply(200, rss("one", "two"), RSS))
        keeper.connect_feed(server)
        feed = keeper.connectors.pop(NEWS)
        keeper.connect(DOCS, feed)
        keeper.look()
        assert (keeper.indexed(), keeper.held()) == (sorted(["one", "two", *THIRTY]), [])
    keeper.connect_files(path=keeper.folder / "other")
    keeper.grow("alone.md", root=keeper.folder / "other")
    keeper.look()
    assert keeper.indexed() == sorted(["alone.md", "one", "two", *THIRTY])
    assert len(keeper.held()) == 32


def test_of_two_sources_that_overlap_each_loses_only_its_own(keeper: Keeper):
    keeper.grow("a.md", "sub/b.md", "sub/c.md")
    inner = keeper.connect_files(SourceName("inner"), keeper.root / "sub")
    keeper.look()
    keeper.look(SourceName("inner"))
    (keeper.root / "sub/c.md").unlink()
    keeper.look()
    assert (keeper.indexed(), keeper.indexed(SourceName("inner"))) == (["a.md", "sub/b.md"], ["b.md", "c.md"])
    keeper.connect_files(exclude=["sub/"])
    keeper.look()
    assert (keeper.indexed(), keeper.indexed(SourceName("inner"))) == (["a.md"], ["b.md", "c.md"])
    assert not inner.is_gone(DocumentId("b.md"))


# What cannot be seen


class AsNobody:
    """A connector whose every look is that of another user."""

    def __init__(self, connector: FilesConnector) -> None:
        self._connector = connector
        self.coverage = connector.coverage
        self.close = connector.close

    def list(self, scope: str | None = None, cursor: str | None = None) -> Listing:
        return Listing(self._walk(scope, cursor))

    def _walk(self, scope: str | None, cursor: str | None) -> Generator[DocumentRef, None, ListingReport]:
        with nobody():
            listing = self._connector.list(scope, cursor)
            refs = list(listing)
        yield from refs
        return listing.report

    def read(self, ref: DocumentRef) -> Any:
        with nobody():
            return self._connector.read(ref)

    def is_gone(self, document_id: DocumentId) -> bool:
        with nobody():
            return self._connector.is_gone(document_id)


@pytest.mark.parametrize("place", ["sub/a.md", "sub", ""])
def test_a_permission_that_was_revoked_deletes_nothing(keeper: Keeper, place: str):
    """67: of a file, a folder, the root; everything beside it is judged as ever."""
    for folder in [keeper.root, *keeper.root.parents]:
        if folder == Path(tempfile.gettempdir()):
            break
        folder.chmod(0o755)
    keeper.grow("gone.md", "sub/a.md", "sub/b.md")
    keeper.connect(DOCS, AsNobody(keeper.connect_files()))
    keeper.look()
    (keeper.root / "gone.md").unlink()
    (keeper.root / place).chmod(0)
    try:
        if place:
            keeper.look()
            keeper.hint("sub/a.md", "sub")
        else:
            keeper.look_in_vain()
            with pytest.raises(SourceUnavailable):
                keeper.hint("sub/a.md", "sub")
        kept = ["sub/a.md", "sub/b.md"] if place else ["gone.md", "sub/a.md", "sub/b.md"]
        assert (keeper.indexed(), keeper.held()) == (kept, [])
    finally:
        (keeper.root / place).chmod(0o755)
    keeper.look()
    assert keeper.indexed() == ["sub/a.md", "sub/b.md"]


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM, errno.EMFILE])
@pytest.mark.parametrize("call", ["scandir", "stat", "open"])
@pytest.mark.parametrize("place", ["sub", ""])
def test_an_error_of_the_disk_or_the_server_behind_it_deletes_nothing(
    keeper: Keeper, place: str, call: str, code: int, monkeypatch: pytest.MonkeyPatch
):
    """68, and a network file system whose server is gone; 33, and what this process has too little of."""
    keeper.grow("a.md", "sub/b.md", "sub/c.md")
    keeper.look()
    with monkeypatch.context() as patch:
        fail_below(patch, keeper.root / place, call, code)
        with contextlib.suppress(SourceUnavailable):
            keeper.look()
        with contextlib.suppress(SourceUnavailable):
            keeper.hint("sub/b.md", "sub", "a.md")
        assert (keeper.indexed(), keeper.held()) == (["a.md", "sub/b.md", "sub/c.md"], [])
    keeper.look()
    assert (keeper.indexed(), len(keeper.embedder.passages)) == (["a.md", "sub/b.md", "sub/c.md"], 3)


def fail_below(patch: pytest.MonkeyPatch, place: Path, call: str, code: int) -> None:
    """Have a system call fail in a folder and below it, as the walk makes it."""
    whole = getattr(os, call)

    def failing(*arguments: Any, **options: Any) -> Any:
        at = options.get("dir_fd", arguments[0])
        if isinstance(at, int):
            folder = os.readlink(f"/proc/self/fd/{at}")
            below = folder if call == "scandir" else os.path.join(folder, os.fsdecode(arguments[0]))
            if f"{below}/".startswith(f"{place}/"):
                raise OSError(code, os.strerror(code))
        return whole(*arguments, **options)

    for module in ("walk", "folders", "ignores", "connector"):
        patch.setattr(f"connectors.files.{module}.os.{call}", failing)


# While it is looked at


def test_a_document_that_moves_under_the_walk_is_never_away(keeper: Keeper):
    """78: out of a folder that was not listed yet, into one that was."""
    keeper.grow("a/first.md", "m/middle.md", "z/last.md")
    connector = keeper.connect_files()
    keeper.look()

    def move() -> None:
        (keeper.root / "z/last.md").rename(keeper.root / "a/last.md")

    keeper.connect(DOCS, MovesUnderTheWalk(connector, "m/middle.md", move))
    keeper.look()
    assert keeper.indexed() == ["a/first.md", "m/middle.md", "z/last.md"]
    keeper.look()
    assert keeper.indexed() == ["a/first.md", "a/last.md", "m/middle.md"]
    assert len(keeper.embedder.passages) == 3


def test_a_document_that_is_away_for_one_listing_only_is_not_deleted(keeper: Keeper):
    """An editor that saves by taking away and writing anew, at the worst moment."""
    keeper.grow("a.md", "b.md", "c.md")
    connector = keeper.connect_files()
    keeper.look()
    (keeper.root / "b.md").rename(keeper.folder / "b.md")

    def back() -> None:
        (keeper.folder / "b.md").rename(keeper.root / "b.md")

    keeper.connect(DOCS, MovesUnderTheWalk(connector, "c.md", back))
    keeper.look()
    assert keeper.indexed() == ["a.md", "b.md", "c.md"]


@pytest.mark.parametrize("by", [timedelta(days=400), timedelta(hours=2), -timedelta(hours=2), -timedelta(days=400)])
def test_a_clock_that_jumps_deletes_nothing(keeper: Keeper, by: timedelta):
    keeper.grow(*THIRTY)
    connector = keeper.connect_files()
    keeper.look()

    def jump() -> None:
        keeper.clock._at += by

    keeper.connect(DOCS, MovesUnderTheWalk(connector, THIRTY[5], jump))
    keeper.look_in_vain()
    keeper.sources.move_instants(by)
    keeper.look()
    assert (keeper.indexed(), keeper.held(), len(keeper.embedder.passages)) == (THIRTY, [], 30)


# Feeds


FEED = rss("one", "two", "three")
ANSWERS = {
    "401": Reply(401),
    "403": Reply(403),
    "404": Reply(404),
    "410": Reply(410),
    "429": Reply(429, headers={"Retry-After": "30"}),
    "503": Reply(503, headers={"Retry-After": "-5"}),
    "500": Reply(500, b"<html>oops</html>"),
    "502": Reply(502),
    "504": Reply(504),
    "reset": Reply(reset=True),
    "truncated": Reply(200, FEED, RSS, cut_at=150),
    "truncated in chunks": Reply(200, FEED, RSS, chunked=True, cut_at=150),
    "too short": Reply(200, FEED, {**RSS, "Content-Length": "5000"}),
    "too long": Reply(200, FEED, {**RSS, "Content-Length": "150"}),
    "endless": Reply(200, b"<rss>" + b" " * 65_536, RSS, repeat_body=64),
    "a login page": Reply(200, b"<html><title>Log in</title></html>", {"Content-Type": "text/html"}),
    "a login page as a feed": Reply(200, b"<html><title>Log in</title></html>", RSS),
    "nothing": Reply(200, b"", RSS),
    "JSON that is no feed": Reply(200, b'{"items": "none"}', {"Content-Type": "application/feed+json"}),
    "malformed": Reply(200, FEED.replace(b"</item>", b"", 1), RSS),
    "cut after one entry": Reply(200, FEED[: FEED.index(b"two") - 6], RSS),
    "empty": Reply(200, rss(), RSS),
    "shrunk": Reply(200, rss("two"), RSS),
    "other entries": Reply(200, rss("four"), RSS),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_whatever_a_feed_answers_deletes_nothing(keeper: Keeper, answer: str):
    """90 – 94, 97, 100 – 102."""
    with serving() as server:
        server.on("/feed", Reply(200, FEED, RSS))
        keeper.connect_feed(server, max_feed_bytes=1_000_000)
        keeper.look(NEWS)
        assert keeper.indexed(NEWS) == ["one", "three", "two"]
        server.on("/feed", ANSWERS[answer])
        for _ in range(4):
            keeper.clock.advance(timedelta(days=1))
            with contextlib.suppress(SourceUnavailable):
                keeper.look(NEWS)
        assert {"one", "three", "two"} <= set(keeper.indexed(NEWS))
        assert keeper.held(NEWS) == []
        n_embedded = len(keeper.embedder.passages)
        server.on("/feed", Reply(200, FEED, RSS))
        keeper.connect_feed(server)  # as after a restart: what said 410 is not asked again before
        keeper.look(NEWS)
        assert {"one", "three", "two"} <= set(keeper.indexed(NEWS))
        assert len(keeper.embedder.passages) == n_embedded


def test_a_feed_whose_host_nobody_knows_deletes_nothing(keeper: Keeper):
    with serving() as server:
        server.on("/feed", Reply(200, FEED, RSS))
        keeper.connect_feed(server)
        keeper.look(NEWS)
    keeper.look_in_vain(NEWS)  # the whole network is away
    assert keeper.indexed(NEWS) == ["one", "three", "two"]


def test_a_feed_that_shows_nothing_for_longer_than_entries_are_kept_lets_none_of_them_go(keeper: Keeper):
    with serving() as server:
        server.on("/feed", Reply(200, FEED, RSS))
        keeper.connect_feed(server, keep_for=timedelta(days=30))
        keeper.look(NEWS)
        server.on("/feed", Reply(200, rss(), RSS))
        for _ in range(4):
            keeper.clock.advance(timedelta(days=20))
            keeper.look(NEWS)
        assert keeper.indexed(NEWS) == ["one", "three", "two"]


# How


@contextlib.contextmanager
def mounted(place: Path) -> Iterator[None]:
    """Have another file system in a place."""
    mount = ["mount", "-t", "tmpfs", "freshd-test", place]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("not running as root: cannot mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)
