"""When a hint calls for a look: at once, when the writer pauses, or everywhere."""

from datetime import UTC, datetime, timedelta

import pytest

from freshd.model import Hint
from freshd.scheduler.hints import (
    COALESCE_S,
    GRACE_S,
    LONGEST_GRACE_S,
    LONGEST_S,
    MAX_PLACES,
    QUIET_S,
    Due,
    Hints,
)

AT = datetime(2026, 3, 1, tzinfo=UTC)


def hint(scope: str | None, *, is_settled: bool = True, at: datetime = AT) -> Hint:
    return Hint(scope, is_settled, at)


def being_written(scope: str) -> Hint:
    return hint(scope, is_settled=False)


def test_nothing_is_due_where_nobody_hinted():
    hints = Hints()
    assert hints.next_due_s() is None
    assert not hints.take(1e9)


def test_a_settled_hint_is_due_at_once():
    hints = Hints()
    hints.add(hint("a.md"), 100.0)
    assert hints.next_due_s() == pytest.approx(100.0 + COALESCE_S)
    assert hints.take(100.0 + COALESCE_S).places == {"a.md": AT}
    assert hints.next_due_s() is None


def test_a_document_being_written_is_due_when_the_writer_pauses():
    hints = Hints()
    for second in range(5):
        hints.add(being_written("a.md"), second * 0.9)
    assert not hints.take(3.6 + QUIET_S - 0.01)
    assert hints.take(3.6 + QUIET_S).places == {"a.md": AT}


def test_a_writer_that_never_pauses_is_looked_at_after_a_minute():
    hints = Hints()
    now_s = 0.0
    while not (due := hints.take(now_s)):
        hints.add(being_written("a.md"), now_s)
        now_s += QUIET_S / 2
    assert due.places
    assert now_s == pytest.approx(LONGEST_S, abs=QUIET_S)


def test_a_close_ends_the_wait_for_a_writer():
    hints = Hints()
    hints.add(being_written("a.md"), 0.0)
    hints.add(hint("a.md"), 0.2)
    assert hints.take(0.2 + COALESCE_S).places == {"a.md": AT}


def test_a_write_after_the_close_does_not_put_the_look_off():
    hints = Hints()
    hints.add(hint("a.md"), 0.0)
    hints.add(being_written("a.md"), 0.001)
    assert hints.next_due_s() == pytest.approx(COALESCE_S)


def test_many_hints_of_one_save_are_one_look_dated_by_the_first():
    hints = Hints()
    for n in range(10):
        hints.add(hint("a.md", at=AT + timedelta(milliseconds=n)), 0.0001 * n)
    assert hints.take(1.0) == Due({"a.md": AT})


def test_a_hint_of_a_folder_covers_what_lies_in_it_and_nothing_beside_it():
    hints = Hints()
    for place in ("guide", "guide/a.md", "guide/deep/b.md", "guide-old/c.md", "guide.md"):
        hints.add(hint(place), 0.0)
    assert set(hints.take(1.0).places) == {"guide", "guide-old/c.md", "guide.md"}


def test_a_folder_that_is_not_due_yet_hides_nothing_below_it():
    hints = Hints()
    hints.add(being_written("guide"), 0.0)
    hints.add(hint("guide/a.md"), 0.0)
    assert set(hints.take(0.5).places) == {"guide/a.md"}


@pytest.mark.parametrize("n_places", [MAX_PLACES, MAX_PLACES + 1])
def test_more_than_a_thousand_places_become_a_look_at_everything(n_places: int):
    hints = Hints()
    for n in range(n_places):
        hints.add(hint(f"{n}.md"), 0.0)
    due = hints.take(1.0)
    assert due.everywhere == (n_places > MAX_PLACES)
    assert len(due.places) == (0 if due.everywhere else n_places)
    assert hints.next_due_s() is None


def test_a_hint_of_a_known_place_counts_no_second_time():
    hints = Hints()
    for n in range(3 * MAX_PLACES):
        hints.add(hint(f"{n % MAX_PLACES}.md"), 0.0)
    assert not hints.take(1.0).everywhere


def test_a_hint_without_a_place_is_a_look_at_everything_now():
    hints = Hints()
    hints.add(hint("a.md"), 0.0)
    hints.add(hint(None), 0.0)
    hints.add(hint("b.md"), 0.0)
    assert hints.next_due_s() == 0.0
    assert hints.take(0.0) == Due(everywhere=True)
    assert hints.next_due_s() is None


def test_hints_go_on_after_a_look_at_everything():
    hints = Hints()
    hints.add(hint(None), 0.0)
    hints.take(0.0)
    hints.add(hint("a.md"), 5.0)
    assert set(hints.take(6.0).places) == {"a.md"}


def test_absent_documents_are_looked_at_again_together_once_no_more_of_them_come():
    hints = Hints()
    hints.add_absent([("a.md", AT)], 0.0)
    hints.add_absent([("b.md", AT)], GRACE_S - 0.01)
    assert not hints.take(GRACE_S)
    assert hints.take(2 * GRACE_S - 0.01).absent == {"a.md": AT, "b.md": AT}
    assert hints.next_due_s() is None


def test_absent_documents_that_keep_coming_are_looked_at_after_two_seconds():
    hints = Hints()
    now_s = 0.0
    while not (due := hints.take(now_s)):
        hints.add_absent([(f"{now_s}.md", AT)], now_s)
        now_s += GRACE_S / 2
    assert len(due.absent) > 10
    assert now_s == pytest.approx(LONGEST_GRACE_S, abs=GRACE_S)


def test_a_look_that_missed_nothing_does_not_put_off_the_second_look_at_what_was_missed():
    hints = Hints()
    hints.add_absent([("a.md", AT)], 0.0)
    hints.add_absent([], GRACE_S - 0.01)
    assert hints.take(GRACE_S).absent == {"a.md": AT}


def test_a_second_burst_of_absent_documents_gets_its_own_grace():
    hints = Hints()
    hints.add_absent([("a.md", AT)], 0.0)
    hints.take(10.0)
    hints.add_absent([("b.md", AT)], 100.0)
    assert hints.next_due_s() == pytest.approx(100.0 + GRACE_S)


def test_no_absent_documents_are_no_reason_to_look():
    hints = Hints()
    hints.add_absent([], 0.0)
    assert hints.next_due_s() is None


def test_a_document_is_being_written_until_its_writer_pauses_or_closes_it():
    hints = Hints()
    hints.add(being_written("a.md"), 0.0)
    hints.add(being_written("b.md"), 0.0)
    hints.add(hint("closed.md"), 0.0)
    hints.add(hint("b.md"), 0.5)
    assert hints.being_written(0.5) == ["a.md"]
    hints.add(being_written("a.md"), 0.9)
    assert hints.being_written(0.9 + QUIET_S - 0.01) == ["a.md"]
    assert hints.being_written(0.9 + QUIET_S) == []


def test_a_writer_that_never_pauses_leaves_a_moment_for_what_it_wrote_to_be_applied():
    hints = Hints()
    now_s = 0.0
    while not hints.take(now_s):
        hints.add(being_written("a.md"), now_s)
        assert hints.being_written(now_s) == ["a.md"]
        now_s += QUIET_S / 2
    hints.add(being_written("a.md"), now_s)
    assert hints.being_written(now_s + QUIET_S / 2) == []
    hints.add(being_written("a.md"), now_s + QUIET_S)
    assert hints.being_written(now_s + QUIET_S) == ["a.md"]
