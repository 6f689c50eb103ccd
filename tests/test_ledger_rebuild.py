"""A ledger made anew from what the store says of itself: it says no more than is so, and costs no embedding."""

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from qdrant_client import models

from freshd import faults
from freshd.cli import app
from freshd.compose import rebuilding
from freshd.compose.rebuilding import present_ledger, rebuild_ledger
from freshd.config import Secrets, load
from freshd.errors import CollectionMismatch, ConfigError, FreshdError, StateInUse, StateUnusable
from freshd.ledger.database import Database
from freshd.ledger.forgetting import SqliteForgetting, tombstone
from freshd.ledger.generations import SqliteGenerations
from freshd.ledger.history import SqliteHistory
from freshd.ledger.troubles import LedgerLocked
from freshd.model import ChunkId, DocumentId, Point, Relabel, SourceName
from freshd.state import StateDirectory
from tests.kit import forked
from tests.kit.embedder import HashEmbedder
from tests.kit.home import Home, files, stored
from tests.kit.models import NamedModel
from tests.kit.world import copy_sparse
from tests.qdrant_standin import Standin, serving

DOCS = SourceName("docs")
N_DOCUMENTS = 10
NOBODYS = ChunkId("00000000-0000-0000-0000-000000000000")
MODEL = "alpha-32"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index and its ledger, closed; of several chunks a document, doublets and an empty one among them."""
    home = Home(tmp_path_factory.mktemp("made"), files("docs", "docs"))
    for n in range(N_DOCUMENTS):
        home.write(f"docs/{n:02}.md", "".join(f"# Part {m}\n\nText {m} of {n}.\n\n" for m in range(n % 4 + 1)))
    home.write("docs/twice.md", "# Same\n\nSaid twice.\n\n# Other\n\nBetween.\n\n# Same\n\nSaid twice.\n")
    home.write("docs/empty.md", "\n")
    home.reindex()
    home.close()
    return home.root


def copied(original: str, into: str) -> None:
    copy_sparse(original, into)
    shutil.copystat(original, into)


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Iterator[Home]:
    shutil.copytree(made, tmp_path / "home", copy_function=copied)
    home = Home(tmp_path / "home", files("docs", "docs"))
    yield home
    faults.arm("")
    home.close()


def rebuild(home: Home, embedder: HashEmbedder | None = None, **options: Any) -> Mapping[str, Any]:
    home.close()
    options = {"confirm": lambda _: None} | options
    with mock.patch.object(rebuilding, "open_embedder", return_value=embedder or home.embedder):
        return rebuild_ledger(load(home.root / "freshd.toml"), Secrets(), **options)


def lose_ledger(home: Home) -> None:
    home.close()
    for path in home.state.glob("ledger.db*"):
        path.unlink()


def said(ledger: Path) -> dict[str, Any]:
    """What a ledger says of the documents in the index, but for where they are at their source."""
    with closing(sqlite3.connect(ledger)) as database:
        rows = database.execute(
            "SELECT source, document_id, is_applied, digest, documents.label, ordinal, hex(chunk_id), hex(chunks.label)"
            " FROM documents JOIN chunks USING (doc) ORDER BY 1, 2, 6"
        ).fetchall()
        totals = database.execute("SELECT name, documents, chunks FROM sources").fetchall()
        (instance,) = database.execute("SELECT value FROM meta WHERE key = 'instance'").fetchone()
    return {"rows": rows, "totals": totals, "instance": instance}


def texts(home: Home) -> dict[str, str]:
    return {point.chunk_id: point.payload["page_content"] for point in home.whole.store.scroll(None, 500)}


def points(home: Home, document_id: str) -> list[Point]:
    found = home.whole.store.scroll(None, 500, with_vectors=True)
    own = [point for point in found if point.payload["freshd"]["document_id"] == document_id]
    own.sort(key=lambda point: point.payload["freshd"]["ordinal"])
    return [Point(point.chunk_id, point.dense, point.sparse, point.payload) for point in own]


def unknown(ledger: Path) -> list[tuple[str, int]]:
    sql = "SELECT document_id, count(*) FROM unknown JOIN documents USING (doc) GROUP BY 1 ORDER BY 1"
    with closing(sqlite3.connect(ledger)) as database:
        return database.execute(sql).fetchall()


def test_the_ledger_that_is_made_says_what_the_lost_one_said(home: Home):
    """But for documents without text, of which the store knows nothing."""
    _ = home.whole
    home.close()
    before = said(home.state / "ledger.db")
    lose_ledger(home)
    report = rebuild(home)
    after = said(home.state / "ledger.db")
    assert after["rows"] == before["rows"]
    assert after["instance"] == before["instance"] == report["instance"]
    assert after["totals"] == [("docs", N_DOCUMENTS + 1, len(before["rows"]))]
    assert report | {"elapsed_seconds": 0} == {
        "instance": before["instance"],
        "generation": report["generation"],
        "points": len(before["rows"]),
        "documents": N_DOCUMENTS + 1,
        "in_doubt": 0,
        "forgotten": 0,
        "foreign": 0,
        "former": None,
        "elapsed_seconds": 0,
    }


def test_nothing_is_embedded_afterwards_and_nothing_differs(home: Home):
    before = texts(home)
    lose_ledger(home)
    rebuild(home)
    assert home.embedded_by() == 0
    assert texts(home) == before
    assert home.divergent() == 0
    assert set(home.reindex()["docs"].became.values()) <= {"touched"}  # files so new that they are read once more
    assert {path.name for path in (home.state / "index").glob("*/")} == {home.whole.generations.current.record.name}


def test_who_follows_the_changes_hears_of_a_gap_and_of_no_number_twice(home: Home):
    newest = SqliteHistory(home.whole.database).last_seq()
    rebuild(home)
    for n in range(newest + 1):
        home.write(f"docs/later/{n:02}.md")
    home.reindex()
    history = SqliteHistory(home.whole.database)
    assert not history.is_gapless(newest)
    assert len(history.entries(newest)) > newest, "it counted as far as the former one"
    assert history.is_gapless(history.entries(newest, 1)[0].seq)


def test_search_answers_before_any_source_was_listed_and_no_source_counts_as_fresh(home: Home):
    lose_ledger(home)
    rebuild(home)
    assert home.whole.search.search("Text 0 of 3.").hits
    state = home.whole.sources.state(DOCS)
    assert (state.watermark, state.last_complete_scan_at, state.documents) == (None, None, N_DOCUMENTS + 1)


@pytest.mark.parametrize("is_log_left", [False, True], ids=["alone", "with a log"])
def test_the_damaged_file_is_kept(home: Home, is_log_left: bool):
    home.close()
    damaged = b"no ledger any more" * 1000
    (home.state / "ledger.db").write_bytes(damaged)
    if is_log_left:
        (home.state / "ledger.db-wal").write_bytes(b"nor a log")
    report = rebuild(home)
    kept = Path(report["former"])
    assert kept.name.startswith("ledger.db.damaged-")
    assert kept.read_bytes() == damaged
    assert kept.with_name(f"{kept.name}-wal").exists() == is_log_left
    assert home.embedded_by() == 0
    assert home.divergent() == 0


def test_what_the_store_lost_of_a_document_is_put_back(home: Home):
    """Chunks in the middle: the document is in doubt. The last one: nothing tells, until its source is looked at."""
    expected = texts(home)
    middle, last = points(home, "03.md")[1], points(home, "02.md")[-1]
    home.whole.store.remove([middle.chunk_id, last.chunk_id])
    lose_ledger(home)
    report = rebuild(home)
    assert (report["documents"], report["in_doubt"]) == (N_DOCUMENTS, 1)
    assert unknown(home.state / "ledger.db") == [("03.md", 3)]
    assert home.embedded_by() == 0
    assert texts(home) == expected
    assert home.divergent() == 0


def damage_text(point: Point) -> dict[str, Any]:
    return {**point.payload, "page_content": "something else"}


def damage_digest(point: Point) -> dict[str, Any]:
    return {**point.payload, "freshd": {**point.payload["freshd"], "digest": "0" * 64}}


def damage_order(point: Point) -> dict[str, Any]:
    return {**point.payload, "freshd": {**point.payload["freshd"], "ordinal": 7}}


def damage_content(point: Point) -> dict[str, Any]:
    return {**point.payload, "content_sha256": "1" * 64}


def damage_title(point: Point) -> dict[str, Any]:
    return {**point.payload, "metadata": {**point.payload["metadata"], "title": "Another"}}


@pytest.mark.parametrize(
    "damage", [damage_text, damage_digest, damage_order, damage_content, damage_title], ids=lambda d: d.__name__
)
def test_a_document_whose_chunks_disagree_or_prove_nothing_is_in_doubt_and_written_anew(home: Home, damage: Any):
    expected = {point.chunk_id: dict(point.payload) for point in home.whole.store.scroll(None, 500)}
    victim = points(home, "03.md")[1]
    home.whole.store.upsert([Point(victim.chunk_id, victim.dense, victim.sparse, damage(victim))])
    lose_ledger(home)
    assert rebuild(home)["in_doubt"] == 1
    assert home.embedded_by() == 0
    after = {point.chunk_id: dict(point.payload) for point in home.whole.store.scroll(None, 500)}
    for payload in (*expected.values(), *after.values()):
        del payload["metadata"]["indexed_at"], payload["metadata"]["uri"]  # this is a copy of the documents
    assert after == expected


def test_what_a_broken_attempt_left_is_removed(home: Home):
    """Chunks of two revisions beside one another."""
    first = points(home, "03.md")[0]
    former = {**first.payload, "content_sha256": "2" * 64}
    home.whole.store.upsert([Point(NOBODYS, first.dense, first.sparse, former)])
    lose_ledger(home)
    assert rebuild(home)["in_doubt"] == 1
    assert home.embedded_by() == 0
    assert NOBODYS not in texts(home)
    assert home.divergent() == 0


def test_a_text_under_another_id_than_it_proves_is_in_doubt(home: Home):
    """Its payload is right in every field; but nothing would ever look for it there."""
    middle = points(home, "03.md")[1]
    home.whole.store.remove([middle.chunk_id])
    home.whole.store.upsert([Point(NOBODYS, middle.dense, middle.sparse, middle.payload)])
    lose_ledger(home)
    assert rebuild(home)["in_doubt"] == 1
    assert home.embedded_by() == 0
    assert NOBODYS not in texts(home)
    assert middle.chunk_id in texts(home)


def test_points_that_are_nobodys_are_told_and_left_alone(home: Home):
    first = points(home, "03.md")[0]
    home.whole.store.upsert([Point(NOBODYS, first.dense, first.sparse, {"text": "somebody else's"})])
    lose_ledger(home)
    report = rebuild(home)
    assert (report["foreign"], report["documents"]) == (1, N_DOCUMENTS + 1)
    home.reindex()
    assert [point.payload for point in home.whole.store.retrieve([NOBODYS])] == [{"text": "somebody else's"}]


def test_what_was_deleted_meanwhile_goes_and_much_of_it_is_held(home: Home):
    lose_ledger(home)
    (home.root / "docs/00.md").unlink()
    rebuild(home)
    home.reindex()
    assert "docs/00.md" not in stored(home.whole)
    lose_ledger(home)
    for path in (home.root / "docs").iterdir():
        path.unlink()
    rebuild(home)
    home.reindex()
    assert len(home.documents()) == N_DOCUMENTS
    assert len(home.whole.ledger.held(DOCS)) == N_DOCUMENTS


def test_a_source_that_left_the_config_is_known_again(home: Home):
    lose_ledger(home)
    home.configure(files("others", "others"))
    home.write("others/one.md")
    rebuild(home)
    assert home.embedded_by() == 1
    assert home.documents() == {"others/one.md"}
    home.configure(files("docs", "docs"))
    assert home.embedded_by() == 0
    assert "docs/03.md" in home.documents()


def test_what_was_forgotten_stays_out_as_far_as_the_damaged_ledger_can_still_be_read(home: Home):
    """Its points would be there again otherwise, in a store that was restored or did not get as far."""
    SqliteForgetting(home.whole.database).forget(DOCS, [DocumentId("03.md")])
    home.close()
    report = rebuild(home)
    assert (report["documents"], report["forgotten"]) == (N_DOCUMENTS, 1)
    assert any(b"docs/03.md" in path.read_bytes() for path in (home.state / "index").rglob("page_*.dat"))
    home.reindex()
    assert "docs/03.md" not in home.documents()
    assert not any(b"docs/03.md" in path.read_bytes() for path in (home.state / "index").rglob("*") if path.is_file())
    with closing(sqlite3.connect(home.state / "ledger.db")) as database:
        assert database.execute("SELECT count(*) FROM forgotten").fetchone() == (1,)


def test_what_was_forgotten_is_taken_over_in_one_go_however_much_it_is(home: Home, monkeypatch: pytest.MonkeyPatch):
    """A source of a million documents was forgotten: a sync of the disk for each would take an hour."""
    connect, begun = sqlite3.connect, list[str]()

    def traced(*arguments: Any, **how: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **how)
        connection.set_trace_callback(lambda said: begun.append(said) if said.startswith("BEGIN") else None)
        return connection

    def transactions(n: int) -> int:
        SqliteForgetting(home.whole.database).forget(DOCS, [DocumentId(f"gone/{m}") for m in range(n)])
        home.close()
        begun.clear()
        with monkeypatch.context() as patched:
            patched.setattr("freshd.ledger.database.sqlite3.connect", traced)
            rebuild(home)
        return len(begun)

    few, many = transactions(10), transactions(100)
    assert 0 < many <= few
    with closing(sqlite3.connect(home.state / "ledger.db")) as database:
        assert database.execute("SELECT count(*) FROM forgotten").fetchone() == (100,)


def test_a_rebuild_that_has_no_room_for_what_was_forgotten_leaves_the_former_ledger(home: Home):
    """Some of it would be let in again, although room was made meanwhile."""
    SqliteForgetting(home.whole.database).forget(DOCS, [DocumentId(f"gone/{n}") for n in range(2000)])
    home.close()
    connect, connections = sqlite3.connect, list[sqlite3.Connection]()

    def cramped(path: str | Path, **how: Any) -> sqlite3.Connection:
        connection = connect(path, **how)
        if Path(path).name == "ledger.db.new":
            connection.execute("PRAGMA max_page_count = 48")
            connections.append(connection)
        return connection

    def make_room(*_: int) -> None:
        for connection in connections:
            connection.execute("PRAGMA max_page_count = 10000")

    with mock.patch("freshd.ledger.database.sqlite3.connect", cramped), pytest.raises(StateUnusable, match="full"):
        rebuild(home, on_progress=make_room)
    assert SqliteForgetting(home.whole.database).is_forgotten(DOCS, DocumentId("gone/1999"))


def test_what_was_forgotten_stays_out_where_a_rebuild_was_killed_that_had_set_its_ledger_aside(home: Home):
    SqliteForgetting(home.whole.database).forget(DOCS, [DocumentId("03.md")])
    faults.arm("mid_rebuild_swap:raise")
    with pytest.raises(StateUnusable, match="cannot be written"):
        rebuild(home)
    faults.arm("")
    assert not (home.state / "ledger.db").exists()
    report = rebuild(home)
    assert (report["documents"], report["forgotten"]) == (N_DOCUMENTS, 1)
    home.reindex()
    assert "docs/03.md" not in home.documents()
    assert not list(home.state.glob("*.new*"))


def on_server(standin: Standin, tmp_path: Path) -> Home:
    """Index three documents into its collection."""
    home = Home(tmp_path / "home", f'[store]\nurl = "{standin.url}"\n' + files("docs", "docs"))
    for n in range(3):
        home.write(f"docs/{n}.md")
    home.reindex()
    return home


def test_on_a_server_no_ledger_is_begun_where_a_rebuild_was_killed_that_had_set_its_own_aside(tmp_path: Path):
    """It would be another instance's, and know of nothing that was forgotten."""
    with serving() as standin:
        home = on_server(standin, tmp_path)
        SqliteForgetting(home.whole.database).forget(DOCS, [DocumentId("1.md")])
        faults.arm("mid_rebuild_swap:raise")
        with pytest.raises(StateUnusable, match="cannot be written"):
            rebuild(home)
        faults.arm("")
        with pytest.raises(StateUnusable) as refused:
            home.restart()
        assert "freshd ledger rebuild" in refused.value.hint
        home.close()
        assert rebuild(home)["forgotten"] == 1
        home.reindex()
        assert home.documents() == {"docs/0.md", "docs/2.md"}
        home.close()


def test_the_log_of_a_ledger_that_was_set_aside_is_not_taken_for_that_of_the_new_one(home: Home):
    """Killed between the two: SQLite asks a log only whether it is whole, not whose it is."""
    SqliteForgetting(home.whole.database).forget(DOCS, [DocumentId("03.md")])
    home.close()
    ledger, log = home.state / "ledger.db", home.state / "ledger.db-wal"
    with closing(sqlite3.connect(ledger, isolation_level=None)) as held:
        held.execute("PRAGMA wal_autocheckpoint = 0")
        held.execute("DELETE FROM forgotten")
        held.execute("UPDATE meta SET value = 'another' WHERE key = 'instance'")
        kept = log.read_bytes()
        held.execute("INSERT INTO forgotten VALUES (?)", (tombstone(DOCS, DocumentId("03.md")),))
    faults.arm("mid_rebuild_swap:raise")
    with pytest.raises(StateUnusable, match="cannot be written"):
        rebuild(home)
    faults.arm("")
    log.write_bytes(kept)
    assert rebuild(home)["forgotten"] == 1


def test_a_rebuild_that_a_server_breaks_off_twice_leaves_no_ledger_that_knows_nothing(tmp_path: Path):
    """It would be taken for the one that made the collection, and whatever was deleted since would be nobody's."""
    with serving() as standin:
        home = Home(tmp_path / "home", f'[store]\nurl = "{standin.url}"\n' + files("docs", "docs"))
        home.write("docs/1.md")
        home.reindex()
        home.close()
        shutil.rmtree(home.state)
        for _ in range(2):
            faults.arm("mid_rebuild:raise")
            with pytest.raises(StateUnusable, match="cannot be written"):
                rebuild(home)
            faults.arm("")
            assert not (home.state / "ledger.db").exists()
        assert rebuild(home)["documents"] == 1
        assert home.documents() == {"docs/1.md"}
        home.close()


# Which index, and whose vectors


def test_vectors_of_another_model_are_not_taken_for_the_configs(home: Home):
    """A lost ledger cannot tell which model made them, and two spaces must never mix."""
    lose_ledger(home)
    with pytest.raises(CollectionMismatch, match="of the model that the config names") as refused:
        rebuild(home, NamedModel(MODEL))
    assert "[embedding] model" in refused.value.hint
    assert not (home.state / "ledger.db").exists()


def test_points_of_somebody_else_that_come_first_do_not_hide_whose_model_it_was(tmp_path: Path):
    """On a server numbers come before all ids of freshd's, and nothing of theirs tells the model."""
    with serving() as standin:
        home = on_server(standin, tmp_path)
        lose_ledger(home)
        vector = {"": [1.0] * home.embedder.dimension}
        theirs = [models.PointStruct(id=n, vector=vector, payload={"text": "theirs"}) for n in range(64)]
        standin.client.upsert(_collection(standin), theirs)
        with pytest.raises(CollectionMismatch, match="of the model that the config names"):
            rebuild(home, NamedModel(MODEL))
        assert not (home.state / "ledger.db").exists()
        home.close()


def test_a_copy_of_a_point_under_a_number_is_somebody_elses(tmp_path: Path):
    """As whoever reads all points of a server and writes them anew may leave it; no id of freshd's is a number."""
    with serving() as standin:
        home = on_server(standin, tmp_path)
        lose_ledger(home)
        copied = [
            models.PointStruct(id=n, vector={"": [1.0] * home.embedder.dimension}, payload=one.payload)
            for n, one in enumerate(standin.client.scroll(_collection(standin))[0])
        ]
        standin.client.upsert(_collection(standin), copied)
        report = rebuild(home)
        assert (report["documents"], report["foreign"]) == (3, 3)
        home.close()


def test_a_ledger_that_still_says_which_model_it_was_is_believed(home: Home):
    _ = home.whole
    live = home.whole.generations.current.record
    home.close()
    rebuild(home, NamedModel(MODEL))
    with closing(Database(home.state / "ledger.db")) as database:
        assert SqliteGenerations(database).live == live


def test_without_a_cache_a_few_texts_are_embedded_to_tell_the_model(home: Home):
    lose_ledger(home)
    (home.state / "vectors.db").unlink()
    rebuild(home)
    assert 0 < len(home.embedder.passages) <= 16


def test_of_several_generations_somebody_has_to_name_one(home: Home):
    live = home.whole.generations.current.record.name
    lose_ledger(home)
    shutil.copytree(home.state / "index" / live, home.state / "index" / "knowledge-0", copy_function=copy_sparse)
    with pytest.raises(ConfigError, match="2 generations") as refused:
        rebuild(home)
    assert "--generation NAME" in refused.value.hint
    with pytest.raises(ConfigError, match="no generation 'other'"):
        rebuild(home, generation="other")
    assert rebuild(home, generation=live)["generation"] == live
    assert home.embedded_by() == 0
    assert (home.state / "index" / "knowledge-0").is_dir()


def test_a_generation_that_the_former_ledger_only_kept_is_taken_and_stays(home: Home):
    live = home.whole.generations.current.record
    home.close()
    with closing(Database(home.state / "ledger.db")) as ledger:
        records = SqliteGenerations(ledger)
        records.begin(live)
        records.adopt(replace(live, name="knowledge-0"))
        records.doom("knowledge-1")
    assert rebuild(home, generation=live.name)["generation"] == live.name
    with closing(Database(home.state / "ledger.db")) as ledger:
        records = SqliteGenerations(ledger)
        assert (records.live.name, records.doomed) == (live.name, ["knowledge-1"])
    assert home.embedded_by() == 0
    assert home.divergent() == 0


def test_of_a_generation_that_is_gone_nothing_is_expected_of_the_one_that_is_there(home: Home):
    """Neither its name nor the length of its vectors."""
    live = home.whole.generations.current.record
    home.close()
    with closing(Database(home.state / "ledger.db")) as ledger:
        SqliteGenerations(ledger).adopt(replace(live, name="knowledge-0", dimension=live.dimension + 1))
    assert rebuild(home)["generation"] == live.name
    assert home.embedded_by() == 0


def test_without_an_index_there_is_nothing_to_make_one_from(home: Home):
    lose_ledger(home)
    shutil.rmtree(home.state / "index")
    with pytest.raises(StateUnusable, match="got no index"):
        rebuild(home)


def test_a_servers_collection_is_taken_over_with_its_instance(tmp_path: Path):
    with serving() as standin:
        home = on_server(standin, tmp_path)
        instance, collection = home.whole.ledger.instance, _collection(standin)
        lose_ledger(home)
        report = rebuild(home)
        assert (report["instance"], report["generation"], report["documents"]) == (instance, collection, 3)
        assert home.embedded_by() == 0
        assert home.whole.ledger.instance == instance
        assert home.divergent() == 0
        assert _collection(standin) == collection
        home.close()


def test_on_a_server_nobody_names_a_generation(tmp_path: Path):
    """Its alias does; another name that is given is not passed over."""
    with serving() as standin:
        home = Home(tmp_path / "home", f'[store]\nurl = "{standin.url}"\n' + files("docs", "docs"))
        home.reindex()
        home.close()
        n_requests = len(standin.requests)
        with pytest.raises(ConfigError, match="--generation: got 'other', expected none") as refused:
            rebuild(home, generation="other")
        assert "freshd ledger rebuild" in refused.value.hint
        assert len(standin.requests) == n_requests
        home.close()


def _collection(standin: Standin) -> str:
    (one,) = standin.client.get_collections().collections
    return str(one.name)


# What comes in the way


def test_a_ledger_that_somebody_works_with_is_not_replaced(home: Home):
    home.close()
    with StateDirectory(home.state).lock(), pytest.raises(StateInUse, match=f"process {os.getpid()}") as refused:
        rebuild(home)
    assert refused.value.exit_code == 11


def test_a_ledger_that_another_program_keeps_is_not_taken_for_a_damaged_one(home: Home):
    """What was forgotten could not be read of it, and would be there again."""
    home.close()
    with closing(sqlite3.connect(home.state / "ledger.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerLocked, match="nobody but freshd works with it"):
            rebuild(home)
    assert not list(home.state.glob("*damaged*"))
    assert home.embedded_by() == 0


def test_a_whole_ledger_is_replaced_only_when_somebody_says_so(home: Home, monkeypatch: pytest.MonkeyPatch):
    home.close()
    assert present_ledger(StateDirectory(home.state)) is None
    before = (home.state / "ledger.db").read_bytes()
    monkeypatch.chdir(home.root)
    with pytest.raises(ConfigError, match="the present ledger is whole") as refused:
        app(["ledger", "rebuild"], standalone_mode=False)
    assert "--yes" in refused.value.hint
    assert (home.state / "ledger.db").read_bytes() == before
    assert not list(home.state.glob("*damaged*"))


def test_the_command_says_what_it_made_and_what_is_gone(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    home.close()
    monkeypatch.chdir(home.root)
    with mock.patch.object(rebuilding, "open_embedder", return_value=home.embedder):
        app(["ledger", "rebuild", "--yes", "--json"], standalone_mode=False)
        assert json.loads(capsys.readouterr().out)["documents"] == N_DOCUMENTS + 1
        app(["ledger", "rebuild", "--yes"], standalone_mode=False)
    told = capsys.readouterr()
    assert f"{N_DOCUMENTS + 1} documents from" in told.out
    assert "history and watermarks begin anew" in told.err
    assert "ledger.db.damaged-" in told.err


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("mid_rebuild", marks=pytest.mark.slow),
        pytest.param("before_rebuild_swap", marks=pytest.mark.slow),
        "mid_rebuild_swap",
    ],
)
def test_a_rebuild_that_is_killed_loses_nothing_and_can_be_done_again(home: Home, moment: str):
    home.configure(f'[embedding]\nmodel = "{MODEL}"\n' + files("docs", "docs"))
    home.embedder = NamedModel(MODEL)
    shutil.rmtree(home.state)
    home.reindex()
    home.close()
    damaged = b"no ledger any more" * 1000
    (home.state / "ledger.db").write_bytes(damaged)
    armed = {"FRESHD_FAULTS": f"{moment}:kill"}
    killed = forked.run("ledger", "rebuild", folder=home.root, module="tests.kit.models", environment=armed)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    kept = [path.read_bytes() for path in home.state.glob("ledger.db*") if path.suffix != ".new"]
    assert damaged in kept
    with pytest.raises(FreshdError) as refused:
        _ = home.whole
    assert (refused.value.exit_code, "freshd ledger rebuild" in refused.value.hint) == (12, True)
    assert rebuild(home)["documents"] == N_DOCUMENTS + 1
    assert home.embedded_by() == 0
    assert home.divergent() == 0
    assert not list(home.state.glob("*.new*"))


def test_a_store_that_does_not_answer_changes_nothing(home: Home):
    """Here: one that another process has open."""
    live = home.whole.generations.current.record.name
    home.close()
    (home.state / "ledger.db").write_bytes(b"no ledger any more" * 1000)
    before = (home.state / "ledger.db").read_bytes()
    identity = home.state / "index" / live / "shard" / "identity.json"
    identity.write_text(identity.read_text().replace('"instance": "', '"instance": "other-'))
    with pytest.raises(CollectionMismatch):
        rebuild(home)
    assert (home.state / "ledger.db").read_bytes() == before


def test_a_relabelled_chunk_is_no_damage(home: Home):
    """Lines that moved were set on points that stood; payload and label still agree."""
    home.write("docs/03.md", "\n\n\n" + (home.root / "docs/03.md").read_text())
    home.reindex()
    moved = points(home, "03.md")[0]
    assert moved.payload["metadata"]["start_line"] > 3
    lose_ledger(home)
    assert rebuild(home)["in_doubt"] == 0
    home.whole.store.relabel([Relabel((moved.chunk_id,), {"start_line": 99}, key="metadata")])
    assert home.divergent() == 1
