"""One source as it is kept up: hints, watch, scans, and that no fault of it costs its next turn."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from freshd.errors import SourceUnavailable
from freshd.model import Hint, SourceName
from freshd.scheduler import Observer, Scan
from freshd.scheduler.lane import Lane
from tests.scheduler.parts import SOURCE, Bench, MemorySource, down

SECOND = timedelta(seconds=1)
HUNDRED = [f"page{n:03}.md" for n in range(100)]


@dataclass
class Watching:
    """A watch a test gives hints through."""

    on_hint: Callable[[Hint], None]
    degraded: str | None = None

    def close(self) -> None:
        """Nothing to stop."""


@dataclass
class WatchedSource(MemorySource):
    """A source that can be watched."""

    watches: list[Watching] = field(default_factory=list)
    unwatchable: Exception | None = None

    def watch(self, on_hint: Callable[[Hint], None]) -> Watching:
        if self.unwatchable is not None:
            raise self.unwatchable
        self.watches.append(Watching(on_hint))
        return self.watches[-1]


class Heard(Observer):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.scans: list[Scan] = []
        self.failures: list[tuple[str, int]] = []
        self.watch: list[str | None] = []

    def scanned(self, scan: Scan) -> None:
        self.scans.append(scan)

    def scan_failed(self, source: SourceName, error: Exception, failures: int) -> None:
        self.failures.append((str(error), failures))

    def watch_changed(self, source: SourceName, degraded: str | None) -> None:
        self.watch.append(degraded)


class Kept:
    """A lane over a bench's source, and what it told."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.heard = bench, Heard()
        self.source = WatchedSource(bench.clock)
        bench.source = self.source
        bench.connectors[SOURCE] = self.source
        bench.scanner = bench.scanner_of(SOURCE, self.source)
        self.lane = Lane(
            scanner=bench.scanner,
            sources=bench.sources,
            marks=bench.marks,
            clock=bench.clock,
            observer=self.heard,
            on_recorded=lambda: None,
            on_hint=lambda: None,
        )

    def hint(self, *places: str, is_settled: bool = True) -> None:
        for place in places:
            self.source.watches[-1].on_hint(Hint(place, is_settled, self.bench.clock.now()))

    def follow_hints(self) -> bool:
        """Look wherever it is called for, as time passes, until nothing is; tell whether a scan is wanted."""
        wants_scan = False
        while (due_s := self.lane.hints.next_due_s()) is not None:
            self.bench.clock.advance(timedelta(seconds=max(0.0, due_s - self.bench.clock.monotonic()) + 0.001))
            if due := self.lane.hints.take(self.bench.clock.monotonic()):
                wants_scan |= self.lane.look(due)
        return wants_scan


@pytest.fixture
def kept(bench: Bench) -> Kept:
    made = Kept(bench)
    bench.index_all(HUNDRED)
    bench.clock.advance(SECOND)
    made.lane.scan()
    bench.apply()
    bench.clock.advance(SECOND)
    return made


def test_a_source_is_watched_before_it_is_listed(bench: Bench):
    """Else a change in between would be seen by neither."""
    kept = Kept(bench)
    seen: list[int] = []
    kept.source.before_listing = lambda: seen.append(len(kept.source.watches))
    kept.lane.scan()
    assert seen == [1]
    assert kept.lane.watch == "watching"


def test_an_edit_is_found_by_its_hint(kept: Kept):
    kept.source.write("page007.md", "# New\n\nNew.\n")
    kept.hint("page007.md")
    assert not kept.follow_hints()
    assert kept.bench.pending() == {"page007.md": "modified"}


def test_a_folder_removed_file_by_file_is_held(kept: Kept):
    """`rm -rf`: a hint for each file while it goes on, and one for the folder at its end."""
    names = [f"guide/{n:02}.md" for n in range(60)]
    kept.bench.index_all(names)
    for name in names:
        kept.source.delete(name)
        kept.hint(name)
        kept.bench.clock.advance(timedelta(milliseconds=50))
        if due := kept.lane.hints.take(kept.bench.clock.monotonic()):
            kept.lane.look(due)
            kept.bench.apply()
    kept.hint("guide")
    kept.follow_hints()
    kept.bench.apply()
    kept.lane.scan()
    kept.bench.apply()
    deleted = 160 - len(kept.bench.store.documents())
    assert deleted <= 32  # a fifth of the source
    assert deleted + len(kept.bench.ledger.held(SOURCE)) == 60


def test_a_renamed_folder_is_moved_by_its_hints(kept: Kept):
    kept.bench.index_all([f"guide/{n:02}.md" for n in range(40)])
    kept.source.rename("guide", "manual")
    kept.hint("guide", "manual")
    kept.follow_hints()
    kept.bench.apply()
    assert kept.bench.store.documents() == {*HUNDRED, *(f"manual/{n:02}.md" for n in range(40))}
    assert kept.bench.ledger.held(SOURCE) == []
    assert sum(outcome.fates.embedded for outcome, _ in kept.bench.outcomes) == 0


def test_a_document_renamed_and_edited_after_many_deletions_is_followed_by_the_hint_at_its_new_name_alone(kept: Kept):
    """So many are gone that an inode proves no move; where the old name was left, no hint has said yet."""
    for name in HUNDRED[:20]:
        kept.source.delete(name)
        kept.hint(name)
    assert not kept.follow_hints()
    kept.bench.apply()
    kept.source.rename("page050.md", "new.md")
    kept.source.write("new.md", "# Edited\n\nEdited.\n")
    kept.hint("new.md")
    assert kept.follow_hints()
    assert kept.heard.failures == []
    assert kept.bench.pending() == {"new.md": "added"}


def test_a_deletion_that_can_only_be_judged_by_a_scan_asks_for_one(kept: Kept):
    for name in HUNDRED[:40]:
        kept.source.delete(name)
    for n in range(5):
        kept.source.write(f"new{n}.md")
    kept.hint(*HUNDRED[:40], *(f"new{n}.md" for n in range(5)))
    assert kept.follow_hints()


def test_a_look_at_a_source_that_does_not_answer_asks_for_a_scan(kept: Kept):
    kept.source.down = down()
    kept.hint("page001.md")
    assert kept.follow_hints()
    assert kept.heard.failures == []  # the scan will tell


def test_a_fault_of_a_connector_in_a_look_is_told_and_asks_for_a_scan(kept: Kept):
    kept.source.down = RuntimeError("a fault")
    kept.hint("page001.md")
    assert kept.follow_hints()
    assert kept.heard.failures == [("a fault", 1)]


@pytest.mark.parametrize("error", [down(), RuntimeError("a fault")], ids=["away", "fault"])
def test_a_source_that_fails_is_tried_again_ever_later_and_recovers(kept: Kept, error: Exception):
    kept.source.down = error
    pauses = []
    for _ in range(3):
        pauses.append(kept.lane.scan() - kept.bench.clock.now())
    assert pauses == [60 * SECOND, 120 * SECOND, 240 * SECOND]
    assert [n for _, n in kept.heard.failures] == [1, 2, 3]
    assert kept.bench.sources.state(SOURCE).failing_since is not None
    kept.source.down = None
    assert kept.lane.scan() - kept.bench.clock.now() == 30 * SECOND
    assert kept.bench.sources.state(SOURCE).failing_since is None


def test_a_server_is_asked_when_it_wishes(kept: Kept):
    wish = kept.bench.clock.now() + timedelta(hours=5)
    kept.source.down = SourceUnavailable("503", not_before=wish)
    assert kept.lane.scan() == wish


def test_a_ledger_that_another_program_holds_does_not_cost_the_source_its_next_turn(kept: Kept, tmp_path: Path):
    """Not even that the scan failed can be written down then."""
    holder = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        assert kept.lane.scan() > kept.bench.clock.now()
        assert kept.heard.failures
        holder.execute("ROLLBACK")
    finally:
        holder.close()
    kept.source.write("new.md")
    kept.lane.scan()
    assert kept.bench.pending() == {"new.md": "added"}


def test_a_source_that_cannot_be_watched_fails_like_one_that_cannot_be_listed(bench: Bench):
    kept = Kept(bench)
    kept.source.unwatchable = RuntimeError("no watch")
    assert kept.lane.scan() > bench.clock.now()
    assert kept.heard.failures == [("no watch", 1)]
    kept.source.unwatchable = None
    kept.lane.scan()
    assert kept.lane.watch == "watching"


def test_a_broken_watch_is_begun_anew_but_not_at_every_scan(kept: Kept):
    kept.source.watches[-1].degraded = "the root was removed"
    kept.lane.look_at_watch()
    assert kept.lane.watch == "the root was removed"
    kept.lane.scan()
    assert len(kept.source.watches) == 1
    kept.bench.clock.advance(61 * SECOND)
    kept.lane.scan()
    assert len(kept.source.watches) == 2
    assert kept.heard.watch == ["the root was removed", None]


def test_a_second_look_comes_soon_where_deletions_wait_for_unread_documents(kept: Kept):
    for n, name in enumerate(HUNDRED[:40]):
        text = kept.source.documents[name].text
        kept.source.delete(name)
        kept.source.write(f"other/{n}.md", text)
    assert kept.lane.scan() - kept.bench.clock.now() <= 2 * SECOND
    assert kept.bench.marks.release() == []


def test_nobody_looks_after_the_end(kept: Kept):
    kept.bench.scanner.stop()
    assert kept.lane.join(1.0)
    assert not kept.bench.scanner.join(0.01)


# Somebody writes


def test_what_a_scan_sees_of_a_document_being_written_waits_until_the_writer_pauses(kept: Kept):
    """Half a sentence is no answer; yet it is a change, and nothing is called fresh while it waits."""
    bench = kept.bench
    bench.ledger.spare(kept.lane.being_written, timedelta(seconds=60))
    began_at = bench.clock.now()
    for n in range(8):
        kept.source.write("page007.md", f"# Half\n\nPart {n} of it.\n")
        kept.hint("page007.md", is_settled=False)
        bench.clock.advance(SECOND / 4)
        if n == 4:
            kept.source.write("page008.md", "# Whole\n\nDone.\n")
        bench.apply()
        kept.lane.scan()
        bench.apply()
    assert [outcome.change.document_id for outcome, _ in bench.outcomes] == ["page008.md"]
    assert kept.bench.pending() == {"page007.md": "modified"}
    assert bench.sources.state(SOURCE).watermark_at(bench.clock.now()) <= began_at
    assert bench.ledger.is_through(SOURCE, bench.ledger.last_seq(), due_by=bench.clock.now())
    kept.follow_hints()
    bench.apply()
    assert [outcome.change.document_id for outcome, _ in bench.outcomes] == ["page008.md", "page007.md"]
    assert any("Part 7" in point.payload["page_content"] for point in bench.store.points.values())


def test_a_document_whose_writer_never_pauses_is_applied_a_minute_after_it_was_seen(kept: Kept):
    bench = kept.bench
    bench.ledger.spare(lambda: [(SOURCE, "page007.md")], timedelta(seconds=60))
    waited = timedelta(0)
    while not bench.outcomes and waited < timedelta(seconds=90):
        kept.source.write("page007.md")
        kept.lane.scan()
        bench.apply()
        bench.clock.advance(SECOND / 2)
        waited += SECOND / 2
    assert waited == pytest.approx(timedelta(seconds=60), abs=SECOND)


def test_a_listing_that_falls_short_is_remembered_until_a_whole_one_comes(kept: Kept):
    kept.source.unreadable = ("guide", "manual")
    kept.lane.scan()
    assert kept.bench.sources.state(SOURCE).last_error == "guide: cannot be read, and 1 more"
    assert kept.bench.sources.state(SOURCE).failing_since is None
    kept.source.unreadable = ()
    kept.lane.scan()
    assert kept.bench.sources.state(SOURCE).last_error is None
    kept.source.is_complete = False
    kept.lane.scan()
    assert "broke off" in str(kept.bench.sources.state(SOURCE).last_error)
