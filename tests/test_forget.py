"""What is forgotten is nowhere any more, and stays out; what left the config goes after a week."""

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import pytest

from freshd import faults
from freshd.compose import Whole
from freshd.daemon.removing import Removing
from freshd.errors import ConfigError, StoreUnavailable
from freshd.ledger.database import Database
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.forgetting import SqliteForgetting
from freshd.ledger.history import SqliteHistory
from freshd.model import (
    Change,
    ChangeKind,
    ChunkId,
    Digest,
    DocumentId,
    DocumentRef,
    HeldChunk,
    Outcome,
    OutcomeKind,
    Point,
    SourceName,
    SparseVector,
    Vector,
)
from freshd.pipeline.removal import Removal
from freshd.ports import Applied, StoredPoint
from freshd.scheduler import Observer, at_once
from tests.kit.home import Home, files, shown, stored
from tests.kit.keeper import NEWS, RSS, Keeper, MovesUnderTheWalk, rss, serving
from tests.scheduler.parts import eventually
from tests.scripted_server import Reply
from tests.test_verify_repair import DAMAGES

DOCS, SECRET = SourceName("docs"), DocumentId("people/zebulon-quartermaine.md")
STREET = "Lavender Row 7"
T = TypeVar("T")
TEXT = "# Zebulon\n\nZebulon Quartermaine left in spring.\n\n## Address\n\nHe lives at Lavender Row 7.\n"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home", files("docs", "docs"))
    for n in range(8):
        home.write(f"docs/page{n}.md")
    home.write(f"docs/{SECRET}", TEXT)
    home.reindex()
    yield home
    faults.arm("")
    home.close()


def forget(home: Home, *names: tuple[str, str | None]):
    return home.whole.remover().forget([(SourceName(s), d and DocumentId(d)) for s, d in names])


class Alone:
    """A scheduler of which only this is asked."""

    between_batches = staticmethod(at_once)


def files_with(home: Home, what: str | bytes) -> list[str]:
    """Name the files of the state directory, the engine's among them, that hold a text or a vector in plain bytes."""
    sought = what.encode() if isinstance(what, str) else what
    paths = [path for path in home.state.rglob("*") if path.is_file()]
    return [str(path.relative_to(home.state)) for path in paths if sought in path.read_bytes()]


def traces(whole: Whole) -> dict[str, int]:
    """Count what the ledger and the store hold of the secret document."""
    counts = {}
    for table in ("documents", "history", "forgetting", "unknown", "pending"):
        where = " WHERE document_id = ?" if table in ("documents", "history") else ""
        sql = f"SELECT count(*) AS n FROM {table}{where}"
        counts[table] = whole.database.read(sql, (SECRET,) if where else ())[0]["n"]
    counts["store"] = sum(SECRET in document for document in stored(whole))
    counts["search"] = len(whole.search.search("Zebulon Quartermaine Lavender").hits) and sum(
        hit.citation.document_id == SECRET for hit in whole.search.search("Zebulon Quartermaine Lavender").hits
    )
    return {name: n for name, n in counts.items() if n}


def test_a_forgotten_document_is_found_nowhere(home: Home):
    whole = home.whole
    assert {"documents", "history", "store", "search"} <= traces(whole).keys()
    done = forget(home, (DOCS, SECRET))
    assert (done.taken.documents, done.taken.points, done.taken.vectors, done.unknown) == (1, 2, 2, ())
    whole = home.whole
    assert traces(whole) == {}
    assert len(shown(whole)) == 8
    assert whole.sources.state(DOCS).documents == 8
    assert files_with(home, SECRET) == files_with(home, "quartermaine") == []


def test_documents_whose_points_are_damaged_are_forgotten_like_any_other(home: Home):
    """Their vectors too, where text and headings still tell which they are."""
    for n, name in enumerate(DAMAGES):
        home.write(f"docs/damaged/{n}.md", f"# Part {n}\n\nWhat suffers is: {name}.\n")
    home.reindex()
    store = home.whole.store
    for found in store.scroll(None, 1_000, with_vectors=True):
        point = Point(found.chunk_id, found.dense or Vector(b""), found.sparse or SparseVector(), found.payload)
        _, is_damaged, name = str(point.payload["page_content"]).partition("What suffers is: ")
        if is_damaged:
            store.upsert([DAMAGES[name.strip().removesuffix(".")][0](point)])
    vectors = {text: home.embedder.embed_query(text) for text in home.embedder.passages if "What suffers" in text}
    home.whole.remover().forget([(DOCS, DocumentId("damaged/"))])
    assert len(home.restart().store.scroll(None, 1_000)) == len(home.points()) + 1 == 10  # the secret one has two
    left = {text.partition(": ")[2].strip(".") for text, vector in vectors.items() if files_with(home, vector)}
    assert left <= {"text", "no text", "headings", "headings of another kind", "no citation"}


def test_a_forgotten_document_stays_out_although_the_source_still_shows_it(home: Home):
    forget(home, (DOCS, SECRET))
    home.write(f"docs/{SECRET}", TEXT + "And edited.\n")
    tally = home.reindex()[DOCS]
    assert (tally.documents["added"], tally.documents["deleted"], tally.documents["held"]) == (0, 0, 0)
    assert home.embedded_by("docs", full=True) == 0
    assert f"docs/{SECRET}" not in home.points()
    assert files_with(home, SECRET) == []


def test_a_folder_is_no_document_and_is_not_taken_for_an_unknown_one(home: Home):
    with pytest.raises(ConfigError, match=r"got 'docs/people', expected a document: 1 of them lie below it") as caught:
        forget(home, (DOCS, "page0.md"), (DOCS, "people"))
    assert caught.value.hint.startswith("freshd forget docs/people/ ")
    assert len(shown(home.whole)) == 8 + 1, "nothing was done"
    assert forget(home, (DOCS, "peopl"), (DOCS, "page")).unknown == ("docs/peopl", "docs/page")


def test_a_name_that_ends_with_a_slash_means_all_that_is_known_below(home: Home):
    home.write("docs/people.md")
    home.write("docs/people/inner/one.md", "# One\n\nMore of Zebulon.\n")
    home.reindex()
    done = forget(home, (DOCS, "people/"), (DOCS, "nobody/"))
    assert (done.taken.documents, done.unknown) == (2, ("docs/nobody/",))
    assert traces(home.whole) == {}
    home.reindex()
    assert not any(name.startswith("docs/people/") for name in home.points())
    assert len(shown(home.whole)) == 8 + 1


def test_a_hint_at_a_forgotten_document_brings_nothing_back(home: Home):
    forget(home, (DOCS, SECRET))
    whole = home.whole
    whole.reindexer()
    scanner = home.scanner("docs")
    home.write(f"docs/{SECRET}", TEXT + "And edited.\n")
    for place in (SECRET, "people"):
        looked = scanner.look({place: whole.clock.now()})
        assert (looked.changes, looked.absent) == (0, ())


def test_a_forgotten_document_is_back_once_that_is_undone(home: Home):
    forget(home, (DOCS, SECRET))
    whole = home.whole
    assert whole.remover().undo([(DOCS, SECRET)]) == [f"docs/{SECRET}"]
    assert whole.remover().undo([(DOCS, SECRET)]) == []
    home.reindex()
    assert f"docs/{SECRET}" in home.documents()


def test_a_document_that_is_renamed_to_a_forgotten_one_is_found_under_neither_name(home: Home):
    forget(home, (DOCS, SECRET))
    (home.root / "docs/page0.md").rename(home.root / f"docs/{SECRET}")
    home.reindex()
    assert home.points() == {f"docs/page{n}.md" for n in range(1, 8)}


def test_under_another_name_it_is_another_document(home: Home):
    forget(home, (DOCS, SECRET))
    (home.root / "docs" / SECRET).rename(home.root / "docs" / "renamed.md")
    home.reindex()
    assert "docs/renamed.md" in home.documents()


def test_a_document_that_is_forgotten_before_it_was_ever_seen_stays_out(home: Home):
    done = forget(home, (DOCS, "later.md"))
    assert (done.taken.documents, done.unknown) == (0, ("docs/later.md",))
    home.write("docs/later.md")
    home.reindex()
    assert "docs/later.md" not in home.points()


def test_what_a_document_has_in_common_with_others_stays_theirs(home: Home):
    home.write("docs/copy.md", TEXT)
    home.reindex()
    forget(home, (DOCS, SECRET))
    assert "docs/copy.md" in home.documents()
    assert not home.divergent()


def test_a_document_that_moved_here_from_a_forgotten_place_does_not_name_it(home: Home):
    (home.root / "docs" / SECRET).rename(home.root / "docs" / "renamed.md")
    home.reindex()
    forget(home, (DOCS, SECRET))
    whole = home.whole
    entries = SqliteHistory(whole.database).entries(0, 100, DOCS, DocumentId("renamed.md"))
    assert [entry.previous_id for entry in entries] == [None]
    assert files_with(home, SECRET) == []


def test_whoever_follows_the_changes_hears_that_copies_are_to_go(home: Home):
    whole = home.whole
    history = SqliteHistory(whole.database)
    newest = history.last_seq()
    assert history.is_gapless(newest)
    whole.remover().forget([(DOCS, SECRET)])
    assert not history.is_gapless(newest)
    assert history.is_gapless(history.last_seq())
    assert history.last_seq() == newest + 1


def test_a_source_is_forgotten_with_everything_that_is_known_of_it(home: Home):
    home.write("docs/late.md")  # recorded, never applied
    whole = home.whole
    whole.reindexer()
    home.scanner("docs").scan()
    done = whole.remover().forget([(DOCS, None)])
    assert (done.taken.documents, done.taken.points) == (10, 10)
    assert stored(whole) == set()
    assert SqliteHistory(whole.database).entries() == []
    assert home.reindex()[DOCS].documents.total() == 0
    home.write("docs/new.md")
    home.reindex()
    assert home.documents() == {"docs/new.md"}


def test_held_deletions_are_forgotten_too(home: Home):
    for n in range(8):
        (home.root / f"docs/page{n}.md").unlink()
    (home.root / f"docs/{SECRET}").unlink()
    assert home.reindex()[DOCS].held == 9
    forget(home, (DOCS, SECRET))
    assert home.reindex()[DOCS].held == 8
    assert f"docs/{SECRET}" not in home.points()


def test_what_nobody_knows_and_what_freshd_writes_itself_is_refused(home: Home):
    home.configure(files("docs", "docs") + 'canary_path = "canary.md"\n')
    whole = home.whole
    (canary,) = whole.canaries
    with pytest.raises(ConfigError, match="canary"):
        whole.remover().forget([canary])
    with pytest.raises(ConfigError, match="nowhere"):
        whole.remover().forget([(SourceName("nowhere"), None)])


@pytest.mark.parametrize(
    "point",
    [
        "after_forget_intent",
        "mid_forget",
        "before_forget_flush",
        "before_forgotten",
        "before_scrub",
        "before_expunge@3",
    ],
)
def test_forgetting_that_breaks_off_anywhere_is_finished_by_the_next_start(home: Home, point: str):
    whole = home.whole
    name, _, nth = point.partition("@")
    faults.arm(f"{name}:raise" + (f"@{nth}" if nth else ""))
    with pytest.raises(OSError, match="fail point"):
        whole.remover().forget([(DOCS, SECRET)])
    faults.arm("")
    assert traces(whole).keys() & {"search"} == set()
    whole = home.restart()
    assert traces(whole) == {}
    assert not SqliteForgetting(whole.database).must_scrub
    assert not home.divergent()
    assert not [path for path in files_with(home, SECRET) if not path.startswith("index/")]
    home.reindex()
    assert files_with(home, SECRET) == files_with(home, STREET) == []
    assert SqliteForgetting(whole.database).occasion is None
    assert len(home.documents()) == 8


# What the engine leaves in its files


def test_a_forgotten_document_is_in_no_file_of_the_index(home: Home):
    """Nor is what it said before it was edited, and whatever was indexed and is deleted by now."""
    home.write("docs/deleted.md", "# Gone\n\nThe cellar key hangs at Nightingale Steps.\n")
    home.write(f"docs/{SECRET}", TEXT + "\n## Phone\n\nCall 0170 4242.\n")
    home.reindex()
    home.write(f"docs/{SECRET}", TEXT)
    (home.root / "docs/deleted.md").unlink()
    home.reindex()
    home.reindex()
    texts = (SECRET, STREET, "0170 4242", "Nightingale Steps", "deleted.md")
    for text in texts:
        held = [path for path in files_with(home, text) if path.startswith("index/")]
        assert any("/wal/" in path for path in held), "else this test could not fail"
        assert any("/payload_storage/" in path for path in held)
    (vector,) = {home.embedder.embed_query(text) for text in home.embedder.passages if STREET in text}
    assert {"vectors.db", "vectors.db-wal"} & set(files_with(home, vector))
    forget(home, (DOCS, SECRET), (DOCS, "deleted.md"))
    assert {text: files_with(home, text) for text in texts} == {text: [] for text in texts}
    assert files_with(home, vector) == []
    assert len(home.documents()) == 8
    assert not home.divergent()
    assert home.restart().search.search("Text of page3").hits[0].citation.document_id == "page3.md"


@pytest.mark.parametrize("where", ["compaction_begun", "before_compaction_switch", "after_compaction_switch"])
def test_a_store_killed_while_it_rewrites_its_files_does_it_again(
    home: Home, where: str, monkeypatch: pytest.MonkeyPatch
):
    home.close()
    monkeypatch.setenv("FRESHD_FAULTS", f"{where}:kill")
    with pytest.raises(StoreUnavailable, match="is out of search and store, and leaves the files of the index later"):
        forget(home, (DOCS, SECRET))
    monkeypatch.delenv("FRESHD_FAULTS")
    whole = home.restart()
    assert traces(whole) == {}
    home.reindex()
    assert files_with(home, SECRET) == files_with(home, STREET) == []
    assert not home.divergent()


def test_without_room_to_rewrite_the_files_it_is_said_and_done_once_there_is(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("freshd.compose.whole.disk_shortage", lambda _: None)  # enough for all but that
    home.configure(f"[disk]\nreserve_bytes = {2**50}\n" + files("docs", "docs"))
    with pytest.raises(
        StoreUnavailable, match=r"too little room .* MiB more .* leaves the files of the index later"
    ) as told:
        forget(home, (DOCS, SECRET))
    assert "free some disk space" in told.value.hint
    assert traces(home.whole) == {}
    assert files_with(home, STREET), "only a rewrite takes it out"
    home.configure("[disk]\nreserve_bytes = 0\n" + files("docs", "docs"))
    home.reindex()
    assert files_with(home, STREET) == []


def test_how_far_it_is_with_the_files_is_told_too(home: Home):
    """Of a large index that takes longest by far."""
    told: list[tuple[int, int]] = []
    home.whole.remover().forget([(DOCS, DocumentId("page3.md"))], lambda done, total: told.append((done, total)))
    done, totals = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert all(one <= of for one, of in told)
    assert totals[0] == 1, "one document"
    assert done[-1] > 5, "and the pieces of its store's files"


def test_what_is_forgotten_while_another_is_being_expunged_leaves_the_files_as_well(home: Home):
    """By then the new shard holds it too."""
    whole, forgetting = home.whole, SqliteForgetting(home.whole.database)
    forgetting.forget(DOCS, [DocumentId("page3.md")])
    while whole.removal.forget_some():
        pass
    for _ in range(4):
        assert whole.removal.expunge_some()
    forgetting.forget(DOCS, [SECRET])
    while whole.removal.expunge_some():
        pass
    whole.removal.finish()
    assert files_with(home, STREET) == files_with(home, "page3.md") == []
    assert traces(whole) == {}
    assert len(shown(whole)) == 7


def test_searches_are_answered_and_edits_taken_in_while_the_files_are_rewritten(home: Home):
    whole = home.whole
    scheduler = whole.scheduler(Observer(), lambda: None)
    pieces = 0

    def found(word: str) -> set[str]:
        return {hit.citation.document_id for hit in whole.search.search(word).hits if word in hit.citation.text}

    def between_batches(work):
        nonlocal pieces
        done = scheduler.between_batches(work)
        if type(done) is int and done:  # a piece of it, and there are more
            pieces += 1
            assert found("page3") == {"page3.md"}
            assert not found("Lavender")
            if pieces in (2, 4, 7):
                home.write("docs/page0.md", f"# Page\n\nThe word{pieces}word.\n")
                scheduler.scan_now([DOCS])
                eventually(lambda: found(f"word{pieces}word"), 60)
        return done

    scheduler.start()
    try:
        whole.remover(between_batches).forget([(DOCS, SECRET)])
    finally:
        scheduler.stop()
    assert pieces > 7
    assert found("word7word") == {"page0.md"}
    assert files_with(home, SECRET) == files_with(home, STREET) == []
    assert not home.divergent()


def test_a_daemon_finishes_at_its_start_what_was_left_to_be_done(home: Home):
    SqliteForgetting(home.whole.database).forget(DOCS, [SECRET])
    whole = home.restart()
    assert files_with(home, STREET)
    removing = Removing(whole, Alone())  # type: ignore[arg-type]
    removing.start()
    eventually(lambda: SqliteForgetting(whole.database).occasion is None)
    removing.stop()
    assert files_with(home, SECRET) == files_with(home, STREET) == []


def test_a_document_that_is_forgotten_while_it_is_indexed_is_not_indexed(home: Home):
    home.write(f"docs/{SECRET}", TEXT + "Edited.\n")
    home.write("docs/page0.md", "# Edited\n")
    whole = home.whole
    whole.reindexer()
    home.scanner("docs").scan()
    batch = whole.ledger.take(whole.clock.now(), 64)
    told = []

    def between() -> None:
        if not told:
            told.append(whole.remover().forget([(DOCS, SECRET)]))

    whole.search.run(batch, between)
    assert traces(whole) == {}
    assert "docs/page0.md" in shown(whole)
    assert not home.divergent()


# Sources that left the config


def without_docs(home: Home) -> None:
    home.write("other/page.md")
    home.configure(files("other", "other"))


def test_a_source_that_left_is_out_of_search_at_once_and_told(home: Home):
    without_docs(home)
    home.reindex()
    whole = home.whole
    assert {hit.citation.source for hit in whole.search.search("Text of page").hits} == {"other"}
    (removed,) = whole.remover().removed()
    assert (removed.name, removed.documents, removed.chunks) == (DOCS, 9, 10)
    assert removed.since is not None


def test_a_source_that_is_back_within_the_week_is_there_again_and_nothing_is_embedded(home: Home):
    without_docs(home)
    home.reindex()
    home.configure(files("docs", "docs"))
    assert home.embedded_by() == 0
    assert len(home.documents()) == 9
    whole = home.whole
    assert [one.name for one in whole.remover().removed()] == ["other"]


def test_a_source_is_pruned_a_week_after_it_left_and_its_history_stays(home: Home):
    without_docs(home)
    home.reindex()
    whole = home.whole
    assert whole.remover().prune_due() == {}
    _left_ago(whole, timedelta(days=6, hours=23))
    assert whole.remover().prune_due() == {}
    _left_ago(whole, timedelta(days=7))
    taken = whole.remover().prune_due()
    assert {name: (one.documents, one.points) for name, one in taken.items()} == {DOCS: (9, 10)}
    assert stored(whole) == {"other/page.md"}
    assert whole.remover().removed() == []
    assert len(SqliteHistory(whole.database).entries(0, 100, DOCS)) == 9
    assert not home.divergent()


def test_a_source_that_is_back_after_it_was_pruned_takes_its_vectors_from_the_cache(home: Home):
    without_docs(home)
    home.reindex()
    whole = home.whole
    whole.remover().prune(DOCS)
    home.configure(files("docs", "docs"))
    assert home.embedded_by() == 0
    assert len(home.documents()) == 9


@pytest.mark.parametrize("point", ["mid_forget", "before_forget_flush", "before_forgotten"])
def test_a_prune_that_breaks_off_loses_nothing_when_the_source_is_back(home: Home, point: str):
    with home.whole.database.write() as tx:  # as a while after their last change: equal fingerprints are believed
        tx.execute("UPDATE documents SET is_racy = 0")
    without_docs(home)
    home.reindex()
    whole = home.whole
    faults.arm(f"{point}:raise")
    with pytest.raises(OSError, match="fail point"):
        whole.remover().prune(DOCS)
    faults.arm("")
    (home.root / "docs/page0.md").unlink()
    home.configure(files("docs", "docs"))
    assert home.embedded_by() == 0
    assert len(home.documents()) == 8
    whole = home.whole
    assert not home.divergent()


def test_only_what_left_the_config_is_pruned(home: Home):
    whole = home.whole
    with pytest.raises(ConfigError, match="is in the config"):
        whole.remover().prune(DOCS)
    with pytest.raises(ConfigError, match="there is none"):
        whole.remover().prune(SourceName("nowhere"))


def test_held_deletions_of_a_source_that_left_block_nothing(home: Home):
    shutil.rmtree(home.root / "docs")
    (home.root / "docs").mkdir()
    assert home.reindex()[DOCS].held == 9
    without_docs(home)
    (tally,) = home.reindex().values()
    assert (tally.source, tally.held, tally.documents["added"]) == ("other", 0, 1)
    whole = home.whole
    assert whole.sources.state(SourceName("other")).watermark is not None
    assert whole.remover().prune(DOCS).documents == 9
    assert stored(whole) == {"other/page.md"}


def test_a_source_that_left_can_be_forgotten(home: Home):
    without_docs(home)
    home.reindex()
    done = forget(home, (DOCS, None))
    assert (done.taken.documents, done.taken.points) == (9, 10)
    assert home.points() == {"other/page.md"}
    assert files_with(home, SECRET) == []
    whole = home.whole
    assert whole.sources.names() == ["other"]


def _left_ago(whole: Whole, ago: timedelta) -> None:
    with whole.database.write() as tx:
        at = round((whole.clock.now() - ago).timestamp() * 1e6)
        tx.execute("UPDATE sources SET removed_at = ? WHERE removed_at IS NOT NULL", (at,))


# What may get in the way


def test_nothing_of_a_name_lingers_in_the_free_space_of_the_ledger(tmp_path: Path):
    """SQLite leaves copies of rows behind wherever it splits a page; names of many lengths make it do so."""
    database = Database(tmp_path / "ledger.db")
    ledger, forgetting, order = SqliteLedger(database), SqliteForgetting(database), random.Random(4)
    lengths = [order.choice("abcdefgh") * order.randrange(3, 60) for _ in range(2_000)]
    names = [DocumentId(f"folder{order.randrange(300):03}/{name}-{n:05}.md") for n, name in enumerate(lengths)]
    order.shuffle(names)
    for start in range(0, len(names), 100):
        index(ledger, names[start : start + 100], order)
    gone = names[::3]
    forgetting.forget(DOCS, gone)
    while docs := forgetting.being_forgotten(64, 1_000):
        forgetting.withdraw(docs)
        forgetting.drop(docs)
    assert forgetting.scrub()
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert [name for name in gone if name.encode() in raw] == []
    assert all(name.encode() in raw for name in set(names) - set(gone))
    database.close()


def index(ledger: SqliteLedger, names: Sequence[DocumentId], order: random.Random) -> None:
    """Have the ledger believe that some documents were applied, each as one chunk."""
    now, digest = datetime.now(UTC), Digest("ab" * 32)
    refs = [DocumentRef(name, f"{order.random()}", now, f"{order.random()}") for name in names]
    ledger.record(
        [Change(DOCS, ref.document_id, ChangeKind.ADDED, ref, now, now) for ref in refs], timedelta(minutes=1)
    )
    ledger.commit([
        Applied(
            pending=pending,
            outcome=Outcome(pending.change, OutcomeKind.INDEXED),
            ref=pending.change.ref,
            digest=digest,
            recipe=digest,
            label=digest,
            chunks=(HeldChunk(ChunkId(str(UUID(int=order.getrandbits(128)))), digest),),
            durable_at=now,
        )
        for pending in ledger.take(now + timedelta(days=1), len(names))
    ])  # fmt: skip


def test_what_is_forgotten_while_the_store_is_down_is_out_of_search_and_goes_once_it_answers(home: Home):
    def down(_: object) -> None:
        raise StoreUnavailable("no answer", hint="wait")

    whole = home.whole
    with pytest.raises(StoreUnavailable, match="out of search, and leaves the store once that answers"):
        whole.remover(down).forget([(DOCS, SECRET)])
    assert f"docs/{SECRET}" not in shown(whole)
    assert [known.document_id for known in whole.ledger.known(DOCS) if known.document_id == SECRET] == []
    whole.open_store()
    assert traces(whole) == {}


def test_what_was_left_to_be_forgotten_is_taken_out_in_pieces_between_which_edits_go(home: Home):
    """Much of it, such as a source: a store that was away is back, or a killed daemon starts."""
    for n in range(200):
        home.write(f"docs/many/{n}.md")
    home.reindex()
    forgetting = SqliteForgetting(home.whole.database)
    forgetting.forget_source(DOCS)
    whole, pieces = home.whole, list[int]()

    def between_batches(work: Callable[[], T]) -> T:
        before = len(forgetting.being_forgotten(1_000, 10_000))
        done = work()
        pieces.append(before - len(forgetting.being_forgotten(1_000, 10_000)))
        return done

    whole.open_store(finishes=False)
    whole.remover(between_batches).scrub()
    assert sum(pieces) == 209
    assert max(pieces) <= 64
    assert home.points() == set()
    assert not forgetting.must_scrub


def test_what_is_forgotten_leaves_a_cache_that_another_program_holds_once_that_lets_go_of_it(home: Home):
    """A backup program may hold it for longer than anybody waits; until then it is owed like what the store holds."""
    whole = home.whole
    vector = next(home.embedder.embed_query(text) for text in home.embedder.passages if STREET in text)
    SqliteForgetting(whole.database).forget(DOCS, [SECRET])
    whole.removal._cache._database.execute("PRAGMA busy_timeout = 10")  # type: ignore[attr-defined]
    with closing(sqlite3.connect(home.state / "vectors.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        whole.open_store()  # which is no reason not to index
        assert f"docs/{SECRET}" not in shown(whole)
        assert f"docs/{SECRET}" in stored(whole)
    whole.open_store()
    assert traces(whole) == {}
    home.close()
    assert "vectors.db" not in files_with(home, vector)


def test_a_document_leaves_the_former_generation_too(home: Home):
    """What is kept for a way back is no place to hide."""
    home.configure(files("docs", "docs") + 'media_types = { "*.md" = "text/plain" }\n')
    home.reindex()
    whole = home.whole
    both = [store for store in whole.generations.stores() if store is not None]
    assert [SECRET in str(store.scroll(None, 1_000)) for store in both] == [True, True]
    forget(home, (DOCS, SECRET))
    assert [SECRET in str(store.scroll(None, 1_000)) for store in whole.generations.stores()] == [False, False]
    for table in ("documents", "documents_beside", "chunks_beside"):
        n_documents = whole.database.read(f"SELECT count(DISTINCT doc) AS n FROM {table}")[0]["n"]
        assert n_documents == 8, table
    assert whole.database.read("SELECT 1 FROM unknown_beside") == []
    assert files_with(home, SECRET) == []


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    keeper = Keeper(tmp_path)
    yield keeper
    keeper.close()


def test_what_is_forgotten_while_it_is_looked_at_is_not_recorded(keeper: Keeper):
    keeper.grow("a.md", "b.md", "c.md")
    connector, forgetting = keeper.connect_files(), SqliteForgetting(keeper.database)
    keeper.connect(DOCS, MovesUnderTheWalk(connector, "b.md", lambda: forgetting.forget(DOCS, [DocumentId("c.md")])))
    keeper.look()
    assert keeper.indexed() == ["a.md", "b.md"]
    assert keeper.ledger.pending_of(DOCS, DocumentId("c.md")) is None


def test_an_entry_of_a_feed_stays_out_and_is_back_although_the_feed_says_that_nothing_changed(keeper: Keeper):
    one, forgetting, store = DocumentId("one"), SqliteForgetting(keeper.database), keeper.store
    removal = Removal(forgetting=forgetting, stores=lambda: [store], expunge=store.expunge, cache=keeper.cache)
    keeper.store.retrieve = lambda ids: [  # type: ignore[method-assign]
        StoredPoint(i, keeper.store.points[i].payload) for i in ids if i in keeper.store.points
    ]
    with serving() as server:
        server.on("/feed", Reply(200, rss("one", "two"), RSS))
        keeper.connect_feed(server)
        keeper.look(NEWS)
        forgetting.forget(NEWS, [one])
        removal.finish()
        assert keeper.embedded_by(NEWS) == 0
        server.on("/feed", Reply(200, rss("one", "two", "three"), RSS))
        keeper.look(NEWS)
        assert keeper.indexed(NEWS) == ["three", "two"]
        assert forgetting.undo(NEWS, one)
        keeper.look(NEWS)
        assert keeper.indexed(NEWS) == ["one", "three", "two"]


def test_a_daemon_prunes_by_itself_what_left_long_enough_ago(home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("freshd.daemon.removing._EVERY_S", 0.01)
    without_docs(home)
    home.reindex()
    _left_ago(home.whole, timedelta(days=8))
    removing = Removing(home.whole, Alone())  # type: ignore[arg-type]
    removing.start()
    eventually(lambda: home.whole.remover().removed() == [])
    removing.stop()
    assert home.points() == {"other/page.md"}
