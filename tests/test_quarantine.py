"""A document that cannot be read is told with its reason; its last good state stays, stale, until it is mended."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from freshd.compose import open_whole
from freshd.config import Secrets, load
from freshd.errors import ParseError, ParserDied
from freshd.ledger.database import Database
from freshd.ledger.quarantine import SqliteQuarantine
from freshd.model import Document, DocumentId, DocumentRef, ParsedDocument, SourceName
from freshd.parsers import Parsers
from freshd.pipeline import recipe as recipe_room
from freshd.report import search_answer
from freshd.state import StateDirectory
from tests.kit import forked
from tests.parsers.samples import docx, paragraph, pdf, presentation, saved, workbook
from tests.scheduler.parts import SOURCE, Bench, down

ROOT = Path(__file__).parent.parent
CONFIG = '[http]\nlisten = "127.0.0.1:0"\n[[sources]]\nname = "handbook"\ntype = "files"\npath = "docs"\n'

GOOD = {
    "leave.docx": docx(paragraph("Leave", "Heading1"), paragraph("Twenty-eight days of leaveword.")),
    "rooms.xlsx": saved(workbook([["Room", "Seats"], ["roomword", 12]])),
    "goals.pptx": saved(presentation(("Goals", "Ship the goalword"))),
    "travel.pdf": pdf("Trains are booked, says the travelword."),
    "page.html": b"<h1>Page</h1><p>The pageword.",
    "plain.md": b"# Plain\n\nThe plainword.\n",
}

BAD = {
    "leave.docx": (GOOD["leave.docx"][:800], "got a damaged archive"),
    "rooms.xlsx": (b"PK\x03\x04 [Content_Types].xml nothing", "got a damaged archive"),
    "travel.pdf": (pdf("secret", password="pw"), "got an encrypted PDF"),
    "page.html": (b"<!doctype html>" + b"<div>" * 3_000, "nested over 2000 deep"),
    "plain.md": (b"\0\1\2" * 300, "got binary data (NUL bytes)"),
    "endless.txt": (b"a" * (11 << 20), "11,534,336 characters of text, expected at most 10,485,760"),
    "scan.pdf": (pdf(""), "got a PDF without text"),
}


class Folder:
    """A config and documents, worked on by the command line."""

    def __init__(self, root: Path) -> None:
        self.root, self.docs = root, root / "docs"
        self.docs.mkdir()
        (root / "freshd.toml").write_text(CONFIG)

    def write(self, contents: dict[str, bytes]) -> None:
        for name, content in contents.items():
            (self.docs / name).write_bytes(content)

    def freshd(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return forked.run(*arguments, folder=self.root, environment={"COLUMNS": "200"}, timeout_s=100)

    def source(self) -> dict[str, Any]:
        (source,) = json.loads(self.freshd("status", "--json").stdout)["sources"]
        return source

    def hits(self, *words: str) -> dict[str, dict[str, bool]]:
        """Documents that a search finds by each word, and whether each is said to be stale."""
        with open_whole(load(self.root / "freshd.toml"), Secrets()) as whole:
            answers = {
                word: search_answer(whole.search.search(word), SqliteQuarantine(whole.database)) for word in words
            }
        return {
            word: {hit["document_id"]: hit["is_stale"] for hit in answer["hits"] if word in hit["text"]}
            for word, answer in answers.items()
        }


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, Any]:
    """Six documents, all but one of which became bad, and two that were never good."""
    folder = Folder(tmp_path_factory.mktemp("quarantine"))
    folder.write(GOOD)
    first = folder.freshd("reindex")
    assert first.returncode == 0, first.stderr
    assert folder.source()["quarantine"] == []
    folder.write({name: content for name, (content, _) in BAD.items()})
    return folder, folder.freshd("reindex")


def test_a_run_tells_every_bad_document_with_its_reason_and_goes_on(damaged):
    _, done = damaged
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    for name, (_, reason) in BAD.items():
        assert any(name in line and reason in line for line in done.stderr.splitlines()), name


def test_the_status_names_every_quarantined_document_and_why(damaged):
    folder, _ = damaged
    source, now = folder.source(), datetime.now(UTC)
    assert (source["status"], source["quarantined"]) == ("warn", len(BAD))
    named = {one["document_id"]: one for one in source["quarantine"]}
    assert named.keys() == BAD.keys()
    for name, (_, reason) in BAD.items():
        one = named[name]
        assert reason in one["error"]
        assert name not in one["error"]  # it is said already
        assert one["attempts"] == 1
        assert timedelta(minutes=50) < datetime.fromisoformat(one["next_try_at"]) - now < timedelta(hours=1)
        assert one["is_indexed"] is (name in GOOD)
    shown = folder.freshd("status").stdout
    assert "7 documents could not be read or indexed; what the index held of them before stays" in shown
    assert "  travel.pdf: got an encrypted PDF" in shown
    assert "… 2 more documents: freshd status --json" in shown


def test_the_last_good_state_is_found_and_said_to_be_stale(damaged):
    folder, _ = damaged
    assert folder.hits("leaveword", "roomword", "travelword", "pageword", "plainword", "goalword") == {
        "leaveword": {"leave.docx": True},
        "roomword": {"rooms.xlsx": True},
        "travelword": {"travel.pdf": True},
        "pageword": {"page.html": True},
        "plainword": {"plain.md": True},
        "goalword": {"goals.pptx": False},
    }


def test_a_mended_or_deleted_document_leaves_the_quarantine_and_a_run_tries_the_others_again(damaged):
    folder, _ = damaged
    (folder.docs / "scan.pdf").unlink()
    folder.write({"travel.pdf": pdf("Flights now, says the flightword.")})
    assert folder.freshd("reindex").returncode == 3
    assert folder.hits("flightword", "travelword") == {"flightword": {"travel.pdf": False}, "travelword": {}}
    named = {one["document_id"]: one["attempts"] for one in folder.source()["quarantine"]}
    assert named == dict.fromkeys(BAD.keys() - {"travel.pdf", "scan.pdf"}, 2)


def test_the_quarantine_is_read_while_nobody_runs(damaged):
    folder, _ = damaged
    with closing(Database(StateDirectory(folder.root / ".freshd").ledger_path)) as database:
        quarantine = SqliteQuarantine(database)
        assert len(quarantine.of(SourceName("handbook"), 2)) == 2
        asked = {(SourceName("handbook"), DocumentId(f"{n}.md")) for n in range(1_000)}
        page = (SourceName("handbook"), DocumentId("page.html"))
        assert quarantine.stale({*asked, page}) == {page}
        assert quarantine.stale([]) == set()


# Attempts and pauses


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


class Failing(Parsers):
    """Fails on one document."""

    def __init__(self, error: type[ParseError] | type[MemoryError]) -> None:
        self._error = error
        self.is_mended = False
        self.n_tried = 0

    def parse(self, document: Document) -> ParsedDocument:
        if document.ref.document_id == "poison.md":
            self.n_tried += 1
            if not self.is_mended:
                raise self._error("got poison")
        return super().parse(document)


def poison(bench: Bench, error: type[ParseError] | type[MemoryError]) -> Failing:
    parser = Failing(error)
    use(bench, parser)
    bench.source.write("poison.md", "poison")
    bench.source.write("good.md", "good")
    bench.scan()
    bench.apply()
    return parser


def use(bench: Bench, parser: Parsers) -> None:
    """Have a bench's pipeline take documents apart with another parser."""
    for part in (bench.pipeline, getattr(bench.pipeline, "_writer", bench.pipeline)):
        recipe = part._recipe  # type: ignore[attr-defined]
        part._recipe = recipe_room.Recipe(parser, recipe.limits, recipe.embedder, recipe.identity)  # type: ignore[attr-defined]


def tries_until_quarantine(bench: Bench) -> int:
    tries = 1
    while not bench.sources.state(SOURCE).quarantined:
        bench.clock.advance(timedelta(seconds=40))
        bench.apply()
        tries += 1
        assert tries < 10
    return tries


@pytest.mark.parametrize(("error", "tries"), [(ParseError, 1), (ParserDied, 3), (MemoryError, 3)])
def test_poison_is_quarantined_at_once_or_after_three_tries_where_it_may_not_be_its_fault(bench: Bench, error, tries):
    poison(bench, error)
    assert tries_until_quarantine(bench) == tries
    assert bench.store.documents() == {"good.md"}


def test_a_quarantined_document_is_tried_after_an_hour_and_later_once_a_day(bench: Bench):
    parser = poison(bench, ParseError)
    pauses = []
    for _ in range(60):
        (one,) = SqliteQuarantine(bench.database).of(SOURCE, 5)
        assert one.next_try_at is not None
        pause = one.next_try_at - bench.clock.now()
        pauses.append(pause / timedelta(hours=1))
        tried = parser.n_tried
        bench.clock.advance(pause - timedelta(seconds=1))
        bench.apply()
        assert parser.n_tried == tried
        bench.clock.advance(timedelta(seconds=1))
        bench.apply()
        assert parser.n_tried == tried + 1
    assert pauses == [1, 1, 1, 2, 4, 8, 16] + [24] * 53


def away(ref: DocumentRef) -> NoReturn:
    raise down()


def test_a_source_that_is_away_uses_up_no_attempt_of_a_document(bench: Bench):
    use(bench, Failing(ParserDied))
    bench.source.write("poison.md", "poison")
    bench.scan()
    bench.source.before_read = away
    for _ in range(60):
        bench.apply()
        bench.clock.advance(timedelta(seconds=10))
    assert [(one.document_id, one.error) for one in bench.ledger.left(SOURCE)] == [("poison.md", "no answer")]
    bench.source.before_read = lambda _: None
    tries_until_quarantine(bench)
    (one,) = SqliteQuarantine(bench.database).of(SOURCE, 5)
    assert one.attempts == 3


def test_a_quarantined_document_stays_so_for_its_own_reason_while_its_source_is_away(bench: Bench):
    poison(bench, ParseError)
    bench.source.before_read = away
    bench.clock.advance(timedelta(hours=1))
    bench.apply()
    (one,) = SqliteQuarantine(bench.database).of(SOURCE, 5)
    assert (one.error, one.attempts) == ("got poison", 1)


def test_a_quarantined_document_is_tried_at_once_when_it_changes(bench: Bench):
    parser = poison(bench, ParseError)
    parser.is_mended = True
    bench.apply()
    assert bench.store.documents() == {"good.md"}
    bench.source.write("poison.md", "changed")
    bench.scan()
    bench.apply()
    assert bench.store.documents() == {"good.md", "poison.md"}
    assert bench.sources.state(SOURCE).quarantined == 0


def test_a_quarantined_document_is_tried_at_once_when_all_is_begun_anew(bench: Bench):
    """As at every start: another version may read what this one cannot."""
    poison(bench, ParseError).is_mended = True
    bench.ledger.hurry()
    (one,) = SqliteQuarantine(bench.database).of(SOURCE, 5)
    assert one.next_try_at is None
    bench.apply()
    assert bench.store.documents() == {"good.md", "poison.md"}


class Slow(Parsers):
    """Takes as long as a parser may over some documents."""

    def __init__(self, bench: Bench) -> None:
        self._clock = bench.clock
        self.tried: list[str] = []

    def parse(self, document: Document) -> ParsedDocument:
        self.tried.append(document.ref.document_id)
        if document.ref.document_id.startswith("slow"):
            self._clock.advance(timedelta(seconds=30))
            raise ParseError("got no end of parsing it within 30 s")
        return super().parse(document)


def test_an_edit_waits_for_one_document_that_hangs_at_most_and_for_none_that_did_before(bench: Bench):
    parser = Slow(bench)
    use(bench, parser)
    for name in ("slow-1.md", "slow-2.md", "slow-3.md"):
        bench.source.write(name, name)
    bench.scan()
    bench.apply()
    assert parser.tried == ["slow-1.md", "slow-2.md", "slow-3.md"]
    bench.clock.advance(timedelta(hours=2))
    bench.source.write("edit.md", "edited")
    bench.scan()
    parser.tried.clear()
    bench.pipeline.run(bench.ledger.take(bench.clock.now(), 64))
    assert parser.tried == ["edit.md", "slow-1.md"]
    assert bench.store.documents() == {"edit.md"}


def test_a_document_of_too_many_chunks_is_quarantined_with_the_number(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recipe_room, "MAX_DOCUMENT_CHUNKS", 50)
    bench.source.write("many.md", "".join(f"# {n}\n\ntext {n}\n\n" for n in range(51)))
    bench.source.write("few.md", "".join(f"# {n}\n\ntext {n}\n\n" for n in range(50)))
    bench.scan()
    bench.apply()
    assert bench.store.documents() == {"few.md"}
    (one,) = SqliteQuarantine(bench.database).of(SOURCE, 5)
    assert "got 51 chunks, expected at most 50 of one document" in one.error
