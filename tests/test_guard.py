"""Which deletions pass, and which wait for a person."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshd.guard import Guard, Verdict

GUARD = Guard()
PASS, WAIT, HOLD = Verdict.PASS, Verdict.WAIT, Verdict.HOLD


@pytest.mark.parametrize(
    ("deletions", "of", "verdict"),
    [
        (0, 0, PASS),
        (0, 100, PASS),
        (20, 21, PASS),
        (21, 100, HOLD),
        (20, 100, PASS),
        (200, 1000, PASS),
        (201, 1000, HOLD),
        (4, 4, PASS),
        (5, 5, HOLD),
        (20, 20, HOLD),
        (5, 6, PASS),
        (7, 5, HOLD),
    ],
)
def test_much_of_a_source_is_held_and_so_is_all_of_one_that_is_no_trifle(deletions: int, of: int, verdict: Verdict):
    assert GUARD.judge(deletions, of) is verdict


def test_while_documents_are_unread_deletions_wait_as_they_may_have_moved():
    assert GUARD.judge(21, 100, unread=1) is WAIT
    assert GUARD.judge(20, 100, unread=1) is PASS


def test_a_doubtful_look_deletes_nothing_without_a_person_however_little_it_is():
    assert GUARD.judge(1, 100, suspicion="another mount") is HOLD
    assert GUARD.judge(1, 100, unread=5, suspicion="another mount") is HOLD
    assert GUARD.judge(0, 100, suspicion="another mount") is PASS


def test_the_bounds_are_the_operator_s():
    assert Guard(documents=0, share=0.0).judge(1, 1000) is HOLD
    assert Guard(documents=1000, share=1.0, everything_from=2000).judge(1000, 1000) is PASS
    assert Guard(documents=3, share=0.5).judge(5, 10) is PASS
    assert Guard(documents=3, share=0.5).judge(6, 10) is HOLD


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 3), st.none() | st.just("doubt"))
def test_who_deletes_more_is_never_judged_more_mildly(deletions: int, of: int, unread: int, suspicion: str | None):
    order = [PASS, WAIT, HOLD]
    one = GUARD.judge(deletions, of, unread=unread, suspicion=suspicion)
    more = GUARD.judge(deletions + 1, of, unread=unread, suspicion=suspicion)
    assert order.index(more) >= order.index(one)


@given(st.integers(1, 500), st.integers(0, 500))
def test_waiting_is_only_for_what_would_be_held(deletions: int, of: int):
    is_held = GUARD.judge(deletions, of) is HOLD
    assert (GUARD.judge(deletions, of, unread=1) is WAIT) == is_held
