"""Another model or recipe: a generation is filled beside the live one, takes its place, and can be gone back to."""

import io
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from qdrant_client import QdrantClient
from rich.console import Console

from freshd import compose, faults
from freshd.cli import show
from freshd.compose import Whole, generation, open_dry_run, open_whole, rebuilding
from freshd.compose.rebuilding import rebuild_ledger
from freshd.compose.recovering import GenerationReplaced
from freshd.config import Secrets, load
from freshd.daemon.live import Live
from freshd.errors import CollectionMismatch, DocumentBusy, StateUnusable, StoreUnavailable
from freshd.generations import succession
from freshd.http.page.summary import facts
from freshd.ledger.forgetting import SqliteForgetting
from freshd.ledger.generations import SqliteGenerations
from freshd.model import ChunkId, Document, DocumentId, DocumentRef, ParsedDocument, Point, SearchFilter, SourceName
from freshd.parsers import Parsers
from freshd.report import stored_status
from freshd.scheduler import Observer, Tally
from freshd.stores import aliases
from freshd.stores.edge import EdgeStore
from freshd.stores.wire import unpack_dense
from tests.kit import forked
from tests.kit.models import NamedModel
from tests.kit.world import without_times
from tests.qdrant_standin import Standin, serving
from tests.scheduler.parts import Gate, eventually
from tests.scripted_server import Reply, ScriptedServer
from tests.torture.program import state_of

SOURCE = SourceName("docs")
NEWS = SourceName("news")
FIRST, SECOND, THIRD = "alpha-32", "beta-32", "gamma-48"
OTHERS = (SECOND, THIRD)
"""Another space of as many dimensions, and one of more."""

PAGES = {
    "leave.md": "# Leave\n\nEverybody has 28 days of leave a year.\n\n## Parents\n\nParents have sixteen more weeks.\n",
    "travel.md": "# Travel\n\nTrains are booked by the office.\n\nFlights need the consent of the team lead.\n",
    "keys.rst": "Keys\n====\n\nA lost key is reported to the porter within one hour.\n",
    "empty.md": "\n",
}


class Near(list[float]):
    """A vector that equals any other whose numbers are nearly its own: the engines pack them differently."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Near) and list(self) == pytest.approx(list(other), abs=1e-4)

    __hash__ = None  # type: ignore[assignment]


class World:
    """Documents, and freshd over them under one config after another."""

    def __init__(self, root: Path, store: str = "") -> None:
        self.root, self.docs, self.store = root, root / "docs", store
        self.models: dict[str, NamedModel] = {}
        self.missing: set[str] = set()
        for name, text in PAGES.items():
            self.write(name, text)

    def write(self, name: str, text: str | bytes) -> None:
        path = self.docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def configure(self, model: str, state: str = ".freshd", extra: str = "", settings: str = "") -> Path:
        path = self.root / "freshd.toml"
        path.write_text(
            f'state_dir = "{state}"\n{self.store}[embedding]\nmodel = "{model}"\n[disk]\nreserve_bytes = 0\n{settings}'
            f'[[sources]]\nname = "docs"\ntype = "files"\npath = "docs"\n{extra}'
        )
        return path

    def model(self, name: str, *_: object) -> NamedModel:
        if name in self.missing:
            raise StateUnusable(f"model {name}: is gone")
        return self.models.setdefault(name, NamedModel(name))

    @contextmanager
    def whole(self, model: str, **config: str) -> Iterator[Whole]:
        config_file = self.configure(model, **config)
        with (
            mock.patch.object(compose, "open_embedder", self.model),
            open_whole(load(config_file), Secrets()) as whole,
        ):
            yield whole

    def reindex(self, model: str, **config: str) -> Tally:
        with self.whole(model, **config) as whole:
            return whole.reindexer().run()[0]

    def fill(self, model: str, meanwhile: Callable[[Whole, int], None], **config: str) -> None:
        """Change the model, and do something between any two pieces of the work."""
        with self.whole(model, **config) as whole:
            whole.reindexer(is_whole_run=False).run()
            pieces = 0

            def between() -> None:
                nonlocal pieces
                meanwhile(whole, pieces)
                pieces += 1

            for _ in range(200):
                if not whole.generations.is_under_way:
                    break
                whole.generations.advance(between)
            assert not whole.generations.is_under_way
            assert pieces

    def embedded(self, work: Callable[[], object]) -> list[str]:
        """Give the texts that models were asked for meanwhile."""
        before = {name: len(model.passages) for name, model in self.models.items()}
        work()
        return [text for name, model in self.models.items() for text in model.passages[before.get(name, 0) :]]

    def scratch(self, model: str, **config: str) -> dict[ChunkId, Any]:
        """Give what an index holds that is made anew of the same documents; made once for equal ones."""
        documents = tuple(sorted((path.name, path.read_bytes()) for path in self.docs.iterdir()))
        key = model, documents, config.get("extra"), generation._MAX_TOKENS  # an extra source has an address of its own
        if key not in SCRATCH:
            store, self.store = self.store, ""
            state = f".scratch-{len(list(self.root.glob('.scratch-*')))}"
            with self.whole(model, state=state, **config) as whole:
                whole.reindexer().run()
                SCRATCH[key] = self.dump(whole)
            self.store = store
        return SCRATCH[key]

    def dump(self, whole: Whole) -> dict[ChunkId, Any]:
        """Give every point of the live generation: payload without times and places, vectors."""
        points: dict[ChunkId, Any] = {}
        while page := whole.store.scroll(max(points, default=None), 100, with_vectors=True):
            for point in page:
                vector = Near(unpack_dense(point.dense))
                sparse = dict(zip(point.sparse.indices, point.sparse.values, strict=True))
                payload = without_times(point.payload)
                payload["metadata"]["uri"] = payload["metadata"]["uri"].removeprefix(self.root.as_uri())
                points[point.chunk_id] = payload, vector, sparse
        return points

    @property
    def index(self) -> set[str]:
        return {path.name for path in (self.root / ".freshd/index").glob("*/")}

    def status(self, model: str = FIRST) -> dict[str, Any]:
        return stored_status(load(self.configure(model)))["generation"]


SCRATCH: dict[Any, dict[ChunkId, Any]] = {}
"""What indexes made from scratch held, by what they were made of."""


def hits(whole: Whole, query: str) -> set[tuple[str, str]]:
    return {(hit.citation.document_id, hit.citation.text) for hit in whole.search.search(query, 100).hits}


def assert_whole(whole: Whole) -> None:
    """The ledger and the store agree, and all that the ledger is sure of can be searched."""
    assert not whole.verify().by_source
    ids = [point.chunk_id for point in whole.store.scroll(None, 10_000)]
    assert set(ids) == whole.ledger.admitted(ids)
    assert whole.sources.state(SOURCE).chunks == whole.store.count()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield World(tmp_path)
    faults.arm("")


# What a change of model comes to


@pytest.mark.parametrize("other", OTHERS)
def test_an_index_of_another_model_equals_one_made_from_scratch(world: World, other: str):
    world.reindex(FIRST)
    (former,) = world.index
    texts = world.embedded(lambda: world.reindex(other))
    assert len(texts) == len(set(texts)) == len(world.scratch(FIRST))
    with world.whole(other) as whole:
        assert world.dump(whole) == world.scratch(other)
        assert_whole(whole)
        assert ("leave.md", "Everybody has 28 days of leave a year.") in hits(whole, "days of leave")
    assert len(world.index) == 2
    assert former in world.index
    assert world.status(other)["retired"]["name"] == former


def test_nothing_is_embedded_again_for_another_way_to_cut(world: World):
    world.reindex(FIRST)
    with mock.patch("freshd.compose.generation.CHUNKER", "other/1"):
        assert world.embedded(lambda: world.reindex(FIRST)) == []
        assert len(world.index) == 2
        with world.whole(FIRST) as whole:
            live = whole.generations.current.record
            assert live.recipe == whole.recipe.identity
            assert_whole(whole)


def test_a_second_run_under_the_same_model_changes_nothing(world: World):
    world.reindex(FIRST)
    world.reindex(SECOND)
    before = world.index
    tally = world.reindex(SECOND)
    assert (tally.fates.embedded, tally.fates.reused, tally.documents["modified"]) == (0, 0, 0)
    assert world.index == before


def test_the_tally_says_what_the_change_of_model_cost(world: World):
    world.reindex(FIRST)
    tally = world.reindex(SECOND)
    assert tally.fates.embedded == len(world.scratch(SECOND))
    assert tally.embedded_characters > 0
    assert tally.documents["modified"] == 0


# What happens meanwhile


def edit(whole: Whole) -> None:
    """Take a change in at once, as the thread that writes does it between two pieces of other work."""
    whole.reindexer(is_whole_run=False).run()


def test_edits_made_meanwhile_are_searchable_at_once_and_still_there_afterwards(world: World):
    world.reindex(FIRST)

    def meanwhile(whole: Whole, piece: int) -> None:
        if piece == 1:
            world.write("travel.md", "# Travel\n\nTrains are booked by nobody.\n")
            world.write("new.md", "# New\n\nA page that was not there before.\n")
            (world.docs / "leave.md").unlink()
            (world.docs / "keys.rst").rename(world.docs / "locks.rst")
            edit(whole)
            found = hits(whole, "pages")
            assert ("travel.md", "Trains are booked by nobody.") in found
            assert {name for name, _ in found} == {"travel.md", "new.md", "locks.rst"}

    world.fill(SECOND, meanwhile)
    with world.whole(SECOND) as whole:
        assert world.dump(whole) == world.scratch(SECOND)
        assert_whole(whole)


def test_a_document_that_changes_all_the_while_keeps_nobody_waiting(world: World):
    world.reindex(FIRST)

    def meanwhile(whole: Whole, piece: int) -> None:
        world.write("travel.md", f"# Travel\n\nTrains are booked by office {piece}.\n")
        edit(whole)

    world.fill(SECOND, meanwhile)
    with world.whole(SECOND) as whole:
        edit(whole)
        assert world.dump(whole) == world.scratch(SECOND)


def test_a_document_deleted_after_it_was_filled_in_is_in_neither_generation(world: World):
    world.reindex(FIRST)
    with world.whole(SECOND) as whole:
        edit(whole)
        while not SqliteGenerations(whole.database).progress().documents:
            whole.generations.advance(lambda: None)
        for name in PAGES:
            (world.docs / name).unlink()
        edit(whole)
        assert not hits(whole, "leave")
        whole.generations.finish(lambda: None)
        assert world.dump(whole) == {}
        assert whole.database.read("SELECT * FROM documents") == []
        (world.docs / "leave.md").write_text(PAGES["leave.md"])
        edit(whole)
        assert {name for name, _ in hits(whole, "leave")} == {"leave.md"}
    world.reindex(FIRST)
    with world.whole(FIRST) as whole:
        assert world.dump(whole) == world.scratch(FIRST)


def test_a_document_that_is_slow_to_parse_is_waited_for(world: World):
    world.reindex(FIRST)
    is_slow = True

    class SlowParsers(Parsers):
        def parse(self, document: Document) -> ParsedDocument:
            if is_slow and document.ref.document_id == "keys.rst":
                raise DocumentBusy("is still being parsed", is_at_it=True)
            return super().parse(document)

        def close(self) -> None:
            pass

    with mock.patch.object(compose, "LimitedParsers", return_value=SlowParsers()), world.whole(SECOND) as whole:
        whole.reindexer(is_whole_run=False).run()
        for _ in range(5):
            whole.generations.advance(lambda: None)
        assert whole.generations.is_under_way
        is_slow = False
        eventually(lambda: whole.generations.advance(lambda: None) is False and not whole.generations.is_under_way)
        assert world.dump(whole) == world.scratch(SECOND)


def test_what_cannot_be_read_as_the_index_has_it_is_carried_over(world: World):
    """A newer content that is no text is quarantined; the last good revision stays, under another model too."""
    world.reindex(FIRST)
    with world.whole(FIRST) as whole:
        before = world.dump(whole)
    world.write("travel.md", b"\0\1\2" * 100)
    tally = world.reindex(SECOND)
    assert tally.documents["failed"] == 1
    with world.whole(SECOND) as whole:
        after = world.dump(whole)
        assert {i: payload for i, (payload, *_) in after.items()} == {i: p for i, (p, *_) in before.items()}
        assert {vector[0] for _, vector, _ in after.values()}.isdisjoint(vector[0] for _, vector, _ in before.values())
        assert any("booked by the office" in text for _, text in hits(whole, "trains"))


def test_what_was_carried_over_is_cut_anew_once_its_source_is_back(world: World):
    """It left its place while another way to cut took over: the former cut stays until it can be read."""
    world.write("long.md", "# Long\n\n" + " ".join(f"word{n}" for n in range(60)) + "\n")
    world.reindex(FIRST)
    module = "freshd.compose.generation"
    away = world.docs.with_name("away")
    with mock.patch(f"{module}._MIN_TOKENS", 4), mock.patch(f"{module}._MAX_TOKENS", 24):
        world.docs.rename(away)
        with world.whole(FIRST) as whole:
            whole.reindexer().run()
            assert not whole.generations.is_under_way
            assert_whole(whole)
            assert world.dump(whole), "nothing is lost while it is away"
        away.rename(world.docs)
        world.reindex(FIRST)
        with world.whole(FIRST) as whole:
            assert world.dump(whole) == world.scratch(FIRST)
            assert world.embedded(lambda: whole.reindexer().run()) == []


def test_documents_of_a_source_that_left_the_config_come_along(world: World):
    world.reindex(FIRST)
    path = world.configure(SECOND)
    path.write_text(path.read_text().replace('"docs"\ntype', '"other"\ntype'))
    with mock.patch.object(compose, "open_embedder", world.model), open_whole(load(path), Secrets()) as whole:
        whole.reindexer().run()
        assert whole.generations.current.record.embedder == world.models[SECOND].identity
        assert len(world.dump(whole)) == 2 * len(world.scratch(FIRST))
    assert world.embedded(lambda: world.reindex(SECOND)) == []


def entry(name: str) -> str:
    return f"<item><guid>{name}</guid><title>{name}</title><description>All about {name}.</description></item>"


def feed(*names: str) -> Reply:
    body = f"<rss version='2.0'><channel><title>News</title>{''.join(map(entry, names))}</channel></rss>"
    return Reply(200, body.encode(), {"Content-Type": "application/rss+xml"})


@contextmanager
def feed_of(n_entries: int) -> Iterator[str]:
    """Serve a feed; give the config of its source."""
    with ScriptedServer() as server:
        server.on("/feed", feed(*(f"animal{n}" for n in range(n_entries))))
        news = f'[[sources]]\nname = "news"\ntype = "feed"\nurl = "{server.url("/feed")}"\n'
        yield news + f'allow_private_hosts = ["{server.host}"]\n'


def test_entries_that_rolled_off_their_feed_come_along(world: World):
    with ScriptedServer() as server:
        news = f'[[sources]]\nname = "news"\ntype = "feed"\nurl = "{server.url("/feed")}"\n'
        news += f'allow_private_hosts = ["{server.host}"]\n'
        server.on("/feed", feed("elks", "moose"))
        world.reindex(FIRST, extra=news)
        server.on("/feed", feed("moose", "hares"))
        world.reindex(SECOND, extra=news)
        with world.whole(SECOND, extra=news) as whole:
            assert whole.generations.current.record.embedder == world.models[SECOND].identity
            found = {text for _, text in hits(whole, "all about animals")}
        assert {"All about elks.", "All about moose.", "All about hares."} <= found


def test_a_headline_that_is_corrected_while_another_generation_fills_is_the_one_that_is_shown_then(world: World):
    with ScriptedServer() as server:
        news = f'[[sources]]\nname = "news"\ntype = "feed"\nurl = "{server.url("/feed")}"\n'
        news += f'allow_private_hosts = ["{server.host}"]\n'
        before = feed("elks", "moose")
        server.on("/feed", before)
        world.reindex(FIRST, extra=news)
        with world.whole(SECOND, extra=news) as whole:
            edit(whole)
            while (seen := SqliteGenerations(whole.database).progress()).documents < seen.of:
                whole.generations.advance(lambda: None)
            corrected = before.body.replace(b"<title>elks<", b"<title>Elks of the north<")
            server.on("/feed", replace(before, body=corrected))
            edit(whole)
            whole.generations.finish(lambda: None)
            assert whole.generations.current.record.embedder == world.models[SECOND].identity
            titles = {hit.citation.title for hit in whole.search.search("all about elks", 100).hits}
            assert "Elks of the north" in titles
            assert "elks" not in titles
            assert not whole.verify().by_source


def test_a_text_that_the_other_model_never_takes_keeps_nothing_back(world: World):
    world.reindex(FIRST)

    class Picky(NamedModel):
        def embed_passages(self, texts):
            if any("porter" in text for text in texts):
                raise ValueError("not this one")
            return super().embed_passages(texts)

    world.models[SECOND] = Picky(SECOND)
    tally = world.reindex(SECOND)
    tally = world.reindex(SECOND)
    assert tally.documents["failed"] == 1
    with world.whole(SECOND) as whole:
        assert {name for name, _ in hits(whole, "leave trains keys")} == {"leave.md", "travel.md"}
        assert whole.generations.current.record.embedder == world.models[SECOND].identity


def test_points_that_the_store_beside_lost_are_put_back_before_it_is_searched(world: World):
    world.reindex(FIRST)
    with world.whole(SECOND) as whole:
        edit(whole)
        generations = whole.generations
        while not SqliteGenerations(whole.database).progress().documents:
            generations.advance(lambda: None)
        store = generations._beside.store
        store.remove([point.chunk_id for point in store.scroll(None, 2)])
        store.flush()
        generations.finish(lambda: None)
        assert world.dump(whole) == world.scratch(SECOND)


def test_a_store_beside_that_does_not_answer_costs_the_live_one_nothing(world: World):
    world.reindex(FIRST)
    with world.whole(SECOND) as whole:
        edit(whole)
        generations, live, upsert = whole.generations, whole.store, EdgeStore.upsert

        def only_live(store: EdgeStore, points: list[Point]) -> None:
            if store is not live:
                raise StoreUnavailable("it is down")
            upsert(store, points)

        with mock.patch.object(EdgeStore, "upsert", only_live):
            while generations.advance(lambda: None):
                pass
        assert generations.filling().error == "it is down"
        world.write("travel.md", "# Travel\n\nTrains are booked by nobody.\n")
        edit(whole)
        assert ("travel.md", "Trains are booked by nobody.") in hits(whole, "trains")
        eventually(lambda: generations.advance(lambda: None), 10)
        generations.finish(lambda: None)
        assert world.dump(whole) == world.scratch(SECOND)


def test_a_store_beside_that_is_down_while_entries_are_read_ahead_leaves_room_for_them_all(world: World):
    with feed_of(40) as news:
        world.reindex(FIRST, extra=news)
        with world.whole(SECOND, extra=news) as whole:
            generations, connector = whole.generations, whole.targets[1].connector
            whole.news.on_ready, refs = lambda: None, known(whole)
            with mock.patch.object(EdgeStore, "upsert", side_effect=StoreUnavailable("it is down")):
                while generations.advance(lambda: None):
                    pass
            assert generations.filling().error == "it is down"
            assert not any(map(connector.is_begun, refs))
            eventually(lambda: not (generations.advance(lambda: None) or generations.is_under_way), 30)
            assert not any(map(connector.is_begun, refs))
            assert world.dump(whole) == world.scratch(SECOND, extra=news)


def known(whole: Whole) -> list[DocumentRef]:
    """What the ledger knows of the feed's entries."""
    return [DocumentRef(one.document_id, one.fingerprint or "") for one in whole.ledger.known(NEWS)]


def test_entries_forgotten_while_they_are_read_ahead_leave_room_for_others(world: World):
    with feed_of(16) as news:
        world.reindex(FIRST, extra=news)
        with world.whole(SECOND, extra=news) as whole:
            generations, connector = whole.generations, whole.targets[1].connector
            whole.news.on_ready = lambda: None
            refs = known(whole)
            eventually(lambda: generations.advance(lambda: None) and any(map(connector.is_begun, refs)))
            SqliteForgetting(whole.database).forget(NEWS, [DocumentId(f"animal{n}") for n in range(16)])
            whole.removal.finish()
            eventually(lambda: not (generations.advance(lambda: None) or generations.is_under_way), 30)
            assert not any(map(connector.is_begun, refs))


def test_entries_that_are_read_for_another_generation_leave_room_for_what_their_feed_brings_meanwhile(world: World):
    """They are used while nothing is due, which a backlog of other files may put off for hours."""
    with feed_of(40) as news:
        world.reindex(FIRST, extra=news)
        with world.whole(SECOND, extra=news) as whole:
            connector = whole.targets[1].connector
            whole.news.on_ready = lambda: None
            refs = known(whole)
            eventually(lambda: whole.generations.advance(lambda: None) and any(map(connector.is_begun, refs)))
            assert connector.begin(DocumentRef(DocumentId("animal40"), "new"), lambda: None)


def test_a_feed_is_filled_in_piece_by_piece_in_proportion_to_its_entries(tmp_path: Path):
    """Not by going round all of them for every few that were read."""

    def steps(n_entries: int) -> int:
        with feed_of(n_entries) as news:
            world, n_steps = World(tmp_path / f"{n_entries}"), 0
            world.reindex(FIRST, extra=news)
            with world.whole(SECOND, extra=news) as whole:
                whole.news.on_ready = lambda: None

                def advance() -> bool:
                    nonlocal n_steps
                    n_steps += whole.generations.advance(lambda: None)
                    return not whole.generations.is_under_way

                eventually(advance, 60)
                assert world.dump(whole) == world.scratch(SECOND, extra=news)
            return n_steps

    with mock.patch("freshd.pipeline.filling.LAST_LAP", 8):
        assert steps(160) < 6 * steps(40)


def test_a_book_that_is_edited_at_the_very_end_lets_edits_through(world: World):
    world.reindex(FIRST)
    with world.whole(SECOND) as whole:
        edit(whole)
        while (seen := SqliteGenerations(whole.database).progress()).documents < seen.of:
            whole.generations.advance(lambda: None)
        world.write("travel.md", "".join(f"# Part {n}\n\nTrain {n} is booked by the office.\n\n" for n in range(300)))
        edit(whole)
        n_let_through = 0

        def between() -> None:
            nonlocal n_let_through
            n_let_through += 1

        while whole.generations.is_under_way:
            whole.generations.advance(between)
        assert n_let_through >= 300
        assert world.dump(whole) == world.scratch(SECOND)


# Going back, going elsewhere, letting go


def test_going_back_embeds_only_what_changed_since(world: World):
    world.reindex(FIRST)
    world.reindex(SECOND)
    world.write("travel.md", PAGES["travel.md"].replace("the office", "nobody"))
    world.reindex(SECOND)
    before = world.index
    texts = world.embedded(lambda: world.reindex(FIRST))
    assert len(texts) == 1
    assert "booked by nobody" in texts[0]
    assert world.index == before
    with world.whole(FIRST) as whole:
        assert world.dump(whole) == world.scratch(FIRST)
        assert_whole(whole)


def test_giving_up_half_way_costs_nothing_and_so_does_going_on(world: World):
    world.reindex(FIRST)
    with world.whole(SECOND) as whole:
        edit(whole)
        while not SqliteGenerations(whole.database).progress().documents:
            whole.generations.advance(lambda: None)
    world.write("new.md", "# New\n\nA page.\n")
    assert len(world.embedded(lambda: world.reindex(FIRST))) == 1
    assert world.status()["retired"] is not None
    with world.whole(FIRST) as whole:
        assert world.dump(whole) == world.scratch(FIRST)
    assert len(world.embedded(lambda: world.reindex(SECOND))) == 1
    with world.whole(SECOND) as whole:
        assert world.dump(whole) == world.scratch(SECOND)


def test_what_was_read_under_a_recipe_that_never_took_over_is_read_again(world: World):
    """A document that changed while another way to read it was coming is not left as that one had it."""
    world.reindex(FIRST)
    as_table = 'media_types = { "travel.md" = "text/csv" }\n'
    with world.whole(FIRST, extra=as_table) as whole:
        world.write("travel.md", PAGES["travel.md"] + "\nBuses, are, not, booked.\n")
        edit(whole)
    world.reindex(FIRST)
    with world.whole(FIRST) as whole:
        assert world.dump(whole) == world.scratch(FIRST)


def test_a_third_model_discards_what_stands_beside(world: World):
    world.reindex(FIRST)
    world.reindex(SECOND)
    (former,) = {world.status()["retired"]["name"]}
    world.reindex(THIRD)
    assert former not in world.index
    assert len(world.index) == 2
    with world.whole(THIRD) as whole:
        assert world.dump(whole) == world.scratch(THIRD)


def test_the_former_generation_is_discarded_when_its_time_is_over(world: World):
    world.reindex(FIRST)
    world.reindex(SECOND)
    assert len(world.index) == 2
    with world.whole(SECOND, settings='[generations]\nkeep_for = "1ms"\n') as whole:
        whole.reindexer(is_whole_run=False)
        while whole.generations.advance(lambda: None):
            pass
        assert_whole(whole)
    (live,) = world.index
    assert world.status(SECOND) == {"live": live, "filling": None, "retired": None}


def test_what_is_forgotten_leaves_the_generation_that_is_only_kept_too(world: World):
    world.reindex(FIRST)
    world.reindex(SECOND)
    with world.whole(SECOND) as whole:
        SqliteForgetting(whole.database).forget(SOURCE, [DocumentId("leave.md")])
        whole.removal.finish()
        for store in whole.generations.stores():
            texts = [point.payload["page_content"] for point in store.scroll(None, 100)]
            assert texts
            assert not any("28 days" in text for text in texts)
    assert len(world.embedded(lambda: world.reindex(FIRST))) == 0


def files_with(world: World, text: str) -> set[str]:
    """Name the generations whose files hold a text in plain bytes."""
    index = world.root / ".freshd/index"
    paths = [path for path in index.glob("*/**/*") if path.is_file() and text.encode() in path.read_bytes()]
    return {path.relative_to(index).parts[0] for path in paths}


@pytest.mark.parametrize("is_filling", [True, False])
def test_what_is_forgotten_leaves_the_files_of_every_generation(world: World, is_filling: bool):
    """Also where the one that is kept, or filled, is looked after between any two pieces of it."""
    world.reindex(FIRST)
    if not is_filling:
        world.reindex(SECOND)
    with world.whole(SECOND) as whole:
        edit(whole)
        while not SqliteGenerations(whole.database).progress().documents:
            whole.generations.advance(lambda: None)
        assert len(files_with(world, "28 days")) == 2, "else this test could not fail"
        SqliteForgetting(whole.database).forget(SOURCE, [DocumentId("leave.md")])
        for _ in range(1_000):
            if not whole.removal.expunge_some():
                break
            whole.generations.advance(lambda: None)
        assert SqliteForgetting(whole.database).occasion is None
        assert files_with(world, "28 days") == files_with(world, "leave.md") == set()
    world.reindex(SECOND)
    assert files_with(world, "28 days") == set()


def test_what_is_forgotten_leaves_the_files_of_a_generation_that_is_being_discarded(world: World):
    world.reindex(FIRST)
    world.reindex(SECOND)
    (former,) = {world.status()["retired"]["name"]}
    with world.whole(SECOND) as whole:
        SqliteGenerations(whole.database).doom(former)
        whole.remover().forget([(SOURCE, DocumentId("leave.md"))])
        assert former not in world.index
        assert files_with(world, "28 days") == set()
        assert_whole(whole)


def test_nobody_discards_the_live_generation(world: World):
    world.reindex(FIRST)
    with world.whole(FIRST) as whole:
        records = SqliteGenerations(whole.database)
        with pytest.raises(ValueError, match="is the live one"):
            records.doom(records.live.name)


def test_a_live_model_that_cannot_be_had_is_refused_by_name(world: World):
    world.reindex(FIRST)
    world.missing.add(FIRST)
    with pytest.raises(StateUnusable, match=f"(?s)'{FIRST}'.*'{SECOND}'") as refused:
        world.reindex(SECOND)
    assert FIRST in refused.value.hint
    world.missing.clear()
    world.reindex(SECOND)


def test_another_name_for_the_collection_is_another_place(world: World):
    world.reindex(FIRST)
    world.store = '[store]\ncollection = "elsewhere"\n'
    assert world.embedded(lambda: world.reindex(FIRST)) == []
    with world.whole(FIRST) as whole:
        assert whole.generations.current.record.name.startswith("elsewhere-")
        assert world.dump(whole) == world.scratch(FIRST)


# Killed anywhere

POINTS = ("mid_fill", "before_switch", "after_switch", "before_discard", "mid_discard")


@pytest.mark.parametrize("point", ["mid_fill@2", "mid_fill@3", "before_discard@2"])
def test_broken_off_anywhere_it_goes_on_with_the_next_run(world: World, point: str):
    world.reindex(FIRST)
    world.reindex(SECOND)
    world.write("travel.md", PAGES["travel.md"].replace("the office", "nobody"))
    name, _, nth = point.partition("@")
    with mock.patch("freshd.pipeline.filling.LAST_LAP", 2):
        faults.arm(f"{name}:raise@{nth}")
        with suppress(OSError, StoreUnavailable):
            world.reindex(THIRD)
        faults.arm("")
        world.reindex(THIRD)
    with world.whole(THIRD) as whole:
        assert world.dump(whole) == world.scratch(THIRD)
        assert_whole(whole)
    assert len(world.index) == 2


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_it_is_finished_by_the_next_run(world: World, point: str):
    """A real kill -9 of a real process."""
    world.reindex(FIRST)
    world.reindex(SECOND)
    with world.whole(SECOND) as whole:
        found = hits(whole, "page")
    assert found
    config = world.configure(THIRD)
    armed = {"FRESHD_FAULTS": f"{point}:kill"}
    how = {"folder": config.parent, "module": "tests.kit.models", "environment": armed}
    done = forked.run("reindex", "--config", str(config), **how)
    assert done.returncode == -9, done.stderr
    with world.whole(THIRD) as whole:
        assert hits(whole, "page") == found, "one of the two answers, whole, before anything is finished"
    world.reindex(THIRD)
    with world.whole(THIRD) as whole:
        assert world.dump(whole) == world.scratch(THIRD)
        assert_whole(whole)
    assert len(world.index) == 2


def test_a_scheduler_fills_it_in_while_nothing_else_is_due_and_reads_from_afar_ahead(world: World):
    with ScriptedServer() as server:
        news = f'[[sources]]\nname = "news"\ntype = "feed"\nurl = "{server.url("/feed")}"\n'
        news += f'allow_private_hosts = ["{server.host}"]\n'
        server.on("/feed", feed("elks", "moose"))
        world.reindex(FIRST, extra=news)
        with world.whole(SECOND, extra=news) as whole:
            begun: list[str] = []
            connector = whole.targets[1].connector
            begin = connector.begin
            connector.begin = lambda ref, *rest, **how: begun.append(ref.document_id) or begin(ref, *rest, **how)
            scheduler = whole.scheduler(Observer(), lambda: None)
            scheduler.start()
            try:
                world.write("travel.md", "# Travel\n\nTrains are booked by nobody.\n")
                eventually(lambda: not whole.generations.is_under_way, 30)
                eventually(lambda: any("by nobody" in text for _, text in hits(whole, "trains")), 30)
            finally:
                scheduler.stop()
            assert len(begun) >= 2
            assert whole.generations.current.record.embedder == world.models[SECOND].identity
            assert world.dump(whole) == world.scratch(SECOND, extra=news)


# What a search sees


def test_every_answer_is_of_one_generation_and_none_is_empty(world: World):
    """Asked by threads all the while; the two generations cut the documents differently, which tells answers apart."""
    for n in range(12):
        world.write(f"page{n}.md", f"# Page {n}\n\n" + " ".join(f"word{n}x{i}" for i in range(60)) + "\n")
    world.reindex(FIRST)
    with world.whole(FIRST) as whole:
        coarse = {text for _, text in hits(whole, "page")}
    module = "freshd.compose.generation"
    with mock.patch(f"{module}._MIN_TOKENS", 4), mock.patch(f"{module}._MAX_TOKENS", 24):
        fine = {payload["page_content"] for payload, *_ in world.scratch(SECOND).values()}
        wide = SearchFilter((SOURCE,), "page")
        seen: list[set[str]] = []
        over = threading.Event()
        with world.whole(SECOND) as whole:
            edit(whole)

            def ask() -> None:
                while not over.is_set():
                    seen.append({hit.citation.text for hit in whole.search.search("page", 20, wide).hits})

            threads = [threading.Thread(target=ask) for _ in range(3)]
            for thread in threads:
                thread.start()
            try:
                while whole.generations.is_under_way:
                    whole.generations.advance(lambda: None)
                n_before = len(seen)
                while len(seen) < n_before + 6:
                    assert all(thread.is_alive() for thread in threads)
            finally:
                over.set()
                for thread in threads:
                    thread.join()
    only_coarse, only_fine = coarse - fine, fine - coarse
    assert all(seen)
    assert not [texts for texts in seen if texts & only_coarse and texts & only_fine]
    assert any(texts & only_coarse for texts in seen)
    assert any(texts & only_fine for texts in seen)


def test_a_question_asked_before_the_switch_is_answered_by_the_generation_it_was_asked_of(world: World):
    """Whole and alone: its store is kept open, and its chunks are admitted as they were."""
    world.write("page.md", "# Page\n\n" + " ".join(f"word{i}" for i in range(60)) + "\n")
    world.reindex(FIRST)
    with world.whole(FIRST) as whole:
        coarse = hits(whole, "page")
    module = "freshd.compose.generation"
    with mock.patch(f"{module}._MIN_TOKENS", 4), mock.patch(f"{module}._MAX_TOKENS", 24), world.whole(SECOND) as whole:
        edit(whole)
        store, gate, answers = whole.store, Gate(), []
        search_sparse = store.search_sparse

        def held_up(*arguments):
            found = search_sparse(*arguments)
            gate()
            return found

        with mock.patch.object(store, "search_sparse", held_up):
            thread = threading.Thread(target=lambda: answers.append(hits(whole, "page")))
            thread.start()
            assert gate.arrived.wait(20)
            whole.generations.finish(lambda: None)
            whole.generations.advance(lambda: None)
            assert whole.store is not store
            fine = hits(whole, "page")
            assert store.child_pid is not None
            gate.opened.set()
            thread.join()
        whole.generations.advance(lambda: None)
        assert store.child_pid is None
    assert answers == [coarse]
    assert fine - coarse


# What is said


def test_a_dry_run_says_what_the_change_would_cost_and_changes_nothing(world: World):
    world.reindex(FIRST)
    before = world.index, world.status()
    with mock.patch.object(compose, "open_embedder", world.model):
        with open_dry_run(load(world.configure(SECOND))) as (whole, _):
            (tally,) = whole.reindexer().run()
        assert tally.fates.embedded == len(world.scratch(FIRST))
        config = load(world.configure(FIRST))
        with mock.patch("freshd.compose.generation.CHUNKER", "other/1"), open_dry_run(config) as (whole, _):
            (tally,) = whole.reindexer().run()
    assert (tally.fates.embedded, tally.fates.reused) == (0, len(world.scratch(FIRST)))
    assert (world.index, world.status()) == before


def test_the_status_says_which_generation_is_searched_and_how_far_the_next_one_is(world: World):
    world.reindex(FIRST)
    (live,) = world.index
    assert world.status() == {"live": live, "filling": None, "retired": None}
    with world.whole(SECOND) as whole:
        edit(whole)
        while not SqliteGenerations(whole.database).progress().documents:
            whole.generations.advance(lambda: None)
    report = stored_status(load(world.configure(SECOND)))
    said = report["generation"]
    assert said["live"] == live
    assert said["filling"]["of"] == len(PAGES)
    assert 0 < said["filling"]["documents"] <= len(PAGES)
    assert said["retired"] is None
    done = f"{said['filling']['documents']} of {len(PAGES)} documents"
    written = io.StringIO()
    show.status_table(report, Console(file=written, width=120))
    assert f"generation {said['filling']['name']}: {done}" in written.getvalue()
    assert f"<dt>Next generation</dt><dd>{done}" in facts(report, datetime.now(UTC))


def test_a_store_that_died_keeps_no_other_from_being_closed(world: World):
    world.reindex(FIRST)
    with suppress(StoreUnavailable), world.whole(SECOND) as whole:
        whole.generations.settle()
        for _ in range(3):
            whole.generations.advance(lambda: None)
        stores = [one for one in whole.generations.stores() if isinstance(one, EdgeStore)]
        assert len(stores) == 2
        for store in stores:
            assert store.child_pid is not None
            store.remove([ChunkId("00000000-0000-0000-0000-000000000007")])  # so that there is something to flush
            os.kill(store.child_pid, signal.SIGKILL)
    assert [store.child_pid for store in stores] == [None, None]


def kept_store(whole: Whole) -> tuple[EdgeStore, int]:
    """The store of a generation that is only kept, and the process that owns it."""
    _, kept = whole.generations.stores()
    assert isinstance(kept, EdgeStore)
    assert kept.child_pid is not None
    return kept, kept.child_pid


def test_a_store_that_is_only_kept_and_died_keeps_nobody_from_ending(world: World):
    world.reindex(FIRST)
    world.reindex(SECOND)
    with world.whole(SECOND) as whole:
        kept, pid = kept_store(whole)
        kept.remove([ChunkId("00000000-0000-0000-0000-000000000007")])
        os.kill(pid, signal.SIGKILL)
    assert kept.child_pid is None


def test_a_store_that_is_only_kept_is_opened_once_for_all_that_is_taken_out_of_it(world: World):
    """Piece by piece, between which all else goes on: to start its process for each took longer than the piece."""
    world.reindex(FIRST)
    world.reindex(SECOND)
    with world.whole(SECOND) as whole:
        kept, pid = kept_store(whole)
        whole.generations.advance(lambda: None)
        assert whole.generations.stores()[1] is kept
        assert kept.child_pid == pid
        with mock.patch.object(succession, "_IDLE_S", 0.0):
            whole.generations.advance(lambda: None)
        assert kept.child_pid is None


def test_a_generation_that_is_only_kept_and_damaged_keeps_nobody_from_the_live_one(world: World):
    """Although something is to be forgotten, which is owed until that one is whole, or gone."""
    world.reindex(FIRST)
    (first,) = world.index
    world.reindex(SECOND)
    with world.whole(SECOND) as whole:
        SqliteForgetting(whole.database).forget(SOURCE, [DocumentId("leave.md")])
    (world.root / ".freshd/index" / first / "identity.json").write_text("damaged")
    assert world.reindex(SECOND).documents["failed"] == 0
    with world.whole(SECOND) as whole:
        shown = {document_id for document_id, _ in hits(whole, "all there is")}
        assert SqliteForgetting(whole.database).must_scrub
    assert shown
    assert "leave.md" not in shown


# A ledger that was brought back from before a change of generation


def test_an_old_ledger_makes_no_empty_generation_and_has_the_good_one_not_discarded(world: World):
    """What rolled off its feed is nowhere but in that one; a ledger rebuilt from it knows all of it."""
    with ledger_from_before_a_change(world) as news:
        (second,) = world.index
        refuses_and_is_rebuilt(world, news)
        assert second in world.index


def test_nor_does_a_forgetting_make_one_by_the_way(world: World):
    with ledger_from_before_a_change(world) as news:
        before = world.index
        with (
            without_its_store(world, news) as whole,
            pytest.raises(GenerationReplaced),
        ):
            whole.remover().forget([(SOURCE, DocumentId("leave.md"))])
        assert world.index == before


def test_on_a_server_likewise(hosted: World, server: Standin):
    with ledger_from_before_a_change(hosted) as news:
        (second,) = collections(server)
        refuses_and_is_rebuilt(hosted, news)
        assert alias(server) == second


def test_a_daemon_that_is_refused_so_says_it_and_goes_on(world: World):
    with ledger_from_before_a_change(world) as news:
        before = world.index
        with (
            without_its_store(world, news) as whole,
            closing_live(whole) as live,
        ):
            eventually(lambda: "ledger calls live" in str(live.status()["store"]["error"]))
            assert live.tick()
        assert world.index == before


@contextmanager
def without_its_store(world: World, news: str) -> Iterator[Whole]:
    """Open all but the store, as a daemon does, and who forgets."""
    config = load(world.configure(SECOND, extra=news))
    with (
        mock.patch.object(compose, "open_embedder", world.model),
        open_whole(config, Secrets(), must_open_store=False) as whole,
    ):
        yield whole


@contextmanager
def closing_live(whole: Whole) -> Iterator[Live]:
    live = Live(whole)
    live.start()
    try:
        yield live
    finally:
        live.stop()


@contextmanager
def ledger_from_before_a_change(world: World) -> Iterator[str]:
    """Have only the generation of SECOND there, and a ledger that knows only that of FIRST; serve a feed."""
    with ScriptedServer() as server:
        news = f'[[sources]]\nname = "news"\ntype = "feed"\nurl = "{server.url("/feed")}"\n'
        news += f'allow_private_hosts = ["{server.host}"]\n'
        server.on("/feed", feed("elks", "moose"))
        world.reindex(FIRST, extra=news)
        ledger = world.root / ".freshd/ledger.db"
        shutil.copy(ledger, world.root / "ledger.old")
        server.on("/feed", feed("moose", "hares"))
        world.reindex(SECOND, extra=news)
        with world.whole(SECOND, extra=news, settings='[generations]\nkeep_for = "1ms"\n') as whole:
            while whole.generations.advance(lambda: None):
                pass
        server.on("/feed", feed("moose", "wolves"))
        for path in ledger.parent.glob("ledger.db*"):
            path.unlink()
        shutil.copy(world.root / "ledger.old", ledger)
        yield news


def refuses_and_is_rebuilt(world: World, news: str) -> None:
    with pytest.raises(GenerationReplaced, match="which the ledger calls live") as refused:
        world.reindex(SECOND, extra=news)
    assert refused.value.exit_code == 12
    assert "freshd ledger rebuild" in refused.value.hint
    config = load(world.configure(SECOND, extra=news))
    with mock.patch.object(rebuilding, "open_embedder", world.model):
        rebuild_ledger(config, Secrets(), confirm=lambda _: None)
    assert len(world.embedded(lambda: world.reindex(SECOND, extra=news))) == 1, "the wolves"
    with world.whole(SECOND, extra=news) as whole:
        found = {text for _, text in hits(whole, "all about animals")}
        assert not whole.verify().by_source
    assert {f"All about {name}." for name in ("elks", "moose", "hares", "wolves")} <= found


# On a server


@pytest.fixture
def server() -> Iterator[Standin]:
    with serving() as standin:
        yield standin


@pytest.fixture
def hosted(tmp_path: Path, server: Standin) -> Iterator[World]:
    yield World(tmp_path, store=f'[store]\nurl = "{server.url}"\n')
    faults.arm("")


def alias(server: Standin) -> str | None:
    held = {one.alias_name: one.collection_name for one in server.client.get_aliases().aliases}
    return held.get("knowledge")


def collections(server: Standin) -> set[str]:
    return {one.name for one in server.client.get_collections().collections}


def test_on_a_server_the_alias_goes_along(hosted: World, server: Standin):
    hosted.reindex(FIRST)
    (first,) = collections(server)
    assert alias(server) == first
    seen: set[str | None] = set()
    hosted.fill(SECOND, lambda *_: seen.add(alias(server)))
    assert seen == {first}
    (second,) = collections(server) - {first}
    assert alias(server) == second
    with hosted.whole(SECOND) as whole:
        assert hosted.dump(whole) == hosted.scratch(SECOND)
    hosted.reindex(THIRD)
    assert first not in collections(server)
    assert alias(server) in collections(server) - {second}


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_over_a_server_it_is_finished_by_the_next_run(hosted: World, server: Standin, point: str):
    """A real kill -9 of a real process, whose server goes on."""
    hosted.reindex(FIRST)
    hosted.reindex(SECOND)
    second = alias(server)
    process = changing_model(hosted, FRESHD_FAULTS=f"{point}:kill")
    assert process.wait(60) == -signal.SIGKILL
    assert alias(server) == second in collections(server)
    assert_finished(hosted, server)


@pytest.mark.parametrize("method_and_path", [("PUT", "/points"), ("PUT", "/index"), ("POST", "/aliases")])
@pytest.mark.parametrize("is_applied", [False, True])
def test_killed_while_a_server_is_asked_it_is_finished_by_the_next_run(
    hosted: World, server: Standin, method_and_path: tuple[str, str], is_applied: bool
):
    """Before the server does it, or before anybody hears that it did."""
    hosted.reindex(FIRST)
    method, end = method_and_path
    answer, is_stopped = server.answer, threading.Event()

    def then_kill(*request: Any) -> Any:
        if request[0] != method or not request[1].endswith(end) or is_stopped.is_set():
            return answer(*request)
        is_stopped.set()
        result = answer(*request) if is_applied else None
        os.kill(process.pid, signal.SIGKILL)
        eventually(lambda: state_of(process.pid) in ("", "Z"))
        return result

    server.answer = then_kill  # type: ignore[method-assign]
    process = changing_model(hosted)
    assert process.wait(60) == -signal.SIGKILL
    assert is_stopped.is_set()
    assert alias(server) in collections(server)
    assert_finished(hosted, server)


def changing_model(world: World, **environment: str) -> forked.Forked:
    config = world.configure(THIRD)
    how = {"folder": config.parent, "module": "tests.kit.models", "environment": environment}
    return forked.start("reindex", "--config", str(config), **how)


def assert_finished(world: World, server: Standin) -> None:
    """By nothing but the next run: the alias stands for a whole index, and none but it and the former one is left."""
    world.reindex(THIRD)
    with world.whole(THIRD) as whole:
        assert world.dump(whole) == world.scratch(THIRD)
        assert_whole(whole)
        assert alias(server) == whole.generations.current.record.name
    assert len(collections(server)) == 2


def test_a_run_whose_alias_could_not_follow_says_so_and_the_next_one_brings_it_along(hosted: World, server: Standin):
    """Whoever else reads the collection would be left with the former one."""
    hosted.reindex(FIRST)
    former, point = alias(server), aliases.point

    def point_nowhere_else(client: QdrantClient, name: str, collection: str) -> None:
        if collection != former:
            raise StoreUnavailable("no answer")
        point(client, name, collection)

    with mock.patch.object(aliases, "point", point_nowhere_else), pytest.raises(StoreUnavailable, match="no answer"):
        hosted.reindex(SECOND)
    hosted.reindex(SECOND)
    assert alias(server) in collections(server) - {former}


def test_an_alias_that_was_left_behind_is_brought_along_at_the_next_start(hosted: World, server: Standin):
    hosted.reindex(FIRST)
    before = alias(server)
    faults.arm("after_switch:raise")
    with pytest.raises(OSError, match="injected"):
        hosted.reindex(SECOND)
    faults.arm("")
    assert alias(server) == before
    with hosted.whole(SECOND) as whole:
        assert alias(server) == whole.generations.current.record.name != before


def test_nothing_is_called_fresh_while_the_alias_leads_nowhere_or_elsewhere(hosted: World, server: Standin):
    """Whoever asks the server by that name would find nothing, or what another wrote; one that is free is taken."""
    from qdrant_client import models

    gone = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name="knowledge"))
    theirs = models.CreateAlias(collection_name="theirs", alias_name="knowledge")
    own = models.VectorParams(size=4, distance=models.Distance.COSINE)
    server.client.create_collection("theirs", vectors_config=own)
    hosted.reindex(FIRST)
    with hosted.whole(FIRST) as whole:
        (ours,) = collections(server) - {"theirs"}
        server.client.update_collection_aliases([gone])
        whole.marks.probe()
        assert alias(server) == ours
        server.client.update_collection_aliases([gone, models.CreateAliasOperation(create_alias=theirs)])
        with pytest.raises(CollectionMismatch, match="belongs to no freshd"):
            whole.marks.probe()
        assert alias(server) == "theirs"


def test_a_collection_of_somebody_elses_that_has_the_name_is_refused_untouched(hosted: World, server: Standin):
    from qdrant_client import models

    own = models.VectorParams(size=4, distance=models.Distance.COSINE)
    server.client.create_collection("knowledge", vectors_config=own)
    with pytest.raises(CollectionMismatch, match="expected that name to be free"):
        hosted.reindex(FIRST)
    assert collections(server) == {"knowledge"}


def test_an_alias_of_somebody_elses_is_refused_untouched(hosted: World, server: Standin):
    from qdrant_client import models

    own = models.VectorParams(size=4, distance=models.Distance.COSINE)
    server.client.create_collection("theirs", vectors_config=own)
    action = models.CreateAlias(collection_name="theirs", alias_name="knowledge")
    server.client.update_collection_aliases([models.CreateAliasOperation(create_alias=action)])
    with pytest.raises(CollectionMismatch, match="belongs to no freshd"):
        hosted.reindex(FIRST)
    assert (collections(server), alias(server)) == ({"theirs"}, "theirs")


def test_a_collection_of_another_instance_is_never_discarded(hosted: World, server: Standin):
    hosted.reindex(FIRST)
    with hosted.whole(SECOND) as whole:
        wanted = whole.generations._wanted.name
        whole.generations.settle()
    theirs = {"freshd": {"instance": "somebody else's"}}
    from qdrant_client import models

    own = models.VectorParams(size=4, distance=models.Distance.COSINE)
    server.client.create_collection(wanted, vectors_config=own, metadata=theirs)
    with pytest.raises(CollectionMismatch, match="belongs to instance somebody else's"):
        hosted.reindex(SECOND)
    assert wanted in collections(server)
