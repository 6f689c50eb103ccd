"""What the files connector writes itself: one file of its own, and never anything of anybody else's."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.files import FilesConnector, writing
from connectors.files.writing import MARK
from freshd.errors import DocumentRefused, SourceUnavailable
from freshd.model import DocumentId, SourceName
from freshd.ports import ConnectorContext
from freshd.ports.source import Writable
from tests.kit.clock import ShiftedClock

CANARY = DocumentId("canary.md")


def files(root: Path, **options) -> FilesConnector:
    context = ConnectorContext(SourceName("docs"), Path("/"), ShiftedClock(), fetcher=None)  # type: ignore[arg-type]
    return FilesConnector(FilesConnector.Options(path=str(root), **options), context)


def entries(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_what_is_written_is_listed_and_read_like_any_other_document(tmp_path: Path):
    source = files(tmp_path)
    assert isinstance(source, Writable)
    (tmp_path / "sub").mkdir()
    source.write(DocumentId("sub/größe %25.md"), "Text.\n")
    (ref,) = source.list()
    assert ref.document_id == "sub/größe %25.md"
    assert source.read(ref).content.decode() == f"{MARK}\nText.\n"
    assert entries(tmp_path) == {"sub", "sub/größe %.md"}
    source.delete(ref.document_id)
    assert list(source.list()) == []


def test_the_file_may_be_read_by_whom_the_umask_lets(tmp_path: Path):
    before = os.umask(0o027)
    try:
        files(tmp_path).write(CANARY, "Text.\n")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / CANARY).stat().st_mode) == 0o640


def test_who_reads_while_it_is_written_again_sees_the_old_text_whole(tmp_path: Path):
    source = files(tmp_path)
    source.write(CANARY, "Old text.\n")
    with (tmp_path / CANARY).open() as reader:
        source.write(CANARY, "New.\n")
        assert reader.read() == f"{MARK}\nOld text.\n"
    assert (tmp_path / CANARY).read_text() == f"{MARK}\nNew.\n"


def somebodys_text(path: Path) -> None:
    path.write_text("Somebody's.\n")


def an_empty_file(path: Path) -> None:
    path.touch()


def almost_ours(path: Path) -> None:
    path.write_text(f"{MARK} Or so.\n")


def a_symlink_to_one_of_ours(path: Path) -> None:
    (path.parent / "ours.txt").write_text(f"{MARK}\n")
    path.symlink_to("ours.txt")


def a_dangling_symlink(path: Path) -> None:
    path.symlink_to("nowhere.md")


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


FOREIGN = [somebodys_text, an_empty_file, almost_ours, a_symlink_to_one_of_ours, a_dangling_symlink, a_folder, a_pipe]


@pytest.mark.parametrize("make", FOREIGN, ids=lambda make: make.__name__)
def test_what_somebody_else_put_there_is_neither_replaced_nor_deleted(tmp_path: Path, make: Callable[[Path], None]):
    make(tmp_path / CANARY)
    before = os.lstat(tmp_path / CANARY)
    there = entries(tmp_path)
    source = files(tmp_path)
    for change in (lambda: source.write(CANARY, "Text.\n"), lambda: source.delete(CANARY)):
        with pytest.raises(DocumentRefused, match=r"canary.md: is there already and was not written by freshd"):
            change()
    assert os.lstat(tmp_path / CANARY) == before
    assert entries(tmp_path) == there


def test_what_somebody_puts_there_while_it_is_written_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "fsync", lambda _: somebodys_text(tmp_path / CANARY))
    with pytest.raises(DocumentRefused):
        files(tmp_path).write(CANARY, "Text.\n")
    assert (tmp_path / CANARY).read_text() == "Somebody's.\n"
    assert entries(tmp_path) == {CANARY}


HIDDEN = [
    ("canary.log", {}, r"no glob of `include` of the source matches 'canary.log'"),
    ("canary.md", {"exclude": ["can*"]}, r"`exclude` of the source hides the file 'canary.md'"),
    ("drafts/canary.md", {"exclude": ["drafts/"]}, r"`exclude` of the source hides the folder 'drafts'"),
    ("drafts/a/canary.md", {}, r"an ignore file in 'drafts/' hides the folder 'drafts/a'"),
    ("drafts/canary.md", {}, r"an ignore file in './' hides the file 'drafts/canary.md'"),
    ("node_modules/canary.md", {}, r"folders named 'node_modules' are always left out"),
    (".#canary.md", {}, r"files named '.#canary.md' are always left out"),
]


RULES = [
    "include",
    "exclude, a file",
    "exclude, a folder above it",
    "ignore file, a folder above it",
    "ignore file, a file",
    "folder of a tool",
    "temporary file",
]


@pytest.mark.parametrize(("name", "options", "says"), HIDDEN, ids=RULES)
def test_a_path_that_no_listing_would_show_is_refused_with_the_rule(tmp_path: Path, name: str, options, says: str):
    (tmp_path / "drafts" / "a").mkdir(parents=True)
    (tmp_path / "node_modules").mkdir()
    (tmp_path / ".gitignore").write_text("/drafts/*.md\n")
    (tmp_path / "drafts" / ".freshdignore").write_text("a/\n")
    there = entries(tmp_path)
    with pytest.raises(DocumentRefused, match=says):
        files(tmp_path, **options).write(DocumentId(name), "Text.\n")
    assert entries(tmp_path) == there


def test_a_path_that_exclude_brings_back_is_written(tmp_path: Path):
    (tmp_path / ".gitignore").write_text("*.md\n")
    source = files(tmp_path, exclude=["!canary.md"])
    source.write(CANARY, "Text.\n")
    assert [ref.document_id for ref in source.list()] == [CANARY]


def test_no_folder_is_made(tmp_path: Path):
    source = files(tmp_path)
    with pytest.raises(SourceUnavailable, match="cannot be written") as refused:
        source.write(DocumentId("sub/canary.md"), "Text.\n")
    assert "freshd makes none" in refused.value.hint
    assert entries(tmp_path) == set()


def test_no_symlink_is_followed_out_of_the_tree(tmp_path: Path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / CANARY).write_text(f"{MARK}\n")
    (root / "sub").symlink_to(outside)
    source, place = files(root), DocumentId("sub/canary.md")
    for change in (lambda: source.write(place, "Text.\n"), lambda: source.delete(place)):
        with pytest.raises(SourceUnavailable):
            change()
    assert (outside / CANARY).read_text() == f"{MARK}\n"


@pytest.mark.parametrize("name", ["../canary.md", "/canary.md", "sub//canary.md", "a\tb.md"])
def test_an_id_that_no_listing_gives_is_refused(tmp_path: Path, name: str):
    with pytest.raises(DocumentRefused):
        files(tmp_path).write(DocumentId(name), "Text.\n")


@pytest.mark.parametrize("name", ["canary.md", "no/such/folder/canary.md"])
def test_deleting_what_is_not_there_is_no_error(tmp_path: Path, name: str):
    files(tmp_path).delete(DocumentId(name))


def test_a_root_that_is_not_there_is_an_unavailable_source(tmp_path: Path):
    source = files(tmp_path / "unmounted")
    for change in (lambda: source.write(CANARY, "Text.\n"), lambda: source.delete(CANARY)):
        with pytest.raises(SourceUnavailable, match="unmounted"):
            change()


def test_a_full_disk_leaves_what_was_there_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = files(tmp_path)
    source.write(CANARY, "Old.\n")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SourceUnavailable, match="No space left"):
        source.write(CANARY, "New.\n")
    assert (tmp_path / CANARY).read_text() == f"{MARK}\nOld.\n"
    assert entries(tmp_path) == {CANARY}


def test_what_a_crash_left_half_written_is_never_listed_and_goes_with_the_next_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Even where it is a hard link to somebody's file by now, which stays as it is."""
    source = files(tmp_path, include=["*"])
    monkeypatch.setattr(writing.os, "rename", lambda *_, **__: None)
    source.write(CANARY, "Text.\n")
    (left,) = entries(tmp_path)
    assert list(source.list()) == []
    (tmp_path / left).unlink()
    somebodys_text(tmp_path / "theirs.md")
    (tmp_path / left).hardlink_to(tmp_path / "theirs.md")
    monkeypatch.undo()
    source.write(CANARY, "Text.\n")
    assert entries(tmp_path) == {CANARY, "theirs.md"}
    assert (tmp_path / "theirs.md").read_text() == "Somebody's.\n"
