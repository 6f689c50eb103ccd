"""Text that was embedded once is not embedded again, whatever happens around it that leaves it the same."""

import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from freshd.model import OutcomeKind
from tests.kit.home import Home, files
from tests.kit.keeper import NEWS, RSS, Keeper, rss, serving
from tests.scripted_server import Reply, Request

NAMES = [*(f"page{n}.md" for n in range(4)), "sub/one.md", "sub/two.md"]


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    keeper = Keeper(tmp_path)
    keeper.grow(*NAMES)
    assert keeper.embedded_by() == len(NAMES)
    keeper.clock.advance(timedelta(days=1))
    yield keeper
    keeper.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home", files("docs", "docs"))
    for name in NAMES:
        home.write(f"docs/{name}")
    assert home.embedded_by() == len(NAMES)
    yield home
    home.close()


# Files


def touch(root: Path) -> None:
    (root / "page0.md").touch()


def date_back(root: Path) -> None:
    os.utime(root / "page0.md", (0, 0))


def date_forward(root: Path) -> None:
    os.utime(root / "page0.md", (4e9, 4e9))


def chmod(root: Path) -> None:
    (root / "page0.md").chmod(0o600)


def rename(root: Path) -> None:
    (root / "page0.md").rename(root / "renamed.md")


def rename_over_another(root: Path) -> None:
    (root / "page0.md").rename(root / "page1.md")


def move_folder(root: Path) -> None:
    (root / "sub").rename(root / "elsewhere")


def move_into_folder(root: Path) -> None:
    (root / "page0.md").rename(root / "sub/page0.md")


def copy(root: Path) -> None:
    shutil.copy(root / "page0.md", root / "copy.md")


def copy_folder(root: Path) -> None:
    shutil.copytree(root / "sub", root / "copies")


def hard_link(root: Path) -> None:
    os.link(root / "page0.md", root / "link.md")


def swap(root: Path) -> None:
    (root / "page0.md").rename(root / "held.md")
    (root / "page1.md").rename(root / "page0.md")
    (root / "held.md").rename(root / "page1.md")


def write_the_same(root: Path) -> None:
    text = (root / "page0.md").read_text()
    (root / "page0.md").unlink()
    (root / "page0.md").write_text(text)


def check_out_anew(root: Path) -> None:
    shutil.copytree(root, root.with_name("fresh"), copy_function=shutil.copy)
    shutil.rmtree(root)
    root.with_name("fresh").rename(root)


ACTS = (
    *(touch, date_back, date_forward, chmod, rename, rename_over_another, move_folder, move_into_folder),
    *(copy, copy_folder, hard_link, swap, write_the_same, check_out_anew),
)


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_what_changes_no_text_embeds_nothing(keeper: Keeper, act):
    """76, 77, 79, and a checkout that makes every file anew."""
    act(keeper.root)
    assert keeper.embedded_by() == 0
    there = [str(path.relative_to(keeper.root)) for path in keeper.root.rglob("*.md")]
    assert keeper.indexed() == sorted(there)
    keeper.clock.advance(timedelta(days=1))
    assert keeper.embedded_by() == 0


def test_an_edit_that_is_undone_embeds_the_edit_only(keeper: Keeper):
    page = keeper.root / "page0.md"
    before = page.read_text()
    page.write_text("# Other\n\nAnother text.\n")
    assert keeper.embedded_by() == 1
    page.write_text(before)
    assert keeper.embedded_by() == 0


def test_going_back_to_an_older_version_of_everything_embeds_nothing(keeper: Keeper):
    shutil.copytree(keeper.root, keeper.folder / "old")
    for name in NAMES:
        (keeper.root / name).write_text(f"# New {name}\n\nNew text of {name}.\n")
    assert keeper.embedded_by() == len(NAMES)
    shutil.rmtree(keeper.root)
    (keeper.folder / "old").rename(keeper.root)
    assert keeper.embedded_by() == 0


def test_a_deleted_document_that_is_back_embeds_nothing(keeper: Keeper):
    text = (keeper.root / "page0.md").read_text()
    (keeper.root / "page0.md").unlink()
    assert keeper.embedded_by() == 0
    (keeper.root / "page0.md").write_text(text)
    assert keeper.embedded_by() == 0


# Feeds


DATES = (b"Mon, 01 Jan 2035 00:00:00 GMT", b"Thu, 01 Jan 1970 00:00:00 GMT", b"the day before yesterday")


def test_a_feed_that_says_nothing_new_embeds_nothing(keeper: Keeper):
    """84, 86, 105: 304, the same bytes, the same entries in other bytes, in another order and of other dates."""
    body = rss("one", "two", "three")

    def conditional(request: Request) -> Reply:
        is_known = request.headers.get("if-none-match") == '"1"'
        return Reply(304) if is_known else Reply(200, body, {**RSS, "ETag": '"1"'})

    with serving() as server:
        server.on("/feed", conditional)
        keeper.connect_feed(server)
        assert keeper.embedded_by(NEWS) == 3
        for answer in (
            conditional,
            Reply(200, body, RSS),
            Reply(200, body.replace(b"<item>", b"\n<item>"), RSS),
            Reply(200, rss("three", "one", "two"), RSS),
            *(Reply(200, body.replace(b"<item>", b"<item><pubDate>%s</pubDate>" % date), RSS) for date in DATES),
            Reply(200, rss("one"), RSS),
            Reply(200, body, RSS),
        ):
            server.on("/feed", answer)
            keeper.clock.advance(timedelta(hours=1))
            assert keeper.embedded_by(NEWS) == 0


def test_new_guids_for_the_same_entries_embed_nothing(keeper: Keeper):
    """103."""
    with serving() as server:
        server.on("/feed", Reply(200, rss("one", "two", "three"), RSS))
        keeper.connect_feed(server)
        assert keeper.embedded_by(NEWS) == 3
        for n in range(3):
            churned = rss("one", "two", "three").replace(b"<guid>", b"<guid>%d-" % n)
            server.on("/feed", Reply(200, churned, RSS))
            keeper.clock.advance(timedelta(hours=1))
            assert keeper.embedded_by(NEWS) == 0


ENTRY = b"""<rss version="2.0"><channel><item><guid>1</guid><title>Elks</title><link>http://x.example/elks</link>
<pubDate>Mon, 02 Mar 2026 10:00:00 GMT</pubDate><description>All about elks.</description></item></channel></rss>"""


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        (b"Elks", b"Moose", {"title": "Moose"}),
        (b"<title>Elks</title>", b"", {"title": None}),
        (b"/elks", b"/moose", {"uri": "http://x.example/moose"}),
        (b"02 Mar", b"03 Mar", {"source_modified_at": "2026-03-03T10:00:00Z"}),
    ],
    ids=["headline", "no headline", "link", "date"],
)
def test_what_a_feed_corrects_around_the_text_of_an_entry_is_shown_and_embeds_nothing(
    keeper: Keeper, old: bytes, new: bytes, shown: dict[str, str | None]
):
    with serving() as server:
        server.on("/feed", Reply(200, ENTRY, RSS))
        keeper.connect_feed(server)
        assert keeper.embedded_by(NEWS) == 1
        server.on("/feed", Reply(200, ENTRY.replace(old, new), RSS))
        keeper.clock.advance(timedelta(hours=1))
        assert keeper.embedded_by(NEWS) == 0
    (cited,) = (point.payload["metadata"] for point in keeper.store.points.values() if point.payload["source"] == NEWS)
    assert {key: cited.get(key) for key in shown} == shown


def test_an_entry_that_was_no_plain_text_after_all_is_shown_without_its_markup(keeper: Keeper):
    entry = '{"id": "1", "content_%s": "All <b>about</b> elks."}'
    feed = f'{{"version": "https://jsonfeed.org/version/1.1", "items": [{entry}]}}'
    with serving() as server:
        for kind, text in (("text", "All <b>about</b> elks."), ("html", "All about elks.")):
            server.on("/feed", Reply(200, (feed % kind).encode(), {"Content-Type": "application/feed+json"}))
            keeper.connect_feed(server)
            assert keeper.embedded_by(NEWS) == 1
            texts = [p.payload["page_content"] for p in keeper.store.points.values() if p.payload["source"] == NEWS]
            assert texts == [text]
            keeper.clock.advance(timedelta(hours=1))


def test_an_entry_in_which_nothing_changed_that_is_shown_writes_nothing(keeper: Keeper):
    """The feed's own words for a date do not tell the same instant twice."""
    with serving() as server:
        server.on("/feed", Reply(200, ENTRY, RSS))
        keeper.connect_feed(server)
        keeper.look(NEWS)
        keeper.store.calls.clear()
        server.on("/feed", Reply(200, ENTRY.replace(b"GMT", b"+0000"), RSS))
        keeper.clock.advance(timedelta(hours=1))
        keeper.outcomes.clear()
        assert keeper.embedded_by(NEWS) == 0
    assert [outcome.kind for outcome, _ in keeper.outcomes] == [OutcomeKind.TOUCHED]
    assert set(keeper.store.calls) <= {"ping"}


# Runs and configs


def test_a_restart_and_a_run_that_reads_everything_again_embed_nothing(home: Home):
    home.restart()
    assert home.embedded_by() == 0
    assert home.embedded_by(full=True) == 0
    home.restart()
    assert home.embedded_by(full=True) == 0


def test_a_source_that_leaves_the_config_and_is_back_embeds_nothing(home: Home):
    """118."""
    home.configure(files("other", "other"))
    home.write("other/page.md")
    assert home.embedded_by() == 1
    home.configure(files("docs", "docs") + files("other", "other"))
    assert home.embedded_by() == 0
    assert len(home.documents()) == len(NAMES) + 1


def test_a_source_that_gets_another_name_embeds_nothing(home: Home):
    """118: its documents have other ids, and the same texts."""
    home.configure(files("manual", "docs"))
    assert home.embedded_by() == 0
    assert home.documents() == {f"manual/{name}" for name in NAMES}
    assert len(home.points()) == 2 * len(NAMES)
    home.whole.remover().prune(home.whole.remover().removed()[0].name)
    assert home.points() == home.documents()


def test_a_cache_too_small_for_a_source_costs_its_texts_once_for_each_name(home: Home):
    """What no cache remembers is computed again; a document that stays where it is needs none."""
    home.configure("[cache]\nmax_bytes = 1\n" + files("manual", "docs"))
    home.whole.reindexer()  # what an earlier bound let in is let go of as new vectors come
    (home.root / "docs/new.md").write_text("# New\n\nA new text.\n")
    home.reindex()
    home.configure("[cache]\nmax_bytes = 1\n" + files("guide", "docs"))
    assert home.embedded_by() == len(NAMES) + 1
    assert home.embedded_by(full=True) == 0
