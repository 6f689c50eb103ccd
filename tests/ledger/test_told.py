"""What the history tells of applied changes, and what the ledger remembers of a source as a whole."""

from dataclasses import replace
from datetime import timedelta

from freshd.freshness import CLOCK_TOLERANCE, Tried
from freshd.ledger.history import Entry, Lags
from freshd.model import Change, ChangeKind, DocumentId, DocumentRef, Fates, Outcome, OutcomeKind
from freshd.ports import Applied, SourceState
from tests.ledger.books import (
    ADDED,
    DELETED,
    LABEL,
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
)

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
A = DocumentId("a")


def done(books: Books, name: str, seconds: float, target: timedelta | None = MINUTE, kind: ChangeKind = ADDED) -> None:
    """Record a change and apply it so many seconds after it came to be."""
    books.ledger.record([change(name, kind)], target)
    item = applied(books.pending(name), content=f"{name} {seconds}")
    at = NOON + timedelta(seconds=seconds)
    books.ledger.commit([replace(item, outcome=replace(item.outcome, searchable_at=at), durable_at=NOON + HOUR)])


# The history


def test_an_applied_change_is_told_as_it_was(books: Books):
    what = Change(SOURCE, A, ADDED, DocumentRef(A, "1"), NOON, NOON + SECOND, is_clamped=True)
    books.ledger.record([what], MINUTE)
    moved = replace(what, kind=ChangeKind.MOVED, previous_id=DocumentId("old"))
    outcome = Outcome(moved, OutcomeKind.INDEXED, Fates(1, 2, 3, 4, 5), NOON + 2 * SECOND, 678)
    pending = books.pending("a")
    books.ledger.commit([Applied(pending, outcome, what.ref, digest("one"), RECIPE, LABEL, (), NOON + 3 * SECOND)])
    expected = Entry(
        seq=1,
        source=SOURCE,
        document_id=A,
        kind=ChangeKind.MOVED,
        previous_id=DocumentId("old"),
        changed_at=NOON,
        searchable_at=NOON + 2 * SECOND,
        durable_at=NOON + 3 * SECOND,
        fates=Fates(1, 2, 3, 4, 5),
        embedded_characters=678,
        is_clamped=True,
        lag_s=2.0,
    )
    assert books.history.entries() == [expected]


def test_a_change_that_was_never_searchable_makes_no_lag(books: Books):
    books.ledger.record([change("a")], MINUTE)
    item = applied(books.pending("a"))
    books.ledger.commit([replace(item, outcome=replace(item.outcome, searchable_at=None))])
    (entry,) = books.history.entries()
    assert (entry.searchable_at, entry.lag_s, entry.previous_id, entry.is_clamped) == (None, None, None, False)
    assert books.history.lags(SOURCE, NOON) == Lags()
    assert books.history.tried(SOURCE, NOON) == Tried(0, 0)


def test_a_lag_may_be_nothing_and_may_be_just_the_target(books: Books):
    done(books, "at once", 0)
    done(books, "a moment", 0.000001)
    done(books, "just", 60)
    done(books, "late", 60.000001)
    assert [entry.lag_s for entry in books.history.entries()] == [0.0, 0.000001, 60.0, 60.000001]
    assert sorted(books.history.lags(SOURCE, NOON).changes_s) == [0.0, 0.000001, 60.0, 60.000001]
    assert books.history.tried(SOURCE, NOON) == Tried(3, 4)


def test_where_the_clock_was_set_back_in_between_nobody_knows_the_lag(books: Books):
    done(books, "a", -1)
    assert books.history.entries()[0].lag_s is None
    assert books.history.lags(SOURCE, NOON) == Lags()
    assert books.history.tried(SOURCE, NOON) == Tried(0, 0)


def test_a_canarys_changes_hide_nobody_elses(books: Books):
    done(books, "page", 7)
    done(books, "canary", 1)
    done(books, "page", 8, kind=DELETED)
    done(books, "canary", 2, kind=DELETED)
    everybodys = books.history.lags(SOURCE, NOON)
    assert (sorted(everybodys.changes_s), sorted(everybodys.deletions_s)) == ([1.0, 7.0], [2.0, 8.0])
    assert books.history.lags(SOURCE, NOON, without=["canary"]) == Lags((7.0,), (8.0,))
    assert books.history.tried(SOURCE, NOON, without=["canary"]) == Tried(2, 2)
    assert books.history.tried(SOURCE, NOON) == Tried(4, 4)


def test_without_a_number_the_first_hundred_changes_are_told(books: Books):
    names = [f"{number:03}" for number in range(102)]
    books.ledger.record([change(name) for name in names], MINUTE)
    books.ledger.commit([applied(pending) for pending in books.ledger.take(NOON, 200)])
    assert [entry.seq for entry in books.history.entries()] == list(range(1, 101))
    assert [entry.seq for entry in books.history.entries(after=100)] == [101, 102]
    assert len(books.history.entries(after=-200, limit=3)) == 3


def test_history_is_forgotten_up_to_an_instant_and_no_further(books: Books):
    done(books, "a", 1)
    assert books.history.forget(NOON + HOUR) == 0
    assert books.history.forget(NOON + HOUR + SECOND) == 1
    assert books.history.entries() == []


# Sources


def test_everything_about_a_source_is_remembered(books: Books):
    books.index("a", 1, 2)
    books.sources.scan_began(SOURCE, NOON + SECOND)
    books.sources.scan_completed(SOURCE, NOON, timedelta(seconds=1.5))
    books.sources.marker_out(SOURCE, NOON, "page 7", NOON)
    books.sources.fell_short(SOURCE, "secret/: cannot be read")
    assert books.reopened().state() == SourceState(
        SOURCE,
        listed_through=NOON,
        watermark=NOON,
        last_scan_at=NOON + SECOND,
        last_complete_scan_at=NOON,
        cursor="page 7",
        last_error="secret/: cannot be read",
        failing_since=None,
        scan_s=1.5,
        documents=1,
        chunks=2,
    )


def test_a_source_that_is_known_by_its_listings_alone_is_remembered_too(books: Books):
    books.sources.scan_began(SOURCE, NOON)
    books.sources.fell_short(OTHER, "broke off")
    assert books.sources.names() == [SOURCE, OTHER]
    assert books.state() == SourceState(SOURCE, last_scan_at=NOON)
    assert books.sources.state(OTHER) == SourceState(OTHER, last_error="broke off")


def test_a_listing_that_falls_short_ends_a_failure(books: Books):
    books.sources.scan_failed(SOURCE, NOON, "no answer")
    books.sources.fell_short(SOURCE, "broke off")
    assert (books.state().failing_since, books.state().last_error) == (None, "broke off")
    books.sources.scan_failed(SOURCE, NOON + MINUTE, "no answer")
    books.sources.scan_failed(SOURCE, NOON, "no answer")
    assert books.state().failing_since == NOON, "the earliest instant stands, should the clock be set back"


def test_a_listing_that_was_asked_for_everything_and_showed_it_is_not_asked_again(books: Books):
    books.index("a", 1)
    books.forgetting.forget(SOURCE, [A])
    books.forgetting.undo(SOURCE, A)
    assert books.state().wants_everything
    books.sources.showed_everything(OTHER)
    assert books.state().wants_everything
    books.sources.showed_everything(SOURCE)
    assert not books.state().wants_everything


def test_the_cursor_is_that_of_the_newest_marker(books: Books):
    books.sources.marker_out(SOURCE, NOON, "page 7", NOON)
    books.sources.marker_out(SOURCE, NOON + MINUTE, None, NOON + MINUTE)
    assert books.state().cursor is None


def test_a_mark_that_changes_nothing_leaves_no_trail(books: Books):
    books.ledger.record([change("a", at=NOON)], MINUTE)
    for minute in (1, 2):
        assert books.mark(NOON + minute * MINUTE) == NOON
    assert books.sources.trail(SOURCE) == [(NOON + MINUTE, NOON)]


def test_the_trail_reaches_six_hours_back_and_not_ahead(books: Books):
    for at in (NOON - SECOND, NOON, NOON + 6 * HOUR):
        books.mark(at)
    assert books.sources.trail(SOURCE) == [(at, at) for at in (NOON, NOON + 6 * HOUR)]
    books.sources.marker_out(OTHER, NOON + 5 * HOUR, None, NOON + 5 * HOUR)
    assert len(books.sources.trail(SOURCE)) == 2, "that of another source is its own affair"


def test_late_is_past_the_target_and_neither_held_nor_quarantined(books: Books):
    books.index("gone", 1)
    books.ledger.record([change("a"), change("bad")], MINUTE)
    books.ledger.record([change("gone", DELETED)], MINUTE, held=True)
    books.ledger.defer(books.pending("bad"), "no text", NOON, quarantine=True)
    assert [books.sources.late(SOURCE, NOON + MINUTE + n * SECOND) for n in (-1, 0, 1)] == [0, 0, 1]


def full(books: Books) -> Books:
    """Every instant that a ledger remembers is one that can be told apart."""
    books.index("old", 1)
    books.mark(NOON)
    books.sources.scan_began(SOURCE, NOON + 1 * MINUTE)
    books.sources.scan_completed(SOURCE, NOON + 2 * MINUTE, MINUTE)
    books.sources.scan_failed(SOURCE, NOON + 3 * MINUTE, "no answer")
    books.forgetting.note_configured([OTHER], NOON + 4 * MINUTE)
    books.ledger.note_absence(SOURCE, [DocumentId("old")], NOON + 5 * MINUTE)
    books.ledger.record([change("due", at=NOON + 6 * MINUTE), change("put off", at=NOON + 7 * MINUTE)], MINUTE)
    books.ledger.defer(books.pending("put off"), "store down", NOON + 9 * MINUTE, quarantine=False)
    books.ledger.record([change("away", source=OTHER)], MINUTE)
    books.ledger.put_off_source(books.pending("away", OTHER), "unmounted", NOON + 10 * MINUTE)
    return books


def instants(books: Books) -> dict[str, list[tuple[object, ...]]]:
    columns = {
        "sources": "name, listed_through, watermark, last_scan_at, last_complete_scan_at, failing_since, removed_at,"
        " away_until",
        "documents": "document_id, absent_since",
        "pending": "seq, changed_at, first_seen_at, deadline, due_at",
        "history": "document_id, changed_at, searchable_at, durable_at",
        "trail": "source, at, watermark",
    }
    return {table: books.rows(f"SELECT {names} FROM {table} ORDER BY 1") for table, names in columns.items()}


def test_when_the_clock_is_set_back_every_instant_moves_with_it(books: Books):
    before = instants(full(books))
    books.sources.move_instants(timedelta(0))
    assert instants(books) == before
    books.sources.move_instants(-3 * HOUR)
    us = 3 * 3600 * 1_000_000

    def moved(row: tuple[object, ...]) -> tuple[object, ...]:
        return row[0], *(value - us if isinstance(value, int) and value else value for value in row[1:])

    assert instants(books) == {table: [moved(row) for row in rows] for table, rows in before.items()}
    assert books.taken(NOON - 3 * HOUR + 6 * MINUTE) == ["due"]


def test_a_clock_that_is_set_back_by_a_microsecond_moves_instants_by_one(books: Books):
    books.mark(NOON)
    books.sources.move_instants(timedelta(microseconds=-1))
    assert books.state().watermark == NOON - timedelta(microseconds=1)


def test_what_lies_ahead_is_disbelieved_and_what_does_not_is_left(books: Books):
    before = instants(full(books))
    books.sources.disbelieve(NOON + 9 * MINUTE)
    assert instants(books) == before
    books.sources.disbelieve(NOON - HOUR)
    state, now = books.state(), NOON - HOUR
    assert (state.listed_through, state.watermark) == (None, None)
    assert state.last_scan_at == state.last_complete_scan_at == state.failing_since == now
    assert books.forgetting.removed([OTHER])[0].since == now
    assert books.known()["old"].absent_since == now
    due = books.pending("due").change
    assert due.changed_at == due.first_seen_at == now
    books.ledger.record([change("rival", at=now + SECOND)], MINUTE)
    books.ledger.hurry()
    assert books.taken() == ["due", "put off", "away", "rival"]


def test_what_a_clock_may_be_off_by_is_believed_and_no_more(books: Books):
    books.mark(NOON + CLOCK_TOLERANCE)
    books.sources.disbelieve(NOON)
    assert books.state().watermark == NOON + CLOCK_TOLERANCE
    books.sources.disbelieve(NOON - timedelta(microseconds=1))
    assert books.state().watermark is None


def test_a_trail_that_lies_ahead_is_dropped_by_the_next_mark(books: Books):
    books.mark(NOON + 3 * HOUR)
    books.mark(NOON, now=NOON + MINUTE)
    assert books.sources.trail(SOURCE) == [(NOON + MINUTE, NOON)]


def test_the_totals_of_a_source_follow_every_revision(books: Books):
    for numbers in ((1, 2, 3), (1,), (1, 4, 5, 6, 7), ()):
        books.ledger.record([change("a", version=str(numbers))], MINUTE)
        books.apply("a", *numbers, content=str(numbers))
        assert (books.state().documents, books.state().chunks) == (1, len(numbers))
    books.ledger.record([change("a", DELETED)], MINUTE)
    books.apply("a")
    assert (books.state().documents, books.state().chunks) == (0, 0)


def test_a_modification_that_waits_is_counted_pending_for_its_own_source_alone(books: Books):
    books.index("a", 1)
    books.ledger.record([change("a", MODIFIED, "2", at=NOON + MINUTE), change("b", at=NOON + 2 * MINUTE)], MINUTE)
    books.ledger.record([change("c", source=OTHER)], MINUTE)
    state = books.state()
    assert (state.pending, state.oldest_unapplied_at) == (2, NOON + MINUTE)
    other = books.sources.state(OTHER)
    assert (other.pending, other.oldest_unapplied_at) == (1, NOON)
