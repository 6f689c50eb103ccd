"""What waits to be applied, and what is told of it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from freshd.ledger.documents import Waiting
from freshd.ledger.waiting import Left
from freshd.model import Change, ChangeKind, DocumentId, DocumentRef, Known, OutcomeKind, Pending
from tests.ledger.books import (
    ADDED,
    DELETED,
    MINUTE,
    MODIFIED,
    NOON,
    OTHER,
    SOURCE,
    Books,
    applied,
    change,
    digest,
    id_of,
    ids,
)

SECOND = timedelta(seconds=1)


def test_a_recorded_change_is_given_out_as_it_was_recorded(books: Books):
    ref = DocumentRef(DocumentId("a"), "1", NOON - MINUTE, "inode 7", is_racy=True)
    recorded = Change(SOURCE, DocumentId("a"), ADDED, ref, NOON, NOON + MINUTE, is_clamped=True)
    books.ledger.record([recorded], MINUTE)
    assert books.pending("a") == Pending(1, recorded, MINUTE, 0)
    assert books.known() == {"a": Known(DocumentId("a"), "1", "inode 7", is_racy=True)}


def test_taking_gives_out_no_more_than_was_asked_for(books: Books):
    books.ledger.record([change("urgent 1"), change("urgent 2")], MINUTE)
    books.ledger.record([change("backfill 1"), change("backfill 2")], None)
    for limit, count in ((1, 1), (2, 2), (3, 3), (9, 4)):
        assert len(books.ledger.take(NOON, limit)) == count
    assert [p.change.document_id for p in books.ledger.take(NOON, 3)] == ["urgent 1", "urgent 2", "backfill 1"]
    assert [p.change.document_id for p in books.ledger.take(NOON, 3, sources=[SOURCE], skip=[1])] == [
        "urgent 2",
        "backfill 1",
        "backfill 2",
    ]


def test_of_several_sources_and_several_changes_in_work_none_is_mistaken(books: Books):
    books.ledger.record([change("a"), change("b"), change("c")], MINUTE)
    books.ledger.record([change("d", source=OTHER)], MINUTE)
    assert books.taken(sources=[SOURCE, OTHER]) == ["a", "b", "c", "d"]
    assert books.taken(sources=[OTHER, OTHER]) == ["d"]
    assert books.taken(skip=[1, 3]) == ["b", "d"]
    assert books.taken(sources=[SOURCE, OTHER], skip=[2, 4]) == ["a", "c"]


def test_urgent_changes_with_one_deadline_go_in_the_order_they_were_found(books: Books):
    for name in ("c", "a", "b"):
        books.ledger.record([change(name)], MINUTE)
    assert books.taken() == ["c", "a", "b"]


def test_a_document_that_is_being_written_waits_until_its_writer_pauses_or_for_so_long(books: Books):
    books.ledger.record([change("a"), change("b")], MINUTE)
    books.ledger.record([change("a", source=OTHER)], MINUTE)
    writing = {(SOURCE, "a")}
    books.ledger.spare(lambda: writing, 5 * MINUTE)
    assert sorted(books.taken(NOON + MINUTE)) == ["a", "b"]
    assert books.taken(NOON + MINUTE, sources=[SOURCE]) == ["b"]
    assert books.taken(NOON + 5 * MINUTE, sources=[SOURCE]) == ["b"]
    assert books.taken(NOON + 5 * MINUTE + SECOND, sources=[SOURCE]) == ["a", "b"]
    skipped = books.pending("b").seq
    assert books.taken(NOON + MINUTE, sources=[SOURCE], skip=[skipped]) == []
    writing.clear()
    assert books.taken(NOON + MINUTE, sources=[SOURCE]) == ["a", "b"]


def test_what_waits_for_a_writer_counts_as_put_off(books: Books):
    books.ledger.record([change("a")], MINUTE)
    books.ledger.spare(lambda: {(SOURCE, "a")}, 5 * MINUTE)
    assert books.ledger.is_through(SOURCE, 1, due_by=NOON + MINUTE)
    assert not books.ledger.is_through(SOURCE, 1, due_by=NOON + 6 * MINUTE)
    assert not books.ledger.is_through(SOURCE, 1), "it is found, and not in the index"


def test_while_it_is_tried_anew_a_quarantined_change_is_under_way(books: Books):
    books.ledger.record([change("a")], MINUTE)
    books.ledger.defer(books.pending("a"), "no text", NOON + MINUTE, quarantine=True)
    assert books.ledger.is_through(SOURCE, 1)
    assert books.ledger.is_through(SOURCE, 1, due_by=NOON)
    assert not books.ledger.is_through(SOURCE, 1, due_by=NOON + MINUTE)
    assert books.ledger.is_through(SOURCE, 0, due_by=NOON + MINUTE)


def test_a_change_that_is_put_off_is_under_way_unless_only_what_is_due_is_asked_for(books: Books):
    books.ledger.record([change("a")], MINUTE)
    books.ledger.defer(books.pending("a"), "store down", NOON + MINUTE, quarantine=False)
    assert not books.ledger.is_through(SOURCE, 1)
    assert books.ledger.is_through(SOURCE, 1, due_by=NOON)
    assert not books.ledger.is_through(SOURCE, 1, due_by=NOON + MINUTE)


def test_documents_that_wait_for_another_recipe_keep_no_marker_back_unless_asked_for(books: Books):
    books.index("a", 1)
    books.ledger.invalidate(None, NOON, [SOURCE])
    seq = books.ledger.last_seq()
    assert books.ledger.is_through(SOURCE, seq)
    assert not books.ledger.is_through(SOURCE, seq, with_migration=True)


def test_what_is_left_of_a_source_is_told_with_the_reason(books: Books):
    for number, name in enumerate(("stale", "gone"), 1):
        books.index(name, number)
    books.ledger.record([change("stale", MODIFIED, "2"), change("new")], MINUTE)
    books.ledger.record([change("gone", DELETED)], MINUTE, held=True)
    books.ledger.record([change("elsewhere", source=OTHER)], MINUTE)
    books.ledger.defer(books.pending("stale"), "no text", NOON, quarantine=True)
    left = {one.document_id: one for one in books.ledger.left(SOURCE)}
    assert left == {
        "stale": Left(DocumentId("stale"), is_applied=True, is_held=False, error="no text"),
        "gone": Left(DocumentId("gone"), is_applied=True, is_held=True, error=None),
        "new": Left(DocumentId("new"), is_applied=False, is_held=False, error=None),
    }


def test_settled_documents_are_counted_at_a_place_and_below_it(books: Books):
    names = ["a", "a-b", "a/b", "a/c", "a0", "b/a"]
    for number, name in enumerate(names):
        books.index(name, number)
    books.index("a/x", 99, source=OTHER)
    books.ledger.record([change("a/c", MODIFIED, "2"), change("a/new")], MINUTE)
    assert books.ledger.settled_below(SOURCE, ["a"]) == 2
    assert books.ledger.settled_below(SOURCE, ["a/b"]) == 1
    assert books.ledger.settled_below(SOURCE, ["a", "b"]) == 3
    assert books.ledger.settled_below(SOURCE, [""]) == 5
    assert books.ledger.settled_below(SOURCE, []) == books.ledger.settled_below(SOURCE, ["c"]) == 0


def test_documents_found_new_are_unread_until_they_are_applied_or_cannot_be(books: Books):
    books.index("known", 1)
    books.ledger.record([change("a"), change("b"), change("bad"), change("known", MODIFIED, "2")], MINUTE)
    books.ledger.record([change("c", source=OTHER)], MINUTE)
    assert books.ledger.unread(SOURCE) == 3
    books.ledger.defer(books.pending("bad"), "no text", NOON, quarantine=True)
    assert books.ledger.unread(SOURCE) == 2
    books.apply("a", 2)
    assert books.ledger.unread(SOURCE) == 1


def test_held_deletions_are_listed_by_name_and_for_their_own_source(books: Books):
    for number, name in enumerate("cab"):
        books.index(name, number)
    books.index("d", 9, source=OTHER)
    books.ledger.record([change(name, DELETED) for name in "cab"], MINUTE, held=True)
    books.ledger.record([change("d", DELETED, source=OTHER)], MINUTE, held=True)
    assert books.ledger.held(SOURCE) == ["a", "b", "c"]
    assert books.ledger.held(OTHER) == ["d"]


# What a person decides


def test_a_kept_document_is_seen_afresh_and_stays_kept_until_a_person_lets_it_go(books: Books):
    books.index("a", 1)
    books.index("b", 2, source=OTHER)
    for source in (SOURCE, OTHER):
        name = "a" if source == SOURCE else "b"
        books.ledger.record([change(name, DELETED, source=source)], MINUTE, held=True)
    assert books.ledger.reject(SOURCE) == 1
    assert books.ledger.reject(SOURCE) == 0
    assert books.ledger.held(OTHER) == ["b"]
    known = books.known()["a"]
    assert (known.fingerprint, known.is_kept, known.is_applied) == ("", True, True)
    assert not books.known(source=OTHER)["b"].is_kept
    books.ledger.record([change("a", DELETED)], MINUTE, held=True)
    assert books.known()["a"].is_kept, "it is still not shown"
    assert books.ledger.approve(SOURCE) == 1
    assert not books.known()["a"].is_kept
    assert books.taken() == ["a"]


def test_a_kept_document_that_is_shown_again_is_like_any_other(books: Books):
    books.index("a", 1)
    books.ledger.record([change("a", DELETED)], MINUTE, held=True)
    books.ledger.reject(SOURCE)
    books.ledger.record([change("a", MODIFIED, "2")], MINUTE)
    assert not books.known()["a"].is_kept


def test_what_was_put_off_is_due_at_once_when_somebody_asks(books: Books):
    books.ledger.record([change("a"), change("b", source=OTHER)], MINUTE)
    for source, name in ((SOURCE, "a"), (OTHER, "b")):
        books.ledger.defer(books.pending(name, source), "store down", NOON + MINUTE, quarantine=False)
    assert books.taken(NOON) == []
    books.ledger.hurry(SOURCE)
    assert books.taken(NOON) == ["a"]
    books.ledger.hurry()
    assert books.taken(NOON) == ["a", "b"]


def test_a_source_that_does_not_answer_waits_alone_and_nothing_of_it_failed(books: Books):
    books.ledger.record([change("a"), change("b"), change("c", source=OTHER)], MINUTE)
    books.ledger.record([change("d"), change("e", source=OTHER)], None)
    books.ledger.put_off_source(books.pending("a"), "unmounted", NOON + MINUTE)
    assert books.taken(NOON) == books.taken(NOON + MINUTE - SECOND) == ["c", "e"]
    assert books.ledger.latest(NOON, 9, sources=[SOURCE]) == []
    assert books.ledger.is_through(SOURCE, 9, due_by=NOON)
    assert not books.ledger.is_through(SOURCE, 9)
    assert not books.ledger.awaits_a_look(SOURCE, NOON)
    assert books.taken(NOON + MINUTE) == ["a", "b", "c", "d", "e"]
    assert not books.ledger.is_through(SOURCE, 9, due_by=NOON + MINUTE)
    assert [left.error for left in books.ledger.left(SOURCE)] == ["unmounted", None, None]
    assert books.pending("a").attempts == 0


def test_what_is_seen_of_a_source_after_it_did_not_answer_is_tried_at_once_and_alone(books: Books):
    """It may list what it cannot read: a deletion would wait for a million changes that fail."""
    books.ledger.record([change("a"), change("b", source=OTHER)], MINUTE)
    books.index("gone", 1)
    for source, name in ((SOURCE, "a"), (OTHER, "b")):
        books.ledger.put_off_source(books.pending(name, source), "unmounted", NOON + MINUTE)
    books.ledger.record([change("c"), change("gone", DELETED)], MINUTE)
    books.ledger.record([change("d")], None)
    assert books.taken(NOON) == ["c", "gone", "d"]
    assert not books.ledger.is_through(SOURCE, 9, due_by=NOON)
    assert books.proofs.in_hand_among([(SOURCE, DocumentId("a")), (SOURCE, DocumentId("c"))], NOON) == {
        (SOURCE, DocumentId("c"))
    }
    books.ledger.put_off_source(books.pending("c"), "unmounted", NOON + MINUTE)
    assert books.taken(NOON) == []
    assert books.taken(NOON + MINUTE) == ["a", "b", "c", "gone", "d"]


def test_a_source_that_does_not_answer_is_asked_at_once_when_somebody_asks(books: Books):
    books.ledger.record([change("a"), change("b", source=OTHER)], MINUTE)
    for source, name in ((SOURCE, "a"), (OTHER, "b")):
        books.ledger.put_off_source(books.pending(name, source), "unmounted", NOON + MINUTE)
    books.ledger.hurry(SOURCE)
    assert books.taken(NOON) == ["a"]
    books.ledger.hurry()
    assert books.taken(NOON) == ["a", "b"]


def test_failures_are_counted_and_the_newest_reason_stands(books: Books):
    books.ledger.record([change("a"), change("b")], MINUTE)
    for reason in ("store down", "no text"):
        books.ledger.defer(books.pending("a"), reason, NOON, quarantine=reason == "no text")
    assert books.pending("a").attempts == 2
    assert books.waiting("a") == Waiting(1, is_held=False, is_quarantined=True, error="no text")
    assert books.waiting("b") == Waiting(2, is_held=False, is_quarantined=False, error=None)


# Recorded again


def test_equal_fingerprints_are_one_change_and_everything_decided_about_it_stays(books: Books):
    books.index("a", 1)
    books.ledger.record([change("a", DELETED, at=NOON)], MINUTE, held=True)
    books.ledger.record([change("a", DELETED, at=NOON + MINUTE)], None)
    assert books.ledger.held(SOURCE) == ["a"]
    books.ledger.approve(SOURCE)
    found = books.pending("a")
    assert (found.target, found.change.changed_at, found.change.first_seen_at) == (MINUTE, NOON, NOON + SECOND)


def test_of_two_recordings_the_earlier_instant_stands_with_whether_it_was_believable(books: Books):
    clamped = Change(SOURCE, DocumentId("a"), ADDED, DocumentRef(DocumentId("a"), "1"), NOON, NOON, is_clamped=True)
    books.ledger.record([clamped], MINUTE)
    books.ledger.record([change("a", version="2", at=NOON + MINUTE)], MINUTE)
    found = books.pending("a").change
    assert (found.changed_at, found.is_clamped) == (NOON, True)
    books.ledger.record([change("a", version="3", at=NOON - MINUTE)], MINUTE)
    found = books.pending("a").change
    assert (found.changed_at, found.is_clamped, found.first_seen_at) == (NOON - MINUTE, False, NOON)


def test_a_newer_edit_is_due_since_the_first_one_by_its_own_target(books: Books):
    books.ledger.record([change("a", at=NOON)], 10 * MINUTE)
    books.ledger.record([change("a", version="2", at=NOON + MINUTE)], 2 * MINUTE)
    books.ledger.record([change("before", at=NOON + MINUTE - SECOND)], MINUTE)
    books.ledger.record([change("after", at=NOON + MINUTE + SECOND)], MINUTE)
    assert books.pending("a").target == 2 * MINUTE
    assert books.taken() == ["before", "a", "after"]


def test_an_edit_that_came_to_be_before_the_one_that_was_found_first_is_due_since_then(books: Books):
    books.ledger.record([change("a", at=NOON)], MINUTE)
    books.ledger.record([change("a", version="2", at=NOON - MINUTE)], MINUTE)
    books.ledger.record([change("rival", at=NOON - SECOND)], MINUTE)
    assert books.taken() == ["a", "rival"]


def test_a_deletion_of_a_document_with_an_edit_pending_counts_from_when_it_was_seen(books: Books):
    books.index("a", 1)
    books.ledger.record([change("a", version="2", at=NOON - 5 * MINUTE)], MINUTE)
    books.ledger.record([change("a", DELETED, at=NOON)], MINUTE)
    books.ledger.record([change("rival", at=NOON - MINUTE)], MINUTE)
    assert books.taken() == ["rival", "a"]


def test_an_identity_is_kept_when_a_deletion_or_a_source_does_not_tell_one(books: Books):
    books.ledger.record([change("a", identity="inode 7")], None)
    books.apply("a", 1)
    books.ledger.record([change("a", DELETED)], MINUTE)
    known = books.known()["a"]
    assert (known.fingerprint, known.identity) == (None, "inode 7")
    books.ledger.record([change("a", version="2", identity="inode 8")], MINUTE)
    assert books.known()["a"].identity == "inode 8"


def test_recording_nothing_changes_nothing(books: Books):
    books.ledger.record([], MINUTE)
    assert books.sources.names() == []


# Windows, migrations and doubts


def test_since_when_a_window_has_not_shown_a_document_is_remembered(books: Books):
    books.ledger.record([change(name) for name in "abc"], None)
    books.ledger.record([change("a", source=OTHER)], None)
    books.ledger.note_absence(SOURCE, [DocumentId("a"), DocumentId("b")], NOON)
    assert [books.known()[name].absent_since for name in "abc"] == [NOON, NOON, None]
    assert books.known(source=OTHER)["a"].absent_since is None
    books.ledger.note_absence(SOURCE, [DocumentId("a")], None)
    books.ledger.note_absence(SOURCE, [], NOON)
    assert [books.known()[name].absent_since for name in "abc"] == [None, NOON, None]


def test_a_document_of_another_recipe_is_made_pending_as_it_was_last_seen(books: Books):
    books.ledger.record([change("a", identity="inode 7")], None)
    books.apply("a", 1)
    books.index("gone", 2)
    books.ledger.record([change("gone", DELETED)], MINUTE)
    books.ledger.record([change("new")], MINUTE)
    later = NOON + MINUTE
    assert books.ledger.invalidate(digest("another"), later, [OTHER, SOURCE]) == 1
    ref = DocumentRef(DocumentId("a"), "1", None, "inode 7")
    expected = Change(SOURCE, DocumentId("a"), MODIFIED, ref, later, later, is_clamped=True)
    assert books.pending("a").change == expected
    assert books.mark(later) == NOON, "it bounds no watermark: what is new does"


def test_made_anew_by_whatever_recipe_a_document_has_none_until_it_is_applied(books: Books):
    books.index("a", 1)
    books.index("b", 2, source=OTHER)
    assert books.ledger.invalidate(None, NOON, [SOURCE]) == 1
    assert (books.revision("a").recipe, books.revision("b", OTHER).recipe) == ("", "aa" * 32)
    assert books.ledger.invalidate(None, NOON, []) == 0


def test_chunks_that_a_store_lost_are_doubted_however_many(books: Books):
    books.index("a", *range(600))
    books.index("b", *range(1000, 1600))
    lost = sorted(ids(*range(100, 600), *range(1000, 1100)))
    assert books.ledger.doubt(lost, NOON) == 2
    assert books.proofs.unknown_among(lost) == set(lost)
    assert books.proofs.certain_chunks() == 600
    assert books.ledger.doubt(lost, NOON) == 0
    assert books.ledger.doubt([], NOON) == 0


def test_a_doubted_document_that_waited_for_a_recipe_or_an_edit_keeps_its_markers_back(books: Books):
    for number, name in enumerate("ab", 1):
        books.index(name, number)
    books.ledger.invalidate(None, NOON, [SOURCE])
    seq = books.ledger.last_seq()
    of_a, of_b = books.revision("a").version, books.revision("b").version
    assert books.ledger.is_through(SOURCE, seq)
    assert books.ledger.doubt([id_of(1)], NOON) == 0
    assert not books.ledger.is_through(SOURCE, seq)
    assert (books.revision("a").version, books.revision("b").version) == (of_a + 1, of_b)


def test_doubted_documents_that_are_gone_wait_for_their_deletion_alone(books: Books):
    books.index("a", 1)
    books.ledger.record([change("a", DELETED)], MINUTE)
    books.apply("a")
    books.index("b", 2)
    books.ledger.record([change("b", DELETED)], MINUTE)
    books.ledger.drop(books.pending("b"))
    assert books.ledger.doubt([id_of(1), id_of(2)], NOON) == 1
    found = books.pending("b").change
    assert (found.kind, found.changed_at, found.first_seen_at, found.is_clamped) == (MODIFIED, NOON, NOON, True)


def test_a_moved_document_whose_old_place_is_unknown_is_applied_all_the_same(books: Books):
    books.ledger.record([change("new")], MINUTE)
    done = applied(books.pending("new"), 1)
    moved = replace(done.outcome.change, kind=ChangeKind.MOVED, previous_id=DocumentId("never heard of"))
    books.ledger.commit([replace(done, outcome=replace(done.outcome, change=moved))])
    assert list(books.known()) == ["new"]
    assert [entry.previous_id for entry in books.history.entries()] == ["never heard of"]


def test_a_document_that_turns_out_to_be_gone_when_it_is_read_is_gone(books: Books):
    books.index("a", 1)
    books.ledger.record([change("a", MODIFIED, "2")], MINUTE)
    done = applied(books.pending("a"))
    books.ledger.commit([replace(done, ref=None, digest=None, recipe=None, label=None)])
    assert (books.known(), books.taken(), books.state().documents) == ({}, [], 0)


def test_chunks_of_a_document_that_the_ledger_does_not_know_are_no_success(books: Books):
    books.ledger.record([change("a")], MINUTE)
    pending = books.pending("a")
    books.ledger.record([change("a", DELETED)], MINUTE)
    with pytest.raises(RuntimeError, match="handbook/a: applied, but the ledger does not know it"):
        books.ledger.commit([applied(pending, 1)])
    books.ledger.commit([applied(pending, 1, kind=OutcomeKind.TOUCHED)])
    books.ledger.commit([applied(pending)])
    assert (books.known(), books.history.entries()) == ({}, [])


def test_what_had_a_deadline_was_seen_first_when_it_was_seen_first(books: Books):
    books.ledger.record([change("a")], MINUTE)
    books.ledger.record([change("a", version="2", at=NOON + MINUTE)], None)
    assert books.pending("a").change.first_seen_at == NOON + SECOND
