"""Which chunks a search may show while a document is being replaced."""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshd.admission import Admission, Switch
from freshd.model import ChunkId, SourceName
from tests.scheduler.parts import Bench

SOURCE = SourceName("handbook")
KEY = (SOURCE, "a.md")
OLD, NEW = frozenset(map(ChunkId, ("kept", "old"))), frozenset(map(ChunkId, ("kept", "new")))
EVERYTHING = sorted(OLD | NEW)


class Applied:
    """What admission asks a ledger; here all chunks are of one document, in the order of their names."""

    def __init__(self, chunks: Collection[ChunkId] = ()) -> None:
        self.chunks = frozenset(chunks)
        self.versions = Counter[tuple[SourceName, str]]()

    def apply(self, chunks: Collection[ChunkId], key: tuple[SourceName, str] = KEY) -> None:
        self.chunks, self.versions[key] = frozenset(chunks), self.versions[key] + 1

    def still_at(self, versions: Mapping[tuple[SourceName, str], int]) -> set[tuple[SourceName, str]]:
        return {key for key, version in versions.items() if self.versions[key] == version}

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


def switch(admission: Admission, shown: frozenset[ChunkId], held: frozenset[ChunkId], version: int = 0) -> None:
    admission.switch([Switch(KEY, version, shown, held)])


def test_what_the_ledger_applied_is_shown_and_nothing_else(admission: Admission):
    """After a crash the store may hold more: what a broken attempt left."""
    assert admission.admits([*EVERYTHING, ChunkId("debris")]) == OLD
    assert admission.admits([]) == set()


def test_a_switch_shows_the_new_revision_at_once_and_the_old_one_no_more(admission: Admission):
    switch(admission, NEW, OLD)
    assert admission.admits(EVERYTHING) == NEW


def test_only_what_was_asked_for_is_given(admission: Admission):
    switch(admission, NEW, OLD)
    assert admission.admits([ChunkId("new")]) == {"new"}


def test_the_answer_stays_the_same_while_the_ledger_learns_of_a_switch(admission: Admission, applied: Applied):
    switch(admission, NEW, OLD)
    assert not admission.is_settled
    applied.apply(NEW)
    assert admission.is_settled
    assert admission.admits(EVERYTHING) == NEW


def test_once_its_document_has_moved_on_in_the_ledger_the_ledger_speaks_again(admission: Admission, applied: Applied):
    """Whatever it moved on to: applied, forgotten, or doubted; nobody has to say so."""
    switch(admission, NEW, OLD)
    applied.apply(())
    assert admission.admits(EVERYTHING) == set()
    assert admission.is_settled
    applied.versions.clear()
    assert admission.admits(EVERYTHING) == set()


def test_a_deleted_document_disappears_at_the_switch(admission: Admission):
    switch(admission, frozenset(), OLD)
    assert admission.admits(EVERYTHING) == set()


def test_a_moved_document_shows_in_its_new_place_only(admission: Admission):
    moved = frozenset({ChunkId("elsewhere")})
    admission.switch([Switch((SOURCE, "b.md"), 0, moved), Switch(KEY, 0, frozenset(), OLD)])
    assert admission.admits([*EVERYTHING, *moved]) == moved


def test_a_document_that_moves_back_before_its_move_is_applied_shows_in_its_old_place_only(admission: Admission):
    moved = frozenset({ChunkId("elsewhere")})
    admission.switch([Switch((SOURCE, "b.md"), 0, moved), Switch(KEY, 0, frozenset(), OLD)])
    admission.switch([Switch(KEY, 0, OLD, OLD), Switch((SOURCE, "b.md"), 0, frozenset())])
    assert admission.admits([*EVERYTHING, *moved]) == OLD


def test_a_second_switch_before_the_first_is_settled_hides_both_earlier_revisions(admission: Admission):
    """The store failed after the first switch; the next attempt is planned against what the ledger knows."""
    newest = frozenset({ChunkId("newest")})
    switch(admission, NEW, OLD)
    switch(admission, newest, OLD)
    assert admission.admits([*EVERYTHING, *newest]) == newest
    switch(admission, OLD, OLD)
    assert admission.admits([*EVERYTHING, *newest]) == OLD


def test_switches_of_other_documents_stay_when_one_is_applied(admission: Admission, applied: Applied):
    other = (SOURCE, "b.md")
    admission.switch([Switch(KEY, 0, NEW, OLD), Switch(other, 0, frozenset({ChunkId("other")}))])
    applied.apply(NEW)
    assert admission.admits([ChunkId("other"), *OLD, *NEW]) == {"other", *NEW}


def test_what_stands_around_a_chunk_is_told_but_not_while_its_document_is_switched(
    admission: Admission, applied: Applied
):
    """The ledger still has the order of the revision before; what is shown already is of the next one."""
    amid = {ChunkId("kept"): ("kept", "old"), ChunkId("old"): ("kept", "old")}
    assert admission.around([*EVERYTHING, ChunkId("debris")], 1) == amid
    admission.switch([Switch((SOURCE, "b.md"), 0, frozenset({ChunkId("other")}))])
    assert admission.around(EVERYTHING, 1) == amid
    switch(admission, NEW, OLD)
    assert admission.around(EVERYTHING, 1) == {}
    applied.apply(OLD)
    assert admission.around(EVERYTHING, 1) == amid


def test_every_switch_can_be_noticed(admission: Admission):
    before = admission.epoch
    switch(admission, NEW, OLD)
    switch(admission, NEW, NEW)
    assert admission.epoch == before + 2


chunk_sets = st.frozensets(st.sampled_from([ChunkId(letter) for letter in "abcdef"]), max_size=3)


@given(st.lists(st.tuples(chunk_sets, st.booleans()), max_size=8))
def test_a_document_always_shows_exactly_its_newest_revision(revisions):
    """Whether or not an attempt got as far as the ledger."""
    applied = Applied()
    admission = Admission(applied)
    for wanted, is_finished in revisions:
        switch(admission, wanted, applied.chunks, applied.versions[KEY])
        assert admission.admits([ChunkId(letter) for letter in "abcdef"]) == wanted
        if is_finished:
            applied.apply(wanted)
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
        switch(admission, wanted, held, number)
        applied.apply(wanted)
        held = wanted
    done.set()
    for reader in readers:
        reader.join()
    assert torn == []
    assert seen


def test_nothing_of_a_batch_is_left_behind_once_the_ledger_has_it(tmp_path: Path):
    """Else every document ever edited would stay in memory, and be gone through by every search."""
    with closing(Bench(tmp_path)) as bench:
        acts: list[Callable[[], None]] = [
            lambda: bench.source.write("a.md"),
            lambda: bench.source.write("a.md", "# New\n\nNew.\n"),
            lambda: bench.source.rename("a.md", "b.md"),
            lambda: bench.source.delete("b.md"),
        ]
        for act in acts:
            act()
            bench.scan()
            bench.apply()
            assert bench.admission.is_settled
        assert (bench.admission.epoch, bench.admission._switches) == (len(acts), {})
