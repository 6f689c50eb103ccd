"""The files connector on real trees: what it lists, in which order, what it refuses to guess, what it reads."""

import contextlib
import errno
import os
import re
import resource
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.files import FilesConnector, connector, names
from connectors.files.globs import parse_glob, parse_lines
from freshd import faults
from freshd.errors import (
    DocumentChanging,
    DocumentGone,
    DocumentRefused,
    DocumentUnreadable,
    FreshdError,
    SourceUnavailable,
)
from freshd.model import DocumentId, DocumentRef, ListingReport, SourceName
from freshd.ports import ConnectorContext, Watchable
from tests.kit.nobody import nobody

README = Path(connector.__file__).parent.parent / "README.md"


class ShiftedClock:
    """The machine's clock, set forward or back."""

    def __init__(self, shift_s: float = 0) -> None:
        self.shift = timedelta(seconds=shift_s)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.shift

    def monotonic(self) -> float:
        return time.monotonic()


def context(base: Path = Path("/"), shift_s: float = 0) -> ConnectorContext:
    return ConnectorContext(SourceName("docs"), base, ShiftedClock(shift_s), fetcher=None)  # type: ignore[arg-type]


def files(root: Path | str, *, shift_s: float = 0, **options) -> FilesConnector:
    return FilesConnector(FilesConnector.Options(path=str(root), **options), context(shift_s=shift_s))


def walk(source: FilesConnector, **arguments) -> tuple[list[str], ListingReport]:
    listing = source.list(**arguments)
    ids = [ref.document_id for ref in listing]
    return ids, listing.report


def ids(source: FilesConnector, **arguments) -> list[str]:
    found, report = walk(source, **arguments)
    assert report.is_complete
    assert report.unreadable == ()
    return found


def grow(root: Path, *places: str) -> Path:
    """Make a file of each place, or a folder of each that ends in a slash."""
    for place in places:
        path = root / place
        if place.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(place)
    return root


def ref(document_id: str) -> DocumentRef:
    return DocumentRef(DocumentId(document_id), "")


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that another user may enter, removed however deep and locked it became."""
    path = Path(tempfile.mkdtemp(prefix="freshd-files-"))
    path.chmod(0o755)
    yield path
    subprocess.run(["chmod", "-R", "u+rwx", path], check=False, capture_output=True)
    subprocess.run(["rm", "-rf", path], check=True)


# Ids


@given(st.binary(min_size=1, max_size=60))
def test_any_path_survives_as_printable_text(path):
    document_id = names.encode(path)
    assert names.decode(document_id) == path
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u202e\ud800-\udfff]", document_id)
    assert document_id.encode().decode() == document_id


@given(st.text(min_size=1, max_size=20))
def test_text_that_is_no_id_is_recognised(text):
    """One document must not be reachable under two ids, or be spelt so that it leads elsewhere."""
    try:
        path = names.decode(text)
    except (ValueError, UnicodeEncodeError):
        return
    assert names.encode(path) == text


def test_composed_and_decomposed_letters_are_two_documents(root):
    grow(root, "caf\u00e9.md", "cafe\u0301.md")
    assert ids(files(root)) == ["cafe\u0301.md", "caf\u00e9.md"]


@pytest.mark.parametrize(
    "text", ["", "/a", "a/", "a//b", "..", "../a", "a/../b", ".", "%41", "%2e%2e", "%2F", "a%00", "%"]
)
def test_an_id_that_leads_out_of_the_tree_or_nowhere_is_refused(root, text):
    source = files(grow(root / "docs", "a", "b"), include=["*"])
    with pytest.raises(DocumentRefused):
        source.read(ref(text))
    assert source.is_gone(DocumentId(text)) is False
    assert walk(source, scope=text) == ([], ListingReport(is_complete=False))


NAMES = st.one_of(
    st.sampled_from(
        [b"a", b"a.md", b"a-b", b"a b", b"b.md", b"B.md", b"%41", b"new\nline.md", b"\xff\xfe.md", b"\xc3\xa9"]
    ),
    st.binary(min_size=1, max_size=8).filter(lambda name: not {0, ord("/")} & set(name) and name not in (b".", b"..")),
)


@settings(max_examples=60)
@given(st.sets(st.lists(NAMES, min_size=1, max_size=3).map(tuple), max_size=12))
def test_every_name_the_kernel_allows_is_listed_in_order_and_can_be_read(paths):
    with tempfile.TemporaryDirectory() as folder:
        expected = {}
        for path in paths:
            full = os.path.join(os.fsencode(folder), *path)
            with contextlib.suppress(OSError):  # a file stands where a folder is wanted, or the reverse
                os.makedirs(os.path.dirname(full), exist_ok=True)
                Path(os.fsdecode(full)).write_bytes(full)
                expected[full] = b"/".join(path)
        source = files(folder, include=["*"], exclude=["!*"])
        listed = list(source.list())
        assert [r.document_id for r in listed] == sorted(r.document_id for r in listed)
        kept = {full: path for full, path in expected.items() if not _is_temporary(path)}
        assert {names.decode(r.document_id) for r in listed} == set(kept.values())
        assert {source.read(r).content for r in listed} == set(kept)


def _is_temporary(path: bytes) -> bool:
    name = path.rpartition(b"/")[2]
    return (
        name.endswith(b"~")
        or name.startswith(b".#")
        or (name.startswith(b"#") and name.endswith(b"#") and name != b"#")
    )


def test_a_file_sorts_before_the_folder_whose_name_it_continues(root):
    """`a.md` < `a/b.md` although `a` < `a.md`: the order is that of whole ids."""
    grow(root, "a/b.md", "a.md", "a-c/b.md", "a0.md")
    assert ids(files(root)) == ["a-c/b.md", "a.md", "a/b.md", "a0.md"]


# What is a document


def test_only_regular_files_are_listed_and_no_symlink_is_followed(root):
    grow(root, "docs/a.md", "outside/secret.md")
    docs = root / "docs"
    (docs / "link.md").symlink_to(root / "outside/secret.md")
    (docs / "loop").symlink_to(docs)
    (docs / "away").symlink_to(root / "outside")
    os.mkfifo(docs / "pipe.md")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(docs / "socket.md"))
        grow(docs, "folder.md/")
        os.link(docs / "a.md", docs / "twin.md")
        source = files(docs)
        assert ids(source) == ["a.md", "twin.md"]
        for document_id in ("link.md", "pipe.md", "socket.md", "folder.md"):
            with pytest.raises(DocumentRefused, match="regular file"):
                source.read(ref(document_id))
        for document_id in ("away/secret.md", "loop/a.md"):
            with pytest.raises(DocumentGone):
                source.read(ref(document_id))


def test_tools_folders_and_editors_temporaries_are_left_out(root):
    grow(root, "a.md", ".git/x.md", "sub/node_modules/x.md", ".venv/x.md", "__pycache__/x.md", ".freshd/x.md")
    grow(
        root, "a.md~", ".a.md.swp", "4913", ".#a.md", "#a.md#", "b.tmp", "c.part", ".goutputstream-X1.md", ".hidden.md"
    )
    assert ids(files(root, include=["*"])) == [".hidden.md", "a.md"]


def test_include_exclude_and_media_types_speak_one_language(root):
    grow(root, "a.md", "a.png", "guide/x.bin", "guide/draft/y.md", "guide/draft/keep/z.md", "api/b.txt")
    source = files(root, include=["*.md", "guide/", "!draft/"], exclude=["z.*"], media_types={"*.bin": "text/x-rst"})
    assert ids(source) == ["a.md", "guide/draft/y.md", "guide/x.bin"]
    assert source.read(ref("guide/x.bin")).media_type == "text/x-rst"
    assert source.read(ref("a.md")).media_type is None


def test_what_the_options_name_they_name_in_either_case(root):
    """Scanners and cameras write SCAN.PDF; that nothing was said of it looked as if it were indexed."""
    grow(root, "a.md", "B.MD", "C.Md", "Draft/d.md", "draft/e.md", "Notes/f.txt", "x.BIN", "y.bak.md", "z.BAK.md")
    assert ids(files(root)) == sorted(
        ["a.md", "B.MD", "C.Md", "Draft/d.md", "draft/e.md", "Notes/f.txt", "y.bak.md", "z.BAK.md"]
    )
    source = files(root, include=["*.md", "notes/*.TXT", "!*.BAK.md", "*.bin"], media_types={"*.bin": "text/x-rst"})
    assert ids(source) == sorted(
        ["a.md", "B.MD", "C.Md", "Draft/d.md", "draft/e.md", "Notes/f.txt", "x.BIN", "y.bak.md"]
    )
    assert source.read(ref("x.BIN")).media_type == "text/x-rst"
    assert ids(files(root, exclude=["*.md", "!b.md", "!C.Md"])) == ["C.Md", "Notes/f.txt"]


@pytest.mark.parametrize("glob", ["[!A-Z]*.md", "[^[:upper:]]*.md", "/[!A-Z]*.md", "**/[!A-Z]*.m[!D]"])
def test_what_a_glob_takes_as_it_stands_it_takes_where_case_does_not_count_as_well(root, glob):
    """A name that must not begin with a capital letter is none that must begin with no letter."""
    grow(root, "a.md", "1.md", "B.md")
    assert {"1.md", "a.md"} <= {*ids(files(root, include=[glob]))}


def test_deeper_and_later_ignore_files_override_and_the_config_overrides_all(root):
    grow(root, "a.md", "b.md", "sub/a.md", "sub/b.md", "sub/c.md", "out/a.md", "hidden/a.md")
    (root / ".gitignore").write_text("b.md\nout/\nhidden/\n# a comment\n")
    (root / ".freshdignore").write_text("!b.md\na.md\n")
    (root / "sub/.gitignore").write_text("!a.md\n/c.md\n")
    assert ids(files(root)) == ["b.md", "sub/a.md", "sub/b.md"]
    assert ids(files(root, exclude=["sub/b.md", "!hidden/"])) == ["b.md", "sub/a.md"]
    (root / ".freshdignore").write_text("")
    assert ids(files(root, exclude=["!hidden/"])) == ["a.md", "hidden/a.md", "sub/a.md"]


def test_an_ignore_file_edited_in_place_counts_at_once(root):
    """Same size, same inode, a moment later: what was compiled before must not be used."""
    grow(root, "a.md", "b.md")
    source = files(root)
    for hidden, shown in [("a.md", "b.md"), ("b.md", "a.md")] * 3:
        (root / ".gitignore").write_text(hidden)
        assert ids(source) == [shown]


def test_a_symlinked_ignore_file_counts_as_absent_as_in_git(root):
    grow(root, "a.md")
    (root / "patterns").write_text("*.md")
    (root / ".gitignore").symlink_to("patterns")
    (root / ".freshdignore").mkdir()
    assert ids(files(root)) == ["a.md"]


PLAIN_PARTS = ["a", "b", "ab", "*", "**", "?", "/", "[ab]", "[!a]", "[a-c]", "\\*", "***", "a*", "*b", ".md"]
ODD_PARTS = ["\\", " ", "\t", "#", "!", "[]a]", "[!]b-]", "[a\\]]", "[[:alpha:]]", "[^a-]", "[--b]", "[b-a]"]
PATTERN_PARTS = st.sampled_from(PLAIN_PARTS * 2 + ODD_PARTS)
PATTERNS = st.builds(
    lambda bang, parts, slash: bang + "".join(parts) + slash,
    st.sampled_from(["", "", "", "!"]),
    st.lists(PATTERN_PARTS, min_size=1, max_size=5),
    st.sampled_from(["", "", "/"]),
)
TREE = ["a", "b", "ab.md", "c", "a*", "d/a", "d/b/ab", "d/b/b.md", "ab/b", "ab/ab/a", "ab/ab/b/a", "e/a/b/c", "e/a/ab"]


@settings(max_examples=80)
@given(st.lists(PATTERNS, min_size=1, max_size=5), st.lists(PATTERNS, max_size=3))
def test_ignore_files_mean_what_they_mean_to_git(at_root, below):
    lines = at_root + below
    assume(not any("\\/" in line for line in lines))  # a quoted slash, which only git takes for a slash
    # git cuts off what stands before the first star, and then takes `a**/b` for `**/b` below what begins with `a`.
    assume(not any(re.match(r"!?[^*?\[\\]*[^*?\[\\/!]\*\*", line) for line in lines))
    with tempfile.TemporaryDirectory() as folder:
        tree = grow(Path(folder), *TREE)
        (tree / ".gitignore").write_text("\n".join(at_root))
        (tree / "ab" / ".gitignore").write_text("\n".join(below))
        subprocess.run(["git", "init", "-q", folder], check=True)
        listed = subprocess.run(
            ["git", "-C", folder, "ls-files", "--others", "--exclude-standard", "-z"], check=True, capture_output=True
        )
        by_git = sorted(path.decode() for path in listed.stdout.split(b"\0") if path)
        assert ids(files(folder, include=["*"])) == by_git


@pytest.mark.parametrize(
    ("lines", "admitted"),
    [
        pytest.param(["*", "!*/", "!*.md"], ["ab.md", "d/b/b.md"], id="show-one-kind-only"),
        pytest.param(["d/**", "!d/b/", "!d/b/b.md"], ["ab.md", "d/b/b.md"], id="show-one-file-of-a-folder"),
        pytest.param(["*.md", "!d/"], [], id="a-negated-folder-does-not-bring-back-its-files"),
        pytest.param(
            ["trailing \\ ", "a\\", "[", "[z-a]", "[[:nonsense:]]", "!", "/", "\\"],
            ["ab.md", "d/b/b.md"],
            id="nonsense",
        ),
        pytest.param(["[[:alpha:]]b.md\r", "/d/*/[[:lower:].]*"], [], id="posix-classes"),
    ],
)
def test_ignore_file_idioms(root, lines, admitted):
    grow(root, "ab.md", "d/b/b.md")
    (root / ".gitignore").write_text("\n".join(lines))
    assert ids(files(root)) == admitted


@pytest.mark.parametrize("glob", ["*a" * 30 + "*b", "**/a" * 30 + "/**/b", "[^b]*" * 30 + "c"])
def test_no_glob_can_stall_a_scan(glob):
    """Anybody who can write a file into the tree can write its ignore file; backtracking would take years here."""
    globs = parse_lines([glob])
    began_s = time.process_time()
    assert globs.decide("/".join("a" * 250), "a" * 250, is_folder=False) is None
    assert time.process_time() - began_s < 1


# What cannot be seen


@pytest.mark.parametrize("kind", ["missing", "file", "locked"])
def test_a_root_that_cannot_be_listed_is_unavailable_and_never_empty(root, kind):
    place = root / "docs"
    if kind == "file":
        place.write_text("")
    elif kind == "locked":
        place.mkdir(mode=0)
    source = files(place)
    with nobody():
        with pytest.raises(SourceUnavailable, match=re.escape(str(place))) as caught:
            walk(source)
        with pytest.raises(SourceUnavailable):
            walk(source, scope="a.md")
        with pytest.raises(SourceUnavailable):
            source.read(ref("a.md"))
        with pytest.raises(SourceUnavailable):
            source.is_gone(DocumentId("a.md"))
    assert caught.value.hint


@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_root_whose_files_cannot_be_looked_at_is_unavailable(root, mode):
    grow(root, "docs/a.md")
    (root / "docs").chmod(mode)
    with nobody(), pytest.raises(SourceUnavailable):
        walk(files(root / "docs"))


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_a_forbidden_folder_is_reported_and_its_neighbours_go_on(root, mode):
    """Absence below it proves nothing; everywhere else it does."""
    grow(root, "a.md", "locked %/x.md", "locked %/sub/y.md", "z.md")
    (root / "locked %").chmod(mode)
    source = files(root)
    with nobody():
        assert walk(source)[0] == ["a.md", "z.md"]
        report = walk(source)[1]
        below = walk(source, scope="locked %25/sub")[1]
        assert source.is_gone(DocumentId("locked %25/x.md")) is False
        assert source.is_gone(DocumentId("locked %25/nothing.md")) is False
    assert report.is_complete
    assert report.unreadable[-1] == "locked %25"
    assert all(place.startswith("locked %25") for place in report.unreadable)
    assert below.unreadable


def test_a_folder_whose_ignore_file_cannot_be_read_is_unknown(root):
    grow(root, "a.md", "sub/secret.md", "sub/.gitignore")
    (root / "sub/.gitignore").chmod(0)
    source = files(root)
    with nobody():
        assert walk(source)[0] == ["a.md"]
        assert walk(source)[1].unreadable == ("sub/.gitignore", "sub")
        assert walk(source, scope="sub/secret.md") == ([], walk(source, scope="sub")[1])
        assert source.is_gone(DocumentId("sub/secret.md")) is False
    grow(root, ".freshdignore")
    (root / ".freshdignore").chmod(0)
    with nobody(), pytest.raises(SourceUnavailable, match=re.escape(f"{root}/.freshdignore: got 'Perm")) as caught:
        walk(source)
    assert caught.value.hint == "give freshd's user read permission on it"


def test_an_ignore_file_beyond_all_measure_is_told_by_name(root):
    grow(root, "a.md", "sub/b.md")
    (root / "sub/.gitignore").write_bytes(b"#" * 2**20 + b"\n")
    found, report = walk(files(root))
    assert (found, report.unreadable) == (["a.md"], ("sub/.gitignore", "sub"))
    (root / "sub/.gitignore").rename(root / ".gitignore")
    with pytest.raises(SourceUnavailable, match=re.escape(f"{root}/.gitignore: got 'more than 1048576 bytes'")):
        walk(files(root))


@contextlib.contextmanager
def few_descriptors(n_free: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        for _ in range(n_free):
            os.close(taken.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)


def test_running_out_of_descriptors_makes_a_listing_incomplete(root):
    """It says nothing about the place, so nothing must be concluded from it, anywhere."""
    grow(root, "a.md", "/".join(["d"] * 30) + "/x.md", "z.md")
    with few_descriptors(10):
        found, report = walk(files(root))
    assert found == ["a.md", "z.md"]
    assert report.is_complete is False
    with few_descriptors(0), pytest.raises(SourceUnavailable, match="Too many open files"):
        walk(files(root))
    found, report = walk(files(root))
    assert (len(found), report.is_complete) == (3, True)


def test_a_document_is_looked_at_once_and_what_is_none_not_at_all(root, monkeypatch):
    grow(root, ".gitignore", "a.md", "b/c.md", "b/d.png", "b/e/f.md", "b/g.tmp")
    looked_at, look = [], os.stat

    def looking(path, *, dir_fd=None, follow_symlinks=True):
        looked_at.append(path)
        return look(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    monkeypatch.setattr("connectors.files.walk.os.stat", looking)
    assert ids(files(root)) == ["a.md", "b/c.md", "b/e/f.md"]
    assert looked_at == [".gitignore", "a.md", "c.md", "f.md"]


def test_an_input_error_in_one_folder_is_reported(root, monkeypatch):
    """A disk that fails while a folder is read has shown some names; none of them is worth anything."""
    grow(root, "a.md", "bad/x.md", "c.md")
    whole = os.scandir

    def failing(fd):
        if os.readlink(f"/proc/self/fd/{fd}").endswith("/bad"):
            raise OSError(errno.EIO, "Input/output error")
        return whole(fd)

    monkeypatch.setattr("connectors.files.walk.os.scandir", failing)
    found, report = walk(files(root))
    assert (found, report.unreadable, report.is_complete) == (["a.md", "c.md"], ("bad",), True)


def test_what_vanishes_while_walking_is_simply_not_there(root):
    grow(root, "a.md", "b.md", "c/d.md", "e.md")
    refs = files(root).list()
    walking = iter(refs)
    assert next(walking).document_id == "a.md"
    (root / "b.md").unlink()
    shutil.rmtree(root / "c")
    assert [r.document_id for r in walking] == ["e.md"]
    assert refs.report.is_complete
    assert refs.report.unreadable == ()


def dig(root: Path, depth: int, name: bytes = b"d", *, with_files: bool = False) -> None:
    """Make nested folders by descriptor, deeper than any path may be long."""
    fd = os.open(root, os.O_DIRECTORY)
    for level in range(depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_DIRECTORY, dir_fd=fd)
        if with_files or level == depth - 1:
            os.close(os.open("z.md", os.O_CREAT | os.O_WRONLY, dir_fd=below))
        os.close(fd)
        fd = below
    os.close(fd)


def test_paths_longer_than_the_kernel_takes_are_listed_and_read(root):
    dig(root, 30, b"n" * 200)
    source = files(root)
    (document_id,) = ids(source)
    assert len(document_id) > 4096
    assert source.read(ref(document_id)).content == b""
    assert source.is_gone(DocumentId(document_id)) is False


def test_a_very_deep_tree_is_walked_with_few_descriptors(root):
    dig(root, 2_000, with_files=True)
    before = len(os.listdir("/proc/self/fd"))
    refs = files(root).list()
    most = n = 0
    for n, _ in enumerate(refs, 1):
        if n % 100 == 0:
            most = max(most, len(os.listdir("/proc/self/fd")) - before)
    assert n == 2_000
    assert refs.report.is_complete
    assert most < 80
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_moved_away_under_the_walk_leaves_its_old_place_unknown(root):
    """What was not looked at yet may be anywhere; absence from its old place is no deletion."""
    dig(root, 100, with_files=True)
    refs = files(root).list()
    walking = iter(refs)
    deepest = next(walking).document_id
    assert deepest == "d/" * 100 + "z.md"
    (root / ("d/" * 10).rstrip("/")).rename(root / "moved")
    seen = {r.document_id for r in walking}
    assert refs.report.unreadable == (("d/" * 9).rstrip("/"),)
    assert seen == {"d/" * depth + "z.md" for depth in range(1, 100) if depth != 9}


def test_an_abandoned_listing_lets_go_of_everything(root):
    grow(root, "a/b/c.md", "d.md")
    before = len(os.listdir("/proc/self/fd"))
    walking = iter(files(root).list())
    next(walking)
    del walking
    assert len(os.listdir("/proc/self/fd")) == before


# Which file system


def test_a_root_on_another_file_system_than_before_is_suspicious(root):
    """An unmounted root shows the empty folder below it: complete, readable, and not to be believed."""
    elsewhere = Path("/dev/shm") if os.stat("/dev/shm").st_dev != os.stat(root).st_dev else Path("/proc")
    (root / "current").symlink_to(grow(root / "docs", "a.md"))
    source = files(root / "current", include=["no-such-*"])
    before = walk(source)[1]
    assert before.suspicion is None
    assert walk(source, cursor=before.cursor)[1].suspicion is None
    (root / "current").unlink()
    (root / "current").symlink_to(elsewhere)
    after = walk(source, scope="a.md", cursor=before.cursor)[1]
    assert after.suspicion == "root is on another file system than before"
    assert after.cursor == before.cursor, "a look at a part must not vouch for the whole"


def test_a_file_system_that_vanished_from_below_the_root_is_suspicious(root):
    mounted = grow(root, "a.md", "disk/") / "disk"
    if subprocess.run(["mount", "-t", "tmpfs", "freshd-test", mounted], capture_output=True, check=False).returncode:
        pytest.skip("not running as root: cannot mount a file system")
    source = files(root)
    try:
        grow(mounted, "b.md")
        found, before = walk(source)
        assert found == ["a.md", "disk/b.md"], "another file system below the root is part of the tree"
        assert before.suspicion is None
    finally:
        subprocess.run(["umount", mounted], check=True)
    for scope in (None, "disk/b.md"):
        assert "disk" in (walk(source, scope=scope, cursor=before.cursor)[1].suspicion or "")
    assert walk(source, cursor=walk(source, cursor=before.cursor)[1].cursor)[1].suspicion is None


@pytest.mark.parametrize(
    "cursor", ["", "17", "{}", "null", '{"device": "x", "below": []}', '{"device": 1, "below": 5}']
)
def test_a_cursor_of_another_version_is_no_cursor(root, cursor):
    assert walk(files(root), cursor=cursor)[1].suspicion is None


# Scopes


def test_a_scope_shows_one_document_or_one_folder(root):
    grow(root, "a.md", "a/b.md", "a/c/d.md", "a-b.md", "ab/x.md", "hidden/x.md", "a/e.png")
    (root / ".gitignore").write_text("hidden/")
    source = files(root)
    assert ids(source, scope="a") == ["a/b.md", "a/c/d.md"]
    assert ids(source, scope="a/c") == ["a/c/d.md"]
    assert ids(source, scope="a.md") == ["a.md"]
    for nothing in ("gone.md", "gone/x.md", "a.md/x", "hidden/x.md", "hidden", "a/e.png", ".git/x.md"):
        assert ids(source, scope=nothing) == []
        assert source.is_gone(DocumentId(nothing)) is True


def test_a_document_that_is_spelled_otherwise_is_gone_where_the_disk_finds_it_all_the_same(root, monkeypatch):
    """As on vfat and on CIFS: else a rename that changes only the case would wait for ever."""
    (root / "Sub").mkdir()
    (root / "Sub" / "README.md").write_text("text")
    source = files(root)
    real = os.stat

    def stat(name, *, dir_fd=None, **options):
        if dir_fd is not None:
            fold = os.fsdecode(name).casefold()
            name = next((one for one in os.listdir(dir_fd) if one.casefold() == fold), name)
        return real(name, dir_fd=dir_fd, **options)

    monkeypatch.setattr(os, "stat", stat)
    ids = ("Sub/README.md", "Sub/Readme.md", "Sub/nothing.md")
    assert [source.is_gone(DocumentId(one)) for one in ids] == [False, True, True]


def test_a_document_is_gone_when_something_else_took_its_place(root):
    grow(root, "a.md", "b.md", "c.md", "d/x.md")
    source = files(root)
    assert not any(source.is_gone(r.document_id) for r in source.list())
    (root / "a.md").unlink()
    grow(root, "a.md/inside.md")
    (root / "b.md").unlink()
    (root / "b.md").symlink_to("c.md")
    (root / ".gitignore").write_text("/c.md")
    shutil.rmtree(root / "d")
    (root / "d").write_text("now a file")
    assert [source.is_gone(DocumentId(i)) for i in ("a.md", "b.md", "c.md", "d/x.md", "a.md/inside.md")] == [
        True
    ] * 4 + [False]


# Reading


def test_a_document_says_where_when_and_which_bytes(root):
    grow(root, "wei\u00df %#?.md")
    (listed,) = files(root).list()
    os.utime(root / "wei\u00df %#?.md", ns=(0, 1_000_000_000))
    document = files(root).read(listed)
    assert document.content == "wei\u00df %#?.md".encode()
    assert document.uri == f"file://{root}/wei%C3%9F%20%25%23%3F.md"
    assert document.modified_at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert document.title is None
    assert document.ref.fingerprint != listed.fingerprint, "the ref describes what was read, not what was listed"
    assert [document.ref] == [DocumentRef.of(seen) for seen in files(root).list()]
    assert document.ref.identity == listed.identity
    assert abs((document.ref.changed_at - datetime.now(UTC)).total_seconds()) < 60


def test_an_edit_that_puts_size_and_times_back_still_shows(root):
    path = grow(root, "a.md") / "a.md"
    (before,) = files(root).list()
    stat = path.stat()
    path.write_text("A.MD")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (after,) = files(root).list()
    assert after.fingerprint != before.fingerprint


def test_a_file_is_racy_only_shortly_after_its_change(root):
    grow(root, "a.md")
    assert [r.is_racy for r in files(root).list()] == [True]
    assert [r.is_racy for r in files(root, shift_s=3).list()] == [False]
    os.utime(root / "a.md", (4e9, 4e9))
    assert [r.is_racy for r in files(root, shift_s=3).list()] == [False], "a time in the future is no reason for ever"
    assert [r.is_racy for r in files(root, shift_s=-3).list()] == [True], "a clock set back leaves doubt"


def test_a_file_beyond_the_limit_is_refused_unread(root):
    with (root / "big.md").open("wb") as file:
        file.truncate(300 * 1024 * 1024)
    source = files(root)
    (listed,) = source.list()
    began_s = time.process_time()
    with pytest.raises(DocumentRefused, match="314572800 bytes, expected at most 52428800") as caught:
        source.read(listed)
    assert time.process_time() - began_s < 0.1
    assert "max_file_bytes" in caught.value.hint


@pytest.mark.parametrize("change", ["append", "rewrite", "truncate", "touch", "replace"])
def test_a_file_that_changes_while_it_is_read_is_not_taken(root, change, monkeypatch):
    """Half of one version and half of the next is neither."""
    path = grow(root, "a.md") / "a.md"

    def edit(point: str) -> None:
        assert point == "mid_read"
        if change == "append":
            path.write_text("a.md and more")
        elif change == "rewrite":
            path.write_text("A.MD")
        elif change == "truncate":
            os.truncate(path, 1)
        elif change == "touch":
            os.utime(path)
        else:
            grow(root, "b.md")
            (root / "b.md").rename(path)

    source = files(root)
    monkeypatch.setattr(connector.faults, "hit", edit)
    with pytest.raises(DocumentChanging):
        source.read(ref("a.md"))
    monkeypatch.undo()
    assert source.read(ref("a.md")).content == path.read_bytes()


def test_an_error_while_reading_is_the_documents_own(root):
    grow(root, "a.md", "locked.md")
    (root / "locked.md").chmod(0)
    source = files(root)
    with nobody(), pytest.raises(DocumentUnreadable) as caught:
        source.read(ref("locked.md"))
    assert caught.value.hint
    faults.arm("mid_read:raise")
    try:
        with pytest.raises(DocumentUnreadable):
            source.read(ref("a.md"))
    finally:
        faults.arm("")
    with pytest.raises(DocumentGone):
        source.read(ref("never.md"))


def test_no_race_of_symlinks_leads_a_read_out_of_the_tree(root):
    """A folder is swapped for a symlink to secrets, and a file likewise, while 1,000 reads go on."""
    grow(root, "docs/sub/a.md", "docs/spare/a.md", "secret/a.md")
    docs, stop = root / "docs", threading.Event()
    (root / "to-folder").symlink_to(root / "secret")
    (docs / "to-file").symlink_to(root / "secret/a.md")

    def swap() -> None:
        while not stop.is_set():
            (docs / "sub").rename(root / "aside")
            (root / "to-folder").rename(docs / "sub")
            (docs / "sub").rename(root / "to-folder")
            (root / "aside").rename(docs / "sub")
            (docs / "sub/a.md").rename(docs / "sub/b.md")
            (docs / "to-file").rename(docs / "sub/a.md")
            (docs / "sub/a.md").rename(docs / "to-file")
            (docs / "sub/b.md").rename(docs / "sub/a.md")

    swapping = threading.Thread(target=swap)
    swapping.start()
    source, seen, failed = files(docs), set(), set()
    try:
        for _ in range(1_000):
            try:
                seen.add(source.read(ref("sub/a.md")).content)
            except FreshdError as error:
                failed.add(type(error))
    finally:
        stop.set()
        swapping.join()
    assert seen == {b"docs/sub/a.md"} or not seen
    assert failed <= {DocumentGone, DocumentRefused, DocumentChanging}
    assert failed


# Options


def test_a_path_starts_at_the_config_file_or_at_home(root, monkeypatch):
    grow(root, "docs/a.md")
    options = FilesConnector.Options(path="docs")
    assert [r.document_id for r in FilesConnector(options, context(root)).list()] == ["a.md"]
    monkeypatch.setenv("HOME", str(root))
    assert ids(files("~/docs")) == ["a.md"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"path": ""},
        {"path": "x", "paths": "y"},
        {"path": "x", "include": []},
        {"path": "x", "include": ["[a"]},
        {"path": "x", "exclude": ["# a comment"]},
        {"path": "x", "max_file_bytes": 0},
        {"path": "x", "media_types": {"": "text/plain"}},
    ],
)
def test_options_that_cannot_mean_anything_are_refused(options):
    with pytest.raises(ValidationError):
        FilesConnector.Options(**options)


def test_opening_a_source_looks_at_nothing():
    """A source that is down must not keep the others from opening."""
    source = files("/no/such/place")
    assert isinstance(source, Watchable)
    source.close()
    source.close()


@given(st.text(max_size=12))
def test_no_line_of_an_ignore_file_is_an_error(line):
    assume("\n" not in line)
    glob = parse_glob(line)
    assert glob is None or parse_lines([line]).decide("a/b", "b", is_folder=False) in (True, False, None)


# The guide


def test_the_example_in_the_guide_works(root):
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    scope: dict = {}
    exec(compile(example, str(README), "exec"), scope)
    source = scope["JournalConnector"](scope["JournalOptions"](path="journal.txt"), context(root))
    with pytest.raises(SourceUnavailable):
        list(source.list())
    (root / "journal.txt").write_bytes(b"one\n\ntwo\n\nthree\n")
    listing = source.list()
    assert [source.read(r).content for r in listing] == [b"one", b"two", b"three\n"]
    assert listing.report.is_complete
    assert not source.is_gone(DocumentId("000001"))
    assert source.is_gone(DocumentId("000003"))
