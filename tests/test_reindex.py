"""The main job end to end: real files, real SQLite, real Qdrant Edge, the real model."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from connectors.files import FilesConnector
from freshd import compose, faults
from freshd.compose import Whole, open_whole
from freshd.config import Secrets, load
from freshd.embedder import open_embedder
from freshd.embedder.bundled import open_bundled
from freshd.model import Document, DocumentRef, SourceName
from freshd.scheduler import Tally
from freshd.verify import Verified
from tests.kit import forked
from tests.kit.failpoints import STEPS

CONFIG = """
[[sources]]
name = "handbook"
type = "files"
path = "docs"
freshness_target = "1m"
"""

HANDBOOK = {
    "leave.md": "# Leave\n\nEverybody has 28 days of leave a year.\n\n## Parents\n\nParents have sixteen more weeks.\n",
    "travel.md": "# Travel\n\nTrains are booked by the office.\n\nFlights need the consent of the team lead.\n",
    "security/keys.rst": "Keys\n====\n\nA lost key is reported to the porter within one hour.\n",
}


class World:
    """A folder with a config, some documents, and freshd run over it as often as wanted."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "freshd.toml").write_text(CONFIG)
        for name, text in HANDBOOK.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        path = self.root / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def with_whole(self, use: Callable[[Whole], object]) -> object:
        with open_whole(load(self.root / "freshd.toml"), Secrets()) as whole:
            return use(whole)

    def reindex(self) -> Tally:
        tally = self.with_whole(lambda whole: whole.reindexer().run()[0])
        assert isinstance(tally, Tally)
        return tally

    def hits(self, query: str) -> list[tuple[str, str, float]]:
        def ask(whole: Whole) -> list[tuple[str, str, float]]:
            answer = whole.search.search(query, 10)
            return [(hit.citation.document_id, hit.citation.text, round(hit.score, 6)) for hit in answer.hits]

        found = self.with_whole(ask)
        assert isinstance(found, list)
        return found

    def points(self) -> dict[str, object]:
        """Every point with its payload but for times."""

        def dump(whole: Whole) -> dict[str, object]:
            points: dict[str, object] = {}
            while page := whole.store.scroll(max(points, default=None), 100):
                points |= {point.chunk_id: without_times(point.payload) for point in page}
            return points

        dumped = self.with_whole(dump)
        assert isinstance(dumped, dict)
        return dumped


def without_times(value: object) -> object:
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if not k.endswith("_at") and k != "last_modified"}
    return value


@pytest.fixture(scope="module", autouse=True)
def _model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The real one, loaded once for all that is done in this process."""
    kept = open_embedder("bundled", tmp_path_factory.mktemp("models"), Path())
    with mock.patch.object(compose, "open_embedder", return_value=kept):
        yield


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "one").mkdir()
    yield World(tmp_path / "one")
    faults.arm("")


def test_a_changed_sentence_is_found_and_the_old_one_is_not(world: World):
    world.reindex()
    world.write("leave.md", HANDBOOK["leave.md"].replace("28 days", "31 days"))
    tally = world.reindex()
    texts = [text for _, text, _ in world.hits("how many days of leave?")]
    assert any("31 days" in text for text in texts)
    assert not any("28 days" in text for text in texts)
    assert (tally.documents["modified"], tally.fates.embedded, tally.fates.kept) == (1, 1, 1)


def test_a_hit_cites_its_lines_and_carries_the_watermark_of_its_source(world: World):
    world.reindex()
    answer = world.with_whole(lambda whole: whole.search.search("lost key"))
    best = answer.hits[0]
    assert (best.citation.document_id, best.citation.start_line, best.citation.end_line) == ("security/keys.rst", 4, 4)
    assert best.citation.heading_path == ("Keys",)
    assert best.watermark is not None
    assert best.watermark == answer.watermark


def test_nothing_is_embedded_or_written_when_nothing_changed(world: World):
    world.reindex()
    before = world.points()
    tally = world.reindex()
    assert (tally.fates.embedded, tally.fates.reused, tally.fates.removed) == (0, 0, 0)
    assert world.points() == before


@pytest.mark.parametrize("act", ["touch", "rename", "copy", "undo"], ids=lambda act: f"{act}")
def test_text_that_was_embedded_once_is_never_embedded_again(world: World, act: str):
    world.reindex()
    docs = world.root / "docs"
    if act == "touch":
        os.utime(docs / "leave.md")
    elif act == "rename":
        (docs / "leave.md").rename(docs / "holidays.md")
    elif act == "copy":
        world.write("copy.md", HANDBOOK["leave.md"])
    else:
        world.write("leave.md", "# Leave\n\nNone.\n")
        world.reindex()
        world.write("leave.md", HANDBOOK["leave.md"])
    assert world.reindex().fates.embedded == 0


def test_a_renamed_document_is_found_only_under_its_new_name(world: World):
    world.reindex()
    (world.root / "docs/leave.md").rename(world.root / "docs/holidays.md")
    tally = world.reindex()
    found = {document_id for document_id, _, _ in world.hits("days of leave")}
    assert "holidays.md" in found
    assert "leave.md" not in found
    assert (tally.documents["moved"], tally.documents["added"], tally.documents["deleted"]) == (1, 0, 0)


def test_a_deleted_document_is_found_no_more(world: World):
    world.reindex()
    (world.root / "docs/travel.md").unlink()
    assert world.reindex().documents["deleted"] == 1
    assert "travel.md" not in {document_id for document_id, _, _ in world.hits("who books trains?")}


def test_a_document_that_vanishes_between_the_look_and_the_reading_is_looked_at_once_more(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    """Else the run would end well, and leave its former text behind."""
    world.write("short.md", "# Short\n\nIt lives for a moment.\n")
    world.reindex()
    world.write("short.md", "# Short\n\nIt lives for another one.\n")
    read = FilesConnector.read

    def read_too_late(self: FilesConnector, ref: DocumentRef) -> Document:
        if ref.document_id == "short.md":
            (world.root / "docs/short.md").unlink(missing_ok=True)
        return read(self, ref)

    monkeypatch.setattr(FilesConnector, "read", read_too_late)
    tally = world.reindex()
    assert (tally.documents["deleted"], tally.errors) == (1, [])
    assert not [hit for hit in world.hits("lives for a moment") if hit[0] == "short.md"]


def test_a_source_that_vanishes_deletes_nothing(world: World):
    world.reindex()
    (world.root / "docs").rename(world.root / "elsewhere")
    tally = world.reindex()
    assert not tally.is_available
    assert world.hits("who books trains?")


def test_a_fault_of_a_connector_is_told_and_deletes_nothing(world: World, monkeypatch: pytest.MonkeyPatch):
    """Anybody may write one; the run goes on with the other sources."""
    world.reindex()

    def stumbles(*_: object) -> Iterator[DocumentRef]:
        yield from ()
        raise KeyError("field")

    with monkeypatch.context() as broken:
        broken.setattr(FilesConnector, "_found", stumbles)
        tally = world.reindex()
    assert not tally.is_available
    assert [failure.error for failure in tally.errors] == [
        "handbook: got KeyError ('field') while it was listed, expected documents"
    ]
    assert world.hits("who books trains?")
    assert world.reindex().is_available


def test_an_emptied_source_holds_its_deletions(world: World):
    for n in range(5):
        world.write(f"page{n}.md", f"# Page {n}\n\nText of page {n}.\n")
    world.reindex()
    for path in sorted((world.root / "docs").rglob("*.*")):
        path.unlink()
    tally = world.reindex()
    assert tally.documents["held"] == 8
    assert world.hits("who books trains?")


def test_a_bad_document_is_reported_and_its_neighbours_go_on(world: World):
    world.write("broken.md", "\0\1\2" * 100)
    tally = world.reindex()
    assert (tally.documents["failed"], tally.documents["added"]) == (1, 3)
    assert "broken.md" in tally.errors[0].error


def test_documents_are_taken_apart_anew_when_the_config_calls_them_something_else(world: World):
    """Only once, and what comes out as before is not embedded again: it is written beside, from the cache."""
    world.reindex()
    as_markdown = world.points()
    config = world.root / "freshd.toml"
    config.write_text(CONFIG + 'media_types = { "travel.md" = "text/csv" }\n')
    tally = world.reindex()
    as_table = world.points()
    assert {point["metadata"]["document_id"] for point in as_table.values() if point not in as_markdown.values()} == {
        "travel.md"
    }
    assert tally.fates.embedded == len(as_table.keys() - as_markdown.keys())
    assert tally.fates.reused == len(as_table.keys() & as_markdown.keys())
    assert not world.reindex().documents["modified"]
    assert world.points() == as_table
    config.write_text(CONFIG)
    assert world.reindex().fates.embedded == 0
    assert world.points() == as_markdown


def edits(world: World) -> None:
    world.write("leave.md", HANDBOOK["leave.md"].replace("28 days", "30 days") + "\n## Study\n\nTwo days for study.\n")
    world.write("travel.md", "# Travel\n\nNew on top.\n\n" + HANDBOOK["travel.md"].partition("\n\n")[2])
    (world.root / "docs/security/keys.rst").rename(world.root / "docs/keys.rst")
    world.write("new.md", "# New\n\nA new page.\n")


QUERIES = ("days of leave", "who books trains", "lost key", "study", "new page")


def test_an_index_kept_up_equals_one_made_from_scratch(world: World, tmp_path: Path):
    """Points, hits and scores; the ids hold the source's name and the document's, so both worlds agree on them."""
    world.reindex()
    edits(world)
    world.reindex()
    (world.root / ".freshd").rename(world.root / ".kept-up")
    kept_state = world.root / ".kept-up"
    world.reindex()
    scratch, scratch_hits = world.points(), [world.hits(query) for query in QUERIES]
    (world.root / ".freshd").rename(tmp_path / "scratch")
    kept_state.rename(world.root / ".freshd")
    assert world.points() == scratch
    assert [world.hits(query) for query in QUERIES] == scratch_hits


@pytest.mark.parametrize("point", STEPS)
def test_a_run_killed_at_any_step_is_finished_by_the_next(world: World, point: str):
    """A real kill -9 of a real process; afterwards the index is what it would have been."""
    world.reindex()
    edits(world)
    killed = forked.run("reindex", folder=world.root, environment={"FRESHD_FAULTS": f"{point}:kill"})
    assert killed.returncode == -9
    world.reindex()
    after_crash = world.points()
    (world.root / ".freshd").rename(world.root / ".crashed")
    world.reindex()
    assert after_crash == world.points()


def test_the_command_prints_what_it_did_as_json(world: World):
    done = forked.run("reindex", "--json", "--config", str(world.root / "freshd.toml"), folder=Path())
    (source,) = json.loads(done.stdout)["sources"]
    assert source["name"] == SourceName("handbook")
    assert source["documents"]["added"] == 3


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["reindex", "--config", "absent.toml"], 2, "absent.toml"),
        (["reindex", "nobody"], 2, "nobody"),
        (["search", "x", "-k", "0"], 2, "k: got 0"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line_with_its_code(
    world: World, arguments: list[str], code: int, says: str
):
    done = forked.run(*arguments, folder=world.root)
    assert done.returncode == code
    assert done.stderr.startswith("error: ")
    assert says in done.stderr.splitlines()[0]


def test_a_model_that_reads_less_than_two_of_the_least_passages_is_refused_in_words(world: World, tmp_path: Path):
    model = tmp_path / "model"
    shutil.copytree(open_bundled(tmp_path / "models").folder, model)
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    said = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps({**said, "model_max_length": 47}))
    (world.root / "freshd.toml").write_text(f'[embedding]\nmodel = "{model}"\n{CONFIG}')
    done = forked.run("reindex", folder=world.root)
    assert done.returncode == 2
    assert done.stderr.startswith("error: embedding.model: got one that reads 47 tokens, expected at least 48\ntry: ")


def test_a_lost_store_is_put_back_from_the_cache_and_nothing_is_called_fresh_before_it_is(world: World):
    world.reindex()
    before = world.points()
    shutil.rmtree(world.root / ".freshd/index")

    def marks(whole: Whole) -> list[object]:
        state = whole.sources.state(SourceName("handbook"))
        return [state.watermark, state.listed_through, whole.search.search("leave").watermark]

    assert world.with_whole(marks) == [None, None, None]
    world.write("leave.md", "A new first line.\n\n" + HANDBOOK["leave.md"])
    tally = world.reindex()
    assert (tally.fates.embedded, tally.fates.reused) == (1, len(before))
    assert set(world.points()) >= set(before)
    assert world.with_whole(marks)[0] is not None
    found = world.with_whole(lambda whole: whole.verify())
    assert isinstance(found, Verified)
    assert not found.by_source
    assert world.reindex().fates.embedded == 0
