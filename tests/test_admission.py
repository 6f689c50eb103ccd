"""Which chunks a search may show while a document is being replaced."""

import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshd.admission import Admission
from freshd.chunker import ChunkLimits
from freshd.model import ChunkId, Digest, SourceName
from freshd.parsers import Parsers
from freshd.pipeline import Pipeline, Recipe
from tests.scheduler.parts import FAR, Bench

SOURCE = SourceName("handbook")
KEY = (SOURCE, "a.md")
OLD, NEW = frozenset(map(ChunkId, ("kept", "old"))), frozenset(map(ChunkId, ("kept", "new")))
EVERYTHING = sorted(OLD | NEW)


class Applied:
    """What admission asks a ledger; here all chunks are of one document, in the order of their names."""

    def __init__(self, chunks: Collection[ChunkId] = ()) -> None:
        self.chunks = frozenset(chunks)

    def admitted(self, chunk_ids: Sequence[ChunkId]) -> set[ChunkId]:
        return set(chunk_ids) & self.chunks

    def around(self, chunk_ids: Sequence[ChunkId], reach: int) -> dict[ChunkId, tuple[ChunkId, ...]]:
        row = sorted(self.chunks)
        places = {chunk_id: row.index(chunk_id) for chunk_id in chunk_ids if chunk_id in self.chunks}
        return {chunk_id: tuple(row[max(0, at - reach) : at + reach + 1]) for chunk_id, at in places.items()}


@pytest.fixture
def applied() -> Applied:
    return Applied(OLD)


@pytest.fixture
def admission(applied: Applied) -> Admission:
    return Admission(applied)


def test_what_the_ledger_applied_is_shown_and_nothing_else(admission: Admission):
    """After a crash the store may hold more: what a broken attempt left."""
    assert admission.admits([*EVERYTHING, ChunkId("debris")]) == OLD
    assert admission.admits([]) == set()


def test_a_switch_shows_the_new_revision_at_once_and_the_old_one_no_more(admission: Admission):
    admission.switch(KEY, NEW, OLD)
    assert admission.admits(EVERYTHING) == NEW


def test_only_what_was_asked_for_is_given(admission: Admission):
    admission.switch(KEY, NEW, OLD)
    assert admission.admits([ChunkId("new")]) == {"new"}


def test_the_answer_stays_the_same_while_the_ledger_learns_of_a_switch(admission: Admission, applied: Applied):
    admission.switch(KEY, NEW, OLD)
    applied.chunks = NEW
    assert admission.admits(EVERYTHING) == NEW
    admission.settle(*KEY)
    assert admission.admits(EVERYTHING) == NEW


def test_once_settled_the_ledger_speaks_again(admission: Admission, applied: Applied):
    admission.switch(KEY, NEW, OLD)
    admission.settle(*KEY)
    admission.settle(*KEY)
    applied.chunks = OLD
    assert admission.admits(EVERYTHING) == OLD


def test_a_deleted_document_disappears_at_the_switch(admission: Admission):
    admission.switch(KEY, frozenset(), OLD)
    assert admission.admits(EVERYTHING) == set()


def test_a_moved_document_shows_in_its_new_place_only(admission: Admission):
    moved = frozenset({ChunkId("elsewhere")})
    admission.switch((SOURCE, "b.md"), moved, OLD)
    assert admission.admits([*EVERYTHING, *moved]) == moved


def test_a_second_switch_before_the_first_is_settled_hides_both_earlier_revisions(admission: Admission):
    """The store failed after the first switch; the next attempt is planned against what the ledger knows."""
    newest = frozenset({ChunkId("newest")})
    admission.switch(KEY, NEW, OLD)
    admission.switch(KEY, newest, OLD)
    assert admission.admits([*EVERYTHING, *newest]) == newest
    admission.switch(KEY, OLD, OLD)
    assert admission.admits([*EVERYTHING, *newest]) == OLD


def test_switches_of_other_documents_stay_when_one_is_settled(admission: Admission):
    other = (SOURCE, "b.md")
    admission.switch(KEY, NEW, OLD)
    admission.switch(other, frozenset({ChunkId("other")}), frozenset())
    admission.settle(*KEY)
    assert admission.admits([ChunkId("other"), ChunkId("new")]) == {"other"}


def test_what_stands_around_a_chunk_is_told_but_not_while_its_document_is_switched(admission: Admission):
    """The ledger still has the order of the revision before; what is shown already is of the next one."""
    amid = {ChunkId("kept"): ("kept", "old"), ChunkId("old"): ("kept", "old")}
    assert admission.around([*EVERYTHING, ChunkId("debris")], 1) == amid
    admission.switch((SOURCE, "b.md"), frozenset({ChunkId("other")}), frozenset())
    assert admission.around(EVERYTHING, 1) == amid
    admission.switch(KEY, NEW, OLD)
    assert admission.around(EVERYTHING, 1) == {}
    admission.settle(*KEY)
    assert admission.around(EVERYTHING, 1) == amid


def test_every_switch_can_be_noticed(admission: Admission):
    before = admission.epoch
    admission.switch(KEY, NEW, OLD)
    admission.switch(KEY, NEW, NEW)
    assert admission.epoch == before + 2


chunk_sets = st.frozensets(st.sampled_from([ChunkId(letter) for letter in "abcdef"]), max_size=3)


@given(st.lists(st.tuples(chunk_sets, st.booleans()), max_size=8))
def test_a_document_always_shows_exactly_its_newest_revision(revisions):
    """Whether or not an attempt got as far as the ledger."""
    applied = Applied()
    admission = Admission(applied)
    for wanted, is_finished in revisions:
        admission.switch(KEY, wanted, applied.chunks)
        assert admission.admits([ChunkId(letter) for letter in "abcdef"]) == wanted
        if is_finished:
            applied.chunks = wanted
            admission.settle(*KEY)
            assert admission.admits([ChunkId(letter) for letter in "abcdef"]) == wanted


def test_a_search_between_two_equal_epochs_never_sees_two_revisions_or_none(admission: Admission, applied: Applied):
    done = threading.Event()
    torn: list[set[ChunkId]] = []
    seen = []

    def search() -> None:
        while not done.is_set():
            epoch = admission.epoch
            shown = admission.admits(EVERYTHING)
            if admission.epoch == epoch:
                seen.append(epoch)
                torn.extend([] if shown in (OLD, NEW) else [shown])

    readers = [threading.Thread(target=search) for _ in range(2)]
    for reader in readers:
        reader.start()
    held = OLD
    for number in range(3000):
        wanted = (NEW, OLD)[number % 2]
        admission.switch(KEY, wanted, held)
        applied.chunks = wanted
        admission.settle(*KEY)
        held = wanted
    done.set()
    for reader in readers:
        reader.join()
    assert torn == []
    assert seen


def test_nothing_of_a_batch_is_left_behind_once_the_ledger_has_it(tmp_path: Path):
    """Else every document ever edited would stay in memory, and be gone through by every search."""
    with closing(Bench(tmp_path)) as bench:
        applied = Applied()
        admission = Admission(applied)
        pipeline = Pipeline(
            connectors=bench.connectors,
            recipe=Recipe(Parsers(), ChunkLimits(48, 256), bench.embedder, Digest("ab" * 32)),
            cache=bench.cache,
            store=bench.store,
            ledger=bench.ledger,
            admission=admission,
            clock=bench.clock,
        )
        acts: list[Callable[[], None]] = [
            lambda: bench.source.write("a.md"),
            lambda: bench.source.write("a.md", "# New\n\nNew.\n"),
            lambda: bench.source.rename("a.md", "b.md"),
            lambda: bench.source.delete("b.md"),
        ]
        seen: set[ChunkId] = set()
        for act in acts:
            act()
            bench.scan()
            pipeline.run(bench.ledger.take(FAR, 10))
            seen |= bench.store.points.keys()
            for said in (frozenset[ChunkId](), frozenset(seen)):
                applied.chunks = said
                assert admission.admits(sorted(seen)) == said
    assert (len(seen), admission.epoch) == (3, len(acts))
