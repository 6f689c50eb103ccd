"""The ledger: what is pending, what is certain, what is unknown, and a file that survives what happens to it."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freshd.errors import StateUnusable
from freshd.freshness import Tried
from freshd.ledger import history
from freshd.ledger.database import SCHEMA_VERSION, Database, to_us
from freshd.ledger.documents import Waiting
from freshd.ledger.history import Lags
from freshd.model import Change, ChangeKind, DocumentId, Known, OutcomeKind, SourceName
from freshd.ports import Intent, SourceState
from tests.ledger.books import (
    ADDED,
    DELETED,
    LATER,
    MINUTE,
    MODIFIED,
    NOON,
    OTHER,
    RECIPE,
    SOURCE,
    Books,
    applied,
    change,
    digest,
    ids,
    opened,
)


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    with opened(tmp_path / "ledger.db") as books:
        yield books


# What is pending


def test_what_is_due_goes_by_deadline_and_backfill_fills_what_is_left(books: Books):
    books.ledger.record([change("backfill 1"), change("backfill 2")], None)
    books.ledger.record([change("later", at=NOON + MINUTE)], MINUTE)
    books.ledger.record([change("sooner")], MINUTE)
    books.ledger.record([change("relaxed")], timedelta(hours=1))
    assert books.taken() == ["sooner", "later", "relaxed", "backfill 1", "backfill 2"]
    assert books.taken(urgent=True) == ["sooner", "later", "relaxed"]
    assert [p.change.document_id for p in books.ledger.take(NOON, 4)] == ["sooner", "later", "relaxed", "backfill 1"]


def test_what_changed_last_is_given_source_by_source_deletions_and_backfill_left_out(books: Books):
    books.index("gone", 1)
    books.ledger.record([change("backfill", at=NOON + timedelta(hours=1))], None)
    books.ledger.record([change(f"a{n}", at=NOON + n * MINUTE) for n in range(4)], MINUTE)
    books.ledger.record([change("b", at=NOON - MINUTE, source=OTHER), change("gone", DELETED, at=NOON)], MINUTE)
    later, a3 = NOON + timedelta(hours=2), books.pending("a3").seq

    def latest(*sources: SourceName, skip: Sequence[int] = ()) -> list[str]:
        return [p.change.document_id for p in books.ledger.latest(later, 2, sources=sources, skip=skip)]

    assert latest(SOURCE, OTHER) == ["a3", "b", "a2"]
    assert latest(SOURCE, skip=[a3]) == ["a2", "a1"]
    assert latest(OTHER) == ["b"]


def test_what_is_only_doubted_is_not_what_changed_last(books: Books):
    """Each scan doubts the young files that are indexed already; an edit that it finds is of before it began."""
    books.ledger.record([change("edited", at=NOON)], MINUTE)
    books.ledger.record([replace(change("doubted", at=NOON + MINUTE), is_doubted=True)], MINUTE)
    assert [p.change.document_id for p in books.ledger.latest(LATER, 2, sources=[SOURCE])] == ["edited"]


def test_taking_leaves_out_other_sources_and_what_is_being_worked_on(books: Books):
    books.ledger.record([change("a"), change("b", source=OTHER)], MINUTE)
    assert books.taken(sources=[OTHER]) == ["b"]
    assert books.taken(sources=[]) == []
    assert books.taken(skip=[books.pending("a").seq]) == ["b"]
    assert books.taken() == ["a", "b"], "taking takes nothing away"


def test_a_deletion_counts_from_when_it_was_seen_so_that_what_it_moved_to_goes_first(books: Books):
    books.index("old", 1)
    gone = replace(change("old", DELETED, at=NOON - MINUTE), first_seen_at=NOON + MINUTE)
    books.ledger.record([gone, change("new", at=NOON)], MINUTE)
    assert books.taken() == ["new", "old"]


def test_of_two_recordings_the_newer_says_what_and_the_older_since_when(books: Books):
    books.ledger.record([change("a", version="1")], MINUTE)
    books.ledger.record([change("a", version="2", at=NOON + MINUTE)], MINUTE)
    found = books.pending("a").change
    assert found.ref is not None
    assert (found.ref.fingerprint, found.changed_at) == ("2", NOON)
    books.ledger.record([change("rival", at=NOON + timedelta(seconds=30))], MINUTE)
    assert books.taken() == ["a", "rival"], "the deadline is still that of the older one"


def test_a_recording_gets_a_number_above_all_others(books: Books):
    assert books.ledger.last_seq() == 0
    books.ledger.record([change("a"), change("b")], None)
    first = books.pending("a").seq
    books.ledger.record([change("a", version="2")], None)
    assert books.pending("a").seq == books.ledger.last_seq() > first
    highest = books.ledger.last_seq()
    books.apply("a", 1)
    books.apply("b", 2)
    assert books.ledger.last_seq() == highest, "numbers are not given out again"


def test_a_file_seen_twice_before_it_was_indexed_stays_backfill(books: Books):
    """A file written just before the scan is looked at again by the next; it is no live edit for that."""
    books.ledger.record([change("a")], None)
    books.ledger.record([change("a", at=NOON + MINUTE)], MINUTE)
    found = books.pending("a")
    assert (found.target, found.change.changed_at) == (None, NOON)
    assert books.taken(urgent=True) == []


def test_a_file_seen_twice_keeps_its_deadline(books: Books):
    books.ledger.record([change("a")], MINUTE)
    books.ledger.record([change("a", at=NOON + MINUTE)], timedelta(hours=1))
    books.ledger.record([change("rival", at=NOON + timedelta(seconds=1))], MINUTE)
    assert books.pending("a").target == MINUTE
    assert books.taken() == ["a", "rival"]


def test_a_live_edit_of_a_document_that_waits_for_backfill_counts_for_itself(books: Books):
    """The first index makes no lag: the file may be years old, and its edit is not late for that."""
    edited_at = NOON + timedelta(days=1)
    books.ledger.record([change("a", at=NOON - timedelta(days=900))], None)
    books.ledger.record([change("a", version="2", at=edited_at)], MINUTE)
    assert books.pending("a").change.changed_at == edited_at
    books.apply("a", 1)
    assert books.history.lags(SOURCE, NOON).changes_s == (5.0,)


def test_an_edit_of_a_document_that_waits_to_be_looked_at_again_counts_for_itself(books: Books):
    """Ten thousand files changed at once: each was young, is doubted at the next scan, and may be edited meanwhile."""
    doubt = replace(change("a"), is_doubted=True)
    books.ledger.record([change("a")], MINUTE)
    books.apply("a", 1)
    books.ledger.record([doubt], MINUTE)
    books.ledger.record([replace(doubt, first_seen_at=NOON + MINUTE)], MINUTE)
    books.ledger.record([change("a", version="2", at=NOON + MINUTE)], MINUTE)
    assert books.pending("a").change.changed_at == NOON + MINUTE
    books.ledger.record([change("rival", at=NOON + timedelta(seconds=1))], MINUTE)
    assert books.taken() == ["rival", "a"]


def test_a_change_that_is_doubted_before_it_was_applied_stays_the_change_it_was(books: Books):
    books.ledger.record([change("a")], MINUTE)
    books.ledger.record([replace(change("a", at=NOON + MINUTE), is_doubted=True)], MINUTE)
    books.ledger.record([change("a", version="2", at=NOON + 2 * MINUTE)], MINUTE)
    assert books.pending("a").change.changed_at == NOON


def test_what_had_a_deadline_does_not_fall_back_into_backfill(books: Books):
    books.ledger.record([change("a")], MINUTE)
    books.ledger.record([change("a", version="2", at=NOON + MINUTE)], None)
    assert books.pending("a").target == MINUTE
    assert books.taken(urgent=True) == ["a"]


def test_a_document_added_and_deleted_before_anything_was_done_leaves_no_trace(books: Books):
    books.ledger.record([change("a")], None)
    books.ledger.record([change("a", DELETED)], None)
    assert books.known() == {}
    assert books.state().pending == 0


def test_a_document_deleted_after_an_attempt_began_is_cleaned_up(books: Books):
    books.ledger.record([change("a")], None)
    books.begin("a", 1, 2)
    books.ledger.record([change("a", DELETED)], None)
    assert books.taken() == ["a"]
    assert books.revision("a").unknown == ids(1, 2)


def test_an_empty_document_deleted_while_it_is_indexed_is_simply_gone(books: Books):
    """It touches no chunk, so nothing told the deletion that somebody is at work."""
    books.ledger.record([change("a")], None)
    pending = books.pending("a")
    assert books.begin("a")
    books.ledger.record([change("a", DELETED)], None)
    books.ledger.commit([applied(pending)])
    assert books.known() == {}
    assert (books.state().documents, books.history.entries()) == (0, [])


def test_what_failed_waits_for_its_time(books: Books):
    books.ledger.record([change("a")], MINUTE)
    books.ledger.defer(books.pending("a"), "no permission", NOON + MINUTE, quarantine=False)
    assert books.taken(NOON) == []
    assert books.taken(NOON + MINUTE) == ["a"]
    assert books.pending("a").attempts == 1


def test_pending_held_and_quarantined_are_counted_apart(books: Books):
    for name in ("gone", "kept"):
        books.index(name, 1 if name == "gone" else 2)
    books.ledger.record([change("gone", DELETED)], MINUTE, held=True)
    books.ledger.record([change("bad"), change("new")], MINUTE)
    books.ledger.defer(books.pending("bad"), "no text", NOON, quarantine=True)
    state = books.state()
    assert (state.documents, state.pending, state.held, state.quarantined) == (2, 1, 1, 1)
    assert books.waiting("gone") == Waiting(books.ledger.last_seq() - 2, True, False, None)
    assert books.waiting("bad") == Waiting(books.pending("bad").seq, False, True, "no text")
    assert books.waiting("kept") is None
    assert books.waiting("never heard of") is None


def test_seeing_a_bad_document_again_gives_it_no_new_chance_but_an_edit_does(books: Books):
    books.ledger.record([change("a")], MINUTE)
    books.ledger.defer(books.pending("a"), "no text", NOON + timedelta(hours=1), quarantine=True)
    books.ledger.record([change("a")], MINUTE)
    assert books.taken(NOON) == []
    assert books.pending("a").attempts == 1
    books.ledger.record([change("a", version="2")], MINUTE)
    assert books.taken(NOON) == ["a"]
    assert books.waiting("a") == Waiting(books.pending("a").seq, False, False, None)


def test_a_failure_of_an_older_recording_does_not_delay_a_newer_one(books: Books):
    books.ledger.record([change("a")], MINUTE)
    older = books.pending("a")
    books.ledger.record([change("a", version="2")], MINUTE)
    books.ledger.defer(older, "changing", NOON + timedelta(hours=1), quarantine=True)
    books.ledger.drop(older)
    assert books.taken(NOON) == ["a"]


def test_a_held_deletion_waits_until_a_person_approves(books: Books):
    books.index("a", 1)
    books.ledger.record([change("a", DELETED)], MINUTE, held=True)
    assert (books.taken(), books.ledger.held(SOURCE)) == ([], ["a"])
    assert books.ledger.approve(OTHER) == 0
    assert books.ledger.approve(SOURCE) == 1
    assert (books.taken(), books.ledger.held(SOURCE)) == (["a"], [])


def test_a_held_deletion_is_off_when_the_document_is_back(books: Books):
    books.index("a", 1)
    books.ledger.record([change("a", DELETED)], MINUTE, held=True)
    books.ledger.record([change("a", MODIFIED, "2")], MINUTE)
    assert (books.taken(), books.ledger.held(SOURCE)) == (["a"], [])


def test_a_dropped_recording_makes_the_next_look_see_the_document_afresh(books: Books):
    books.index("held", 1)
    books.ledger.record([change("held", DELETED), change("new")], MINUTE)
    books.ledger.drop(books.pending("held"))
    books.ledger.drop(books.pending("new"))
    assert books.known() == {"held": Known(DocumentId("held"), "", None, False, True)}
    assert books.taken() == []


def test_what_a_broken_attempt_wrote_is_removed_when_the_document_is_gone_for_good(books: Books):
    """A feed does not show an entry that rolled off, so that no later look would find it absent."""
    books.ledger.record([change("entry")], None)
    books.begin("entry", 1, 2)
    books = books.reopened()
    books.ledger.drop(books.pending("entry"))
    (left,) = books.ledger.take(NOON, 10)
    assert (left.change.kind, left.change.ref) == (DELETED, None)
    assert books.revision("entry").unknown == ids(1, 2)
    books.ledger.commit([applied(left)])
    assert books.known() == {}
    books.database.close()


def test_everything_found_up_to_a_number_is_through_when_nothing_of_it_is_under_way(books: Books):
    for name in ("applied", "gone"):
        books.index(name, 1 if name == "applied" else 2)
    books.ledger.record([change("applied", MODIFIED, "2"), change("bad")], MINUTE)
    books.ledger.record([change("gone", DELETED)], MINUTE, held=True)
    marked = books.ledger.last_seq()
    books.ledger.record([change("later"), change("elsewhere", source=OTHER)], MINUTE)
    assert not books.ledger.is_through(SOURCE, marked)
    books.apply("applied", 1)
    assert not books.ledger.is_through(SOURCE, marked)
    books.ledger.defer(books.pending("bad"), "no text", NOON, quarantine=True)
    assert books.ledger.is_through(SOURCE, marked)
    assert not books.ledger.is_through(SOURCE, books.ledger.last_seq())
    assert not books.ledger.is_through(OTHER, books.ledger.last_seq())


def test_another_recipe_makes_every_document_backfill_once(books: Books):
    books.index("a", 1)
    books.index("b", 2)
    assert books.ledger.invalidate(RECIPE, NOON, [SOURCE]) == 0
    assert books.ledger.invalidate(digest("another"), NOON, [OTHER]) == 0
    books.ledger.record([change("b", MODIFIED, "2")], MINUTE)
    assert books.ledger.invalidate(digest("another"), NOON, [SOURCE]) == 1, "the other one is pending already"
    assert books.ledger.invalidate(digest("another"), NOON, [SOURCE]) == 0
    assert books.taken() == ["b", "a"]
    assert books.pending("a").target is None


# What is certain, and what is not


def test_applied_chunks_are_certain_and_nothing_is_pending(books: Books):
    books.index("a", 1, 2, 3)
    revision = books.revision("a")
    assert {c.chunk_id for c in revision.chunks} == ids(1, 2, 3)
    assert (revision.version, revision.unknown, revision.recipe) == (1, frozenset(), RECIPE)
    assert (books.state().documents, books.state().chunks, books.state().pending) == (1, 3, 0)


def test_what_broken_attempts_touched_stays_unknown_until_one_succeeds(books: Books):
    books.index("a", 1, 2)
    books.ledger.record([change("a", MODIFIED, "2")], MINUTE)
    books.begin("a", 2, 3)
    books = books.reopened()
    books.begin("a", 3, 4)
    assert books.revision("a").unknown == ids(2, 3, 4)
    assert {c.chunk_id for c in books.revision("a").chunks} == ids(1, 2)
    books.apply("a", 4)
    assert books.revision("a").unknown == frozenset()
    assert books.ledger.admitted(sorted(ids(1, 2, 3, 4))) == ids(4)
    books.database.close()


def test_after_a_crash_broken_attempts_go_before_all_backfill(books: Books):
    books.ledger.record([change("a"), change("b"), change("c")], None)
    books.ledger.defer(books.pending("c"), "store down", NOON + timedelta(days=30), quarantine=False)
    books.begin("c", 1)
    books = books.reopened()
    assert books.taken(NOON) == ["c", "a", "b"]
    assert books.taken(NOON, urgent=True) == ["c"]
    books.database.close()


def test_an_attempt_planned_against_an_older_revision_does_not_begin(books: Books):
    books.index("a", 1)
    old = Intent(SOURCE, DocumentId("a"), 0, ids(9))
    unheard = Intent(SOURCE, DocumentId("b"), 0, ids(8))
    current = Intent(SOURCE, DocumentId("a"), 1, ids(7))
    assert books.ledger.begin([old, unheard, current]) == [False, False, True]
    assert books.revision("a").unknown == ids(7)


def test_a_newer_recording_stays_pending_when_the_older_one_is_applied(books: Books):
    books.ledger.record([change("a")], MINUTE)
    older = books.pending("a")
    books.begin("a", 1)
    books.ledger.record([change("a", version="2")], MINUTE)
    books.ledger.commit([applied(older, 1)])
    assert books.pending("a").change.kind is MODIFIED, "it is no longer new"
    assert books.known()["a"].fingerprint == "2", "the newest look counts, or the next would see a change"


def test_a_document_that_is_back_before_its_deletion_is_applied_becomes_new(books: Books):
    books.index("a", 1, 2)
    books.ledger.record([change("a", DELETED)], MINUTE)
    gone = books.pending("a")
    books.ledger.record([change("a", MODIFIED, "2")], MINUTE)
    books.ledger.commit([applied(gone)])
    assert books.pending("a").change.kind is ADDED
    assert (books.revision("a").chunks, books.known()["a"].is_applied) == ((), False)
    assert (books.state().documents, books.state().chunks) == (0, 0)


def test_a_touched_document_keeps_its_revision_and_makes_no_history(books: Books):
    books.index("a", 1)
    before = books.revision("a")
    books.ledger.record([change("a", MODIFIED, "2")], MINUTE)
    books.ledger.commit([applied(books.pending("a"), 1, kind=OutcomeKind.TOUCHED)])
    assert books.revision("a") == before
    assert books.known()["a"].fingerprint == "2"
    assert len(books.history.entries()) == 1


def test_a_move_takes_the_old_place_away_with_it(books: Books):
    books.index("old", 1, 2, content="same")
    books.ledger.record([change("new"), change("old", DELETED)], MINUTE)
    assert books.ledger.vanished_twin(SOURCE, digest("same")) == "old"
    assert books.ledger.vanished_twin(OTHER, digest("same")) is None
    done = applied(books.pending("new"), 3, 4, content="same")
    moved = replace(done.outcome.change, kind=ChangeKind.MOVED, previous_id=DocumentId("old"))
    books.ledger.commit([replace(done, outcome=replace(done.outcome, change=moved))])
    assert list(books.known()) == ["new"]
    assert books.taken() == []
    assert (books.state().documents, books.state().chunks) == (1, 2)
    assert books.ledger.standing(SOURCE, NOON) == (1, 0)


def test_a_held_deletion_is_no_place_to_move_from(books: Books):
    books.index("old", 1, content="same")
    books.ledger.record([change("old", DELETED)], MINUTE, held=True)
    assert books.ledger.vanished_twin(SOURCE, digest("same")) is None


def test_every_present_document_of_an_identity_is_found(books: Books):
    books.ledger.record([change("gone", identity="inode 7")], None)
    books.apply("gone", 1)
    books.ledger.record([change("gone", DELETED)], MINUTE)
    names = [f"{n:05}" for n in range(1_500)]
    books.ledger.record([change(name, identity="inode 7") for name in names], MINUTE)
    books.ledger.record([change("a", identity="inode 7", source=OTHER), change("b", identity="inode 8")], MINUTE)
    assert [known.document_id for known in books.ledger.holders(SOURCE, "inode 7")] == names


def test_more_ids_than_fit_one_statement_are_looked_up(books: Books):
    books.index("a", *range(1200))
    asked = sorted(ids(*range(600, 2400)))
    assert books.ledger.admitted(asked) == ids(*range(600, 1200))
    assert books.ledger.admitted([]) == set()


# What is remembered


def test_documents_are_streamed_in_order_while_others_are_recorded(books: Books):
    names = [f"{number:05}" for number in range(2500)]
    books.ledger.record([change(name) for name in reversed(names)], None)
    seen = []
    for known in books.ledger.known(SOURCE):
        if not seen:
            books.ledger.record([change("zz late"), change("! early")], None)
        seen.append(known.document_id)
    assert seen == [*names, "zz late"]


def test_a_scope_holds_a_document_and_what_lies_below_it_and_no_neighbour(books: Books):
    names = ["a", "a-b", "a.md", "a/b", "a/b/c", "a/z", "a0", "ab", "b/a/b"]
    books.ledger.record([change(name) for name in names], None)
    assert list(books.known("a")) == ["a", "a/b", "a/b/c", "a/z"]
    assert list(books.known("a/b")) == ["a/b", "a/b/c"]
    assert list(books.known("c")) == []


def test_lag_counts_changes_and_deletions_apart_and_no_backfill(books: Books):
    books.index("old", 1)
    books.ledger.record([change("quick"), change("slow"), change("old", DELETED)], MINUTE)
    books.ledger.commit(
        [
            applied(books.pending("quick"), 2, seconds=5),
            applied(books.pending("slow"), 3, seconds=70),
            applied(books.pending("old"), seconds=9),
        ]
    )
    assert books.history.lags(SOURCE, NOON) == Lags((70.0, 5.0), (9.0,))
    assert books.history.tried(SOURCE, NOON) == Tried(2, 3)
    assert books.history.tried(SOURCE, NOON + timedelta(seconds=9)) == Tried(1, 2)
    assert books.history.tried(OTHER, NOON) == Tried(0, 0)
    assert [entry.lag_s for entry in books.history.entries()] == [None, 5.0, 70.0, 9.0]
    assert books.history.entries(after=books.history.last_seq()) == []


def test_history_is_read_forwards_from_a_number_or_back_from_the_newest(books: Books):
    for number, name in enumerate("abc"):
        books.index(name, number)
    seqs = [entry.seq for entry in books.history.entries()]
    assert seqs == sorted(seqs)
    assert [entry.document_id for entry in books.history.entries(after=seqs[0], limit=1)] == ["b"]
    assert [entry.document_id for entry in books.history.entries(after=-2)] == ["b", "c"]
    assert [entry.document_id for entry in books.history.entries(-9, 2)] == ["b", "c"]
    assert [entry.seq for entry in books.history.entries(source=SOURCE, document_id=DocumentId("c"))] == [seqs[2]]
    assert books.history.entries(source=OTHER) == []
    assert books.history.last_seq() == seqs[2]


def test_what_is_forgotten_leaves_a_gap_for_those_who_had_not_read_it(books: Books):
    assert books.history.is_gapless(0)
    for number, name in enumerate("abc"):
        books.ledger.record([change(name)], None)
        books.ledger.commit([applied(books.pending(name), number, seconds=number)])
    first, second, third = (entry.seq for entry in books.history.entries())
    assert books.history.forget(NOON + timedelta(seconds=2)) == 2
    assert [entry.seq for entry in books.history.entries()] == [third]
    gapless = [books.history.is_gapless(after) for after in (0, first, second, third, -1)]
    assert gapless == [False, False, True, True, True]
    assert books.history.forget(NOON + timedelta(days=1)) == 1
    assert [books.history.is_gapless(after) for after in (second, third)] == [False, True]
    assert books.history.last_seq() == third, "numbers are not given out again"


@pytest.mark.parametrize("n", [0, 3])
def test_a_history_that_parts_from_another_gives_out_no_number_of_that_and_tells_a_gap(books: Books, n: int):
    for number, name in enumerate("abc"[:n]):
        books.index(name, number)
    history.part(books.database, NOON)
    assert not books.history.is_gapless(n)
    assert books.history.is_gapless(books.history.last_seq())
    parted = books.history.last_seq()
    books.index("d", 9)
    (newest,) = (entry.seq for entry in books.history.entries(-1))
    assert newest == parted + 1 > to_us(NOON) > 10**15
    assert newest < 2**53, "a browser can read it"
    assert len(books.history.entries()) == n + 1
    history.part(books.database, NOON - MINUTE)
    assert books.history.last_seq() > newest, "although the clock was set back"


def test_arrivals_are_the_newest_instants_at_which_something_came_or_changed(books: Books):
    for minute, name in enumerate("abcb"):
        books.ledger.record([change(name, version=str(minute), at=NOON + minute * MINUTE)], None)
        books.apply(name, minute, content=str(minute))
    books.ledger.record([change("a", DELETED, at=NOON + 9 * MINUTE)], None)
    books.apply("a")
    assert books.history.arrivals(SOURCE, 3) == [NOON + n * MINUTE for n in (3, 2, 1)]


def test_documents_and_what_was_deleted_since_an_instant_are_counted_in_one_look(books: Books):
    for number, name in enumerate(("a", "b", "c")):
        books.index(name, number)
    for name, minutes in (("a", 0), ("b", 2)):
        books.ledger.record([change(name, DELETED, at=NOON + minutes * MINUTE)], MINUTE)
        books.ledger.commit([applied(books.pending(name), seconds=180)])
    counts = [books.ledger.standing(SOURCE, NOON + n * MINUTE) for n in (0, 1, 2, 3)]
    assert counts == [(1, 2), (1, 1), (1, 1), (1, 0)], "what happened before is left out, whenever it was applied"
    assert books.ledger.standing(OTHER, NOON) == (0, 0)


# Sources


def test_the_watermark_waits_for_the_first_marker_and_never_goes_back(books: Books):
    books.ledger.record([change("a", at=NOON - MINUTE)], None)
    assert books.state().watermark is None
    books.apply("a", 1)
    assert books.mark(NOON) == NOON
    books.ledger.record([change("a", MODIFIED, "2", at=NOON - MINUTE)], MINUTE)
    assert books.mark(NOON - MINUTE, now=NOON) == NOON
    assert books.state().listed_through == NOON
    assert books.reopened().state().watermark == NOON


def test_a_watermark_of_a_clock_that_was_set_back_counts_for_nothing_until_the_next_mark(books: Books):
    books.mark(NOON + timedelta(hours=3), now=NOON + timedelta(hours=3))
    assert books.state().watermark_at(NOON + timedelta(hours=3)) == NOON + timedelta(hours=3)
    assert books.state().watermark_at(NOON) is None
    assert books.mark(NOON, now=NOON + MINUTE) == NOON
    assert books.state().watermark_at(NOON + MINUTE) == NOON


def test_the_trail_tells_where_a_watermark_stood_over_the_last_hours(books: Books):
    for minute in (0, 1, 1, 2, 500):
        at = NOON + minute * MINUTE
        books.mark(at, now=at + timedelta(seconds=1))
    books.mark(NOON, now=NOON + 501 * MINUTE)
    trail = [((at - NOON) // MINUTE, (mark - NOON) // MINUTE) for at, mark in books.sources.trail(SOURCE)]
    assert trail == [(500, 500)], "only what is newer than six hours, and only where it rose"
    assert books.sources.trail(OTHER) == []


def test_pending_changes_past_their_target_are_late_and_nothing_else_is(books: Books):
    books.ledger.record([change("backfill", at=NOON)], None)
    books.ledger.record([change("a", at=NOON), change("b", at=NOON + MINUTE), change("poison", at=NOON)], MINUTE)
    books.ledger.defer(books.pending("poison"), "no text", NOON, quarantine=True)
    late = [books.sources.late(SOURCE, NOON + n * MINUTE) for n in (0, 1, 2, 3)]
    assert late == [0, 0, 1, 2]
    assert books.sources.late(OTHER, NOON + 9 * MINUTE) == 0


def test_held_and_pending_bound_the_watermark_and_quarantined_do_not(books: Books):
    books.index("a", 1)
    books.ledger.record([change("a", DELETED, at=NOON + MINUTE)], MINUTE, held=True)
    books.ledger.record([change("b", at=NOON)], MINUTE)
    later = NOON + timedelta(hours=1)
    assert books.mark(later) == NOON
    books.ledger.defer(books.pending("b"), "no text", NOON, quarantine=True)
    assert books.mark(later) == NOON + MINUTE
    books.ledger.approve(SOURCE)
    books.apply("a")
    assert books.mark(later) == later


def test_a_source_fails_since_its_first_failure_until_it_is_listed_whole(books: Books):
    books.sources.scan_failed(SOURCE, NOON, "no such folder")
    books.sources.scan_failed(SOURCE, NOON + MINUTE, "still none")
    assert (books.state().failing_since, books.state().last_error) == (NOON, "still none")
    books.sources.scan_began(SOURCE, NOON + 2 * MINUTE)
    assert books.state().failing_since == NOON
    books.sources.scan_completed(SOURCE, NOON + 2 * MINUTE, timedelta(seconds=3))
    state = books.state()
    assert (state.failing_since, state.last_error, state.scan_s) == (None, None, 3.0)
    assert state.last_complete_scan_at == state.last_scan_at == NOON + 2 * MINUTE
    assert books.sources.state(OTHER) == SourceState(OTHER)
    assert books.sources.names() == [SOURCE]


names = st.sampled_from(["a", "b", "c"])
operations = st.lists(
    st.tuples(
        st.sampled_from(
            ["record", "record", "delete", "hold", "begin", "commit", "commit", "defer", "drop", "approve"]
        ),
        names,
        st.sets(st.integers(0, 9), max_size=3),
        st.booleans(),
    ),
    max_size=25,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=operations)
def test_the_counts_are_those_of_the_rows_whatever_happened(tmp_path: Path, history: list[tuple]):
    (tmp_path / "ledger.db").unlink(missing_ok=True)
    books = Books(tmp_path / "ledger.db")
    marks = [books.mark(NOON - MINUTE)]
    with closing(books.database):
        for number, (what, name, numbers, flag) in enumerate(history):
            _do(books, what, name, sorted(numbers), flag, number)
            marks.append(books.state().watermark)
            _check(books)
    assert marks == sorted(marks)


def _do(books: Books, what: str, name: str, numbers: list[int], flag: bool, number: int) -> None:
    offset = {"a": 0, "b": 100, "c": 200}[name]  # chunk ids hold the document's: no two documents share one
    found = [p for p in books.ledger.take(NOON + timedelta(days=9), 100) if p.change.document_id == name]
    if what == "record":
        kind = MODIFIED if books.revision(name).chunks else ADDED
        books.ledger.record([change(name, kind, str(number), at=NOON + number * MINUTE)], MINUTE if flag else None)
        books.mark(NOON + number * MINUTE)
    elif what in ("delete", "hold"):
        if name in books.known():
            books.ledger.record([change(name, DELETED, at=NOON)], MINUTE if flag else None, held=what == "hold")
    elif what == "approve":
        books.ledger.approve(SOURCE)
    elif not found:
        return
    elif what == "begin":
        books.begin(name, *(n + offset for n in numbers))
    elif what == "commit":
        is_deletion = found[0].change.ref is None
        books.ledger.commit([applied(found[0], *([] if is_deletion else [n + offset for n in numbers]))])
    elif what == "defer":
        books.ledger.defer(found[0], "in vain", NOON, quarantine=flag)
    elif what == "drop":
        books.ledger.drop(found[0])


def _check(books: Books) -> None:
    state, known = books.state(), books.known()
    revisions = {name: books.revision(name) for name in known}
    waiting = [w for w in map(books.waiting, known) if w]
    assert state.documents == sum(k.is_applied for k in known.values())
    assert state.chunks == sum(len(revision.chunks) for revision in revisions.values())
    assert state.held == sum(w.is_held for w in waiting)
    assert state.quarantined == sum(w.is_quarantined and not w.is_held for w in waiting)
    assert state.pending + state.held + state.quarantined == len(waiting)
    for name, one in known.items():
        is_to_be_seen_afresh = one.fingerprint == ""
        assert one.is_applied or books.waiting(name) or is_to_be_seen_afresh, f"{name} is lost"
    assert books.ledger.is_through(SOURCE, books.ledger.last_seq()) == (state.pending == 0)


# The file


def test_everything_is_there_after_reopening_and_the_instance_is_the_same(books: Books):
    books.index("a", 1, 2)
    books.ledger.record([change("b")], MINUTE)
    instance, revision, pending = books.ledger.instance, books.revision("a"), books.pending("b")
    books = books.reopened()
    assert (books.ledger.instance, books.revision("a"), books.pending("b")) == (instance, revision, pending)
    books.database.close()


def foreign(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()


def newer(path: Path) -> None:
    Database(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def older(path: Path) -> None:
    Database(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION - 1}")


def truncated(path: Path) -> None:
    Database(path).close()
    path.write_bytes(path.read_bytes()[:6000])


def without_identity(path: Path) -> None:
    Database(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM meta")
        connection.commit()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_bytes(b"It was a dark and stormy night. " * 200), "not a database"),
        (lambda path: foreign(path, 0), "another program's"),
        (lambda path: foreign(path, SCHEMA_VERSION), "meta"),
        (newer, f"got schema version {SCHEMA_VERSION + 1}, expected {SCHEMA_VERSION}"),
        (older, f"got schema version {SCHEMA_VERSION - 1}, expected {SCHEMA_VERSION}"),
        (truncated, "malformed"),
        (without_identity, "whose"),
    ],
    ids=[
        "no database",
        "another program's",
        "another program's, same version",
        "newer",
        "older",
        "truncated",
        "nobody's",
    ],
)
def test_a_file_that_is_no_ledger_of_ours_is_refused_and_left_as_it_was(tmp_path: Path, spoil, says: str):
    path = tmp_path / "ledger.db"
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(StateUnusable, match=says) as refused:
        Database(path)
    assert refused.value.hint
    assert str(path) in str(refused.value)
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_ledger(tmp_path: Path):
    """A crash right after the file was made leaves it so."""
    (tmp_path / "ledger.db").touch()
    Database(tmp_path / "ledger.db").close()
    with closing(Database(tmp_path / "ledger.db")) as database:
        assert UUID(database.instance)


_KILLED_WRITING = """
import os, signal, sys
from pathlib import Path
from freshd.ledger.database import Database
database = Database(Path(sys.argv[1]))
with database.write() as tx:
    tx.executemany("INSERT INTO sources (name) VALUES (?)", [(f"source {n}",) for n in range(50_000)])
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_in_the_middle_of_a_transaction_leaves_nothing_of_it(books: Books):
    books.index("a", 1, 2)
    before = (books.state(), books.revision("a"))
    books.database.close()
    killed = subprocess.run([sys.executable, "-c", _KILLED_WRITING, books.path], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    books = Books(books.path)
    assert (books.state(), books.revision("a")) == before
    assert books.sources.names() == [SOURCE]
    books.database.close()


def test_a_transaction_that_raises_leaves_nothing_of_it(books: Books):
    def write() -> None:
        with books.database.write() as tx:
            tx.execute("INSERT INTO sources (name) VALUES ('half')")
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert books.sources.names() == []
    books.index("a", 1)
    assert books.sources.names() == [SOURCE]


def test_a_full_disk_costs_the_transaction_and_not_the_ledger(books: Books):
    books.index("a", 1)
    with books.database.write() as tx:
        pages = tx.execute("PRAGMA page_count").fetchone()[0]
        tx.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        books.ledger.record([change(f"{n:0900}") for n in range(500)], None)
    books.database._writer.execute("PRAGMA max_page_count = 1000000")
    books.index("b", 2)
    assert (books.state().documents, books.sources.names()) == (2, [SOURCE])


def test_readers_see_whole_transactions_while_a_writer_writes(books: Books):
    batch, rounds = 20, 40
    books.ledger.record([change("seed")], MINUTE)
    done = threading.Event()
    torn: list[object] = []

    def read() -> None:
        try:
            while not done.is_set():
                state = books.state()
                if (state.pending - 1) % batch:
                    torn.append(state.pending)
        except sqlite3.Error as error:
            torn.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(rounds):
        books.ledger.record([change(f"{number}/{n}") for n in range(batch)], MINUTE)
    done.set()
    for reader in readers:
        reader.join()
    assert torn == []
    assert books.state().pending == batch * rounds + 1


def test_a_reader_does_not_wait_for_a_transaction_that_is_under_way(books: Books):
    books.index("a", 1)
    answers: list[int] = []
    with books.database.write() as tx:
        tx.execute("UPDATE sources SET documents = 99")
        reader = threading.Thread(target=lambda: answers.append(books.state().documents), daemon=True)
        reader.start()
        reader.join(60)
        assert answers == [1]


def test_threads_that_come_and_go_leave_no_open_files_behind(books: Books):
    books.index("a", 1)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(30):
        thread = threading.Thread(target=books.state)
        thread.start()
        thread.join()
    assert len(os.listdir("/proc/self/fd")) <= before + 3, "a database, its log and its index"


def test_a_closed_ledger_says_so(books: Books):
    books.ledger.close()
    books.ledger.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        books.state()


# Where the text of what is gone may stand


def whereabouts(books: Books, *changes: Change) -> tuple[str | None, list[str]]:
    found = books.ledger.whereabouts(SOURCE, {DocumentId("gone")}, changes)[DocumentId("gone")]
    return found.stands_in, [ref.document_id for ref in found.may_stand_in]


@pytest.fixture
def bereft(books: Books) -> Books:
    """A document with the text "same" and inode 7 is applied; the tests say that it is gone."""
    books.ledger.record([change("gone", identity="inode 7")], None)
    books.apply("gone", 1, content="same")
    return books


def test_a_text_may_stand_where_its_identity_does_until_that_one_was_read(bereft: Books):
    bereft.ledger.record([change("other", identity="inode 7")], MINUTE)
    assert whereabouts(bereft) == (None, ["other"])
    bereft.apply("other", 2, content="another text")
    assert whereabouts(bereft) == (None, []), "the file system gave the identity out again"
    bereft.ledger.record([change("other", MODIFIED, "2", identity="inode 7")], MINUTE)
    assert whereabouts(bereft) == (None, ["other"])
    bereft.apply("other", 2, content="same")
    assert whereabouts(bereft) == ("other", [])


def test_a_text_only_may_stand_in_a_copy_that_changed_since_it_was_read(bereft: Books):
    bereft.index("copy", 2, content="same")
    assert whereabouts(bereft) == ("copy", [])
    assert whereabouts(bereft, change("copy", MODIFIED, "2")) == (None, ["copy"]), "seen, and not recorded yet"
    bereft.ledger.record([change("copy", MODIFIED, "2")], MINUTE)
    assert whereabouts(bereft) == (None, ["copy"])
    bereft.index("second copy", 3, content="same")
    assert whereabouts(bereft) == ("second copy", [])


def test_a_document_that_cannot_be_read_carries_nobody_s_text(bereft: Books):
    bereft.ledger.record([change("other", identity="inode 7")], MINUTE)
    bereft.ledger.defer(bereft.pending("other"), "it is a folder", NOON + MINUTE, quarantine=True)
    assert whereabouts(bereft) == (None, [])
    assert whereabouts(bereft, change("other", version="2", identity="inode 7")) == (None, ["other", "other"])


def test_a_document_that_waits_for_another_recipe_only_was_read(bereft: Books):
    bereft.index("copy", 2, content="same")
    bereft.ledger.invalidate(None, NOON, [SOURCE])
    assert bereft.waiting("copy") is not None
    assert whereabouts(bereft) == ("copy", [])


def test_a_document_that_another_look_was_asked_for_is_unread(bereft: Books):
    """It was away when it was to be read, and so may be what the last look saw."""
    bereft.index("copy", 2, content="same")
    bereft.ledger.record([change("copy", MODIFIED, "2")], MINUTE)
    bereft.ledger.drop(bereft.pending("copy"))
    assert whereabouts(bereft) == (None, ["copy"])


def test_what_came_back_is_no_successor_of_itself(bereft: Books):
    assert whereabouts(bereft, change("gone", MODIFIED, "2", identity="inode 7")) == (None, [])


def test_of_many_unread_copies_some_are_named(bereft: Books):
    bereft.ledger.record([change(f"{n:02}", identity="inode 7") for n in range(40)], MINUTE)
    assert whereabouts(bereft) == (None, [f"{n:02}" for n in range(16)])


def test_when_the_clock_is_set_everything_stays_as_long_ago_as_it_was(books: Books):
    three_hours = timedelta(hours=3)
    books.index("a", 1)
    books.mark(NOON)
    books.sources.scan_failed(SOURCE, NOON + MINUTE, "no such folder")
    books.ledger.record([change("a", MODIFIED, "2", at=NOON)], MINUTE)
    books.ledger.record([change("b", at=NOON)], None)
    books.ledger.defer(books.pending("b"), "changing", NOON + 2 * MINUTE, quarantine=False)
    books.sources.move_instants(-three_hours)
    state = books.state()
    assert (state.watermark, state.listed_through) == (NOON - three_hours, NOON - three_hours)
    assert (state.failing_since, state.oldest_unapplied_at) == (NOON + MINUTE - three_hours, NOON - three_hours)
    assert books.taken(NOON + MINUTE - three_hours) == ["a"], "what was put off is as far away as before"
    assert books.taken(NOON + 2 * MINUTE - three_hours) == ["a", "b"]
    assert books.sources.late(SOURCE, NOON + 2 * MINUTE - three_hours) == 1
    assert [at for at, _ in books.sources.trail(SOURCE)] == [NOON - three_hours]
    changed = replace(books.pending("a").change, changed_at=NOON)
    done = replace(books.pending("a"), change=changed)
    books.ledger.commit([applied(done, 1, content="other", seconds=90 - 3 * 3600)])
    assert books.history.entries(-1)[0].lag_s == 90.0, "also where the change was in hand when the clock was set"


def test_a_clock_set_forward_makes_everything_older_and_nothing_fresher(books: Books):
    books.mark(NOON)
    books.ledger.record([change("a", at=NOON)], MINUTE)
    before = books.state()
    books.sources.move_instants(timedelta(hours=3))
    assert books.state() == before


def test_a_state_from_a_clock_that_is_ahead_proves_nothing_and_puts_nothing_off(books: Books):
    later = NOON + timedelta(hours=3)
    books.index("a", 1)
    books.mark(later)
    books.sources.scan_completed(SOURCE, later, MINUTE)
    books.sources.scan_failed(SOURCE, later, "no such folder")
    books.ledger.record([change("a", MODIFIED, "2", at=later)], MINUTE)
    books.sources.disbelieve(NOON)
    state = books.state()
    assert (state.watermark, state.listed_through) == (None, None)
    assert state.last_complete_scan_at == state.failing_since == state.oldest_unapplied_at == NOON
    assert books.taken(NOON) == ["a"]


def test_a_restart_leaves_deadlines_as_they_are(books: Books):
    books.ledger.record([change("late", at=NOON)], timedelta(days=1))
    books.ledger.record([change("soon", at=NOON)], MINUTE)
    books.sources.disbelieve(NOON)
    assert books.taken(NOON) == ["soon", "late"]


def test_only_documents_of_lost_chunks_are_put_back_and_only_their_source_is_unlisted(books: Books):
    books.index("a", 1, 2)
    books.index("b", 3)
    books.mark(NOON)
    other = replace(change("c"), source=OTHER)
    books.ledger.record([other], None)
    books.sources.marker_out(OTHER, NOON, None, NOON)
    assert books.ledger.doubt(sorted(ids(2)), NOON) == 1
    assert (books.state().watermark, books.state().listed_through) == (None, None)
    assert books.sources.state(OTHER).watermark == NOON
    assert books.pending("a").target is None
    assert books.waiting("b") is None
    assert books.revision("a").unknown == ids(2)
    assert books.revision("b").unknown == frozenset()
    books.ledger.record([change("live", at=NOON + MINUTE)], MINUTE)
    assert books.reopened().taken(sources=[SOURCE]) == ["live", "a"], (
        "a restart makes nothing urgent of what is put back"
    )


def test_only_what_is_certain_must_be_in_the_store(books: Books):
    assert books.proofs.certain_chunks() == 0
    books.index("a", 1, 2, 3)
    assert books.proofs.certain_chunks() == 3
    books.begin("a", 3)
    assert books.proofs.certain_chunks() == 2


def test_what_a_source_corrects_around_a_text_is_a_change_of_it(books: Books):
    """A feed's headline or link: whoever cites it has to hear of that."""
    books.index("entry", 1)
    last = books.history.last_seq()
    books.ledger.record([change("entry", MODIFIED, "2")], MINUTE)
    books.begin("entry", 1)
    books.ledger.commit([replace(applied(books.pending("entry"), 1), label=digest("another headline"))])
    assert books.history.last_seq() == last + 1


def test_a_document_that_was_only_written_anew_is_no_change_of_its_source(books: Books):
    books.index("a", 1)
    last = books.history.last_seq()
    books.ledger.invalidate(None, NOON, [SOURCE])
    books.apply("a", 1)
    assert books.history.last_seq() == last
    books.ledger.invalidate(None, NOON, [SOURCE])
    books.apply("a", 1, content="other")
    assert books.history.last_seq() == last + 1
